"""Adapters in a run: attached as ``[model.adapter]`` says, saved in PEFT's layout, merged for the result."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from ...core.errors import NyalaError, RecipeError
from ...core.nn import Module, lora
from ...hub import adapters as files
from ...hub import registry
from ...hub.pipeline import Pipeline
from ..language import patterns
from ..language.schema import Dora, Model

# PEFT's words for what an adapter is for; others are left out.
_TASKS = {
    "text-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "sentence-embedding": "FEATURE_EXTRACTION",
    "text-generation": "CAUSAL_LM",
}


def attach(pipeline: Pipeline, recipe: Model, head: Sequence[str], seed: int) -> lora.Adapter | None:
    """Attaches the adapter that the recipe asks for to the pipeline's model; None where it asks for none.

    Everything else is frozen but a new head and what ``model.unfreeze`` names; ``model.freeze`` takes away from these.

    Raises:
        RecipeError: a pattern that fits nothing, or a layer that can have no adapter, or whose adapter could not be stored.
    """
    table = recipe.adapter
    if table is None:
        return None
    model = pipeline.model
    names = {**files.published_paths(model, _architecture(pipeline)), **files.published_parts(model, _architecture(pipeline))}
    learning = _learning(model, recipe, head)
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in learning))
    try:
        adapter = lora.attach(
            model,
            table.rank,
            table.alpha,
            table.targets or _every_linear(model, owners, names) or lora.ALL_LINEAR,
            table.dropout,
            dora=isinstance(table, Dora),
            rslora=table.rslora,
            train=owners,
            seed=seed,
        )
    except NyalaError as error:
        what = error.what.removeprefix("lora: ")
        raise RecipeError(f"model.adapter: {what}", why=error.why, fix=error.fix) from error
    _storable(adapter, names)
    for path, module in adapter.trained.items():
        for name, parameter in module.named_parameters(recurse=False):
            parameter.requires_grad_(f"{path}.{name}" in learning)
    return adapter


def _storable(adapter: lora.Adapter, names: Collection[str]) -> None:
    """That the adapter can be written, before hours of training and not after them.

    Raises:
        RecipeError: a layer that the published layout stores in another shape.
    """
    lost = [path for path in adapter.layers if path not in names]
    if lost:
        others = {_kind(path) for path in (*lora.inner_linears(adapter.model), *adapter.layers) if path in names}
        raise RecipeError(
            f"model.adapter.targets: {lost[0]} can have no adapter",
            why="the published layout stores its weight in another shape, so an adapter of it would fit nothing there",
            fix=f"choose among {', '.join(sorted(others))}",
        )


def _kind(path: str) -> str:
    """What layers of all blocks have in common: the end of their paths behind the last number."""
    return re.split(r"(?:^|\.)\d+\.", path)[-1]


def _every_linear(model: Module, owners: Sequence[str], names: Collection[str]) -> list[str]:
    """Every linear layer but the head, what learns whole, what has no published name, and what was frozen on loading: the
    objective has no use for that."""
    inner = [path for path in lora.inner_linears(model) if path not in owners and path in names]
    return [path for path in inner if model.get_submodule(path).weight.requires_grad]


def _learning(model: Module, recipe: Model, head: Sequence[str]) -> list[str]:
    """The parameters of the model's own that learn beside the adapter."""
    names = [name for name, _ in model.named_parameters()]
    found = set(head) if recipe.new_head else set()
    for hit in patterns.select(recipe.freeze, names, head, "model.freeze").values():
        found -= set(hit)
    for hit in patterns.select(recipe.unfreeze, names, head, "model.unfreeze").values():
        found |= set(hit)
    return [name for name in names if name in found]


def save(adapter: lora.Adapter, pipeline: Pipeline, recipe: Model, task: str, folder: Path) -> None:
    """Writes the adapter into ``folder`` as PEFT does, by the published names of its layers."""
    model, architecture = pipeline.model, _architecture(pipeline)
    names, parts = files.published_paths(model, architecture), files.published_parts(model, architecture)
    adapter.save(folder, base=base_name(pipeline, recipe), task_type=_TASKS.get(task), names=names, parts=parts)


def _architecture(pipeline: Pipeline) -> registry.Architecture:
    return registry.get(registry.architecture_of(pipeline.config))


def base_name(pipeline: Pipeline, recipe: Model) -> str:
    """What the base is called where others look for it: its repository on the hub, else its folder or its name."""
    card = pipeline.card
    if card is not None:
        return next((source.repo for source in card.sources if source.kind == "hub"), card.name)
    path = Path(recipe.name).expanduser()
    return str(path.resolve()) if path.is_dir() else recipe.name
