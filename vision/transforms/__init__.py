"""Changes of pictures together with what is known about places in them."""

from .colour import (
    ColorJitter,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from .crops import CenterCrop, Pad, RandomCrop, RandomIoUCrop, RandomResizedCrop, RandomZoomOut, Resize
from .flips import RandomHorizontalFlip, RandomVerticalFlip
from .resizing import resize
from .sample import Sample
from .transform import Compose, RandomApply, RandomChoice, Transform
from .warps import RandomAffine, RandomPerspective, RandomRotation

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "Pad", "RandomAdjustSharpness", "RandomAffine", "RandomApply", "RandomAutocontrast",
    "RandomChoice", "RandomCrop", "RandomEqualize", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomIoUCrop",
    "RandomPerspective", "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip",
    "RandomZoomOut", "Resize", "Sample", "Transform", "resize",
]  # fmt: skip
