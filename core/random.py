"""Random numbers without a state: each draw is a function of a key, and keys are made from names and numbers.

A ``Key`` is 64 bits of a Philox4x32-10 generator. ``key(seed, purpose, *counters)`` names a stream, e.g. one augmentation of
one sample: ``key(seed, "augment", epoch, index)``. The same key gives the same bits on every device, in every order,
with any number of workers; different purposes never disturb each other.

Code that only says ``nyala.rand(3)`` or ``F.dropout(x)`` draws from the ambient stream: seed, purpose, step, and a count
of the draws since the step began. ``manual_seed`` and ``step_scope`` set it, and a checkpointed block replays it.

Example:
    >>> key(0, "order", 1).permutation(5).tolist() == key(0, "order", 1).permutation(5).tolist()
    True
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import operator
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import devices, dtypes
from .errors import ArgumentError
from .tracing import here

_MASK = 0xFFFFFFFF
_PART = 1 << 18  # normal numbers that are made at once


def _block(k0: int, k1: int, c0: int, c1: int, c2: int, c3: int) -> tuple[int, int]:
    """Two words of one Philox block on Python integers: how a key is made from a key and a counter."""
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1


class Key:
    """One stream of random bits. Drawing twice from one key gives the same numbers: ``fold`` it for others."""

    __slots__ = ("words",)

    def __init__(self, words: tuple[int, int]) -> None:
        self.words = words

    def fold(self, *counters: int | str) -> Key:
        """The key of a stream inside this one, named by whole numbers or strings."""
        words = self.words
        traced = here.tracer is not None and here.tracer.is_drawn(words)
        for c in counters:
            number = (
                int.from_bytes(hashlib.blake2b(c.encode(), digest_size=8).digest(), "little") if isinstance(c, str) else int(c)
            )
            # the last word tells folding from drawing, so a folded key never repeats the parent's numbers
            words = _block(*words, number & _MASK, (number >> 32) & _MASK, isinstance(c, str), 0x666F6C64)
        if traced and counters:
            here.tracer.drawn(words, _folded_words, (self.words, *counters))
        return Key(words)

    def bits(self, count: int, xp: Any = np) -> Any:
        """``count`` random uint32."""
        from . import kernels

        if here.tracer is not None and xp is np:
            here.tracer.on_host(self.words)
        return kernels.of(xp.empty(0)).philox(xp, self.words, count)

    def uniform(
        self, shape: Sequence[int] | int = (), low: float = 0.0, high: float = 1.0, dtype: Any = np.float32, xp: Any = np
    ) -> Any:
        """Numbers in [low, high): 24 random bits for float32, 53 for float64."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        count = int(np.prod(shape, dtype=np.int64))
        if np.dtype(dtype) == np.float64:
            words = self.bits(2 * count, xp).astype(np.uint64)
            unit = ((words[0::2] << np.uint64(21)) ^ (words[1::2] >> np.uint64(11))).astype(np.float64) * 2.0**-53
        else:
            words = self.bits(count, xp)
            words >>= np.uint32(8)
            unit = words.astype(np.float32)
            unit *= np.float32(2.0**-24)
        if (low, high) != (0.0, 1.0):
            kind = unit.dtype.type
            below = kind(math.nextafter(high, low)) if kind is np.float64 else np.nextafter(kind(high), kind(low))
            unit = xp.minimum(unit * kind(high - low) + kind(low), below)  # rounding must not reach ``high``
        return unit.reshape(shape)

    def normal(self, shape: Sequence[int] | int = (), dtype: Any = np.float32, xp: Any = np) -> Any:
        """Numbers of the standard normal distribution (Box and Muller's transform in float64)."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        count = int(np.prod(shape, dtype=np.int64))
        half = (count + 1) // 2
        words, out = self.bits(2 * half, xp), xp.empty(2 * half, dtype)
        for i in range(0, half, _PART):  # float64 of all at once would take many times the result's memory
            here = slice(i, min(i + _PART, half))
            there = slice(half + here.start, half + here.stop)
            unit, angle = ((words[s].astype(np.float64) + 0.5) * 2.0**-32 for s in (here, there))
            radius = xp.sqrt(-2.0 * xp.log(unit))
            angle *= 2.0 * np.pi
            out[here], out[there] = radius * xp.cos(angle), radius * xp.sin(angle)
        return out[:count].reshape(shape)

    def integers(self, low: int, high: int, shape: Sequence[int] | int = (), xp: Any = np) -> Any:
        """Whole numbers in [low, high), int64; the bias of the multiply-shift is below 2**-32 of the range."""
        if high <= low or high - low >= 1 << 63:
            raise ArgumentError(f"integers in [{low}, {high})", why="the range is empty or too wide", fix="make high the greater")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        count = int(np.prod(shape, dtype=np.int64))
        if high - low > 1 << 31:
            words = self.bits(2 * count, xp).astype(np.uint64)
            wide = (words[0::2] << np.uint64(32)) | words[1::2]
            return ((wide % np.uint64(high - low)).astype(np.int64) + low).reshape(shape)
        scaled = (self.bits(count, xp).astype(np.uint64) * np.uint64(high - low)) >> np.uint64(32)
        return (scaled.astype(np.int64) + low).reshape(shape)

    def permutation(self, n: int, xp: Any = np) -> Any:
        """The numbers 0..n-1 in random order, int64."""
        words = self.bits(2 * n, xp).astype(np.uint64)
        return xp.argsort((words[0::2] << np.uint64(32)) | words[1::2], kind="stable").astype(np.int64)

    def bernoulli(self, p: float, shape: Sequence[int] | int = (), xp: Any = np) -> Any:
        """True with probability ``p``."""
        return self.uniform(shape, xp=xp) < np.float32(p)

    def choice(self, n: int, size: int, replace: bool = False, p: Any = None) -> Any:
        """``size`` of the numbers 0..n-1, with weights ``p``, int64."""
        if not replace and size > n:
            raise ArgumentError(f"{size} of {n} numbers without repeats", fix="ask for fewer or pass replace=True")
        if p is None:
            return self.integers(0, n, size) if replace else self.permutation(n)[:size]
        weights = np.asarray(p, np.float64)
        usable = int((weights > 0).sum())
        if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any() or usable < (1 if replace else size):
            raise ArgumentError(
                f"{size} of {n} numbers with weights of shape {weights.shape}, {usable} of them positive",
                fix="give one finite weight a number, none negative, and enough of them positive",
            )
        if replace:
            total = np.cumsum(weights)
            return np.searchsorted(total, self.uniform(size, dtype=np.float64) * total[-1], side="right").astype(np.int64)
        # the smallest of exponential waiting times: a weighted draw without repeats
        waiting = -np.log1p(-self.uniform(n, dtype=np.float64)) / np.where(weights > 0, weights, 1)
        waiting[weights <= 0] = np.inf
        return np.argsort(waiting, kind="stable")[:size].astype(np.int64)

    def __repr__(self) -> str:
        return f"Key({self.words[0]:08x}{self.words[1]:08x})"


def key(seed: int, purpose: str, *counters: int | str) -> Key:
    """The stream of ``purpose`` under ``seed``, and inside it the one the counters name.

    Args:
        seed: any whole number; its low 64 bits count.
        purpose: what the numbers are for: "init", "order", "augment", "dropout", ...
        counters: epoch, step, index: whatever tells this draw from others.
    """
    return Key((seed & _MASK, (seed >> 32) & _MASK)).fold(purpose, *counters)


class _Ambient(threading.local):
    seed = 0
    step = 0
    draws = 0


_ambient = _Ambient()


def manual_seed(seed: int) -> None:
    """Start the ambient stream anew under ``seed``."""
    if not hasattr(seed, "__index__"):
        raise ArgumentError(f"manual_seed({seed!r})", fix="pass a whole number")
    if here.tracer is not None:
        here.tracer.refuse("manual_seed starts the random numbers anew in each call")
    _ambient.seed, _ambient.step, _ambient.draws = operator.index(seed), 0, 0


def initial_seed() -> int:
    """The ambient stream's seed."""
    return _ambient.seed


