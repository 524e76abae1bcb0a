"""Optimizers, learning-rate schedules, gradient clipping and averages of weights, in torch's vocabulary: ``nyala.optim``."""

from __future__ import annotations

from . import clip, ema, lr_scheduler
from .adafactor import Adafactor
from .adam import Adam, AdamW
from .clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from .ema import EMA
from .lamb import LAMB
from .lion import Lion
from .muon import Muon
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "EMA",
    "LAMB",
    "SGD",
    "Adafactor",
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
    "Optimizer",
    "clip",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "ema",
    "get_total_norm",
    "lr_scheduler",
]
