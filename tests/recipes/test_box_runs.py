"""Whole runs on pictures with boxes: they learn, stop and go on with the same bytes, and load again; files in COCO's format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core import random
from nyala.errors import DataError, RecipeError
from nyala.recipes.cli import main
from nyala.recipes.data import boxes, datasets
from nyala.recipes.data.batches import Prepared
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config, pictures
from nyala.recipes.language.schema import Data, HorizontalFlip, RandomResizedCrop
from nyala.recipes.training import objectives, setup, trainer
from nyala.vision.datasets import DrawnShapes
from nyala.vision.detection import DetectionPreprocess, SetCriterion
from nyala.vision.models.detecting import DetectionOutput
from nyala.vision.transforms.sample import Sample

SIZES = {
    "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_layers": 2,
    "decoder_attention_heads": 2, "decoder_ffn_dim": 16, "num_queries": 5, "backbone_layers": [1, 1],
    "backbone_channels": [4, 8], "backbone_stem_channels": 8,
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path, coco: Path) -> Path:
    path = tmp_path / "tiny.toml"
    sizes = "\n".join(f"{k} = {v}" for k, v in SIZES.items())
    path.write_text(
        f"""schema = 1
seed = 3
[data]
name = "{coco}"
batch_size = 4
workers = 0
validation_fraction = 0.2
augment = [{{ type = "horizontal_flip" }}]
[model]
name = "detr-resnet-50"
random_init = true
image_size = 32
[model.sizes]
{sizes}
[optim]
type = "adamw"
lr = 0.003
[train]
epochs = 6
checkpoint = {{ every = 3 }}
best = {{ metric = "loss" }}
"""
    )
    return path


def test_it_learns_stops_goes_on_and_loads(recipe: Path, coco: Path, tmp_path: Path) -> None:
    whole, stopped = (runs.create(config.load(recipe), tmp_path / name) for name in ("whole", "stopped"))
    scores = trainer.train(whole)
    losses = [r["loss"] for r in metrics.read(whole.folder / runs.METRICS) if r["kind"] == "step"]
    assert losses[-1] < 0.8 * losses[0] and {"map", "map_50", "loss"} <= set(scores)
    trainer.train(stopped, stop_after=7)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipe: Any = nyala.load(str(whole.folder))
    assert pipe.labels == ("circle", "square", "triangle") and pipe.preprocess.size == (32, 32)
    assert len(pipe(str(coco / "00.png"), threshold=0.01)) > 0
    assert "data:image/png" in (whole.folder / "report.html").read_text()
    told = [json.loads(line) for line in (whole.folder / "predictions.jsonl").read_text().splitlines()]
    assert all(len(one["labels"]) == len(one["boxes"]) and len(one["scores"]) == len(one["predicted_boxes"]) for one in told)
    assert (whole.folder / "data.sha256").read_text().count(".png") == 24


def test_verify_and_evaluate_find_the_same(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxed = "{type='mosaic', p=0.7}, {type='random_zoom_out'}, {type='random_iou_crop'}"
    changes = f"data.augment=[{boxed}, {{type='horizontal_flip'}}]"
    changed = runs.create(config.load(recipe, ["train.epochs=1", "model.sizes.num_queries=12", changes]), tmp_path / "changed")
    trainer.train(changed)
    assert main(["verify", str(changed.folder)]) == 0
    changes = "data.augment=[{type='random_resized_crop'}, {type='random_affine'}, {type='rand_augment'}]"
    run = runs.create(config.load(recipe, ["train.epochs=1", changes]), tmp_path / "run")
    trainer.train(run)
    assert main(["verify", str(run.folder)]) == 0
    assert "bitwise" in capsys.readouterr().out
    assert main(["evaluate", str(run.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    final = trainer.final_metrics(run)
    assert json.dumps(told).count('"map_50"') > 0 and f"{final['loss']:.6f}"[:6] in json.dumps(told)
    assert main(["report", str(run.folder)]) == 0


@pytest.mark.parametrize(
    "more",
    [
        ["train.accumulate=2"],
        ["train.checkpointing=true"],
        ['model.freeze=["model.backbone"]'],
        ["train.ema=0.9"],
        ["data.augment=[]", "model.image_size=none", "data.limit_train=3", "data.batch_size=1"],
    ],
)
def test_options(recipe: Path, tmp_path: Path, more: list[str]) -> None:
    run = runs.create(config.load(recipe, ["train.epochs=none", "train.steps=2", "train.watchdog={}", *more]), tmp_path / "run")
    trainer.train(run, stop_after=2)
    losses = [r["loss"] for r in metrics.read(run.folder / "metrics.jsonl") if r["kind"] == "step"]
    assert len(losses) == 2 and all(np.isfinite(losses))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["train.mixup=0.2"], "pictures with boxes cannot be blended"),
        (["data.augment=[{type='aug_mix'}]"], "aug_mix is not for pictures with boxes"),
        (["data.augment=[{type='horizontal_flip'},{type='mosaic'}]"], "mosaic comes after other changes"),
        (["data.augment=[{type='random_zoom_out',side_range=[2,1]}]"], "the lower bound 2 is above the upper bound 1"),
        (["data.augment=[{type='random_erasing'}]"], "random_erasing is not for pictures with boxes"),
        (["data.sampling=balanced"], "have no classes to balance"),
        (["train.best.metric=accuracy"], "pictures with boxes have map, map_50, loss"),
        (["model.num_classes=2"], "model.num_classes is 2"),
        (["model.crop_pct=0.9"], "detr-resnet-50 sees whole pictures"),
    ],
)
def test_options_that_do_not_fit(recipe: Path, more: list[str], text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        setup.prepare(config.load(recipe, more).recipe)


def test_more_objects_than_answers_are_told(recipe: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe, ["model.sizes.num_queries=1"]), tmp_path / "run")
    with pytest.raises(DataError, match="the model 1 answers"):
        trainer.train(run)


# ---- files in COCO's format


def raw(name: Path, **more: Any) -> datasets.Raw:
    return datasets.read(Data(name=str(name), **more))


def test_files_and_folders_are_read(coco: Path, tmp_path: Path) -> None:
    found = raw(coco)
    assert found.kind == "boxes" and found.labels == ["circle", "square", "triangle"] and len(found.train) == 24
    drawn = DrawnShapes("train", 24, size=32)
    for i in (0, 7, 23):
        sample = boxes.sample_of(found.train.inputs[i])
        assert np.array_equal(sample.image, drawn[i].image) and np.array_equal(sample.boxes, drawn[i].boxes)
        assert np.array_equal(sample.labels, drawn[i].labels)
    assert raw(coco / "_annotations.coco.json").hashes == found.hashes
    parts = tmp_path / "parts"
    for part in ("train", "valid", "test"):
        shutil.copytree(coco, parts / part)
    found = raw(parts)
    assert set(found.hashes) == {"train", "validation", "test"} and len(found.test or ()) == 24
    moved = tmp_path / "moved"
    shutil.copytree(coco, moved / "train2017")
    (moved / "annotations").mkdir()
    file = (moved / "train2017" / "_annotations.coco.json").rename(moved / "annotations" / "instances_train2017.json")
    assert len(raw(file, test=str(coco)).test or ()) == 24


def test_files_with_mistakes(coco: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(coco, tmp_path / "copy"))
    with pytest.raises(DataError, match=r"leave data.subset out"):
        raw(folder, subset="one")
    with pytest.raises(DataError, match="holds no annotations"):
        raw(folder, test=str(tmp_path))
    content = json.loads((folder / "_annotations.coco.json").read_text())
    content["categories"][0]["name"] = "disc"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"names 00.png, which is not there"):
        raw(other)
    other = Path(shutil.move(other, folder / "other.json"))
    with pytest.raises(DataError, match="has the classes disc, square, triangle"):
        raw(folder, test=str(other))
    (folder / "00.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="1 of 24 pictures cannot be read"):
        assert len(raw(folder, corrupt="skip").train) == 23
    with pytest.raises(DataError, match=r"00.png is not a picture"):
        boxes.sample_of(raw(folder).train.inputs[0])


# ---- batches and scores


def test_boxes_go_where_their_pictures_go() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[4:10, 2:12] = 255
    task = boxes.Boxes(DetectionPreprocess(size=(20, 40)), takes_mask=True)
    sample = Sample(image, boxes=[[2, 4, 12, 10]], labels=[1])
    plain = task.prepare(sample)
    flipped = task.prepare(sample, [HorizontalFlip(p=1.0)], random.key(1, "augment", 0))
    assert np.array_equal(plain[0][:, :, ::-1], flipped[0])
    assert np.allclose(plain[1], [[1, 7 / 40, 7 / 20, 10 / 40, 6 / 20]])
    assert np.allclose(flipped[1], [[1, 33 / 40, 7 / 20, 10 / 40, 6 / 20]])
    assert np.array_equal(task.prepare(sample, [HorizontalFlip(p=0.0)], random.key(1, "augment", 0))[1], plain[1])


@pytest.mark.parametrize(
    "change",
    [
        pictures.VerticalFlip(1.0), pictures.RandomAffine(30, 0.2, (0.7, 1.3), 5), pictures.RandomPerspective(1.0),
        pictures.ColorJitter(0.2, 0.0, 0.0), RandomResizedCrop((0.3, 0.9)), pictures.RandomIoUCrop(1.0, (0.4, 0.8)),
        pictures.RandomZoomOut(1.0, (1.2, 2.0)),
    ],
    ids=lambda c: type(c).__name__,
)  # fmt: skip
def test_boxes_hold_what_they_held(change: Any) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:22, 14:40] = 255
    task = boxes.Boxes(DetectionPreprocess(size=(80, 120), mean=(0, 0, 0), std=(1, 1, 1)), takes_mask=True)
    sample, moved, seen = Sample(image, boxes=[[14, 10, 40, 22]], labels=[1]), 0, 0
    for i in range(12):
        made, objects = task.prepare(sample, [change], random.key(3, "augment", i))
        white = np.argwhere(made.max(0) > 0.5)
        assert made.shape == (3, 80, 120)
        if not len(objects):
            assert len(white) < 200  # less than a pixel was left of a side
            continue
        _, x, y, width, height = objects[0] * [1, 120, 80, 120, 80]
        assert objects.shape == (1, 5) and objects[0, 0] == 1
        assert (white.min(0) >= [y - height / 2 - 2, x - width / 2 - 2]).all()
        assert (white.max(0) <= [y + height / 2 + 2, x + width / 2 + 2]).all()
        seen, moved = seen + 1, moved + (not np.allclose([x, y, width, height], [54, 32, 52, 24], atol=0.5))
    assert seen >= 9 and (moved >= 9) == (type(change) is not pictures.ColorJitter)


def test_a_mosaic_is_made_of_four_pictures() -> None:
    part = datasets.Part(list(DrawnShapes("train", 8, size=32)), np.zeros(8, np.int64))
    task = boxes.Boxes(DetectionPreprocess(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1)), takes_mask=True)
    always = Prepared(part, task, [pictures.Mosaic(1.0, (0.5, 0.5))])
    for index in range(4):
        key = random.key(2, "augment", 0, index)
        (seen, objects), _, _ = always.get(index, key)
        chosen = [index, *key.fold(0).fold("others").integers(0, 8, (3,))]
        own = part.inputs[index].image[16:, 16:]  # scaled to the whole, its corner at the middle
        assert np.array_equal((seen[:, :16, :16] * 255).round().astype(np.uint8), own.transpose(2, 0, 1))
        assert len(objects) <= sum(len(part.inputs[i].labels) for i in chosen)
        assert np.array_equal(always.get(index, key)[0][0], seen)
    plain = Prepared(part, task, [pictures.Mosaic(0.0)]).get(3, random.key(2, "augment", 0, 3))[0]
    assert np.array_equal(plain[0], task.prepare(part.inputs[3])[0])


def test_pictures_of_many_sizes_are_filled_up() -> None:
    samples = [Sample(np.zeros((16, w, 3), np.uint8), boxes=[[0, 0, 8, 8]], labels=[0]) for w in (16, 32)]
    samples.append(Sample(np.zeros((16, 16, 3), np.uint8)))
    prepare = DetectionPreprocess(shortest_edge=16)
    for takes_mask in (True, False):
        task = boxes.Boxes(prepare, takes_mask)
        prepared = [task.prepare(s) for s in samples]
        given = task.collate(prepared, np.arange(3))
        assert given["pixel_values"].shape == (3, 3, 16, 32) and ("pixel_mask" in given) == takes_mask
        told = task.targets(prepared, [0, 0, 0], given)
        assert told.shape == (3, 1, 5) and told[2, 0, 0] == boxes.NOTHING
        assert told[1, 0].tolist() == [0, 0.125, 0.25, 0.25, 0.5]  # shares of the picture, not of what fills it up


def answers(labels: list[int], places: list[list[float]]) -> DetectionOutput:
    logits = np.full((1, 3, 3), -4, np.float32)
    logits[0, :, 2] = 4
    found = np.full((1, 3, 4), 0.1, np.float32)
    for i, (label, place) in enumerate(zip(labels, places, strict=True)):
        logits[0, i, label], logits[0, i, 2], found[0, i] = 4, -4, place
    return DetectionOutput(nyala.tensor(logits), nyala.tensor(found))


def test_scores_of_boxes() -> None:
    objective = objectives.Boxes(SetCriterion(2), ("cat", "dog"))
    right, wrong = [0.3, 0.3, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]
    truth = np.array([[[0, *right], [1, *wrong]]], np.float32)
    good, bad = answers([0, 1], [right, wrong]), answers([1, 0], [right, wrong])
    assert objective.answers(truth) == 2 and objective.correct(good, truth) == 2 and objective.correct(bad, truth) == 0
    targets = nyala.from_numpy(truth)
    assert objective.loss(good, targets).item() < objective.loss(bad, targets).item()
    assert objective.loss(good, targets, "none").shape == (1,)
    assert objective.count(targets) == 2 and objective.count(nyala.full((2, 1, 5), -1.0)) == 1

    class Model(nyala.nn.Module):
        def forward(self, which: Any) -> DetectionOutput:
            return good if which else bad

    batches = [batches_of(i, truth) for i in (True, False)]
    found = objective.evaluate(Model(), batches)
    assert found.samples == 2 and found.resampled(np.array([1.0, 0.0]))["map"] == pytest.approx(1.0)
    assert found.resampled(np.array([0.0, 1.0]))["map"] == 0 and 0 < found.record()["map"] < 1
    shown = found.shown([None, None], 2)
    assert [one["index"] for one in shown] == [1, 0] and shown[1]["label"] == shown[1]["predicted"] == "cat, dog"
    assert shown[0]["predicted"] == "cat, dog, in other places"
    told = list(found.predictions())
    assert told[0]["predicted_labels"] == [0, 1] and np.allclose(told[0]["predicted_boxes"][0], right)


def batches_of(which: bool, truth: np.ndarray) -> Any:
    from nyala.recipes.data.batches import Batch

    return Batch({"which": which}, truth, np.array([0]))
