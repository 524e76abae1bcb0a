"""What attention needs to know of time: rotary positions, and the keys and values of earlier steps."""

from __future__ import annotations

from ..errors import ArgumentError
from ..ops.shape import cat
from ..tensor import Tensor


class KVCache:
    """Keys and values of earlier steps, for generating one token after the other.

    Attributes:
        length: steps held.
    """

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    @property
    def length(self) -> int:
        return 0 if self.keys is None else self.keys.shape[2]

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add new steps (N, heads, T, D); gives all steps so far."""
        self.keys = k if self.keys is None else cat([self.keys, k], 2)
        self.values = v if self.values is None else cat([self.values, v], 2)
        return self.keys, self.values


class Rotary:
    """Rotary positions (Su et al., arXiv:2104.09864): pairs of features turned by an angle that grows with the position.

    Args:
        dim: features that are turned, the first ones of each head.
        base: of the angles' geometric series.
        interleaved: whether pairs are neighbours (GPT-J) rather than the two halves (GPT-NeoX, Llama).
        scale: positions are divided by it (Chen et al., arXiv:2306.15595).

    Example:
        >>> import nyala
        >>> q, k = Rotary(4)(nyala.ones(1, 1, 2, 4), nyala.ones(1, 1, 2, 4), 0)
        >>> q[0, 0, 1]
        tensor([-0.3012,  0.9900,  1.3818,  1.0099])
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False, scale: float = 1.0) -> None:
        if dim % 2:
            raise ArgumentError(f"Rotary: dim={dim}", why="features are turned in pairs", fix="use an even number")
        self.dim, self.base, self.interleaved, self.scale = dim, base, interleaved, scale

    def __call__(self, q: Tensor, k: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Queries and keys (N, heads, T, D) turned by their positions start, start + 1, ..."""
        return self._turned(q, start), self._turned(k, start)

    def _turned(self, x: Tensor, start: int) -> Tensor:
        xp = x._module
        frequency = self.base ** (-xp.arange(0, self.dim, 2, dtype=xp.float64) / self.dim)
        angle = (xp.arange(start, start + x.shape[2])[:, None] / self.scale) * frequency
        cos, sin = (x._like(f(angle).astype(x.dtype)) for f in (xp.cos, xp.sin))  # (T, dim / 2)
        part = x if x.shape[-1] == self.dim else x[..., : self.dim]
        if self.interleaved:
            pairs = part.unflatten(-1, (-1, 2))
            a, b = pairs[..., 0], pairs[..., 1]
            turned = cat([(a * cos - b * sin).unsqueeze(-1), (b * cos + a * sin).unsqueeze(-1)], -1).flatten(-2)
        else:
            a, b = part.chunk(2, -1)
            turned = cat([a * cos - b * sin, b * cos + a * sin], -1)
        return turned if part is x else cat([turned, x[..., self.dim :]], -1)
