"""Changes of pictures together with what is known about places in them."""

from .blur import GaussianBlur
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
from .erasing import RandomErasing
from .flips import RandomHorizontalFlip, RandomVerticalFlip
from .mixing import CutMix, MixUp, Mosaic
from .policies import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from .resizing import resize
from .sample import Sample
from .transform import Compose, RandomApply, RandomChoice, Transform
from .warps import RandomAffine, RandomPerspective, RandomRotation

__all__ = [
    "AugMix", "AutoAugment", "CenterCrop", "ColorJitter", "Compose", "CutMix", "GaussianBlur", "MixUp", "Mosaic", "Pad",
    "RandAugment", "RandomAdjustSharpness", "RandomAffine", "RandomApply", "RandomAutocontrast", "RandomChoice", "RandomCrop",
    "RandomEqualize", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomIoUCrop",
    "RandomPerspective", "RandomPosterize", "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip",
    "RandomZoomOut", "Resize", "Sample", "Transform", "TrivialAugmentWide", "resize",
]  # fmt: skip
