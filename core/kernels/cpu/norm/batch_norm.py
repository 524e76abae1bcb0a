"""batch_norm in float32, in channels-last memory and in C order: each array is read where it lies, in one compiled call.

In evaluation a norm is x * scale + shift, with the arithmetic of ``gemm.finish``: fused into a product it gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import norm as reference
from ..lanes.pointers import floats, hold
from ..lanes.rows import vector
from ..lanes.vector_math import suits
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from .channels import (
    channels_of,
    empty,
    flat,
    plane_along,
    plane_combine,
    plane_scale,
    plane_squares,
    plane_sum,
    repeat,
    rows_along,
    rows_combine,
    rows_scale,
    rows_statistics,
)
from .cuts import (
    TOPS,
    plane_along_cut,
    plane_combine_cut,
    plane_scale_cut,
    rows_along_cut,
    rows_combine_cut,
    rows_scale_cut,
)

_f = np.float32
_WIDTH = 64  # channels of a task that puts partial results together


# ---- statistics


@njit(**EXACT)
def _statistics_tile(t: Any, x: Any, layout: Any, parts: Any) -> None:
    """``parts`` (parts, 2, C): mean and sum of squared distances."""
    count, channels, places, tile, stretch = layout
    lo, hi = t * tile, min(count, (t + 1) * tile)
    if not places:
        here = parts + 8 * channels * t
        rows_statistics(x + 4 * lo, hi - lo, channels, stretch, here, here + 4 * channels)
        return
    for plane in range(lo // places, hi // places):
        here = parts + 4 * (plane // channels * 2 * channels + plane % channels)
        mean = _f(plane_sum(x + 4 * plane * places, places) / places)
        floats(here, 1)[0] = mean
        floats(here + 4 * channels, 1)[0] = _f(plane_squares(x + 4 * plane * places, places, mean))


@njit(**EXACT)
def _whole_statistics(i: Any, layout: Any, parts: Any, many: Any, means: Any, variances: Any, spare: Any) -> None:
    """Mean and variance of 64 channels from those of the parts; ``spare`` (2, C) float64."""
    count, channels, places, tile, _ = layout
    lo, rows = i * _WIDTH, count // channels
    hi = min(channels, lo + _WIDTH)
    mean, square = spare[0, lo:hi], spare[1, lo:hi]
    for c in range(mean.size):
        mean[c] = 0.0
        square[c] = 0.0
    for p in range(many):
        size = np.float64(places if places else min(tile, count - p * tile) // channels)
        m = floats(parts + 4 * (2 * channels * p + lo), hi - lo)
        for c in range(mean.size):
            mean[c] += size * m[c]
    for c in range(mean.size):
        mean[c] /= rows
    for p in range(many):
        size = np.float64(places if places else min(tile, count - p * tile) // channels)
        m, s = (
            floats(parts + 4 * (2 * channels * p + lo), hi - lo),
            floats(parts + 4 * (2 * channels * p + channels + lo), hi - lo),
        )
        for c in range(mean.size):
            d = m[c] - mean[c]
            square[c] += s[c] + size * d * d
    for c in range(mean.size):
        means[lo + c] = mean[c]
        variances[lo + c] = square[c] / rows


# ---- maps


@njit(**EXACT)
def _scale_tile(t: Any, x: Any, layout: Any, numbers: Any, top: Any, out: Any) -> None:
    """``numbers`` (3, stretch): mean, scale, shift. ``top``: see ``cuts``."""
    count, channels, places, tile, stretch = layout
    lo, hi = t * tile, min(count, (t + 1) * tile)
    means, scales, shifts = numbers, numbers + 4 * stretch, numbers + 8 * stretch
    if not places:
        if top == 0:
            rows_scale(x + 4 * lo, hi - lo, stretch, means, scales, shifts, out + 4 * lo)
        else:
            rows_scale_cut(x + 4 * lo, hi - lo, stretch, numbers, top, out + 4 * lo)
        return
    m, s, b = floats(means, channels), floats(scales, channels), floats(shifts, channels)
    for plane in range(lo // places, hi // places):
        c, start = plane % channels, 4 * plane * places
        if top == 0:
            plane_scale(x + start, places, m[c], s[c], b[c], out + start)
        else:
            plane_scale_cut(x + start, places, m[c], s[c], b[c], top, out + start)


@njit(**EXACT)
def _given_tile(t: Any, x: Any, layout: Any, scales: Any, shifts: Any, out: Any) -> None:
    """out = x * scale + shift."""
    count, channels, places, tile, stretch = layout
    lo, hi = t * tile, min(count, (t + 1) * tile)
    s, b = floats(scales, stretch), floats(shifts, stretch)
    if not places:
        for start in range(lo, hi, stretch):
            many = min(stretch, hi - start)
            xs, y = floats(x + 4 * start, many), floats(out + 4 * start, many)
            for c in range(xs.size):
                y[c] = xs[c] * s[c] + b[c]
        return
    for plane in range(lo // places, hi // places):
        scale, shift = s[plane % channels], b[plane % channels]
        xs, y = floats(x + 4 * plane * places, places), floats(out + 4 * plane * places, places)
        for i in range(xs.size):
            y[i] = xs[i] * scale + shift


@njit(**EXACT)
def _number(v: Any, c: Any, default: Any) -> Any:
    return np.float64(v[c]) if v.size else default


@njit(**EXACT)
def _repeated(numbers: Any, channels: Any, stretch: Any) -> Any:
    """``numbers`` (K, C) as (K, stretch)."""
    out = np.empty((len(numbers), stretch), _f)
    for k in range(len(numbers)):
        repeat(numbers[k].ctypes.data, channels, stretch, out[k].ctypes.data)
    return out


@njit(**EXACT)
def _forward_numbers(weight: Any, bias: Any, means: Any, variances: Any, eps: Any, numbers: Any) -> None:
    """``numbers`` (3 or more, C): mean, scale, shift."""
    for c in range(means.size):
        inverse = 1.0 / np.sqrt(np.float64(variances[c]) + eps)
        numbers[0, c] = means[c]
        numbers[1, c] = _number(weight, c, 1.0) * inverse
        numbers[2, c] = _number(bias, c, 0.0)


@njit(**EXACT)
def _train(
    x: Any, layout: Any, tiles: Any, many: Any, weight: Any, bias: Any, eps: Any, top: Any, y: Any, means: Any, variances: Any
) -> None:
    channels, stretch = layout[1], layout[4]
    parts, spare = np.empty(2 * many * channels, _f), np.empty((2, channels), np.float64)
    parallel_for(_statistics_tile, tiles, (x.ctypes.data, layout, parts.ctypes.data))
    blocks = (channels + _WIDTH - 1) // _WIDTH
    parallel_for(_whole_statistics, blocks, (layout, parts.ctypes.data, many, means, variances, spare))
    hold(parts)
    numbers = np.empty((3, channels), _f)
    _forward_numbers(weight, bias, means, variances, eps, numbers)
    long = _repeated(numbers, channels, stretch)
    parallel_for(_scale_tile, tiles, (x.ctypes.data, layout, long.ctypes.data, top, y.ctypes.data))
    hold(long)


def batch_norm(x: Any, weight: Any, bias: Any, eps: float, activation: str = "none") -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(x, weight, bias) or not x.size:
        return reference.batch_norm(x, weight, bias, eps, activation)
    memory, layout = channels_of(x)
    last = not layout.places
    y, mean, var = empty(x, last), np.empty(layout.channels, _f), np.empty(layout.channels, _f)
    given = layout[:5], layout.tiles, layout.parts, vector(weight), vector(bias), eps, _f(TOPS[activation])
    _train(memory, *given, flat(y, last), mean, var)
    return y, mean, var


# ---- with statistics that are given


@njit(**EXACT)
def _scales(weight: Any, bias: Any, mean: Any, var: Any, eps: Any, scale: Any, shift: Any) -> None:
    """In float64, rounded once, as the reference has it."""
    for c in range(scale.size):
        s = 1.0 / np.sqrt(np.float64(var[c]) + eps)
        s = s * np.float64(weight[c]) if weight.size else s
        product = np.float64(mean[c]) * s
        scale[c] = s
        shift[c] = _number(bias, c, 0.0) - product


def batch_norm_scale(weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> tuple[Any, Any]:
    """As the reference."""
    if not suits(weight, bias, mean, var):
        return reference.batch_norm_scale(weight, bias, mean, var, eps)
    scale, shift = np.empty(var.shape, _f), np.empty(var.shape, _f)
    _scales(vector(weight), vector(bias), vector(mean), vector(var), eps, scale, shift)
    return scale, shift


@njit(**EXACT)
def _evaluate(x: Any, layout: Any, tiles: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: Any, y: Any) -> None:
    channels, stretch = layout[1], layout[4]
    numbers = np.empty((2, channels), _f)
    _scales(weight, bias, mean, var, eps, numbers[0], numbers[1])
    long = _repeated(numbers, channels, stretch)
    at = long.ctypes.data
    parallel_for(_given_tile, tiles, (x.ctypes.data, layout, at, at + 4 * stretch, y.ctypes.data))
    hold(long)


def batch_norm_eval(x: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """As the reference."""
    if not suits(x, mean, var, weight, bias) or not x.size:
        return reference.batch_norm_eval(x, mean, var, weight, bias, eps)
    memory, layout = channels_of(x)
    last = not layout.places
    y = empty(x, last)
    numbers = vector(weight), vector(bias), vector(mean), vector(var), eps
    _evaluate(memory, layout[:5], layout.tiles, *numbers, flat(y, last))
    return y


# ---- gradients


@njit(**EXACT)
def _along_tile(t: Any, grad: Any, x: Any, layout: Any, numbers: Any, top: Any, parts: Any) -> None:
    """``parts`` (parts, 2, C): sums of grad, and of grad times the distance to the mean. ``numbers`` as in ``_scale_tile``."""
    count, channels, places, tile, stretch = layout
    lo, hi = t * tile, min(count, (t + 1) * tile)
    if not places:
        g, xs, many, here = grad + 4 * lo, x + 4 * lo, hi - lo, parts + 8 * channels * t
        if top == 0:
            rows_along(g, xs, many, channels, stretch, numbers, here, here + 4 * channels)
        else:
            rows_along_cut(g, xs, many, channels, stretch, numbers, top, here, here + 4 * channels)
        return
    m, s, b = floats(numbers, channels), floats(numbers + 4 * stretch, channels), floats(numbers + 8 * stretch, channels)
    for plane in range(lo // places, hi // places):
        c, start = plane % channels, 4 * plane * places
        here = parts + 4 * (plane // channels * 2 * channels + c)
        if top == 0:
            plain, along = plane_along(grad + start, x + start, places, m[c])
        else:
            plain, along = plane_along_cut(grad + start, x + start, places, m[c], s[c], b[c], top)
        floats(here, 1)[0] = plain
        floats(here + 4 * channels, 1)[0] = along


@njit(**EXACT)
def _whole_sums(i: Any, channels: Any, parts: Any, many: Any, sums: Any) -> None:
    """``sums`` (2 C,) float64 of 64 columns."""
    lo = i * _WIDTH
    hi = min(2 * channels, lo + _WIDTH)
    total = sums[lo:hi]
    for c in range(total.size):
        total[c] = 0.0
    for p in range(many):
        part = floats(parts + 4 * (2 * channels * p + lo), hi - lo)
        for c in range(total.size):
            total[c] += part[c]


@njit(**EXACT)
def _combine_tile(t: Any, grad: Any, x: Any, layout: Any, numbers: Any, top: Any, out: Any) -> None:
    """``numbers`` (5, stretch): mean, scale, shift, slope, rest."""
    count, channels, places, tile, stretch = layout
    lo, hi = t * tile, min(count, (t + 1) * tile)
    m, s, b, k, e = numbers, numbers + 4 * stretch, numbers + 8 * stretch, numbers + 12 * stretch, numbers + 16 * stretch
    if not places:
        if top == 0:
            rows_combine(grad + 4 * lo, x + 4 * lo, hi - lo, stretch, m, s, k, e, out + 4 * lo)
        else:
            rows_combine_cut(grad + 4 * lo, x + 4 * lo, hi - lo, stretch, numbers, top, out + 4 * lo)
        return
    mean, scale, shift = floats(m, channels), floats(s, channels), floats(b, channels)
    slope, rest = floats(k, channels), floats(e, channels)
    for plane in range(lo // places, hi // places):
        c, start = plane % channels, 4 * plane * places
        g, xs, gx = grad + start, x + start, out + start
        if top == 0:
            plane_combine(g, xs, places, mean[c], scale[c], slope[c], rest[c], gx)
        else:
            plane_combine_cut(g, xs, places, mean[c], scale[c], shift[c], top, slope[c], rest[c], gx)


@njit(**EXACT)
def _backward(
    grad: Any, x: Any, layout: Any, tiles: Any, many: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: Any, follow: Any,
    top: Any, out: Any, gw: Any, gb: Any,
) -> None:  # fmt: skip
    channels, stretch = layout[1], layout[4]
    rows = layout[0] // channels
    numbers = np.zeros((5, channels), _f)
    _forward_numbers(weight, bias, mean, var, eps, numbers)
    long = _repeated(numbers, channels, stretch)
    parts, sums = np.empty(2 * many * channels, _f), np.empty(2 * channels, np.float64)
    parallel_for(_along_tile, tiles, (grad.ctypes.data, x.ctypes.data, layout, long.ctypes.data, top, parts.ctypes.data))
    parallel_for(_whole_sums, (2 * channels + _WIDTH - 1) // _WIDTH, (channels, parts.ctypes.data, many, sums))
    hold(parts)
    for c in range(channels):
        plain, along = sums[c], sums[channels + c]
        inverse = 1.0 / np.sqrt(np.float64(var[c]) + eps)
        scale = _number(weight, c, 1.0) * inverse
        numbers[3, c] = -scale * inverse * inverse * along / rows if follow else 0.0
        numbers[4, c] = -scale * plain / rows if follow else 0.0
        gw[c] = along * inverse
        gb[c] = plain
    for k in (3, 4):
        repeat(numbers[k].ctypes.data, channels, stretch, long[k].ctypes.data)
    hold(numbers)
    parallel_for(_combine_tile, tiles, (grad.ctypes.data, x.ctypes.data, layout, long.ctypes.data, top, out.ctypes.data))
    hold(long)


def _gradients(
    grad: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, follow: bool, activation: str
) -> tuple[Any, Any, Any]:
    """Gradients of x, weight and bias; ``follow`` where the statistics depend on x."""
    memory, layout = channels_of(x)
    last = not layout.places
    gx, gw, gb = empty(x, last), np.empty(layout.channels, _f), np.empty(layout.channels, _f)
    numbers = vector(weight), vector(bias), vector(mean), vector(var), eps, follow, _f(TOPS[activation])
    _backward(flat(grad, last), memory, layout[:5], layout.tiles, layout.parts, *numbers, flat(gx, last), gw, gb)
    return gx, gw, gb


def batch_norm_backward(
    grad: Any, x: Any, weight: Any, mean: Any, var: Any, eps: float, bias: Any = None, activation: str = "none"
) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(grad, x, weight, mean, var, bias) or not x.size:
        return reference.batch_norm_backward(grad, x, weight, mean, var, eps, bias, activation)
    return _gradients(grad, x, weight, bias, mean, var, eps, True, activation)


def batch_norm_eval_backward(grad: Any, x: Any, mean: Any, var: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(grad, x, mean, var, weight) or not x.size:
        return reference.batch_norm_eval_backward(grad, x, mean, var, weight, eps)
    return _gradients(grad, x, weight, None, mean, var, eps, False, "none")
