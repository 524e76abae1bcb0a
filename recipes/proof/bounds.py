"""How far two runs of one recipe may be apart by rounding alone: a bound that is measured, not guessed.

Another processor or device rounds sums in another order. What becomes of it depends on the recipe: a small step keeps the
difference small, a large one lets it grow until two runs have nothing in common but their scores. So the repeated run is
repeated once more with every trainable weight moved by one unit in the last place, up or down, before each step. How far that
run gets from the repeated one is this recipe's own answer to rounding. The bound is ``FACTOR`` times it, because a sum rounds
more than once, and never more than ``CAP`` of the loss and of the way the weights went: beyond that it would bound nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core import random

if TYPE_CHECKING:
    from ..training.trainer import Training

FACTOR = 64.0  # sums of thousands of terms round by tens of units in the last place
CAP = 0.1
_ULP = 2.0**-23


@dataclass(frozen=True)
class Bound:
    """What was compared against the bound.

    Attributes:
        holds: every loss, and the weights at the end, are within it.
        step: where the loss is closest to its bound, or the first step beyond it.
        loss, loss_bound: the difference of that step's losses, and what is allowed there.
        worst_loss: the largest difference of any step's losses.
        weights, weights_bound: the distance of the last weights as a share of the way they went, and what is allowed; None where
            one of the runs has no checkpoint of the last step.
    """

    holds: bool
    step: int
    loss: float
    loss_bound: float
    worst_loss: float
    weights: float | None = None
    weights_bound: float | None = None

    def __str__(self) -> str:
        beyond = self.loss > self.loss_bound
        text = f"losses differ by {self.worst_loss:.2g} at most; "
        text += f"{'beyond' if beyond else 'closest to'} the bound at step {self.step}: {self.loss:.2g} of {self.loss_bound:.2g}"
        if self.weights is None:
            return text
        return f"{text}; the last weights by {self.weights:.2g} of the way they went, of {self.weights_bound:.2g}"

    @staticmethod
    def said() -> str:
        """How the bound is made, in a sentence."""
        how = f"{FACTOR:.0f} times what moving each weight by its last bit before each step does to this run"
        return f"{how}, at most {CAP:.0%} of the loss and of the way the weights went"


def nudge(training: Training) -> None:
    """Moves every trainable weight to the next number above or below, drawn by (seed, step, weight). In place."""
    seed, step = training.run.recipe.seed, training.at.step
    for number, parameter in enumerate(training.setup.model.parameters()):
        array = parameter.array
        if parameter.requires_grad and array.dtype in (np.float32, np.float64):
            up = random.key(seed, "nudge", step, number).bernoulli(0.5, array.shape)
            towards = np.where(up, np.inf, -np.inf).astype(array.dtype)
            parameter.array[...] = np.nextafter(array, towards)
            parameter._bump()


def beyond_cap(old: np.ndarray, new: np.ndarray) -> int | None:
    """The first step (from 1) at which losses are further apart than any bound allows, or None.

    Example:
        >>> beyond_cap(np.array([1.0, 1.0]), np.array([1.0, 1.3]))
        2
    """
    count = min(len(old), len(new))
    far = np.flatnonzero(np.abs(old[:count] - new[:count]) > CAP * np.abs(new[:count]).mean())
    return int(far[0]) + 1 if len(far) else None


def bounds(again: np.ndarray, nudged: np.ndarray) -> np.ndarray:
    """The bound of each step's loss, (T,), from the losses of the repeated run and of the nudged one.

    Example:
        >>> bounds(np.array([1.0, 1.0]), np.array([1.0, 1.001])).round(6).tolist()
        [8e-06, 0.064]
    """
    carried = np.maximum.accumulate(np.abs(nudged - again))
    floor = _ULP * np.maximum.accumulate(np.abs(again))
    allowed = np.minimum(FACTOR * np.maximum(carried, floor), CAP * np.abs(again).mean())
    return np.maximum(allowed, np.finfo(np.float64).tiny)  # losses of nothing but zeros


def judge(
    old: np.ndarray, new: np.ndarray, allowed: np.ndarray, weights: float | None = None, weights_bound: float = CAP
) -> Bound:
    """Holds two runs against the bound.

    Args:
        old, new: the losses of each step, (T,).
        allowed: what ``bounds`` gave, (T,).
        weights: the distance of the last weights as a share of the way they went, where it is known.
        weights_bound: what is allowed there.

    Example:
        >>> print(judge(np.array([1.0, 0.9]), np.array([1.0, 0.8]), np.array([0.01, 0.02])))
        losses differ by 0.1 at most; beyond the bound at step 2: 0.1 of 0.02
    """
    apart = np.abs(old - new)
    outside = np.flatnonzero(apart > allowed)
    at = int(outside[0]) if len(outside) else int((apart / allowed).argmax())
    holds = not len(outside) and (weights is None or weights <= weights_bound)
    limit = None if weights is None else weights_bound
    return Bound(holds, at + 1, float(apart[at]), float(allowed[at]), float(apart.max()), weights, limit)
