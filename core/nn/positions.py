"""What attention needs to know of time: rotary positions, and the keys and values of earlier steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..create import arange
from ..devices import module_of
from ..errors import ArgumentError, ShapeError
from ..graph import state
from ..ops.positions import rotate
from ..ops.shape import cat
from ..tensor import Tensor
from ..tracing import here, keep, may_look

Position = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
_STEPS = 64  # for which a cache makes room at first


class KVCache:
    """Keys and values of earlier steps, for generating one token after the other.

    Steps are written where room was left for them, and attention reads them there: a new token copies nothing but itself.
    The room doubles when it is full. With gradients recorded the steps are joined as tensors instead.

    Args:
        max_length: steps to make room for at once, where their number is known.

    Attributes:
        place: while a step is captured into a CUDA graph, where on the device its number lies, (1,) float64; else None. Then all
            of the room is given as keys and values, and attention sees as much of it as ``place`` says.

    Example:
        >>> import nyala
        >>> cache = KVCache()
        >>> k, v = cache.update(nyala.ones(1, 2, 3, 4), nyala.ones(1, 2, 3, 4))
        >>> k, v = cache.update(nyala.ones(1, 2, 1, 4), nyala.ones(1, 2, 1, 4))
        >>> k.shape, cache.length
        ((1, 2, 4, 4), 4)
    """

    def __init__(self, max_length: int = 0) -> None:
        if max_length < 0:
            raise ArgumentError(f"KVCache: max_length={max_length}", fix="give a number of steps, or nothing")
        self.max_length = max_length
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.place: Any = None
        self._made_in = here.tracer
        self.length = 0
        self._room: list[Any] = []

    @property
    def length(self) -> int:
        """Steps held.

        Raises:
            ArgumentError: it is asked for while a step is captured: the graph would keep the number as it is now.
        """
        if self.place is not None:
            raise ArgumentError(
                "a step that reads the length of its KVCache cannot be captured",
                why="the number would stay as it is now",
                fix="ask the cache for places(), span() and fits() instead",
            )
        return self._length

    @length.setter
    def length(self, value: int) -> None:
        self._length = value

    def _check_counted(self) -> None:
        """Raises where a CUDA graph is captured that would not count the steps of this cache."""
        if self.place is None and not may_look() and self._made_in is not here.tracer:
            raise ArgumentError(
                "a KVCache that is no argument of the call cannot be captured",
                why="it counts its steps in Python, which a graph leaves out",
                fix="pass the caches to the compiled function",
            )

    def fits(self, count: int, positions: int) -> bool:
        """Whether there are positions for ``count`` more steps; what a captured step has too many of, its table tells."""
        return self.place is not None or self._length + count <= positions

    def span(self, count: int) -> int:
        """How many keys there are with ``count`` new steps: those so far, or all of the room where a step is captured."""
        return self._length + count if self.place is None else int(self._room[0].shape[2])

    def places(self, count: int, device: str) -> Tensor:
        """Positions of the next ``count`` steps, (count,) int64."""
        if self.place is None:
            return arange(self.length, self.length + count, device=device)
        return Tensor._made(self.place.astype("int64") + module_of(self.place).arange(count), None, 0)

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add new steps (N, heads, T, D); gives all steps so far.

        Raises:
            ShapeError: the batch, the heads or the widths are not those of the steps before.
        """
        if self.keys is not None and self.values is not None:
            self._check(k, v)
        if self.place is not None:
            kernels.of(k.array).append(k.array, v.array, *self._room, self.place)
            return self._whole(k)
        if state.grad and any(t is not None and t.requires_grad for t in (k, v, self.keys)):
            self._join(k, v)
        else:
            self._write(k.array, v.array)
            self.keys, self.values = (k._like(room[:, :, : self.length]) for room in self._room)
        return self.keys, self.values  # type: ignore[return-value]

    def turn_into(self, rotary: Rotary, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The queries turned, and all keys and values so far: as ``rotary`` and then ``update`` give them, by one kernel.

        For where nothing is recorded.

        Raises:
            ShapeError: as ``rotary`` and ``update``.
        """
        rotary.check(q)
        if self.keys is not None and self.values is not None:
            self._check(k, v)
        turn = functools.partial(kernels.of(q.array).rotate_append, q.array, k.array, v.array)
        if self.place is not None:
            turned = turn(*rotary.table(q, self.span(0)), rotary.interleaved, *self._room, self.place)
            return q._like(turned), *self._whole(k)
        first, last = self.length, self.length + k.shape[2]
        self._make_room(k.array, v.array, last)
        turned = turn(*rotary.angles(q, first, last, self._room[0].shape[2]), rotary.interleaved, *self._room, first)
        self._hold(last)
        return q._like(turned), self.keys, self.values  # type: ignore[return-value]  # held by now

    def _whole(self, like: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = (like._like(room) for room in self._room)
        return keys, values

    def _hold(self, length: int) -> None:
        """So many steps, of those that the room holds."""
        self.length = length
        self.keys, self.values = (Tensor._made(room[:, :, :length], None, 0) for room in self._room)

    def move(self, room: Sequence[Any]) -> None:
        """Go on in other arrays, of the keys and of the values: (N, heads, steps so far at least, D).

        For where no gradients are recorded.
        """
        for new, held in zip(room, (self.keys, self.values), strict=True):
            new[:, :, : self.length] = held.array  # type: ignore[union-attr]  # there are steps
        self._room = list(room)
        self._hold(self.length)

    def lies_in(self, room: Sequence[Any]) -> bool:
        """Whether ``room`` is where the steps are held."""
        return bool(self._room) and self._room[0] is room[0]

    def crop(self, max_length: int) -> None:
        """Forget all steps but the first ``max_length``, as when a guess is taken back.

        Raises:
            ArgumentError: ``max_length`` is negative.
        """
        if max_length < 0:
            raise ArgumentError(f"KVCache.crop({max_length})", fix="say how many steps to keep")
        self._check_counted()
        if self.keys is not None and self.values is not None and max_length < self.length:
            self.keys, self.values = self.keys[:, :, :max_length], self.values[:, :, :max_length]
            self.length = max_length

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these texts of the batch, in this order; one may be taken several times, as in beam search."""
        if self.keys is None or self.values is None or list(rows) == list(range(self.keys.shape[0])):
            return
        self._check_counted()
        place = self.keys._module.asarray(rows)
        if not self._room:
            self.keys, self.values = self.keys[place], self.values[place]
            return
        room, old, kept = [], (self.keys, self.values), self._room[0].shape[2]
        for held in old:
            room.append(module_of(held.array).empty((len(rows), held.shape[1], kept, held.shape[3]), held.dtype))
            room[-1][:, :, : self.length] = held.array[place]
        self._room = room
        self.keys, self.values = (t._like(r[:, :, : self.length]) for t, r in zip(old, room, strict=True))

    def room_for_one(self, batch: int, heads: int, width: int) -> tuple[Any, Any] | None:
        """Keys and values (batch, heads, more than ``length`` steps, width) in which a kernel may write the next step itself.

        ``added_one`` tells that it has. None where no steps are held, or others than such of float32 in main memory.
        """
        if not self._room or self.keys is None or self.values is None:
            return None
        keys, values = self._room
        for room in (keys, values):
            if type(room) is not np.ndarray or room.dtype != np.float32:
                return None
            if room.shape[0] != batch or room.shape[1] != heads or room.shape[3] != width:
                return None
        if self.length >= keys.shape[2]:
            self._grow(self.keys.array, self.values.array, self.length + 1)
            keys, values = self._room
        return keys, values

    def added_one(self) -> None:
        """Count the step that was written where ``room_for_one`` said, or by a CUDA graph."""
        self._hold(self.length + 1)

    def _check(self, k: Tensor, v: Tensor) -> None:
        for name, new, old in (("keys", k, self.keys), ("values", v, self.values)):
            if new.shape[:2] != old.shape[:2] or new.shape[3:] != old.shape[3:] or new.dtype != old.dtype:  # type: ignore[union-attr]
                raise ShapeError(
                    f"KVCache: {name} (N, heads, T, D) = {new.shape} of {new.dtype}, behind {old.shape} of {old.dtype}",  # type: ignore[union-attr]
                    why="all steps must be of one batch and one model",
                    fix="start a new KVCache for a new batch",
                )

    def _join(self, k: Tensor, v: Tensor) -> None:
        self._check_counted()
        self.keys = k if self.keys is None else cat([self.keys, k], 2)
        self.values = v if self.values is None else cat([self.values, v], 2)
        self.length, self._room = self.keys.shape[2], []

    def _write(self, k: Any, v: Any) -> None:
        first, last = self.length, self.length + k.shape[2]
        self._make_room(k, v, last)
        kernels.of(k).append(k, v, *self._room, first)
        self.length = last

    def _make_room(self, k: Any, v: Any, least: int) -> None:
        """Room for ``least`` steps such as k and v."""
        self._check_counted()
        if not self._room or least > self._room[0].shape[2]:
            self._grow(k, v, least)

    def _grow(self, k: Any, v: Any, least: int) -> None:
        size = max(least, self.max_length, _STEPS, 2 * self.length)
        old = (self.keys, self.values)
        self._room = [module_of(new).empty((*new.shape[:2], size, new.shape[3]), new.dtype) for new in (k, v)]
        for room, held in zip(self._room, old, strict=True):
            if held is not None:
                room[:, :, : self.length] = held.array


class EncoderDecoderCache:
    """What a decoder keeps while it writes a text: keys and values of its own tokens, and those of what it reads from.

    Args:
        layers: of the decoder.

    Attributes:
        own: one :class:`KVCache` a layer, of the tokens so far.
        context: one a layer, of the encoder's vectors; filled by the first step.

    Example:
        >>> EncoderDecoderCache(2).length
        0
    """

    def __init__(self, layers: int) -> None:
        self.own = [KVCache() for _ in range(layers)]
        self.context = [KVCache() for _ in range(layers)]

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self.own[0].length if self.own else 0

    def crop(self, max_length: int) -> None:
        """Forget all tokens but the first ``max_length``; what is read from stays."""
        for cache in self.own:
            cache.crop(max_length)

    def select(self, rows: Sequence[int]) -> None:
        """As :meth:`KVCache.select`, of both."""
        for cache in (*self.own, *self.context):
            cache.select(rows)


def first_cache(caches: Any) -> KVCache:
    """The one that tells where new tokens stand, of an :class:`EncoderDecoderCache` or what is like it; an empty one of None."""
    return caches.own[0] if caches is not None and caches.own else KVCache()


class SlidingKVCache(KVCache):
    """Keys and values of the last steps alone, for attention with a window: its memory does not grow with the text.

    Args:
        window: a step sees those less than so many before it.

    ``length`` counts the steps that were let go too.

    Example:
        >>> import nyala
        >>> cache = SlidingKVCache(window=4)
        >>> for _ in range(20):
        ...     k, v = cache.update(nyala.ones(1, 2, 1, 8), nyala.ones(1, 2, 1, 8))
        >>> k.shape, cache.length
        ((1, 2, 4, 8), 20)
    """

    def __init__(self, window: int) -> None:
        if window < 1:
            raise ArgumentError(f"SlidingKVCache: window={window}", fix="let each step see itself at least")
        super().__init__()
        self.window = window
        self._near = KVCache()

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add new steps (N, heads, T, D); gives those that one of them may see, and no others."""
        self._check_counted()
        if self._near.length > 4 * self.window:  # so seldom that moving the last ones costs next to nothing
            near, self._near = self._near, KVCache()
            self._near.update(*(t[:, :, -2 * self.window :] for t in (near.keys, near.values)))  # type: ignore[index,arg-type]
        keys, values = self._near.update(k, v)
        self.length += k.shape[2]
        seen = self.window - 1 + k.shape[2]
        self.keys, self.values = keys[:, :, -seen:], values[:, :, -seen:]
        return self.keys, self.values

    def crop(self, max_length: int) -> None:
        """As of :class:`KVCache`.

        Raises:
            ArgumentError: steps that would be seen again were let go.
        """
        taken = self.length - max_length
        if max_length < 0 or taken <= 0:
            super().crop(max_length)
            return
        if self._near.length - taken < min(self.window - 1, max_length):
            raise ArgumentError(
                f"SlidingKVCache.crop({max_length}) of {self.length} steps",
                why=f"it keeps about {2 * self.window} of them, and the others are gone",
                fix="start a new cache, and read the text again",
            )
        self._near.crop(self._near.length - taken)
        self.length = max_length

    def select(self, rows: Sequence[int]) -> None:
        """As of :class:`KVCache`."""
        self._near.select(rows)


class Rotary:
    """Rotary positions (Su et al., arXiv:2104.09864): pairs of features turned by an angle that grows with the position.

    Args:
        dim: features that are turned, the first ones of each head.
        base: of the angles' geometric series.
        interleaved: whether pairs are neighbours (GPT-J) rather than the two halves (GPT-NeoX, Llama).
        scale: positions are divided by it (Chen et al., arXiv:2306.15595).
        frequencies: radians that each pair turns by a position, (dim / 2,), where they are no geometric series; or a function
            that gives them for the number of positions so far.
        amplitude: cosines and sines are multiplied by it (Peng et al., arXiv:2309.00071).

    Example:
        >>> import nyala
        >>> q, k = Rotary(4)(nyala.ones(1, 1, 2, 4), nyala.ones(1, 1, 2, 4), 0)
        >>> q[0, 0, 1]
        tensor([-0.3012,  0.9900,  1.3818,  1.0099])
    """

    def __init__(
        self, dim: int, base: float = 10000.0, interleaved: bool = False, scale: float = 1.0, frequencies: Any = None,
        amplitude: float = 1.0,
    ) -> None:  # fmt: skip
        if dim % 2:
            raise ArgumentError(f"Rotary: dim={dim}", why="features are turned in pairs", fix="use an even number")
        if frequencies is not None and not callable(frequencies) and len(frequencies) != dim // 2:
            raise ArgumentError(f"Rotary: {len(frequencies)} frequencies for dim={dim}", fix=f"give {dim // 2}")
        self.frequencies, self.amplitude = frequencies, amplitude
        self.dim, self.base, self.interleaved, self.scale = dim, base, interleaved, scale
        self._tables: dict[tuple[str, Any], tuple[Any, Any]] = {}
        self._last: tuple[tuple[int, int, Any], Any, Any] | None = None

    def __call__(self, q: Tensor, k: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Queries and keys (N, heads, T, D) turned by their positions start, start + 1, ...

        Raises:
            ShapeError: the heads are narrower than ``dim``.
        """
        return self._turned(q, start), self._turned(k, start)

    def check(self, x: Tensor) -> None:
        """Whether x is (N, heads, T, D) with heads wide enough.

        Raises:
            ShapeError: it is not.
        """
        if x.ndim != 4 or x.shape[3] < self.dim:
            raise ShapeError(
                f"Rotary({self.dim}) of {x.shape}",
                why=f"it turns the first {self.dim} features of (N, heads, T, D)",
                fix="check the width of the heads",
            )

    def _turned(self, x: Tensor, start: int) -> Tensor:
        self.check(x)
        return rotate(x, *self.angles(x, start, start + x.shape[2]), self.interleaved)

    def angles(self, x: Tensor, start: int, stop: int, soon: int = 0) -> tuple[Any, Any]:
        """Cosines and sines, (stop - start, dim / 2), of these positions: arrays of x's dtype on its device.

        Args:
            soon: those of the positions below will be asked for.
        """
        place = x.device, x.dtype
        if self._last is None or self._last[0] != (start, stop, place):  # all layers of a model ask for the same
            changing = callable(self.frequencies)
            cos, sin = self._turns(x, start, stop) if changing else (part[start:stop] for part in self._table(x, max(stop, soon)))
            self._last = (start, stop, place), cos, sin
        return keep(self._last[1:])  # type: ignore[no-any-return]

    def table(self, x: Tensor, length: int) -> tuple[Any, Any]:
        """Cosines and sines of all positions below ``length`` at least, (positions, dim / 2), as of ``angles``.

        Raises:
            ArgumentError: the angles change with the length of the text.
        """
        if callable(self.frequencies):
            raise ArgumentError(
                "Rotary: a step with angles that change with the length of the text cannot be captured",
                why="a graph reads the angles of all positions from one table",
                fix="run it as it stands",
            )
        return keep(self._table(x, length))  # type: ignore[no-any-return]

    def _table(self, x: Tensor, length: int) -> tuple[Any, Any]:
        """Cosines and sines of the positions below ``length`` at least, (positions, dim / 2), made once."""
        place = x.device, x.dtype
        held = self._tables.get(place)
        if held is None or len(held[0]) < length:
            held = self._tables[place] = self._turns(x, 0, max(length, _STEPS, 0 if held is None else 2 * len(held[0])))
        return held

    def _turns(self, x: Tensor, start: int, stop: int) -> tuple[Any, Any]:
        """Cosines and sines of these positions, (stop - start, dim / 2)."""
        xp = x._module
        given = self.frequencies(stop) if callable(self.frequencies) else self.frequencies
        series = self.base ** (-xp.arange(0, self.dim, 2, dtype=xp.float64) / self.dim)
        frequency = series if given is None else xp.asarray(given, xp.float64)
        angle = (xp.arange(start, stop)[:, None] / self.scale) * frequency
        return (xp.cos(angle) * self.amplitude).astype(x.dtype), (xp.sin(angle) * self.amplitude).astype(x.dtype)


def placed(position: Position | None, q: Tensor, k: Tensor, v: Tensor, cache: KVCache | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys turned by their positions, if any; with a cache, keys and values of all steps so far."""
    on_device = cache is not None and cache.place is not None
    alone = not state.grad and not state.anomaly and q.is_cuda and q.dtype == k.dtype == v.dtype
    if alone and type(cache) is KVCache and type(position) is Rotary:
        return cache.turn_into(position, q, k, v)
    if on_device and position is not None:
        raise ArgumentError(
            f"a step with positions of {type(position).__name__} in {q.dtype}, {k.dtype} and {v.dtype} cannot be captured",
            why="only nyala.nn.Rotary reads from the device where a step stands, for queries, keys and values of one dtype",
            fix="run it as it stands",
        )
    if position is not None:
        q, k = position(q, k, 0 if cache is None else cache.length)
    return q, *((k, v) if cache is None else cache.update(k, v))
