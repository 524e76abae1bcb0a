"""From pictures to objects: preprocessing equal to transformers', results, tables and drawings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError
from nyala.hub.load import load
from nyala.vision.detection import DetectionPreprocess
from nyala.vision.detection.pipeline import Detections, PictureObjects
from PIL import Image

GOLDENS = Path(__file__).parents[2] / "goldens" / "vision"
FROZEN = checkpoint.load_file(GOLDENS / "detector_pictures.safetensors")
PICTURES = [FROZEN[f"picture.{i}"] for i in range(5)]
SMALL = {
    "detr": DetectionPreprocess(shortest_edge=40, longest_edge=66),
    "yolos": DetectionPreprocess(shortest_edge=48, longest_edge=80, multiple_of=16),
}


@pytest.fixture(params=["detr", "yolos"])
def pipe(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A tiny model that came with a processor."""
    folder = tmp_path / request.param
    shutil.copytree(GOLDENS / request.param, folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(SMALL[request.param].to_preprocessor()))
    config = json.loads((folder / "config.json").read_text())
    names = {str(i): name for i, name in enumerate(("cat", "dog", "cup", "hat"))}
    (folder / "config.json").write_text(json.dumps({**config, "id2label": names}))
    return load(str(folder))


@pytest.mark.parametrize("name", SMALL)
def test_every_pixel_equals_transformers(name: str) -> None:
    for i, picture in enumerate(PICTURES):
        found = SMALL[name].resize(picture)
        assert np.array_equal(np.moveaxis(found, -1, 0), FROZEN[f"{name}.raw.{i}"])


def test_a_batch_equals_transformers() -> None:
    found = SMALL["detr"](PICTURES[:2])
    assert np.abs(found["pixel_values"].numpy() - FROZEN["batch"]).max() <= 1e-6
    assert np.array_equal(found["pixel_mask"].numpy(), FROZEN["mask"])


@pytest.mark.parametrize(("name", "multiple"), [("detr", 1), ("yolos", 16)])
def test_sizes_equal_transformers(name: str, multiple: int) -> None:
    usual = DetectionPreprocess(multiple_of=multiple)
    found = [usual.target(*sides) for sides in FROZEN["sides"].tolist()]
    assert found == [tuple(sides) for sides in FROZEN[f"{name}.sides"].tolist()]


def test_what_is_found_equals_transformers(pipe: Any) -> None:
    name = type(pipe.model).__name__.removesuffix("ForObjectDetection").lower()
    found = pipe(PICTURES[0], threshold=0.01)
    order = np.argsort(-FROZEN[f"{name}.scores"], kind="stable")
    assert len(found) == len(order) > 0
    assert list(found.indices) == FROZEN[f"{name}.labels"][order].tolist()
    assert np.allclose(found.scores, FROZEN[f"{name}.scores"][order], rtol=1e-5)
    assert np.allclose(found.boxes, FROZEN[f"{name}.boxes"][order], rtol=1e-5, atol=1e-3)
    assert all(label in ("cat", "dog", "cup", "hat") for label in found.labels)


def test_pictures_of_many_sizes_have_the_results_they_have_alone(pipe: Any) -> None:
    together = pipe(PICTURES, threshold=0.01)
    for picture, one in zip(PICTURES, together, strict=True):
        alone = pipe(picture, threshold=0.01)
        assert alone.indices == one.indices and np.allclose(alone.boxes, one.boxes, atol=1e-3)
    assert sum(map(len, together)) > 0


def test_tables_and_plain_data(pipe: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURES[0]).save(path)
    found = pipe([path, PICTURES[1]], threshold=0.99)
    assert len(found[0]) == 0
    assert repr(found).splitlines()[2].split()[:2] == [str(path), "nothing"]
    found = pipe([path, PICTURES[1]], threshold=0.01)
    assert found.to_dict()[0]["input"] == str(path)
    assert json.loads(json.dumps(found.to_dict()))[0]["boxes"] == [list(box) for box in found[0].boxes]
    header = ["picture", "label", "score", "left", "top", "right", "bottom"]
    assert repr(found).splitlines()[0].split() == header
    assert repr(found[0]).splitlines()[1].split() == header[1:]
    assert len(pipe([])) == 0


def test_frames_are_drawn_where_the_objects_are(tmp_path: Path) -> None:
    from nyala.vision.palette import colour

    picture = np.full((400, 500, 3), 200, np.uint8)
    found = Detections(("cat", "dog"), (0, 1), (0.9, 0.8), ((50.0, 100.0, 250.0, 300.0), (-20.0, 350.0, 600.0, 500.0)))
    drawn = np.asarray(PictureObjects([found], [picture]).draw())
    assert drawn.shape == picture.shape
    assert tuple(drawn[200, 50]) == tuple(drawn[300, 150]) == colour(0)
    assert tuple(drawn[380, 0]) == colour(1) and tuple(drawn[200, 150]) == (200, 200, 200)
    tiny = PictureObjects([Detections((), (), (), ())] * 2, [picture, picture[:16, :16]])
    assert tiny.draw().size == (500, 400 + 12 + 320)
    PictureObjects([found], [picture]).save(tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").size == (500, 400)


def test_wrong_thresholds_and_pictures_are_told(pipe: Any) -> None:
    with pytest.raises(ArgumentError, match=r"threshold=1\.5"):
        pipe(PICTURES[0], threshold=1.5)
    with pytest.raises(DataError, match=r"there is no file nowhere\.png"):
        pipe(["nowhere.png"])
    if pipe.preprocess.multiple_of > 1:
        with pytest.raises(DataError, match="too thin"):
            pipe(np.zeros((8, 900, 3), np.uint8))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"do_normalize": False}, "do_normalize is false"),
        ({"size": {"max_height": 8, "max_width": 8}}, "size has max_height"),
        ({"size": "large"}, "makes no sense"),
        ({"size": {"shortest_edge": 0}}, "makes no sense"),
        ({"size": 10**9}, "makes no sense"),
        ({"image_std": [0, 1, 1]}, "makes no sense"),
        ({"resample": 9}, "makes no sense"),
    ],
)
def test_bad_processors(config: dict[str, Any], text: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=text):
        DetectionPreprocess.from_processor(config)


@pytest.mark.parametrize("size", [{"shortest_edge": 40}, {"shortest_edge": 40, "longest_edge": 66}, {"height": 32, "width": 48}])
def test_processors_are_written_as_they_are_read(size: dict[str, int]) -> None:
    made = DetectionPreprocess.from_processor({"size": size, "resample": 3, "image_mean": [0.5] * 3})
    assert DetectionPreprocess.from_processor(made.to_preprocessor()) == made
    assert made.target(100, 100) == ((32, 48) if "height" in size else (40, 40))


def test_old_processors_are_read() -> None:
    found = DetectionPreprocess.from_processor({"size": 512, "max_size": 864, "feature_extractor_type": "DetrFeatureExtractor"})
    assert (found.shortest_edge, found.longest_edge) == (512, 864)


def test_prepared_pictures_can_be_looked_at_again() -> None:
    prepare = SMALL["detr"]
    assert np.array_equal(prepare.restore(prepare.one(PICTURES[0])), prepare.resize(PICTURES[0]))
    assert nyala.from_numpy(prepare.one(PICTURES[0])).shape == (3, 40, 56)
