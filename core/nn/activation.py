"""Activations as layers. ``inplace`` is taken for PyTorch's sake: the result is the same and the input stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .. import create
from ..errors import ArgumentError, did_you_mean
from ..ops.activation import Gated
from ..tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter


class ReLU(Module):
    """max(x, 0).

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.ReLU()(nyala.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU6(ReLU):
    """clip(x, 0, 6)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input)


class SELU(ReLU):
    """The self-normalising activation of Klambauer et al. (arXiv:1706.02515)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input)


class SiLU(ReLU):
    """x * sigmoid(x), also called swish."""

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input)


class Mish(ReLU):
    """x * tanh(softplus(x)) (Misra, arXiv:1908.08681)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input)


class Hardswish(ReLU):
    """x * clip(x + 3, 0, 6) / 6 (Howard et al., arXiv:1905.02244)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input)


class Hardsigmoid(ReLU):
    """clip(x + 3, 0, 6) / 6."""

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input)


class _Plain(Module):
    """An activation without settings."""

    function: ClassVar[str]

    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, self.function)(input)


class Sigmoid(_Plain):
    """1 / (1 + exp(-x))."""

    function = "sigmoid"


class Tanh(_Plain):
    """Hyperbolic tangent."""

    function = "tanh"


class Softsign(_Plain):
    """x / (1 + abs(x))."""

    function = "softsign"


class Tanhshrink(_Plain):
    """x - tanh(x)."""

    function = "tanhshrink"


class LogSigmoid(_Plain):
    """log(sigmoid(x))."""

    function = "logsigmoid"


class GELU(Module):
    """x times the normal distribution function (Hendrycks and Gimpel, arXiv:1606.08415).

    Args:
        approximate: "none" for the exact one, "tanh" as GPT-2 has it, "quick" as CLIP has it.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh", "quick"):
            raise ArgumentError(f"GELU: approximate={approximate!r}", fix="use 'none', 'tanh' or 'quick'")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class LeakyReLU(Module):
    """x where positive, ``negative_slope * x`` elsewhere."""

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al., arXiv:1511.07289)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class CELU(ELU):
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)) (Barron, arXiv:1704.07483)."""

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha)


class Hardtanh(Module):
    """clip(x, min_val, max_val)."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above ``threshold``."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardshrink(Module):
    """x where abs(x) > lambd, else 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softshrink(Hardshrink):
    """x moved towards 0 by ``lambd``, and 0 where abs(x) <= lambd."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


class Threshold(Module):
    """x where x > threshold, else ``value``."""

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where positive, a learnt slope times x elsewhere (He et al., arXiv:1502.01852).

    Shape: input (N, C, ...) where ``num_parameters`` is C, any shape where it is 1.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(create.full((num_parameters,), init, device=device, dtype=dtype or create.ones(1).dtype))

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x where positive; elsewhere times a slope: random in [lower, upper] when training, their mean otherwise."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")


class GLU(Module):
    """The first half of ``dim`` times the sigmoid of the second (Dauphin et al., arXiv:1612.08083)."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """exp(x) divided by its sum over ``dim``."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of ``Softmax``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(Softmax):
    """``Softmax`` of -x."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """``Softmax`` over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ArgumentError(
                f"Softmax2d: an input of shape {input.shape}",
                why="it takes (N, C, H, W) or (C, H, W)",
                fix="add or remove a dimension, or use Softmax(dim=...)",
            )
        return F.softmax(input, -3)


def _gelu_tanh(input: Tensor) -> Tensor:
    return F.gelu(input, "tanh")


def _gelu_quick(input: Tensor) -> Tensor:
    return F.gelu(input, "quick")


# What configs call activations (transformers' `hidden_act`, torch's `activation`).
NAMES: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu2": F.relu_squared,
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": _gelu_quick,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": F.tanh,
    "sigmoid": F.sigmoid,
    "hardswish": F.hardswish,
}


def activation(name: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function that a config's ``hidden_act`` names; a function is given back as it is.

    Raises:
        ArgumentError: nothing known by that name.

    Example:
        >>> import nyala
        >>> activation("relu")(nyala.tensor([-1.0, 1.0]))
        tensor([0., 1.])
    """
    if callable(name):
        return name
    if name not in NAMES:
        raise ArgumentError(f"unknown activation {name!r}", fix=did_you_mean(name, NAMES) or f"use one of {', '.join(NAMES)}")
    return NAMES[name]


_GATES: dict[Any, str] = {F.silu: "silu", F.gelu: "gelu", _gelu_tanh: "gelu_tanh"}


def gated(act: Callable[[Tensor], Tensor], gate: Tensor, x: Tensor) -> Tensor:
    """``act(gate) * x``, both of one shape (Shazeer, arXiv:2002.05202): in one kernel on a GPU, where that knows ``act``.

    Example:
        >>> import nyala
        >>> gated(activation("relu"), nyala.tensor([-1.0, 2.0]), nyala.tensor([3.0, 4.0]))
        tensor([0., 8.])
    """
    kind = _GATES.get(act)
    if kind is None or type(gate) is not Tensor or type(x) is not Tensor or isinstance(x.array, np.ndarray):
        return act(gate) * x
    if gate.dtype != x.dtype or gate.shape != x.shape or type(gate.array) is not type(x.array):
        return act(gate) * x
    return Gated(kind).apply(gate, x)
