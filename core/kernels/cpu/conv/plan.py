"""What a dense convolution's shape and layout have to go by, as numbers for compiled code; made once for each shape.

Everything is in three dimensions here: those that a picture does not have are of size 1 and come first. Tiles depend on shapes
alone, and none of them is wider or narrower for the sake of the threads there are.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...reference.windows import Pads, Size, output_size, sides
from ..matrix.gemm import DEPTH
from ..matrix.microkernel import COLUMNS, LANES, ROWS, VECTORS

_TILE = 96  # places of a tile: with their windows they stay in a core's cache
_TASKS = 8  # tasks that a small convolution is cut into
_PANELS = 4  # panels of a task whose windows lie as rows, and of one of the weight's gradient
_ROWS = 192  # rows of a task of the weight's gradient
_PART = 1024  # places of a part of it, at least
_KEPT_PLACES = 1024  # places of one picture up to which packing the weight takes a noticeable share


class Plan(NamedTuple):
    """A convolution's result and how to get there."""

    numbers: Any
    """For ``correlate`` and ``weight_gradient``, int64."""
    held: Any
    """Arrays whose addresses are among the numbers."""
    shape: Size
    """(N, *out, O): the result's memory."""
    axes: Size
    """From there to (N, O, *out)."""
    keeps: bool
    """Whether the packed weight is worth keeping."""


class Class(NamedTuple):
    """The places of an input, every ``stride``-th along each dimension, that the same taps cover."""

    numbers: Any
    held: Any
    taps: Any
    """Of the weight, in the order of the window over the gradient, int64."""
    offset: int
    """Bytes to the first place."""


class BackPlan(NamedTuple):
    """An input's gradient and how to get there."""

    classes: tuple[Class, ...]
    shape: Size
    axes: Size


class _Source(NamedTuple):
    """A picture in memory; steps in bytes."""

    images: int
    size: Size
    floats: int  # of a pixel, in one group
    planes: int
    steps: Size  # between images, planes, and along the three dimensions
    group_step: int


class _Window(NamedTuple):
    """How a window moves over a picture."""

    kernel: Size
    start: Size
    move: Size
    spread: Size
    out: Size


def _up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return (a + b - 1) // b


def _lifted(numbers: Sequence[int], filler: int) -> Size:
    return (*(filler,) * (3 - len(numbers)), *numbers)


def last_axes(ndim: int) -> Size:
    """From (N, *S, C) to (N, C, *S)."""
    return (0, ndim - 1, *range(1, ndim - 1))


def _source(shape: Size, strides: Size, groups: int, planar: bool) -> _Source:
    n, c, *size = shape
    inner, step = c // groups, 4 if planar else 4 * c
    steps: list[int] = []
    for length, stride in zip(reversed(size), reversed(strides[2:]), strict=True):
        steps.append(step if length == 1 else stride)  # the stride of a dimension of 1 says nothing
        step = steps[-1] * length
    spatial = _lifted(steps[::-1], 0)
    if planar:
        return _Source(n, _lifted(size, 1), 1, inner, (strides[0], strides[1], *spatial), inner * strides[1])
    return _Source(n, _lifted(size, 1), inner, 1, (strides[0], 0, *spatial), 4 * inner)


def _even(counts: Sequence[int], steps: Sequence[int]) -> int:
    """The one step between places that follow each other in all dimensions; 0 where they are not evenly spaced."""
    step = expected = 0
    for count, own in zip(reversed(counts), reversed(steps), strict=True):
        if count == 1:
            continue
        if not step:
            step = expected = own
        if own != expected:
            return 0
        expected = own * count
    return step or 4


def _lies_inside(source: _Source, window: _Window) -> bool:
    """Whether no window leaves the picture."""
    last = [s + m * (o - 1) + d * (k - 1) for k, s, m, d, o in zip(*window, strict=True)]
    return min(window.start) >= 0 and all(b < n for b, n in zip(last, source.size, strict=True))


def _row_step(source: _Source, window: _Window) -> int:
    """Bytes between windows that lie in memory as the rows of a matrix; 0 where they do not."""
    if source.planes > 1 or window.kernel[0] * window.kernel[1] > 1:
        return 0
    if window.kernel[2] > 1 and (window.spread[2] != 1 or source.steps[4] != 4 * source.floats):
        return 0
    if any(window.start) or not _lies_inside(source, window):
        return 0
    moves = [s * m for s, m in zip(source.steps[2:], window.move, strict=True)]
    return _even((source.images, *window.out), (source.steps[0], *moves))


