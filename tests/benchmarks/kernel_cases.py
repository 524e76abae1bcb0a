"""What kernels are timed on: sizes of ordinary models, and the bytes that each must read and write once, or its arithmetic."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import nyala
from nyala.core import kernels
from nyala.nn import functional
from nyala.vision.transforms.resizing import resize

HALF = ("bfloat16", "float32")
SINGLE = ("float32",)


class Made(NamedTuple):
    """What is timed.

    Attributes:
        given: a kernel's arguments, or a call where operations make these from shapes.
        moved: bytes.
        flops: multiplications and additions of products; 0 where memory is the limit.
    """

    given: tuple[Any, ...] | Callable[[], Any]
    moved: int
    flops: int = 0


class Given:
    """Makes arrays of one dtype on the GPU."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def array(self, *shape: int, dtype: str | None = None) -> Any:
        """Normal numbers."""
        return self.tensor(*shape).to(dtype or self.dtype).array

    def tensor(self, *shape: int) -> nyala.Tensor:
        """Normal numbers."""
        return nyala.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32)).to("cuda").to(self.dtype)

    def below(self, high: int, *shape: int) -> Any:
        """Whole numbers from 0 on, int64."""
        return nyala.from_numpy(np.random.default_rng(0).integers(0, high, shape)).to("cuda").array


def _moved(*arrays: Any) -> int:
    return sum(int(a.nbytes) for a in arrays)


