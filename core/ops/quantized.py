"""Products with weights kept in 4, 8 or 16 bits, for inference.

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
from ..unfinished import postponed, waits

INT4_GROUP = 32
"""Terms that share a scale of an int4 weight where nothing else is said; their number is always a multiple of it."""
_LARGEST = 127  # of an int8; -128 stays unused, so that scales are the same up and down


def quantize_int8(weight: Tensor, group_size: int | None = None) -> tuple[Tensor, Tensor]:
    """A weight (out, in) as int8 and float32 scales (out, groups): weight ~ int8 * scale, symmetric around 0.

    ``group_size`` terms of a row share a scale; a whole row where it is None. Each number is off by half a scale at most, that
    is by 1/254 of the largest number of its group.

    Raises:
        ArgumentError: ``group_size`` is below 1.
        ShapeError: the weight has not two dimensions.
    """
    _check_weight("quantize_int8", weight)
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


def quantize_int4(weight: Tensor, group_size: int = INT4_GROUP) -> tuple[Tensor, Tensor]:
    """A weight (out, in) as uint8 (out, in / 2) and bfloat16 scales (out, groups): weight ~ int4 * scale.

    ``group_size`` terms of a row share a scale, which may be negative: the largest of them by size becomes -8, so that all of -8
    to 7 are used, as in llama.cpp's Q4_0. A number is off by half a scale, that is by 1/16 of the largest of its group; by as
    much as 1/8 where it is about as large, of the other sign. Two neighbours of a row share a byte, the earlier in the lower
    half, each with 8 added; a last one without neighbour is beside a zero.

    Raises:
        ArgumentError: ``group_size`` is no multiple of 32.
        ShapeError: the weight has not two dimensions.

    Example:
        >>> import nyala
        >>> weight, scales = quantize_int4(nyala.tensor([[1.0, -2.0, 0.5, 0.25]]))
        >>> weight, scales.item()  # 4, -8, 2 and 1 quarters
        (tensor([[ 12, 154]], dtype=uint8), 0.25)
    """
    _check_weight("quantize_int4", weight)
    check_int4_group("quantize_int4", group_size)
    xp, w = weight._module, widened(weight.array).astype(np.float32, copy=False)
    width = w.shape[1]
    groups = -(-width // group_size)
    cut = xp.zeros((len(w), groups * group_size), np.float32)
    cut[:, :width] = w
    cut = cut.reshape(len(w), groups, group_size)
    largest = xp.take_along_axis(cut, abs(cut).argmax(axis=2)[..., None], axis=2)
    scales = (largest / np.float32(-8)).astype(bfloat16)
    usable = xp.where(scales == 0, np.float32(1), scales.astype(np.float32))
    whole = xp.clip(xp.rint(cut / usable), -8, 7).reshape(len(w), groups * group_size)[:, : width + width % 2]
    codes = (whole + 8).astype(np.uint8)
    return weight._like(codes[:, ::2] | codes[:, 1::2] << 4), weight._like(scales[..., 0])


def quantized_linear(
    input: Tensor, weight: Tensor, scales: Tensor | None = None, bias: Tensor | None = None, group_size: int | None = None,
    activations: str = "float32",
) -> Tensor:  # fmt: skip
    """input @ weight.T + bias with a weight (out, in) of int8 with ``scales`` (out, groups), of bfloat16, or of int4 as
    ``quantize_int4`` gives it.

    With ``activations`` "float32" computed in float32, with the bits of ``linear`` and the widened weight. With the weight's own
    dtype there, int8 or bfloat16, the input is rounded to it first: to int8 with a scale for each row and group, 127 for its
    largest number, whose products are added as whole numbers; or to bfloat16, whose products are added in float32 as ``linear``
    adds them. A row's result is its own either way, whatever stands beside it.

    Raises:
        ArgumentError: ``activations`` is neither "float32" nor the weight's dtype; an int4 weight has no scales, or its
            ``group_size`` is no multiple of 32.
        GradError: the input wants a gradient.
        ShapeError: the last dimension of the input is not the weight's second.
    """
    if state.grad and input.requires_grad:
        raise GradError(
            "quantized_linear: the input requires a gradient",
            why="quantized weights are for inference: no gradient passes them",
            fix="call it under nyala.no_grad() or nyala.inference_mode(), and train the model before it is quantized",
        )
    kind = kind_of(weight)
    if input.ndim == 0 or (-(-input.shape[-1] // 2) if kind == "int4" else input.shape[-1]) != weight.shape[1]:
        layout = "(out, in / 2)" if kind == "int4" else "(out, in)"
        raise ShapeError(
            f"quantized_linear: input (..., in) of shape {input.shape}, weight {layout} = {weight.shape}",
            fix="check the width of the layer before, or the model these weights belong to",
        )
    check_same("quantized_linear", input=input, weight=weight)
    check_activations("quantized_linear", activations, kind)
    if group_size is None:
        group = INT4_GROUP if kind == "int4" else weight.shape[1]
    else:
        group = group_size
    if kind == "int4":
        _check_int4_scales(input.shape[-1], weight, scales, group)
    x, w, b = input.array, weight.array, None if bias is None else bias.array
    table, s, both = kernels.of(x), None if scales is None else scales.array, activations != "float32"

    def compute(after: After | None) -> Any:
        if both:
            return table.linear_bf16_both(x, w, b, after) if s is None else table.linear_int8_both(x, w, s, group, b, after)
        if kind == "int4":
            return table.linear_int4(x, w, s, group, b, after)
        if s is not None:
            return table.linear_int8(x, w, s, group, b, after)
        return table.linear_bf16(x, w, b, after) if w.dtype == bfloat16 else table.linear(x, w, b, after)

    if not waits(x):
        return Tensor._made(compute(None), None, 0)
    return postponed(compute, (*x.shape[:-1], w.shape[0]), x, x.ndim - 1)


def kind_of(weight: Tensor) -> str:
    """What the numbers of a layer's weight are: its dtype, and "int4" where a byte has two."""
    return "int4" if weight.dtype == np.uint8 else str(weight.dtype.name)


