"""Goldens of decoders in GGUF files, written by the gguf package as llama.cpp's converter writes them.

``tests/goldens/text/gguf/NAME.gguf``: a tiny random model of transformers, float32, with a byte-level tokenizer of 53 tokens.
``tinyllama.gguf``: one of Llama's shape with the SentencePiece model of ``sentencepiece/llama`` as llama.cpp writes it; where
transformers reads its tokenizer, ordinary texts are checked here to give SentencePiece's tokens.
``goldens.safetensors``: ``input_ids`` (2, 9) int64, and ``NAME.logits`` of the model in float64. Where transformers reads the
architecture's GGUF files, it is checked here to give the same logits from the file.
"""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import narrow
from make_goldens_decoders import SHARED, SIZES, randomise
from make_goldens_text import TEXT, save
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, AutoTokenizer

PIECES, VOCABULARY = TEXT / "sentencepiece", 520
PLAIN = {"rope_type": "default", "rope_theta": 500.0}
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
TIED = {"tie_word_embeddings": True}
MODELS = {
    "llama": ("llama", "llama", {**SIZES, **ENDS, "num_key_value_heads": 2, "rope_parameters": PLAIN}),
    "tinyllama": (
        "llama", "llama", {**SIZES, **ENDS, "num_key_value_heads": 2, "vocab_size": VOCABULARY, "rope_parameters": PLAIN},
    ),
    "qwen2": ("qwen2", "qwen2", {**SIZES, **ENDS, **TIED, "num_key_value_heads": 2, "rope_parameters": PLAIN}),
    "qwen3": ("qwen3", "qwen3", {**SIZES, **ENDS, **SHARED, "rope_parameters": PLAIN}),
    "gpt2": ("gpt2", "gpt2", {"vocab_size": 53, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64, **ENDS}),
    "gemma3": (
        "gemma3_text", "gemma3",
        {**SIZES, **ENDS, **SHARED, "num_hidden_layers": 6, "sliding_window": 4, "query_pre_attn_scalar": 8, "hidden_size": 16},
    ),
    "gpt_neox": (
        "gpt_neox", "gptneox",
        {**SIZES, **ENDS, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.67}},
    ),
}  # fmt: skip
READ_BACK = ("llama", "qwen2", "gemma3")  # it does not read how wide heads are in Qwen3, nor how many positions GPT-2 has


def converted(kind: str, name: str, weight: torch.Tensor, config: object) -> torch.Tensor:
    """A tensor as llama.cpp's converter turns it."""
    heads = getattr(config, "num_attention_heads", 1)
    if kind == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = heads if "q_proj" in name else config.num_key_value_heads
        return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
    if kind == "gpt2" and name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
        return weight.T
    if kind == "gemma3" and name.endswith("norm.weight"):
        return weight + 1
    if kind == "gptneox" and "query_key_value" in name:
        return weight.reshape(heads, 3, -1, *weight.shape[1:]).swapaxes(0, 1).reshape(weight.shape)
    return weight


def metadata(writer: gguf.GGUFWriter, kind: str, config: object) -> None:
    width, heads = config.hidden_size, config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", 4 * width))
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(heads)
    if kind in ("gpt2", "gptneox"):
        writer.add_layer_norm_eps(getattr(config, "layer_norm_eps", 1e-5))
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind in ("llama", "qwen2", "qwen3"):
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if kind in ("qwen3", "gemma3"):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if kind == "gemma3":
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        writer.add_sliding_window(config.sliding_window)
    if kind == "gptneox":
        writer.add_rope_dimension_count(int(width // heads * config.rope_parameters["partial_rotary_factor"]))
        writer.add_parallel_residual(config.use_parallel_residual)


def tokenizer(writer: gguf.GGUFWriter) -> None:
    letters = [chr(code) for code in range(ord("!"), ord("!") + 48)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["<pad>", "<s>", "</s>", "Ġ", *letters, "AB"])
    writer.add_token_types([3, 3, 3, *[1] * 50])
    writer.add_token_merges(["A B"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)


def pieces(writer: gguf.GGUFWriter) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(PIECES / "llama" / "tokenizer.model"))
    numbers = range(model.get_piece_size())
    kinds = {"unknown": 2, "control": 3, "unused": 5, "byte": 6}
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([model.id_to_piece(i) for i in numbers])
    writer.add_token_scores([model.get_score(i) for i in numbers])
    writer.add_token_types([next((v for k, v in kinds.items() if getattr(model, f"is_{k}")(i)), 1) for i in numbers])
    writer.add_unk_token_id(model.unk_id())
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}")


def check_pieces(path: Path) -> None:
    """transformers reads the same tokens; it puts no other before texts from GGUF files, and keeps spaces otherwise."""
    theirs = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    for text, ids, _ in json.loads((PIECES / "ids.json").read_text())["llama"]:
        found = theirs(text, add_special_tokens=False)["input_ids"]
        same = found == ids[1:]
        print("as transformers reads it" if same else "otherwise in transformers", repr(text))


def write(name: str, ids: torch.Tensor) -> torch.Tensor:
    model_type, kind, sizes = MODELS[name]
    config = CONFIG_MAPPING[model_type](**sizes)
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]._from_config(config, attn_implementation="eager").eval()
    randomise(model)
    path = TEXT / "gguf" / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, kind)
    metadata(writer, kind, config)
    (pieces if name == "tinyllama" else tokenizer)(writer)
    arch = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == kind)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for key, value in dict(model.named_parameters()).items():
        key = key.replace("lm_head", "embed_out") if kind == "gptneox" else key
        theirs = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert theirs, key
        writer.add_tensor(theirs, np.ascontiguousarray(converted(kind, key, value.detach(), config).numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.chmod(0o644)
    if name == "tinyllama":
        check_pieces(path)
    with torch.no_grad():
        logits = model.double()(ids).logits
        if name in READ_BACK:
            given = {"query_pre_attn_scalar": 8} if name == "gemma3" else {}  # no key of the file says it
            again = (
                AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float64, **given)
                .eval()(ids)
                .logits
            )
            print(name, path.stat().st_size, "read back, off by", float((again - logits).abs().max() / logits.abs().max()))
    return logits


if __name__ == "__main__":
    (TEXT / "gguf").mkdir(exist_ok=True)
    given = torch.randint(3, 53, (2, 9), generator=torch.Generator().manual_seed(3))
    found = {f"{each}.logits": narrow(write(each, given)) for each in MODELS}
    save({"input_ids": given, **found}, TEXT / "gguf" / "goldens.safetensors")
