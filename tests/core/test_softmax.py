"""Softmax and its relatives against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops import softmax as ops
from nyala.errors import DtypeError, ShapeError
from nyala.testing import Bad, OpCase, check_op


def probabilities(x: Any, axis: int) -> Any:
    if not x.size:
        return x
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def logarithms(x: Any, axis: int) -> Any:
    if not x.size:
        return x
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def ones(*shape: int, dtype: str = "float32") -> nyala.Tensor:
    return nyala.ones(*shape, dtype=dtype)


CASES = [
    OpCase(
        "softmax last",
        lambda x: ops.softmax(x, -1),
        lambda s: (s.normal(3, 5),),
        lambda x: probabilities(x, -1),
        also=[lambda s: (s.normal(4),), lambda s: (s.normal(0, 3),), lambda s: (s.normal(3, 0),), lambda s: (s.normal(2, 1),)],
        errors=[
            Bad(lambda: ops.softmax(ones(2, dtype="int64"), 0), DtypeError, "int64.*dtype=nyala.float32"),
            Bad(lambda: ops.softmax(ones(2), 1), ShapeError, "dimension 1 of a tensor with 1"),
        ],
    ),
    OpCase("softmax first", lambda x: ops.softmax(x, 0), lambda s: (s.normal(3, 5),), lambda x: probabilities(x, 0)),
    OpCase("softmax middle", lambda x: ops.softmax(x, 1), lambda s: (s.normal(2, 3, 4),), lambda x: probabilities(x, 1)),
    OpCase("softmax number", lambda x: ops.softmax(x, 0), lambda s: (s.normal(),), np.ones_like),
    OpCase("softmax implicit 1", ops.softmax, lambda s: (s.normal(3, 4),), lambda x: probabilities(x, 1)),
    OpCase("softmax implicit 0", ops.softmax, lambda s: (s.normal(2, 3, 4),), lambda x: probabilities(x, 0)),
    OpCase(
        "log_softmax",
        lambda x: ops.log_softmax(x, 1),
        lambda s: (s.normal(3, 5) * 3,),
        lambda x: logarithms(x, 1),
        also=[lambda s: (s.normal(0, 3),), lambda s: (s.normal(2, 3, 4),)],
    ),
    OpCase("softmin", lambda x: ops.softmin(x, 1), lambda s: (s.normal(3, 5),), lambda x: probabilities(-x, 1)),
    OpCase(
        "glu",
        lambda x: ops.glu(x, 1),
        lambda s: (s.normal(3, 6),),
        lambda x: x[:, :3] * sigmoid(x[:, 3:]),
        errors=[Bad(lambda: ops.glu(ones(2, 3)), ShapeError, r"\(2, 3\).*not even")],
    ),
    OpCase("log_sigmoid", ops.log_sigmoid, lambda s: (s.normal(3, 5) * 5,), lambda x: np.log(sigmoid(x)), rtol=4),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_scores_neither_overflow_nor_vanish(dtype: str) -> None:
    x = nyala.tensor([[1e30, -1e30, 1e30], [1000.0, 0.0, -1000.0]], dtype=dtype)
    assert ops.softmax(x, 1).tolist() == [[0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]
    assert ops.log_softmax(x, 1)[1].tolist() == [0.0, -1000.0, -2000.0]
    assert ops.log_sigmoid(nyala.tensor([-1000.0, 1000.0], dtype=dtype)).tolist() == [-1000.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masked_scores_are_exactly_zero_and_a_row_of_nothing_else_is_nan(dtype: str) -> None:
    x = nyala.tensor([[0.0, -np.inf, 0.0], [-np.inf] * 3, [np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0]], dtype=dtype)
    for function in (ops.softmax, lambda t, d: nyala.exp(ops.log_softmax(t, d))):
        rows = function(x, 1).numpy()
        np.testing.assert_allclose(rows[0], [0.5, 0.0, 0.5], rtol=1e-6)
        assert rows[0, 1] == 0.0 and np.isnan(rows[1:3]).all() and np.isnan(rows[3, 0])


def test_dtype_converts_first() -> None:
    assert ops.softmax(nyala.tensor([1, 1]), 0, dtype="float64").dtype == np.float64


def test_a_result_written_to_is_noticed_by_the_gradient() -> None:
    x = nyala.randn(3, requires_grad=True)
    y = ops.softmax(x, 0)
    z = y.sum()
    with nyala.no_grad():
        y.mul_(2.0)
    with pytest.raises(nyala.errors.GradError, match="changed in place"):
        z.backward()


def test_gumbel_softmax_draws_with_the_right_frequencies() -> None:
    nyala.manual_seed(3)
    logits = nyala.tensor(np.log([0.1, 0.2, 0.7]), dtype="float32").expand(20_000, 3)
    drawn = ops.gumbel_softmax(logits, hard=True).numpy()
    assert set(np.unique(drawn)) <= {0.0, 1.0} and (drawn.sum(1) == 1).all()
    np.testing.assert_allclose(drawn.mean(0), [0.1, 0.2, 0.7], atol=0.015)


def test_a_hard_gumbel_draw_has_the_gradient_of_the_soft_one() -> None:
    x, y = (nyala.tensor([[0.1, 0.7, -0.4]], requires_grad=True) for _ in range(2))
    weights = nyala.tensor([[1.0, 2.0, 3.0]])
    for leaf, hard in ((x, True), (y, False)):
        nyala.manual_seed(0)
        (ops.gumbel_softmax(leaf, tau=0.5, hard=hard) * weights).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())
    assert np.abs(x.grad.numpy()).max() > 0
