"""Steps of optimizers on many arrays in one launch: ``optim.cu``."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from ...devices import cupy
from ...tracing import here, keep
from ..reference import optim as reference
from ..reference import optim_scaled as scaled
from ..reference.half import widened
from .matmul import matmul
from .running.launching import SUFFIX, launch, suffix

_CHUNK = 16384  # elements a block works on, as optim.cu has it
_THREADS = 256
_STATE = {"float32": "float32", "float16": "float32", "bfloat16": "float32", "float64": "float64"}


def adamw_steps(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    max_exp_avg_sqs: Sequence[Any] | None,
    steps: Sequence[int],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    lists = [params, grads, exp_avgs, exp_avg_sqs, *([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])]
    for group in _groups(lists, 2, steps):
        _adamw(group, reference.adamw_numbers(group.key, lr, beta1, beta2, eps, weight_decay, decoupled), maximize, None)


def adamw_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    max_exp_avg_sqs: Sequence[Any] | None,
    numbers: Any,
    maximize: bool,
    found: Any,
) -> None:
    lists = [params, grads, exp_avgs, exp_avg_sqs, *([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])]
    for group in _groups(lists, 2):
        _adamw(group, numbers, maximize, found)


def _adamw(group: _Group, numbers: Any, maximize: bool, found: Any) -> None:
    if group.dtype is None:
        param, grad, average, square, top = group.only(5)
        reference.adamw_by(param, grad, average, square, top, numbers, maximize, found)
    else:
        held, given = _held(numbers, 8)
        group.launch("adamw", held, found, group.count == 5, *given, maximize)


def adamw_corrections(numbers: Any, left_out: Any) -> Any:
    held, given = _held(numbers, 9)
    made = cupy().empty(8, np.float64)
    launch("optim", "corrections", 1, 1, held, *given, left_out, made)
    return made


def sgd_steps(
    params: Sequence[Any],
    grads: Sequence[Any],
    momentum_buffers: Sequence[Any] | None,
    firsts: Sequence[bool],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    numbers = reference.sgd_numbers(lr, momentum, dampening, weight_decay)
    for group in _groups([params, grads, *([] if momentum_buffers is None else [momentum_buffers])], 2, firsts):
        _sgd(group, bool(group.key), numbers, nesterov, maximize, None)


def sgd_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    momentum_buffers: Sequence[Any] | None,
    numbers: Any,
    nesterov: bool,
    maximize: bool,
    found: Any,
) -> None:
    for group in _groups([params, grads, *([] if momentum_buffers is None else [momentum_buffers])], 2):
        _sgd(group, False, numbers, nesterov, maximize, found)


def _sgd(group: _Group, first: bool, numbers: Any, nesterov: bool, maximize: bool, found: Any) -> None:
    if group.dtype is None:
        param, grad, buffer = group.only(3)
        reference.sgd_by(param, grad, buffer, first, numbers, nesterov, maximize, found)
    else:
        held, given = _held(numbers, 4)
        group.launch("sgd", held, found, group.count == 3, first, *given, nesterov, maximize)


def lion_steps(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    lion_held(params, grads, exp_avgs, reference.lion_numbers(lr, beta1, beta2, weight_decay), maximize, None)


def lion_held(
    params: Sequence[Any], grads: Sequence[Any], exp_avgs: Sequence[Any], numbers: Any, maximize: bool, found: Any
) -> None:
    for group in _groups([params, grads, exp_avgs], 2):
        if group.dtype is None:
            param, grad, average = group.only(3)
            reference.lion_by(param, grad, average, numbers, maximize, found)
        else:
            held, given = _held(numbers, 4)
            group.launch("lion", held, found, *given, maximize)


def muon_held(
    params: Sequence[Any],
    grads: Sequence[Any],
    momentum_buffers: Sequence[Any],
    numbers: Any,
    nesterov: bool,
    ns_steps: int,
    found: Any,
) -> None:
    for arrays in zip(params, grads, momentum_buffers, strict=True):
        scaled.muon_by(*arrays, numbers, nesterov, ns_steps, matmul, found)


def _held(numbers: Any, count: int) -> tuple[Any, tuple[float, ...]]:
    """The numbers of a step as launches take them: where they lie on the device, and by value."""
    return (None, numbers) if isinstance(numbers, tuple) else (numbers, (0.0,) * count)


def ema_steps(averages: Sequence[Any], values: Sequence[Any], weight: float) -> None:
    ema_held(averages, values, (float(weight),))


def ema_held(averages: Sequence[Any], values: Sequence[Any], numbers: Any) -> None:
    for group in _groups([values, averages], 1):
        if group.dtype is None:
            value, average = group.only(2)
            reference.ema_held([average], [value], numbers)
        else:
            held, given = _held(numbers, 1)
            group.launch("ema", held, *given)


def sums_of_squares(arrays: Sequence[Any]) -> Any:
    """In float64, chunk after chunk in one order: the last digits are not the reference's, which goes array after array."""
    sums = []
    for group in _groups([arrays], 1):
        if group.dtype is None:
            wide = widened(group.only(1)[0]).astype(np.float64)
            sums.append((wide * wide).sum().reshape(1))
        else:
            sums.append(cupy().empty(group.blocks, np.float64))
            group.launch("squares", sums[-1])
    parts, total = cupy().concatenate(sums), cupy().empty((), np.float64)
    launch("optim", "add_up", 1, _THREADS, parts, total, np.int64(parts.size))
    return total


