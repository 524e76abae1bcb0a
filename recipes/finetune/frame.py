"""What the rules of fine-tuning are written in: rows with a condition, values and a reason, and the plan that they fill."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .facts import Facts

# What a user who has said one of the latter has also decided.
_LEARNING = ("model.freeze", "model.unfreeze", "model.adapter", "train.unfreeze")
_TOGETHER = {
    "model.freeze": _LEARNING,
    "model.unfreeze": _LEARNING,
    "optim.layer_decay": _LEARNING,
    "train.epochs": ("train.steps",),
    "train.class_weights": ("data.sampling",),
}


@dataclass
class Plan:
    """What is decided so far, and what the user has said.

    Attributes:
        facts: what the rules look at.
        given: dotted path -> value, from the command line; nothing is decided over these.
        values: dotted path -> value.
        reasons: dotted path -> why.
        method: what learns, in words.
        because: why.
    """

    facts: Facts
    given: Mapping[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    method: str = ""
    because: str = ""

    def set(self, path: str, value: Any, reason: str) -> None:
        """Decides one value, unless the user has given it, or a table above it."""
        if not self.said(path) and not any(self.said(other) for other in _TOGETHER.get(path, ())):
            self.values[path], self.reasons[path] = value, reason

    def said(self, path: str) -> bool:
        """Whether the user has given the value, a table above it, or a value in it."""
        above = [path.rsplit(".", n)[0] for n in range(path.count(".") + 1)]
        return any(p in self.given for p in above) or any(p.startswith(path + ".") for p in self.given)

    def get(self, path: str, default: Any = None) -> Any:
        """The value that will hold."""
        return self.given.get(path, self.values.get(path, default))

    def words(self) -> dict[str, Any]:
        """What a reason may name."""
        facts = self.facts
        named = ("per_class", "width", "train", "validation", "side", "native", "tokens", "seconds", "heard", "imbalance")
        amount = f"{facts.per_class:.0f} samples a class" if facts.counts else f"{facts.train:,} samples"
        return {name: getattr(facts, name) for name in named} | {"amount": amount, "updates": self.updates()}

    def updates(self) -> int:
        """Updates of the weights, as far as batch size and epochs are decided."""
        samples = self.get("data.batch_size", 32) * self.get("train.accumulate", 1)
        return math.ceil(self.facts.train / samples) * (self.get("train.epochs") or 0)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        when: the condition in words.
        holds: the condition.
        then: what is chosen, in words.
        values: dotted path -> value, or a function of the plan.
        why: the reason; ``{words}`` of the plan may stand in it.
    """

    when: str
    holds: Callable[[Plan], bool]
    then: str
    values: Mapping[str, Any]
    why: str | Callable[[Plan], str]

    def reason(self, plan: Plan) -> str:
        """Why, with the plan's numbers."""
        return self.why(plan) if callable(self.why) else self.why.format_map(plan.words())


@dataclass(frozen=True)
class Rule:
    """One decision: the first of its rows that fits; ``names_method`` where it decides which parts learn."""

    name: str
    rows: tuple[Row, ...]
    names_method: bool = False


def apply(rule: Rule, plan: Plan) -> None:
    """The first row that fits sets its values."""
    row = next(row for row in rule.rows if row.holds(plan))
    if rule.names_method:
        plan.method, plan.because = row.then, row.reason(plan)
        if any(plan.said(path) for path in _LEARNING):
            plan.because = "what learns is as you said; rates and length are chosen as for this"
    for path, value in row.values.items():
        plan.set(path, value(plan) if callable(value) else value, "")
    for path in row.values:
        if path in plan.reasons and not plan.reasons[path]:  # only now may it name what has just been set
            plan.reasons[path] = row.reason(plan)


# ---- conditions ---------------------------------------------------------------------------------------------------


def image(plan: Plan) -> bool:
    """Pictures with a class each."""
    return plan.facts.kind == "image"


def pictures(plan: Plan) -> bool:
    """Pictures, with whatever is known of them."""
    return plan.facts.kind in ("image", "masks", "boxes")


def kind(name: str) -> Callable[[Plan], bool]:
    """Data of this kind."""
    return lambda plan: plan.facts.kind == name


def among(*names: str) -> Callable[[Plan], bool]:
    """Data of one of these kinds."""
    return lambda plan: plan.facts.kind in names


def always(_: Plan) -> bool:
    """Whatever there is."""
    return True
