"""What lies beside an array in memory changes no bit of a result: arrays are put side by side, and far apart, and compared.

The compiler asks at run time whether what a loop writes may lie among what it reads. It asks in haste: arrays that are merely
neighbours pass for one, and then it takes the loop without vectors. Where that loop also adds up, the sum rounds otherwise.
"""

from __future__ import annotations

import ast
import bisect
import contextvars
import ctypes
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn, optim

aligned = pytest.importorskip("nyala.core.kernels.cpu.running.aligned")

_LINE = 64  # arrays begin on a cache line, as nyala's own do


class Crowd:
    """Memory in which a new array lies right behind, or right before, one chosen by chance; or ``apart`` bytes from it."""

    def __init__(self, seed: int, apart: int = 0, size: int = 1 << 24) -> None:
        self.memory = ctypes.create_string_buffer(size)
        self.begin = -(-ctypes.addressof(self.memory) // _LINE) * _LINE
        self.end, self.apart, self.draw = self.begin + size - _LINE, apart, random.Random(seed)
        self.taken: list[tuple[int, int]] = []  # [first, behind the last) of each array that is there, in order
        self.sizes: dict[int, int] = {}
        none, size_t = ctypes.c_void_p, ctypes.c_size_t
        self.functions = (
            ctypes.CFUNCTYPE(none, none, size_t)(lambda _, n: self.place(n)),
            ctypes.CFUNCTYPE(none, none, size_t, size_t)(lambda _, n, each: self.cleared(n * each)),
            ctypes.CFUNCTYPE(none, none, none, size_t)(self.moved),
            ctypes.CFUNCTYPE(None, none, none, size_t)(lambda _, at, __: at and self.free(at)),
        )
        # arrays that some cache keeps are given back when the interpreter ends: this must be there then, and what it needs
        aligned.keep_for_ever(self)
        self.bisect_left = bisect.bisect_left
        self.handler = aligned.handler_of(*[ctypes.cast(f, none).value for f in self.functions])

    def place(self, size: int) -> int:
        room = -(-max(size, 1) // _LINE) * _LINE + self.apart
        wanted = [behind for _, behind in self.taken] + [first - room for first, _ in self.taken]
        self.draw.shuffle(wanted)
        wanted.append(self.begin + (self.end - self.begin) // 128 * _LINE)
        first = next((at for at in wanted if self._is_free(at, room)), 0)
        if not first:
            return 0  # no room: an exception would get lost on its way through C
        bisect.insort(self.taken, (first, first + room))
        self.sizes[first] = size
        return first

    def free(self, at: int) -> None:
        del self.taken[self.bisect_left(self.taken, (at, 0))]

    def _is_free(self, at: int, room: int) -> bool:
        i = bisect.bisect_left(self.taken, (at, at))
        before, behind = self.taken[i - 1] if i else None, self.taken[i] if i < len(self.taken) else None
        free = (before is None or before[1] <= at) and (behind is None or at + room <= behind[0])
        return free and self.begin <= at and at + room <= self.end

    def cleared(self, size: int) -> int:
        if at := self.place(size):
            ctypes.memset(at, 0, size)
        return at

    def moved(self, _: Any, old: int, size: int) -> int:
        if at := self.place(size):
            ctypes.memmove(at, old, min(size, self.sizes[old]))
            self.free(old)
        return at

    def compute(self, function: Callable[[], list[Any]]) -> list[bytes]:
        def run() -> list[bytes]:
            aligned.set_handler(self.handler)
            return [np.ascontiguousarray(a).tobytes() for a in function()]

        return contextvars.copy_context().run(run)


def _numbers(seed: int, *shape: int) -> Any:
    return nyala.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32).copy())


def _with_gradients(function: Callable[..., Any], *shapes: tuple[int, ...]) -> list[Any]:
    nyala.manual_seed(1)
    inputs = [_numbers(i, *shape).requires_grad_(True) for i, shape in enumerate(shapes)]
    out = function(*inputs)
    (out * _numbers(9, *out.shape)).sum().backward()
    return [out.detach().numpy(), *[x.grad.numpy() for x in inputs]]


def _module(make: Callable[[], Any], shape: tuple[int, ...]) -> list[Any]:
    nyala.manual_seed(1)
    module = make()
    found = _with_gradients(module, shape)
    return [*found, *[p.grad.numpy() for p in module.parameters()]]


def _steps(make: Callable[[Any], Any], *shape: int) -> list[Any]:
    p = nn.Parameter(_numbers(0, *shape))
    step = make([p])
    for i in range(3):
        p.grad = _numbers(i + 1, *shape)
        step.step()
    return [p.detach().numpy()]


def _attention(width: int, masked: bool) -> list[Any]:
    shape = (2, 3, 9, width)
    mask = nyala.from_numpy(np.tril(np.ones((9, 9), bool))) if masked else None
    return _with_gradients(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), shape, shape, shape)


