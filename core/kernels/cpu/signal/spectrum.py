"""Power spectra of the overlapping pieces of a float32 signal, eight pieces side by side. Other dtypes go to the reference.

A piece of n samples is the complex signal of n / 2 pairs of neighbours; the transform of that is taken apart into the half
transform of the piece (Sorensen et al., 1987). Stockham's algorithm takes n / 2 apart by its factors, without reordering.
All of it is computed in float64 and rounded once, so that the quiet bins beside a loud one, which logarithms show, are right:
float32 arithmetic leaves an error there that is relative to the loudest bin.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...reference import fft as reference
from ..lanes.doubles import WIDTH, load, splat, spread, store, store_narrowed, widened
from ..lanes.moves import copy
from ..lanes.pointers import hold, integers
from ..lanes.simd import add, fma, multiply, subtract
from ..matrix.microkernel import transpose
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for

_SIDE = 16  # frames in a tile: a block of 16 x 16 samples is turned over at a time
_LINE = 4 * _SIDE  # bytes of one sample of all frames
_PART = 8 * WIDTH  # bytes of a real part of eight numbers; the imaginary part follows
_PAIR = 2 * _PART
_LARGEST = 31  # a prime factor beyond this is left to the reference
_d = np.float64
_SIN_THIRD = float(np.sin(2 * np.pi / 3))
_COS_1, _COS_2 = float(np.cos(2 * np.pi / 5)), float(np.cos(4 * np.pi / 5))
_SIN_1, _SIN_2 = float(np.sin(2 * np.pi / 5)), float(np.sin(4 * np.pi / 5))


@njit(**EXACT)
def _times(re: Any, im: Any, turn: Any) -> Any:
    """(re + i im) times the number at ``turn``."""
    c, s = spread(turn), spread(turn + 8)
    return subtract(multiply(re, c), multiply(im, s)), fma(re, s, multiply(im, c))


@njit(**EXACT)
def _put(y: Any, re: Any, im: Any) -> None:
    store(y, re)
    store(y + _PART, im)


@njit(**EXACT)
def _put_turned(y: Any, re: Any, im: Any, turn: Any) -> None:
    a, b = _times(re, im, turn)
    _put(y, a, b)


@njit(**EXACT)
def _by_two(x: Any, apart: Any, y: Any, beside: Any, turns: Any) -> None:
    ar, ai, br, bi = load(x), load(x + _PART), load(x + apart), load(x + apart + _PART)
    _put(y, add(ar, br), add(ai, bi))
    _put_turned(y + beside, subtract(ar, br), subtract(ai, bi), turns)


@njit(**EXACT)
def _by_four(x: Any, apart: Any, y: Any, beside: Any, turns: Any) -> None:
    ar, ai, br, bi = load(x), load(x + _PART), load(x + apart), load(x + apart + _PART)
    x += 2 * apart
    cr, ci, dr, di = load(x), load(x + _PART), load(x + apart), load(x + apart + _PART)
    er, ei, fr, fi = add(ar, cr), add(ai, ci), subtract(ar, cr), subtract(ai, ci)
    gr, gi, hr, hi = add(br, dr), add(bi, di), subtract(br, dr), subtract(bi, di)
    _put(y, add(er, gr), add(ei, gi))
    _put_turned(y + beside, add(fr, hi), subtract(fi, hr), turns)
    _put_turned(y + 2 * beside, subtract(er, gr), subtract(ei, gi), turns + 16)
    _put_turned(y + 3 * beside, subtract(fr, hi), add(fi, hr), turns + 32)


@njit(**EXACT)
def _by_three(x: Any, apart: Any, y: Any, beside: Any, turns: Any) -> None:
    ar, ai, br, bi = load(x), load(x + _PART), load(x + apart), load(x + apart + _PART)
    x += 2 * apart
    cr, ci = load(x), load(x + _PART)
    half, height = splat(_d(-0.5)), splat(_d(_SIN_THIRD))
    sr, si = add(br, cr), add(bi, ci)
    dr, di = multiply(height, subtract(bi, ci)), multiply(height, subtract(cr, br))
    mr, mi = fma(half, sr, ar), fma(half, si, ai)
    _put(y, add(ar, sr), add(ai, si))
    _put_turned(y + beside, add(mr, dr), add(mi, di), turns)
    _put_turned(y + 2 * beside, subtract(mr, dr), subtract(mi, di), turns + 16)


@njit(**EXACT)
def _by_five(x: Any, apart: Any, y: Any, beside: Any, turns: Any) -> None:
    ar, ai, br, bi = load(x), load(x + _PART), load(x + apart), load(x + apart + _PART)
    x += 2 * apart
    cr, ci, dr, di = load(x), load(x + _PART), load(x + apart), load(x + apart + _PART)
    x += 2 * apart
    er, ei = load(x), load(x + _PART)
    c1, c2, s1, s2 = splat(_d(_COS_1)), splat(_d(_COS_2)), splat(_d(_SIN_1)), splat(_d(_SIN_2))
    pr, pi, qr, qi = add(br, er), add(bi, ei), add(cr, dr), add(ci, di)  # sums of the numbers that mirror each other
    ur, ui, vr, vi = subtract(bi, ei), subtract(er, br), subtract(ci, di), subtract(dr, cr)  # differences times -i
    _put(y, add(ar, add(pr, qr)), add(ai, add(pi, qi)))
    mr, mi = fma(c2, qr, fma(c1, pr, ar)), fma(c2, qi, fma(c1, pi, ai))
    nr, ni = fma(c1, qr, fma(c2, pr, ar)), fma(c1, qi, fma(c2, pi, ai))
    fr, fi = fma(s2, vr, multiply(s1, ur)), fma(s2, vi, multiply(s1, ui))
    gr, gi = subtract(multiply(s2, ur), multiply(s1, vr)), subtract(multiply(s2, ui), multiply(s1, vi))
    _put_turned(y + beside, add(mr, fr), add(mi, fi), turns)
    _put_turned(y + 2 * beside, add(nr, gr), add(ni, gi), turns + 16)
    _put_turned(y + 3 * beside, subtract(nr, gr), subtract(ni, gi), turns + 32)
    _put_turned(y + 4 * beside, subtract(mr, fr), subtract(mi, fi), turns + 48)


@njit(**EXACT)
def _by_any(x: Any, apart: Any, y: Any, beside: Any, turns: Any, radix: Any, roots: Any) -> None:
    """Any radix, by the definition: sums over ``radix`` numbers, each times a root of one."""
    for j in range(radix):
        re, im = load(x), load(x + _PART)
        for k in range(1, radix):
            a, b = _times(load(x + k * apart), load(x + k * apart + _PART), roots + 16 * (j * k % radix))
            re, im = add(re, a), add(im, b)
        if j:
            _put_turned(y + j * beside, re, im, turns + 16 * (j - 1))
        else:
            _put(y, re, im)


@njit(**EXACT)
def _stage(x: Any, y: Any, radix: Any, blocks: Any, stride: Any, turns: Any, roots: Any) -> None:
    """``blocks * stride`` transforms of length ``radix``, each result times its twiddle factor."""
    apart, beside = blocks * stride * _PAIR, stride * _PAIR
    for p in range(blocks):
        turn = turns + 16 * p * (radix - 1)
        for q in range(stride):
            source, target = x + (p * stride + q) * _PAIR, y + (p * radix * stride + q) * _PAIR
            if radix == 4:
                _by_four(source, apart, target, beside, turn)
            elif radix == 2:
                _by_two(source, apart, target, beside, turn)
            elif radix == 3:
                _by_three(source, apart, target, beside, turn)
            elif radix == 5:
                _by_five(source, apart, target, beside, turn)
            else:
                _by_any(source, apart, target, beside, turn, radix, roots)


@njit(**EXACT)
def _transformed(x: Any, y: Any, half: Any, stages: Any, count: Any) -> Any:
    """The transforms of eight signals of ``half`` complex numbers; where they lie: at x or at y, which both are overwritten."""
    plan, blocks, stride = integers(stages, 3 * count), half, 1
    for s in range(count):
        radix = plan[3 * s]
        blocks //= radix
        _stage(x, y, radix, blocks, stride, plan[3 * s + 1], plan[3 * s + 2])
        stride *= radix
        x, y = y, x
    return x


@njit(**EXACT)
def _powers(z: Any, half: Any, turns: Any, out: Any, step: Any) -> None:
    """From the transforms of the pairs, the squared magnitudes of the half transforms: a line of eight floats a bin."""
    quarter = splat(_d(0.25))
    for k in range(half + 1):
        a, b = z + k % half * _PAIR, z + (half - k) % half * _PAIR
        ar, ai, br, bi = load(a), load(a + _PART), load(b), load(b + _PART)
        re, im = _times(add(ai, bi), subtract(br, ar), turns + 16 * k)
        re, im = add(re, add(ar, br)), add(im, subtract(ai, bi))
        store_narrowed(out + k * step, multiply(quarter, fma(re, re, multiply(im, im))))


@njit(**EXACT)
def _turned(x: Any, hop: Any, count: Any, size: Any, room: Any, lines: Any) -> None:
    """16 pieces side by side in ``lines``. Of the last tile's, ``count`` exist: they are copied to ``room``, which has 16."""
    if count < _SIDE:
        for f in range(count):
            copy(x + 4 * f * hop, room + 4 * f * size, size)
        x, hop = room, size
    i = 0
    while i < size:
        at = min(i, size - _SIDE)
        transpose(x + 4 * at, 4 * hop, lines + at * _LINE, _LINE)
        i += _SIDE


