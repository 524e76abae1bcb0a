"""``torch.nn.utils.parametrizations``: a layer's weight is computed from other parameters whenever it is read."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from ...autograd import no_grad
from ...create import zeros_like
from ...tensor import Tensor
from .. import init
from ..module import Module
from ..parameter import Parameter
from .reparametrize import normed, norms, take

M = TypeVar("M", bound=Module)


class WeightNorm(Module):
    """``original0 * original1 / |original1|``: lengths and directions.

    Args:
        weight: what it starts from.
        dim: keep a norm for each index of this dimension; None for a single one.
    """

    def __init__(self, weight: Tensor, dim: int | None) -> None:
        super().__init__()
        self.dim = dim
        start = weight.detach()
        self.original0 = Parameter(norms(zeros_like(start) if init.skipping() else start, dim))
        self.original1 = Parameter(start)

    def forward(self) -> Tensor:
        """The weight, of differentiable operations."""
        return normed(self.original0, self.original1, self.dim)

    def set(self, weight: Tensor) -> None:
        """Take lengths and directions from a weight, as a fresh layer does."""
        with no_grad():
            self.original0.copy_(norms(weight.detach(), self.dim))
            self.original1.copy_(weight.detach())


@cache
def _computing(kind: type[Module], name: str) -> type[Module]:
    """The class of layers like ``kind`` that read ``name`` from their parametrization."""
    read = property(lambda module: module.parametrizations._modules[name]())
    return type(f"Parametrized{kind.__name__}", (kind,), {name: read, "__module__": __name__})


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """weight = g * v / |v| (Salimans and Kingma, arXiv:1602.07868), with the parameters' names of PyTorch 2.

    g is ``parametrizations.weight.original0`` and v ``parametrizations.weight.original1``; :func:`nyala.nn.utils.weight_norm`
    has the names that older files have.

    Args:
        module: the layer; it is changed and given back.
        name: the parameter.
        dim: keep a norm for each index of this dimension; None for a single one.

    Raises:
        ModuleError: the layer has no such parameter.

    Example:
        >>> from nyala import nn
        >>> sorted(weight_norm(nn.Linear(3, 2)).state_dict())
        ['bias', 'parametrizations.weight.original0', 'parametrizations.weight.original1']
    """
    weight = take(module, name, "weight_norm")
    computed: Any = Module()
    computed.add_module(name, WeightNorm(weight, dim))
    module.add_module("parametrizations", computed)
    kind: Any = type(module)
    made: Any = module
    made.__class__ = _computing(kind, name)
    return module
