"""The pretrained model of a recipe: loaded by name, with its new head and the preprocessing the recipe asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...core import random
from ...core.errors import ArgumentError, RecipeError
from ...hub import registry
from ...hub.client import fetch_resolved, resolve
from ...hub.load import HEAD, published_classes, read_config
from ...hub.load import load as hub_load
from ...hub.pipeline import Pipeline, Unavailable
from ..data.kinds import Kind
from ..language.schema import Model
from ..proof import hashing


def load(recipe: Model, kind: Kind, classes: int, seed: int) -> tuple[Pipeline, list[str]]:
    """Loads a recipe's model.

    Args:
        recipe: the ``[model]`` table.
        kind: of the data.
        classes: how many classes the head must tell apart; 0 for a model without a head.
        seed: what new weights are drawn by.

    Returns:
        The pipeline, and the parameter names of its classifier.

    Raises:
        RecipeError: a head that does not fit and may not be new, or a model for another kind of data.
    """
    check_kind(recipe, kind)
    if classes and not recipe.new_head:
        _check_head(recipe, classes)
    with random.step_scope(seed, 0):
        given: dict[str, Any] = {**recipe.dropout, **recipe.sizes}
        new_head = recipe.new_head and classes > 0
        if new_head:
            given["num_classes"] = classes
        elif kind.new_head(config_of(recipe)):
            given["new_head"] = [HEAD]
        pipeline = hub_load(recipe.name, random_init=recipe.random_init, task=kind.task_name, **given)
        if new_head:  # loading keeps a published head that has the right size by chance
            pipeline.model.reset_head(classes)
    kind.trim(pipeline.model)
    return prepared(recipe, pipeline, kind), list(pipeline.model.head_names())


def config_of(recipe: Model) -> dict[str, Any]:
    """What the model's ``config.json`` says, before any weight is read; of an architecture alone, what its card says."""
    resolved = resolve(recipe.name)
    if recipe.random_init and resolved.card is not None and resolved.card.config:
        return dict(resolved.card.config)
    return read_config(fetch_resolved(resolved), resolved.card)


def check_kind(recipe: Model, kind: Kind) -> None:
    """The model is for the kind of data that the recipe has.

    Raises:
        RecipeError: it is not.
    """
    resolved = resolve(recipe.name)
    if resolved.card is not None:
        domain: str = resolved.card.domain
    else:
        files = fetch_resolved(resolved)
        domain = registry.domain_of(registry.architecture_of(read_config(files, None), files.origin))
    if domain != kind.domain:
        raise RecipeError(
            f"model.name: {recipe.name} is for {domain} and the data are {kind.plural}",
            fix=f"choose a model for {kind.domain}: `nyala list --domain {kind.domain}`",
        )


def _check_head(recipe: Model, classes: int) -> None:
    """The classifier that is to be kept tells as many classes apart as the data have; known before any weight is read."""
    found = published_classes(config_of(recipe))
    if found != classes:
        raise RecipeError(
            f"model.new_head is false, but {recipe.name} tells {found} classes apart and the data have {classes}",
            fix="set model.new_head=true",
        )


def prepared(recipe: Model, pipeline: Pipeline, kind: Kind) -> Pipeline:
    """The pipeline with the recipe's size of pictures, or length of texts or sounds, and what it says of the results."""
    found: Pipeline = kind.settled(_sized(recipe, pipeline, kind), recipe)
    return found


def _sized(recipe: Model, pipeline: Pipeline, kind: Kind) -> Pipeline:
    if kind.domain == "audio":
        return pipeline if recipe.max_seconds is None else _hearing(recipe, pipeline)
    if kind.domain == "vision":
        changed: dict[str, Any] = {}
        if recipe.image_size is not None:
            changed["size"] = (recipe.image_size, recipe.image_size)
        if recipe.crop_pct is not None:
            if not hasattr(pipeline.preprocess, "crop_pct"):
                raise RecipeError(f"model.crop_pct: {recipe.name} sees whole pictures", fix="leave it out")
            changed["crop_pct"] = recipe.crop_pct
        return replace(pipeline, preprocess=replace(pipeline.preprocess, **changed)) if changed else pipeline  # type: ignore[type-var]
    if kind.domain != "text" or isinstance(pipeline.preprocess, Unavailable):
        return pipeline
    from ...text.pipelines.batching import longest_of

    longest, tokenizer = longest_of(pipeline.model), pipeline.preprocess
    if (recipe.max_length or 0) > longest:
        raise RecipeError(
            f"model.max_length is {recipe.max_length}", why=f"{recipe.name} has {longest} positions", fix=f"at most {longest}"
        )
    length = recipe.max_length or tokenizer.max_length  # type: ignore[attr-defined]
    return replace(pipeline, preprocess=tokenizer.replace(max_length=length, too_long="cut"))  # type: ignore[attr-defined]


def _hearing(recipe: Model, pipeline: Any) -> Pipeline:
    """The pipeline on shorter sounds.

    Raises:
        RecipeError: longer ones than the weights can hear, or a model that hears sounds of any length.
    """
    if not hasattr(pipeline, "hearing"):
        raise RecipeError(f"model.max_seconds: {recipe.name} hears sounds of any length", fix="leave it out")
    try:
        found: Pipeline = pipeline.hearing(recipe.max_seconds)
    except ArgumentError as error:
        raise RecipeError(f"model.max_seconds is {recipe.max_seconds:g}: {error.what}", why=error.why, fix=error.fix) from error
    return found


def hashes(pipeline: Pipeline) -> dict[str, str]:
    """File -> sha256 of what the model was loaded from."""
    files = pipeline.files
    return {name: hashing.of_file(files[name]) for name in sorted(files)} if files is not None else {}
