"""Recurrent layers: RNN, LSTM, GRU, and their single steps.

Parameters have PyTorch's names: ``weight_ih_l0``, ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, with ``_reverse`` behind
for the second direction. Sequences of different lengths go in padded, with ``lengths=``, or as a ``PackedSequence``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import create, devices
from ..errors import ArgumentError, ShapeError
from ..ops.recurrent import MODES, recurrence
from ..ops.shape import cat, stack
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, lengths_of, pack_padded_sequence, pad_packed_sequence

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """Layers and directions of a recurrent network; see ``LSTM``."""

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        if not 0 <= dropout <= 1:
            raise ArgumentError(f"{name}: dropout={dropout}", why="it is a probability", fix="use a number from 0 to 1")
        if hidden_size < 1 or num_layers < 1:
            raise ArgumentError(f"{name}: hidden_size={hidden_size}, num_layers={num_layers}", fix="use numbers from 1")
        if proj_size:
            raise ArgumentError(
                f"{name}: proj_size={proj_size}", why="projected LSTMs are not offered", fix="put a Linear behind"
            )
        self.mode, self.input_size, self.hidden_size, self.num_layers, self.bias = mode, input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional, self.proj_size = batch_first, dropout, bidirectional, proj_size
        self.num_directions = 2 if bidirectional else 1
        gates = _GATES[mode] * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * self.num_directions
            for suffix in self._suffixes(layer):
                self.register_parameter(f"weight_ih{suffix}", new_parameter(gates, width, device=device, dtype=dtype))
                self.register_parameter(f"weight_hh{suffix}", new_parameter(gates, hidden_size, device=device, dtype=dtype))
                for part in ("ih", "hh") if bias else ():
                    self.register_parameter(f"bias_{part}{suffix}", new_parameter(gates, device=device, dtype=dtype))
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.num_directions]

    @property
    def _states(self) -> int:
        return MODES[self.mode].states

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        every = [s for layer in range(self.num_layers) for s in self._suffixes(layer)]
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
        return [[getattr(self, kind + s) for kind in kinds] for s in every]

    def flatten_parameters(self) -> None:
        """Nothing: PyTorch code calls it to please cuDNN."""

    def reset_parameters(self) -> None:
        """Fill the parameters anew from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def forward(self, input: Any, hx: Any = None, *, lengths: Any = None) -> Any:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        self._check_input(input)
        batched = input.ndim == 3
        x = input if not batched else input.transpose(0, 1) if self.batch_first else input
        x = x if batched else x.unsqueeze(1)  # (T, N, C)
        known = None if lengths is None else lengths_of(lengths, x.shape[1], x.shape[0])
        state = self._initial(hx, x, batched)
        out, last = self._run(x, state, known)
        if not batched:
            return out.squeeze(1), self._result(tuple(s.squeeze(1) for s in last))
        return out.transpose(0, 1) if self.batch_first else out, self._result(last)

    def _result(self, last: tuple[Tensor, ...]) -> Any:
        return last if self._states > 1 else last[0]

    def _packed(self, packed: PackedSequence, hx: Any) -> Any:
        x, lengths = pad_packed_sequence(packed)
        state = self._initial(hx, x, True)
        out, last = self._run(x, state, lengths.numpy())
        again = pack_padded_sequence(out, lengths, enforce_sorted=packed.sorted_indices is None)
        return again._replace(sorted_indices=packed.sorted_indices, unsorted_indices=packed.unsorted_indices), self._result(last)

    def _check_input(self, x: Tensor) -> None:
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            order = "(N, T, C)" if self.batch_first else "(T, N, C)"
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {x.shape}",
                why=f"it takes {order} or (T, C) with C = input_size = {self.input_size}",
                fix="check the layout (batch_first) and the width of the layer before",
            )

    def _initial(self, hx: Any, x: Tensor, batched: bool) -> tuple[Tensor, ...]:
        """h (and c) as (layers * directions, N, H); zeros where none are given."""
        shape = (self.num_layers * self.num_directions, x.shape[1], self.hidden_size)
        if hx is None:
            return (create.zeros(*shape, dtype=x.dtype, device=x.device),) * self._states
        given = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        if len(given) != self._states:
            wanted = "(h, c)" if self._states > 1 else "h"
            raise ArgumentError(f"{type(self).__name__}: {len(given)} initial state(s)", fix=f"pass {wanted}")
        state = tuple(s if batched else s.unsqueeze(1) for s in given)
        for s in state:
            if s.shape != shape:
                raise ShapeError(
                    f"{type(self).__name__}: an initial state of shape {s.shape}",
                    fix=f"pass (layers * directions, N, H) = {shape}, whatever batch_first is",
                )
        return state

    def _run(self, x: Tensor, state: tuple[Tensor, ...], lengths: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(T, N, C) through all layers: the last layer's outputs and every last state."""
        mask = None
        if lengths is not None:
            mask = devices.move((np.arange(x.shape[0])[:, None] < lengths[None])[..., None], x.device)
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                start = tuple(s[layer * self.num_directions + direction] for s in state)
                out, end = self._direction(x, start, suffix, mask, reverse=direction == 1)
                outs.append(out)
                last.append(end)
            x = cat(outs, -1) if len(outs) > 1 else outs[0]
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack(list(s)) for s in zip(*last, strict=True))

    def _direction(self, x: Tensor, state: tuple[Tensor, ...], suffix: str, mask: Any, reverse: bool) -> Any:
        bias, own = None, None
        if self.bias:
            bias, own = getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")
            if self.mode != "GRU":  # the state's bias is simply added, so it can be added to all steps at once
                bias, own = bias + own, None
        gates = F.linear(x, getattr(self, f"weight_ih{suffix}"), bias)
        return recurrence(self.mode, gates, getattr(self, f"weight_hh{suffix}"), own, state, mask, reverse)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        ):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (Elman, 1990); arguments and shapes as ``LSTM``."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNN: nonlinearity={nonlinearity!r}", fix="use 'tanh' or 'relu'")
        self.__dict__["nonlinearity"] = nonlinearity
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997).

    Args:
        input_size: width of the inputs.
        hidden_size: width of the state.
        num_layers: layers, each on the outputs of the one before.
        bias: whether there are biases.
        batch_first: whether sequences are (N, T, C) rather than (T, N, C). States are (layers * directions, N, H) always.
        dropout: between layers, while training.
        bidirectional: a second direction, whose outputs are put beside the first one's.

    ``forward(input, hx=None, lengths=None)`` gives the outputs and the last ``(h, c)``. With ``lengths`` (N,) the steps
    beyond a sequence's end give 0 and do not touch its state, and the second direction starts at its end.

    Raises:
        ShapeError: an input or state of another shape; lengths that are not one for each sequence.
        ArgumentError: a length outside 1..T.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> out, (h, c) = nn.LSTM(3, 5, bidirectional=True, batch_first=True)(nyala.ones(2, 7, 3), lengths=[7, 4])
        >>> out.shape, h.shape
        ((2, 7, 10), (2, 2, 5))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )


