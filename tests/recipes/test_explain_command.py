"""``nyala explain``: pictures in, one picture out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nyala.recipes.cli import main
from PIL import Image

VISION = Path(__file__).parents[1] / "goldens" / "vision"


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return str(path)


def test_a_picture_is_drawn_and_a_table_printed(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "where.png"
    assert main(["explain", str(VISION / "resnet_basic"), photo, photo, "--output", str(out), "--label", "3"]) == 0
    said = capsys.readouterr()
    assert "photo.png" in said.out and "class 3" in said.out and f"drew {out}" in said.err
    with Image.open(out) as drawn:
        assert drawn.format == "PNG" and drawn.height > 700


def test_json_and_a_finer_grid(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(VISION / "dinov2_timm")
    assert (
        main(["explain", name, photo, "--output", str(tmp_path / "a.png"), "--size", "64", "--method", "rollout", "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["results"][0]["method"] == "rollout" and np.shape(found["results"][0]["grid"]) == (8, 8)


def test_mistakes_are_told_before_the_work(photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(VISION / "resnet_basic")
    assert main(["explain", name, photo, "--output", str(tmp_path / "a.txt")]) == 2
    assert "is no picture file" in capsys.readouterr().err
    assert main(["explain", name, str(tmp_path / "none.png"), "--output", str(tmp_path / "a.png")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["explain", name, photo, "--method", "attention", "--output", str(tmp_path / "a.png")]) == 2
    assert "has no patches" in capsys.readouterr().err and not (tmp_path / "a.png").exists()
