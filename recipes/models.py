"""The pretrained model of a recipe: loaded by name, with its new head and the preprocessing the recipe asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core import random
from ..core.errors import RecipeError
from ..hub.client import fetch_resolved, resolve
from ..hub.load import load as hub_load
from ..hub.load import published_classes, read_config
from ..hub.pipeline import Pipeline
from . import hashing
from .schema import Model

_DOMAINS = {"image": "vision", "text": "text"}
_TASKS = {"image": "image-classification", "text": "text-classification"}


def load(recipe: Model, kind: str, classes: int, seed: int) -> tuple[Pipeline, list[str]]:
    """Loads a recipe's model.

    Args:
        recipe: the ``[model]`` table.
        kind: of the data, ``image`` or ``text``.
        classes: how many classes the head must tell apart.
        seed: what new weights are drawn by.

    Returns:
        The pipeline, and the parameter names of its classifier.

    Raises:
        RecipeError: a head that does not fit and may not be new, or a model for another kind of data.
    """
    check_kind(recipe, kind)
    with random.step_scope(seed, 0):
        given: dict[str, Any] = dict(recipe.dropout)
        if recipe.new_head:
            given["num_classes"] = classes
        pipeline = hub_load(recipe.name, random_init=recipe.random_init, task=_TASKS[kind], **given)
        if recipe.new_head:  # loading keeps a published head that has the right size by chance
            pipeline.model.reset_head(classes)
    _check_head(recipe, pipeline, classes)
    return _prepared(recipe, pipeline, kind), list(pipeline.model.head_names())


def check_kind(recipe: Model, kind: str) -> None:
    """The model is for the kind of data that the recipe has.

    Raises:
        RecipeError: it is not.
    """
    resolved = resolve(recipe.name)
    if resolved.card is not None:
        domain: str = resolved.card.domain
    else:
        domain = "text" if "model_type" in read_config(fetch_resolved(resolved), None) else "vision"
    if domain != _DOMAINS[kind]:
        raise RecipeError(
            f"model.name: {recipe.name} is a {domain} model and the data are {kind}s",
            fix=f"choose a {_DOMAINS[kind]} model: `nyala list --domain {_DOMAINS[kind]}`",
        )


def _check_head(recipe: Model, pipeline: Pipeline, classes: int) -> None:
    found = published_classes(pipeline.config)
    if not recipe.new_head and found != classes:
        raise RecipeError(
            f"model.new_head is false, but {recipe.name} tells {found} classes apart and the data have {classes}",
            fix="set model.new_head=true",
        )


def _prepared(recipe: Model, pipeline: Pipeline, kind: str) -> Pipeline:
    """The pipeline with the recipe's picture size or text length."""
    if kind == "image":
        changed: dict[str, Any] = {}
        if recipe.image_size is not None:
            changed["size"] = (recipe.image_size, recipe.image_size)
        if recipe.crop_pct is not None:
            changed["crop_pct"] = recipe.crop_pct
        return replace(pipeline, preprocess=replace(pipeline.preprocess, **changed)) if changed else pipeline  # type: ignore[type-var]
    if recipe.max_length is None or pipeline.files is None:
        return pipeline
    from ..text.tokenizer import Tokenizer

    longest = int(pipeline.model.config.max_position_embeddings)
    if recipe.max_length > longest:
        raise RecipeError(
            f"model.max_length is {recipe.max_length}", why=f"{recipe.name} has {longest} positions", fix=f"at most {longest}"
        )
    return replace(pipeline, preprocess=Tokenizer.from_files(pipeline.files, recipe.max_length))


def hashes(pipeline: Pipeline) -> dict[str, str]:
    """File -> sha256 of what the model was loaded from."""
    files = pipeline.files
    return {name: hashing.of_file(files[name]) for name in sorted(files)} if files is not None else {}
