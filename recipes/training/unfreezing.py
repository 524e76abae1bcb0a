"""Gradual unfreezing: at which step each parameter begins to learn (Howard & Ruder, arXiv:1801.06146).

It is a function of the step alone, so a run that goes on later needs no memory of it. A parameter that is frozen gets no
gradient, and the optimizer leaves it and its state alone: its first moments begin with its first gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ...core.errors import RecipeError
from ...core.nn import Module
from ..language import patterns
from ..language.schema import Layerwise, Stages


def starts(
    model: Module, recipe: Layerwise | Stages | None, head: Sequence[str], steps_per_epoch: int
) -> dict[str, int]:  # fmt: skip
    """The step from which each parameter learns; everything that ever will is switched on, for the optimizer to be built.

    Args:
        model: frozen as ``[model]`` says.
        recipe: ``train.unfreeze``; with None nothing changes and nothing is returned.
        head: parameter names of the classifier.
        steps_per_epoch: what epochs are counted in.

    Raises:
        RecipeError: a pattern that fits no parameter, or no frozen one.
    """
    if recipe is None:
        return {}
    named = dict(model.named_parameters())
    if isinstance(recipe, Stages):
        found = _staged(named, recipe, head, steps_per_epoch)
    else:
        found = _layered(model, [n for n, p in named.items() if p.requires_grad], recipe, head, steps_per_epoch)
    for name in found:
        named[name].requires_grad_(True)
    return found


def _staged(named: Mapping[str, object], recipe: Stages, head: Sequence[str], steps_per_epoch: int) -> dict[str, int]:
    found = {name: 0 for name, p in named.items() if p.requires_grad}  # type: ignore[attr-defined]
    for i, stage in enumerate(recipe.stages):
        step = stage.step if stage.step is not None else (stage.epoch or 0) * steps_per_epoch
        for pattern, hit in patterns.select(stage.patterns, named, head, f"train.unfreeze.stages[{i}]").items():
            late = [name for name in hit if found.get(name, step + 1) > step]
            if not late:
                raise RecipeError(
                    f"train.unfreeze.stages[{i}]: what {pattern!r} fits learns already",
                    why="the stage would change nothing",
                    fix="freeze it with model.freeze, or remove the stage",
                )
            found |= dict.fromkeys(late, step)
    return found


def _layered(
    model: Module, trainable: Sequence[str], recipe: Layerwise, head: Sequence[str], steps_per_epoch: int
) -> dict[str, int]:  # fmt: skip
    every = recipe.every_steps or max(1, round(recipe.every_epochs * steps_per_epoch))
    depth = {name: model.layer_of(name) for name in trainable}
    for name in set(head) & depth.keys():  # the head learns first, and alone
        depth[name] = max(depth.values()) + 1 if depth[name] < max(depth.values()) else depth[name]
    levels = sorted({*depth.values()}, reverse=True)
    if len(levels) < 2:
        raise RecipeError(
            "train.unfreeze: only one layer learns", why="there is nothing to unfreeze", fix="freeze less, or remove it"
        )
    return {name: math.ceil(levels.index(d) / recipe.layers) * every for name, d in depth.items()}


def apply(model: Module, starting: Mapping[str, int], step: int) -> list[str]:
    """Lets learn what learns in update number ``step`` (counted from 0); returns what begins with it."""
    if not starting:
        return []
    named = dict(model.named_parameters())
    for name, first in starting.items():
        named[name].requires_grad_(step >= first)
    return [name for name, first in starting.items() if first == step and step]


def never(starting: Mapping[str, int], total_steps: int) -> list[str]:
    """A line for what would begin to learn after the last step."""
    late = [name for name, first in starting.items() if first >= total_steps]
    if not late:
        return []
    first = min(starting[name] for name in late)
    return [
        f"train.unfreeze: {len(late)} of {len(starting)} parameters never learn: the run has {total_steps} steps, and the first "
        f"of them would begin after {first}"
    ]
