"""A part scaled by feature and added to the stream of a network, in one operation (layer scale).

Example:
    >>> import nyala
    >>> add_scaled(nyala.ones(1, 2), nyala.tensor([[2.0, 4.0]]), nyala.tensor([0.5, 0.25]))
    tensor([[2., 2.]])
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..graph import state
from ..operation import Operation
from ..tensor import Tensor
from .elementwise import mul


class AddScaled(Operation):
    """Inputs stream, part and scale; the stream is not kept."""

    keeps = (1, 2)

    def forward(self, stream: Any, part: Any, scale: Any) -> Any:
        return kernels.of(part).add_scaled(stream, part, scale)

    def backward(self, g: Tensor) -> tuple[Tensor | None, ...]:
        part, scale = self.kept_tensors()
        learnt = self.edges[2] is not None
        if state.grad:
            return g, mul(g, scale), mul(g, part).sum(tuple(range(part.ndim - 1))) if learnt else None
        found = kernels.of(g.array).add_scaled_backward(g.array, part.array, scale.array, learnt)
        return g, *(None if f is None else Tensor(f) for f in found)


def add_scaled(stream: Tensor, part: Tensor, scale: Tensor) -> Tensor:
    """``stream + part * scale``: stream and part (..., n), scale (n,), all of one dtype (Touvron et al., arXiv:2103.17239).

    The bits are those of the two operations; on a GPU it is one kernel, and one for the gradients of part and scale, whose
    sums over rows have an order of their own.
    """
    return AddScaled().apply(stream, part, scale)
