"""A chat model of a few thousand random parameters, in transformers' layout, to test pipelines and commands with."""

from __future__ import annotations

import json
from pathlib import Path

import nyala
from nyala import checkpoint
from nyala.text.models import llama
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|bot|>{% endif %}"
)
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|bot|>")


def write(folder: Path, positions: int = 64, template: str | None = TEMPLATE) -> str:
    """Fill a folder with the model; gives its path."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id("<|end|>")
    nyala.manual_seed(4)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    more = {"num_attention_heads": 4, "max_position_embeddings": positions, "eos_token_id": end, "bos_token_id": None}
    model = llama.build({**sizes, **more, "initializer_range": 0.4, "tie_word_embeddings": True})
    (folder / "config.json").write_text(json.dumps(llama.export_config(model)))
    checkpoint.save_file({name: t.numpy() for name, t in model.state_dict().items()}, folder / "model.safetensors")
    settings = {"eos_token": "<|end|>", **({} if template is None else {"chat_template": template})}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return str(folder)
