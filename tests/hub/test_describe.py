"""Cards for people: every fact is there, and lines fit a terminal."""

from __future__ import annotations

import re

import pytest
from nyala.hub.cards import Card
from nyala.hub.catalogue import list_models
from nyala.hub.describe import describe


@pytest.mark.parametrize("card", list_models(), ids=lambda c: c.name)
@pytest.mark.parametrize("width", [60, 80])
def test_every_card_fits_the_screen_and_leaves_nothing_out(card: Card, width: int) -> None:
    text = describe(card, width)
    for line in text.splitlines():
        assert len(line) <= width or re.search(r"[0-9a-f]{40}|model hub|Python package|is when it is first fetched", line), line
    flat = " ".join(text.split())
    for fact in [card.name, card.license, card.task, card.citation, f"{card.params:,}", *card.aliases]:
        assert fact in flat
    for source in card.sources:
        assert source.label in flat
        assert all(file.sha256 in flat for file in source.files.values())
    for name, value in card.metrics.items():
        assert str(value) in flat, name
    assert all(name in flat for name in card.preprocessing)


def test_what_nobody_could_check_is_said() -> None:
    text = describe(next(c for c in list_models() if c.name == "tf_efficientnet_lite0"))
    assert "1. model hub timm/tf_efficientnet_lite0.in1k\n   the commit that 'main' is when it is first fetched\n" in text
    assert (
        "each file has the sha256 below it\n     efficientnet-lite0-57934424.pth  18,826,032 bytes\n       579344248a93" in text
    )
    assert "labels         1000: tench, goldfish, great white shark, ..." in text
