"""Steps of optimizers on many arrays in one launch: ``optim.cu``."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import optim as reference
from .running.launching import launch, suffix

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
    decay, l2 = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, float(weight_decay))
    for group in _groups(lists, 2, steps):
        if group.dtype is None:
            param, grad, average, square, top = group.only(5)
            reference.adamw_step(
                param, grad, average, square, top, group.key, lr, beta1, beta2, eps, weight_decay, decoupled, maximize
            )
            continue
        correction, rate = math.sqrt(1 - beta2**group.key), lr / (1 - beta1**group.key)
        amsgrad = max_exp_avg_sqs is not None
        group.launch("adamw", amsgrad, decay, l2, float(beta1), float(beta2), correction, float(eps), rate, maximize)


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
    options = (float(lr), float(momentum), float(dampening), float(weight_decay), nesterov, maximize)
    for group in _groups([params, grads, *([] if momentum_buffers is None else [momentum_buffers])], 2, firsts):
        if group.dtype is None:
            param, grad, buffer = group.only(3)
            reference.sgd_step(param, grad, buffer, group.key, *options)
        else:
            group.launch("sgd", momentum_buffers is not None, bool(group.key), *options)


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
    for group in _groups([params, grads, exp_avgs], 2):
        if group.dtype is None:
            param, grad, average = group.only(3)
            reference.lion_step(param, grad, average, lr, beta1, beta2, weight_decay, maximize)
        else:
            group.launch("lion", 1 - lr * weight_decay, float(beta1), float(beta2), float(lr), maximize)


def scale_steps(arrays: Sequence[Any], factor: float) -> None:
    for group in _groups([arrays], 1):
        if group.dtype is None:
            reference.scale_step(group.only(1)[0], factor)
        else:
            group.launch("scale", float(factor))


def ema_steps(averages: Sequence[Any], values: Sequence[Any], weight: float) -> None:
    for group in _groups([values, averages], 1):
        if group.dtype is None:
            value, average = group.only(2)
            reference.ema_step(average, value, weight)
        else:
            group.launch("ema", float(weight))


def sums_of_squares(arrays: Sequence[Any]) -> float:
    """In float64, chunk after chunk in one order: the last digits are not the reference's, which goes array after array."""
    sums, rest = [], 0.0
    for group in _groups([arrays], 1):
        if group.dtype is None:
            rest += reference.sum_of_squares(group.only(1)[0])
        else:
            sums.append(cupy().empty(group.blocks, np.float64))
            group.launch("squares", sums[-1])
    if not sums:
        return rest
    parts, total = cupy().concatenate(sums), cupy().empty((), np.float64)
    launch("optim", "add_up", 1, _THREADS, parts, total, np.int64(parts.size))
    return rest + float(total)


class _Group:
    """Lists side by side of the arrays that one launch does; with ``dtype`` None one of each list, that no kernel is for."""

    def __init__(self, lists: list[list[Any]], dtype: str | None, key: Any) -> None:
        self._lists, self.dtype, self.key = lists, dtype, key
        sizes = tuple([a.size for a in lists[0]])
        self.blocks = sum(-(-size // _CHUNK) for size in sizes)
        self._sizes = sizes

    def only(self, count: int) -> list[Any]:
        """The one array of each list; None for lists that are missing of ``count``."""
        return [arrays[0] for arrays in self._lists] + [None] * (count - len(self._lists))

    def launch(self, kernel: str, *arguments: Any) -> None:
        addresses = tuple([a.data.ptr for arrays in self._lists for a in arrays])
        tables = _tables(addresses, self._sizes, cupy().cuda.runtime.getDevice())
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


@functools.lru_cache(maxsize=64)
def _tables(addresses: tuple[int, ...], sizes: tuple[int, ...], device: int) -> tuple[Any, Any, Any]:  # noqa: ARG001 - a key
    """On the device: where the arrays lie, how long they are, and (array, chunk) of each block. Kept: most are there again."""
    chunks = [(i, chunk) for i, size in enumerate(sizes) for chunk in range(-(-size // _CHUNK))]
    to = cupy().asarray
    return to(np.array(addresses, np.uint64)), to(np.array(sizes, np.int64)), to(np.array(chunks, np.int32))
