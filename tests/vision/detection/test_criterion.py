"""Matching and loss of detectors, against SciPy's and transformers' numbers."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, ShapeError
from nyala.vision.detection import DetectionLoss, HungarianMatcher, SetCriterion, linear_sum_assignment
from nyala.vision.models.detecting import DetectionOutput

FROZEN = checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "vision" / "detection.safetensors")
OBJECTS = [(FROZEN[f"objects.{i}.class_labels"], FROZEN[f"objects.{i}.boxes"]) for i in range(3)]


def both_layers() -> tuple[list[nyala.Tensor], DetectionLoss]:
    """The frozen answers of two layers as leaves, and their loss."""
    leaves = [nyala.tensor(FROZEN[f"{layer}.{what}"], requires_grad=True) for layer in (0, 1) for what in ("logits", "boxes")]
    earlier = DetectionOutput(*leaves[:2])
    criterion = SetCriterion(4, HungarianMatcher(1, 5, 2))
    return leaves, criterion(DetectionOutput(*leaves[2:], auxiliary_outputs=(earlier,)), OBJECTS)


def test_the_loss_equals_transformers() -> None:
    _, found = both_layers()
    assert found.loss.item() == pytest.approx(float(FROZEN["loss"]), rel=1e-6)
    for part in ("loss_ce", "loss_bbox", "loss_giou"):
        assert getattr(found, part).item() == pytest.approx(float(FROZEN[f"loss.{part}"]), rel=1e-6)
    assert [len(rows) for rows, _ in found.matched] == [3, 0, 8]


def test_its_gradients_equal_transformers() -> None:
    leaves, found = both_layers()
    found.loss.backward()
    names = [f"grad.{layer}.{what}" for layer in (0, 1) for what in ("logits", "boxes")]
    for leaf, name in zip(leaves, names, strict=True):
        assert np.abs(leaf.grad.numpy() - FROZEN[name]).max() < 1e-6 * np.abs(FROZEN[name]).max()


@pytest.mark.parametrize("number", range(4))
def test_the_assignment_equals_scipys(number: int) -> None:
    rows, columns = linear_sum_assignment(FROZEN[f"cost.{number}"])
    assert rows.tolist() == FROZEN[f"cost.{number}.r"].tolist() and columns.tolist() == FROZEN[f"cost.{number}.c"].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_no_other_assignment_costs_less_even_where_costs_are_equal(seed: int) -> None:
    draw = np.random.default_rng(seed)
    cost = draw.integers(0, 4, (draw.integers(1, 6), 5)).astype(float)
    rows, columns = linear_sum_assignment(cost)
    assert len(set(columns.tolist())) == len(rows)
    least = min(cost[range(len(cost)), list(p)].sum() for p in permutations(range(5), len(cost)))
    assert cost[rows, columns].sum() == least
    assert cost.T[tuple(linear_sum_assignment(cost.T))].sum() == least


def test_nothing_to_assign_and_nonsense() -> None:
    assert [len(side) for side in linear_sum_assignment(np.zeros((3, 0)))] == [0, 0]
    with pytest.raises(ShapeError, match="costs of shape"):
        linear_sum_assignment(np.zeros(3))
    with pytest.raises(ArgumentError, match="not finite"):
        linear_sum_assignment(np.array([[np.nan]]))
    with pytest.raises(ArgumentError, match="all costs"):
        HungarianMatcher(0, 0, 0)


def test_answers_that_are_not_finite_are_chosen_last() -> None:
    logits, boxes = np.zeros((3, 3)), np.tile([0.5, 0.5, 0.2, 0.2], (3, 1))
    boxes[0] = np.nan
    answers, _ = HungarianMatcher()(logits, boxes, np.array([0, 1]), boxes[1:])
    assert answers.tolist() == [1, 2]


def test_pictures_without_objects_are_all_background() -> None:
    answers = DetectionOutput(nyala.zeros(2, 3, 3), nyala.full((2, 3, 4), 0.5))
    found = SetCriterion(2)(answers, [(np.zeros(0, np.int64), np.zeros((0, 4)))] * 2)
    assert found.loss.item() == pytest.approx(np.log(3)) and found.loss_bbox.item() == 0


def test_boxes_without_an_area_do_no_harm() -> None:
    boxes = nyala.full((1, 3, 4), 0.0)
    boxes.requires_grad_(True)
    found = SetCriterion(2)(DetectionOutput(nyala.zeros(1, 3, 3), boxes), [(np.array([1]), np.zeros((1, 4)))])
    found.loss.backward()
    assert np.isfinite(found.loss.item()) and np.isfinite(boxes.grad.numpy()).all()


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([], "2 pictures with the objects of 0"),
        ([(np.arange(4) % 2, np.ones((4, 4)))] * 2, "4 objects and the model 3 answers"),
        ([(np.array([2]), np.ones((1, 4)))] * 2, "class 2"),
        ([(np.array([-1]), np.ones((1, 4)))] * 2, "class -1"),
        ([(np.array([0]), np.ones((1, 5)))] * 2, "boxes of shape"),
        ([(np.array([0]), np.full((1, 4), np.nan))] * 2, "boxes of shape"),
    ],
)
def test_objects_that_make_no_sense_are_named(objects: list[tuple[np.ndarray, np.ndarray]], text: str) -> None:
    answers = DetectionOutput(nyala.zeros(2, 3, 3), nyala.full((2, 3, 4), 0.5))
    with pytest.raises(DataError, match=text):
        SetCriterion(2)(answers, objects)