@njit(**EXACT)
def _tile(t: Any, x: Any, out: Any, length: Any, size: Any, hop: Any, frames: Any, tiles: Any, tables: Any) -> None:
    window, stages, count, turns = tables
    row, first = t // tiles, t % tiles * _SIDE
    many, half = min(_SIDE, frames - first), size // 2
    rooms, turned = np.zeros(_SIDE * size, np.float32), np.empty(_SIDE * (size + 1), np.float32)
    here, there = np.empty(2 * WIDTH * half, np.float64), np.empty(2 * WIDTH * half, np.float64)
    room, lines = np.int64(rooms.ctypes.data), np.int64(turned.ctypes.data)
    near, far = np.int64(here.ctypes.data), np.int64(there.ctypes.data)
    _turned(x + 4 * (row * length + first * hop), hop, many, size, room, lines)
    for side in range(0, _SIDE, WIDTH):
        for i in range(size):
            store(near + i * _PART, multiply(spread(window + 8 * i), widened(lines + i * _LINE + 4 * side)))
        # the bins are written over the samples of the same eight frames, which have been read
        _powers(_transformed(near, far, half, stages, count), half, turns, lines + 4 * side, _LINE)
    place = out + 4 * (row * (half + 1) * frames + first)
    for k in range(half + 1):
        copy(lines + k * _LINE, place + 4 * k * frames, many)
    hold(rooms)
    hold(turned)
    hold(here)
    hold(there)


