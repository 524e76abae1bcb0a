"""Freezing by pattern: which parameters learn, and which modules stay in eval mode because nothing in them does."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import GradError, RecipeError
from ...core.nn import Module
from ..language import patterns
from ..language.schema import Model


def freeze(model: Module, recipe: Model, head: Sequence[str]) -> None:
    """Sets ``requires_grad`` as ``model.freeze`` and then ``model.unfreeze`` say.

    A frozen prefix of the network then records no graph by itself: none of its inputs asks for a gradient.

    Raises:
        RecipeError: a pattern without a match, or nothing left to train.
    """
    named = dict(model.named_parameters())
    for key, wanted, value in (("freeze", recipe.freeze, False), ("unfreeze", recipe.unfreeze, True)):
        for names in patterns.select(wanted, named, head, f"model.{key}").values():
            for name in names:
                named[name].requires_grad_(value)
    if not any(p.requires_grad for p in named.values()):
        raise RecipeError("model.freeze leaves nothing to train", fix='unfreeze something, e.g. model.unfreeze=["@head"]')


def train_mode(model: Module) -> None:
    """``train()``, but a module of whose parameters none learns stays in ``eval()``: its batch norms keep their statistics."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def check_gradients(model: Module) -> None:
    """Every parameter that should learn got a gradient.

    Raises:
        GradError: naming those that did not: they are not on the way to the loss.
    """
    lost = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if lost:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        drops = getattr(getattr(model, "config", None), "layerdrop", 0)
        raise GradError(
            f"no gradient reaches {', '.join(lost[:5])}{more}",
            why="these parameters are trainable but do not take part in the loss, so they would silently never learn"
            if not drops
            else f"the model leaves out whole layers at random in training (layerdrop={drops:g})",
            fix="set model.dropout={layerdrop=0.0}" if drops else "freeze them with model.freeze, or correct the model",
        )
