"""A part added to the stream of a network, and the norm of the sum, in one operation.

Example:
    >>> import nyala
    >>> total, normed = add_layer_norm(nyala.tensor([[1.0, 2.0]]), nyala.tensor([[0.0, 1.0]]), 2, eps=0.0)
    >>> total, normed
    (tensor([[1., 3.]]), tensor([[-1.,  1.]]))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import kernels
from ..graph import state
from ..random import Key, next_key
from ..tensor import Tensor
from .dropout import Dropout, check_probability
from .norm import LayerNorm, RMSNorm, check_trailing, step_of


class AddNorm(LayerNorm):
    """Inputs stream and part, then weight and bias where they are given; results sum and norm.

    The norm's gradient needs the sum alone, so the inputs are let go.
    """

    keeps_output = True
    materialize = False

    def __init__(
        self, weight: bool, bias: bool, eps: float, centred: bool, dropped: tuple[float, tuple[int, int]] | None
    ) -> None:
        super().__init__(1, weight, bias, eps)
        self.centred, self.dropped = centred, dropped

    def keeping(self, needs: Sequence[bool]) -> tuple[int, ...]:
        return tuple(range(2, len(needs)))

    def forward(self, stream: Any, part: Any, *given: Any) -> Any:
        weight, bias = self.parameters(given)
        total, y, *of_rows = kernels.of(stream).add_norm(stream, part, weight, bias, self.eps, self.centred, self.dropped)
        self.dtype = part.dtype
        self.remember(given, *of_rows)
        return total, y

    def trains(self) -> bool:
        return any(e is not None for e in self.edges[2:])

    def backward(self, own: Tensor | None, grad: Tensor | None = None) -> Any:  # type: ignore[override]
        if grad is None:
            assert own is not None, "one of the results has a gradient"
            return own, self._through(own), *[None] * (len(self.edges) - 2)
        given = self.kept_tensors()
        total = self.output()
        if state.grad:
            return self._differentiable(own, grad, total, given)
        weight, _ = self.parameters([t.array for t in given])
        mine = None if own is None else own.array
        table, dropped = kernels.of(total.array), self.dropped
        found = table.add_norm_backward(mine, grad.array, total.array, weight, *self.saved, self.dtype, dropped, self.trains())
        return tuple(None if f is None else Tensor(f) for f in (found[0], *self.wanted(*found[1:])))

    def _through(self, grad: Tensor) -> Tensor:
        """The part's gradient from the sum's."""
        passed = grad.to(self.dtype)
        return passed if self.dropped is None else Dropout(*self.dropped).apply(passed)

    def _differentiable(self, own: Tensor | None, grad: Tensor, total: Tensor, given: Sequence[Tensor]) -> Any:
        norm = LayerNorm if self.centred else RMSNorm
        composed = norm(1, *self.has, self.eps)
        composed.edges = self, *self.edges[2:]
        found, *rest = composed._composed_backward((total, *given), (grad,))
        assert found is not None, "the sum wants a gradient"
        stream = found if own is None else found + own
        return stream, self._through(stream), *rest


def add_layer_norm(
    stream: Tensor, part: Tensor, normalized_shape: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, p: float = 0.0, *, key: Key | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``total = stream + dropout(part, p)`` and ``layer_norm(total)``: the same bits, with less read and written on a GPU.

    Args:
        stream, part: (..., D) of one shape; the part may be of half precision where the stream is float32.
        normalized_shape: D.
        weight, bias: (D,) or None.
        eps: added to the variance.
        p: probability of dropping an element of the part, below 1.
        key: where the random bits come from; the ambient stream unless given.

    Raises:
        ArgumentError: ``p`` is no probability.
        ShapeError: the last dimension is not ``normalized_shape``.
    """
    return _added(stream, part, "add_layer_norm", normalized_shape, weight, bias, eps, True, p, key)


def add_rms_norm(
    stream: Tensor, part: Tensor, normalized_shape: int, weight: Tensor | None = None, eps: float | None = None,
    p: float = 0.0, *, key: Key | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """As ``add_layer_norm`` with RMS norm; ``eps`` as in ``rms_norm``."""
    step = step_of(stream.dtype) if eps is None else eps
    return _added(stream, part, "add_rms_norm", normalized_shape, weight, None, step, False, p, key)


def _added(
    stream: Tensor, part: Tensor, what: str, size: int, weight: Tensor | None, bias: Tensor | None, eps: float, centred: bool,
    p: float, key: Key | None,
) -> Any:  # fmt: skip
    check_probability(p, what)
    check_trailing(what, stream, size, weight=weight, bias=bias)
    dropped = (p, (key or next_key("dropout")).words) if p else None
    given = [t for t in (weight, bias) if t is not None]
    return AddNorm(weight is not None, bias is not None, eps, centred, dropped).apply(stream, part, *given)
