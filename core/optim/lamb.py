"""LAMB."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .. import kernels
from ..tensor import Tensor
from . import checks
from .clip import norm_of
from .optimizer import Group, Optimizer, State, zeros_for


class LAMB(Optimizer):
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
        self._grad_scale = 1.0
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            checks.number(name, group[name])
        if group["max_grad_norm"] is not None:
            checks.number("max_grad_norm", group["max_grad_norm"])
        checks.betas(group)

    def _new_state(self, p: Tensor, group: Group) -> State:  # noqa: ARG002
        return {"step": 0, "exp_avg": zeros_for(p), "exp_avg_sq": zeros_for(p)}

    def _begin(self, found: Any) -> None:  # noqa: ARG002 - it reads norms anyway
        limit = self.defaults["max_grad_norm"]
        self._grad_scale = 1.0
        if limit is not None:
            norm = float(norm_of([p.grad.array for g in self.param_groups for p in g["params"] if p.grad is not None], 2.0))
            # a norm that is not finite scales as in timm: the NaN shows instead of being stepped over
            self._grad_scale = limit / norm if norm > limit or math.isnan(norm) else 1.0

    def _update(self, p: Tensor, grad: Any, group: Group) -> None:
        state = self._state_of(p, group)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        kernels.of(p.array).lamb_step(
            p.array, grad, state["exp_avg"].array, state["exp_avg_sq"].array, state["step"], float(group["lr"]), float(beta1),
            float(beta2), float(group["eps"]), float(group["weight_decay"]), self._grad_scale, bool(group["bias_correction"]),
            bool(group["grad_averaging"]), bool(group["trust_clip"]), bool(group["always_adapt"]),
        )  # fmt: skip
