"""The schedule of most fine-tuning: up in a straight line, then down."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...errors import ArgumentError
from .. import checks
from ..optimizer import Optimizer
from .factor import LambdaLR

_DECAYS: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,  # noqa: ARG005
}


def warmup(
    optimizer: Optimizer, warmup_steps: int, total_steps: int | None = None, decay: str = "cosine", min_ratio: float = 0.0
) -> LambdaLR:
    """The rate linearly up in ``warmup_steps``, then down until ``total_steps``.

    Step n of the rise has the share (n + 1) / (warmup_steps + 1) of the rate, so that no step is lost at rate 0.

    Args:
        optimizer: whose groups are set.
        warmup_steps: length of the rise; 0 for none.
        total_steps: length of all; needed unless ``decay`` is "constant".
        decay: "cosine", "linear" or "constant".
        min_ratio: what is left of the rate at the end, 0 to 1.

    Raises:
        ArgumentError: an unknown decay, or a total that is missing or shorter than the rise.

    Example:
        >>> import nyala
        >>> optimizer = nyala.optim.SGD([nyala.nn.Parameter(nyala.ones(1))], lr=1.0)
        >>> schedule, rates = warmup(optimizer, warmup_steps=1, total_steps=5, decay="linear"), []
        >>> for _ in range(5):
        ...     rates += schedule.get_last_lr()
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    checks.whole("warmup_steps", warmup_steps, low=0)
    checks.number("min_ratio", min_ratio, high=1.0)
    if decay not in _DECAYS:
        raise ArgumentError(f"warmup: decay={decay!r}", fix="use 'cosine', 'linear' or 'constant'")
    if decay != "constant" and (total_steps is None or total_steps < warmup_steps):
        raise ArgumentError(
            f"warmup: total_steps={total_steps} with warmup_steps={warmup_steps}", fix="pass the length of the whole training"
        )
    length = max(1, (total_steps or 0) - warmup_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        return min_ratio + (1 - min_ratio) * _DECAYS[decay](min(1.0, (step - warmup_steps) / length))

    return LambdaLR(optimizer, factor)
