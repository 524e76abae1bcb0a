"""Recurrent layers over a whole sequence: one operation each, so that a thousand steps are one node of the graph.

What comes from the input is computed for all steps at once before; here are the steps, which depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from .. import kernels
from ..autocast import in_low_precision
from ..devices import module_of
from ..operation import Composite
from ..tensor import Tensor
from .elementwise import relu, sigmoid, tanh, where
from .linalg import linear
from .shape import chunk, stack


class Recurrence(Composite):
    """The steps of one layer in one direction.

    Inputs: what comes from the input (T, N, G), the weight (G, H) of the state, its bias (G,) or none for a GRU alone,
    and the state: h (N, H), for an LSTM also c (N, H). Results: all h (T, N, H), then the last state.

    Args:
        mask: (T, N, 1) bools, or None. Where False a step leaves the state as it is and gives 0.
        reverse: run from the last step to the first.
    """

    states: ClassVar[int] = 1

    def __init__(self, mask: Any, reverse: bool) -> None:
        self.mask, self.reverse = mask, reverse

    # What a subclass says of one step, on arrays (step, step_backward) and on tensors (composed_step).

    def step(self, x: Any, h_part: Any, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        """The new state, and what the step keeps."""
        raise NotImplementedError

    def step_backward(
        self, grads: tuple[Any, ...], kept: Any, h_part: Any, state: tuple[Any, ...]
    ) -> tuple[Any, Any, tuple[Any, ...]]:
        """Gradients of x, of h_part, and of the state but for its way through h_part."""
        raise NotImplementedError

    def composed_step(self, x: Tensor, h_part: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The new state, of differentiable operations."""
        raise NotImplementedError

    def _order(self, count: int) -> Iterator[int]:
        return iter(range(count - 1, -1, -1) if self.reverse else range(count))

    def _split(self, inputs: tuple[Any, ...]) -> tuple[Any, Any, Any, tuple[Any, ...]]:
        """Sequence, weight, bias or None, state."""
        count = len(inputs) - self.states
        return inputs[0], inputs[1], inputs[2] if count == 3 else None, tuple(inputs[count:])

    def forward(self, *arrays: Any) -> Any:
        x, weight, bias, state = self._split(arrays)
        table, xp = kernels.of(x), module_of(x)
        out = xp.zeros((*x.shape[:2], weight.shape[1]), x.dtype)
        kept: dict[int, Any] = {}
        across = xp.ascontiguousarray(weight.T)
        for t in self._order(x.shape[0]):
            part = table.matmul(state[0], across)
            part = part if bias is None else part + bias
            new, acts = self.step(x[t], part, state)
            if self.recording:
                kept[t] = (acts, part, state)
            if self.mask is not None:
                new = tuple(xp.where(self.mask[t], a, b) for a, b in zip(new, state, strict=True))
                out[t] = xp.where(self.mask[t], new[0], 0)
            else:
                out[t] = new[0]
            state = new
        self.saved = (kept,)
        return (out, *(s.copy() for s in state))  # own memory: what is kept must not change with the results

    def fused_backward(self, grad: Any, *rest: Any) -> Any:
        gstate, (x, weight, bias, _) = tuple(rest[: self.states]), self._split(rest[self.states :])
        table, xp, (kept,) = kernels.of(x), module_of(x), self.saved
        gx, gpart = xp.empty_like(x), xp.empty((*x.shape[:2], weight.shape[0]), x.dtype)
        before = xp.empty((*x.shape[:2], weight.shape[1]), x.dtype)
        for t in reversed(list(self._order(x.shape[0]))):
            acts, part, state = kept[t]
            through: tuple[Any, ...] = (0,) * self.states
            now = (gstate[0] + (grad[t] if self.mask is None else xp.where(self.mask[t], grad[t], 0)), *gstate[1:])
            if self.mask is not None:
                through = tuple(xp.where(self.mask[t], 0, g) for g in now)
                now = tuple(xp.where(self.mask[t], g, 0) for g in now)
            gx[t], gpart[t], direct = self.step_backward(now, acts, part, state)
            first = direct[0] + table.matmul(gpart[t], weight)
            gstate = tuple(d + s for d, s in zip((first, *direct[1:]), through, strict=True))
            before[t] = state[0]
        flat = gpart.reshape(-1, weight.shape[0])
        gweight = table.matmul(xp.ascontiguousarray(flat.T), before.reshape(-1, weight.shape[1]))
        return (gx, gweight, *([] if bias is None else [flat.sum(axis=0)]), *gstate)

    def compose(self, *inputs: Tensor) -> Any:
        x, weight, bias, state = self._split(inputs)
        out: dict[int, Tensor] = {}
        for t in self._order(x.shape[0]):
            new = self.composed_step(x[t], linear(state[0], weight, bias), state)
            if self.mask is not None:
                mask = Tensor(self.mask[t])
                new = tuple(where(mask, a, b) for a, b in zip(new, state, strict=True))
                out[t] = where(mask, new[0], 0.0)
            else:
                out[t] = new[0]
            state = new
        return (stack([out[t] for t in range(x.shape[0])]), *state)


