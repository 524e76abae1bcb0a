"""The task "image-explanation": pictures in, grids and drawings out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.hub.load import load
from nyala.vision.explaining.pipeline import Explanation, Explanations

VISION = Path(__file__).parents[2] / "goldens" / "vision"
PICTURE = np.random.default_rng(5).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def pipe(name: str) -> Any:
    return load(str(VISION / name), task="image-explanation")


def test_one_picture_or_several() -> None:
    look = pipe("resnet_basic")
    one = look(PICTURE)
    assert one.method == "grad-cam" and one.picture.shape == (48, 48, 3) and one.grid.shape == (2, 2)
    several = look([PICTURE, PICTURE[:, ::-1]], label="class 4")
    assert len(several) == 2 and {e.label for e in several} == {"class 4"}
    assert "picture 1" in repr(several) and "class 4" in repr(several)
    said = json.loads(json.dumps(several.to_dict()))
    assert said[1]["label"] == "class 4" and np.shape(said[1]["grid"]) == (2, 2) and 0 < said[1]["score"] < 1


def test_a_larger_picture_gives_a_finer_grid() -> None:
    assert pipe("resnet_basic").resized(128)(PICTURE).grid.shape == (4, 4)
    with pytest.raises(ArgumentError, match="at least 16"):
        pipe("resnet_basic").resized(8)


def test_components_share_their_colours_among_pictures() -> None:
    look = pipe("swin_bare").resized(32)
    found = look([PICTURE, PICTURE])
    assert found[0].method == "components" and found[0].grid.shape == (8, 8, 3)
    assert np.array_equal(found[0].grid, found[1].grid) and found[0].peak is None


def test_drawings(tmp_path: Path) -> None:
    from PIL import Image

    found = pipe("resnet_basic")([PICTURE, PICTURE])
    found.save(tmp_path / "where.png")
    with Image.open(tmp_path / "where.png") as sheet:
        assert sheet.size == (3 * 12 + 2 * 336, 12 + 2 * (336 + 26 + 12))
    bright = np.zeros((2, 2), np.float32)
    bright[0, 1] = 1
    grey = np.full((64, 64, 3), 128, np.uint8)
    one = Explanation(grey, bright, "grad-cam", "cat", 0.5)
    assert one.peak == (0.75, 0.25)
    drawn = np.asarray(Explanations([one], ["a"]).draw(), int)[38:-12, 24 + 336 : -12].sum(-1)
    quarter = {(i, j): drawn[84 + 168 * i, 84 + 168 * j] for i in (0, 1) for j in (0, 1)}
    assert max(quarter, key=lambda at: quarter[at]) == (0, 1)
    flat = Explanations([Explanation(grey, np.zeros((2, 2), np.float32), "grad-cam", "cat", 0.5)], ["a"])
    assert "nowhere" in repr(flat) and flat[0].peak is None and flat.draw().size[0] > 336


def test_classes_by_name_number_or_one_of_several_names() -> None:
    from dataclasses import replace

    look = replace(pipe("resnet_basic"), labels=("tabby, tabby cat", "Tiger Cat", *[f"c{i}" for i in range(8)]))
    assert [look.number(n) for n in ("tiger cat", "tabby", "tabby cat", "7", 7)] == [1, 0, 0, 7, 7]
    with pytest.raises(ArgumentError, match=r"no class 'tiger cats'.*did you mean 'Tiger Cat'"):
        look.number("tiger cats")


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("clip", ("attention", "rollout", "components")),
        ("clip_classifier", ("grad-cam", "attention")),
        ("siglip", ("attention", "components")),
        ("siglip_classifier", ("grad-cam", "attention")),
    ],
)
def test_towers_for_pictures(name: str, methods: tuple[str, ...]) -> None:
    look = pipe(name)
    found = [look(PICTURE, method=method).grid for method in methods]
    assert len({grid.shape[:2] for grid in found}) == 1 and all(grid.any() for grid in found)
    assert look(PICTURE).method == methods[0]


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("resnet_basic", {"method": "gradcam"}, "did you mean 'grad-cam'"),
        ("resnet_basic", {"method": "components", "label": 1}, "speaks for no class"),
        ("vit", {"method": "rollout", "layer": "blocks.0"}, "no layer to choose"),
        ("dinov2", {"method": "grad-cam"}, "without classes"),
        ("resnet_basic", {"label": "10"}, "10 classes"),
    ],
)
def test_what_does_not_go_together(name: str, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        pipe(name)(PICTURE, **given)


def test_models_and_inputs_that_cannot_be_explained() -> None:
    with pytest.raises(DataError, match="no picture"):
        pipe("resnet_basic")([])
    with pytest.raises(ArgumentError, match="BertModel is for"):
        load(str(VISION.parent / "text" / "bert"), task="image-explanation")
    with pytest.raises(ArgumentError, match="DetrForObjectDetection is for object-detection"):
        pipe("detr")
