"""What kernels are timed on: sizes of ordinary models, and the bytes that each must read and write once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

HALF = ("bfloat16", "float32")
Made = tuple[tuple[Any, ...], int]  # a kernel's arguments, and bytes


class Given:
    """Makes arrays of one dtype on the GPU."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def array(self, *shape: int, dtype: str | None = None) -> Any:
        """Normal numbers."""
        import nyala

        return (
            nyala.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32)).to("cuda").to(dtype or self.dtype).array
        )

    def below(self, high: int, *shape: int) -> Any:
        """Whole numbers from 0 on, int64."""
        import nyala

        return nyala.from_numpy(np.random.default_rng(0).integers(0, high, shape)).to("cuda").array


def _moved(*arrays: Any) -> int:
    return sum(int(a.nbytes) for a in arrays)


def softmax(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return (x, -1), _moved(x, x)


def softmax_backward(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return (x, x.copy(), -1), _moved(x, x, x)


def layer_norm(on: Given, rows: int, n: int) -> Made:
    x, weight, bias = on.array(rows, n), on.array(n), on.array(n)
    return (x, weight, bias, 1e-5), _moved(x, x, weight, bias) + 8 * rows


def layer_norm_backward(on: Given, rows: int, n: int) -> Made:
    x, grad, weight = on.array(rows, n), on.array(rows, n), on.array(n)
    mean, inverse = on.array(rows, dtype="float32"), abs(on.array(rows, dtype="float32"))
    return (grad, x, weight, mean, inverse), _moved(grad, x, x, mean, inverse, weight)


def rms_norm(on: Given, rows: int, n: int) -> Made:
    x, weight = on.array(rows, n), on.array(n)
    return (x, weight, 1e-5), _moved(x, x, weight) + 4 * rows


def rms_norm_backward(on: Given, rows: int, n: int) -> Made:
    x, grad, weight, inverse = on.array(rows, n), on.array(rows, n), on.array(n), abs(on.array(rows, dtype="float32"))
    return (grad, x, weight, inverse), _moved(grad, x, x, inverse, weight)


def batch_norm(on: Given, n: int, c: int, side: int) -> Made:
    x, weight, bias = on.array(n, c, side, side), on.array(c), on.array(c)
    return (x, weight, bias, 1e-5, "relu"), 3 * _moved(x)  # statistics need a pass of their own


def cross_entropy(on: Given, rows: int, classes: int) -> Made:
    x, target = on.array(rows, classes), on.below(classes, rows)
    return (x, target, None, 0.0), _moved(x, target)


def cross_entropy_step(on: Given, rows: int, classes: int) -> Made:
    x, target = on.array(rows, classes), on.below(classes, rows)
    return (x, target, None, 0.0, True), _moved(x, x, target)


def gated(on: Given, rows: int, n: int) -> Made:
    gate, x = on.array(rows, n), on.array(rows, n)
    return (gate, x, "silu"), _moved(gate, x, x)


def dropout(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return (x, 0.1, (1, 2)), _moved(x, x)


def add_dropout(on: Given, rows: int, n: int) -> Made:
    x, residual = on.array(rows, n), on.array(rows, n)
    return (residual, x, 0.1, (1, 2)), _moved(x, x, x)


def add_rows(on: Given, words: int, rows: int, n: int) -> Made:
    values, places = on.array(rows, n), on.below(words, rows)
    return (words, places, values), _moved(values, places) + words * n * values.itemsize


def adamw_steps(on: Given, tensors: int, size: int) -> Made:
    params, grads = ([on.array(size) for _ in range(tensors)] for _ in range(2))
    averages, squares = ([abs(on.array(size, dtype="float32")) for _ in range(tensors)] for _ in range(2))
    lists = (params, grads, averages, squares)
    rest = (None, [1] * tensors, 1e-4, 0.9, 0.999, 1e-8, 0.01, True, False)
    return (*lists, *rest), _moved(*grads) + 2 * _moved(*params, *averages, *squares)


def linear_int8(on: Given, rows: int, wide: int, n: int) -> Made:
    weight = on.below(127, wide, n).astype(np.int8)
    x, scales = on.array(rows, n), abs(on.array(wide, 1, dtype="float32"))
    return (x, weight, scales, n), _moved(x, weight, scales) + rows * wide * x.itemsize


def linear_int4(on: Given, rows: int, wide: int, n: int) -> Made:
    weight = on.below(256, wide, n // 2).astype(np.uint8)
    x, scales = on.array(rows, n), on.array(wide, n // 32, dtype="bfloat16")
    return (x, weight, scales, 32), _moved(x, weight, scales) + rows * wide * x.itemsize


def linear_bf16(on: Given, rows: int, wide: int, n: int) -> Made:
    x, weight = on.array(rows, n), on.array(wide, n, dtype="bfloat16")
    return (x, weight), _moved(x, weight) + rows * wide * x.itemsize


@dataclass(frozen=True)
class Case:
    """A kernel by its name, the sizes that its function here takes, and the dtypes."""

    kernel: str
    sizes: tuple[int, ...]
    dtypes: tuple[str, ...] = HALF

    @property
    def make(self) -> Callable[..., Made]:
        """From sizes to arguments and bytes."""
        return globals()[self.kernel]


CASES = (
    Case("softmax", (8192, 1024)),
    Case("softmax_backward", (8192, 1024)),
    Case("layer_norm", (8192, 1024)),
    Case("layer_norm_backward", (8192, 1024)),
    Case("rms_norm", (8192, 1024)),
    Case("rms_norm_backward", (8192, 1024)),
    Case("batch_norm", (32, 256, 56)),
    Case("cross_entropy", (8192, 50257)),
    Case("cross_entropy_step", (8192, 50257)),
    Case("gated", (8192, 4096)),
    Case("dropout", (8192, 1024)),
    Case("add_dropout", (8192, 1024)),
    Case("add_rows", (50257, 8192, 768)),
    Case("adamw_steps", (148, 838860)),  # GPT-2's 124 million
    Case("linear_int4", (1, 14336, 4096)),
    Case("linear_int8", (1, 14336, 4096)),
    Case("linear_bf16", (1, 14336, 4096)),
)


def named(names: str | None) -> list[str]:
    """The kernels of a list with commas, all that have a case without one.

    Raises:
        ValueError: one has no case.

    Example:
        >>> named("softmax, gated")
        ['softmax', 'gated']
    """
    known = [case.kernel for case in CASES]
    wanted = known if names is None else [name.strip() for name in names.split(",")]
    strange = [name for name in wanted if name not in known]
    if strange:
        raise ValueError(f"no case for {strange[0]!r}: there are {', '.join(known)}")
    return wanted


def select(names: Sequence[str]) -> list[Case]:
    """The cases of these kernels."""
    return [case for case in CASES if case.kernel in names]


def without() -> list[str]:
    """CUDA kernels that have no case: bound by arithmetic (products, convolutions, attention), tiny, or not timed yet."""
    own = importlib.import_module("nyala.core.kernels.cuda").KERNELS
    return sorted(set(own) - {case.kernel for case in CASES})
