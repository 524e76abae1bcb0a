"""The image classification pipeline, on a tiny model and on the published weights."""

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

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.fixture(scope="module")
def tiny() -> Any:
    return load(str(GOLDENS / "vision" / "resnet_basic"))


def pictures(count: int) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 256, (50 + i, 60, 3), dtype=np.uint8) for i in range(count)]


def test_one_picture_and_a_list(tiny: Any) -> None:
    several = tiny(pictures(3))
    one = tiny(pictures(3)[1], top_k=2)
    assert len(several) == 3 and len(several[0].labels) == 5 and len(one.labels) == 2
    assert one.indices == several[1].indices[:2]
    assert np.allclose(one.scores, several[1].scores[:2], rtol=1e-5)
    assert list(several[0].scores) == sorted(several[0].scores, reverse=True)
    assert not tiny.model.training
    assert len(tiny([])) == 0


def test_results_print_serialise_and_draw(tiny: Any, tmp_path: Path) -> None:
    results = tiny(pictures(2))
    assert "picture 0" in repr(results) and "class" in repr(results)
    assert json.loads(json.dumps(results.to_dict()))[1]["indices"] == list(results[1].indices)
    results.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ArgumentError, match="end the name in one of"):
        results.save(tmp_path / "out.txt")


def test_a_bad_picture_in_a_list_is_named(tiny: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.png is not a picture"):
        tiny([pictures(1)[0], bad])


@pytest.mark.weights
def test_published_weights_see_an_espresso() -> None:
    skimage = pytest.importorskip("skimage", reason="the pictures come with scikit-image")
    folder = Path(skimage.__file__).parent / "data"
    frozen = checkpoint.load_file(GOLDENS / "real" / "lite0.safetensors")
    pipe = nyala.load("tf_efficientnet_lite0")
    names = ["coffee", "chelsea"]
    logits = pipe.logits([folder / f"{n}.png" for n in names])
    for row, name in zip(logits, names, strict=True):
        expected = frozen[f"{name}.logits"]
        assert np.abs(row - expected).max() / np.abs(expected).max() < 1e-5
    best = pipe(folder / "coffee.png")
    assert best.label == "espresso" and best.score == pytest.approx(0.951, abs=1e-3)


@pytest.mark.weights
def test_the_cards_golden_holds() -> None:
    pipe = nyala.load("tf_efficientnet_lite0")
    golden = pipe.card.golden
    c, i, j = np.meshgrid(np.arange(3), np.arange(224), np.arange(224), indexing="ij")
    waves = (np.sin(0.1 * (c + 1) * i) * np.cos(0.07 * (c + 1) * j)).astype(np.float32)
    with nyala.no_grad():
        logits = pipe.model(nyala.from_numpy(waves[None])).numpy()[0]
    assert int(logits.argmax()) == golden.argmax
    assert np.abs(logits[: len(golden.output)] - golden.output).max() < golden.atol
