"""Goldens of transformers' encoder-decoders on text.

``tests/goldens/text/NAME/`` holds a tiny random model as ``save_pretrained`` writes it, for NAME in

    t5              the first T5: head and token table shared, ReLU
    flan_t5         T5 v1.1: a head of its own, gated, more layers that read than write, bfloat16
    t5_encoder      the encoder alone

and ``goldens.safetensors``:

    input_ids, attention_mask           (N, S) int64; rows are padded on the right
    decoder_input_ids                   (N, T) int64
    encoder                             the encoder's vectors, (N, S, D), 0 at padding; of t5_encoder called last_hidden_state
    logits                              (N, T, vocabulary)
    plain.logits                        the same ids without a mask
    generated                           (N, L) int64: greedy, as ``generate`` writes it, padded
    grad.PARAMETER                      gradients of sum(plain.out[i] * cos(0.7 * i + 0.3)), out the logits, or the vectors
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import cotangent, narrow
from make_goldens_text import TEXT, save
from torch import nn
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

T5 = {
    "vocab_size": 53, "d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 2, "num_heads": 3, "pad_token_id": 0,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12, "decoder_start_token_id": 0,
}  # fmt: skip
GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_layers": 3, "num_decoder_layers": 2}
MODELS: dict[str, tuple[type, Any]] = {
    "t5": (T5ForConditionalGeneration, lambda: T5Config(**T5)),
    "flan_t5": (T5ForConditionalGeneration, lambda: T5Config(**{**T5, **GATED})),
    "t5_encoder": (T5EncoderModel, lambda: T5Config(**T5)),
}
NARROW = ("flan_t5",)


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    if hasattr(model, "lm_head") and not model.config.to_dict().get("scale_decoder_outputs", True):
        model.lm_head.weight = nn.Parameter(torch.empty_like(model.lm_head.weight))
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 53, (3, 17), generator=generator)
    mask = (torch.arange(17) < torch.tensor([17, 9, 1])[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def decoded(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What an encoder-decoder gives, and the tensor that is differentiated."""
    ids = torch.randint(3, 53, (3, 15), generator=torch.Generator().manual_seed(5))
    result = model(**inputs, decoder_input_ids=ids)
    encoder = result.encoder_last_hidden_state * inputs["attention_mask"][..., None]
    plain = model(input_ids=inputs["input_ids"], decoder_input_ids=ids).logits
    with torch.no_grad():
        generated = model.generate(**inputs, max_new_tokens=12, do_sample=False, num_beams=1)
    found = {"decoder_input_ids": ids, "encoder": narrow(encoder), "logits": narrow(result.logits)}
    return {**found, "plain.logits": narrow(plain), "generated": generated}, plain


def encoded(model: nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What an encoder alone gives."""
    hidden = model(**inputs).last_hidden_state * inputs["attention_mask"][..., None]
    return {"last_hidden_state": narrow(hidden)}, model(input_ids=inputs["input_ids"]).last_hidden_state


def tiny(name: str) -> None:
    kind, configuration = MODELS[name]
    model = kind(configuration()).eval()
    randomise(model)
    (model.bfloat16() if name in NARROW else model).save_pretrained(TEXT / name)
    (TEXT / name / "model.safetensors").chmod(0o644)
    model = kind.from_pretrained(TEXT / name, dtype=torch.float64, attn_implementation="eager").eval()
    inputs = batch()
    goldens, out = (decoded if hasattr(model, "lm_head") else encoded)(model, inputs)
    named = dict(model.named_parameters())
    found = torch.autograd.grad((out * cotangent(out.shape)).sum(), list(named.values()))
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}
    save({**inputs, **goldens}, TEXT / name / "goldens.safetensors")


if __name__ == "__main__":
    for each in sys.argv[1:] or MODELS:
        tiny(each)