CASES: dict[str, Callable[[int], list[Any]]] = {
    "layer_norm": lambda n: _module(lambda: nn.LayerNorm(n), (6, n)),
    "layer_norm plain": lambda n: _module(lambda: nn.LayerNorm(n, elementwise_affine=False), (6, n)),
    "rms_norm": lambda n: _module(lambda: nn.RMSNorm(n), (6, n)),
    "rms_norm plain": lambda n: _module(lambda: nn.RMSNorm(n, elementwise_affine=False), (6, n)),
    "group_norm": lambda n: _module(lambda: nn.GroupNorm(2, 4), (2, 4, 1, n)),
    "batch_norm": lambda n: _module(lambda: nn.BatchNorm2d(4), (3, 4, 1, n)),
    "batch_norm last": lambda n: _module(lambda: nn.BatchNorm1d(n), (5, n)),
    "softmax": lambda n: _with_gradients(lambda x: F.softmax(x, -1), (5, n)),
    "softmax columns": lambda n: _with_gradients(lambda x: F.softmax(x, 0), (5, n)),
    "log_softmax": lambda n: _with_gradients(lambda x: F.log_softmax(x, -1), (5, n)),
    "cross_entropy": lambda n: _with_gradients(
        lambda x: F.cross_entropy(x, nyala.from_numpy(np.arange(5) % n), label_smoothing=0.1, reduction="none"), (5, n)
    ),
    "attention": lambda n: _attention(n, False),
    "attention masked": lambda n: _attention(n, True),
    "attention of scores": lambda n: [
        F.scaled_dot_product_attention(*[_numbers(i, 2, 3, n, 8).double() for i in range(3)]).numpy()
    ],
    "linear": lambda n: _module(lambda: nn.Linear(n, 7), (5, n)),
    "conv": lambda n: _module(lambda: nn.Conv1d(3, 5, 3), (2, 3, n)),
    "depthwise": lambda n: _module(lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8), (2, 8, 3, n)),
    "conv 3x3": lambda n: _module(lambda: nn.Conv2d(4, 16, 3, padding=1), (1, 4, 6, n)),
    "grouped": lambda n: _module(lambda: nn.Conv2d(16, 16, 3, padding=1, groups=4), (1, 16, 4, n)),
    "pools": lambda n: _with_gradients(
        lambda x: F.max_pool2d(x, 3, 2, padding=1) + F.avg_pool2d(x, 3, 2, padding=1), (2, 3, 4, n)
    ),
    "lstm": lambda n: _with_gradients(lambda x: nn.LSTM(n, 5)(x)[0], (3, 2, n)),
    "instance_norm": lambda n: _with_gradients(lambda x: F.instance_norm(x), (2, 3, 2, n)),
    "losses": lambda n: _with_gradients(
        lambda x, y: F.mse_loss(x, y) + F.smooth_l1_loss(x, y) + F.huber_loss(x, y), (3, n), (3, n)
    ),
    "logits": lambda n: _with_gradients(lambda x: F.binary_cross_entropy_with_logits(x, x.detach().sigmoid()), (3, n)),
    "silu": lambda n: _with_gradients(lambda x: F.silu(x) * F.softplus(x) + F.mish(x), (3, n)),
    "gelu": lambda n: _with_gradients(lambda x: F.gelu(x), (3, n)),
    "sums": lambda n: _with_gradients(lambda x: x.sum(0) * x.mean(0), (5, n)),
    "row sums": lambda n: _with_gradients(lambda x: x.sum(1) * x.var(1), (5, n)),
    "block": lambda n: _module(lambda: nn.Sequential(nn.Linear(n, n), nn.LayerNorm(n)), (7, n)),
    "adam": lambda n: _steps(lambda p: optim.AdamW(p, lr=0.1), 3, n),
    "adafactor": lambda n: _steps(lambda p: optim.Adafactor(p, lr=0.1), 3, n),
    "lamb": lambda n: _steps(lambda p: optim.LAMB(p, lr=0.1), 3, n),
    "sgd": lambda n: _steps(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1), 3, n),
}


SIZES = (3, 8, 15, 16, 17, 24, 32, 33, 48, 63, 64, 96, 130)
LONELY, *CROWDS = Crowd(0, apart=8192, size=1 << 26), *[Crowd(seed) for seed in range(4)]


@pytest.mark.parametrize("name", CASES)
def test_neighbours_in_memory_change_no_bit(name: str) -> None:
    for n in SIZES:
        lonely, *others = (crowd.compute(lambda n=n: CASES[name](n)) for crowd in (LONELY, *CROWDS))
        for found in others:
            different = [i for i, (a, b) in enumerate(zip(lonely, found, strict=True)) if a != b]
            assert not different, f"{name} of {n}: results {different} differ"


def test_functions_that_may_split_sums_write_to_no_array() -> None:
    checked = 0
    for path in Path(aligned.__file__).parents[1].rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and any("**SUMS" in ast.unparse(d) for d in function.decorator_list):
                targets = [t for n in ast.walk(function) for t in getattr(n, "targets", [getattr(n, "target", None)])]
                written = [ast.unparse(t) for t in targets if isinstance(t, ast.Subscript)]
                assert not written, f"{path.name}: {function.name} writes to {written}; see EXACT and SUMS"
                checked += 1
    assert checked > 10
