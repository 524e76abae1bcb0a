"""Layer scale: a learnt factor for each feature of a part, near 0 where training starts."""

from __future__ import annotations

from .. import create
from ..tensor import Tensor
from .module import Module
from .parameter import Parameter


class LayerScale(Module):
    """A learnt factor for each feature (Touvron et al., arXiv:2103.17239); ``name`` is what checkpoints call it."""

    def __init__(self, dim: int, init_values: float = 1e-5, name: str = "gamma") -> None:
        super().__init__()
        self.name = name
        self.register_parameter(name, Parameter(create.ones(dim) * init_values))

    def forward(self, x: Tensor) -> Tensor:
        return x * getattr(self, self.name)
