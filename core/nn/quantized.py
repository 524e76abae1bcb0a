"""Layers with weights in 8 or 16 bits, for inference: where reading the weights takes the time, as in generating text, or, if
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
from ..ops.quantized import check_activations, quantize_int8, quantized_linear
from ..tensor import Tensor
from .linear import Linear
from .lora_layers import Adapted
from .model import Model
from .module import Module

_KINDS = ("int8", "bfloat16")


class QuantizedLinear(Module):
    """y = x @ weight.T + bias with the weight in int8 or bfloat16; forward only.

    Args:
        in_features, out_features: widths.
        bias: whether there is one; it stays float32.
        dtype: of the weight, "int8" or "bfloat16".
        group_size: terms of a row of an int8 weight that share a scale; None for the whole row.
        activations: what x is multiplied as: "float32", or the weight's dtype, to which x is rounded then. See ``quantize``.

    Buffers: weight (out_features, in_features), scales (out_features, groups) for int8, bias (out_features,).

    Raises:
        GradError: it is called in training mode, or on an input that wants a gradient.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> layer = QuantizedLinear.from_linear(nn.Linear(20, 30)).eval()
        >>> layer(nyala.ones(128, 20)).shape, layer.weight.dtype
        ((128, 30), dtype('int8'))
    """

    weight: Tensor
    scales: Tensor | None
    bias: Tensor | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = "int8", group_size: int | None = None,
        device: Any = None, activations: str = "float32",
    ) -> None:  # fmt: skip
        super().__init__()
        kind = dtypes.parse(dtype)
        if kind.name not in _KINDS:
            raise ArgumentError(f"QuantizedLinear: dtype={kind.name}", fix="use 'int8' or 'bfloat16'")
        if group_size is not None and (group_size < 1 or kind.name != "int8"):
            raise ArgumentError(
                f"QuantizedLinear: group_size={group_size} of {kind.name}", fix="use 64 or 128 with int8, or None"
            )
        check_activations("QuantizedLinear", activations, kind)
        self.in_features, self.out_features, self.group_size = in_features, out_features, group_size
        self.activations = activations
        groups = -(-in_features // group_size) if group_size else 1
        self.register_buffer("weight", create.zeros(in_features, out_features, dtype=kind, device=device).t())  # by columns
        scales = create.ones(out_features, groups, dtype="float32", device=device) if kind.name == "int8" else None
        self.register_buffer("scales", scales)
        self.register_buffer("bias", create.zeros(out_features, dtype="float32", device=device) if bias else None)

    @classmethod
    def from_linear(
        cls, layer: Linear, dtype: Any = "int8", group_size: int | None = None, activations: str = "float32"
    ) -> QuantizedLinear:
        """The layer that computes what ``layer`` does, as nearly as the bits allow."""
        bias, weight = layer.bias, layer.weight.detach()
        new = cls(layer.in_features, layer.out_features, bias is not None, dtype, group_size, weight.device, activations)
        given, scales = (weight, None) if new.scales is None else quantize_int8(weight, group_size)
        new.scales = scales
        new.weight.copy_(given)  # whose numbers lie by columns: what the product of a few rows reads best
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
        self._lay_weight_by_rows_on_gpus()
        return quantized_linear(input, self.weight, self.scales, self.bias, self.group_size, self.activations)

    def _lay_weight_by_rows_on_gpus(self) -> None:
        """There a warp reads along a row; done once, when the layer is first used where it has been moved to."""
        weight = self.weight.array
        if not isinstance(weight, np.ndarray) and not weight.flags.c_contiguous:
            self.weight.array = devices.module_of(weight).ascontiguousarray(weight)

    def extra_repr(self) -> str:
        group = f", group_size={self.group_size}" if self.group_size else ""
        rounded = f", activations={self.activations}" if self.activations != "float32" else ""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"dtype={self.weight.dtype}{group}{rounded}"
        )


def quantize(
    model: Module, dtype: Any = "int8", group_size: int | None = None, skip: str | Sequence[str] = (),
    activations: str = "float32",
) -> Module:  # fmt: skip
    """Put ``QuantizedLinear`` in the place of every ``Linear`` in ``model``, which then can only be used, not trained.

    A head that shares the token table gets numbers of its own: the table stays as it is.

    Generating text reads all weights for each token: in int8 they are a quarter, in bfloat16 half as many bytes.

    Args:
        model: changed in place, and put in evaluation mode.
        dtype: "int8": symmetric, off by at most 1/254 of the largest number that shares its scale; "bfloat16": 8 significant
            bits, off by at most 1/256 of itself.
        group_size: terms of a row that share a scale (int8); None for the whole row. 64 or 128 are more exact, a little slower.
        skip: patterns of module names to leave alone, e.g. "lm_head" or "*.qkv".
        activations: "float32" keeps what comes into a layer as it is. ``dtype`` rounds it to the weights' dtype, one row as
            many: to bfloat16, or to int8 with a scale for each row, or each ``group_size`` numbers of it, by which each is off
            by 1/254 of the largest at most. Then many tokens are read at up to twice the speed on processors that have
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
