"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from .. import kernels
from ..kernels.reference.optim import adamw_bases, adamw_numbers
from ..tensor import Tensor
from ..tracing import held
from . import checks
from .counted import CountingOptimizer
from .optimizer import Group, State, zeros_for


class Adam(CountingOptimizer):
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

    _BUILT_IN: ClassVar[tuple[str, ...]] = ("amsgrad", "maximize", "master_weights")

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

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        for some in self._by_steps(params, group):
            self._update_some(some, group, found)

    def _update_some(self, some: Sequence[tuple[Tensor, State]], group: Group, found: Any) -> None:
        """Updates parameters that have taken equally many steps."""
        first, table = some[0][1], kernels.of(some[0][0].array)
        lists = [
            [p.array for p, _ in some], [p.grad.array for p, _ in some],  # type: ignore[union-attr]  # they have one
            *[[s[name].array for _, s in some] for name in ("exp_avg", "exp_avg_sq")],
            [s["max_exp_avg_sq"].array for _, s in some] if group["amsgrad"] else None,
        ]  # fmt: skip

        def settings() -> tuple[float, float, float, float, float, bool]:
            beta1, beta2 = group["betas"]
            rates = float(group["lr"]), float(beta1), float(beta2), float(group["eps"]), float(group["weight_decay"])
            return *rates, bool(group["decoupled_weight_decay"])

        def raw() -> tuple[float, ...]:
            return *adamw_bases(*settings()), float(first["step"]), float(group["lr"]), float(group["betas"][0])

        maximize = bool(group["maximize"])
        if found is not None:
            numbers = held(raw)
            corrected = table.adamw_corrections(raw() if numbers is None else numbers, self._left_out)
            table.adamw_held(*lists, corrected, maximize, found)
            return
        numbers = held(lambda: adamw_numbers(first["step"], *settings()))
        if numbers is None:
            table.adamw_steps(*lists, [first["step"]] * len(some), *settings(), maximize)
        else:
            table.adamw_held(*lists, numbers, maximize, None)


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
