"""The rows as nyala runs them: each function prepares, and returns the call to be timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nyala
import nyala.nn.functional as F

from .inputs import DECODERS, PICTURE_SIZE, SAMPLE_RATE, SOUND_MODELS, TEXT_MODELS, array, picture_files, token_ids
from .ops_nyala import operation as operation

Call = Callable[[], Any]


def picture_inference(name: str, batch: int) -> Call:
    """A picture model on a batch."""
    return _inference(_picture_model(name), nyala.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)))


def picture_training(name: str, batch: int) -> Call:
    """A step of AdamW on a picture model."""
    return _training(_picture_model(name), batch, nyala.from_numpy(array(batch, 3, PICTURE_SIZE, PICTURE_SIZE)))


def text_inference(name: str, rows: int, length: int) -> Call:
    """A BERT on a batch of token ids."""
    from nyala.text.models import bert

    model = bert.build({"model_type": "bert", "architectures": ["BertModel"], **TEXT_MODELS[name]})
    return _inference(model, **_tokens(rows, length))


def text_training(name: str, rows: int, length: int) -> Call:
    """A step of AdamW on a BERT that tells two classes apart, dropout included."""
    from nyala.text.models import bert

    config = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], **TEXT_MODELS[name]}
    return _training(bert.build(config, num_labels=2), rows, **_tokens(rows, length))


class Decoder(nyala.nn.Module):
    """A decoder of Llama's kind, with transformers' configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        from nyala import nn

        super().__init__()
        dim, heads, eps = config["hidden_size"], config["num_attention_heads"], config["rms_norm_eps"]
        attention = {
            "num_kv_heads": config["num_key_value_heads"], "bias": False, "is_causal": True,
            "position": nn.Rotary(dim // heads, config["rope_theta"]),
        }  # fmt: skip
        mlp = {"act": "silu", "gated": True, "bias": False}
        self.embed = nn.Embedding(config["vocab_size"], dim)
        self.layers = nn.ModuleList(
            nn.TransformerBlock(
                dim, heads, config["intermediate_size"], norm=lambda d: nn.RMSNorm(d, eps), attention=attention, mlp=mlp
            )
            for _ in range(config["num_hidden_layers"])
        )
        self.norm = nn.RMSNorm(dim, eps)

    def forward(self, ids: nyala.Tensor, caches: list[Any]) -> nyala.Tensor:
        x = self.embed(ids)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, cache=cache)
        return F.linear(self.norm(x)[:, -1], self.embed.weight)


def decoding(name: str, prompt: int, count: int) -> Call:
    """``count`` tokens, one by one, after a prompt that has been read before."""
    model = Decoder(DECODERS[name]).eval()
    caches = [nyala.nn.KVCache() for _ in model.layers]
    with nyala.inference_mode():
        model(nyala.from_numpy(token_ids(1, prompt)), caches)

    def call() -> None:
        token = nyala.tensor([[1]])
        with nyala.inference_mode():
            for _ in range(count):
                token = model(token, caches).argmax(-1, keepdim=True)
            for cache in caches:
                cache.crop(prompt)

    return call


def picture_input(folder: Path, count: int) -> Call:
    """An epoch of a loader: decode, random resized crop, flip, normalise. As recipes do it, in threads."""
    from nyala.recipes.data.tasks import Images
    from nyala.recipes.language.schema import HorizontalFlip, RandomResizedCrop
    from nyala.vision.preprocess import ImagePreprocess

    task = Images(ImagePreprocess((PICTURE_SIZE, PICTURE_SIZE), "bilinear"))
    changes = (RandomResizedCrop(scale=(0.08, 1.0)), HorizontalFlip())
    files = picture_files(folder, count)

    class Pictures(nyala.data.Dataset):
        def __len__(self) -> int:
            return len(files)

        def get(self, index: int, key: Any) -> Any:
            return task.prepare(files[index], changes, key)

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    loader = nyala.data.DataLoader(Pictures(), 16, shuffle=True, num_workers=workers)
    return lambda: [None for _ in loader]


def sound_encoder(name: str) -> Call:
    """The encoder of a Whisper on a window of 30 seconds."""
    from nyala.audio.models import whisper

    made = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], **SOUND_MODELS[name]}
    return _inference(whisper.build(made).model.encoder, nyala.from_numpy(array(1, SOUND_MODELS[name]["num_mel_bins"], 3000)))


def log_mel(seconds: int) -> Call:
    """Whisper's picture of a sound."""
    from nyala.audio.transforms import whisper_mel

    wave = nyala.from_numpy(array(seconds * SAMPLE_RATE))

    def call() -> None:
        with nyala.inference_mode():
            whisper_mel(wave)

    return call


def _picture_model(name: str) -> Any:
    from nyala.vision.models import efficientnet, resnet

    return (resnet if name.startswith("resnet") else efficientnet).build({"architecture": name})


def _tokens(rows: int, length: int) -> dict[str, nyala.Tensor]:
    ids = nyala.from_numpy(token_ids(rows, length))
    return {"input_ids": ids, "attention_mask": nyala.ones_like(ids)}


def _inference(model: Any, *inputs: Any, **named: Any) -> Call:
    model.eval()

    def call() -> None:
        with nyala.inference_mode():
            model(*inputs, **named)

    return call


def _training(model: Any, rows: int, *inputs: Any, **named: Any) -> Call:
    model.train()
    optimizer = nyala.optim.AdamW(model.parameters(), lr=1e-4)
    labels = nyala.arange(rows) % 2

    def call() -> None:
        loss = F.cross_entropy(model(*inputs, **named), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call
