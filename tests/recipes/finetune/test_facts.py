"""What the rules look at: counted and measured on the data and the model themselves."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from nyala.recipes.data.datasets import Part
from nyala.recipes.finetune import facts
from nyala.recipes.finetune.facts import examine
from nyala.recipes.language import config


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """``start(model, data, *overrides)``: the facts of a recipe over them."""

    def look(model: Path, data: Path, *overrides: str) -> facts.Facts:
        path = tmp_path / "start.toml"
        path.write_text("schema = 1\n[train]\nsteps = 1\nbest = { use = 'last' }\n")
        said = [f'model.name="{model}"', f'data.name="{data}"', *overrides]
        return examine(config.load(path, said).recipe)[0]

    return look


def test_pictures_and_their_model(start: Any, tiny_model: Path, tiny_data: Path) -> None:
    found = start(tiny_model, tiny_data)
    assert (found.kind, found.classes, found.counts) == ("image", ["blue", "green", "red"], [14, 14, 14])
    assert (found.train, found.validation, found.test, found.own_validation) == (42, 6, 12, False)
    assert (found.side, found.grey, found.native, found.flexible) == (16, False, 16, True)
    assert found.top == ["fc"] and found.upper[-1] == "fc" and len(found.upper) > 1 and found.memory > 0
    assert any("14 training samples each" in line for line in found.lines())


def test_texts_and_their_model(start: Any, tiny_bert: Path, moods: Path) -> None:
    found = start(tiny_bert, moods, "data.columns={text=['words'], label='mood'}")
    assert (found.kind, found.positions, found.width, found.native) == ("text", 48, 16, 0)
    assert 3 < found.tokens <= found.longest <= 48 and found.per_class == found.train / 2
    assert set(found.top) == {"bert.pooler", "classifier"}


def test_texts_in_both_parts_are_told(start: Any, tiny_bert: Path, tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("text,label\n" + "".join(f"sun {i},{'ab'[i % 2]}\n" for i in range(20)))
    test.write_text("text,label\nsun 1,a\nrain,b\n")
    found = start(tiny_bert, train, f'data.test="{test}"', "data.validation_fraction=0")
    assert found.notes == ["1 of 2 test texts also stand in the training part: the result is flattered"]


def test_sizes_come_from_files_bytes_and_arrays(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (30, 50)).save(tmp_path / "grey.png")
    grey = np.zeros((20, 10), np.uint8)
    several = [tmp_path / "grey.png", (tmp_path / "grey.png").read_bytes(), grey]
    assert facts._sides(Part(several, np.zeros(3, np.int64))) == ([30, 30, 10], True)
    assert facts._sides(Part([np.zeros((8, 9, 3), np.uint8)], np.zeros(1, np.int64))) == ([8], False)


def test_patterns_cover_exactly_the_upper_layers() -> None:
    layer = {"a.w": 0, "b.0.w": 1, "b.1.w": 2, "b.1.v": 2, "b.10.w": 3, "c.d.w": 3, "c.e.w": 1}
    assert facts._patterns(layer, 2) == ["b.1", "b.10", "c.d"]
    assert facts._patterns(layer, 0) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("model", "data", "card", "pins"),
    [
        ("org/m", "org/d@main", None, {"data.name": "org/d@dc", "model.name": "org/m@mc"}),
        ("org/m", "here.csv", object(), {}),
    ],
)
def test_what_comes_from_a_hub_is_pinned(model: str, data: str, card: Any, pins: dict[str, str]) -> None:
    recipe = SimpleNamespace(data=SimpleNamespace(name=data), model=SimpleNamespace(name=model))
    pipeline = SimpleNamespace(files=SimpleNamespace(revision="mc"), card=card)
    assert facts._pins(recipe, "dc" if "/" in data else "", pipeline) == pins  # type: ignore[arg-type]
