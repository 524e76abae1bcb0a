"""The hash of a recipe: the same for ever, however the schema grows."""

from __future__ import annotations

import msgspec
import pytest
from nyala.recipes.language import identity, schema
from nyala.recipes.language.schema import Data, Model, Recipe, Train, digest

# Computed when every field there was went into the hash: run folders of that time hold such hashes.
OLD = {
    "adamw": "c1a12fcea7cd6bc64a672b8e2dfb3f3ffe8a14cb5d2b6c121a0ac9d2f069fae3",
    "muon": "de07c40b68d884837c5ddf4452faa9d902dad426d2f9f59882d881c768b87634",
    "sgd": "84c89111ab6ce82678dd041f5f719c7a4167fa9f3121a867d3875490ee2d42db",
}


def recipe(**changes: object) -> Recipe:
    tables = {"data": Data(name="a"), "model": Model(name="b"), "train": Train(epochs=2)}
    return Recipe(schema=1, **(tables | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OLD)
def test_recipes_of_the_first_schema_keep_their_hash(name: str) -> None:
    made = {
        "adamw": recipe(),
        "muon": recipe(
            optim=schema.Muon(lr_scale={"@head": 2.0}),
            schedule=schema.Plateau(),
            data=Data(name="a", augment=[schema.HorizontalFlip(), schema.RandomErasing()]),
            train=Train(steps=3, early_stop=schema.EarlyStop(), ema=0.9),
        ),
        "sgd": recipe(optim=schema.Sgd(), schedule=schema.OneCycle(), model=Model(name="b", dropout={"drop_rate": 0.1})),
    }[name]
    assert digest(made) == OLD[name]


def test_what_cannot_change_a_result_is_not_in_the_hash() -> None:
    same = recipe(data=Data(name="a", workers=7), description="other", run=schema.RunFolder(folder="x"))
    assert digest(same) == digest(recipe()) != digest(recipe(seed=1))


class Newer(msgspec.Struct, frozen=True):
    """A table as a later schema may have it."""

    a: int
    b: int = 1
    c: list[int] = []


def test_a_newer_field_counts_only_where_it_is_not_at_its_default() -> None:
    assert identity.tree_of(Newer(a=1)) == {"a": 1}
    assert identity.tree_of(Newer(a=1, b=2, c=[3])) == {"a": 1, "b": 2, "c": [3]}
