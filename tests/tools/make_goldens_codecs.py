"""Goldens of transformers' neural codecs: EnCodec and DAC.

``tests/goldens/audio/NAME``: a tiny random model as ``save_pretrained`` writes it, and ``goldens.safetensors`` with
``input_values`` (2, channels, samples); ``audio_codes.B`` for each bandwidth or number of codebooks B, int64; ``audio_scales``,
where chunks are divided by their loudness; ``audio_values``, the sound after the first codes; ``embeddings`` of the first chunk;
all in float64 rounded to float32. ``grad.PARAMETER``: gradients of sum(embeddings[i] * cos(0.7 * i + 0.3)) for the encoder and of
sum(audio_values[i] * cos(0.7 * i + 0.3)) for the decoder (EnCodec), or of the latter and all losses together (DAC).
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers, which imports torchvision where it is installed
import transformers
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_text import save
from torch import nn

AUDIO = GOLDENS / "audio"
TINY = {
    "sampling_rate": 800, "num_filters": 2, "hidden_size": 8, "codebook_size": 16, "upsampling_ratios": [5, 2, 2],
    "num_lstm_layers": 2, "num_residual_layers": 2,
}  # fmt: skip
DAC = {"encoder_hidden_size": 2, "decoder_hidden_size": 16, "n_codebooks": 3, "codebook_size": 16, "codebook_dim": 3}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "encodec": ("EncodecModel", {**TINY, "target_bandwidths": [0.16, 0.64]}),
    "encodec_stereo": (
        "EncodecModel",
        {
            **TINY, "target_bandwidths": [0.16, 0.48], "audio_channels": 2, "normalize": True, "chunk_length_s": 0.25,
            "overlap": 0.1, "norm_type": "time_group_norm", "use_causal_conv": False,
        },
    ),
    "encodec_music": (
        "EncodecModel", {**TINY, "target_bandwidths": [0.48], "use_causal_conv": False, "use_conv_shortcut": False}
    ),
    "dac": ("DacModel", {**DAC, "sampling_rate": 800, "downsampling_ratios": [2, 4, 5]}),
    "dac_even": ("DacModel", {**DAC, "sampling_rate": 800, "downsampling_ratios": [2, 4]}),
}  # fmt: skip


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(11)
    for name, parameter in model.named_parameters():
        if name.endswith(("original0", "norm.weight", "alpha")):
            parameter.data.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(model, transformers.DacModel) and parameter.ndim == 3:  # it has no norms: keep what goes through small
            parameter.data.normal_(0, 0.5 / (parameter.shape[1] * parameter.shape[2]) ** 0.5, generator=generator)
        else:
            parameter.data.normal_(0, 0.3, generator=generator)
    for name, buffer in model.named_buffers():
        if name.endswith(("embed", "embed_avg", "cluster_size")):
            buffer.normal_(0, 0.5, generator=generator)


@torch.no_grad()
def spread(model: Any, values: torch.Tensor) -> None:
    """Put the codebooks where the frames of ``values`` lie, so that many codes are used."""
    generator = torch.Generator().manual_seed(13)
    frames = model.encoder(values[..., :200])
    middle, wide = frames.mean((0, 2)), frames.std((0, 2))
    if isinstance(model, transformers.DacModel):
        for book in model.quantizer.quantizers:
            book.in_proj.bias.copy_(-(book.in_proj.weight[..., 0] @ frames.mean((0, 2))))
            book.out_proj.weight.mul_(0.3)
            frames = frames - book(frames)[0]
        return
    for i, layer in enumerate(model.quantizer.layers):
        rows = torch.randn(layer.codebook.embed.shape, generator=generator) * wide * 0.7**i
        layer.codebook.embed.copy_(rows + (middle if i == 0 else 0))


def same_codes(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    assert torch.equal(one, other), "codes hang on rounding: choose another seed"
    return one


def encodec(model: Any, values: torch.Tensor) -> dict[str, torch.Tensor]:
    wide = values.double()
    plain = {b: model.encode(values, bandwidth=b) for b in model.config.target_bandwidths}
    model = model.double()
    found = {b: model.encode(wide, bandwidth=b) for b in model.config.target_bandwidths}
    goldens = {f"audio_codes.{b:g}": same_codes(v.audio_codes, plain[b].audio_codes) for b, v in found.items()}
    first = next(iter(found.values()))
    if first.audio_scales[0] is not None:
        goldens["audio_scales"] = narrow(torch.stack(list(first.audio_scales)))
    chunk = wide[..., : model.config.chunk_length]
    embeddings = model.encoder(chunk)
    heard = model.decode(first.audio_codes, first.audio_scales, last_frame_pad_length=first.last_frame_pad_length)[0]
    aim = (embeddings * cotangent(embeddings.shape)).sum() + (heard * cotangent(heard.shape)).sum()
    goldens |= {"embeddings": narrow(embeddings), "audio_values": narrow(heard)}
    return goldens | gradients(model, aim)


def dac(model: Any, values: torch.Tensor) -> dict[str, torch.Tensor]:
    wide = values.double()
    counts = range(1, model.config.n_codebooks + 1)
    plain = [model.encode(values, n).audio_codes for n in counts]
    model = model.double()
    found = [model.encode(wide, n).audio_codes for n in counts]
    goldens = {f"audio_codes.{n}": same_codes(a, b) for n, a, b in zip(counts, found, plain, strict=True)}
    out = model(wide)
    aim = (out.audio_values * cotangent(out.audio_values.shape)).sum() + out.loss.sum()
    goldens |= {"audio_values": narrow(out.audio_values), "embeddings": narrow(model.encoder(wide)), "loss": narrow(out.loss)}
    goldens["quantized"] = narrow(out.quantized_representation)
    return goldens | gradients(model, aim)


def gradients(model: nn.Module, aim: torch.Tensor) -> dict[str, torch.Tensor]:
    named = dict(model.named_parameters())
    found = torch.autograd.grad(aim, list(named.values()), allow_unused=True)
    return {f"grad.{key}": narrow(g) for key, g in zip(named, found, strict=True) if g is not None}


def tiny(name: str) -> None:
    kind, sizes = MODELS[name]
    made = getattr(transformers, kind)
    model = made(made.config_class(**sizes)).eval()
    channels = getattr(model.config, "audio_channels", 1)
    length = 427 if kind == "EncodecModel" else 440
    values = 0.5 * torch.randn((2, channels, length), generator=torch.Generator().manual_seed(3))
    randomise(model)
    spread(model, values)
    model.save_pretrained(AUDIO / name)
    (AUDIO / name / "model.safetensors").chmod(0o644)
    found = (encodec if kind == "EncodecModel" else dac)(model, values)
    save({"input_values": values, **found}, AUDIO / name / "goldens.safetensors")


if __name__ == "__main__":
    for each in sys.argv[1:] or MODELS:
        tiny(each)
