"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from .. import devices, kernels
from ..errors import ArgumentError
from ..kernels.reference.optim_scaled import adafactor_bases, adafactor_numbers
from ..tensor import Tensor
from ..tracing import held
from . import checks
from .counted import CountingOptimizer
from .optimizer import Group, State, state_dtype, zeros_for


class Adafactor(CountingOptimizer):
    """The second moments of a matrix as one row and one column (Shazeer and Stern, arXiv:1804.04235), as torch's.

    Args:
        params: parameters, named parameters or groups.
        lr: upper bound of the relative step, which 1 / sqrt(step) bounds too.
        beta2_decay: the weight of the newest squares is ``step ** beta2_decay``.
        eps: floor of the second moments' root (None for the parameter's machine epsilon), and of the parameter's root mean
            square.
        d: upper bound of the update's root mean square.
        weight_decay: the share of the parameter, times ``lr``, that is taken off in each step.
        maximize: go up instead of down.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Raises:
        ArgumentError: a number out of range.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.ones(2, 3))
        >>> optimizer = Adafactor([w], lr=0.1)
        >>> w.sum().backward()
        >>> optimizer.step()
        >>> w[0].detach()
        tensor([0.9000, 0.9000, 0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "maximize": maximize,
            "master_weights": master_weights,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "weight_decay"):
            checks.number(name, group[name])
        checks.number("d", group["d"], low=1.0)
        checks.number("beta2_decay", group["beta2_decay"], low=float("-inf"), high=0.0)
        if not isinstance(group["eps"], (tuple, list)) or len(group["eps"]) != 2:
            raise ArgumentError(f"eps is {group['eps']!r}", fix="give two numbers, as (None, 1e-3)")
        for i, eps in enumerate(group["eps"]):
            if eps is not None or i == 1:
                checks.number(f"eps[{i}]", eps)

    def _new_state(self, p: Tensor, group: Group) -> State:  # noqa: ARG002
        if p.ndim < 2:
            return {"step": 0, "variance": zeros_for(p)}
        xp, dtype = devices.module_of(p.array), state_dtype(p)
        row, column = xp.zeros((*p.shape[:-1], 1), dtype), xp.zeros((*p.shape[:-2], 1, p.shape[-1]), dtype)
        return {"step": 0, "row_var": Tensor(row), "col_var": Tensor(column)}

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        for some in self._by_steps(params, group):
            if isinstance(some[0][0].array, np.ndarray):
                self._update_on_host(some, group)
                continue
            for dtype in dict.fromkeys([p.dtype for p, _ in some]):  # which says what is added to the moments
                self._update_on_device([(p, state) for p, state in some if p.dtype == dtype], group, found)

    def _update_on_host(self, some: Sequence[tuple[Tensor, State]], group: Group) -> None:
        lr, eps1, eps2, d, weight_decay = self._settings(some[0][0], group)
        for p, state in some:
            kernels.of(p.array).adafactor_step(
                p.array, p.grad.array, *_moments(state), state["step"], lr, float(group["beta2_decay"]),  # type: ignore[union-attr]
                eps1, eps2, d, weight_decay, bool(group["maximize"]),
            )  # fmt: skip

    def _update_on_device(self, some: Sequence[tuple[Tensor, State]], group: Group, found: Any) -> None:
        (p, first), table = some[0], kernels.of(some[0][0].array)
        dtype = state_dtype(p)

        def numbers() -> tuple[float, ...]:
            lr, eps1, eps2, d, weight_decay = self._settings(p, group)
            return adafactor_numbers(first["step"], lr, float(group["beta2_decay"]), eps1, eps2, d, weight_decay, dtype)

        def raw() -> tuple[float, ...]:
            settings = self._settings(p, group)
            return *adafactor_bases(*settings, dtype), float(first["step"]), settings[0], float(group["beta2_decay"])

        given = held(numbers if found is None else raw)
        if found is not None:
            given = table.adafactor_corrections(raw() if given is None else given, self._left_out)
        moments = zip(*[_moments(state) for _, state in some], strict=True)
        table.adafactor_held(
            [p.array for p, _ in some], [p.grad.array for p, _ in some],  # type: ignore[union-attr]  # they have one
            *moments, numbers() if given is None else given, bool(group["maximize"]), found,
        )  # fmt: skip

    def _settings(self, p: Tensor, group: Group) -> tuple[float, float, float, float, float]:
        """The rate, both of ``eps``, the bound of the update, the decay."""
        eps1, eps2 = group["eps"]
        least = float(ml_dtypes.finfo(p.dtype).eps if eps1 is None else eps1)
        return float(group["lr"]), least, float(eps2), float(group["d"]), float(group["weight_decay"])


def _moments(state: State) -> tuple[Any, Any, Any]:
    """Those of rows and of columns, and the whole ones; None where there are none."""
    row, column, whole = (state[k].array if k in state else None for k in ("row_var", "col_var", "variance"))
    return row, column, whole
