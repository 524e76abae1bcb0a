"""Attention within windows that every other layer shifts, and merging four places into one: what Swin transformers are made of.

Source: Liu et al., "Hierarchical vision transformer using shifted windows", arXiv:2103.14030.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..create import tensor, zeros
from ..devices import move_constant
from ..tensor import Tensor
from . import functional as F
from .blocks import MLP, Attention
from .dropout import Dropout, DropPath
from .linear import Linear
from .module import Module
from .norm import LayerNorm
from .parameter import Parameter

_FAR = -100.0  # added to the scores of places that were not neighbours before the shift

# Where transformers' files keep the layers of a block.
PUBLISHED = {
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
}


@lru_cache(maxsize=64)
def _strangers(down: int, across: int, window: tuple[int, int], shift: tuple[int, int]) -> np.ndarray[Any, Any]:
    """(windows, area, area) float32: 0 for places that were neighbours before the shift, else -100."""
    number = np.zeros((down, across), np.int64)
    for axis, (side, size, by) in enumerate(zip((down, across), window, shift, strict=True)):
        at = np.arange(side)
        part = (at >= side - size).astype(np.int64) + (at >= side - by if by else at >= side)
        number = number * 3 + (part[:, None] if axis == 0 else part[None])
    parts = number.reshape(down // window[0], window[0], across // window[1], window[1]).transpose(0, 2, 1, 3)
    places = parts.reshape(-1, window[0] * window[1])
    return np.where(places[:, None] == places[:, :, None], 0.0, _FAR).astype(np.float32)


def _offsets(window: tuple[int, int]) -> np.ndarray[Any, Any]:
    """(area * area,) rows of the table of biases, for each pair of places in a window."""
    places = np.stack(np.meshgrid(np.arange(window[0]), np.arange(window[1]), indexing="ij")).reshape(2, -1)
    apart = places[:, :, None] - places[:, None]
    return ((apart[0] + window[0] - 1) * (2 * window[1] - 1) + apart[1] + window[1] - 1).reshape(-1)


class WindowAttention(Attention):
    """Attention within a window, with a learnt bias for each offset between two places.

    Args:
        dim: width of the stream.
        heads: of the attention.
        window: (height, width) in places.
        fused: one layer "qkv" in place of three.
        qkv_bias: whether queries, keys and values have biases.
        dropout: of the attention weights.
    """

    def __init__(
        self, dim: int, heads: int, window: tuple[int, int], fused: bool = True, qkv_bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, heads, fused=fused, bias=dict.fromkeys(("q", "k", "v", "qkv"), qkv_bias), dropout=dropout)
        self.window, self.heads = window, heads
        self.relative_position_bias_table = Parameter(zeros((2 * window[0] - 1) * (2 * window[1] - 1), heads))
        self.register_buffer("offsets", tensor(_offsets(window)), persistent=False)

    def bias(self) -> Tensor:
        """(1, heads, area, area): what is added to the scores."""
        area = self.window[0] * self.window[1]
        return self.relative_position_bias_table[self.offsets].reshape(1, area, area, self.heads).permute(0, 3, 1, 2)

    def windows(self, x: Tensor, strangers: Tensor | None) -> Tensor:
        """(N * windows, area, dim) -> the same; ``strangers`` (windows, area, area) is added to the scores."""
        mask = self.bias()
        if strangers is not None:
            count, area = len(strangers), x.shape[1]
            mask = (mask + strangers.unsqueeze(1)).unsqueeze(0).expand(len(x) // count, -1, -1, -1, -1)
            mask = mask.reshape(-1, self.heads, area, area)
        return self(x, mask=mask)


class WindowBlock(Module):
    """Attention within windows, which every other layer shifts by half, and a feed-forward part.

    Shape: (N, H, W, dim) -> the same, of any H and W.

    Args:
        dim: width of the stream.
        heads: of the attention.
        window: (height, width) in places.
        shifted: whether the windows are moved by half of their sides.
        pads_first: whether what is missing to whole windows is added before they are moved, as transformers does it, or behind,
            as timm does; transformers also moves no windows along one side where one window sees all of the other.
        mlp_ratio: width inside the feed-forward part over ``dim``.
        eps: added to variances in layer norms.
        drop1, mlp_drop, drop2: dropout of what attention adds, within the feed-forward part, and of what that adds.
        drop_path: stochastic depth of both.
        act: activation of the feed-forward part.
        attention: further settings of :class:`WindowAttention`.

    Example:
        >>> import nyala
        >>> WindowBlock(8, 2, (4, 4), shifted=True)(nyala.zeros(1, 8, 6, 8)).shape
        (1, 8, 6, 8)
    """

    def __init__(
        self, dim: int, heads: int, window: tuple[int, int], shifted: bool = False, *, pads_first: bool = False,
        mlp_ratio: float = 4.0, eps: float = 1e-5, drop1: float = 0.0, mlp_drop: float = 0.0, drop2: float = 0.0,
        drop_path: float = 0.0, act: Any = "gelu", attention: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.window, self.shifted, self.pads_first = window, shifted, pads_first
        self.norm1 = LayerNorm(dim, eps)
        self.attn = WindowAttention(dim, heads, window, **(attention or {}))
        self.drop1 = Dropout(drop1)
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = LayerNorm(dim, eps)
        self.mlp = MLP(dim, int(dim * mlp_ratio), act=act, dropout=mlp_drop)
        self.drop2 = Dropout(drop2)
        self.drop_path2 = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        count, down, across, dim = x.shape
        x = x + self.drop_path1(self.drop1(self._attend(self.norm1(x))))
        y = self.mlp(self.norm2(x).reshape(count, down * across, dim))
        return x + self.drop_path2(self.drop2(y)).reshape(count, down, across, dim)

    def _shift(self, down: int, across: int) -> tuple[int, int]:
        """How far the windows are moved: not where one window sees all."""
        fits = [side <= size for side, size in zip((down, across), self.window, strict=True)]
        if not self.shifted or (self.pads_first and any(fits)):
            return 0, 0
        return 0 if fits[0] else self.window[0] // 2, 0 if fits[1] else self.window[1] // 2

    def _attend(self, x: Tensor) -> Tensor:
        count, down, across, dim = x.shape
        high, wide = self.window
        by, strangers = self._shift(down, across), None
        pads = (0, 0, 0, -across % wide, 0, -down % high)
        if self.pads_first:
            x = F.pad(x, pads)
        if any(by):
            x = x.roll((-by[0], -by[1]), (1, 2))
        if not self.pads_first:
            x = F.pad(x, pads)
        rows, columns = x.shape[1] // high, x.shape[2] // wide
        if any(by):
            far = _strangers(rows * high, columns * wide, self.window, by)
            strangers = Tensor(move_constant(far.astype(x.dtype), x.device))
        x = x.reshape(count, rows, high, columns, wide, dim).permute(0, 1, 3, 2, 4, 5).reshape(-1, high * wide, dim)
        x = self.attn.windows(x, strangers)
        x = x.reshape(count, rows, columns, high, wide, dim).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(count, rows * high, columns * wide, dim)
        if not self.pads_first:
            x = x[:, :down, :across]
        if any(by):
            x = x.roll(by, (1, 2))
        return x[:, :down, :across]


class PatchMerging(Module):
    """Four neighbours become one place of twice the width: (N, H, W, C) -> (N, H / 2, W / 2, 2 C); odd sides get zeros."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = LayerNorm(4 * dim, eps)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        count, down, across, dim = x.shape
        x = x.reshape(count, down // 2, 2, across // 2, 2, dim).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(x.reshape(count, down // 2, across // 2, 4 * dim)))
