"""Relative positions as a learnt number for each distance and head, added to the scores of attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import create
from ..devices import move_constant
from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module


def relative_buckets(
    distance: np.ndarray[Any, Any], num_buckets: int = 32, max_distance: int = 128, bidirectional: bool = True
) -> np.ndarray[Any, Any]:
    """The bucket of each distance (place that is looked at minus place that looks), int64 of the same shape.

    Short distances have a bucket each, longer ones share them by their logarithm, and all from ``max_distance`` on share the
    last. Where not ``bidirectional``, places behind the one that looks share the bucket of its own.

    Source: Raffel et al., arXiv:1910.10683.

    Example:
        >>> relative_buckets(np.array([-200, -20, -3, 0, 3, 20]))
        array([15, 10,  3,  0, 19, 26])
    """
    side = num_buckets // 2 if bidirectional else num_buckets
    exact = side // 2
    away = np.abs(distance) if bidirectional else np.maximum(-distance, 0)
    # in float32, as the models were trained: the borders between buckets depend on it
    share = np.log(np.maximum(away, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(max_distance / exact))
    wide = np.minimum(exact + (share * np.float32(side - exact)).astype(np.int64), side - 1)
    found = np.where(away < exact, away, wide).astype(np.int64)
    return found + side * (distance > 0) if bidirectional else found


class RelativePositionBias(Module):
    """A learnt number for each head and bucket of distances (T5, MPNet, WavLM); ``weight`` is (num_buckets, num_heads).

    Args:
        num_buckets: buckets, half of them for each direction where ``bidirectional``.
        num_heads: heads of the attention.
        max_distance: from here on all distances share a bucket.
        bidirectional: whether places behind the one that looks are told apart.

    ``forward(query_length, key_length, start=0)``: (1, num_heads, query_length, key_length), to be passed to attention as its
    float mask. ``start`` is the place of the first query, as when earlier ones lie in a cache; or a tensor (query_length,) int64
    with the places of all queries, where the device alone knows them.

    Raises:
        ArgumentError: too few buckets, or none for distances up to ``max_distance``.

    Example:
        >>> RelativePositionBias(32, 4)(3, 5).shape
        (1, 4, 3, 5)
    """

    def __init__(self, num_buckets: int, num_heads: int, max_distance: int = 128, bidirectional: bool = True) -> None:
        super().__init__()
        exact = (num_buckets // 2 if bidirectional else num_buckets) // 2
        if exact < 1 or max_distance <= exact:
            raise ArgumentError(
                f"RelativePositionBias: {num_buckets} buckets for distances up to {max_distance}",
                why="half of a direction's buckets hold one distance each, and the others all longer ones",
                fix="use fewer buckets than distances, and at least four",
            )
        self.num_buckets, self.num_heads = num_buckets, num_heads
        self.max_distance, self.bidirectional = max_distance, bidirectional
        self.weight = new_parameter(num_buckets, num_heads)
        init.normal_(self.weight)

    def forward(self, query_length: int, key_length: int, start: int | Tensor = 0) -> Tensor:
        if isinstance(start, Tensor):
            return self._at(key_length, start)
        first = -(start + query_length - 1)  # the distance from the last query to the first key
        line = relative_buckets(np.arange(first, key_length - start), self.num_buckets, self.max_distance, self.bidirectional)
        places = np.arange(key_length)[None, :] - np.arange(start, start + query_length)[:, None] - first
        table = F.embedding(Tensor(move_constant(line[places], self.weight.device)), self.weight)
        return table.permute(2, 0, 1).unsqueeze(0)

    def _at(self, keys: int, places: Tensor) -> Tensor:
        """``forward`` for queries at these places, each below ``keys``."""
        line = relative_buckets(np.arange(1 - keys, keys), self.num_buckets, self.max_distance, self.bidirectional)
        away = create.arange(keys, device=places.device).reshape(1, -1) - places.reshape(-1, 1)  # from query to key
        table = F.embedding(Tensor(move_constant(line, places.device))[away + (keys - 1)], self.weight)
        return table.permute(2, 0, 1).unsqueeze(0)

    def extra_repr(self) -> str:
        return f"{self.num_buckets}, {self.num_heads}, max_distance={self.max_distance}, bidirectional={self.bidirectional}"
