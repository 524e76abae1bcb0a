"""Linear maps along one dimension, told by a table: which elements go into each result, and with what weight.

Resizing, average pooling and padding are such maps. The adjoint of one is another, so one operation serves all, with
derivatives of any order, and its sums are always made in the table's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .. import kernels
from ..kernels.reference.spatial import Map
from ..operation import Operation
from ..tensor import Tensor


@dataclass(frozen=True, eq=False)
class Taps:
    """``out[i] = sum over t of weight[i, t] * x[index[i, t]]``.

    Attributes:
        index: (L, T) positions in a dimension of length ``size``.
        weight: (L, T), or None where T is 1 and elements are moved as they are.
        size: the length of the dimension they are taken from.
        packs: kernels keep their own form of the table here.
    """

    index: np.ndarray[Any, Any]
    weight: np.ndarray[Any, Any] | None
    size: int
    packs: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def transposed(self) -> Taps:
        """The table of the adjoint: for each source element, where it went and with what weight."""
        out, width = self.index.shape
        weight = np.ones((out, width)) if self.weight is None else self.weight
        source, target, w = self.index.reshape(-1), np.repeat(np.arange(out), width), weight.reshape(-1)
        used = np.flatnonzero(w)
        used = used[np.argsort(source[used], kind="stable")]
        source = source[used]
        counts = np.bincount(source, minlength=self.size)
        rank = np.arange(len(used)) - (np.cumsum(counts) - counts)[source]
        shape = (self.size, max(1, int(counts.max(initial=0))))
        back, weights = np.zeros(shape, np.int64), np.zeros(shape)
        back[source, rank], weights[source, rank] = target[used], w[used]
        return Taps(back, weights, out)

    @cached_property
    def identity(self) -> bool:
        """Whether every element stays where it is."""
        return self.weight is None and len(self.index) == self.size and bool((self.index[:, 0] == np.arange(self.size)).all())


class Resample(Operation):
    """Such maps along several dimensions, one after the other."""

    def __init__(self, maps: Sequence[tuple[int, Taps]]) -> None:
        self.maps = maps

    def forward(self, x: Any) -> Any:
        return kernels.of(x).resample(x, [Map(axis, taps.index, taps.weight, taps.packs) for axis, taps in self.maps])

    def backward(self, g: Tensor) -> Tensor:
        return Resample([(axis, taps.transposed) for axis, taps in reversed(self.maps)]).apply(g)


def take_taps(input: Tensor, tables: Sequence[Taps], first: int = 2) -> Tensor:
    """Map the dimensions from ``first`` on, one table each; the ones that shrink most come first, to keep the work small."""
    order = sorted(range(len(tables)), key=lambda i: len(tables[i].index) / max(tables[i].size, 1))
    maps = [(first + i, tables[i]) for i in order if not tables[i].identity]
    return Resample(maps).apply(input) if maps else input
