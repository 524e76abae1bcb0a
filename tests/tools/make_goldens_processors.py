"""Goldens of preprocessing, by transformers' image processors on Pillow.

``tests/goldens/transforms/processors.json`` holds the ``preprocessor_config.json`` of each; ``processors.safetensors``:

    picture.K    uint8 (H, W, 3)
    NAME.K       what the processor makes of it, float32 (3, H, W); of large results every 16th row and column

    python tests/tools/make_goldens_processors.py
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import numpy as np
import torchvision_shim  # noqa: F401 - must come before transformers
from golden_recorder import GOLDENS
from PIL import Image
from safetensors.numpy import save_file

FOLDER = GOLDENS / "transforms"
_SHORT, _CROP = {"shortest_edge": 19}, {"height": 16, "width": 16}
PROCESSORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "convnext": ("convnext", "ConvNext", {"size": {"shortest_edge": 16}}),
    "convnext_pct": ("convnext", "ConvNext", {"size": {"shortest_edge": 16}, "crop_pct": 0.95}),
    "convnext_384": ("convnext", "ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": 1.0}),
    "dinov2": ("bit", "Bit", {"size": _SHORT, "crop_size": _CROP}),
    "deit": ("deit", "DeiT", {"size": {"height": 20, "width": 20}, "crop_size": _CROP}),
    "vit": ("vit", "ViT", {"size": _CROP}),
    "beit": ("beit", "Beit", {"size": {"height": 18, "width": 18}, "crop_size": _CROP, "do_center_crop": True}),
    "mobilenet_v2": ("mobilenet_v2", "MobileNetV2", {"size": _SHORT, "crop_size": _CROP}),
    "segformer": ("segformer", "Segformer", {"size": _CROP, "do_reduce_labels": False}),
    "clip": ("clip", "CLIP", {"size": _SHORT, "crop_size": _CROP}),
    "siglip": ("siglip", "Siglip", {"size": _CROP}),
}


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(7)
    shapes = ((41, 60), (75, 22), (16, 17))
    return [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def main() -> None:
    out = {f"picture.{k}": picture for k, picture in enumerate(pictures())}
    configs = {}
    for name, (folder, kind, arguments) in PROCESSORS.items():
        module = importlib.import_module(f"transformers.models.{folder}.image_processing_pil_{folder}")
        processor = getattr(module, f"{kind}ImageProcessorPil")(**arguments)
        configs[name] = json.loads(processor.to_json_string())
        for k, picture in enumerate(pictures()):
            values = np.asarray(processor(Image.fromarray(picture))["pixel_values"][0], np.float32)
            out[f"{name}.{k}"] = np.ascontiguousarray(values[:, ::16, ::16] if values.shape[1] > 64 else values)
    save_file(out, FOLDER / "processors.safetensors")
    (FOLDER / "processors.json").write_text(json.dumps(configs, indent=1) + "\n")


if __name__ == "__main__":
    main()
