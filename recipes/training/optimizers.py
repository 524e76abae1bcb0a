"""The optimizer a recipe asks for: parameter groups with their rates and decays, and what Muon leaves to AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core import optim
from ...core.nn import Module, Parameter
from ..language import patterns
from ..language.schema import Adafactor, Adam, AdamW, Lamb, Lion, Muon, Optim, Sgd


def groups(model: Module, recipe: Optim, head: Sequence[str]) -> list[dict[str, Any]]:
    """Parameter groups: one for each pair of rate factor and weight decay. Frozen parameters are in none.

    Args:
        model: the model, already frozen as the recipe says.
        recipe: the optimizer's table.
        head: the parameter names of the classifier.

    Returns:
        Groups with ``params`` as (name, parameter) pairs, ``lr`` and ``weight_decay``.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    factors = rate_factors(model, recipe, head, list(named))
    buckets: dict[tuple[float, bool], list[str]] = {}
    for name, parameter in named.items():
        buckets.setdefault((factors[name], decays(name, parameter)), []).append(name)
    return [
        {
            "params": [(n, named[n]) for n in names],
            "lr": recipe.lr * factor,
            "weight_decay": recipe.weight_decay if decayed else 0.0,
        }
        for (factor, decayed), names in buckets.items()
    ]


def decays(name: str, parameter: Parameter) -> bool:
    """Weight decay is for matrices and filters: norms and biases, which have one dimension, are left alone, and lengths too."""
    return parameter.ndim > 1 and not name.endswith((".bias", ".lora_magnitude_vector"))


def rate_factors(model: Module, recipe: Optim, head: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """What each parameter's rate is multiplied by: layer decay, then ``lr_scale``."""
    factors = dict.fromkeys(names, 1.0)
    if recipe.layer_decay is not None:
        factors |= {n: f for n, f in _layer_factors(model, recipe.layer_decay).items() if n in factors}
    for pattern, hit in patterns.select(list(recipe.lr_scale), names, head, "optim.lr_scale").items():
        for name in hit:
            factors[name] *= recipe.lr_scale[pattern]
    return factors


def _layer_factors(model: Module, decay: float) -> dict[str, float]:
    """The factors of the model's own ``param_groups(layer_decay=)``, by parameter name."""
    return {name: float(g["lr_scale"]) for g in model.param_groups(layer_decay=decay) for name in g["param_names"]}


def build(recipe: Optim, made: Sequence[dict[str, Any]], masters: bool = False) -> list[optim.Optimizer]:
    """The optimizers over ``made`` groups: one, or two where Muon leaves vectors, filters and embeddings to AdamW.

    With ``masters`` they keep float32 masters of parameters in half precision.
    """
    if masters:
        made = [{**group, "master_weights": True} for group in made]
    match recipe:
        case Sgd():
            return [optim.SGD(made, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)]
        case Adam():
            return [optim.Adam(made, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)]
        case AdamW():
            return [optim.AdamW(made, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)]
        case Lion():
            return [optim.Lion(made, lr=recipe.lr, betas=recipe.betas)]
        case Lamb():
            return [optim.LAMB(made, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)]
        case Adafactor():
            return [optim.Adafactor(made, lr=recipe.lr)]
        case Muon():
            return _muon(recipe, made)


def _muon(recipe: Muon, made: Sequence[dict[str, Any]]) -> list[optim.Optimizer]:
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for group in made:
        inner = [(n, p) for n, p in group["params"] if p.ndim == 2 and "embed" not in n]
        outer = [(n, p) for n, p in group["params"] if not (p.ndim == 2 and "embed" not in n)]
        matrices += [{**group, "params": inner}] if inner else []
        others += [{**group, "params": outer, "lr": group["lr"] / recipe.lr * recipe.adamw_lr}] if outer else []
    built: list[optim.Optimizer] = []
    if matrices:
        built.append(optim.Muon(matrices, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov))
    if others:
        built.append(optim.AdamW(others, lr=recipe.adamw_lr))
    return built
