"""Goldens of transformers' encoder-decoders on text.

``tests/goldens/text/NAME/`` holds a tiny random model as ``save_pretrained`` writes it, for NAME in

    t5              the first T5: head and token table shared, ReLU
    flan_t5         T5 v1.1: a head of its own, gated, more layers that read than write, bfloat16
    t5_encoder      the encoder alone
    bart            of different depth, heads and width inside on both sides
    bart_bare       without a head, bfloat16
    bart_classifier logits (N, classes): the same text is read on both sides, and the last token that ends it is judged
    marian          one token table for both languages; scaled embeddings
    marian_apart    two token tables, and a head of its own

and ``goldens.safetensors``:

    input_ids, attention_mask           (N, S) int64; rows are padded on the right
    decoder_input_ids                   (N, T) int64
    encoder                             the encoder's vectors, (N, S, D), 0 at padding; of t5_encoder called last_hidden_state
    logits                              (N, T, vocabulary); of bart_bare last_hidden_state
    plain.logits                        the same ids without a mask
    generated                           (N, L) int64: greedy, as ``generate`` writes it, padded
    beams                               (2 N, L) int64: the two best of three beams, with a first and a last token that are forced
    grad.PARAMETER                      gradients of sum(out[i] * cos(0.7 * i + 0.3)), out the logits, or the vectors, without a
                                        mask (of bart_classifier with it)
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import cotangent, narrow
from make_goldens_text import TEXT, save
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    BartModel,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

T5 = {
    "vocab_size": 53, "d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 2, "num_heads": 3, "pad_token_id": 0,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0,
}  # fmt: skip
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_layers": 3, "num_decoder_layers": 2}
BART = {
    "vocab_size": 53, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 36, "max_position_embeddings": 40,
}  # fmt: skip
MARIAN = {
    **BART, "pad_token_id": 52, "decoder_start_token_id": 52, "eos_token_id": 0, "forced_eos_token_id": None,
    "activation_function": "swish", "scale_embedding": True,
}  # fmt: skip
APART = {
    "share_encoder_decoder_embeddings": False, "decoder_vocab_size": 47, "tie_word_embeddings": False, "pad_token_id": 46,
    "decoder_start_token_id": 46,
}  # fmt: skip
MODELS: dict[str, tuple[type, Any]] = {
    "t5": (T5ForConditionalGeneration, lambda: T5Config(**T5)),
    "flan_t5": (T5ForConditionalGeneration, lambda: T5Config(**{**T5, **GATED})),
    "t5_encoder": (T5EncoderModel, lambda: T5Config(**T5)),
    "bart": (BartForConditionalGeneration, lambda: BartConfig(**BART, forced_eos_token_id=None)),
    "bart_bare": (BartModel, lambda: BartConfig(**BART)),
    "bart_classifier": (BartForSequenceClassification, lambda: BartConfig(**BART, num_labels=3)),
    "marian": (MarianMTModel, lambda: MarianConfig(**MARIAN)),
    "marian_apart": (MarianMTModel, lambda: MarianConfig(**{**MARIAN, **APART})),
}
NARROW = ("flan_t5", "bart_bare")
# T5 does not scale its scores, and transformers computes its norms in float32 even here: of that rounding, three layers of larger
# weights made an error of 5e-6 in the goldens themselves
SPREAD = {"flan_t5": 0.2}


BEAMS = {
    "num_beams": 3, "num_return_sequences": 2, "length_penalty": 2.0, "no_repeat_ngram_size": 2, "min_length": 4,
    "early_stopping": True,
}  # fmt: skip
LM = tuple(name for name, (kind, _) in MODELS.items() if hasattr(kind, "generate"))


def is_computed(model: nn.Module, name: str) -> bool:
    """Whether a parameter is not trained, but sines and cosines."""
    return isinstance(model, MarianMTModel) and "embed_positions" in name


def randomise(model: nn.Module, spread: float) -> None:
    generator = torch.Generator().manual_seed(11)
    if hasattr(model, "lm_head") and not model.config.to_dict().get("scale_decoder_outputs", True):
        model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight))
    for name, parameter in model.named_parameters():
        if is_computed(model, name):
            continue
        if "norm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(0, spread, generator=generator)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.normal_(0, spread, generator=generator)


def batch(model: nn.Module) -> dict[str, torch.Tensor]:
    generator, pad = torch.Generator().manual_seed(3), model.config.pad_token_id
    ids = torch.randint(3, 46, (3, 17), generator=generator)
    lengths = torch.tensor([17, 9, 2])[:, None]
    ids[torch.arange(17) == lengths - 1] = model.config.eos_token_id
    mask = (torch.arange(17) < lengths).long()
    return {"input_ids": torch.where(mask > 0, ids, pad), "attention_mask": mask}


def decoded(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What an encoder-decoder gives, and the tensor that is differentiated."""
    ids = torch.randint(3, 46, (3, 15), generator=torch.Generator().manual_seed(5))
    out = "logits" if hasattr(model, "lm_head") else "last_hidden_state"
    result = model(**inputs, decoder_input_ids=ids)
    encoder = result.encoder_last_hidden_state * inputs["attention_mask"][..., None]
    plain = model(input_ids=inputs["input_ids"], decoder_input_ids=ids)[out]
    found = {"decoder_input_ids": ids, "encoder": narrow(encoder), out: narrow(result[out]), f"plain.{out}": narrow(plain)}
    if out == "logits":
        with torch.no_grad():
            usual = {"max_new_tokens": 12, "do_sample": False}
            found["generated"] = model.generate(**inputs, **usual, num_beams=1)
            found["beams"] = model.generate(
                **inputs, **usual, **BEAMS, forced_bos_token_id=7, forced_eos_token_id=model.config.eos_token_id
            )
    return found, plain


def classified(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What a classifier of texts gives."""
    logits = model(**inputs).logits
    return {"logits": narrow(logits)}, logits


def encoded(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What an encoder alone gives."""
    hidden = model(**inputs).last_hidden_state * inputs["attention_mask"][..., None]
    return {"last_hidden_state": narrow(hidden)}, model(input_ids=inputs["input_ids"]).last_hidden_state


def tiny(name: str) -> None:
    kind, configuration = MODELS[name]
    model = kind(configuration()).eval()
    randomise(model, SPREAD.get(name, 0.3))
    (model.bfloat16() if name in NARROW else model).save_pretrained(TEXT / name)
    (TEXT / name / "model.safetensors").chmod(0o644)
    model = kind.from_pretrained(TEXT / name, dtype=torch.float64, attn_implementation="eager").eval()
    inputs = batch(model)
    run = classified if hasattr(model, "classification_head") else decoded if hasattr(model, "decoder") or name in LM else encoded
    goldens, out = run(model, inputs)
    named = {n: p for n, p in model.named_parameters() if not is_computed(model, n)}
    found = torch.autograd.grad((out * cotangent(out.shape)).sum(), list(named.values()))
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}
    save({**inputs, **goldens}, TEXT / name / "goldens.safetensors")


if __name__ == "__main__":
    for each in sys.argv[1:] or MODELS:
        tiny(each)
