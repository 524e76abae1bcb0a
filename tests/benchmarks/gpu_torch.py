"""The rows of ``gpu_table.py`` as torch, timm and transformers run them. Runs in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .gpu_table import DECODER_CONFIGS, WHISPER_CONFIGS
from .inputs import PICTURE_SIZE, TEXT_MODELS, array, token_ids
from .torchvision_setup import allow_torchvision
from .variant import Variant

Call = Callable[[], Any]
DEVICE = "cuda"
cuda = torch.cuda  # what the worker's clock is


def picture_inference(how: Variant, name: str, batch: int, dtype: str) -> Call:
    """A picture model on a batch."""
    return _inference(how, _moved(how, _picture_model(name), dtype), _pictures(how, batch, dtype))


def text_inference(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """An encoder on a batch of token ids."""
    model = _automatic("AutoModel", {"model_type": "bert", **TEXT_MODELS[name]})
    return _inference(how, _moved(how, model, dtype), **_tokens(rows, length))


def sound_inference(how: Variant, name: str, batch: int, dtype: str) -> Call:
    """The encoder of a Whisper on windows of 30 seconds."""
    allow_torchvision()
    from transformers import WhisperConfig, WhisperModel

    config = WHISPER_CONFIGS[name]
    x = torch.from_numpy(array(batch, config["num_mel_bins"], 3000)).to(DEVICE, getattr(torch, dtype))
    return _inference(how, _moved(how, WhisperModel(WhisperConfig(**config)).encoder, dtype), x)


def prefill(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """What comes after texts that are read at once."""
    model, ids = _decoder(how, name, dtype), _ids(rows, length)
    from transformers import DynamicCache

    run = _compiled(how, model)

    def call() -> None:
        with torch.inference_mode():
            run(ids, past_key_values=DynamicCache(), use_cache=True, logits_to_keep=1)

    return call


def decoding(how: Variant, name: str, rows: int, prompt: int, count: int, dtype: str) -> Call:
    """``count`` tokens a text, one by one, after prompts that have been read before. Compiled with a cache of fixed size."""
    model = _decoder(how, name, dtype)
    from transformers import DynamicCache, StaticCache

    cache = StaticCache(config=model.config, max_cache_len=prompt + count) if how.compiled else DynamicCache()
    with torch.inference_mode():
        model(_ids(rows, prompt), past_key_values=cache, use_cache=True, logits_to_keep=1)
    run, first = _compiled(how, model), _ids(rows, 1)

    def call() -> None:
        token = first
        with torch.inference_mode():
            for _ in range(count):
                token = run(token, past_key_values=cache, use_cache=True).logits[:, -1].argmax(-1, keepdim=True)
            if not how.compiled:
                cache.crop(-count)
            else:
                for layer in cache.layers:
                    layer.cumulative_length.fill_(prompt)

    return call


def picture_training(how: Variant, name: str, batch: int, dtype: str) -> Call:
    """A step of AdamW on a picture model."""
    x = _pictures(how, batch, "float32")
    return _training(how, _picture_model(name), dtype, torch.arange(batch, device=DEVICE) % 2, x)


def text_training(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """A step of AdamW on a BERT that tells two classes apart, dropout included."""
    model = _automatic("AutoModelForSequenceClassification", {"model_type": "bert", **TEXT_MODELS[name], "num_labels": 2})
    return _training(how, model, dtype, torch.arange(rows, device=DEVICE) % 2, **_tokens(rows, length))


def language_training(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """A step of AdamW on a decoder that foretells the next token of each."""
    ids = _ids(rows, length + 1)
    model = _automatic("AutoModelForCausalLM", DECODER_CONFIGS[name])
    return _training(how, model, dtype, ids[:, 1:].reshape(-1), ids[:, :-1].contiguous(), use_cache=False)


def _automatic(kind: str, config: dict[str, Any]) -> Any:
    allow_torchvision()
    import transformers

    return getattr(transformers, kind).from_config(transformers.AutoConfig.for_model(**config))


def _decoder(how: Variant, name: str, dtype: str) -> Any:
    return _moved(how, _automatic("AutoModelForCausalLM", DECODER_CONFIGS[name]), dtype).eval()


def _picture_model(name: str) -> Any:
    allow_torchvision()
    from timm import create_model

    return create_model(name)


def _moved(how: Variant, model: Any, dtype: str) -> Any:
    return _laid_out(how, model.to(DEVICE, getattr(torch, dtype)))


def _laid_out(how: Variant, given: Any) -> Any:
    return given.to(memory_format=torch.channels_last) if how.channels_last else given


def _pictures(how: Variant, batch: int, dtype: str) -> torch.Tensor:
    return _laid_out(how, torch.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)).to(DEVICE, getattr(torch, dtype)))


def _ids(rows: int, length: int) -> torch.Tensor:
    return torch.from_numpy(token_ids(rows, length)).to(DEVICE)


def _tokens(rows: int, length: int) -> dict[str, torch.Tensor]:
    ids = _ids(rows, length)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _compiled(how: Variant, model: Any) -> Any:
    return torch.compile(model, mode=how.tuning or "default") if how.compiled else model


def _inference(how: Variant, model: Any, *inputs: Any, **named: Any) -> Call:
    run = _compiled(how, model.eval())

    def call() -> None:
        with torch.inference_mode():
            run(*inputs, **named)

    return call


def _training(how: Variant, model: Any, dtype: str, labels: torch.Tensor, *inputs: Any, **named: Any) -> Call:
    model = _moved(how, model, "float32").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = _compiled(how, model)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE, getattr(torch, dtype), enabled=dtype != "float32"):
            out = run(*inputs, **named)
            logits = getattr(out, "logits", out)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)
        loss.backward()
        optimizer.step()

    return step