@functools.lru_cache(maxsize=256)
def _zeros(count: int) -> Any:
    return np.zeros(count, np.float32)


def _pieces(source: _Source, window: _Window) -> tuple[int, Any]:
    """How many pieces a window has, and the places of the floats of each, in bytes from its start.

    A planar picture is padded already: its windows lie inside it and are all alike, one piece each.
    """
    if source.planes == 1:
        return math.prod(window.kernel), np.arange(0, 4 * source.floats, 4)
    steps = [source.steps[1], *[s * d for s, d in zip(source.steps[2:], window.spread, strict=True)]]
    counts = (source.planes, *window.kernel)
    places = sum(s * i for s, i in zip(steps, np.indices(counts), strict=True))
    return 1, places.reshape(-1)


def _numbers(source: _Source, window: _Window, groups: int, width: int, target: Size) -> tuple[Any, Any]:
    """The numbers of a plan, and what must live with them; ``target``: bytes between images and between places of the result."""
    terms, places = math.prod(window.kernel) * source.floats * source.planes, source.images * math.prod(window.out)
    pieces, offsets = _pieces(source, window)
    zeros = _zeros(offsets.size)
    row_step, counts = _row_step(source, window), (source.images, *window.out)
    even = all(n == 1 or a == 4 * width * groups * b for n, a, b in zip(counts, target, _inner(counts), strict=True))
    tile = _up(_up(places, _up(places, _TILE)), ROWS) * ROWS
    tiles, panels = _up(places, tile), _up(width, COLUMNS)
    parts = min(panels, max(_up(panels, _PANELS) if row_step else 1, _up(_TASKS, tiles * groups)))
    each = _up(panels, parts)
    numbers = np.array(
        [
            source.images, *source.size, source.floats, source.planes, *source.steps,
            *window.out, *window.kernel, *window.start, *window.move, *window.spread,
            terms, width, groups, source.group_step, *target, row_step, even, tile, tiles, each, _up(panels, each),
            pieces, offsets.size, offsets.ctypes.data, zeros.ctypes.data, pieces == 1 and _lies_inside(source, window),
        ],
        np.int64,
    )  # fmt: skip
    return numbers, (offsets, zeros)


def _inner(counts: Size) -> list[int]:
    """How many places one step along each dimension passes."""
    return [math.prod(counts[i + 1 :]) for i in range(len(counts))]


def _steps(shape: Size) -> Size:
    """Bytes between the images and between the places of channels-last memory (N, *S, C)."""
    return tuple(4 * shape[-1] * n for n in _inner((shape[0], *_lifted(shape[1:-1], 1))))


