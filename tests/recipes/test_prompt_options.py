"""``nyala predict`` with points and boxes, and depth maps, on tiny random models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nyala.recipes.cli import main
from PIL import Image

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)).save(path)
    return str(path)


def test_points_and_boxes_reach_the_model(picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sam, drawn = str(GOLDENS / "sam"), tmp_path / "out.png"
    assert main(["predict", sam, picture, "--point", "40,30", "--not-point", "5,5", "--output", str(drawn), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert found["size"] == [90, 60] and len(found["masks"]) == 1 and Image.open(drawn).size[0] > 90
    boxes = ["--box", "0,0,40,40", "--box", "30,30,90,60", "--masks", str(tmp_path / "masks")]
    assert main(["predict", sam, picture, *boxes, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"][0]["masks"]) == 2
    assert np.asarray(Image.open(tmp_path / "masks" / "a.png")).shape == (60, 90)


def test_depth_is_drawn_and_told(picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(GOLDENS / "depth_anything"), picture, "--output", str(tmp_path / "d.png"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert np.shape(found["depth"]) == (60, 90) and not found["metric"]
    assert np.max(found["depth"]) == pytest.approx(found["nearest"]["depth"], abs=1e-5)


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        ("sam", ["--point", "40"], "--point 40: it takes 2 numbers"),
        ("sam", ["--box", "1,2,x,4"], "--box 1,2,x,4: it takes 4 numbers"),
        ("sam", ["--point", "140,2"], "the picture has 90 x 60 pixels"),
        ("vit", ["--point", "4,2"], "takes no points and boxes"),
    ],
)
def test_options_that_cannot_be(
    model: str, options: list[str], text: str, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(GOLDENS / model), picture, *options]) == 2
    assert text in capsys.readouterr().err
