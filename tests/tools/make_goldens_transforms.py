"""Goldens of transforms, by torchvision on PIL images.

``tests/goldens/transforms/torchvision.safetensors``:

    picture                      uint8 (H, W, 3)
    change.NAME.STRENGTH.FILTER  what ``_apply_op`` of torchvision's policies makes of it
    space.POLICY.NAME            strengths of its levels, with 31 of them for this picture's size (AugMix: 10)
    affine.K, perspective.K      the picture warped, bilinear; the arguments are in ``torchvision.json``
    blur.K                       blurred

``torchvision.json``: those arguments, and AutoAugment's policies.

    python tests/tools/make_goldens_transforms.py
"""

from __future__ import annotations

import json

import numpy as np
import torch
import torchvision_shim  # noqa: F401 - must come before torchvision
from golden_recorder import GOLDENS
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode, autoaugment
from torchvision.transforms import functional as F

FOLDER = GOLDENS / "transforms"
FILTERS = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
CHANGES = {
    "ShearX": (0.09, -0.3), "ShearY": (0.21, -0.05), "TranslateX": (9.0, -3.7), "TranslateY": (4.9, -8.0),
    "Rotate": (27.0, -9.3, 90.0),
    "Brightness": (0.27, -0.9), "Color": (0.6, -0.33), "Contrast": (0.9, -0.4), "Sharpness": (0.5, -0.7), "Posterize": (4.0, 7.0),
    "Solarize": (110.5,), "AutoContrast": (0.0,), "Equalize": (0.0,), "Invert": (0.0,), "Identity": (0.0,),
}  # fmt: skip
AFFINE = [(30.0, [3, -2], 0.8, [5.0, -7.0]), (-110.5, [0, 4], 1.3, [0.0, 20.0])]
CORNERS = [[0, 0], [30, 0], [30, 23], [0, 23]]
PERSPECTIVE = [[[3, 2], [27, 1], [29, 20], [1, 22]], [[0, 6], [24, 0], [30, 18], [5, 23]]]
BLUR = [([5, 3], [1.2, 1.2]), ([9, 9], [0.6, 0.6])]


def picture() -> Image.Image:
    """Smooth colours with some grain and full range."""
    random = np.random.default_rng(4)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((31, 24), Image.Resampling.BICUBIC)
    grain = np.asarray(coarse, np.float64) + random.normal(0, 12, (24, 31, 3))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def array(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


def main() -> None:
    image = picture()
    out = {"picture": array(image)}
    for name, strengths in CHANGES.items():
        for strength in strengths:
            for filter_, mode in FILTERS.items():
                changed = autoaugment._apply_op(image, name, strength, mode, [9.0, 8.0, 7.0])
                out[f"change.{name}.{strength}.{filter_}"] = array(changed)
    spaces = {
        "RandAugment": autoaugment.RandAugment()._augmentation_space(31, (24, 31)),
        "TrivialAugmentWide": autoaugment.TrivialAugmentWide()._augmentation_space(31),
        "AutoAugment": autoaugment.AutoAugment()._augmentation_space(10, (24, 31)),
        "AugMix": autoaugment.AugMix()._augmentation_space(10, (24, 31)),
    }
    for policy, space in spaces.items():
        out |= {f"space.{policy}.{name}": levels.to(torch.float32).reshape(-1) for name, (levels, _) in space.items()}
    for k, (angle, shift, scale, shear) in enumerate(AFFINE):
        out[f"affine.{k}"] = array(F.affine(image, angle, shift, scale, shear, FILTERS["bilinear"], fill=[1, 2, 3]))
    for k, corners in enumerate(PERSPECTIVE):
        out[f"perspective.{k}"] = array(F.perspective(image, CORNERS, corners, FILTERS["bilinear"], fill=[1, 2, 3]))
    for k, (size, sigma) in enumerate(BLUR):
        out[f"blur.{k}"] = array(F.gaussian_blur(image, size, sigma))
    FOLDER.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in out.items()}, FOLDER / "torchvision.safetensors")
    said = {
        "affine": AFFINE, "corners": CORNERS, "perspective": PERSPECTIVE, "blur": BLUR,
        "policies": {p.value: autoaugment.AutoAugment(p).policies for p in autoaugment.AutoAugmentPolicy},
        "signed": {policy: [n for n, (_, signed) in space.items() if signed] for policy, space in spaces.items()},
    }  # fmt: skip
    (FOLDER / "torchvision.json").write_text(json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
