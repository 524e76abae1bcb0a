"""Single operations as torch runs them, eager; "f+b" is forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from .inputs import array
from .variant import Variant

Call = Callable[[], Any]


def _overhead() -> Call:
    a, b = torch.from_numpy(array(8)).requires_grad_(), torch.from_numpy(array(8))
    return lambda: a + b


def _forward(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], Call]:
    def prepare() -> Call:
        inputs = [torch.from_numpy(array(*s)) for s in shapes]

        def call() -> None:
            with torch.no_grad():
                function(*inputs)

        return call

    return prepare


def _both(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Callable[[], Call]:
    def prepare() -> Call:
        inputs = [torch.from_numpy(array(*s)).requires_grad_() for s in shapes]
        return lambda: torch.autograd.grad(function(*inputs).sum(), inputs)

    return prepare


OPERATIONS: dict[str, Callable[[], Call]] = {
    "add 8 (with grad)": _overhead,
    "add 1M": _forward(lambda a, b: a + b, (1024, 1024), (1024, 1024)),
    "matmul 1024": _forward(lambda a, b: a @ b, (1024, 1024), (1024, 1024)),
    "linear 4096x384->1536 f+b": _both(F.linear, (4096, 384), (1536, 384)),
    "gelu 32x128x1536 f+b": _both(F.gelu, (32, 128, 1536)),
    "layer_norm 32x128x384 f+b": _both(lambda x: F.layer_norm(x, (384,)), (32, 128, 384)),
    "softmax 32x12x128x128 f+b": _both(lambda x: F.softmax(x, -1), (32, 12, 128, 128)),
    "attention 32x12x128x32 f+b": _both(F.scaled_dot_product_attention, *[(32, 12, 128, 32)] * 3),
    "conv 8x64x56x56 3x3": _forward(lambda x, w: F.conv2d(x, w, padding=1), (8, 64, 56, 56), (64, 64, 3, 3)),
    "conv 8x64x56x56 3x3 f+b": _both(lambda x, w: F.conv2d(x, w, padding=1), (8, 64, 56, 56), (64, 64, 3, 3)),
    "conv 8x256x14x14 1x1 f+b": _both(lambda x, w: F.conv2d(x, w), (8, 256, 14, 14), (256, 256, 1, 1)),
    "depthwise 8x96x56x56 3x3 f+b": _both(lambda x, w: F.conv2d(x, w, padding=1, groups=96), (8, 96, 56, 56), (96, 1, 3, 3)),
    "batch_norm 8x64x56x56 f+b": _both(lambda x: F.batch_norm(x, None, None, training=True), (8, 64, 56, 56)),
    "max_pool 8x64x112x112 f+b": _both(lambda x: F.max_pool2d(x, 3, 2, 1), (8, 64, 112, 112)),
    "interpolate 8x3x224x224 bilinear": _forward(lambda x: F.interpolate(x, size=(256, 256), mode="bilinear"), (8, 3, 224, 224)),
}


def operation(variant: Variant, name: str) -> Call:  # noqa: ARG001 - all rows take it
    """The operation of that name; there is one variant."""
    return OPERATIONS[name]()
