"""Preprocessing equals transformers' image processors on Pillow, for every family whose checkpoints are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala import checkpoint
from nyala.errors import DataError
from nyala.vision.preprocess import ImagePreprocess

GOLDENS = Path(__file__).parents[2] / "goldens" / "transforms"
SAID: dict[str, dict[str, Any]] = json.loads((GOLDENS / "processors.json").read_text())


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return checkpoint.load_file(GOLDENS / "processors.safetensors")


@pytest.mark.parametrize("name", SAID)
def test_equals_transformers(name: str, frozen: dict[str, np.ndarray]) -> None:
    prepare = ImagePreprocess.from_processor(SAID[name])
    for k in range(3):
        ours, theirs = prepare.one(frozen[f"picture.{k}"]), frozen[f"{name}.{k}"]
        ours = ours[:, ::16, ::16] if ours.shape[1] > 64 else ours
        assert ours.shape == theirs.shape
        assert np.array_equal(prepare.restore(ours), prepare.restore(theirs)), "bytes differ"
        assert np.abs(ours - theirs).max() <= 1e-6


@pytest.mark.parametrize("name", SAID)
def test_what_is_written_reads_back(name: str) -> None:
    prepare = ImagePreprocess.from_processor(SAID[name])
    again = ImagePreprocess.from_processor(prepare.to_preprocessor())
    assert again.size == prepare.size and again.interpolation == prepare.interpolation and again.mean == prepare.mean
    picture = np.random.default_rng(0).integers(0, 256, (500, 420, 3), dtype=np.uint8)
    assert np.array_equal(again.crop(picture), prepare.crop(picture))


def test_an_old_file_of_convnext_says_less() -> None:
    """``size`` is one number there, and the share of the crop is left to the class."""
    old = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 16, "resample": 3}
    assert ImagePreprocess.from_processor(old).crop_pct == ImagePreprocess.from_processor(SAID["convnext"]).crop_pct


def test_filters_that_are_not_said_are_the_processors_own() -> None:
    for kind, name in (("ViTImageProcessor", "bilinear"), ("CLIPImageProcessor", "bicubic"), ("", "bicubic")):
        assert (
            ImagePreprocess.from_processor({"image_processor_type": kind, "size": {"height": 8, "width": 8}}).interpolation
            == name
        )


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"rescale_factor": 1 / 127.5}, "not scaled to 0..1"),
        ({"rescale_offset": True}, "not scaled to 0..1"),
        ({"size": {"height": 20, "width": 30}, "crop_size": 16, "do_center_crop": True}, "different ratios"),
    ],
)
def test_other_ways_are_refused(said: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        ImagePreprocess.from_processor(said)
