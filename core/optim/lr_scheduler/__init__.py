"""Learning rates that change from step to step, by torch's names and with torch's numbers.

``step()`` is called after the optimizer's and sets ``group["lr"]`` of every parameter group. Most schedules multiply what is
there, so several can work on one optimizer at once (``ChainedScheduler``) or one after another (``SequentialLR``).
"""

from __future__ import annotations

from .base import LRScheduler
from .combine import ChainedScheduler, SequentialLR
from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .decay import ExponentialLR, MultiStepLR, PolynomialLR, StepLR
from .factor import ConstantLR, LambdaLR, LinearLR
from .one_cycle import OneCycleLR
from .plateau import ReduceLROnPlateau
from .warmup import warmup

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "warmup",
]
