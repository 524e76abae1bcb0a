"""Pictures mirrored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.errors import ArgumentError
from ...core.random import Key
from .geometry import Geometric, Matrix
from .sample import Sample
from .transform import Array, Drawn, share, some


class _Flip(Geometric):
    """Args:
    p: chance.
    pairs: keypoints that change places when an object is mirrored, such as the left and the right eye: their numbers.
    """

    axis = 2

    def __init__(self, p: float = 0.5, pairs: Sequence[tuple[int, int]] = ()) -> None:
        self.p, self.pairs = share(type(self).__name__, "p", p), tuple(pairs)
        if len({i for pair in self.pairs for i in pair}) != 2 * len(self.pairs):
            raise ArgumentError(f"{type(self).__name__}: pairs={pairs!r}", fix="name each keypoint once, with its other")

    def draw(self, key: Key, height: int, width: int) -> Drawn:  # noqa: ARG002 - the same for all sizes
        return (float(key.uniform() < self.p),)

    def pixels(self, images: Array, drawn: Sequence[Drawn]) -> Array:
        return some(images, [d[0] > 0 for d in drawn], lambda x, _: self._mirrored(x))

    def _mirrored(self, images: Array) -> Array:
        return images[:, :, ::-1] if self.axis == 2 else images[:, ::-1]

    def masks(self, masks: Array, drawn: Drawn, fill: int) -> Array:  # noqa: ARG002 - nothing is left empty
        return self._mirrored(masks) if drawn[0] else masks

    def matrix(self, drawn: Drawn, height: int, width: int) -> Matrix:
        matrix = np.eye(3)
        if drawn[0]:
            row = 0 if self.axis == 2 else 1
            matrix[row, row], matrix[row, 2] = -1.0, width if self.axis == 2 else height
        return matrix

    def moved(self, sample: Sample, drawn: Drawn) -> Sample:
        if not drawn[0]:
            return sample
        sample = super().moved(sample, drawn)
        if not self.pairs or sample.keypoints is None:
            return sample
        order = np.arange(sample.keypoints.shape[1])
        if max(i for pair in self.pairs for i in pair) >= len(order):
            raise ArgumentError(
                f"{type(self).__name__} changes the places of keypoints {self.pairs}",
                why=f"the objects have {len(order)}",
                fix="give the pairs of this dataset",
            )
        for a, b in self.pairs:
            order[a], order[b] = b, a
        return sample.replace(keypoints=sample.keypoints[:, order])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(_Flip):
    """Left and right exchanged, with a chance of ``p``.

    Args:
        p: chance.
        pairs: keypoints that change places when an object is mirrored, such as the left and the right eye: their numbers.

    Example:
        >>> sample = Sample(np.arange(6, dtype=np.uint8).reshape(1, 6), boxes=[[0, 0, 2, 1]])
        >>> flipped = RandomHorizontalFlip(p=1.0)(sample)
        >>> flipped.image.ravel().tolist(), flipped.boxes.tolist()
        ([5, 4, 3, 2, 1, 0], [[4.0, 0.0, 6.0, 1.0]])
    """


class RandomVerticalFlip(_Flip):
    """Upside down, with a chance of ``p``; arguments as for :class:`RandomHorizontalFlip`."""

    axis = 1
