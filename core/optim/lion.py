"""Lion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from .. import kernels
from ..kernels.reference.optim import lion_numbers
from ..tensor import Tensor
from ..tracing import held
from . import checks
from .optimizer import Group, Optimizer, State, zeros_for


class Lion(Optimizer):
    """Steps of one size, in the direction of a sign (Chen et al., arXiv:2302.06675), as timm's. Half the state of Adam.

    Args:
        params: parameters, named parameters or groups.
        lr: the learning rate; a third to a tenth of AdamW's, with a weight decay as many times larger.
        betas: how much momentum goes into the sign, and how much of it is kept, in [0, 1).
        weight_decay: the share of the parameter, times ``lr``, that is taken off in each step.
        maximize: go up instead of down.
        master_weights: keep a float32 copy of parameters in half precision, update it, and round it into the parameter: bitwise
            the steps of float32 weights.

    Raises:
        ArgumentError: a number out of range.

    Example:
        >>> import nyala
        >>> w = nyala.nn.Parameter(nyala.tensor([1.0, -2.0]))
        >>> optimizer = Lion([w], lr=0.1)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([ 0.9000, -1.9000])
    """

    _in_graphs: ClassVar[bool] = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        master_weights: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize, "master_weights": master_weights,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group: Group) -> None:
        for name in ("lr", "weight_decay"):
            checks.number(name, group[name])
        checks.betas(group)

    def _new_state(self, p: Tensor, group: Group) -> State:  # noqa: ARG002
        return {"exp_avg": zeros_for(p)}

    def _update_all(self, params: Sequence[Tensor], group: Group, found: Any) -> None:
        lists = [
            [p.array for p in params], [p.grad.array for p in params],  # type: ignore[union-attr]  # they have one
            [self._state_of(p, group)["exp_avg"].array for p in params],
        ]  # fmt: skip

        def settings() -> tuple[float, ...]:
            return float(group["lr"]), *[float(beta) for beta in group["betas"]], float(group["weight_decay"])

        numbers, table = held(lambda: lion_numbers(*settings())), kernels.of(params[0].array)
        if numbers is None and found is None:
            table.lion_steps(*lists, *settings(), bool(group["maximize"]))
        else:
            table.lion_held(*lists, lion_numbers(*settings()) if numbers is None else numbers, bool(group["maximize"]), found)
