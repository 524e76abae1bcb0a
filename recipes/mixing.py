"""Mixup (Zhang et al. 2017) and CutMix (Yun et al. 2019): pictures and their labels blended within a batch."""

from __future__ import annotations

import math

import numpy as np

from ..core import random


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
