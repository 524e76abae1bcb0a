"""Points and boxes -> masks, on a tiny random SAM: what transformers prepares and makes of them, results, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError
from nyala.hub.load import load
from nyala.vision.masks import decode_rle
from nyala.vision.prompting.everything import everything
from nyala.vision.prompting.masks import Masks, box_around
from nyala.vision.prompting.preprocess import PromptedPreprocess
from nyala.vision.prompting.prompts import Prompts

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"


@pytest.fixture(scope="module")
def pipe() -> Any:
    return load(str(GOLDENS / "sam"))


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return {k: np.array(v) for k, v in checkpoint.load_file(GOLDENS / "sam" / "processor.safetensors").items()}


@pytest.mark.parametrize("case", ["wide", "high", "small"])
def test_pictures_and_points_are_prepared_as_transformers_does(case: str, pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    image, height, width = frozen[f"{case}.picture"], *frozen[f"{case}.picture"].shape[:2]
    assert np.abs(pipe.preprocess(image)[0].numpy() - frozen[f"{case}.prepared"]).max() < 1e-6
    placed = pipe.preprocess.places([(3, 4), (height / 2, 7)], height, width)
    assert np.allclose(placed, frozen[f"{case}.points"], rtol=1e-6)


@pytest.mark.parametrize("case", ["wide", "high", "small"])
def test_masks_come_back_to_the_pictures_size(case: str, pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    from nyala.vision.prompting.pipeline import Embedded

    picture = Embedded("a.png", nyala.zeros(1, 16, 5, 5), frozen[f"{case}.picture"].shape[:2])
    (found,) = pipe.full_size(picture, nyala.from_numpy(frozen["low"]))
    assert np.array_equal(found > 0, frozen[f"{case}.final"])


@pytest.mark.parametrize(
    ("name", "stability", "overlap", "score"), [("good", 0.1, 1.0, 1.5), ("apart", 0.1, 0.95, -100), ("steady", 0.3, 1.0, -100)]
)
def test_everything_is_found_that_transformers_finds(
    name: str, stability: float, overlap: float, score: float, pipe: Any, frozen: dict[str, np.ndarray]
) -> None:
    settings = {"stability": stability, "stability_offset": 0.1, "overlap": overlap, "score": score}
    found = everything(pipe, pipe.embed(frozen["wide.picture"]), points_per_side=4, **settings)
    assert len(found) == len(frozen[f"{name}.scores"]) == {"good": 13, "apart": 1, "steady": 5}[name]
    assert np.abs(found.scores - frozen[f"{name}.scores"]).max() < 1e-4
    assert np.mean(found.masks != frozen[f"{name}.masks"]) < 1e-3  # where a pixel lies on the threshold


def test_nothing_is_a_result_too(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    picture = pipe.embed(frozen["wide.picture"])
    found = everything(pipe, picture, points_per_side=1, score=1e9)
    assert len(found) == 0 and repr(found) == "no mask" and found.boxes.shape == (0, 4)
    assert found.to_dict()["masks"] == [] and found.draw().size[0] > 97
    with pytest.raises(ArgumentError, match="points_per_side=0"):
        everything(pipe, picture, points_per_side=0)


def test_a_picture_is_asked_with_points_and_boxes(pipe: Any, frozen: dict[str, np.ndarray], tmp_path: Path) -> None:
    image = frozen["wide.picture"]
    picture = pipe.embed(image)
    lone, two = pipe(picture, points=[(40, 20)]), pipe(picture, points=[[(40, 20)], [(9, 9), (30, 9)]], labels=[[1], [1, 0]])
    assert lone.offers.shape == (1, 3, 40, 97) and two.offers.shape == (2, 1, 40, 97)
    boxed = pipe(image, boxes=[(5, 5, 50, 30), (60, 0, 97, 40)])
    assert boxed.masks.shape == (2, 40, 97) and boxed.scores.shape == (2,)
    assert np.array_equal(boxed.masks[1], pipe(picture, boxes=(60, 0, 97, 40)).masks[0])
    assert pipe(picture, points=(np.array([[40, 20]])), multimask=False).offers.shape == (1, 1, 40, 97)
    said = json.loads(json.dumps(boxed.to_dict()))
    assert np.array_equal(decode_rle(said["masks"][0]["mask"]), boxed.masks[0]) and said["size"] == [97, 40]
    boxed.save(tmp_path / "masks.png")
    several = pipe([image, frozen["high.picture"]], points=[(40, 20)])
    assert np.array_equal(several[0].masks, lone.masks) and "picture 1" in repr(several)
    assert several.draw().height > lone.draw().height and len(several.to_dict()) == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_dtypes_answer_alike(dtype: str, pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    image, other = frozen["wide.picture"], load(str(GOLDENS / "sam"), dtype=dtype)
    for asked in ({"points": [(40, 20)]}, {"boxes": [(5, 5, 50, 30)]}):
        expected, found = pipe(image, **asked), other(image, **asked)
        assert np.allclose(found.offer_scores, expected.offer_scores, atol=0.1 if dtype == "bfloat16" else 1e-4)


def test_many_prompts_go_in_groups(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    points = [[(x, 20)] for x in range(0, 97, 5)]
    found = pipe(frozen["wide.picture"], points=points)
    assert len(found) == 20
    alone = pipe(frozen["wide.picture"], points=points[17])
    assert np.mean(found.offers[17] != alone.offers[0]) < 1e-3 and np.allclose(
        found.offer_scores[17], alone.offer_scores[0], atol=1e-5
    )


def test_masks_as_cutouts_and_drawings() -> None:
    image = np.full((30, 40, 3), 200, np.uint8)
    mask = np.zeros((1, 1, 30, 40), bool)
    mask[0, 0, 5:15, 10:30] = True
    found = Masks(mask, np.array([[0.9]], np.float32), image, Prompts.read([(20, 10), (2, 2)], [1, 0], None, 30, 40))
    assert found.boxes.tolist() == [[10, 5, 30, 15]]
    cutout = found.cutout()
    assert cutout.size == (20, 10) and cutout.mode == "RGBA" and np.asarray(cutout)[..., 3].all()
    drawn = np.asarray(found.draw())  # five times as large
    assert tuple(drawn[12 + 5 * 24, 12 + 5 * 38]) == (200, 200, 200) and tuple(drawn[12 + 5 * 12, 12 + 5 * 27]) != (200, 200, 200)
    green, red = drawn[12 + 50, 12 + 100], drawn[12 + 10, 12 + 10]
    assert green[1] > green[0] and red[0] > red[1]
    assert box_around(np.zeros((3, 3), bool)) == [0, 0, 0, 0]
    with pytest.raises(ArgumentError, match="mask 1 of 1"):
        found.cutout(1)


def test_masks_are_written_as_numbers(tmp_path: Path) -> None:
    from PIL import Image

    small, large = np.zeros((1, 6, 8), bool), np.zeros((1, 6, 8), bool)
    small[0, 2:4, 2:4], large[0, 1:, 1:] = True, True
    Masks(np.stack([small, large]), np.ones((2, 1), np.float32), "a.png").save_mask(tmp_path / "a.png")
    numbers = np.asarray(Image.open(tmp_path / "a.png"))
    assert numbers[0, 0] == 0 and numbers[2, 2] == 1 and numbers[5, 7] == 2  # the small one lies on top
    with pytest.raises(ArgumentError, match="as a PNG"):
        Masks(np.stack([small]), np.ones((1, 1), np.float32), "a.png").save_mask(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"points": [(100, 20)]}, "the point 100, 20: the picture has 97 x 40 pixels"),
        ({"points": [(1, 2, 3)]}, "a point is"),
        ({"points": []}, "points=\\[\\]"),
        ({"points": 5}, "points=5"),
        ({"points": [("a", 2)]}, "no list of numbers"),
        ({"points": [(float("nan"), 2)]}, "finite"),
        ({"points": [(1, 2)], "labels": [1, 0]}, "for 1 point"),
        ({"points": [(1, 2)], "labels": [3]}, "labels=\\[3\\]"),
        ({"labels": [1], "boxes": [(0, 0, 9, 9)]}, "labels without points"),
        ({"labels": [1]}, "labels or multimask without points"),
        ({"boxes": [(0, 0, 9)]}, "a box is left, top, right, bottom"),
        ({"boxes": [(9, 9, 3, 3)]}, "the box 9, 9, 3, 3"),
        ({"boxes": [(200, 0, 300, 9)]}, "nothing of the picture"),
        ({"points": [(1, 2)], "boxes": [(0, 0, 9, 9), (1, 1, 5, 5)]}, "1 thing\\(s\\), and 2 box"),
    ],
)
def test_prompts_that_cannot_be(asked: dict[str, Any], text: str, pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    with pytest.raises(ArgumentError, match=text):
        pipe(frozen["wide.picture"], **asked)


def test_points_and_boxes_may_show_one_thing(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    picture = pipe.embed(frozen["wide.picture"])
    both = pipe(picture, points=[(20, 20)], boxes=[(5, 5, 50, 30)])
    assert both.offers.shape == (1, 1, 40, 97) and both.prompts.lone_points() is False
    over = pipe(picture, boxes=[(-5, 5, 150, 30)])  # cut at the edge
    assert np.array_equal(over.masks, pipe(picture, boxes=[(0, 5, 97, 30)]).masks)


def test_pictures_and_settings_that_cannot_be(pipe: Any) -> None:
    with pytest.raises(DataError, match="too thin"):
        pipe(np.zeros((1, 900, 3), np.uint8), points=[(0, 0)])
    with pytest.raises(DataError, match="no picture"):
        pipe([])
    with pytest.raises(ArgumentError, match="takes no points and boxes"):
        load(str(GOLDENS / "vit"), task="mask-generation")
    for said in ({"do_pad": False}, {"size": {"longest_edge": 2000}}, {"size": 1024}):
        with pytest.raises(DataError, match="filled up to pad_size"):
            PromptedPreprocess.from_processor(said)
