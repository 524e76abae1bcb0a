"""Watches the loss and the gradient's norm, step by step, and says when they explode.

What it remembers is the losses of the last steps, which are in ``metrics.jsonl`` anyway: a resumed run reads them there and
decides as the uninterrupted one does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ..core.errors import NumericError
from .schema import Watchdog


class DivergenceError(NumericError):
    """A run that was stopped because going on makes no sense.

    Attributes:
        step: the update that was not made.
        cause: what was wrong, in words.
        module: the module it was first seen in; empty where it was in none.
        samples: their numbers in the training part.
    """

    def __init__(
        self, what: str, *, why: str = "", fix: str = "", step: int = 0, module: str = "", samples: Sequence[int] = ()
    ) -> None:
        super().__init__(what, why=why, fix=fix)
        self.step, self.cause, self.module, self.samples = step, what, module, [int(i) for i in samples]


class Watch:
    """The rule of ``train.watchdog``, over the steps it has seen.

    Args:
        rule: the table of the recipe; None watches nothing.

    Example:
        >>> watch = Watch(Watchdog(window=3))
        >>> for loss in (2.0, 1.5, 1.8):
        ...     watch.add(loss, 1.0)
        >>> watch.look(17.0, 1.0), watch.look(19.0, 1.0)
        ('', 'the loss is 19, more than 10 times 1.8, its median over the last 3 steps')
    """

    def __init__(self, rule: Watchdog | None) -> None:
        self.rule = rule
        window = rule.window if rule else 0
        self.losses: deque[float] = deque(maxlen=window)
        self.norms: deque[float] = deque(maxlen=window)

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Takes up the steps in a run's metrics."""
        for record in records:
            if record["kind"] == "step":
                self.add(record["loss"], record["grad_norm"])

    def look(self, loss: float, grad_norm: float) -> str:
        """What is wrong with the coming update, in words, or an empty string. Both numbers are finite."""
        if self.rule is None or len(self.losses) < self.rule.window:
            return ""
        usual, usual_norm = median(self.losses), median(self.norms)
        if loss > self.rule.floor and loss > self.rule.loss * usual:
            return _words("the loss", loss, self.rule.loss, usual, self.rule.window)
        if self.rule.grad_norm is not None and grad_norm > self.rule.grad_norm * usual_norm > 0:
            return _words("the gradient's norm", grad_norm, self.rule.grad_norm, usual_norm, self.rule.window)
        return ""

    def add(self, loss: float, grad_norm: float) -> None:
        """Remembers a step that was made."""
        self.losses.append(loss)
        self.norms.append(grad_norm)


def _words(what: str, value: float, multiple: float, usual: float, window: int) -> str:
    return f"{what} is {value:.4g}, more than {multiple:g} times {usual:.4g}, its median over the last {window} steps"