def clip_held(arrays: Sequence[Any], max_norm: float, total: Any) -> None:
    for group in _groups([arrays], 1):
        if group.dtype is None or total.dtype.name not in SUFFIX:
            reference.clip_held(group.lists[0], max_norm, total)
        else:
            group.launch(f"clip_{'f64' if total.dtype == np.float64 else 'f32'}", float(max_norm), total)


def unscale_steps(grads: Sequence[Any], inverse: Any) -> Any:
    found = cupy().zeros((), np.float32)
    for group in _groups([grads], 1):
        if group.dtype is None:
            found = cupy().maximum(found, reference.unscale_steps(group.lists[0], inverse))
        else:
            group.launch("unscale", inverse, found)
    return found


def update_scale(scale: Any, tracker: Any, found: Any, growth_factor: float, backoff_factor: float, growth_interval: int) -> None:
    numbers = np.float32(growth_factor), np.float32(backoff_factor), growth_interval
    launch("optim", "update_scale", 1, 1, scale, tracker, found, *numbers)


def count_left_out(found: Any, left_out: Any) -> None:
    launch("optim", "count_left_out", 1, 1, found, left_out)


class _Group:
    """Lists side by side of the arrays that one launch does; with ``dtype`` None one of each list, that no kernel is for."""

    def __init__(self, lists: list[list[Any]], dtype: str | None, key: Any) -> None:
        self.lists, self.dtype, self.key = lists, dtype, key
        self._sizes = tuple([a.size for a in lists[0]])
        self.blocks = sum(-(-size // _CHUNK) for size in self._sizes)

    @property
    def count(self) -> int:
        """How many lists there are."""
        return len(self.lists)

    def only(self, count: int) -> list[Any]:
        """The one array of each list; None for lists that are missing of ``count``."""
        return [arrays[0] for arrays in self.lists] + [None] * (count - len(self.lists))

    def launch(self, kernel: str, *arguments: Any) -> None:
        addresses = tuple([a.data.ptr for arrays in self.lists for a in arrays])
        device = cupy().cuda.runtime.getDevice()
        tables = _addresses(addresses, device), *_layout(self._sizes, device)
        launch("optim", f"{kernel}_{self.dtype}", self.blocks, _THREADS, *tables, len(self._sizes), *arguments)


def _groups(lists: Sequence[Sequence[Any]], typed: int, keys: Sequence[Hashable] | None = None) -> Iterator[_Group]:
    """The arrays in groups of one dtype and one key; ``typed`` lists have the dtype itself, the others that of its state."""
    found: dict[Any, list[list[Any]]] = {}
    for i, arrays in enumerate(zip(*lists, strict=True)):
        key, dtype = None if keys is None else keys[i], _dtype_of(arrays, typed)
        if dtype is None:
            yield _Group([[a] for a in arrays], None, key)
            continue
        group = found.setdefault((dtype, key), [[] for _ in lists])
        for of_group, array in zip(group, arrays, strict=True):
            of_group.append(array)
    for (dtype, key), group in found.items():
        yield _Group(group, dtype, key)


def _dtype_of(arrays: Sequence[Any], typed: int) -> str | None:
    dtype = suffix(*arrays[:typed])
    state = _STATE.get(arrays[0].dtype.name)
    fits = all(a.dtype.name == state for a in arrays[typed:]) and all(a.flags.c_contiguous for a in arrays)
    return dtype if fits and arrays[0].size else None


def _addresses(addresses: tuple[int, ...], device: int) -> Any:
    """Where the arrays lie, on the device; for a graph that is being captured, in memory of its own."""
    if here.tracer is not None and (held := here.tracer.constant(np.array(addresses, np.uint64))) is not None:
        return held
    return _kept_addresses(addresses, device)


@functools.lru_cache(maxsize=64)
def _kept_addresses(addresses: tuple[int, ...], device: int) -> Any:  # noqa: ARG001 - a key; most are there again
    return cupy().asarray(np.array(addresses, np.uint64))


def _layout(sizes: tuple[int, ...], device: int) -> tuple[Any, Any]:
    """How long the arrays are, and (array, chunk) of each block."""
    return keep(_kept_layout(sizes, device))  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=64)
def _kept_layout(sizes: tuple[int, ...], device: int) -> tuple[Any, Any]:  # noqa: ARG001 - as above
    chunks = [(i, chunk) for i, size in enumerate(sizes) for chunk in range(-(-size // _CHUNK))]
    return cupy().asarray(np.array(sizes, np.int64)), cupy().asarray(np.array(chunks, np.int32))