def check_activations(name: str, activations: str, kind: str) -> None:
    """That what comes in is computed with in float32, or as weights of this kind are, if they are int8 or bfloat16."""
    if activations == "float32" or (activations == kind and kind != "int4"):
        return
    raise ArgumentError(
        f"{name}: activations={activations!r} with weights of {kind}",
        why="what comes in is multiplied as float32, or rounded to the weights' own dtype if that is int8 or bfloat16",
        fix="use 'float32'" + (f" or {kind!r}" if kind != "int4" else ""),
    )


def check_int4_group(name: str, group_size: int) -> None:
    """That an int4 weight can have scales of so many terms."""
    if group_size < 1 or group_size % INT4_GROUP:
        raise ArgumentError(
            f"{name}: group_size={group_size} of int4",
            why=f"kernels read {INT4_GROUP} terms with one scale",
            fix="use 32, 64 or 128",
        )


def _check_int4_scales(width: int, weight: Tensor, scales: Tensor | None, group: int) -> None:
    check_int4_group("quantized_linear", group)
    expected = (weight.shape[0], -(-width // group))
    if scales is None or scales.shape != expected:
        found = None if scales is None else scales.shape
        raise ShapeError(
            f"quantized_linear: scales of shape {found}, {expected} expected",
            why=f"a weight of int4 has one for every {group} terms of a row",
            fix="pass what quantize_int4 gave, and its group_size",
        )


def _check_weight(name: str, weight: Tensor) -> None:
    if weight.ndim != 2:
        raise ShapeError(f"{name}: weight of shape {weight.shape}", why="it takes (out, in)", fix="reshape it")
