"""group_norm in float32. In C order a group is one run of memory and is read again while it is in the cache; in channels-last
memory each sample's places are cut into tiles, whose statistics are put together in float64, in the tiles' order.

A sample's bits depend on the sample alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...reference import norm as reference
from ..lanes.pointers import floats, hold
from ..lanes.rows import TILE, add_up, vector
from ..lanes.vector_math import suits
from ..running.compiled import EXACT, njit
from ..running.parallel import parallel_for
from .channels import (
    empty,
    flat,
    is_last,
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
    stretch_of,
)

_f = np.float32


@njit(**EXACT)
def _weight_of(weight: Any, c: Any) -> Any:
    return weight[c] if weight.size else _f(1.0)


@njit(**EXACT)
def _bias_of(bias: Any, c: Any) -> Any:
    return bias[c] if bias.size else _f(0.0)


# ---- C order: ``size`` is (groups in all, groups of a sample, channels of a group, places, groups of a tile)


@njit(**EXACT)
def _groups_tile(t: Any, x: Any, size: Any, weight: Any, bias: Any, eps: Any, y: Any, means: Any, inverses: Any) -> None:
    count, groups, channels, places, tile = size
    many = channels * places
    for q in range(t * tile, min(count, (t + 1) * tile)):
        here, first = 4 * q * many, q % groups * channels
        mean = _f(plane_sum(x + here, many) / many)
        inverse = _f(1.0 / np.sqrt(plane_squares(x + here, many, mean) / many + eps))
        means[q] = mean
        inverses[q] = inverse
        for c in range(channels):
            place = here + 4 * c * places
            plane_scale(x + place, places, mean, inverse * _weight_of(weight, first + c), _bias_of(bias, first + c), y + place)


@njit(**EXACT)
def _groups_backward_tile(
    t: Any, grad: Any, x: Any, size: Any, weight: Any, means: Any, inverses: Any, out: Any, parts: Any
) -> None:
    """``parts`` (samples, 2, C): what each sample adds to the gradients of weight and bias."""
    count, groups, channels, places, tile = size
    many = channels * places
    for q in range(t * tile, min(count, (t + 1) * tile)):
        first, n, mean, inverse = q % groups * channels, q // groups, means[q], inverses[q]
        total, moment = 0.0, 0.0
        for c in range(channels):
            place = 4 * (q * many + c * places)
            plain, along = plane_along(grad + place, x + place, places, mean)
            parts[n, 0, first + c] = along * inverse
            parts[n, 1, first + c] = plain
            w = np.float64(_weight_of(weight, first + c))
            total += w * plain
            moment += w * along
        slope = _f(-moment * inverse * inverse * inverse / many)
        shift = _f(-total * inverse / many)
        for c in range(channels):
            place = 4 * (q * many + c * places)
            scale = inverse * _weight_of(weight, first + c)
            plane_combine(grad + place, x + place, places, mean, scale, slope, shift, out + place)


@njit(**EXACT)
def _groups(x: Any, size: Any, weight: Any, bias: Any, eps: Any, y: Any, means: Any, inverses: Any) -> None:
    tiles = (size[0] + size[4] - 1) // size[4]
    parallel_for(_groups_tile, tiles, (x.ctypes.data, size, weight, bias, eps, y.ctypes.data, means, inverses))


@njit(**EXACT)
def _groups_backward(
    grad: Any, x: Any, size: Any, weight: Any, means: Any, inverses: Any, out: Any, parts: Any, gw: Any, gb: Any
) -> None:
    tiles = (size[0] + size[4] - 1) // size[4]
    given = grad.ctypes.data, x.ctypes.data, size, weight, means, inverses, out.ctypes.data, parts
    parallel_for(_groups_backward_tile, tiles, given)
    _add_samples(parts, gw, gb)


@njit(**EXACT)
def _add_samples(parts: Any, gw: Any, gb: Any) -> None:
    samples, channels = len(parts), parts.shape[2]
    add_up(parts.ctypes.data, 8 * channels, samples, channels, gw.ctypes.data)
    add_up(parts.ctypes.data + 4 * channels, 8 * channels, samples, channels, gb.ctypes.data)


# ---- channels last: ``size`` is (floats of a sample, C, groups, floats of a tile, floats of a stretch)


@njit(**EXACT)
def _span(t: Any, size: Any) -> Any:
    """The sample of a tile, its first float in all and in the sample, and its length."""
    per_sample = (size[0] + size[3] - 1) // size[3]
    n, start = t // per_sample, t % per_sample * size[3]
    return n, n * size[0] + start, min(size[3], size[0] - start)


@njit(**EXACT)
def _statistics_tile(t: Any, x: Any, size: Any, parts: Any) -> None:
    _, first, many = _span(t, size)
    here = parts + 8 * size[1] * t
    rows_statistics(x + 4 * first, many, size[1], size[4], here, here + 4 * size[1])


@njit(**EXACT)
def _sample_statistics(n: Any, size: Any, parts: Any, eps: Any, means: Any, inverses: Any) -> None:
    whole, channels, groups, tile, _ = size
    per_sample, width = (whole + tile - 1) // tile, channels // groups
    for q in range(groups):
        total, square = 0.0, 0.0
        for t in range(n * per_sample, (n + 1) * per_sample):
            rows = _span(t, size)[2] // channels
            m = floats(parts + 4 * (2 * channels * t + q * width), width)
            for c in range(m.size):
                total += rows * np.float64(m[c])
        mean = total / (whole // groups)
        for t in range(n * per_sample, (n + 1) * per_sample):
            rows = _span(t, size)[2] // channels
            m = floats(parts + 4 * (2 * channels * t + q * width), width)
            s = floats(parts + 4 * (2 * channels * t + channels + q * width), width)
            for c in range(m.size):
                d = m[c] - mean
                square += s[c] + rows * d * d
        means[n * groups + q] = mean
        inverses[n * groups + q] = 1.0 / np.sqrt(square / (whole // groups) + eps)


@njit(**EXACT)
def _scale_tile(t: Any, x: Any, size: Any, numbers: Any, y: Any) -> None:
    n, first, many = _span(t, size)
    stretch = size[4]
    at = numbers + 12 * stretch * n
    rows_scale(x + 4 * first, many, stretch, at, at + 4 * stretch, at + 8 * stretch, y + 4 * first)


@njit(**EXACT)
def _last(x: Any, size: Any, weight: Any, bias: Any, eps: Any, y: Any, means: Any, inverses: Any) -> None:
    whole, channels, groups, tile, stretch = size
    samples = x.size // whole
    tiles = samples * ((whole + tile - 1) // tile)
    parts = np.empty(2 * tiles * channels, _f)
    parallel_for(_statistics_tile, tiles, (x.ctypes.data, size, parts.ctypes.data))
    parallel_for(_sample_statistics, samples, (size, parts.ctypes.data, eps, means, inverses))
    hold(parts)
    numbers, long = np.empty((3, channels), _f), np.empty((samples, 3, stretch), _f)
    for n in range(samples):
        for c in range(channels):
            q = n * groups + c // (channels // groups)
            numbers[0, c] = means[q]
            numbers[1, c] = inverses[q] * _weight_of(weight, c)
            numbers[2, c] = _bias_of(bias, c)
        for k in range(3):
            repeat(numbers[k].ctypes.data, channels, stretch, long[n, k].ctypes.data)
    hold(numbers)
    parallel_for(_scale_tile, tiles, (x.ctypes.data, size, long.ctypes.data, y.ctypes.data))
    hold(long)


@njit(**EXACT)
def _along_tile(t: Any, grad: Any, x: Any, size: Any, centers: Any, parts: Any) -> None:
    n, first, many = _span(t, size)
    here = parts + 8 * size[1] * t
    rows_along(
        grad + 4 * first, x + 4 * first, many, size[1], size[4], centers + 4 * size[4] * n, here, here + 4 * size[1]
    )  # fmt: skip


@njit(**EXACT)
def _sample_sums(n: Any, size: Any, parts: Any, weight: Any, means: Any, inverses: Any, sums: Any, long: Any) -> None:
    """``sums`` (samples, 2, C) for weight and bias; ``long`` (samples, 4, stretch): mean, scale, slope, shift."""
    whole, channels, groups, tile, stretch = size
    per_sample, width, many = (whole + tile - 1) // tile, channels // groups, whole // groups
    numbers = np.empty((4, channels), _f)
    for q in range(groups):
        mean, inverse = means[n * groups + q], inverses[n * groups + q]
        total, moment = 0.0, 0.0
        for c in range(q * width, (q + 1) * width):
            plain, along = 0.0, 0.0
            for t in range(n * per_sample, (n + 1) * per_sample):
                plain += floats(parts + 4 * (2 * channels * t + c), 1)[0]
                along += floats(parts + 4 * (2 * channels * t + channels + c), 1)[0]
            sums[n, 0, c] = along * inverse
            sums[n, 1, c] = plain
            w = np.float64(_weight_of(weight, c))
            total += w * plain
            moment += w * along
            numbers[0, c] = mean
            numbers[1, c] = inverse * _weight_of(weight, c)
        for c in range(q * width, (q + 1) * width):
            numbers[2, c] = -moment * inverse * inverse * inverse / many
            numbers[3, c] = -total * inverse / many
    for k in range(4):
        repeat(numbers[k].ctypes.data, channels, stretch, long + 4 * stretch * (4 * n + k))
    hold(numbers)


@njit(**EXACT)
def _combine_tile(t: Any, grad: Any, x: Any, size: Any, numbers: Any, out: Any) -> None:
    n, first, many = _span(t, size)
    stretch = size[4]
    at = numbers + 16 * stretch * n
    rows_combine(
        grad + 4 * first, x + 4 * first, many, stretch, at, at + 4 * stretch, at + 8 * stretch, at + 12 * stretch, out + 4 * first
    )  # fmt: skip


@njit(**EXACT)
def _last_backward(
    grad: Any, x: Any, size: Any, weight: Any, means: Any, inverses: Any, out: Any, sums: Any, gw: Any, gb: Any
) -> None:
    whole, channels, groups, tile, stretch = size
    samples = x.size // whole
    tiles = samples * ((whole + tile - 1) // tile)
    centers, width = np.empty((samples, stretch), _f), channels // groups
    for n in range(samples):
        for c in range(stretch):
            centers[n, c] = means[n * groups + c % channels // width]
    parts, long = np.empty(2 * tiles * channels, _f), np.empty((samples, 4, stretch), _f)
    parallel_for(_along_tile, tiles, (grad.ctypes.data, x.ctypes.data, size, centers.ctypes.data, parts.ctypes.data))
    hold(centers)
    parallel_for(_sample_sums, samples, (size, parts.ctypes.data, weight, means, inverses, sums, long.ctypes.data))
    hold(parts)
    parallel_for(_combine_tile, tiles, (grad.ctypes.data, x.ctypes.data, size, long.ctypes.data, out.ctypes.data))
    hold(long)
    _add_samples(sums, gw, gb)


# ---- both


def _size(x: Any, groups: int, last: bool) -> tuple[int, int, int, int, int]:
    samples, channels, places = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    if last:
        stretch = stretch_of(channels)
        return channels * places, channels, groups, stretch * max(1, 2 * TILE // stretch), stretch
    many = channels // groups * places
    return samples * groups, groups, channels // groups, places, max(1, TILE // many)


def group_norm(x: Any, groups: int, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(x, weight, bias) or not x.size:
        return reference.group_norm(x, groups, weight, bias, eps)
    last = is_last(x)
    y, means, inverses = empty(x, last), np.empty(x.shape[0] * groups, _f), np.empty(x.shape[0] * groups, _f)
    given = flat(x, last), _size(x, groups, last), vector(weight), vector(bias), eps, flat(y, last), means, inverses
    (_last if last else _groups)(*given)
    return y, means, inverses


def group_norm_backward(grad: Any, x: Any, groups: int, weight: Any, mean: Any, inverse: Any) -> tuple[Any, Any, Any]:
    """As the reference."""
    if not suits(grad, x, weight, mean, inverse) or not x.size:
        return reference.group_norm_backward(grad, x, groups, weight, mean, inverse)
    last, channels = is_last(x), x.shape[1]
    gx, gw, gb = empty(x, last), np.empty(channels, _f), np.empty(channels, _f)
    parts = np.empty((x.shape[0], 2, channels), _f)
    given = flat(grad, last), flat(x, last), _size(x, groups, last), vector(weight), vector(mean), vector(inverse)
    (_last_backward if last else _groups_backward)(*given, flat(gx, last), parts, gw, gb)
    return gx, gw, gb
