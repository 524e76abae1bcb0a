"""LAMB."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from .. import devices, kernels
from ..kernels.reference.optim_scaled import lamb_bases, lamb_numbers
from ..tensor import Tensor
from ..tracing import held
from . import checks
from .clip import norm_of
from .counted import CountingOptimizer
from .optimizer import Group, State, zeros_for


class LAMB(CountingOptimizer):
    """Adam's direction, scaled to each parameter's norm, for large batches (You et al., arXiv:1904.00962), as timm's.

    Args:
        params: parameters, named parameters or groups.
        lr: the learning rate.
        bias_correction: correct the averages for their start at zero.
        betas: decay rates of the averages of the gradient and of its square, in [0, 1).
        eps: added to the denominator.
        weight_decay: times the parameter is added to the update.
        grad_averaging: weigh the gradient by 1 - betas[0] in its average.
        max_grad_norm: the gradients, as the kernels see them, are scaled down together to this norm; None for no limit.
        trust_clip: never scale a step up.
        always_adapt: scale parameters without weight decay too.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Raises:
        ArgumentError: a number out of range.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.tensor([3.0, 4.0]))
        >>> optimizer = LAMB([w], lr=0.1)
        >>> w.sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([2.6482, 3.6447])
    """

    _FLAGS: ClassVar[tuple[str, ...]] = ("bias_correction", "grad_averaging", "trust_clip", "always_adapt")
    _BUILT_IN: ClassVar[tuple[str, ...]] = (*_FLAGS, "master_weights")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        bias_correction: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        grad_averaging: bool = True,
        max_grad_norm: float | None = 1.0,
        trust_clip: bool = False,
        always_adapt: bool = False,
        *,
        master_weights: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "bias_correction": bias_correction, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "grad_averaging": grad_averaging, "max_grad_norm": max_grad_norm, "trust_clip": trust_clip,
            "always_adapt": always_adapt,
            "master_weights": master_weights,
        }  # fmt: skip
        self._grad_scale: Any = 1.0  # or a number that lies on the GPU of the first gradient
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            checks.number(name, group[name])
        if group["max_grad_norm"] is not None:
            checks.number("max_grad_norm", group["max_grad_norm"])
        checks.betas(group)

    def _new_state(self, p: Tensor, group: Group) -> State:  # noqa: ARG002
        return {"step": 0, "exp_avg": zeros_for(p), "exp_avg_sq": zeros_for(p)}

    def _built_in(self, group: Group) -> tuple[Any, ...]:
        return *super()._built_in(group), self.defaults["max_grad_norm"]

    def _begin(self, found: Any) -> None:
        super()._begin(found)
        limit = self.defaults["max_grad_norm"]
        self._grad_scale = 1.0
        if limit is not None:
            norm = norm_of([p.grad.array for g in self.param_groups for p in g["params"] if p.grad is not None], 2.0)
            # a norm that is not finite scales as in timm: the NaN shows instead of being stepped over
            if isinstance(norm, float):
                self._grad_scale = limit / norm if norm > limit or math.isnan(norm) else 1.0
            else:
                xp = devices.module_of(norm)
                self._grad_scale = xp.where(norm <= limit, xp.ones_like(norm), limit / xp.maximum(norm, limit))

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        for some in self._by_steps(params, group):
            if isinstance(some[0][0].array, np.ndarray):
                self._update_on_host(some, group)
            else:
                self._update_on_device(some, group, found)

    def _update_on_host(self, some: Sequence[tuple[Tensor, State]], group: Group) -> None:
        beta1, beta2 = group["betas"]
        for p, state in some:
            kernels.of(p.array).lamb_step(
                p.array, p.grad.array, state["exp_avg"].array, state["exp_avg_sq"].array, state["step"],  # type: ignore[union-attr]
                float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), float(group["weight_decay"]),
                float(self._grad_scale), *[bool(group[name]) for name in self._FLAGS],
            )  # fmt: skip

    def _update_on_device(self, some: Sequence[tuple[Tensor, State]], group: Group, found: Any) -> None:
        first, array = some[0][1], some[0][0].array
        table, scale = kernels.of(array), self._grad_scale
        corrected, averaging, *flags = [bool(group[name]) for name in self._FLAGS]

        def settings() -> tuple[float, float, float, float, float]:
            beta1, beta2 = group["betas"]
            return float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), float(group["weight_decay"])

        def numbers() -> tuple[float, ...]:
            return lamb_numbers(first["step"], *settings(), corrected, averaging)

        def raw() -> tuple[float, ...]:
            return *lamb_bases(*settings(), averaging), float(first["step"])

        given = held(numbers if found is None else raw)
        if found is not None:
            given = table.lamb_corrections(raw() if given is None else given, self._left_out, corrected)
        table.lamb_held(
            [p.array for p, _ in some], [p.grad.array for p, _ in some],  # type: ignore[union-attr]  # they have one
            *[[state[name].array for _, state in some] for name in ("exp_avg", "exp_avg_sq")],
            numbers() if given is None else given,
            scale if isinstance(scale, float) else devices.move(scale, devices.of(array)), *flags, found,
        )  # fmt: skip
