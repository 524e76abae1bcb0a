"""Learning from a teacher: the loss, what the teacher sees, whole runs with the same bytes, and teachers that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import RecipeError
from nyala.recipes.cli import main
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.language.schema import Distill
from nyala.recipes.training import distillation, setup, trainer
from nyala.recipes.training.objectives import Classes, Distilled
from nyala.vision.preprocess import ImagePreprocess


@pytest.fixture
def teacher(recipe_file: Path, tmp_path: Path) -> Path:
    """A finished run on the data of the recipe."""
    run = runs.create(config.load(recipe_file), tmp_path / "teacher")
    trainer.train(run)
    return run.folder


def taught(recipe_file: Path, teacher: Path, *more: str) -> Any:
    return config.load(recipe_file, [f"train.distill={{teacher={str(teacher)!r}}}", "model.random_init=true", *more])


def losses(run: runs.Run) -> list[float]:
    return [r["loss"] for r in metrics.read(run.folder / "metrics.jsonl") if r["kind"] == "step"]


def test_a_run_stops_and_goes_on_with_the_same_bytes(recipe_file: Path, teacher: Path, tmp_path: Path) -> None:
    whole, stopped = (runs.create(taught(recipe_file, teacher), tmp_path / name) for name in ("whole", "stopped"))
    trainer.train(whole)
    trainer.train(stopped, stop_after=5)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    alone = runs.create(config.load(recipe_file, ["model.random_init=true"]), tmp_path / "alone")
    trainer.train(alone, stop_after=3)
    assert losses(alone) != losses(whole)[:3]
    weights = whole.manifest()["weights"]
    assert any(name.startswith("teacher/") for name in weights)
    assert main(["verify", str(whole.folder)]) == 0


def test_other_weights_of_the_teacher_are_refused(recipe_file: Path, teacher: Path, tmp_path: Path) -> None:
    run = runs.create(taught(recipe_file, teacher), tmp_path / "run")
    trainer.train(run, stop_after=3)
    path = teacher / "model" / "model.safetensors"
    arrays = {n: np.array(a) for n, a in nyala.checkpoint.load_file(path).items()}
    nyala.checkpoint.save_file({**arrays, "fc.bias": arrays["fc.bias"] + 1}, path)
    with pytest.raises(nyala.errors.IntegrityError, match="weights"):
        trainer.train(run)


def test_the_teacher_may_lie_elsewhere_later(recipe_file: Path, teacher: Path, tmp_path: Path) -> None:
    run = runs.create(taught(recipe_file, teacher), tmp_path / "run")
    trainer.train(run, stop_after=3)
    moved = teacher.rename(tmp_path / "moved")
    assert main(["resume", str(run.folder)]) == 2
    assert main(["resume", str(run.folder), f"train.distill.teacher={moved}"]) == 0


def test_with_mixup_the_teacher_sees_what_the_model_sees(recipe_file: Path, teacher: Path, tmp_path: Path) -> None:
    run = runs.create(taught(recipe_file, teacher, "train.mixup=0.4", "train.accumulate=2"), tmp_path / "run")
    trainer.train(run, stop_after=2)
    assert all(np.isfinite(losses(run)))


def logits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)


def test_the_loss_is_hintons() -> None:
    mine, told, truth = logits(0), logits(1), np.array([0, 1, 2, 1, 0])
    objective = Distilled(3, share=0.6, temperature=3.0)
    both = nyala.tensor(np.concatenate([mine, told], 1), requires_grad=True)
    loss = objective.loss(both, nyala.from_numpy(truth), "none")

    def softened(x: np.ndarray) -> np.ndarray:
        powers = np.exp(x.astype(np.float64) / 3)
        return powers / powers.sum(1, keepdims=True)

    soft = 9 * (softened(told) * np.log(softened(told) / softened(mine))).sum(1)
    hard = Classes(3).loss(nyala.from_numpy(mine), nyala.from_numpy(truth), "none").numpy()
    np.testing.assert_allclose(loss.detach().numpy(), 0.4 * hard + 0.6 * soft, rtol=1e-5)
    loss.sum().backward()
    assert not both.grad.numpy()[:, 3:].any() and both.grad.numpy()[:, :3].all()
    assert objective.correct(both, truth) == int((mine.argmax(1) == truth).sum())


def test_a_teacher_of_ones_own_mind_adds_nothing() -> None:
    mine, truth = logits(0), nyala.tensor([0, 1, 2, 1, 0])
    loss = Distilled(3, share=1.0).loss(nyala.from_numpy(np.concatenate([mine, mine], 1)), truth)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_class_weights_count_for_both_parts() -> None:
    mine, told, truth = logits(0), logits(1), np.array([0, 1, 2, 1, 0])
    weights, both = np.array([1.0, 3.0, 0.5], np.float32), nyala.from_numpy(np.concatenate([logits(0), logits(1)], 1))
    each = Distilled(3, share=0.5).loss(both, nyala.from_numpy(truth), "none").numpy()
    weighted = Distilled(3, weights=weights, share=0.5).loss(both, nyala.from_numpy(truth), "none").numpy()
    np.testing.assert_allclose(weighted, each * weights[truth], rtol=1e-5)
    assert mine.shape == told.shape


def test_the_teacher_sees_pictures_as_it_was_trained(teacher: Path) -> None:
    pipe: Any = nyala.load(str(teacher))
    prepared = ImagePreprocess(pipe.preprocess.size, "bilinear", 1.0, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    with nyala.no_grad():
        expected = pipe.model(nyala.from_numpy(pipe.preprocess.normalise(picture)[None])).numpy()
        found = distillation.Teacher(pipe, prepared)(nyala.from_numpy(prepared.normalise(picture)[None])).numpy()
        larger = ImagePreprocess((32, 32), "bilinear", 1.0, (0.2, 0.3, 0.4), (0.5, 0.6, 0.7))
        grown = larger.normalise(np.repeat(np.repeat(picture, 2, 0), 2, 1))
        shrunk = distillation.Teacher(pipe, larger)(nyala.from_numpy(grown[None])).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert shrunk.shape == expected.shape


def test_teachers_that_do_not_fit(recipe_file: Path, teacher: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"knows class 0, class 1, .* and the data have blue, green, red"):
        setup.prepare(taught(recipe_file, tiny_model).recipe)
    with pytest.raises(RecipeError, match=r"(?s)train.distill.teacher: .*train one first"):
        distillation.load(Distill(teacher=str(tmp_path / "nowhere")), nyala.load(str(teacher)), ["a"])


def test_only_pictures_have_teachers(text_recipe_file: Path) -> None:
    with pytest.raises(RecipeError, match=r"train.distill: only for pictures"):
        setup.prepare(config.load(text_recipe_file, ["train.distill={teacher='x'}"]).recipe)