class RnnTanh(Recurrence):
    """h = tanh(x + part)."""

    def step(self, x: Any, h_part: Any, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:  # noqa: ARG002 - the family's signature
        h = module_of(x).tanh(x + h_part)
        return (h,), h

    def step_backward(self, grads: tuple[Any, ...], kept: Any, h_part: Any, state: tuple[Any, ...]) -> Any:  # noqa: ARG002
        g = grads[0] * (1 - kept * kept)
        return g, g, (0,)

    def composed_step(self, x: Tensor, h_part: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG002
        return (tanh(x + h_part),)


class RnnRelu(Recurrence):
    """h = max(x + part, 0)."""

    def step(self, x: Any, h_part: Any, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:  # noqa: ARG002
        h = module_of(x).maximum(x + h_part, 0)
        return (h,), h

    def step_backward(self, grads: tuple[Any, ...], kept: Any, h_part: Any, state: tuple[Any, ...]) -> Any:  # noqa: ARG002
        g = grads[0] * (kept > 0)
        return g, g, (0,)

    def composed_step(self, x: Tensor, h_part: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:  # noqa: ARG002
        return (relu(x + h_part),)


class Lstm(Recurrence):
    """Gates in the order input, forget, cell, output."""

    states = 2

    def step(self, x: Any, h_part: Any, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        h, c, acts = kernels.of(x).lstm_cell(x + h_part, state[1])
        return (h, c), acts

    def step_backward(self, grads: tuple[Any, ...], kept: Any, h_part: Any, state: tuple[Any, ...]) -> Any:  # noqa: ARG002
        g, gc = kernels.of(kept).lstm_cell_backward(grads[0], grads[1], state[1], kept)
        return g, g, (0, gc)

    def composed_step(self, x: Tensor, h_part: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        i, f, g, o = chunk(x + h_part, 4, -1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class Gru(Recurrence):
    """Gates in the order reset, update, candidate."""

    def step(self, x: Any, h_part: Any, state: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
        h, acts = kernels.of(x).gru_cell(x, h_part, state[0])
        return (h,), acts

    def step_backward(self, grads: tuple[Any, ...], kept: Any, h_part: Any, state: tuple[Any, ...]) -> Any:
        gx, gpart, gh = kernels.of(kept).gru_cell_backward(grads[0], h_part, state[0], kept)
        return gx, gpart, (gh,)

    def composed_step(self, x: Tensor, h_part: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (xr, xz, xn), (hr, hz, hn) = chunk(x, 3, -1), chunk(h_part, 3, -1)
        z, n = sigmoid(xz + hz), tanh(xn + sigmoid(xr + hr) * hn)
        return (n + z * (state[0] - n),)


@in_low_precision
def recurrence(
    mode: str, x: Tensor, weight: Tensor, bias: Tensor | None, state: tuple[Tensor, ...], mask: Any = None, reverse: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All steps of one layer in one direction.

    Args:
        mode: a key of ``MODES``.
        x: (T, N, G), what comes from the input for every step.
        weight, bias: (G, H) and (G,), of the state; the bias for a GRU alone.
        state: h (N, H), for an LSTM also c (N, H).
        mask: (T, N, 1) bools as an array, or None: where False a step leaves the state as it is and gives 0.
        reverse: run from the last step to the first.

    Returns:
        All h (T, N, H), and the last state.
    """
    dtype, wide = x.dtype, x.dtype.itemsize < 4  # half precision is storage
    inputs = [x, weight, *([] if bias is None else [bias]), *state]
    results = MODES[mode](mask, reverse).apply(*[t.float() if wide else t for t in inputs])
    out, *last = [r.to(dtype) for r in results]
    return out, tuple(last)


MODES: dict[str, type[Recurrence]] = {"RNN_TANH": RnnTanh, "RNN_RELU": RnnRelu, "LSTM": Lstm, "GRU": Gru}