def next_key(purpose: str) -> Key:
    """The ambient stream's next key: for draws that nobody named."""
    _ambient.draws += 1
    made = key(_ambient.seed, purpose, _ambient.step, _ambient.draws)
    if here.tracer is not None:
        here.tracer.drawn(made.words, _next_words, (purpose,))
    return made


def _next_words(purpose: str) -> tuple[int, int]:
    return next_key(purpose).words


def _folded_words(words: tuple[int, int], *counters: int | str) -> tuple[int, int]:
    return Key(words).fold(*counters).words


def ambient_state() -> tuple[int, int, int]:
    """Seed, step and count of draws: what ``ambient_scope`` needs to replay from here."""
    stands = _ambient.seed, _ambient.step, _ambient.draws
    if here.tracer is not None:
        here.tracer.noted(stands)
    return stands


def set_ambient_state(state: tuple[int, int, int]) -> None:
    """Go on from where ``ambient_state`` was asked for."""
    if here.tracer is not None:
        here.tracer.rewound(state)
    _ambient.seed, _ambient.step, _ambient.draws = state


@contextlib.contextmanager
def ambient_scope(state: tuple[int, int, int]) -> Iterator[None]:
    """Draw as if the ambient stream stood at ``state``; afterwards it stands where it stood before."""
    before = ambient_state()
    set_ambient_state(state)
    try:
        yield
    finally:
        set_ambient_state(before)


