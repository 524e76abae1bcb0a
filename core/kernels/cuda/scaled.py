"""Parts scaled by feature and added to the stream: a chain, and back by ``scaled.cu``."""

from __future__ import annotations

from typing import Any

from ...devices import cupy
from ..reference import scaled as reference
from .chains import Step, run
from .norm import held_parts, rows_of
from .running.launching import contiguous, launch, suffix
from .running.parts import sums_of

_STEPS = Step("multiply", (-2, -3)), Step("add", (-1, 0))


def add_scaled(stream: Any, part: Any, scale: Any) -> Any:
    if suffix(stream, part, scale) is None or not part.size or stream.shape != part.shape:
        return reference.add_scaled(stream, part, scale)
    return run(_STEPS, (stream, part, scale), ("full", "full", "row"), scale.size)


def add_scaled_backward(grad: Any, part: Any, scale: Any, affine: bool = True) -> tuple[Any, Any]:
    dtype = suffix(grad, part, scale)
    if dtype is None or not part.size or grad.shape != part.shape:
        return reference.add_scaled_backward(grad, part, scale, affine)
    (team, grid, block), parts, shared = held_parts(part, 1, affine)
    if team == "long":
        return reference.add_scaled_backward(grad, part, scale, affine)
    grad, part, scale = map(contiguous, (grad, part, scale))
    found, (rows, n) = cupy().empty(part.shape, part.dtype), rows_of(part)
    launch("scaled", f"add_scaled_backward_{team}_{dtype}", grid, block, grad, part, scale, found, parts, rows, n, shared=shared)
    if parts is None:
        return found, None
    return found, sums_of("scaled", dtype, parts)[0].astype(scale.dtype, copy=False)
