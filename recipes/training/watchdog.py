"""Watches the loss and the gradient's norm, step by step, and says when they explode.

What it remembers is the losses of the last steps, which are in ``metrics.jsonl`` anyway: a resumed run reads them there and
decides as the uninterrupted one does.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ...core.errors import NumericError
from ..language.schema import Watchdog


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
    """The rule of ``train.watchdog``, over the steps it has seen. Steps that break it are not taken into the medians.

    Args:
        rule: the table of the recipe; None watches nothing.

    Example:
        >>> watch = Watch(Watchdog(window=3, patience=2))
        >>> for loss in (2.0, 1.5, 1.8, 19.0):
        ...     watch.add(loss, 1.0)
        >>> watch.look(17.0, 1.0), watch.look(19.0, 1.0)
        ('', 'the loss is 19, more than 10 times 1.8, its lowest running median so far, for 2 steps in a row')
    """

    def __init__(self, rule: Watchdog | None) -> None:
        self.rule = rule
        window = rule.window if rule else 0
        self.losses: deque[float] = deque(maxlen=window)
        self.norms: deque[float] = deque(maxlen=window)
        self.first = math.inf  # the loss that the run began with
        self.lowest = math.inf  # median of the losses, once there are enough of them
        self.wild = 0  # steps in a row that broke the rule

    def recall(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Takes up the steps in a run's metrics."""
        for record in records:
            if record["kind"] == "step" and math.isfinite(float(record["grad_norm"])):  # a step that was left out is no step
                self.add(record["loss"], record["grad_norm"])

    def look(self, loss: float, grad_norm: float) -> str:
        """Why the coming update should not be made, in words, or an empty string. Both numbers are finite."""
        found = self._broken(loss, grad_norm)
        if not found or self.rule is None or self.wild + 1 < self.rule.patience:
            return ""
        return found + (f", for {self.rule.patience} steps in a row" if self.rule.patience > 1 else "")

    def add(self, loss: float, grad_norm: float) -> None:
        """Remembers a step that was made."""
        if self.rule is None:
            return
        if self._broken(loss, grad_norm):
            self.wild += 1
            return
        self.wild = 0
        if not self.losses:
            self.first = loss
        full = len(self.losses) == self.rule.window
        self.losses.append(loss)
        self.norms.append(grad_norm)
        self.lowest = min(self.lowest, median(self.losses)) if full else median(self.losses)

    def _broken(self, loss: float, grad_norm: float) -> str:
        if self.rule is None or not self.losses:
            return ""
        if loss > self.first and loss > self.rule.loss * self.lowest:
            which = "its lowest running median so far"
            return _words("the loss", loss, self.rule.loss, self.lowest, which)
        usual = median(self.norms)
        if self.rule.grad_norm is not None and grad_norm > self.rule.grad_norm * usual > 0:
            which = f"its median over the last {len(self.norms)} steps"
            return _words("the gradient's norm", grad_norm, self.rule.grad_norm, usual, which)
        return ""


def _words(what: str, value: float, multiple: float, usual: float, which: str) -> str:
    return f"{what} is {value:.4g}, more than {multiple:g} times {usual:.4g}, {which}"
