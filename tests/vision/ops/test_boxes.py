"""Boxes: conversions, overlaps, choices."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, ShapeError
from nyala.testing import gradcheck
from nyala.vision import ops

BOXES = np.array([[0, 0, 4, 2], [1, 1, 3, 5], [6, 6, 8, 9.5]])


def corners(count: int, seed: int) -> np.ndarray:
    first = np.random.default_rng(seed).uniform(0, 10, (count, 2))
    return np.concatenate([first, first + np.random.default_rng(seed + 1).uniform(0.5, 6, (count, 2))], 1)


@pytest.mark.parametrize("to", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("start", ["xyxy", "xywh", "cxcywh"])
def test_formats_go_there_and_back(start: str, to: str) -> None:
    boxes = nyala.tensor(BOXES)
    there = ops.box_convert(boxes, start, to)
    assert np.allclose(ops.box_convert(there, to, start).numpy(), BOXES)


def test_formats_mean_what_they_say() -> None:
    found = {to: ops.box_convert(nyala.tensor(BOXES[1:2]), "xyxy", to).tolist()[0] for to in ("xywh", "cxcywh")}
    assert found == {"xywh": [1, 1, 2, 4], "cxcywh": [2, 3, 2, 4]}


def counted(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Areas of both, of either, and around, counted on a fine grid of points."""
    places = np.arange(0, 16, 0.02) + 0.01
    inside = [[(places >= box[k]) & (places < box[k + 2]) for k in (0, 1)] for box in (a, b)]
    one, other = (np.outer(across, down) for across, down in inside)
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return (one & other).sum() * 0.02**2, (one | other).sum() * 0.02**2, around


def test_overlaps_equal_counted_points() -> None:
    first, second = corners(3, 1), corners(4, 7)
    iou, giou = ops.box_iou(*map(nyala.tensor, (first, second))), ops.generalized_box_iou(*map(nyala.tensor, (first, second)))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            both, either, around = counted(a, b)
            assert iou.numpy()[i, j] == pytest.approx(both / either, abs=0.02)
            assert giou.numpy()[i, j] == pytest.approx(both / either - (around - either) / around, abs=0.02)


def test_the_loss_is_one_minus_the_overlap_of_partners() -> None:
    first, second = nyala.tensor(corners(5, 1)), nyala.tensor(corners(5, 7))
    each = ops.generalized_box_iou_loss(first, second)
    assert np.allclose(each.numpy(), 1 - np.diag(ops.generalized_box_iou(first, second).numpy()), atol=1e-6)
    assert ops.generalized_box_iou_loss(first, second, "sum").item() == pytest.approx(each.numpy().sum())
    assert ops.generalized_box_iou_loss(first, second, "mean").item() == pytest.approx(each.numpy().mean())


def test_overlaps_have_gradients() -> None:
    first, second = (nyala.tensor(corners(3, seed), requires_grad=True) for seed in (1, 7))
    assert gradcheck(lambda a, b: ops.generalized_box_iou_loss(a, b, "sum"), (first, second))
    assert gradcheck(lambda a, b: ops.box_iou(a, b).sum(), (first, second))


def test_suppression_equals_the_rule_word_by_word() -> None:
    boxes, scores = corners(60, 3), np.random.default_rng(4).integers(0, 12, 60) / 12
    iou = ops.box_iou(nyala.tensor(boxes), nyala.tensor(boxes)).numpy()
    for threshold in (0.1, 0.4, 0.8):
        kept: list[int] = []
        for i in sorted(range(60), key=lambda i: (-scores[i], i)):
            if all(iou[i, j] <= threshold for j in kept):
                kept.append(i)
        assert ops.nms(nyala.tensor(boxes), nyala.tensor(scores), threshold).tolist() == kept


def test_suppression_by_class_and_of_nothing() -> None:
    boxes, scores = corners(40, 3), np.random.default_rng(4).uniform(size=40)
    classes = np.arange(40) % 3
    found = ops.batched_nms(nyala.tensor(boxes), nyala.tensor(scores), nyala.tensor(classes), 0.3).tolist()
    apart = []
    for k in range(3):
        rows = np.flatnonzero(classes == k)
        apart += rows[ops.nms(nyala.tensor(boxes[rows]), nyala.tensor(scores[rows]), 0.3).tolist()].tolist()
    assert found == sorted(apart, key=lambda i: -scores[i]) and len(found) < 40
    assert ops.nms(nyala.zeros(0, 4), nyala.zeros(0), 0.5).shape == (0,)


def test_boxes_without_an_area_stay() -> None:
    assert ops.nms(nyala.zeros(2, 4), nyala.ones(2), 0.5).tolist() == [0, 1]


def test_what_is_no_box_is_named() -> None:
    with pytest.raises(ShapeError, match="four numbers"):
        ops.box_area(nyala.zeros(3, 5))
    with pytest.raises(ArgumentError, match="'yxyx'"):
        ops.box_convert(nyala.zeros(3, 4), "yxyx", "xyxy")
    with pytest.raises(ShapeError, match="one score"):
        ops.nms(nyala.zeros(3, 4), nyala.zeros(2), 0.5)
    with pytest.raises(ShapeError, match="in pairs"):
        ops.generalized_box_iou_loss(nyala.zeros(3, 4), nyala.zeros(2, 4))
    with pytest.raises(ArgumentError, match="reduction='all'"):
        ops.generalized_box_iou_loss(nyala.zeros(3, 4), nyala.zeros(3, 4), "all")


def test_frozen_norms_do_what_norms_do_after_training() -> None:
    norm, draw = nn.BatchNorm2d(3), np.random.default_rng(0)
    for tensor in norm.state_dict().values():
        if tensor.ndim:
            tensor.array[...] = draw.uniform(0.5, 1.5, 3)
    x = nyala.tensor(draw.standard_normal((2, 3, 4, 4)).astype(np.float32))
    expected = norm.eval()(x).detach().numpy()
    frozen = ops.freeze_batch_norms(nn.Sequential(norm)).train()
    assert list(frozen.parameters()) == []
    assert np.array_equal(frozen(x).numpy(), expected) and np.array_equal(frozen(x).numpy(), expected)
    assert (frozen[0](x, activation="relu").numpy() == np.maximum(expected, 0)).all()
