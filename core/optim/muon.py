"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import kernels
from ..errors import ArgumentError, ShapeError
from ..kernels.reference.optim_scaled import muon_numbers
from ..tensor import Tensor
from ..tracing import held
from . import checks
from .optimizer import Group, Optimizer, State, zeros_for


class Muon(Optimizer):
    """Orthogonalised momentum for the matrices of hidden layers (Jordan et al. 2024), as torch's; give all else to AdamW.

    The orthogonalisation computes in float32 (float64 for float64 parameters), where torch rounds to bfloat16.

    Args:
        params: parameters, named parameters or groups, of two dimensions only.
        lr: the learning rate.
        weight_decay: the share of the parameter, times ``lr``, that is taken off in each step.
        momentum: how much of the average of gradients is kept.
        nesterov: look ahead along the momentum.
        ns_coefficients: the quintic polynomial of the Newton-Schulz iteration.
        eps: floor of the norm that the matrix is divided by.
        ns_steps: iterations.
        adjust_lr_fn: "original" (or None) for lr * sqrt(max(1, rows / columns)); "match_rms_adamw" for
            lr * 0.2 * sqrt(max(rows, columns)), with which AdamW's rate and weight decay can be kept.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Raises:
        ShapeError: a parameter that is no matrix.
        ArgumentError: a setting that makes no sense.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.eye(2))
        >>> optimizer = Muon([w], lr=0.1, weight_decay=0.0)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> bool((w.diagonal() < 0.94).all())
        True
    """

    _in_graphs: ClassVar[bool] = True
    _BUILT_IN: ClassVar[tuple[str, ...]] = ("nesterov", "master_weights")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        master_weights: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
            "master_weights": master_weights,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "weight_decay", "momentum", "eps"):
            checks.number(name, group[name])
        checks.number("ns_steps", group["ns_steps"], below=100)
        if len(group["ns_coefficients"]) != 3:
            raise ArgumentError(f"ns_coefficients is {group['ns_coefficients']!r}", fix="give the three of a quintic")
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ArgumentError(f"adjust_lr_fn={group['adjust_lr_fn']!r}", fix="use 'original' or 'match_rms_adamw'")
        for number, p in enumerate(group["params"]):
            if p.ndim != 2:
                raise ShapeError(
                    f"Muon, parameter {number} has shape {p.shape}",
                    why="only matrices can be made orthogonal",
                    fix="give vectors, filters and embeddings to AdamW",
                )

    def _new_state(self, p: Tensor, group: Group) -> State:  # noqa: ARG002
        return {"momentum_buffer": zeros_for(p)}

    def _built_in(self, group: Group) -> tuple[Any, ...]:
        return *super()._built_in(group), group["ns_steps"]

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        if isinstance(params[0].array, np.ndarray):
            self._update_on_host(params, group)
            return
        for shape in dict.fromkeys([p.shape for p in params]):
            self._update_on_device([p for p in params if p.shape == shape], group, found)

    def _update_on_host(self, params: Sequence[Tensor], group: Group) -> None:
        for p in params:
            rates, (coefficients, eps) = _rates(p, group), _iteration(group)
            kernels.of(p.array).muon_step(
                p.array, p.grad.array, self._state_of(p, group)["momentum_buffer"].array, *rates,  # type: ignore[union-attr]
                bool(group["nesterov"]), coefficients, eps, int(group["ns_steps"]),
            )  # fmt: skip

    def _update_on_device(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        def numbers() -> tuple[float, ...]:
            return muon_numbers(*_rates(params[0], group), *_iteration(group))

        states, given = [self._state_of(p, group) for p in params], held(numbers)
        kernels.of(params[0].array).muon_held(
            [p.array for p in params], [p.grad.array for p in params],  # type: ignore[union-attr]  # they have one
            [state["momentum_buffer"].array for state in states], numbers() if given is None else given,
            bool(group["nesterov"]), int(group["ns_steps"]), found,
        )  # fmt: skip


def _rates(p: Tensor, group: Group) -> tuple[float, float, float, float]:
    """The rate of the decay and that of the step, which the matrix's shape adjusts; the decay, the momentum."""
    lr, (rows, columns) = float(group["lr"]), p.shape
    matched = group["adjust_lr_fn"] == "match_rms_adamw"
    adjusted = lr * (0.2 * math.sqrt(max(rows, columns)) if matched else math.sqrt(max(1, rows / max(columns, 1))))
    return lr, adjusted, float(group["weight_decay"]), float(group["momentum"])


def _iteration(group: Group) -> tuple[tuple[float, float, float], float]:
    """The quintic and the floor of the norm."""
    a, b, c = group["ns_coefficients"]
    return (float(a), float(b), float(c)), float(group["eps"])
