"""Patterns over names: what they cover, and that none may miss."""

from __future__ import annotations

import pytest
from nyala.errors import RecipeError
from nyala.recipes.language.patterns import select

NAMES = [
    "stem.weight",
    "blocks.0.conv.weight",
    "blocks.1.conv.weight",
    "blocks.1.bn.bias",
    "blocks.10.conv.weight",
    "fc.weight",
    "fc.bias",
]
HEAD = ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [("*", 7), ("blocks", 4), ("blocks.1", 2), ("blocks.[01]", 3), ("*.bias", 2), ("fc.weight", 1), ("@head", 2), ("*.conv", 3)],
)
def test_a_pattern_covers_names_and_all_below_a_module(pattern: str, count: int) -> None:
    assert len(select([pattern], NAMES, HEAD, "model.freeze")[pattern]) == count


def test_patterns_without_a_match_are_named_together() -> None:
    with pytest.raises(
        RecipeError, match=r"model.freeze: nothing is called 'block\.1'; model.freeze: nothing is called 'tail'"
    ) as caught:
        select(["block.1", "stem", "tail"], NAMES, HEAD, "model.freeze")
    assert "did you mean 'blocks.1'" in str(caught.value)
