"""Goldens of Depth Anything and of its image processor, by transformers.

``tests/goldens/vision/NAME/`` holds a tiny random model as transformers writes it (``config.json``, ``model.safetensors``) and
``goldens.safetensors``:

    input, odd_input     pictures; the odd one's sides are no multiples of a patch
    logits, odd_logits   eval mode: the depth of each pixel
    grad.PARAMETER       gradients of sum(logits[i] * cos(0.7 * i + 0.3)), under the names of the file

``depth_anything`` has the processor too: ``preprocessor_config.json``, and in ``processor.safetensors`` for each case
``CASE.picture`` (H, W, 3) uint8, ``CASE.pixels``, what it is resized to, and ``CASE.prepared``, what the model gets.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torchvision_shim  # noqa: F401 - must come before what imports torchvision
import transformers
from golden_recorder import cotangent, narrow
from make_goldens_vits import VISION, picture, randomise, save
from safetensors.torch import load_file

_BACKBONE = {
    "image_size": 56, "patch_size": 14, "hidden_size": 16, "num_hidden_layers": 5, "num_attention_heads": 2,
    "out_indices": [1, 2, 4, 5], "reshape_hidden_states": False,
}  # fmt: skip
_NECK = {
    "patch_size": 14, "reassemble_hidden_size": 16, "neck_hidden_sizes": [4, 6, 8, 12], "fusion_hidden_size": 8,
    "head_hidden_size": 4,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "depth_anything": _NECK,
    "depth_anything_metric": {**_NECK, "depth_estimation_type": "metric", "max_depth": 20},
}


def write(name: str, settings: dict[str, Any]) -> None:
    folder = VISION / name
    backbone = transformers.Dinov2Config(**_BACKBONE)
    model = transformers.DepthAnythingForDepthEstimation(transformers.DepthAnythingConfig(backbone_config=backbone, **settings))
    randomise(model.eval())
    model.head.conv3.weight.data.mul_(0.1)  # so that sigmoid does not saturate,
    model.head.conv3.bias.data.fill_(0.5)  # and ReLU lets most depths through
    model.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    model = model.double()
    x, odd = picture(2, 3, 56, 42, seed=1), picture(1, 3, 45, 64, seed=2)
    depth = model(x.double()).predicted_depth
    assert (depth > 0).double().mean() > 0.3, "too few depths have gradients"
    used = {n: p for n, p in model.named_parameters() if "mask_token" not in n}
    parts = torch.autograd.grad((depth * cotangent(depth.shape)).sum(), list(used.values()), allow_unused=True)
    found = {n: torch.zeros_like(used[n]) if g is None else g for n, g in zip(used, parts, strict=True)}
    unused = {n for n, g in zip(used, parts, strict=True) if g is None}
    with torch.no_grad():
        goldens = {"logits": depth, "odd_logits": model(odd.double()).predicted_depth}
        for n, p in model.named_parameters():
            p.data = found[n] if n in found else torch.zeros_like(p)
    with tempfile.TemporaryDirectory() as written:  # transformers writes names that are not those of its modules
        model.save_pretrained(written)
        gradients = load_file(Path(written) / "model.safetensors")
    print("no gradient:", sorted(unused))
    kept = {f"grad.{n}": narrow(g) for n, g in gradients.items() if "mask_token" not in n}
    save({"input": x, "odd_input": odd, **{k: narrow(v) for k, v in goldens.items()}, **kept}, folder / "goldens.safetensors")


def write_processor() -> None:
    folder = VISION / "depth_anything"
    processor = transformers.DPTImageProcessorPil(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    processor.save_pretrained(folder)
    (folder / "preprocessor_config.json").chmod(0o644)
    kept = {}
    for name, (height, width) in {"wide": (40, 67), "high": (91, 50), "square": (35, 35)}.items():
        image = (picture(height, width, 3, seed=height) * 60 + 128).clip(0, 255).to(torch.uint8)
        raw = processor(image.numpy(), do_rescale=False, do_normalize=False)["pixel_values"][0]
        kept[f"{name}.picture"], kept[f"{name}.pixels"] = image, torch.from_numpy(raw).permute(1, 2, 0).to(torch.uint8)
        kept[f"{name}.prepared"] = torch.from_numpy(processor(image.numpy())["pixel_values"][0]).float()
    save(kept, folder / "processor.safetensors")


def main() -> None:
    torch.use_deterministic_algorithms(True)
    wanted = sys.argv[1:]
    for name, settings in ((n, s) for n, s in MODELS.items() if not wanted or n in wanted):
        write(name, settings)
    write_processor()


if __name__ == "__main__":
    main()
