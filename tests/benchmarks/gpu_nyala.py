"""The rows of ``gpu_table.py`` as nyala runs them: each function prepares, and returns the call to be timed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import nyala
import nyala.nn.functional as F
from nyala.hub import registry

from . import rows_nyala
from .gpu_table import DECODER_CONFIGS, WHISPER_CONFIGS
from .inputs import PICTURE_SIZE, TEXT_MODELS, array, token_ids
from .variant import Variant

Call = Callable[[], Any]
DEVICE = "cuda"
cuda = nyala.cuda  # what the worker's clock is


def picture_inference(how: Variant, name: str, batch: int, dtype: str) -> Call:
    """A picture model on a batch."""
    x = nyala.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)).to(DEVICE).to(dtype)
    return _inference(how, _moved(rows_nyala._picture_model(name), dtype), x)


def text_inference(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """An encoder on a batch of token ids."""
    return _inference(how, _moved(_built({"model_type": "bert", **TEXT_MODELS[name]}), dtype), **_tokens(rows, length))


def sound_inference(how: Variant, name: str, batch: int, dtype: str) -> Call:
    """The encoder of a Whisper on windows of 30 seconds."""
    config = WHISPER_CONFIGS[name]
    x = nyala.from_numpy(array(batch, config["num_mel_bins"], 3000)).to(DEVICE).to(dtype)
    return _inference(how, _moved(_built(config).model.encoder, dtype), x)


def prefill(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """What comes after texts that are read at once."""
    model, ids = _moved(_built(DECODER_CONFIGS[name]), dtype).eval(), _ids(rows, length)
    run = _compiled(how, model)

    def call() -> None:
        with nyala.inference_mode():
            run(ids, caches=model.new_caches(), last=True)

    return call


def decoding(how: Variant, name: str, rows: int, prompt: int, count: int, dtype: str) -> Call:
    """``count`` tokens a text, one by one, after prompts that have been read before."""
    model = _moved(_built(DECODER_CONFIGS[name]), dtype).eval()
    caches = model.new_caches()
    with nyala.inference_mode():
        model(_ids(rows, prompt), caches=caches, last=True)
    run, first = _compiled(how, model), _ids(rows, 1)

    def call() -> None:
        token = first
        with nyala.inference_mode():
            for _ in range(count):
                token = run(token, caches=caches, last=True)[:, -1].argmax(-1, keepdim=True)
            for cache in caches:
                cache.crop(prompt)

    return call


def picture_training(how: Variant, name: str, batch: int, dtype: str) -> Call:
    """A step of AdamW on a picture model."""
    x = nyala.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)).to(DEVICE)
    return _training(how, rows_nyala._picture_model(name), dtype, nyala.arange(batch, device=DEVICE) % 2, x)


def text_training(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """A step of AdamW on a BERT that tells two classes apart, dropout included."""
    from nyala.text.models import bert

    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **TEXT_MODELS[name]}
    labels = nyala.arange(rows, device=DEVICE) % 2
    return _training(how, bert.build(config, num_labels=2), dtype, labels, **_tokens(rows, length))


def language_training(how: Variant, name: str, rows: int, length: int, dtype: str) -> Call:
    """A step of AdamW on a decoder that foretells the next token of each."""
    ids = _ids(rows, length + 1)
    labels = ids[:, 1:].reshape(-1)
    return _training(how, _built(DECODER_CONFIGS[name]), dtype, labels, ids[:, :-1])


def _built(config: dict[str, Any]) -> Any:
    return registry.get(f"transformers:{config['model_type']}").build(config)


def _moved(model: Any, dtype: str) -> Any:
    return model.to(DEVICE).to(dtype)


def _ids(rows: int, length: int) -> nyala.Tensor:
    return nyala.from_numpy(token_ids(rows, length)).to(DEVICE)


def _tokens(rows: int, length: int) -> dict[str, nyala.Tensor]:
    ids = _ids(rows, length)
    return {"input_ids": ids, "attention_mask": nyala.ones_like(ids)}


def _compiled(how: Variant, function: Any) -> Any:
    return nyala.compile(function) if how.compiled else function


def _inference(how: Variant, model: Any, *inputs: Any, **named: Any) -> Call:
    run = _compiled(how, model.eval())

    def call() -> None:
        with nyala.inference_mode():
            run(*inputs, **named)

    return call


def _lower(dtype: str) -> AbstractContextManager[Any]:
    return nullcontext() if dtype == "float32" else nyala.autocast(DEVICE, dtype)


def _training(how: Variant, model: Any, dtype: str, labels: nyala.Tensor, *inputs: Any, **named: Any) -> Call:
    """Compiled, the whole step is: forward, backward and optimizer."""
    model = model.to(DEVICE).train()
    optimizer = nyala.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> Any:
        optimizer.zero_grad()
        with _lower(dtype):
            logits = model(*inputs, **named)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)
        loss.backward()
        optimizer.step()
        return loss

    return _compiled(how, step)
