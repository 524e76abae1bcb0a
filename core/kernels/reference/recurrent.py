"""One step of recurrent networks: gates in PyTorch's order, side by side in the last dimension.

``acts`` is what a step keeps for its backward. All in the dtype of the input, which is float32 or float64.
"""

from __future__ import annotations

from typing import Any

from ...devices import module_of
from .elementwise import sigmoid

__all__ = ["gru_cell", "gru_cell_backward", "lstm_cell", "lstm_cell_backward"]


def lstm_cell(gates: Any, c: Any) -> tuple[Any, Any, Any]:
    """One LSTM step (Hochreiter and Schmidhuber, 1997).

    Args:
        gates: (N, 4H), input, forget, cell and output gate before their activations.
        c: (N, H), the cell.

    Returns:
        The new h and c (N, H), and acts (N, 5H): the gates after their activations, and tanh of the new cell.
    """
    xp, width = module_of(gates), c.shape[-1]
    acts = xp.empty((gates.shape[0], 5 * width), gates.dtype)
    acts[:, : 4 * width] = sigmoid(gates)
    acts[:, 2 * width : 3 * width] = xp.tanh(gates[:, 2 * width : 3 * width])
    i, f, g, o, t = (acts[:, k * width : (k + 1) * width] for k in range(5))
    new = f * c + i * g
    t[...] = xp.tanh(new)
    return o * t, new, acts


def lstm_cell_backward(grad_h: Any, grad_c: Any, c: Any, acts: Any) -> tuple[Any, Any]:
    """Gradients of lstm_cell's gates and c, from those of the new h and c; ``c`` is the cell before the step."""
    width = c.shape[-1]
    i, f, g, o, t = (acts[:, k * width : (k + 1) * width] for k in range(5))
    grad_c = grad_c + grad_h * o * (1 - t * t)
    parts = (grad_c * g * i * (1 - i), grad_c * c * f * (1 - f), grad_c * i * (1 - g * g), grad_h * t * o * (1 - o))
    return module_of(c).concatenate(parts, axis=-1), grad_c * f


def gru_cell(from_input: Any, from_state: Any, h: Any) -> tuple[Any, Any]:
    """One GRU step (Cho et al., arXiv:1406.1078), in the form of cuDNN: the reset gate acts on the state's part of the candidate.

    Args:
        from_input, from_state: (N, 3H), the parts of reset gate, update gate and candidate that come from each.
        h: (N, H), the state.

    Returns:
        The new h (N, H), and acts (N, 3H): reset gate, update gate and candidate.
    """
    xp, width = module_of(h), h.shape[-1]
    acts = xp.empty(from_input.shape, from_input.dtype)
    acts[:, : 2 * width] = sigmoid(from_input[:, : 2 * width] + from_state[:, : 2 * width])
    r, z, n = (acts[:, k * width : (k + 1) * width] for k in range(3))
    n[...] = xp.tanh(from_input[:, 2 * width :] + r * from_state[:, 2 * width :])
    return n + z * (h - n), acts


def gru_cell_backward(grad: Any, from_state: Any, h: Any, acts: Any) -> tuple[Any, Any, Any]:
    """Gradients of gru_cell's from_input, from_state and h, from that of the new h; ``h`` is the state before the step."""
    xp, width = module_of(h), h.shape[-1]
    r, z, n = (acts[:, k * width : (k + 1) * width] for k in range(3))
    candidate = grad * (1 - z) * (1 - n * n)
    reset = candidate * from_state[:, 2 * width :] * r * (1 - r)
    update = grad * (h - n) * z * (1 - z)
    return xp.concatenate((reset, update, candidate), axis=-1), xp.concatenate((reset, update, candidate * r), axis=-1), grad * z