@functools.lru_cache(maxsize=2048)
def forward_plan(
    shape: Size, strides: Size, weight_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int, planar: bool
) -> Plan:
    """The plan for an input of this shape and these strides (in bytes)."""
    kernel = weight_shape[2:]
    out = output_size(shape[2:], kernel, stride, padding, dilation)
    start = _lifted([-before for before, _ in sides(padding)], 0)
    window = _Window(_lifted(kernel, 1), start, _lifted(stride, 1), _lifted(dilation, 1), _lifted(out, 1))
    result = (shape[0], *out, weight_shape[0])
    numbers, held = _numbers(_source(shape, strides, groups, planar), window, groups, weight_shape[0] // groups, _steps(result))
    return Plan(numbers, held, result, last_axes(len(shape)), math.prod(out) <= _KEPT_PLACES)


class _Residue(NamedTuple):
    """Along one dimension the places first, first + stride, ... of an input: they take the same taps.

    Window m over the gradient, for place first + stride * m, begins at start + m, its taps ``spread`` apart.
    """

    first: int
    places: int
    start: int
    spread: int
    taps: tuple[int, ...]


def _residues(size: int, kernel: int, stride: int, before: int, dilation: int) -> list[_Residue]:
    """Place i takes tap k from the gradient's place (i + before - dilation * k) / stride, where that is whole."""
    found = []
    for first in range(min(stride, size)):
        taps = tuple(k for k in reversed(range(kernel)) if (first + before - dilation * k) % stride == 0)
        start = (first + before - dilation * taps[0]) // stride if taps else 0
        found.append(_Residue(first, _up(size - first, stride), start, dilation // math.gcd(stride, dilation), taps))
    return found


@functools.lru_cache(maxsize=2048)
def back_plan(
    shape: Size, strides: Size, weight_shape: Size, input_shape: Size, stride: Size, padding: Pads, dilation: Size, groups: int
) -> BackPlan:
    """The plan for the gradient of an input, given the shape and the strides (in bytes) of the result's gradient."""
    source, moves, kernel = _source(shape, strides, groups, False), _lifted(stride, 1), _lifted(weight_shape[2:], 1)
    result = (input_shape[0], *input_shape[2:], input_shape[1])
    steps, before = _steps(result), _lifted([b for b, _ in sides(padding)], 0)
    geometry = zip(_lifted(input_shape[2:], 1), kernel, moves, before, _lifted(dilation, 1), strict=True)
    target = (steps[0], *[s * m for s, m in zip(steps[1:], moves, strict=True)])
    classes = []
    for residues in itertools.product(*[_residues(*numbers) for numbers in geometry]):
        first, out, start, spread, taps = zip(*residues, strict=True)
        window = _Window(tuple(map(len, taps)), start, (1, 1, 1), spread, out)
        numbers, held = _numbers(source, window, groups, input_shape[1] // groups, target)
        chosen = [(i * kernel[1] + j) * kernel[2] + k for i, j, k in itertools.product(*taps)]
        offset = sum(f * s for f, s in zip(first, steps[1:], strict=True))
        classes.append(Class(numbers, held, np.array(chosen, np.int64), offset))
    return BackPlan(tuple(classes), result, last_axes(len(shape)))


class WeightPlan(NamedTuple):
    """A weight's gradient and how to get there: what ``weight_gradient`` takes."""

    numbers: Any
    elements: Any
    cuts: Any


@functools.lru_cache(maxsize=2048)
def weight_plan(
    shape: Size, strides: Size, weight_shape: Size, stride: Size, dilation: Size, groups: int, planar: bool, out: Size
) -> WeightPlan:
    """The plan for an input of this shape and these strides (in bytes), padded already."""
    kernel, spread = _lifted(weight_shape[2:], 1), _lifted(dilation, 1)
    window = _Window(kernel, (0, 0, 0), _lifted(stride, 1), spread, _lifted(out, 1))
    source, width = _source(shape, strides, groups, planar), weight_shape[0] // groups
    numbers, _ = _numbers(source, window, groups, width, (0, 0, 0, 0))
    tap_steps = [s * d for s, d in zip(source.steps[2:], spread, strict=True)]
    steps, counts = [source.steps[1], *tap_steps, 4], (source.planes, *kernel, source.floats)
    elements = sum(s * i for s, i in zip(steps, np.indices(counts), strict=True)).reshape(-1)
    single = math.prod(kernel) == source.planes == 1
    return WeightPlan(numbers, elements, _cuts(shape[0] * math.prod(out), groups, width, elements.size, single))


def _cost(rows: int, columns: int) -> int:
    """Clock cycles, about, that a product takes for each of its terms."""
    vectors = _up(columns, LANES)
    panels, rest = vectors // VECTORS, vectors % VECTORS
    return _up(rows, ROWS) * (panels * ROWS * VECTORS // 2 + (max(4, ROWS * rest // 2) if rest else 0))


def _cuts(places: int, groups: int, width: int, terms: int, single: bool) -> Any:
    """How ``weight_gradient`` is cut: rows and panels of a task, and parts of the places where those alone are few tasks.

    With a ``single`` tap the output channels may be the rows, and the result then lies as the weight does.
    """
    outputs = single and _cost(width, terms) <= _cost(terms, width) + width * terms / places
    rows, columns = (width, terms) if outputs else (terms, width)
    row_tasks, panels = _up(rows, _ROWS), _up(columns, COLUMNS)
    panel_tasks = _up(panels, _PANELS)
    parts = max(1, min(_up(2 * _TASKS, groups * row_tasks * panel_tasks), places // _PART))
    places_each = _up(_up(places, parts), DEPTH) * DEPTH
    cuts = [
        _up(_up(rows, row_tasks), ROWS) * ROWS, row_tasks, _up(panels, panel_tasks), panel_tasks, places_each,
        _up(places, places_each), 4 * width * groups, outputs,
    ]  # fmt: skip
    return np.array(cuts, np.int64)
