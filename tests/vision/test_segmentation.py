"""The pipeline that gives every pixel a class: sizes, scores, pictures, files and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.hub.load import load
from nyala.recipes.cli import main
from nyala.vision.segmentation import Segmentation, likeliest
from PIL import Image

GOLDEN = Path(__file__).parents[1] / "goldens" / "vision" / "segformer"
LABELS = ["background", "sky", "road", "tree", "house"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SegFormer that was published with a processor and names of classes."""
    made = tmp_path_factory.mktemp("segformer")
    shutil.copy(GOLDEN / "model.safetensors", made)
    config = json.loads((GOLDEN / "config.json").read_text())
    config["id2label"] = {str(i): name for i, name in enumerate(LABELS)}
    (made / "config.json").write_text(json.dumps(config))
    processor = {"size": {"height": 64, "width": 64}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.1] * 3}
    (made / "preprocessor_config.json").write_text(json.dumps(processor))
    return made


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    return load(str(folder))


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def test_the_answer_has_the_pictures_size(pipe: Any) -> None:
    found = pipe([picture(50, 83), Image.fromarray(picture(91, 40, 1))])
    assert [one.mask.shape for one in found] == [(50, 83), (91, 40)] and found[0].mask.dtype == np.uint8
    assert sum(found[0].share(k) for k in found[0].classes()) == pytest.approx(1)
    assert len(found[0].classes()) > 1
    assert np.array_equal(pipe(picture(50, 83)).mask, found[0].mask)


def test_it_is_what_enlarged_logits_say(pipe: Any) -> None:
    image = picture(50, 83)
    with nyala.no_grad():
        logits = F.interpolate(pipe.model(pipe.preprocess(image)), (50, 83), mode="bilinear", align_corners=False)
        probabilities = logits.softmax(1).numpy()[0]
    found = pipe(image)
    close = np.sort(probabilities, 0)[-1] - np.sort(probabilities, 0)[-2] < 1e-4
    assert np.array_equal(found.mask[~close], probabilities.argmax(0)[~close]) and close.mean() < 0.01
    for k, score in found.scores.items():
        assert score == pytest.approx(probabilities.max(0)[found.mask == k].mean(), abs=1e-4)


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from nyala.vision import segmentation

    logits = np.random.default_rng(0).normal(size=(6, 9, 7)).astype(np.float32)
    whole = likeliest(logits, (101, 63))
    monkeypatch.setattr(segmentation, "_AT_ONCE", 6 * 63 * 10)
    pieces = likeliest(logits, (101, 63))
    assert np.array_equal(whole[0], pieces[0]) and whole[1] == pytest.approx(pieces[1])


def test_many_classes_need_two_bytes() -> None:
    logits = np.zeros((300, 2, 2), np.float32)
    logits[299, 1, 1] = 9
    mask, scores = likeliest(logits, (2, 2))
    assert mask.dtype == np.uint16 and mask.tolist() == [[0, 0], [0, 299]] and set(scores) == {0, 299}


def test_what_is_told_of_a_class() -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 3
    found = Segmentation(mask, tuple(LABELS), {0: 0.9, 3: 0.7}, np.zeros((4, 6, 3), np.uint8))
    assert found.classes() == [0, 3] and found.share("tree") == 0.25
    assert found.to_dict()["size"] == [6, 4]
    assert found.to_dict()["classes"][1] == {
        "label": "tree", "index": 3, "pixels": 6, "share": 0.25, "score": 0.7, "box": [2, 1, 5, 3]
    }  # fmt: skip
    assert "tree" in str(found) and "0.2500" in str(found)
    with pytest.raises(ArgumentError, match="did you mean 'tree'"):
        found.where("trees")
    with pytest.raises(ArgumentError, match="there are 5"):
        found.where(5)


def test_the_drawing_leaves_the_background_and_colours_the_rest() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[100:200, 100:300] = 1
    grey = np.full((300, 400, 3), 100, np.uint8)
    drawn = np.asarray(Segmentation(mask, tuple(LABELS), {0: 0.9, 1: 0.7}, grey).draw())
    shown = drawn[12:312, 12:412]
    assert (shown[50, 50] == 100).all() and (shown[250, 350] == 100).all()
    assert np.ptp(shown[150, 200].astype(int)) > 30 and (shown[100, 150] == 255).all()
    assert drawn.shape[1] > 400 + 200  # the legend


def test_masks_are_written_as_numbers(pipe: Any, tmp_path: Path) -> None:
    found = pipe(picture(50, 83))
    found.save_mask(tmp_path / "mask.png")
    read = Image.open(tmp_path / "mask.png")
    assert read.mode == "P" and np.array_equal(np.asarray(read), found.mask)
    with pytest.raises(ArgumentError, match="a mask is a PNG"):
        found.save_mask(tmp_path / "mask.jpg")


def test_on_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture(50, 83)).save(tmp_path / "a.png")
    out, masks = tmp_path / "out.png", tmp_path / "masks"
    assert main(["predict", str(folder), str(tmp_path / "a.png"), "--output", str(out), "--masks", str(masks)]) == 0
    assert "share of the picture" in capsys.readouterr().out
    assert Image.open(out).size[0] > 83
    assert np.asarray(Image.open(masks / "a.png")).shape == (50, 83)


def test_bad_input(pipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no picture to work on"):
        pipe([])
    with pytest.raises(DataError, match="there is no file"):
        pipe("nowhere.png")
    classifier = str(GOLDEN.parent / "segformer_classifier")
    Image.fromarray(picture(40, 40)).save(tmp_path / "a.png")
    assert main(["predict", classifier, str(tmp_path / "a.png"), "--masks", str(tmp_path / "m")]) == 2
    assert "gives no masks" in capsys.readouterr().err