class GRU(RNNBase):
    """Gated recurrent units (Cho et al., arXiv:1406.1078); arguments and shapes as ``LSTM``, with h alone as state."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)


class RNNCellBase(Module):
    """One step of a recurrent network, without the loop."""

    def __init__(self, mode: str, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any) -> None:
        super().__init__()
        self.mode, self.input_size, self.hidden_size, self.bias = mode, input_size, hidden_size, bias
        gates = _GATES[mode] * hidden_size
        self.weight_ih = new_parameter(gates, input_size, device=device, dtype=dtype)
        self.weight_hh = new_parameter(gates, hidden_size, device=device, dtype=dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, new_parameter(gates, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the parameters anew from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def _step(self, input: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {input.shape}",
                fix=f"pass (N, {self.input_size}) or ({self.input_size},)",
            )
        batched = input.ndim == 2
        x = input if batched else input.unsqueeze(0)
        if state is None:
            zeros = create.zeros(x.shape[0], self.hidden_size, dtype=x.dtype, device=x.device)
            state = (zeros,) * MODES[self.mode].states
        else:
            state = tuple(s if batched else s.unsqueeze(0) for s in state)
        gates = F.linear(x, self.weight_ih, self.bias_ih)
        if self.bias and self.mode != "GRU":
            gates = gates + self.bias_hh
        own = self.bias_hh if self.mode == "GRU" else None
        _, last = recurrence(self.mode, gates.unsqueeze(0), self.weight_hh, own, state)
        return last if batched else tuple(s.squeeze(0) for s in last)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """One step of ``RNN``: input (N, C), h (N, H) -> h (N, H)."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNNCell: nonlinearity={nonlinearity!r}", fix="use 'tanh' or 'relu'")
        super().__init__(f"RNN_{nonlinearity.upper()}", input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of ``LSTM``: input (N, C), (h, c) each (N, H) -> (h, c)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__("LSTM", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        return self._step(input, hx)


class GRUCell(RNNCellBase):
    """One step of ``GRU``: input (N, C), h (N, H) -> h (N, H)."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__("GRU", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,))[0]
