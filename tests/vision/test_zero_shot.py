"""Pictures into classes that are given as words: equal to transformers, from the picture's bytes to the logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, MissingFileError
from nyala.vision.preprocess import ImagePreprocess

GOLDENS = Path(__file__).parents[1] / "goldens" / "vision"
CLIP = GOLDENS / "clip"
LABELS = json.loads((CLIP / "captions.json").read_text())["labels"]


@pytest.fixture(scope="module")
def pipe() -> Any:
    return nyala.load(str(CLIP))


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return checkpoint.load_file(CLIP / "use.safetensors")


def pictures(frozen: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [np.array(frozen[f"picture.{k}"]) for k in range(4)]


def test_pictures_are_prepared_as_transformers_does(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    squash = {"size": {"height": 16, "width": 12}, "do_center_crop": False, "crop_size": {"height": 224, "width": 224}}
    usual = {"image_mean": pipe.preprocess.mean, "image_std": pipe.preprocess.std, "resample": 2}
    squashed = ImagePreprocess.from_processor({**squash, **usual})
    for k, picture in enumerate(pictures(frozen)):
        assert np.abs(pipe.preprocess.one(picture) - frozen[f"prepared.{k}"]).max() < 1e-6
        assert np.abs(squashed.one(picture) - frozen[f"squashed.{k}"]).max() < 1e-6


def test_scores_equal_transformers(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    found = pipe(pictures(frozen), labels=LABELS)
    shifted = np.exp(frozen["logits"] - frozen["logits"].max(axis=1, keepdims=True))
    expected = shifted / shifted.sum(axis=1, keepdims=True)
    assert len(found) == 4
    for prediction, row in zip(found, expected, strict=True):
        assert prediction.indices == tuple(np.argsort(-row))
        assert np.allclose(prediction.scores, np.sort(row)[::-1], rtol=1e-4, atol=1e-7)
        assert prediction.labels == tuple(LABELS[i] for i in prediction.indices)
    one = pipe(pictures(frozen)[2], labels=LABELS, top_k=1)
    assert one.indices == found[2].indices[:1] and one.score == pytest.approx(found[2].score, rel=1e-5)


def test_vectors_of_pictures_and_texts_compare(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    seen, read = pipe.embed_images(pictures(frozen)), pipe.embed_texts([f"a photo of a {label}." for label in LABELS])
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, rtol=1e-5) and read.shape == (3, 12)
    scale = float(pipe.model.logit_scale.exp().item())
    assert np.abs(scale * seen @ read.T - frozen["logits"]).max() < 1e-4 * np.abs(frozen["logits"]).max()


def test_several_templates_count_by_their_mean(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    two = ["a photo of a {}.", "{}"]
    read = np.stack([pipe.embed_texts([t.replace("{}", label) for label in LABELS]) for t in two]).mean(axis=0)
    read /= np.linalg.norm(read, axis=1, keepdims=True)
    picture = pictures(frozen)[0]
    logits = float(pipe.model.logit_scale.exp().item()) * (pipe.embed_images(picture) @ read.T)[0].astype(np.float64)
    found = pipe(picture, labels=LABELS, template=two)
    assert found.score == pytest.approx(
        float(np.exp(logits - logits.max()).max() / np.exp(logits - logits.max()).sum()), rel=1e-4
    )


def test_results_print_and_draw(pipe: Any, frozen: dict[str, np.ndarray], tmp_path: Path) -> None:
    found = pipe(pictures(frozen)[:2], labels=LABELS)
    assert "picture 1" in repr(found) and "red hat" in repr(found)
    found.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    assert len(pipe([], labels=LABELS)) == 0


def test_wrong_labels_and_templates_are_named(pipe: Any, frozen: dict[str, np.ndarray], tmp_path: Path) -> None:
    picture = pictures(frozen)[0]
    for labels, template, told in [
        (None, "{}", "0 label"),
        (["cat"], "{}", "1 label"),
        (["cat", "cat"], "{}", "given twice"),
        (["cat", "dog"], "a photo", "template="),
        (["cat", "dog"], [], "template="),
    ]:
        with pytest.raises(ArgumentError, match=told):
            pipe(picture, labels=labels, template=template)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.png is not a picture"):
        pipe([picture, tmp_path / "bad.png"], labels=["cat", "dog"])
    with pytest.raises(ArgumentError, match="compares no pictures with texts"):
        nyala.load(str(GOLDENS / "resnet_basic"), task="zero-shot-classification")


def test_siglip_judges_each_label_for_itself(tmp_path: Path, frozen: dict[str, np.ndarray]) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDENS / "siglip" / name, tmp_path / name)
    bare = nyala.load(str(tmp_path))
    picture = pictures(frozen)[0]
    assert bare.embed_images(picture).shape == (1, 24)
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        bare(picture, labels=["cat"])
    shutil.copy(CLIP / "tokenizer.json", tmp_path / "tokenizer.json")
    pipe = nyala.load(str(tmp_path), random_init=True, text_config={"vocab_size": 540})
    found = pipe(picture, labels=["cat", "dog"])
    alone = pipe(picture, labels=["cat"])
    assert alone.score == pytest.approx(dict(zip(found.labels, found.scores, strict=True))["cat"], rel=1e-5)


def test_weights_without_a_description_are_prepared_as_in_training(tmp_path: Path) -> None:
    for name, mean, mode in (("clip", 0.48145466, "floor"), ("siglip", 0.5, "squash")):
        shutil.copy(GOLDENS / name / "config.json", tmp_path / "config.json")
        prepare = nyala.load(str(tmp_path), random_init=True).preprocess
        assert (prepare.size, prepare.mean[0], prepare.crop_mode, prepare.crop_pct) == ((16, 16), mean, mode, 1.0)


def test_vectors_alone(pipe: Any, frozen: dict[str, np.ndarray]) -> None:
    found = nyala.load(str(CLIP), task="image-embedding")(pictures(frozen))
    unit = found.array / np.linalg.norm(found.array, axis=1, keepdims=True)
    assert np.allclose(unit, pipe.embed_images(pictures(frozen)), rtol=1e-5, atol=1e-6)


def test_a_classifier_loads_with_its_preprocessing(tmp_path: Path, frozen: dict[str, np.ndarray]) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDENS / "clip_classifier" / name, tmp_path / name)
    shutil.copy(CLIP / "preprocessor_config.json", tmp_path / "preprocessor_config.json")
    pipe = nyala.load(str(tmp_path))
    assert pipe.preprocess.size == (16, 16) and len(pipe(pictures(frozen)[0]).labels) == 5
    assert nyala.load(str(CLIP), num_classes=3)(pictures(frozen)[0]).label.startswith("class")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"do_resize": False}, "do_resize is false"),
        ({"size": {"longest_edge": 4}}, "makes no sense"),
        ({"size": {"shortest_edge": 16}, "do_center_crop": False}, "many sizes"),
        ({"resample": 9}, "makes no sense"),
        ({"crop_size": 32, "size": 16, "do_center_crop": True}, "makes no sense"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_named(config: dict[str, Any], told: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=told):
        ImagePreprocess.from_processor(config)
