"""Dice and focal losses: equal to MONAI's and torchvision's, with their gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import checkpoint, nn
from nyala.errors import ArgumentError, IndexRangeError, ShapeError

FROZEN = checkpoint.load_file(Path(__file__).parents[1] / "goldens" / "vision" / "losses.safetensors")
TARGET, BINARY, VOIDED = (nyala.from_numpy(np.array(FROZEN[name])) for name in ("target", "binary", "voided"))
IN_SINGLE = ("focal.classes", "focal.weighted", "dice.squared")  # what MONAI computes in float32, at least in part
WEIGHT = nyala.tensor([0.5, 1.0, 2.0, 3.0], dtype="float64")
CASES: dict[str, tuple[str, Any]] = {
    "dice.plain": ("scores", lambda x: F.dice_loss(x, TARGET)),
    "dice.foreground": ("scores", nn.DiceLoss(include_background=False, batch=True)),
    "dice.squared": ("scores", nn.DiceLoss(squared_pred=True, reduction="none", smooth_nr=1.0, smooth_dr=2.0)),
    "dice.jaccard": ("scores", lambda x: F.dice_loss(x, TARGET, jaccard=True, reduction="sum")),
    "dice.ignoring": ("scores", lambda x: F.dice_loss(x, VOIDED, ignore_index=255)),
    "dice.binary": ("one", lambda x: F.dice_loss(x, BINARY)),
    "focal.sigmoid": ("one", lambda x: F.sigmoid_focal_loss(x, BINARY[:, None].double())),
    "focal.unweighted": ("one", lambda x: F.sigmoid_focal_loss(x, BINARY[:, None].double(), -1, 1.5, "mean")),
    "focal.classes": ("scores", lambda x: F.focal_loss(x, TARGET, 1.5, reduction="none")),
    "focal.weighted": ("scores", nn.FocalLoss(1.5, WEIGHT, reduction="none")),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_the_references(name: str) -> None:
    source, loss = CASES[name]
    x = nyala.tensor(FROZEN[source], dtype="float64", requires_grad=True)
    value = loss(x, TARGET) if isinstance(loss, nn.Module) else loss(x)
    expected = FROZEN[name]
    rtol = 1e-5 if name in IN_SINGLE else 1e-9
    np.testing.assert_allclose(value.detach().numpy().reshape(expected.shape), expected, rtol=rtol)
    weights = np.cos(0.7 * np.arange(value.numel()) + 0.3).reshape(value.shape)
    (value * nyala.tensor(weights, dtype="float64")).sum().backward()
    np.testing.assert_allclose(
        x.grad.numpy(), FROZEN[f"{name}.grad"], rtol=10 * rtol, atol=10 * rtol * np.abs(FROZEN[f"{name}.grad"]).max()
    )


def test_focal_without_focus_is_cross_entropy() -> None:
    x = nyala.tensor(FROZEN["scores"])
    for ignored in (None, 255):
        target = TARGET if ignored is None else VOIDED
        expected = F.cross_entropy(x, target, ignore_index=-100 if ignored is None else ignored)
        assert F.focal_loss(x, target, 0.0, ignore_index=ignored).item() == pytest.approx(expected.item(), rel=1e-6)


def test_what_is_ignored_has_no_gradient() -> None:
    for loss in (F.dice_loss, F.focal_loss):
        x = nyala.tensor(FROZEN["scores"], requires_grad=True)
        loss(x, VOIDED, ignore_index=255).backward()
        void = FROZEN["voided"] == 255
        assert not np.moveaxis(x.grad.numpy(), 1, -1)[void].any() and x.grad.numpy().any()


def test_where_nothing_counts_nothing_is_learnt() -> None:
    x = nyala.tensor(FROZEN["scores"], requires_grad=True)
    nothing = nyala.tensor(np.full((2, 5, 6), 255))
    (F.focal_loss(x, nothing, ignore_index=255) + F.dice_loss(x, nothing, ignore_index=255)).backward()
    assert not x.grad.numpy().any()


def test_bad_input() -> None:
    x = nyala.zeros(2, 3, 4, 4)
    with pytest.raises(IndexRangeError, match=r"sample 1 has class 7 at \(0, 2\)"):
        target = np.zeros((2, 4, 4), np.int64)
        target[1, 0, 2] = 7
        F.dice_loss(x, nyala.tensor(target))
    with pytest.raises(ShapeError, match="drop the target's axis"):
        F.focal_loss(x, nyala.zeros(2, 1, 4, 4, dtype="int64"))
    with pytest.raises(ShapeError, match="use sigmoid_focal_loss"):
        F.focal_loss(nyala.zeros(2, 1, 4), nyala.zeros(2, 4, dtype="int64"))
    with pytest.raises(ArgumentError, match="reduction='middle'"):
        F.dice_loss(x, nyala.zeros(2, 4, 4, dtype="int64"), reduction="middle")
