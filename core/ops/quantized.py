"""Products with weights kept in 8 or 16 bits, for inference.

Example:
    >>> import nyala
    >>> weight, scales = quantize_int8(nyala.tensor([[1.0, -2.0], [0.5, 0.25]]))
    >>> weight
    tensor([[  64, -127],
            [ 127,   64]], dtype=int8)
    >>> quantized_linear(nyala.ones(1, 2), weight, scales)
    tensor([[-0.9921,  0.7520]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..devices import check_same
from ..dtypes import bfloat16
from ..errors import ArgumentError, GradError, ShapeError
from ..graph import state
from ..kernels.reference.after import After
from ..kernels.reference.half import widened
from ..tensor import Tensor
from ..unfinished import postponed

_LARGEST = 127  # of an int8; -128 stays unused, so that scales are the same up and down


def quantize_int8(weight: Tensor, group_size: int | None = None) -> tuple[Tensor, Tensor]:
    """A weight (out, in) as int8 and float32 scales (out, groups): weight ~ int8 * scale, symmetric around 0.

    ``group_size`` terms of a row share a scale; a whole row where it is None. Each number is off by half a scale at most, that
    is by 1/254 of the largest number of its group.

    Raises:
        ArgumentError: ``group_size`` is below 1.
        ShapeError: the weight has not two dimensions.
    """
    if weight.ndim != 2:
        raise ShapeError(f"quantize_int8: weight of shape {weight.shape}", why="it takes (out, in)", fix="reshape it")
    width = weight.shape[1]
    group = width if group_size is None else group_size
    if group < 1 and (width or group_size is not None):
        raise ArgumentError(f"quantize_int8: group_size={group_size}", fix="use 64 or 128, or None for whole rows")
    xp, w = weight._module, widened(weight.array).astype(np.float32, copy=False)
    starts = range(0, width, group) if width else ()
    peaks = [abs(w[:, i : i + group]).max(axis=1) for i in starts]
    largest = xp.stack(peaks, axis=1) if peaks else xp.zeros((len(w), 0), np.float32)
    scales = xp.where(largest > 0, largest / np.float32(_LARGEST), np.float32(1.0)).astype(np.float32)
    whole = xp.rint(w / scales.repeat(max(1, group), axis=1)[:, :width])
    return weight._like(xp.clip(whole, -_LARGEST, _LARGEST).astype(np.int8)), weight._like(scales)


def quantized_linear(
    input: Tensor, weight: Tensor, scales: Tensor | None = None, bias: Tensor | None = None, group_size: int | None = None,
    activations: str = "float32",
) -> Tensor:  # fmt: skip
    """input @ weight.T + bias with a weight (out, in) of int8 with ``scales`` (out, groups), or of bfloat16.

    With ``activations`` "float32" computed in float32, with the bits of ``linear`` and the widened weight. With the weight's own
    dtype there, the input is rounded to it first: to int8 with a scale for each row and group, 127 for its largest number, whose
    products are added as whole numbers; or to bfloat16, whose products are added in float32 as ``linear`` adds them. A row's
    result is its own either way, whatever stands beside it.

    Raises:
        ArgumentError: ``activations`` is neither "float32" nor the weight's dtype.
        GradError: the input wants a gradient.
        ShapeError: the last dimension of the input is not the weight's second.
    """
    if state.grad and input.requires_grad:
        raise GradError(
            "quantized_linear: the input requires a gradient",
            why="quantized weights are for inference: no gradient passes them",
            fix="call it under nyala.no_grad() or nyala.inference_mode(), and train the model before it is quantized",
        )
    if input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"quantized_linear: input (..., in) of shape {input.shape}, weight (out, in) = {weight.shape}",
            fix="check the width of the layer before, or the model these weights belong to",
        )
    check_same("quantized_linear", input=input, weight=weight)
    check_activations("quantized_linear", activations, weight.dtype)
    x, w, b = input.array, weight.array, None if bias is None else bias.array
    table, group = kernels.of(x), weight.shape[1] if group_size is None else group_size
    s, both = None if scales is None else scales.array, activations != "float32"

    def compute(after: After | None) -> Any:
        if both:
            return table.linear_bf16_both(x, w, b, after) if s is None else table.linear_int8_both(x, w, s, group, b, after)
        if s is not None:
            return table.linear_int8(x, w, s, group, b, after)
        return table.linear_bf16(x, w, b, after) if w.dtype == bfloat16 else table.linear(x, w, b, after)

    if state.unfinished is None or x.dtype != np.float32:
        return Tensor._made(compute(None), None, 0)
    return postponed(compute, (*x.shape[:-1], w.shape[0]), x)


def check_activations(name: str, activations: str, dtype: Any) -> None:
    """That what comes in is computed with in float32, or as the weights of ``dtype`` are."""
    if activations not in ("float32", np.dtype(dtype).name):
        raise ArgumentError(
            f"{name}: activations={activations!r} with weights of {np.dtype(dtype).name}",
            why="what comes in is multiplied as float32, or rounded to the weights' own dtype",
            fix=f"use 'float32' or {np.dtype(dtype).name!r}",
        )
