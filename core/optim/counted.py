"""Optimizers whose rule depends on how many steps a parameter has taken, where a GPU alone knows which were left out."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import devices, kernels
from ..tensor import Tensor
from ..tracing import again, unready
from .optimizer import Group, Optimizer, State


class CountingOptimizer(Optimizer):
    """Base of those that keep a count under ``step`` in each parameter's state.

    Where a ``GradScaler`` leaves steps out on a GPU, the host goes on counting; how many of them were none lies on the GPU, where
    kernels take it off, until somebody asks for the state.
    """

    _in_graphs: ClassVar[bool] = True

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self._counted: list[State] = []  # states whose count holds steps that were left out,
        self._left_out: Any = None  # as many as this says, which lies on the GPU
        super().__init__(params, defaults)

    def _begin(self, found: Any) -> None:
        if found is None:
            if self._counted:
                unready(f"{type(self).__name__} waits for the steps that a GradScaler has left out")
                self._settle()
            self._counted = []
            return
        stepping = [self._states[p] for group in self.param_groups for p in group["params"] if p.grad is not None]
        if len(stepping) != len(self._counted) or any(map(operator.is_not, stepping, self._counted)):
            unready(f"{type(self).__name__} begins to count the steps that a GradScaler leaves out")
            self._settle()
            self._counted = stepping
            if self._left_out is None or self._left_out.device != found.device:
                self._left_out = devices.module_of(found).zeros((), np.int32)

    def _end(self, found: Any) -> None:
        if found is not None:
            kernels.of(found).count_left_out(found, self._left_out)

    def _settle(self) -> None:
        """Takes the steps that were left out off the counts, which the host has gone on with."""
        left_out = int(self._left_out) if self._counted else 0
        if left_out:
            for state in self._counted:
                state["step"] -= left_out
            self._left_out.fill(0)

    def _unchanged(self) -> Callable[[], str]:
        as_before, counted, left_out = super()._unchanged(), self._counted, self._left_out

        def why() -> str:
            same = self._counted is counted and (not counted or self._left_out is left_out)
            return as_before() if same else f"{type(self).__name__} counts other steps that a GradScaler leaves out"

        return why

    def _by_steps(self, params: Sequence[Tensor], group: Group) -> list[list[tuple[Tensor, State]]]:
        """The parameters with their states, one step further: those that have taken equally many steps together."""
        states = [self._state_of(p, group) for p in params]

        def count() -> None:
            for state in states:
                state["step"] += 1

        count()
        again(count)
        found: dict[int, list[tuple[Tensor, State]]] = {}
        for p, state in zip(params, states, strict=True):
            found.setdefault(state["step"], []).append((p, state))
        return list(found.values())
