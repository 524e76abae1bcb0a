"""Goldens of transformers' VITS, in float64.

``tests/goldens/audio/NAME``: a tiny random model as ``save_pretrained`` writes it with its ``vocab.json`` and
``tokenizer_config.json``, and ``goldens.safetensors`` with ``input_ids``, ``attention_mask``, the noise that was drawn
(``noise.durations``, ``noise.frames``), ``log_duration``, ``waveform``, and ``grad.PARAMETER``: gradients of sums of
out[i] * cos(0.7 * i + 0.3) of the waveform and of the durations. ``tests/goldens/audio/vits_letters.json``: texts and their ids.
"""

from __future__ import annotations

import json
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before transformers
import transformers
from golden_recorder import GOLDENS, cotangent, narrow
from make_goldens_speech import randomise
from make_goldens_text import save

AUDIO = GOLDENS / "audio"
LETTERS = ["k", "'", "z", "a", "b", "e", "h", "i", "l", "o", "t", "w", "r", "d", " ", "-", "6"]
SIZE = {
    "vocab_size": len(LETTERS) + 1, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "window_size": 3,
    "ffn_dim": 10, "flow_size": 6, "spectrogram_bins": 5, "upsample_initial_channel": 8, "upsample_rates": [4, 2],
    "upsample_kernel_sizes": [8, 4], "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3], [1, 2]],
    "duration_predictor_flow_bins": 4, "duration_predictor_num_flows": 2, "duration_predictor_filter_channels": 7,
    "prior_encoder_num_flows": 2, "prior_encoder_num_wavenet_layers": 2, "posterior_encoder_num_wavenet_layers": 2,
    "wavenet_dilation_rate": 2,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "vits": {},
    "vits_voices": {"num_speakers": 3, "speaker_embedding_size": 4, "use_stochastic_duration_prediction": False},
}
TEXTS = ["Hello world", "a - whale.", "  It's 6 o'clock  ", "BATH", "kk walk k", "like"]


def golden(name: str, changes: dict[str, Any]) -> None:
    folder = AUDIO / name
    folder.mkdir(parents=True, exist_ok=True)
    model = transformers.VitsModel(transformers.VitsConfig(**SIZE, **changes)).eval()
    randomise(model)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate([*LETTERS, "<unk>"])}))
    settings = {"tokenizer_class": "VitsTokenizer", "add_blank": True, "normalize": True, "phonemize": False, "is_uroman": False}
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "language": "eng", "pad_token": "k"}) + "\n")
    generator = torch.Generator().manual_seed(4)
    ids = torch.randint(0, len(LETTERS), (2, 9), generator=generator)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    draws = {
        "noise.durations": torch.randn((2, 2, 9), generator=generator),
        "noise.frames": torch.randn((2, 6, 400), generator=generator),
    }
    model = model.double()
    kept: dict[str, torch.Tensor] = {}
    model.duration_predictor.register_forward_hook(lambda _m, _a, out: kept.update(log_duration=out))
    real, real_like = torch.randn, torch.randn_like
    torch.randn = lambda *_a, **_k: draws["noise.durations"].double()
    torch.randn_like = lambda x: draws["noise.frames"].double()[:, :, : x.shape[2]]
    voice = {"speaker_id": 2} if "num_speakers" in changes else {}
    out = model(input_ids=ids, attention_mask=mask, **voice)
    torch.randn, torch.randn_like = real, real_like
    results = {"waveform": out.waveform, "log_duration": kept["log_duration"]}
    total = sum((v * cotangent(v.shape)).sum() for v in results.values())
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(total, [model.get_parameter(n) for n in names], allow_unused=True)
    grads = {f"grad.{n}": narrow(g) for n, g in zip(names, found, strict=True) if g is not None}
    draws["noise.frames"] = draws["noise.frames"][:, :, : out.spectrogram.shape[2]].contiguous()
    plain = {"input_ids": ids, "attention_mask": mask, **draws, "sequence_lengths": out.sequence_lengths}
    save({**plain, **{k: narrow(v) for k, v in results.items()}, **grads}, folder / "goldens.safetensors")
    print(name, out.waveform.shape, out.sequence_lengths, float(out.waveform.abs().max()))


if __name__ == "__main__":
    for each, told in MODELS.items():
        golden(each, told)
    reader = transformers.VitsTokenizer.from_pretrained(AUDIO / "vits")
    (AUDIO / "vits_letters.json").write_text(json.dumps({text: reader(text)["input_ids"] for text in TEXTS}) + "\n")
