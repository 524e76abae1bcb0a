"""Goldens of Silero VAD, CREPE and the speaker encoder of GE2E: networks in PyTorch with few random weights, in float64.

``tests/goldens/audio/silero_vad``, ``crepe``, ``ge2e``: ``model.safetensors`` and ``config.json``, and ``goldens.safetensors``
with the inputs, the results, and ``grad.PARAMETER``, gradients of sum(out[i] * cos(0.7 * i + 0.3)).

``tests/goldens/audio/stretches.json``: probabilities, settings, and the segments that the package ``silero-vad`` finds by them
(``pip install --no-deps silero-vad==6.2.3``).
"""

from __future__ import annotations

import json
import math

import numpy as np
import torch
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from silero_vad.utils_vad import get_speech_timestamps_from_probs
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

AUDIO = GOLDENS / "audio"
VAD = {"chunk": 64, "context": 8, "n_fft": 32, "stride": 16, "hidden_size": 8}
WIDTHS = [6, 4, 4, 4, 4, 3]


def draw(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(7)
        elif name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
            found[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            found[name] = torch.randn(shape, generator=generator) / math.sqrt(max(1, math.prod(shape[1:])))
    return found


def keep(name: str, config: dict, weights: dict, inputs: dict, out: torch.Tensor, wide: dict) -> None:
    folder = AUDIO / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save(weights, folder / "model.safetensors")
    learnt = {k: v for k, v in wide.items() if v.requires_grad}
    found = torch.autograd.grad((out * cotangent(out.shape)).sum(), list(learnt.values()))
    grads = {f"grad.{k}": narrow(g) for k, g in zip(learnt, found, strict=True)}
    save({**inputs, "out": narrow(out), **grads}, folder / "goldens.safetensors")


def widened(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.double().requires_grad_("running" not in k) for k, v in weights.items() if v.is_floating_point()}


def silero() -> None:
    bins, width = VAD["n_fft"] // 2 + 1, VAD["hidden_size"]
    shapes: dict[str, tuple[int, ...]] = {"stft_conv.weight": (2 * bins, 1, VAD["n_fft"])}
    for i, (a, b) in enumerate(((bins, width), (width, width // 2), (width // 2, width // 2), (width // 2, width)), 1):
        shapes |= {f"conv{i}.weight": (b, a, 3), f"conv{i}.bias": (b,)}
    shapes |= {f"lstm_cell.{n}_{p}": (4 * width, width) for n, p in (("weight", "ih"), ("weight", "hh"))}
    shapes |= {f"lstm_cell.bias_{p}": (4 * width,) for p in ("ih", "hh")}
    shapes |= {"final_conv.weight": (1, width, 1), "final_conv.bias": (1,)}
    weights = draw(shapes, 5)
    wide, samples = widened(weights), torch.randn((2, 5 * VAD["chunk"]), generator=torch.Generator().manual_seed(6))
    padded, state, out = F.pad(samples.double(), (VAD["context"], 0)), None, []
    cell = torch.nn.LSTMCell(width, width).double()
    for i in range(0, samples.shape[1], VAD["chunk"]):
        x = F.pad(padded[:, i : i + VAD["chunk"] + VAD["context"]], (0, VAD["context"]), mode="reflect")[:, None]
        x = F.conv1d(x, wide["stft_conv.weight"], stride=VAD["stride"])
        x = (x[:, :bins] ** 2 + x[:, bins:] ** 2).sqrt()
        for k, stride in ((1, 1), (2, 2), (3, 2), (4, 1)):
            x = F.relu(F.conv1d(x, wide[f"conv{k}.weight"], wide[f"conv{k}.bias"], stride=stride, padding=1))
        parameters = {n.removeprefix("lstm_cell."): v for n, v in wide.items() if n.startswith("lstm_cell")}
        state = torch.func.functional_call(cell, parameters, (x.squeeze(-1), state))
        x = F.conv1d(state[0].relu()[:, :, None], wide["final_conv.weight"], wide["final_conv.bias"])
        out.append(torch.sigmoid(x).squeeze(1).mean(1))
    keep("silero_vad", {"model_type": "silero-vad", **VAD}, weights, {"samples": samples}, torch.stack(out, 1), wide)


def crepe() -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    before = 1
    for i, width in enumerate(WIDTHS, 1):
        shapes |= {f"conv{i}.weight": (width, before, 512 if i == 1 else 64, 1), f"conv{i}.bias": (width,)}
        norm = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"conv{i}_BN.{part}": (width,) for part in norm} | {f"conv{i}_BN.num_batches_tracked": ()}
        before = width
    shapes |= {"classifier.weight": (360, 4 * before), "classifier.bias": (360,)}
    weights = draw(shapes, 8)
    wide, frames = widened(weights), torch.randn((3, 1024), generator=torch.Generator().manual_seed(9))
    x = frames.double()[:, None, :, None]
    for i in range(1, 7):
        x = F.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
        x = F.relu(F.conv2d(x, wide[f"conv{i}.weight"], wide[f"conv{i}.bias"], stride=(4, 1) if i == 1 else 1))
        norm = [wide[f"conv{i}_BN.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = F.max_pool2d(F.batch_norm(x, *norm, training=False, eps=0.0010000000474974513), (2, 1), (2, 1))
    x = x.permute(0, 2, 1, 3).reshape(3, -1)
    out = torch.sigmoid(F.linear(x, wide["classifier.weight"], wide["classifier.bias"]))
    keep("crepe", {"model_type": "crepe", "widths": WIDTHS}, weights, {"frames": frames}, out, wide)


def ge2e() -> None:
    """The network of the package ``resemblyzer``, small; ``mel`` are its frames of ``samples``, by transformers' audio_utils."""
    size = {"num_mel_bins": 8, "hidden_size": 6, "embedding_size": 5, "num_layers": 3}
    lstm = torch.nn.LSTM(8, 6, 3, batch_first=True).double()
    linear = torch.nn.Linear(6, 5).double()
    shapes: dict[str, tuple[int, ...]] = {"similarity_weight": (1,), "similarity_bias": (1,)}
    shapes |= {f"lstm.{n}": tuple(v.shape) for n, v in lstm.named_parameters()}
    shapes |= {f"linear.{n}": tuple(v.shape) for n, v in linear.named_parameters()}
    weights = draw(shapes, 11)
    wide, frames = widened(weights), torch.rand((4, 20, 8), generator=torch.Generator().manual_seed(12))
    parts = {n.removeprefix("lstm."): v for n, v in wide.items() if n.startswith("lstm.")}
    hidden = torch.func.functional_call(lstm, parts, (frames.double(),))[1][0][-1]
    raw = F.relu(F.linear(hidden, wide["linear.weight"], wide["linear.bias"]))
    vectors = raw / torch.norm(raw, dim=1, keepdim=True)
    cosines = vectors @ (vectors[:2] / vectors[:2].norm(dim=1, keepdim=True)).T
    out = torch.cat([vectors, cosines * wide["similarity_weight"] + wide["similarity_bias"]], 1)
    samples = 0.01 * torch.randn(32_000, generator=torch.Generator().manual_seed(13))
    loud = samples.double().numpy() * 10 ** (-30 / 20) / np.sqrt(np.mean(samples.double().numpy() ** 2))
    table = mel_filter_bank(201, 40, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    settings = {"frame_length": 400, "hop_length": 160, "power": 2.0, "pad_mode": "constant", "mel_filters": table}
    mel = spectrogram(np.pad(loud, (0, 237 * 160 - 32_000)), window_function(400, "hann"), **settings)
    inputs = {"frames": frames, "samples": samples, "mel": torch.from_numpy(mel.T.astype(np.float32)).contiguous()}
    keep("ge2e", {"model_type": "ge2e", **size}, weights, inputs, out, wide)


def stretches() -> None:
    rng, cases = np.random.default_rng(3), []
    settings = [
        {}, {"threshold": 0.7}, {"threshold": 0.3, "neg_threshold": 0.05}, {"min_silence_duration_ms": 400},
        {"min_speech_duration_ms": 0, "speech_pad_ms": 0}, {"speech_pad_ms": 200}, {"max_speech_duration_s": 1.0},
        {"max_speech_duration_s": 2.0, "min_silence_duration_ms": 300},
    ]  # fmt: skip
    for told in settings:
        for steps in (40, 150):
            walk = np.clip(np.cumsum(rng.normal(0, 0.25, steps)) % 2, 0, 2)
            shares = [round(float(v), 3) for v in np.where(walk > 1, 2 - walk, walk)]
            total = 512 * steps - int(rng.integers(0, 512))
            found = get_speech_timestamps_from_probs(shares, audio_length_samples=total, **told)
            cases.append({"shares": shares, "total": total, "told": told, "found": [[s["start"], s["end"]] for s in found]})
    (AUDIO / "stretches.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    silero()
    crepe()
    ge2e()
    stretches()
