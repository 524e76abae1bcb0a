"""Mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019): pictures and their labels blended within an update.

Partners come from all batches of the update: how it is cut into batches does not change what is blended with what.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import random
from ...core.create import from_numpy
from ...core.tensor import Tensor
from ..language.schema import Train
from .batches import Batch


def mixed(parts: Sequence[Batch], recipe: Train, classes: int, key: tuple[int, int]) -> list[tuple[Any, Tensor]]:
    """The inputs and targets of each batch of an update, blended where the recipe says so.

    Args:
        parts: the batches of the update.
        recipe: its ``mixup`` and ``cutmix``; where both are on, each update draws one of them, with even chances (as timm's).
        classes: K.
        key: (seed, step).

    Returns:
        For each batch the inputs, and labels int64 (N,) or, where they are blended, shares float32 (N, K).
    """
    if not recipe.mixup and not recipe.cutmix:
        return [(part.inputs, from_numpy(part.labels)) for part in parts]
    blend, alpha = _choose(recipe, key)
    images = np.concatenate([part.inputs.numpy() for part in parts])
    targets = one_hot(np.concatenate([part.labels for part in parts]), classes)
    images, targets = blend(images, targets, alpha, *key, 0)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return [(from_numpy(x), from_numpy(t)) for x, t in zip(np.split(images, ends), np.split(targets, ends), strict=True)]


def _choose(recipe: Train, key: tuple[int, int]) -> tuple[Any, float]:
    both = bool(recipe.mixup and recipe.cutmix)
    first = random.key(key[0], "mix-switch", key[1]).uniform((1,))[0] < 0.5 if both else bool(recipe.mixup)
    return (mixup, recipe.mixup) if first else (cutmix, recipe.cutmix)


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(N,) int -> (N, K) float32."""
    return np.eye(classes, dtype=np.float32)[labels]


def mixup(images: np.ndarray, targets: np.ndarray, alpha: float, *key: int) -> tuple[np.ndarray, np.ndarray]:
    """Blends each picture with a partner of the same batch.

    Args:
        images: (N, C, H, W) float32.
        targets: (N, K) float32, rows sum to 1.
        alpha: parameter of the Beta distribution that the share is drawn from.
        key: what the draws are keyed by: seed, step, part of the step.
    """
    share = np.float32(beta(alpha, *key))
    partner = random.key(key[0], "mix-partner", *key[1:]).permutation(len(images))
    return _blend(images, images[partner], share), _blend(targets, targets[partner], share)


def cutmix(images: np.ndarray, targets: np.ndarray, alpha: float, *key: int) -> tuple[np.ndarray, np.ndarray]:
    """Pastes a rectangle of a partner into each picture; labels are blended by area. Arguments as for ``mixup``."""
    _, _, height, width = images.shape
    side = math.sqrt(1 - beta(alpha, *key))
    u = random.key(key[0], "mix-box", *key[1:]).uniform((2,))
    centre_y, centre_x, h, w = int(u[0] * height), int(u[1] * width), int(height * side), int(width * side)
    rows = slice(max(0, centre_y - h // 2), min(height, centre_y + h // 2))
    columns = slice(max(0, centre_x - w // 2), min(width, centre_x + w // 2))
    partner = random.key(key[0], "mix-partner", *key[1:]).permutation(len(images))
    mixed = images.copy()
    mixed[:, :, rows, columns] = images[partner][:, :, rows, columns]
    share = np.float32(1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width))
    return mixed, _blend(targets, targets[partner], share)


def _blend(a: np.ndarray, b: np.ndarray, share: np.float32) -> np.ndarray:
    return a * share + b * (np.float32(1) - share)


def beta(alpha: float, *key: int) -> float:
    """A draw from Beta(alpha, alpha) by Jöhnk's method, from uniform numbers keyed by ``key`` alone.

    Example:
        >>> 0.0 <= beta(0.2, 7, 3) <= 1.0 and beta(0.2, 7, 3) == beta(0.2, 7, 3)
        True
    """
    block = 0
    while True:
        u = random.key(key[0], "mix-share", *key[1:], block).uniform((256, 2)).astype(np.float64) ** (1 / alpha)
        inside = (u.sum(1) <= 1) & (u.sum(1) > 0)
        if inside.any():
            x, y = u[int(inside.argmax())]
            return float(x / (x + y))
        block += 1
