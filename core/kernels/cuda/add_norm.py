"""A sum and its norm in one pass, forward and back: ``add_norm.cu``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...devices import cupy
from ..reference import add_norm as reference
from ..reference.dropout import threshold
from .norm import column_sums, held_parts, rows_of, statistics
from .random import halves
from .running.launching import contiguous, launch, suffix
from .running.parts import sums_of, wide
from .running.teams import of_held_rows

_NO_DROPOUT = None, np.uint32(0), np.uint32(0), np.uint32(0), 1.0, 0  # as launches give it


def add_norm(
    stream: Any, part: Any, weight: Any, bias: Any, eps: float, centred: bool, dropped: reference.Dropped | None = None
) -> tuple[Any, ...]:
    dtype, of = suffix(stream, weight, bias), suffix(part)
    if not _fit(dtype, of) or stream.shape != part.shape or not stream.size:
        return reference.add_norm(stream, part, weight, bias, eps, centred, dropped)
    stream, part, weight, bias = map(contiguous, (stream, part, weight, bias))
    total, y = (cupy().empty(stream.shape, stream.dtype) for _ in range(2))
    mean, inverse = statistics(stream, 2) if centred else (None, *statistics(stream, 1))
    rows, n = rows_of(stream)
    team, grid, block = of_held_rows(rows, n, stream.dtype.itemsize)
    launch(
        "add_norm", f"add_{_named(centred)}_of_{of}_{team}_{dtype}", grid, block,
        stream, part, *_dropping(dropped), total, weight, bias, y, mean, inverse, rows, n, float(eps),
    )  # fmt: skip
    return total, y, mean, inverse


def add_norm_backward(
    own: Any, grad: Any, total: Any, weight: Any, mean: Any, inverse: Any, dtype: Any, dropped: reference.Dropped | None = None,
    affine: bool = True,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    kind, of = suffix(own, grad, total, weight), suffix(np.empty(0, dtype))
    if not _fit(kind, of) or not total.size or inverse.dtype != wide(total):
        return reference.add_norm_backward(own, grad, total, weight, mean, inverse, dtype, dropped, affine)
    affine = affine and (weight is not None or mean is not None)
    own, grad, total, weight, mean, inverse = map(contiguous, (own, grad, total, weight, mean, inverse))
    stream, apart = cupy().empty(total.shape, total.dtype), dropped is not None or total.dtype != dtype
    part = cupy().empty(total.shape, dtype) if apart else None
    rows, n = rows_of(total)
    name = f"add_{_named(mean is not None)}_backward_of_{of}"
    (team, grid, block), parts, shared = held_parts(total, 1 if mean is None else 2, affine)
    launch(
        "add_norm", f"{name}_{team}_{kind}", grid, block,
        own, grad, total, weight, mean, inverse, stream, part, *_dropping(dropped), parts, rows, n, shared=shared,
    )  # fmt: skip
    if affine and parts is None:
        parts = column_sums(grad, total, mean, inverse)
    gw, gb = [*sums_of("norm", kind, parts), None][:2] if affine else (None, None)
    return stream, stream if part is None else part, gw, None if mean is None else gb


def _fit(stream: str | None, part: str | None) -> bool:
    """Whether there is a kernel for these dtypes: of one, or of half precision added to float."""
    return stream is not None and (part == stream or (stream == "f32" and part in ("f16", "bf16")))


def _named(centred: bool) -> str:
    return "layer_norm" if centred else "rms_norm"


def _dropping(dropped: reference.Dropped | None) -> tuple[Any, ...]:
    if dropped is None:
        return _NO_DROPOUT
    p, key = dropped
    return *halves(key), np.uint32(threshold(p)), 1.0 / (1.0 - p), 1