@njit(**EXACT)
def _spectrum(x: Any, out: Any, rows: Any, length: Any, size: Any, hop: Any, frames: Any, tables: Any) -> None:
    tiles = (frames + _SIDE - 1) // _SIDE
    parallel_for(_tile, rows * tiles, (x, out, length, size, hop, frames, tiles, tables))


# ---- for Python


def _factors(n: int) -> list[int]:
    """Factors of n, in the order in which they are taken out: fours, then primes."""
    found, radix = [], 4
    while n > 1:
        while n % radix == 0:
            found.append(radix)
            n //= radix
        radix = {4: 2, 2: 3}.get(radix, radix + 2)
    return found


def _roots(n: int, exponents: Any) -> Any:
    """exp(-2 pi i e / n) as pairs of float64."""
    angles = -2 * np.pi * (np.asarray(exponents) % n) / n
    return np.stack([np.cos(angles), np.sin(angles)], -1).reshape(-1)


@lru_cache(maxsize=16)
def _plan(size: int) -> tuple[Any, Any, list[Any]] | None:
    """Stages (radix, address of twiddles, address of roots), the factors of the last step, and what must be kept alive."""
    radices = _factors(size // 2)
    if size % 2 or size < _SIDE or max(radices) > _LARGEST:
        return None
    left, numbers, kept = size // 2, [], []
    for radix in radices:
        blocks = left // radix
        twiddles = _roots(left, np.outer(np.arange(blocks), np.arange(1, radix)))
        roots = _roots(radix, np.arange(radix))
        kept += [twiddles, roots]
        numbers += [radix, twiddles.ctypes.data, roots.ctypes.data]
        left = blocks
    return np.asarray(numbers, np.int64), _roots(size, np.arange(size // 2 + 1)), kept


def power_spectrum(x: Any, window: Any, hop: int) -> Any:
    """As the reference."""
    size = window.shape[0]
    plan = _plan(size) if x.dtype == np.float32 and x.size else None
    if plan is None:
        return reference.power_spectrum(x, window, hop)
    x, shape = np.require(x, requirements="CA"), np.require(window, np.float64, "CA")
    stages, turns, _ = plan
    frames, rows = (x.shape[-1] - size) // hop + 1, x.size // x.shape[-1]
    out = np.empty((*x.shape[:-1], size // 2 + 1, frames), np.float32)
    tables = (shape.ctypes.data, stages.ctypes.data, len(stages) // 3, turns.ctypes.data)
    _spectrum(x.ctypes.data, out.ctypes.data, rows, x.shape[-1], size, hop, frames, tables)
    return out