def softmax(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return Made((x, -1), _moved(x, x))


def softmax_backward(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return Made((x, x.copy(), -1), _moved(x, x, x))


def layer_norm(on: Given, rows: int, n: int) -> Made:
    x, weight, bias = on.array(rows, n), on.array(n), on.array(n)
    return Made((x, weight, bias, 1e-5), _moved(x, x, weight, bias) + 8 * rows)


def layer_norm_backward(on: Given, rows: int, n: int) -> Made:
    x, grad, weight = on.array(rows, n), on.array(rows, n), on.array(n)
    mean, inverse = on.array(rows, dtype="float32"), abs(on.array(rows, dtype="float32"))
    return Made((grad, x, weight, mean, inverse), _moved(grad, x, x, mean, inverse, weight))


def rms_norm(on: Given, rows: int, n: int) -> Made:
    x, weight = on.array(rows, n), on.array(n)
    return Made((x, weight, 1e-5), _moved(x, x, weight) + 4 * rows)


def rms_norm_backward(on: Given, rows: int, n: int) -> Made:
    x, grad, weight, inverse = on.array(rows, n), on.array(rows, n), on.array(n), abs(on.array(rows, dtype="float32"))
    return Made((grad, x, weight, inverse), _moved(grad, x, x, inverse, weight))


def add_norm(on: Given, rows: int, n: int) -> Made:
    """Layer norm of a sum, a part of which dropout has left."""
    stream, part, weight, bias = on.array(rows, n), on.array(rows, n), on.array(n), on.array(n)
    return Made((stream, part, weight, bias, 1e-5, True, (0.1, (1, 2))), 4 * _moved(stream) + 8 * rows)


def add_norm_backward(on: Given, rows: int, n: int) -> Made:
    own, grad, total, weight = on.array(rows, n), on.array(rows, n), on.array(rows, n), on.array(n)
    mean, inverse = on.array(rows, dtype="float32"), abs(on.array(rows, dtype="float32"))
    return Made((own, grad, total, weight, mean, inverse, total.dtype, (0.1, (1, 2))), 5 * _moved(total) + 8 * rows)


def batch_norm(on: Given, n: int, c: int, side: int) -> Made:
    x, weight, bias = on.array(n, c, side, side), on.array(c), on.array(c)
    return Made((x, weight, bias, 1e-5, "relu"), 3 * _moved(x))  # statistics need a pass of their own


def cross_entropy(on: Given, rows: int, classes: int) -> Made:
    x, target = on.array(rows, classes), on.below(classes, rows)
    return Made((x, target, None, 0.0), _moved(x, target))


def cross_entropy_step(on: Given, rows: int, classes: int) -> Made:
    x, target = on.array(rows, classes), on.below(classes, rows)
    return Made((x, target, None, 0.0, True), _moved(x, x, target))


def gated(on: Given, rows: int, n: int) -> Made:
    gate, x = on.array(rows, n), on.array(rows, n)
    return Made((gate, x, "silu"), _moved(gate, x, x))


def dropout(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return Made((x, 0.1, (1, 2)), _moved(x, x))


def add_dropout(on: Given, rows: int, n: int) -> Made:
    x, residual = on.array(rows, n), on.array(rows, n)
    return Made((residual, x, 0.1, (1, 2)), _moved(x, x, x))


def add_rows(on: Given, words: int, rows: int, n: int) -> Made:
    values, places = on.array(rows, n), on.below(words, rows)
    return Made((words, places, values), _moved(values, places) + words * n * values.itemsize)


def adamw_steps(on: Given, tensors: int, size: int) -> Made:
    params, grads = ([on.array(size) for _ in range(tensors)] for _ in range(2))
    averages, squares = ([abs(on.array(size, dtype="float32")) for _ in range(tensors)] for _ in range(2))
    lists = (params, grads, averages, squares)
    rest = (None, [1] * tensors, 1e-4, 0.9, 0.999, 1e-8, 0.01, True, False)
    return Made((*lists, *rest), _moved(*grads) + 2 * _moved(*params, *averages, *squares))


def linear_int8(on: Given, rows: int, wide: int, n: int) -> Made:
    weight = on.below(127, wide, n).astype(np.int8)
    x, scales = on.array(rows, n), abs(on.array(wide, 1, dtype="float32"))
    return Made((x, weight, scales, n), _moved(x, weight, scales) + rows * wide * x.itemsize)


def linear_int4(on: Given, rows: int, wide: int, n: int) -> Made:
    weight = on.below(256, wide, -(-n // 2)).astype(np.uint8)
    x, scales = on.array(rows, n), on.array(wide, -(-n // 32), dtype="bfloat16")
    return Made((x, weight, scales, 32), _moved(x, weight, scales) + rows * wide * x.itemsize)


def linear_bf16(on: Given, rows: int, wide: int, n: int) -> Made:
    x, weight = on.array(rows, n), on.array(wide, n, dtype="bfloat16")
    return Made((x, weight), _moved(x, weight) + rows * wide * x.itemsize)


def log_softmax(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return Made((x, -1), _moved(x, x))


def gelu(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return Made((x, "none"), _moved(x, x))


def gelu_backward(on: Given, rows: int, n: int) -> Made:
    x = on.array(rows, n)
    return Made((x.copy(), x, "none"), _moved(x, x, x))


def gated_backward(on: Given, rows: int, n: int) -> Made:
    grad, gate, x = (on.array(rows, n) for _ in range(3))
    return Made((grad, gate, x, "silu"), 5 * _moved(x))


def group_norm(on: Given, n: int, c: int, side: int) -> Made:
    x, weight, bias = on.array(n, c, side, side), on.array(c), on.array(c)
    return Made((x, min(32, c), weight, bias, 1e-5), 2 * _moved(x))


def rotate(on: Given, n: int, heads: int, length: int, width: int) -> Made:
    x, cos, sin = on.array(n, heads, length, 2 * width), *(on.array(length, width, dtype="float32") for _ in range(2))
    return Made((x, cos, sin, False), _moved(x, x, cos, sin))


def max_pool(on: Given, n: int, c: int, side: int) -> Made:
    x = on.tensor(n, c, side, side)
    return Made(lambda: functional.max_pool2d(x, 3, 2, 1), x.nbytes + x.nbytes // 4)


def resample(on: Given, n: int, c: int, side: int) -> Made:
    x = on.tensor(n, c, side, side)
    return Made(lambda: functional.interpolate(x, scale_factor=2, mode="bilinear"), 5 * x.nbytes)


def resample_bytes(on: Given, n: int, height: int, width: int, side: int) -> Made:
    pictures = on.below(256, n, height, width, 3).astype(np.uint8)
    return Made(lambda: resize(pictures, (side, side)), pictures.nbytes + n * side * side * 3)


def power_spectrum(on: Given, n: int, hops: int) -> Made:
    x, window = on.array(n, 400 + 160 * hops), on.array(400)
    return Made((x, window, 160), _moved(x) + n * 201 * (hops + 1) * x.itemsize)


def linear(on: Given, rows: int, wide: int, n: int) -> Made:
    x, weight = on.array(rows, n), on.array(wide, n)
    return Made((x, weight), _moved(x, weight) + rows * wide * x.itemsize, 2 * rows * wide * n)


def matmul(on: Given, batch: int, m: int, k: int, n: int) -> Made:
    a, b = on.array(batch, m, k), on.array(batch, k, n)
    return Made((a, b), _moved(a, b) + batch * m * n * a.itemsize, 2 * batch * m * k * n)


def attention(on: Given, n: int, heads: int, length: int, width: int) -> Made:
    """Causal: half of the scores are needed."""
    q, k, v = (on.array(n, heads, length, width) for _ in range(3))
    return Made((q, k, v, width**-0.5, None, None, 0), 4 * _moved(q), 2 * n * heads * length * length * width)


def attention_backward(on: Given, n: int, heads: int, length: int, width: int) -> Made:
    grad, q, k, v = (on.array(n, heads, length, width) for _ in range(4))
    out, statistics = kernels.of(q).attention(q, k, v, width**-0.5, None, None, 0, statistics=True)
    given = grad, q, k, v, out, statistics, width**-0.5, None, None, 0
    return Made(given, 8 * _moved(q), 5 * n * heads * length * length * width)


def attention_of_one_query(on: Given, n: int, heads: int, shared: int, length: int, width: int) -> Made:
    q, k, v = on.array(n, heads, 1, width), *(on.array(n, min(shared, heads), length, width) for _ in range(2))
    return Made((q, k, v, width**-0.5), _moved(q, q, k, v))


def conv_forward(on: Given, n: int, c: int, side: int) -> Made:
    x, weight = on.array(n, c, side, side), on.array(c, c, 3, 3)
    return Made((x, weight, *_AROUND, 1), _moved(x, x, weight), _conv_flops(n, c, side))


def conv_input_grad(on: Given, n: int, c: int, side: int) -> Made:
    grad, weight = on.array(n, c, side, side), on.array(c, c, 3, 3)
    return Made((grad, weight, grad.shape, *_AROUND, 1), _moved(grad, grad, weight), _conv_flops(n, c, side))


def conv_weight_grad(on: Given, n: int, c: int, side: int) -> Made:
    grad, x = on.array(n, c, side, side), on.array(n, c, side, side)
    return Made((grad, x, (c, c, 3, 3), *_AROUND, 1), _moved(grad, x) + 9 * c * c * x.itemsize, _conv_flops(n, c, side))


def depthwise_conv(on: Given, n: int, c: int, side: int) -> Made:
    x, weight = on.array(n, c, side, side), on.array(c, 1, 3, 3)
    return Made((x, weight, *_AROUND, c), _moved(x, x, weight))


_AROUND = (1, 1), ((1, 1), (1, 1)), (1, 1)  # stride, padding, dilation


def _conv_flops(n: int, c: int, side: int) -> int:
    return 2 * 9 * n * c * c * side * side


@dataclass(frozen=True)
class Case:
    """What is timed by its name, that of a kernel if none is given, the sizes that its function here takes, and the dtypes."""

    name: str
    sizes: tuple[int, ...]
    dtypes: tuple[str, ...] = HALF
    of: str = ""

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.of or self.name

    @property
    def make(self) -> Callable[..., Made]:
        """From sizes to what is timed."""
        return globals()[self.name]


CASES = (
    Case("softmax", (8192, 1024)),
    Case("softmax_backward", (8192, 1024)),
    Case("layer_norm", (8192, 1024)),
    Case("layer_norm_backward", (8192, 1024)),
    Case("rms_norm", (8192, 1024)),
    Case("rms_norm_backward", (8192, 1024)),
    Case("add_norm", (8192, 1024)),
    Case("add_norm_backward", (8192, 1024)),
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
    Case("log_softmax", (8192, 1024)),
    Case("gelu", (8192, 4096)),
    Case("gelu_backward", (8192, 4096)),
    Case("gated_backward", (8192, 4096)),
    Case("group_norm", (16, 320, 64)),
    Case("rotate", (8, 32, 2048, 64)),
    Case("max_pool", (64, 64, 112)),
    Case("resample", (8, 256, 128)),
    Case("resample_bytes", (64, 375, 500, 224), ("uint8",)),
    Case("power_spectrum", (16, 2998), SINGLE),
    Case("linear", (8192, 4096, 1024)),
    Case("matmul", (192, 512, 64, 512)),
    Case("attention", (8, 16, 2048, 64)),
    Case("attention_backward", (8, 16, 2048, 64)),
    Case("attention_of_one_query", (32, 32, 8, 4096, 128), of="attention"),
    Case("conv_forward", (64, 128, 28)),
    Case("conv_input_grad", (64, 128, 28)),
    Case("conv_weight_grad", (64, 128, 28)),
    Case("depthwise_conv", (64, 384, 28), of="conv_forward"),
)


def named(names: str | None) -> list[str]:
    """The cases of a list with commas, all without one.

    Raises:
        ValueError: there is no such case.

    Example:
        >>> named("softmax, gated")
        ['softmax', 'gated']
    """
    known = [case.name for case in CASES]
    wanted = known if names is None else [name.strip() for name in names.split(",")]
    strange = [name for name in wanted if name not in known]
    if strange:
        raise ValueError(f"no case for {strange[0]!r}: there are {', '.join(known)}")
    return wanted


def select(names: Sequence[str]) -> list[Case]:
    """The cases of these names."""
    return [case for case in CASES if case.name in names]


def without() -> list[str]:
    """CUDA kernels that have no case: tiny, or alike one that has."""
    own = importlib.import_module("nyala.core.kernels.cuda").KERNELS
    return sorted(set(own) - {case.kernel for case in CASES})
