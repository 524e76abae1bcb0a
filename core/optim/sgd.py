"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from .. import kernels
from ..errors import ArgumentError
from ..kernels.reference.optim import sgd_numbers
from ..tensor import Tensor
from ..tracing import held
from . import checks
from .masters import owner_of
from .optimizer import Group, Optimizer, State, zeros_for


class SGD(Optimizer):
    """Gradient descent with momentum, as torch's.

    Args:
        params: parameters, named parameters or groups.
        lr: the learning rate.
        momentum: how much of the last direction is kept.
        dampening: how much of the new gradient is left out of the momentum.
        weight_decay: times the parameter is added to the gradient.
        nesterov: look ahead along the momentum (Sutskever et al. 2013).
        maximize: go up instead of down.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Raises:
        ArgumentError: a negative number, or Nesterov momentum without momentum or with dampening.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.tensor([1.0, -2.0]))
        >>> optimizer = nyala.optim.SGD([w], lr=0.1, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (w * w).sum().backward()
        ...     optimizer.step()
        >>> w.detach()
        tensor([ 0.4600, -0.9200])
    """

    _in_graphs: ClassVar[bool] = True
    _BUILT_IN: ClassVar[tuple[str, ...]] = ("nesterov", "maximize", "master_weights", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
            "maximize": maximize,
            "master_weights": master_weights,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            checks.number(name, group[name])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ArgumentError(
                f"nesterov=True with momentum={group['momentum']} and dampening={group['dampening']}",
                fix="Nesterov momentum needs a momentum and no dampening",
            )

    def _new_state(self, p: Tensor, group: Group) -> State:  # noqa: ARG002
        return {"momentum_buffer": zeros_for(p)}

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        firsts = [not self._states.get(owner_of(p)) for p in params]
        states = [self._state_of(p, group) for p in params]
        lists = [
            [p.array for p in params], [p.grad.array for p in params],  # type: ignore[union-attr]  # they have one
            [s["momentum_buffer"].array for s in states] if group["momentum"] else None,
        ]  # fmt: skip

        def settings() -> tuple[float, ...]:
            return tuple([float(group[name]) for name in ("lr", "momentum", "dampening", "weight_decay")])

        flags = bool(group["nesterov"]), bool(group["maximize"])
        numbers, table = held(lambda: sgd_numbers(*settings())), kernels.of(params[0].array)
        if numbers is None and found is None:
            table.sgd_steps(*lists, firsts, *settings(), *flags)
        else:
            table.sgd_held(*lists, sgd_numbers(*settings()) if numbers is None else numbers, *flags, found)
