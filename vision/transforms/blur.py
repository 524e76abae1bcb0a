"""Pictures out of focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import kernels
from ...core.errors import ArgumentError, DataError
from ...core.kernels.reference.pictures import SHIFT, Taps
from ...core.random import Key
from .transform import Array, Drawn, Transform, interval


class GaussianBlur(Transform):
    """Blurred by a Gaussian; beyond the edges the picture is mirrored.

    Args:
        kernel_size: width and height in pixels, odd; one number means both.
        sigma: bounds of the standard deviation in pixels, or one number.

    Raises:
        ArgumentError: sizes that are even, or no standard deviations.
        DataError: a picture not larger than half the kernel.

    Columns and rows are blurred one after the other in whole numbers, so that all devices agree on the bits; torchvision's
    result is at most one level away.
    """

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        if len(sizes) != 2 or not all(isinstance(s, int) and s > 0 and s % 2 for s in sizes):
            raise ArgumentError(f"GaussianBlur: kernel_size={kernel_size!r}", fix="give odd numbers of pixels")
        bounds = (sigma, sigma) if isinstance(sigma, (int, float)) else sigma
        self.kernel_size, self.sigma = sizes, interval("GaussianBlur", "sigma", bounds, 1e-3, 1e4)

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - the same for all sizes
        """The standard deviation."""
        low, high = self.sigma
        return (low + float(key.uniform(dtype=np.float64)) * (high - low),)

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        height, width = images.shape[1:3]
        sigmas = np.array(drawn)[:, 0]
        if len(set(sigmas)) == 1:
            sigmas = sigmas[:1]
        rows, columns = _taps(height, self.kernel_size[1], sigmas), _taps(width, self.kernel_size[0], sigmas)
        return kernels.of(images).resample_bytes(images, rows, columns)

    def __repr__(self) -> str:
        return f"GaussianBlur({self.kernel_size}, {self.sigma})"


def _taps(size: int, kernel: int, sigmas: np.ndarray[Any, Any]) -> Taps | None:
    half = kernel // 2
    if half >= size:
        raise DataError(
            f"a blur over {kernel} pixels of a picture with a side of {size}",
            why="mirrored at its edges the picture is too small",
            fix="use a smaller kernel_size",
        )
    if not half:
        return None
    steps = np.arange(-half, half + 1)
    share = np.exp(-0.5 * (steps / sigmas[:, None]) ** 2)
    share /= share.sum(axis=1, keepdims=True)
    whole = np.round(share * (1 << SHIFT)).astype(np.int32)
    whole[:, half] += (1 << SHIFT) - whole.sum(axis=1)  # what is white stays white
    places = np.arange(size)[:, None] + steps
    mirrored = np.where(places < 0, -places, np.where(places >= size, 2 * (size - 1) - places, places))
    start, end = mirrored.min(axis=1), mirrored.max(axis=1) + 1
    weight = np.zeros((len(sigmas), size, (end - start).max()), np.int32)
    for t in range(kernel):  # where the picture is mirrored two taps meet
        weight[:, np.arange(size), mirrored[:, t] - start] += whole[:, t : t + 1]
    shape = (len(sigmas), size)
    return Taps(np.broadcast_to(start, shape).copy(), np.broadcast_to(end - start, shape).copy(), weight)
