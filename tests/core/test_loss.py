"""Losses against their definitions, written out in NumPy."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops import loss as ops
from nyala.core.ops.softmax import log_softmax
from nyala.errors import ArgumentError, DtypeError, IndexRangeError, ShapeError
from nyala.testing import Bad, OpCase, check_op, gradgradcheck

Arrays = Any


def logarithms(x: Arrays, axis: int) -> Arrays:
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def over(loss: Arrays, reduction: str, count: float | None = None) -> Arrays:
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / (loss.size if count is None else count)


def entropy(
    x: Arrays,
    target: Arrays,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    logs: bool = False,
) -> Arrays:
    """One sample after the other, classes in dimension 1 (or 0 of a vector)."""
    if x.ndim == 1:
        out = entropy(
            x[None], target[None], weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing
        )
        return out[0] if reduction == "none" else out
    logp = x if logs else logarithms(x, 1)
    classes = x.shape[1]
    weight = np.ones(classes) if weight is None else weight
    loss, used = np.zeros(target.shape), 0.0
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label == ignore_index:
            continue
        row = logp[(place[0], slice(None), *place[1:])]
        loss[place] = -(1 - label_smoothing) * weight[label] * row[label] - label_smoothing / classes * (weight * row).sum()
        used += weight[label]
    return over(loss, reduction, used)


def soft(x: Arrays, target: Arrays, weight: Any = None, *, reduction: str = "mean", label_smoothing: float = 0.0) -> Arrays:
    target = target * (1 - label_smoothing) + label_smoothing / x.shape[1]
    weight = 1.0 if weight is None else weight.reshape(-1, *[1] * (x.ndim - 2))
    return over(-(logarithms(x, 1) * target * weight).sum(1), reduction)


def shares(x: Arrays) -> Arrays:
    e = np.exp(x)
    return e / e.sum(1, keepdims=True)


def binary(x: Arrays, t: Arrays, w: Any = 1.0, *, reduction: str = "mean") -> Arrays:
    return over(-(t * np.log(x) + (1 - t) * np.log1p(-x)) * w, reduction)


def binary_logits(x: Arrays, t: Arrays, w: Any = 1.0, p: Any = 1.0, *, reduction: str = "mean") -> Arrays:
    return over(w * (p * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)), reduction)


def huber(x: Arrays, t: Arrays, delta: float) -> Arrays:
    d = np.abs(x - t)
    return np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))


def cosine(a: Arrays, b: Arrays) -> Arrays:
    return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def distance(a: Arrays, b: Arrays) -> Arrays:
    return np.sqrt(((a - b + 1e-6) ** 2).sum(-1))


def multi_margin(x: Arrays, y: Arrays, w: Any, p: int, margin: float) -> Arrays:
    loss = np.zeros(len(x))
    for n, (row, label) in enumerate(zip(x, y, strict=True)):
        terms = [max(0.0, margin - row[label] + row[i]) ** p for i in range(len(row)) if i != label]
        loss[n] = w[label] * sum(terms) / len(row)
    return loss.mean()


def apart(s: Any) -> tuple[Any, Any]:
    """Two arrays whose differences keep away from 0, 0.4 and 1, where some losses have a kink."""
    target = s.normal(3, 4)
    return target + s.away((3, 4), [0.0, 0.4, -0.4, 1.0, -1.0]), target


def ones(*shape: int) -> nyala.Tensor:
    return nyala.ones(*shape)


def labels(*values: int) -> nyala.Tensor:
    return nyala.tensor(list(values))


def signs(s: Any, *shape: int) -> Any:
    return np.where(s.bools(*shape), 1, -1)


REDUCTIONS = ("mean", "sum", "none")
ENTROPIES = (
    [
        OpCase(
            f"cross_entropy {reduction} {name}",
            ops.cross_entropy,
            inputs,
            entropy,
            {"reduction": reduction, **options},
            rtol=4,
            differentiable=[0],
        )
        for reduction in REDUCTIONS
        for name, inputs, options in [
            ("plain", lambda s: (s.normal(4, 3) * 3, s.integers(0, 3, (4,))), {}),
            ("weights", lambda s: (s.normal(4, 3), s.integers(0, 3, (4,)), s.positive(3)), {}),
            ("smoothing", lambda s: (s.normal(4, 3), s.integers(0, 3, (4,))), {"label_smoothing": 0.2}),
            (
                "everything",
                lambda s: (s.normal(5, 3, 2), s.integers(0, 3, (5, 2)), s.positive(3)),
                {"label_smoothing": 0.3, "ignore_index": 1},
            ),
            ("images", lambda s: (s.normal(2, 3, 2, 2), s.integers(0, 3, (2, 2, 2))), {"ignore_index": 0}),
            ("one sample", lambda s: (s.normal(3), s.integers(0, 3, ())), {}),
        ]
    ]
    + [
        OpCase(
            f"nll_loss {reduction}",
            lambda x, t, w, **k: ops.nll_loss(x, t, w, **k),
            lambda s: (s.normal(4, 3, 2), s.integers(0, 3, (4, 2)), s.positive(3)),
            lambda x, t, w, **k: entropy(x, t, w, logs=True, **k),
            {"reduction": reduction, "ignore_index": 2},
            rtol=4,
            differentiable=[0],
        )
        for reduction in REDUCTIONS
    ]
    + [
        OpCase(
            f"cross_entropy soft {reduction}",
            ops.cross_entropy,
            lambda s: (s.normal(3, 4, 2), shares(s.normal(3, 4, 2)), s.positive(4)),
            soft,
            {"reduction": reduction, "label_smoothing": 0.1},
            rtol=4,
            differentiable=[0, 1],
        )
        for reduction in REDUCTIONS
    ]
)

OTHERS = [
    OpCase(
        "bce",
        ops.binary_cross_entropy,
        lambda s: (s.uniform((3, 4), 0.05, 0.95), s.uniform((3, 4), 0, 1)),
        binary,
        dtypes=("float32",),
        rtol=4,
        differentiable=True,
        errors=[
            Bad(
                lambda: ops.binary_cross_entropy(nyala.tensor([0.5, 1.5]), ones(2)),
                ArgumentError,
                r"input 1.5 at \(1,\).*with_logits",
            ),
            Bad(lambda: ops.binary_cross_entropy(nyala.tensor([math.nan]), ones(1)), ArgumentError, "input nan"),
            Bad(lambda: ops.binary_cross_entropy(ones(2, 1), ones(2)), ShapeError, r"\(2, 1\), target \(2,\)"),
        ],
    ),
    OpCase(
        "bce weight",
        ops.binary_cross_entropy,
        lambda s: (s.uniform((3, 4), 0.05, 0.95), s.uniform((3, 4), 0, 1), s.positive(4)),
        binary,
        {"reduction": "sum"},
        dtypes=("float32",),
        rtol=4,
        differentiable=[0],
    ),
    OpCase(
        "bce_with_logits",
        ops.binary_cross_entropy_with_logits,
        lambda s: (s.normal(3, 4) * 4, s.uniform((3, 4), 0, 1)),
        binary_logits,
        rtol=4,
    ),
    OpCase(
        "bce_with_logits weights",
        lambda x, t, w, p: ops.binary_cross_entropy_with_logits(x, t, w, "none", p),
        lambda s: (s.normal(3, 4) * 4, s.uniform((3, 4), 0, 1), s.positive(4), s.positive(4)),
        lambda x, t, w, p: binary_logits(x, t, w, p, reduction="none"),
        rtol=4,
        differentiable=[0, 1],
    ),
    OpCase("mse_loss", ops.mse_loss, apart, lambda x, t: ((x - t) ** 2).mean(), rtol=4),
    OpCase(
        "mse_loss weight",
        lambda x, t, w: ops.mse_loss(x, t, weight=w),
        lambda s: (*apart(s), s.positive(3, 4)),
        lambda x, t, w: (w * (x - t) ** 2).sum() / w.sum(),
        rtol=4,
        differentiable=[0, 1],
    ),
    OpCase("l1_loss", ops.l1_loss, apart, lambda x, t: np.abs(x - t).mean(), rtol=4),
    OpCase(
        "smooth_l1_loss",
        lambda x, t: ops.smooth_l1_loss(x, t, "sum", beta=0.4),
        apart,
        lambda x, t: (huber(x, t, 0.4) / 0.4).sum(),
        rtol=4,
    ),
    OpCase(
        "smooth_l1_loss 0",
        lambda x, t: ops.smooth_l1_loss(x, t, beta=0),
        apart,
        lambda x, t: np.abs(x - t).mean(),
        rtol=4,
        errors=[Bad(lambda: ops.smooth_l1_loss(ones(2), ones(2), beta=-1), ArgumentError, "beta=-1")],
    ),
    OpCase(
        "huber_loss",
        lambda x, t: ops.huber_loss(x, t, "none", 0.4),
        apart,
        lambda x, t: huber(x, t, 0.4),
        rtol=4,
        errors=[Bad(lambda: ops.huber_loss(ones(2), ones(2), delta=0), ArgumentError, "delta=0")],
    ),
    OpCase(
        "kl_div",
        lambda x, t: ops.kl_div(x, t, "batchmean"),
        lambda s: (np.log(shares(s.normal(3, 4))), shares(s.normal(3, 4))),
        lambda x, t: (t * (np.log(t) - x)).sum() / 3,
        rtol=8,
    ),
    OpCase(
        "kl_div log",
        lambda x, t: ops.kl_div(x, t, log_target=True),
        lambda s: (s.normal(3, 4), s.normal(3, 4)),
        lambda x, t: (np.exp(t) * (t - x)).mean(),
        rtol=4,
    ),
    OpCase(
        "gaussian_nll_loss",
        lambda x, t, v: ops.gaussian_nll_loss(x, t, v, full=True),
        lambda s: (*apart(s), s.positive(3, 4)),
        lambda x, t, v: (0.5 * (np.log(v) + (x - t) ** 2 / v) + 0.5 * np.log(2 * np.pi)).mean(),
        rtol=4,
        errors=[Bad(lambda: ops.gaussian_nll_loss(ones(2), ones(2), -ones(2)), ArgumentError, "negative variance")],
    ),
    OpCase(
        "poisson_nll_loss",
        lambda x, t: ops.poisson_nll_loss(x, t, full=True),
        lambda s: (s.normal(3, 4), np.array([0.5, 2.0, 3.0, 7.0])),
        lambda x, t: (np.exp(x) - t * x + np.where(t > 1, t * np.log(t) - t + 0.5 * np.log(2 * np.pi * t), 0)).mean(),
        rtol=4,
        differentiable=[0],
    ),
    OpCase("cosine_similarity", ops.cosine_similarity, lambda s: (s.normal(3, 4), s.normal(3, 4)), cosine, rtol=4),
    OpCase(
        "cosine_embedding_loss",
        lambda a, b, t: ops.cosine_embedding_loss(a, b, t, 0.1),
        lambda s: (s.normal(5, 4), s.normal(5, 4), signs(s, 5)),
        lambda a, b, t: np.where(t == 1, 1 - cosine(a, b), np.maximum(0, cosine(a, b) - 0.1)).mean(),
        rtol=8,
        errors=[Bad(lambda: ops.cosine_embedding_loss(ones(2, 3), ones(2, 3), ones(3)), ShapeError, r"\(2, 3\), target \(3,\)")],
    ),
    OpCase("pairwise_distance", ops.pairwise_distance, lambda s: (s.normal(3, 4), s.normal(3, 4)), distance, rtol=4),
    OpCase(
        "margin_ranking_loss",
        lambda a, b, t: ops.margin_ranking_loss(a, b, t, 0.2),
        lambda s: (s.normal(6), s.normal(6), signs(s, 6)),
        lambda a, b, t: np.maximum(0, -t * (a - b) + 0.2).mean(),
        rtol=4,
    ),
    OpCase(
        "triplet_margin_loss",
        lambda a, b, c: ops.triplet_margin_loss(a, b, c, margin=1.5, swap=True),
        lambda s: (s.normal(4, 3), s.normal(4, 3), s.normal(4, 3)),
        lambda a, b, c: np.maximum(0, distance(a, b) - np.minimum(distance(a, c), distance(b, c)) + 1.5).mean(),
        rtol=8,
        errors=[Bad(lambda: ops.triplet_margin_loss(ones(1, 2), ones(1, 2), ones(1, 2), margin=0), ArgumentError, "margin=0")],
    ),
    OpCase(
        "hinge_embedding_loss",
        lambda x, t: ops.hinge_embedding_loss(x, t, 0.7),
        lambda s: (s.away((8,), [0.7]), signs(s, 8)),
        lambda x, t: np.where(t == 1, x, np.maximum(0, 0.7 - x)).mean(),
        rtol=4,
    ),
    OpCase(
        "soft_margin_loss",
        ops.soft_margin_loss,
        lambda s: (s.normal(8) * 5, signs(s, 8)),
        lambda x, t: np.log1p(np.exp(-t * x)).mean(),
        rtol=4,
    ),
    *[
        OpCase(
            f"multi_margin_loss {p}",
            lambda x, y, w, p=p: ops.multi_margin_loss(x, y, p, 0.9, w),
            lambda s: (s.normal(4, 3), s.integers(0, 3, (4,)), s.positive(3)),
            lambda x, y, w, p=p: multi_margin(x, y, w, p, 0.9),
            rtol=4,
            differentiable=[0],
        )
        for p in (1, 2)
    ],
]


@pytest.mark.parametrize("case", [*ENTROPIES, *OTHERS], ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


ERRORS = [
    (
        lambda: ops.cross_entropy(ones(3, 4), labels(0, 9, 1)),
        IndexRangeError,
        r"label 9 of sample 1, there are 4 classes.*ignore_index=9",
    ),
    (
        lambda: ops.cross_entropy(ones(2, 4, 2), nyala.tensor([[0, 1], [2, -1]])),
        IndexRangeError,
        r"label -1 of sample 1 \(position \(1, 1\)\)",
    ),
    (lambda: ops.nll_loss(ones(3, 4), labels(0, 1, -100), ignore_index=5), IndexRangeError, "label -100 of sample 2"),
    (lambda: ops.multi_margin_loss(ones(2, 3), labels(0, 3)), IndexRangeError, "label 3 of sample 1"),
    (lambda: ops.cross_entropy(ones(3, 4), labels(0, 1)), ShapeError, r"\(3, 4\), target \(2,\).*have shape \(3,\)"),
    (lambda: ops.cross_entropy(ones(3, 4), ones(3)), ShapeError, "a probability for each class.*int64"),
    (lambda: ops.cross_entropy(ones(3, 4), nyala.ones(3).bool()), DtypeError, "bool.*long"),
    (lambda: ops.cross_entropy(ones(3, 4), labels(0, 1, 2), ones(3)), ShapeError, r"weight of shape \(3,\) for 4"),
    (lambda: ops.cross_entropy(nyala.tensor(1.0), labels(0)), ShapeError, "without dimensions"),
    (
        lambda: ops.cross_entropy(ones(3, 4), labels(0, 1, 2), reduction="avg"),
        ArgumentError,
        "reduction='avg'.*'mean', 'sum', 'none'",
    ),
    (lambda: ops.cross_entropy(ones(3, 4), labels(0, 1, 2), label_smoothing=2), ArgumentError, "label_smoothing=2"),
    (lambda: ops.mse_loss(ones(3), ones(2)), ShapeError, r"mse_loss: input \(3,\), target \(2,\)"),
    (lambda: ops.margin_ranking_loss(ones(3), ones(3), ones(3, 1)), ShapeError, "equally many dimensions"),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS)
def test_errors_name_what_is_wrong(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_all_ignored_or_none_at_all_is_nan_as_a_mean_and_zero_as_a_sum() -> None:
    x = nyala.randn(2, 3, requires_grad=True)
    for function in (ops.cross_entropy, ops.nll_loss):
        assert math.isnan(function(x, labels(-100, -100)).item())
        assert function(x, labels(-100, -100), reduction="sum").item() == 0
        assert math.isnan(function(nyala.zeros(0, 3), nyala.zeros(0).long()).item())
        assert function(nyala.zeros(0, 3), nyala.zeros(0).long(), reduction="none").shape == (0,)
    ops.cross_entropy(x, labels(-100, -100), reduction="sum").backward()
    assert (x.grad.numpy() == 0).all()


def test_an_ignored_sample_may_hold_anything() -> None:
    x = nyala.tensor([[math.nan, math.inf], [0.0, 0.0]], requires_grad=True)
    loss = ops.cross_entropy(x, labels(-100, 1), label_smoothing=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [0.45, -0.45]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits(dtype: str) -> None:
    x = nyala.tensor([[1e4, -1e4], [0.0, 1e5]], dtype=dtype, requires_grad=True)
    loss = ops.cross_entropy(x, labels(1, 1), reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [2e4, 0.0]
    assert x.grad.tolist() == [[1.0, -1.0], [0.0, 0.0]]
    z = nyala.tensor([1e4, -1e4, 0.0], dtype=dtype, requires_grad=True)
    ops.binary_cross_entropy_with_logits(z, nyala.tensor([0.0, 0.0, 1.0], dtype=dtype), reduction="sum").backward()
    assert z.grad.tolist() == [1.0, 0.0, -0.5]


def test_saturated_probabilities_cost_a_hundred() -> None:
    x = nyala.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    assert ops.binary_cross_entropy(x, nyala.tensor([1.0, 0.0, 0.0, 1.0]), reduction="none").tolist() == [100.0, 100.0, 0.0, 0.0]


def test_a_zero_target_of_kl_div_costs_nothing() -> None:
    t = nyala.tensor([0.0, 1.0], requires_grad=True)
    loss = ops.kl_div(nyala.zeros(2), t, reduction="sum")
    loss.backward()
    assert loss.item() == 0.0 and np.isfinite(t.grad.numpy()).all()


def test_shapes_that_broadcast_are_warned_about() -> None:
    for function in (ops.mse_loss, ops.l1_loss, ops.smooth_l1_loss, ops.huber_loss):
        with pytest.warns(UserWarning, match=r"\(3, 1\) and target \(3,\) are broadcast to \(3, 3\)"):
            function(nyala.zeros(3, 1), nyala.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.mse_loss(nyala.zeros(3), nyala.zeros(3))


def test_half_precision_labels_and_targets_of_other_dtypes() -> None:
    x = nyala.randn(4, 3)
    for dtype in ("int32", "uint8", "int64"):
        assert ops.cross_entropy(x, labels(0, 1, 2, 0).to(dtype)).dtype == np.float32
    assert ops.binary_cross_entropy_with_logits(x, nyala.ones(4, 3).bool()).dtype == np.float32
    assert ops.cross_entropy(x.half(), labels(0, 1, 2, 0)).dtype == np.float16


# ---- connectionist temporal classification


def alignments(logp: Arrays, target: list[int], blank: int) -> float:
    """-log of the summed probability of every path that collapses to the target."""
    total = 0.0
    for path in itertools.product(range(logp.shape[1]), repeat=len(logp)):
        collapsed = [c for c, _ in itertools.groupby(path) if c != blank]
        if collapsed == list(target):
            total += math.exp(sum(logp[t, c] for t, c in enumerate(path)))
    return -math.log(total) if total else math.inf


TARGETS, LENGTHS, FRAMES = [[1, 2, 0], [1, 1, 2], [2, 0, 0], [0, 0, 0]], [2, 3, 1, 0], [4, 5, 3, 2]


def ctc_inputs() -> Any:
    return logarithms(np.random.default_rng(0).normal(size=(5, 4, 3)), 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", ["padded", "concatenated", "tensors"])
def test_ctc_counts_every_alignment(dtype: str, form: str) -> None:
    logp = ctc_inputs()
    expected = [alignments(logp[:f, n], t[:k], 0) for n, (f, t, k) in enumerate(zip(FRAMES, TARGETS, LENGTHS, strict=True))]
    targets, frames, lengths = nyala.tensor(TARGETS), FRAMES, LENGTHS
    if form == "concatenated":
        targets = nyala.tensor([c for t, k in zip(TARGETS, LENGTHS, strict=True) for c in t[:k]])
    elif form == "tensors":
        frames, lengths = nyala.tensor(FRAMES), nyala.tensor(LENGTHS)
    x = nyala.tensor(logp, dtype=dtype)
    got = ops.ctc_loss(x, targets, frames, lengths, reduction="none")
    assert got.dtype == dtype
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    mean = np.mean([e / max(k, 1) for e, k in zip(expected, LENGTHS, strict=True)])
    assert ops.ctc_loss(x, targets, frames, lengths).item() == pytest.approx(mean, rel=1e-5)
    assert ops.ctc_loss(x, targets, frames, lengths, reduction="sum").item() == pytest.approx(sum(expected), rel=1e-5)


def test_ctc_gradients() -> None:
    def loss(x: nyala.Tensor) -> nyala.Tensor:
        return ops.ctc_loss(x, nyala.tensor(TARGETS), FRAMES, LENGTHS, reduction="none")

    case = OpCase("ctc", loss, lambda s: (logarithms(s.normal(5, 4, 3), 2),), None, dtypes=("float32",))
    check_op(case)
    raw = nyala.tensor(np.random.default_rng(1).normal(size=(4, 2, 3)), requires_grad=True)
    gradgradcheck(lambda t: ops.ctc_loss(log_softmax(t, 2), nyala.tensor([[2, 1], [1, 1]]), [4, 3], [2, 2]), raw)


def test_ctc_through_softmax_has_the_closed_form() -> None:
    """The gradient of the scores is their softmax minus the expected share of each label; it sums to 0 in every frame."""
    raw = nyala.tensor(np.random.default_rng(2).normal(size=(6, 1, 4)), requires_grad=True)
    ops.ctc_loss(log_softmax(raw, 2), nyala.tensor([[3, 1]]), [5], [2], blank=2, reduction="sum").backward()
    np.testing.assert_allclose(raw.grad.numpy().sum(2), 0, atol=1e-12)
    assert (raw.grad.numpy()[5] == 0).all() and np.abs(raw.grad.numpy()[:5]).max() > 0.01


def test_ctc_targets_that_do_not_fit() -> None:
    x = nyala.tensor(ctc_inputs(), requires_grad=True)
    arguments = (nyala.tensor([[1, 1, 1]] * 4), [5, 4, 4, 1], [3, 3, 3, 3])
    loss = ops.ctc_loss(x, *arguments, reduction="none")
    assert np.isfinite(loss.detach().numpy()).tolist() == [True, False, False, False]
    kept = ops.ctc_loss(x, *arguments, reduction="sum", zero_infinity=True)
    kept.backward()
    assert kept.item() == pytest.approx(loss[0].item())
    assert (x.grad.numpy()[:, 1:] == 0).all() and np.isfinite(x.grad.numpy()).all()


def test_ctc_of_one_sample() -> None:
    x = nyala.tensor(ctc_inputs()[:, 0])
    loss = ops.ctc_loss(x, nyala.tensor([1, 2]), 4, 2, reduction="none")
    assert loss.shape == ()
    assert loss.item() == pytest.approx(alignments(x.numpy()[:4], [1, 2], 0))


def test_ctc_padding_may_hold_anything() -> None:
    x = nyala.tensor(ctc_inputs())
    first, second = (
        ops.ctc_loss(x, nyala.tensor([[1, fill], [2, 1], [1, fill], [fill, fill]]), FRAMES, [1, 2, 1, 0]) for fill in (0, -7)
    )
    assert first.item() == second.item()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((labels(1, 2), [6], [2]), ArgumentError, r"input_lengths\[0\] is 6.*frames T is 5"),
        ((nyala.tensor([[1, 2]]), [5], [3]), ArgumentError, r"target_lengths\[0\] is 3"),
        ((nyala.tensor([[1, 2]]), [5, 5], [2]), ShapeError, r"input_lengths has 2 length\(s\) for a batch of 1"),
        ((nyala.tensor([[1, 3]]), [5], [2]), IndexRangeError, r"label 3 of sample 0 \(position 1\), there are 3 classes"),
        ((labels(1, 2, 1), [5], [2]), ShapeError, "add up to 2"),
        ((nyala.tensor([[1, 2]]), [5], [2], 7), IndexRangeError, "blank=7"),
    ],
)
def test_ctc_errors(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ops.ctc_loss(nyala.tensor(ctc_inputs()[:, :1]), *arguments)
