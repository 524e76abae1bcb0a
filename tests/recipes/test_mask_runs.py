"""Whole runs on pictures with masks: they learn, stop and go on with the same bytes, and load again; folders, losses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core import random
from nyala.errors import ArgumentError, DataError, RecipeError
from nyala.recipes.cli import main
from nyala.recipes.data import augment, datasets, picture_changes, pixels
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config, pictures
from nyala.recipes.language.schema import Data, HorizontalFlip, RandomCrop, RandomErasing, RandomResizedCrop
from nyala.recipes.training import objectives, setup, trainer
from nyala.vision.datasets.masks import VOID, MaskedPicture
from nyala.vision.preprocess import ImagePreprocess
from nyala.vision.scores import PanopticQuality
from PIL import Image


@pytest.fixture
def recipe(tmp_path: Path, masks: Path, tiny_unet: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(
        f"""schema = 1
seed = 3
[data]
name = "{masks}"
batch_size = 4
workers = 0
validation_fraction = 0.2
augment = [{{ type = "random_resized_crop", scale = [0.6, 1.0] }}, {{ type = "horizontal_flip" }}, {{ type = "random_erasing" }}]
[model]
name = "{tiny_unet}"
image_size = 16
[optim]
type = "adamw"
lr = 0.03
[train]
epochs = 6
dice = 1.0
checkpoint = {{ every = 3 }}
best = {{ metric = "mean_iou" }}
"""
    )
    return path


def test_it_learns_stops_goes_on_and_loads(recipe: Path, masks: Path, tmp_path: Path) -> None:
    whole, stopped = (runs.create(config.load(recipe), tmp_path / name) for name in ("whole", "stopped"))
    scores = trainer.train(whole)
    assert scores["mean_iou"] > 0.6 and scores["accuracy"] > 0.8
    trainer.train(stopped, stop_after=7)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipe: Any = nyala.load(str(whole.folder))
    assert pipe.labels == ("ground", "red", "blue") and pipe.preprocess.size == (16, 16)
    found = pipe(str(masks / "images" / "00.png"))
    assert found.mask.shape == (16, 20) and 1 in found.classes()
    assert "data:image/png" in (whole.folder / "report.html").read_text()
    told = [json.loads(line) for line in (whole.folder / "predictions.jsonl").read_text().splitlines()]
    assert all(0 <= one["mean_iou"] <= 1 and "ground" in one["iou"] for one in told)
    assert (whole.folder / "data.sha256").read_text().count("masks/") == 24


def test_verify_finds_the_same_bits(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = (
        "data.augment=[{type='random_affine'}, {type='color_jitter'}, {type='rand_augment'}, {type='random_crop', padding=2}]"
    )
    run = runs.create(config.load(recipe, ["train.epochs=1", changes]), tmp_path / "run")
    trainer.train(run)
    assert main(["verify", str(run.folder)]) == 0
    assert "bitwise" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more",
    [
        ["train.focal=2.0", "train.dice=0"],
        ["train.class_weights=balanced"],
        ["train.class_weights={red=3.0}"],
        ["train.label_smoothing=0.1", "train.accumulate=2"],
        ["train.checkpointing=true"],
        ['model.freeze=["*"]', 'model.unfreeze=["@head"]'],
    ],
)
def test_options(recipe: Path, tmp_path: Path, more: list[str]) -> None:
    run = runs.create(config.load(recipe, ["train.epochs=none", "train.steps=4", "train.watchdog={}", *more]), tmp_path / "run")
    trainer.train(run)
    losses = [r["loss"] for r in metrics.read(run.folder / "metrics.jsonl") if r["kind"] == "step"]
    assert len(losses) == 4 and all(np.isfinite(losses))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["train.mixup=0.2"], "pictures with masks cannot be blended"),
        (["train.focal=2", "train.label_smoothing=0.1"], "the focal loss has none"),
        (["data.sampling=balanced"], "have no classes to balance"),
        (["train.best.metric=macro_f1"], "pictures with masks have mean_iou, accuracy, mean_dice, panoptic_quality, loss"),
    ],
)
def test_options_that_do_not_fit(recipe: Path, more: list[str], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        setup.prepare(config.load(recipe, more).recipe)


def test_dice_is_for_masks(recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.dice: the data have no masks"):
        setup.prepare(config.load(recipe_file, ["train.dice=1.0"]).recipe)


def test_a_model_for_whole_pictures_is_refused(recipe: Path, tiny_model: Path) -> None:
    with pytest.raises(ArgumentError, match="ResNet gives no class to every pixel"):
        setup.prepare(config.load(recipe, [f"model.name={tiny_model}"]).recipe)


# ---- folders


def copied(masks: Path, target: Path) -> Path:
    import shutil

    return Path(shutil.copytree(masks, target / "copy"))


def raw(folder: Path) -> datasets.Raw:
    from nyala.recipes.language.schema import Data

    return datasets.read(Data(name=str(folder)))


def test_parts_and_names(masks: Path, tmp_path: Path) -> None:
    whole = tmp_path / "parts"
    whole.mkdir()
    for part in ("train", "val"):
        copied(masks, tmp_path).rename(whole / part)
    found = raw(whole)
    assert found.kind == "masks" and found.labels == ["ground", "red", "blue"]
    assert len(found.train) == 24 and len(found.validation or ()) == 24 and found.test is None
    assert set(found.hashes) == {"train", "validation"}


def test_without_names_classes_are_numbered(masks: Path, tmp_path: Path) -> None:
    folder = copied(masks, tmp_path)
    (folder / "classes.txt").unlink()
    assert raw(folder).labels == ["class 0", "class 1", "class 2"]


def test_folders_with_mistakes(masks: Path, tmp_path: Path, recipe: Path) -> None:
    folder = copied(masks, tmp_path)
    (folder / "masks" / "07.png").rename(folder / "masks" / "07x.png")
    with pytest.raises(DataError, match=r"07.png has no mask .*did you mean '07x.png'"):
        raw(folder)
    Image.new("L", (9, 9)).save(folder / "masks" / "07.png")
    task = pixels.MaskedPictures(nyala.load(str(config.load(recipe).recipe.model.name)).preprocess, ["a", "b", "c"])
    with pytest.raises(DataError, match=r"07.png has 9 x 9 pixels, and its picture has 20 x 16"):
        task.prepare(raw(folder).train.inputs[7])
    Image.new("RGB", (20, 16)).save(folder / "masks" / "07.png")
    with pytest.raises(DataError, match=r"07.png has colours \(RGB\)"):
        task.prepare(raw(folder).train.inputs[7])
    Image.new("L", (20, 16), 5).save(folder / "masks" / "07.png")
    with pytest.raises(DataError, match=r"07.png has class 5 and there are 3"):
        task.prepare(raw(folder).train.inputs[7])


# ---- changes and losses


@pytest.mark.parametrize(
    "change", [HorizontalFlip(p=0.5), RandomCrop(padding=4), RandomErasing(p=1.0), RandomResizedCrop(scale=(0.3, 0.9))]
)
def test_masks_go_where_their_pictures_go(change: Any) -> None:
    rng = np.random.default_rng(0)
    mask = np.repeat(np.repeat(rng.integers(0, 3, (4, 4)), 8, 0), 8, 1)
    for i in range(6):
        key = random.key(7, "augment", i)
        picture = augment.image(np.stack([(mask == k).astype(np.float32) for k in range(3)]), [change], key)
        moved = augment.mask(mask, [change], key)
        sure = picture.max(0) > 0.7  # the rest is erased, or between two classes
        assert moved.dtype == np.int64 and sure.mean() > 0.4
        assert np.array_equal(picture.argmax(0)[sure], moved[sure])


@pytest.mark.parametrize(
    "change",
    [
        pictures.VerticalFlip(), pictures.RandomAffine(45, 0.3, (0.7, 1.4), 10, "nearest"), pictures.RandomPerspective(1.0),
        pictures.ColorJitter(), pictures.GaussianBlur(), pictures.Grayscale(0.5), pictures.RandAugment(interpolation="nearest"),
        pictures.TrivialAugment("nearest"), pictures.AutoAugment(interpolation="nearest"),
    ],
    ids=lambda c: type(c).__name__,
)  # fmt: skip
def test_masks_go_where_the_bytes_of_their_pictures_go(change: Any) -> None:
    rng = np.random.default_rng(0)
    mask = np.repeat(np.repeat(rng.integers(0, 3, (4, 4)), 8, 0), 8, 1)
    task = pixels.MaskedPictures(ImagePreprocess((32, 32), crop_pct=1.0, mean=(0, 0, 0), std=(1, 1, 1)), ["a", "b", "c"])
    colours = np.array([(250, 60, 60), (60, 250, 60), (60, 60, 250)], np.uint8)
    places = type(change) in (pictures.VerticalFlip, pictures.RandomAffine, pictures.RandomPerspective)
    moved = 0
    for i in range(8):
        key = random.key(7, "augment", i)
        seen, found = task.prepare(MaskedPicture(colours[mask], mask), [change], key)
        alone = picture_changes.bytes_changed(colours[mask], [change], key, 0)[0]
        assert np.array_equal(seen, task.preprocess.normalise(alone))  # drawn as for pictures without masks
        moved += not np.array_equal(found, mask)
        assert found.dtype == np.int64 and set(np.unique(found)) <= {VOID, 0, 1, 2}
        if places:
            sure = seen.max(0) > 0.9  # the rest comes from outside, or lies between two classes
            assert sure.mean() > 0.2 and np.mean(seen.argmax(0)[sure] == found[sure]) > 0.97
            assert not seen[:, found == VOID].max(initial=0) > 0.9
    changes_colours_alone = type(change) in (pictures.ColorJitter, pictures.GaussianBlur, pictures.Grayscale)
    assert (moved == 0) == changes_colours_alone


def objective(**more: Any) -> objectives.Pixels:
    return objectives.Pixels(("a", "b", "c"), **more)


def test_void_pixels_do_not_count() -> None:
    logits = nyala.tensor(np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32), requires_grad=True)
    truth = np.random.default_rng(1).integers(0, 3, (2, 4, 4))
    truth[0, :2] = VOID
    for more in ({}, {"dice": 1.0}, {"focal": 2.0}):
        logits.grad = None
        loss = objective(**more).loss(logits, nyala.from_numpy(truth))
        loss.backward()
        gradient = np.moveaxis(logits.grad.numpy(), 1, -1)
        assert not gradient[truth == VOID].any() and gradient[truth != VOID].any()
    assert objective().count(nyala.from_numpy(truth)) == 24 == objective().answers(truth)


def test_further_classifiers_weigh_as_they_say() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    truth = nyala.from_numpy(np.random.default_rng(1).integers(0, 3, (2, 4, 4)))
    both = nyala.from_numpy(np.concatenate([logits, logits], 1))
    alone = objective().loss(nyala.from_numpy(logits), truth).item()
    assert objective(auxiliary=0.4).loss(both, truth).item() == pytest.approx(1.4 * alone, rel=1e-6)


def test_scores_of_pixels() -> None:
    found = objectives.pixels.PixelResult(("a", "b", "c"), [], [])
    found.add(np.array([[0, 0, 1, VOID]]), np.array([[0, 1, 1, 2]]), 1.5)
    found.add(np.array([[0, 0]]), np.array([[0, 0]]), 0.5)
    record = found.record()
    assert record["accuracy"] == 4 / 5 and record["loss"] == pytest.approx(0.4)
    assert record["mean_iou"] == pytest.approx((3 / 4 + 1 / 2) / 2)  # class c is nowhere
    assert record["mean_dice"] == pytest.approx((6 / 7 + 2 / 3) / 2)
    assert found.resampled(np.array([0, 2]))["mean_iou"] == 1.0
    assert [one["index"] for one in found.shown([None, None], 1)] == [0, 1]


def test_panoptic_quality_is_that_of_the_metric() -> None:
    rng = np.random.default_rng(4)
    found, metric = objectives.pixels.PixelResult(("a", "b", "c"), [], []), PanopticQuality((), (0, 1, 2))
    for i in range(20):
        truth = np.repeat(np.repeat(rng.integers(0, 3, (2, 2)), 4, 0), 4, 1)
        guess = np.where(rng.random((8, 8)) < 0.05 * i, rng.integers(0, 3, (8, 8)), truth)
        truth[:, : rng.integers(0, 6)] = VOID
        found.add(truth, guess, 0.0)
        maps = [{"segmentation": m, "segments_info": [{"id": k, "category_id": k} for k in np.unique(m[m >= 0]).tolist()]}
                for m in (guess, truth)]  # fmt: skip
        metric.update(maps[:1], maps[1:])
    assert 0.3 < found.record()["panoptic_quality"] < 0.99
    assert found.record()["panoptic_quality"] == pytest.approx(metric.compute().pq, rel=1e-12)


def test_damaged_masks_are_left_out(masks: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(masks, tmp_path / "copy"))
    (folder / "masks" / "03.png").write_bytes((masks / "masks" / "03.png").read_bytes()[:60])
    (folder / "images" / "05.png").write_bytes(b"no picture")
    Image.new("L", (9, 9)).save(folder / "masks" / "07.png")
    with pytest.warns(UserWarning, match="3 of 24 pictures cannot be read and are left out: .*03.png is damaged"):
        left = datasets.read(Data(name=str(folder), corrupt="skip")).train
    assert {Path(one.image).stem for one in left.inputs} == {f"{i:02}" for i in range(24)} - {"03", "05", "07"}


def test_scenes_of_ade20k(tmp_path: Path) -> None:
    root = tmp_path / "ADEChallengeData2016"
    for split, count in (("training", 4), ("validation", 2)):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (6, 1)).save(root / "images" / split / f"{i}.jpg")
            Image.fromarray(np.array([[0, 1, 2, 150, 0, 0]], np.uint8)).save(root / "annotations" / split / f"{i}.png")
    rows = "".join(f"{i}\t0.1\t9\t9\tthing {i}\n" for i in range(1, 151))
    (root / "objectInfo150.txt").write_text(f"Idx\tRatio\tTrain\tVal\tName\n{rows}")
    found = datasets.read(Data(name=str(tmp_path)))
    assert (found.kind, len(found.train), len(found.test or ()), len(found.labels)) == ("masks", 4, 2, 150)
    assert found.labels[149] == "thing 150" and "read as ADE20K" in found.notes[0]
    assert found.train.inputs[0].sized().tolist() == [[VOID, 0, 1, 149, VOID, VOID]]
    assert datasets.read(Data(name=str(root))).hashes == found.hashes
    with pytest.raises(DataError, match=r"leave data\.test out"):
        datasets.read(Data(name=str(root), test=str(root)))
    (root / "annotations" / "training" / "2.png").unlink()
    with pytest.raises(DataError, match=r"there is no mask .*2\.png"):
        datasets.read(Data(name=str(root)))


def test_balanced_weights_count_pixels() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0] = 1
    mask[1] = 255
    weights = pixels.pixel_weights([MaskedPicture(None, mask)], 3)
    assert weights.tolist() == [0.75, 1.5, 1.0]
