"""Pictures as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.vision.embedding import ImageVectors

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"


@pytest.fixture(scope="module")
def pipe() -> Any:
    """Vectors of the tiny DINOv2."""
    return nyala.load(str(GOLDENS / "dinov2"))


def painting(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8)


def test_a_picture_gives_the_vector_that_the_head_reads(pipe: Any) -> None:
    several = pipe([painting(1), painting(2), painting(1)])
    assert several.array.shape == (3, 16) and several.array.dtype == np.float32
    with nyala.no_grad():
        assert np.allclose(pipe.model(pipe.preprocess([painting(2)])).numpy()[0], several[1], atol=1e-5)
    assert np.allclose(pipe(painting(1)), several[0], atol=1e-5)
    assert [i for i, _ in several.nearest(several[0], k=2)] == [0, 2]
    assert several._best()[2][0] == 0
    assert "picture 2" in repr(several) and several.to_dict()[0]["input"] == "picture 0"
    assert several.draw().size[1] > 100


def test_classifiers_give_vectors_too() -> None:
    pipe = nyala.load(str(GOLDENS / "resnet_basic"), task="image-embedding")
    assert pipe(painting(1)).shape == (24,)


def test_similarity_is_the_cosine() -> None:
    some = ImageVectors(np.array([[3, 4], [0, 2]], np.float32), ["a.png", "b.png"])
    assert np.allclose(some.similarity(), [[1, 0.8], [0.8, 1]])
    with pytest.raises(ArgumentError, match=r"shape \(3,\)"):
        some.nearest(np.ones(3))


def test_no_picture_is_told(pipe: Any) -> None:
    with pytest.raises(DataError, match="no picture"):
        pipe([])
    with pytest.raises(DataError):
        pipe([b"no picture"])
