"""A tokenizer that is made of the training part, for a model that starts from nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ...core.errors import ArgumentError, RecipeError
from ...hub.files import Files
from ...hub.pipeline import Pipeline
from ...text.pipelines.batching import longest_of
from ...text.tokenizers.training import train_tokenizer
from ..language.schema import Model
from .datasets import Source

_FILES = ("tokenizer", "vocab", "merges", "special_tokens_map", "added_tokens", "spiece", "spm", "source", "target")


def with_new_tokenizer(pipeline: Pipeline, source: Source, recipe: Model) -> Pipeline:
    """The pipeline with a tokenizer that is made of the training part, where the recipe asks for one.

    Raises:
        RecipeError: weights that know another vocabulary, or a model of fewer tokens.
    """
    wanted = recipe.tokenizer
    if wanted is None:
        return pipeline
    model: Any = pipeline.model
    if not recipe.random_init:
        raise RecipeError(
            "model.tokenizer: a new vocabulary for weights that were trained with another",
            why="its numbers would mean other tokens",
            fix="set model.random_init=true, or leave the tokenizer out",
        )
    if wanted.vocab_size > model.config.vocab_size:
        raise RecipeError(
            f"model.tokenizer.vocab_size is {wanted.vocab_size}, the model has {model.config.vocab_size} tokens",
            fix=f"set model.sizes.vocab_size={wanted.vocab_size}",
        )
    numbers = {name: getattr(model.config, name, None) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    if not getattr(model, "encode", None):
        numbers["bos_token_id"] = None
    length = recipe.max_length or longest_of(pipeline.model)
    try:
        made = train_tokenizer(
            _texts(source.train.inputs), wanted.vocab_size, numbers, sentinels=wanted.sentinels, max_length=length
        )
    except ArgumentError as error:
        raise RecipeError(f"model.tokenizer: {error.what}", why=error.why, fix=error.fix) from error
    files = pipeline.files
    kept = Files(
        {name: path for name, path in files.items() if not name.startswith(_FILES)} if files is not None else {},
        origin=files.origin if files is not None else "a recipe",
        revision=files.revision if files is not None else "",
        hashes=files.hashes if files is not None else {},
    )
    return replace(pipeline, preprocess=made.replace(too_long="cut"), files=kept)


def _texts(inputs: Sequence[Any]) -> Iterator[str]:
    for value in inputs:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple) and all(isinstance(part, str) for part in value):
            yield from value
        else:
            raise RecipeError(
                "model.tokenizer: these data are no plain texts", fix="leave it out: the model's own tokenizer is then used"
            )
