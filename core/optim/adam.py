"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import kernels
from ..tensor import Tensor
from . import checks
from .optimizer import Group, Optimizer, State, zeros_for


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015), as torch's.

    Args:
        params: parameters, named parameters or groups.
        lr: the learning rate.
        betas: decay rates of the averages of the gradient and of its square, in [0, 1).
        eps: added to the denominator.
        weight_decay: times the parameter is added to the gradient.
        amsgrad: divide by the largest second moment so far (Reddi et al. 2018).
        maximize: go up instead of down.
        decoupled_weight_decay: decay the parameter itself instead, as AdamW does.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Raises:
        ArgumentError: a number out of range.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.tensor([1.0, -2.0]))
        >>> optimizer = nyala.optim.Adam([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([ 0.9000, -1.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        master_weights: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay, "master_weights": master_weights,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            checks.number(name, group[name])
        checks.betas(group)

    def _new_state(self, p: Tensor, group: Group) -> State:
        state: State = {"step": 0, "exp_avg": zeros_for(p), "exp_avg_sq": zeros_for(p)}
        return {**state, "max_exp_avg_sq": zeros_for(p)} if group["amsgrad"] else state

    def _update_all(self, params: Sequence[Tensor], group: Group) -> None:
        states = [self._state_of(p, group) for p in params]
        for state in states:
            state["step"] += 1
        beta1, beta2 = group["betas"]
        kernels.of(params[0].array).adamw_steps(
            [p.array for p in params], [p.grad.array for p in params],  # type: ignore[union-attr]  # they have one
            [s["exp_avg"].array for s in states], [s["exp_avg_sq"].array for s in states],
            [s["max_exp_avg_sq"].array for s in states] if group["amsgrad"] else None, [s["step"] for s in states],
            float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), float(group["weight_decay"]),
            bool(group["decoupled_weight_decay"]), bool(group["maximize"]),
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch's.

    Args:
        params: parameters, named parameters or groups.
        lr: the learning rate.
        betas: decay rates of the averages of the gradient and of its square, in [0, 1).
        eps: added to the denominator.
        weight_decay: the share of the parameter, times ``lr``, that is taken off in each step.
        amsgrad: divide by the largest second moment so far.
        maximize: go up instead of down.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Example:
        >>> import nyala
        >>> net = nyala.nn.Linear(3, 2)
        >>> decayed = {"params": [net.weight], "weight_decay": 0.1}
        >>> optimizer = nyala.optim.AdamW([decayed, {"params": [net.bias]}], lr=1e-3, weight_decay=0.0)
        >>> [group["weight_decay"] for group in optimizer.param_groups]
        [0.1, 0.0]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
            master_weights=master_weights,
        )
