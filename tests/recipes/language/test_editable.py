"""A recipe written out to be edited: it reads as the same recipe, with every key explained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nyala.recipes import catalog
from nyala.recipes.language import config
from nyala.recipes.language.editable import to_toml

CHANGES = {
    "as it is": [],
    "an optional table of defaults": ["data.validation_fraction=0.1", "train.early_stop={}", "train.watchdog={window=7}"],
    "another optimizer": ["optim.type=muon", "optim.adamw_lr=0.1", "schedule={type='one_cycle', pct_start=0.2}"],
    "lists and names": [
        "data.columns.text=['a', 'b']",
        "model.freeze=['*']",
        "model.unfreeze=['@head']",
        'description="a \\"b\\""',
    ],
}


@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("everything", [False, True])
def test_it_reads_as_the_same_recipe(name: str, change: list[str], everything: bool, tmp_path: Path) -> None:
    loaded = config.load(name, change)
    path = tmp_path / "again.toml"
    path.write_text(to_toml(loaded, everything=everything))
    assert config.load(path).recipe == loaded.recipe


def test_what_could_be_set_stands_there_as_a_comment() -> None:
    text = to_toml(config.load("vision/fashion-lite0"), everything=True)
    assert "\n# mixup = 0.0\n" in text and "\n# [train.early_stop]\n" in text and "\n# ema = ...\n" in text
    assert "# Blends pairs of pictures" in text
    assert "mixup" not in to_toml(config.load("vision/fashion-lite0"))


def test_every_commented_key_can_be_switched_on(tmp_path: Path) -> None:
    """Taking the # away from a key with a default changes nothing, and breaks nothing."""
    loaded = config.load("text/spam-minilm")
    lines = to_toml(loaded, everything=True).splitlines()
    telling = ("# [data.masked]", "# [data.spans]", "# [model.tokenizer]", "# [train.distill]")  # they change what the run does
    for table in telling:
        start = lines.index(table)
        del lines[start : lines.index("", start)]
    tables = ("# [train.watchdog]", "# [train.early_stop]", "# [model.adapter]")
    lines = lines[: next((i for i, line in enumerate(lines) if line in tables), None)]  # what follows would belong to these
    key = re.compile(r"# (\[[\w.]+\]|\w+ = .*)")
    on = [line[2:] if key.fullmatch(line) else line for line in lines]
    path = tmp_path / "on.toml"
    path.write_text("\n".join(line for line in on if not line.endswith("= ...")) + '\n[train.best]\nuse = "last"\n')
    assert config.load(path).recipe == loaded.recipe


def test_a_reason_stands_in_place_of_the_documentation() -> None:
    text = to_toml(config.load("vision/fashion-lite0"), ["first line"], {"optim.lr": "because"})
    assert text.startswith("# first line\n") and "# because\nlr = 0.001\n" in text


def test_a_value_that_was_chosen_stays_though_it_is_the_default() -> None:
    assert "lr = 0.001" in to_toml(config.load("vision/fashion-lite0"))
    assert "workers" not in to_toml(config.load("vision/fashion-lite0"))
