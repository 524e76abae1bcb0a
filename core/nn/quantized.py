"""Layers with weights in 4, 8 or 16 bits, for inference: where reading the weights takes the time, as in generating text, or, if
what comes in is rounded as well, multiplying does, as in reading a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from .. import create, devices, dtypes
from ..errors import ArgumentError, GradError, did_you_mean
from ..graph import state
from ..ops.quantized import (
    INT4_GROUP,
    check_activations,
    check_int4_group,
    kind_of,
    quantize_int4,
    quantize_int8,
    quantized_linear,
)
from ..tensor import Tensor
from .linear import Linear
from .lora_layers import Adapted
from .model import Model
from .module import Module

_KINDS = ("int4", "int8", "bfloat16")
_ZEROS = 0x88  # two zeros of int4


class QuantizedLinear(Module):
    """y = x @ weight.T + bias with the weight in int4, int8 or bfloat16; forward only.

    Args:
        in_features, out_features: widths.
        bias: whether there is one; it stays float32.
        dtype: of the weight, "int4", "int8" or "bfloat16".
        group_size: terms of a row that share a scale; None for the whole row of int8, 32 of int4.
        activations: what x is multiplied as: "float32", or the weight's dtype, to which x is rounded then. See ``quantize``.

    Buffers: weight (out_features, in_features), of int4 uint8 (out_features, in_features / 2), see ``ops.quantize_int4``;
    scales (out_features, groups), float32 for int8 and bfloat16 for int4; bias (out_features,).

    Raises:
        ArgumentError: an unknown dtype, or groups or activations that it cannot have.
        GradError: it is called in training mode, or on an input that wants a gradient.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> layer = QuantizedLinear.from_linear(nn.Linear(20, 30)).eval()
        >>> layer(nyala.ones(128, 20)).shape, layer.weight.dtype
        ((128, 30), dtype('int8'))
    """

    fixed_dtypes = ("weight", "scales")

    weight: Tensor
    scales: Tensor | None
    bias: Tensor | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = "int8", group_size: int | None = None,
        device: Any = None, activations: str = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        kind = _checked(dtype, group_size)
        check_activations("QuantizedLinear", activations, kind)
        if kind == "int4" and group_size is None:
            group_size = INT4_GROUP
        self.in_features, self.out_features, self.group_size = in_features, out_features, group_size
        self.activations = activations
        groups = -(-in_features // group_size) if group_size else 1
        scales = None
        if kind == "int4":  # both by columns
            weight = create.full((-(-in_features // 2), out_features), _ZEROS, dtype="uint8", device=device).t()
            scales = create.ones(groups, out_features, dtype="bfloat16", device=device).t()
        else:
            weight = create.zeros(in_features, out_features, dtype=kind, device=device).t()  # by columns
            if kind == "int8":
                scales = create.ones(out_features, groups, dtype="float32", device=device)
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", create.zeros(out_features, dtype="float32", device=device) if bias else None)

    @classmethod
    def from_linear(
        cls, layer: Linear, dtype: Any = "int8", group_size: int | None = None, activations: str = "float32"
    ) -> QuantizedLinear:
        """The layer that computes what ``layer`` does, as nearly as the bits allow."""
        bias, weight = layer.bias, layer.weight.detach()
        new = cls(layer.in_features, layer.out_features, bias is not None, dtype, group_size, weight.device, activations)
        given, scales = weight, None
        if kind_of(new.weight) == "int4":
            given, scales = quantize_int4(weight, new.group_size or INT4_GROUP)
        elif new.scales is not None:
            given, scales = quantize_int8(weight, group_size)
        new.weight.copy_(given)  # whose numbers lie by columns: what the product of a few rows reads best
        if new.scales is not None and scales is not None:
            new.scales.copy_(scales)
        if bias is not None:
            new.bias = bias.detach().to("float32").clone()
        return new.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        if state.grad and self.training:
            raise GradError(
                "QuantizedLinear in training mode",
                why="weights in few bits do not learn: no gradient reaches them or what comes before",
                fix="call model.eval() to use the model; to train it, do so before nn.quantize",
            )
        self._lay_for_device()
        return quantized_linear(input, self.weight, self.scales, self.bias, self.group_size, self.activations)

    def _lay_for_device(self) -> None:
        """By rows on GPUs, where a warp reads along a row; int4 by columns on the CPU, where eight bits may be read either way.

        Done once, when the layer is first used where it has been moved to.
        """
        int4 = self.weight.dtype == np.uint8
        for held in (self.weight, self.scales) if int4 and self.scales is not None else (self.weight,):
            array = held.array
            if not isinstance(array, np.ndarray):
                if not array.flags.c_contiguous:
                    held.array = devices.module_of(array).ascontiguousarray(array)
            elif int4 and not array.flags.f_contiguous:
                held.array = np.asfortranarray(array)

    def extra_repr(self) -> str:
        group = f", group_size={self.group_size}" if self.group_size else ""
        rounded = f", activations={self.activations}" if self.activations != "float32" else ""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"dtype={kind_of(self.weight)}{group}{rounded}"
        )


def _checked(dtype: Any, group_size: int | None) -> str:
    """The kind of weight that ``dtype`` names, if it can have such groups."""
    kind = "int4" if isinstance(dtype, str) and dtype == "int4" else dtypes.parse(dtype).name
    if kind not in _KINDS:
        raise ArgumentError(f"QuantizedLinear: dtype={kind}", fix="use 'int4', 'int8' or 'bfloat16'")
    if group_size is None:
        return kind
    if kind == "int4":
        check_int4_group("QuantizedLinear", group_size)
    elif group_size < 1 or kind != "int8":
        raise ArgumentError(f"QuantizedLinear: group_size={group_size} of {kind}", fix="use 64 or 128 with int8, or None")
    return kind


def quantize(
    model: Module, dtype: Any = "int8", group_size: int | None = None, skip: str | Sequence[str] = (),
    activations: str = "float32",
) -> Module:  # fmt: skip
    """Put ``QuantizedLinear`` in the place of every ``Linear`` in ``model``, which then can only be used, not trained.

    A head that shares the token table gets numbers of its own: the table stays as it is.

    Generating text reads all weights for each token: int4 has a seventh of the bytes, int8 a quarter, bfloat16 half of them.

    Args:
        model: changed in place, and put in evaluation mode.
        dtype: "int8": symmetric, off by at most 1/254 of the largest number that shares its scale; "bfloat16": 8 significant
            bits, off by at most 1/256 of itself; "int4": 16 steps, see ``quantize_int4``, off by 1/16 of the largest that shares
            its scale. Small models suffer from int4: it costs SmolLM2-135M 32 % of its perplexity, and 22 % where its head is
            left alone, while int8 costs 0.5 %.
        group_size: terms of a row that share a scale. None is the whole row for int8, where 64 or 128 are more exact and a little
            slower, and 32 for int4, where 64 and 128 take less memory and are less exact.
        skip: patterns of module names to leave alone, e.g. "lm_head" or "*.qkv".
        activations: "float32" keeps what comes into a layer as it is. ``dtype`` (not int4) rounds it to the weights' dtype, one
            row as many: to bfloat16, or to int8 with a scale for each row, or each ``group_size`` numbers of it, by which each is
            off by 1/254 of the largest at most. Then many tokens are read at up to twice the speed on processors that have
            instructions for it. bfloat16 costs SmolLM2 nothing to speak of; int8 costs it 5 % of its perplexity, and 1 %
            with ``group_size=128``.

    Returns:
        The model; where it is a ``Linear`` itself, the new layer.

    Raises:
        ArgumentError: an unknown dtype, activations of another one, a pattern that fits no name, or nothing to quantize.

    Example:
        >>> from nyala import nn
        >>> nn.quantize(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), "bfloat16")[0]
        QuantizedLinear(in_features=8, out_features=8, bias=True, dtype=bfloat16)
    """
    if any(isinstance(m, Adapted) for m in model.modules()):
        raise ArgumentError(
            "quantize: the model has an adapter", why="it would be lost on the way", fix="call adapter.merge().detach() first"
        )
    for part in model.modules():
        if isinstance(part, Model):
            part.untie()
    patterns = (skip,) if isinstance(skip, str) else tuple(skip)
    layers = {name: m for name, m in model.named_modules(remove_duplicate=False) if type(m) is Linear}
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in layers):
            hint = did_you_mean(pattern, list(layers)) or f"the layers: {', '.join(list(layers)[:8])}"
            raise ArgumentError(f"quantize: skip={pattern!r} fits no Linear", fix=hint)
    chosen = {n: m for n, m in layers.items() if not any(fnmatchcase(n, p) for p in patterns)}
    if not chosen:
        raise ArgumentError(f"quantize: no Linear in {type(model).__name__}", fix="it works on fully connected layers alone")
    made: dict[int, QuantizedLinear] = {}  # a layer that stands in two places stays one
    for name, layer in chosen.items():
        new = made.get(id(layer))
        if new is None:
            new = made[id(layer)] = QuantizedLinear.from_linear(layer, dtype, group_size, activations)
        if not name:
            return new.eval()
        model.set_submodule(name, new)
    return model.eval()