def step_scope(seed: int, step: int) -> contextlib.AbstractContextManager[None]:
    """Draw as step ``step`` of a run under ``seed`` does, whatever was drawn before."""
    return ambient_scope((int(seed), int(step), 0))


def _module(device: str | None) -> Any:
    return devices.module_for(devices.parse(device))


def _sample(
    draw: str, purpose: str, size: tuple[Any, ...], dtype: Any, device: str | None, requires_grad: bool, *args: Any
) -> Any:
    from .ops.operands import shape_of
    from .tensor import Tensor

    kind = dtypes.parse(dtype) if dtype is not None else dtypes.default_dtype()
    wide = np.float64 if kind == dtypes.float64 else np.float32
    array = getattr(next_key(purpose), draw)(shape_of(size, draw), *args, dtype=wide, xp=_module(device))
    return Tensor(array.astype(kind, copy=False), requires_grad)


def rand(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Any:
    """A tensor of uniform numbers in [0, 1)."""
    return _sample("uniform", "rand", size, dtype, device, requires_grad)


def randn(*size: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Any:
    """A tensor of standard normal numbers."""
    return _sample("normal", "randn", size, dtype, device, requires_grad)


def randint(low: int, high: int | None = None, size: Any = (), *, dtype: Any = None, device: str | None = None) -> Any:
    """A tensor of whole numbers in [low, high), or in [0, low) if ``high`` is left out."""
    from .tensor import Tensor

    low, high = (0, low) if high is None else (low, high)
    array = next_key("randint").integers(low, high, size, xp=_module(device))
    return Tensor(array.astype(dtypes.parse(dtype)) if dtype is not None else array)


def randperm(n: int, *, device: str | None = None) -> Any:
    """A tensor of the numbers 0..n-1 in random order."""
    from .tensor import Tensor

    return Tensor(next_key("randperm").permutation(n, xp=_module(device)))


def rand_like(input: Any, **kwargs: Any) -> Any:
    """Uniform numbers in the shape, dtype and device of ``input``."""
    return rand(input.shape, **{"dtype": input.dtype, "device": input.device, **kwargs})


def randn_like(input: Any, **kwargs: Any) -> Any:
    """Standard normal numbers in the shape, dtype and device of ``input``."""
    return randn(input.shape, **{"dtype": input.dtype, "device": input.device, **kwargs})


def bernoulli(input: Any) -> Any:
    """1 with the probability each element says, else 0."""
    from .tensor import Tensor

    return Tensor((next_key("bernoulli").uniform(input.shape, xp=input._module) < input.array).astype(input.dtype))


def multinomial(input: Any, num_samples: int, replacement: bool = False) -> Any:
    """Places drawn with the weights ``input``, a vector or one a row."""
    from .tensor import Tensor

    weights = devices.move(input.array, "cpu")
    k = next_key("multinomial")
    rows = weights.reshape(-1, weights.shape[-1])
    drawn = [k.fold(i).choice(len(row), num_samples, replacement, row) for i, row in enumerate(rows)]
    return Tensor(devices.move(np.stack(drawn).reshape(*weights.shape[:-1], num_samples), input.device))
