"""Balanced sampling: every class equally often, and an order that depends on (seed, epoch) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import DataError
from nyala.recipes.data import batches
from nyala.recipes.data.sampling import Balanced
from nyala.recipes.language import config
from nyala.recipes.training import setup

skewed = np.array([0] * 50 + [1] * 7 + [3] * 3)  # class 2 does not occur


def order(epoch: int, seed: int = 5, labels: np.ndarray = skewed) -> list[Any]:
    sampler = Balanced(labels, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_each_class_comes_equally_often() -> None:
    found = order(0)
    assert len(found) == len(skewed)
    assert np.bincount(skewed[found], minlength=4).tolist() == [20, 20, 0, 20]


def test_what_does_not_divide_goes_to_other_classes_each_epoch() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    counts = [tuple(np.bincount(labels[order(e, labels=labels)])) for e in range(30)]
    assert {sum(c) for c in counts} == {7} and {max(c) - min(c) for c in counts} == {1} and len(set(counts)) == 3


def test_no_sample_comes_again_before_all_others_of_its_class() -> None:
    found = order(3)
    for label, times in {1: (2, 3), 3: (6, 7)}.items():
        counts = np.bincount(found, minlength=len(skewed))[skewed == label]
        assert set(counts) <= set(times)
    assert len({int(i) for i in found if skewed[i] == 0}) == 20  # a frequent class: no repeats
    seen: dict[int, set[int]] = {}
    for turn in found:
        assert turn.seen not in seen.setdefault(int(turn), set())
        seen[int(turn)].add(turn.seen)
    assert all(turns == set(range(len(turns))) for turns in seen.values())


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert order(1) == order(1) != order(2)
    assert order(1) != order(1, seed=6)
    assert {i for i in order(1) if skewed[i] == 0} != {i for i in order(2) if skewed[i] == 0}


@pytest.mark.parametrize("position", [0, 2, 5])
def test_it_goes_on_in_the_middle_of_an_epoch_with_any_number_of_threads(recipe_file: Path, position: int) -> None:
    def rest(workers: int, start: int) -> list[tuple[list[int], bytes]]:
        recipe = config.load(recipe_file, ["data.sampling=balanced", f"data.workers={workers}"]).recipe
        made = setup.prepare(recipe)
        loader = batches.for_training(made.source.train, made.task, recipe, 1, start)
        return [(b.indices.tolist(), b.inputs.numpy().tobytes()) for b in loader]

    whole = rest(0, 0)
    assert rest(0, position) == rest(3, position) == whole[position:]


def test_a_sample_that_comes_again_is_augmented_anew(recipe_file: Path, tmp_path: Path, tiny_data: Path) -> None:
    import shutil

    data = tmp_path / "few-red"
    shutil.copytree(tiny_data, data)
    for picture in sorted((data / "red").iterdir())[5:]:
        picture.unlink()
    overrides = ["data.sampling=balanced", f"data.name={data}", "data.augment=[{type='random_erasing', p=1.0}]"]
    recipe = config.load(recipe_file, overrides).recipe
    made = setup.prepare(recipe)
    views: dict[int, set[bytes]] = {}
    shown = 0
    for batch in batches.for_training(made.source.train, made.task, recipe, 0, 0):
        for index, label, picture in zip(batch.indices, batch.labels, batch.inputs.numpy(), strict=True):
            if label == 2:
                shown += 1
                views.setdefault(int(index), set()).add(picture.tobytes())
    assert shown > len(views) and sum(len(v) for v in views.values()) == shown


def test_an_unreadable_sample_is_called_by_its_own_number(recipe_file: Path, tmp_path: Path) -> None:
    made = setup.prepare(config.load(recipe_file, ["data.sampling=balanced"]).recipe)
    broken = Path(tmp_path / "gone.png")
    made.source.train.inputs[4] = broken  # type: ignore[index]
    recipe = config.load(recipe_file, ["data.sampling=balanced", "data.batch_size=1"]).recipe
    with pytest.raises(DataError, match=r"sample 4: there is no file"):
        list(batches.for_training(made.source.train, made.task, recipe, 0, 0))
