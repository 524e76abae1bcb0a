"""Operations made of others: against NumPy, with gradients, and against their in-place forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ShapeError
from nyala.testing import Bad, OpCase, check_op


def added(x: Any, i: Any, v: Any) -> Any:
    out = x.copy()
    np.add.at(out, (slice(None), i), v * 2)
    return out


def put(x: Any, i: Any, v: Any) -> Any:
    out = x.copy()
    out[i] = v
    return out


PLACES = np.array([2, 0, 2])
CASES = [
    OpCase("lerp", nyala.lerp, lambda s: (s.normal(3, 4), s.normal(4), s.normal(3, 1)), lambda a, b, w: a + (b - a) * w),
    OpCase("addcmul", lambda a, b, c: nyala.addcmul(a, b, c, value=0.5), lambda s: (s.normal(3, 4), s.normal(4), s.normal(3, 1)),
           lambda a, b, c: a + 0.5 * b * c),
    OpCase("addcdiv", lambda a, b, c: nyala.addcdiv(a, b, c, value=2), lambda s: (s.normal(3, 4), s.normal(4), s.positive(3, 1)),
           lambda a, b, c: a + 2 * b / c),
    OpCase("clamp_min", lambda x: x.clamp_min(0.1), lambda s: (s.away((3, 4), [0.1]),), lambda x: np.maximum(x, 0.1)),
    OpCase("clamp_max", lambda x: x.clamp_max(0.1), lambda s: (s.away((3, 4), [0.1]),), lambda x: np.minimum(x, 0.1)),
    OpCase("index_add", lambda x, i, v: x.index_add(1, i, v, alpha=2), lambda s: (s.normal(2, 4), PLACES, s.normal(2, 3)), added,
           layouts=False,
           errors=[Bad(lambda: nyala.ones(2).index_add(0, nyala.tensor([[0]]), nyala.ones(1)), ShapeError, "vector")]),
    OpCase("index_fill", lambda x, i: x.index_fill(0, i, 7.0), lambda s: (s.normal(3, 4), np.array([1, 2])),
           lambda x, i: put(x, i, 7.0), layouts=False),
    OpCase("index_copy", lambda x, i, v: x.index_copy(0, i, v), lambda s: (s.normal(3, 4), np.array([2, 0]), s.normal(2, 4)), put,
           layouts=False),
    OpCase("trace", nyala.trace, lambda s: (s.normal(3, 4),), np.trace,
           errors=[Bad(lambda: nyala.ones(2).trace(), ShapeError, "trace")]),
    OpCase("diag", lambda x: x.diag(-1), lambda s: (s.normal(3),), lambda x: np.diag(x, -1),
           errors=[Bad(lambda: nyala.ones(1, 1, 1).diag(), ShapeError, "vector or a matrix")]),
    OpCase("diag of a matrix", lambda x: x.diag(1), lambda s: (s.normal(3, 4),), lambda x: np.diag(x, 1)),
    OpCase("tile", lambda x: x.tile(2), lambda s: (s.normal(2, 3),), lambda x: np.tile(x, 2)),
    OpCase("hstack", lambda *t: nyala.hstack(t), lambda s: (s.normal(2, 3), s.normal(2, 1)), lambda *t: np.hstack(t)),
    OpCase("hstack of vectors", lambda *t: nyala.hstack(t), lambda s: (s.normal(2), s.normal()), lambda *t: np.hstack(t)),
    OpCase("vstack", lambda *t: nyala.vstack(t), lambda s: (s.normal(3), s.normal(2, 3)), lambda *t: np.vstack(t)),
    OpCase("swapaxes", lambda x: x.swapaxes(0, -1), lambda s: (s.normal(2, 3, 4),), lambda x: x.swapaxes(0, -1)),
    OpCase("ravel", nyala.ravel, lambda s: (s.normal(2, 3),), np.ravel),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


def test_nonzero() -> None:
    x = nyala.tensor([[0, 3], [5, 0]])
    assert x.nonzero().tolist() == [[0, 1], [1, 0]]
    assert [p.tolist() for p in x.nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert nyala.tensor(3.0).nonzero().shape == (1, 0) and nyala.tensor(0.0).nonzero().shape == (0, 0)
    assert nyala.zeros(3).nonzero().shape == (0, 1)


def test_in_place_forms() -> None:
    x = nyala.zeros(3)
    x.index_add_(0, nyala.tensor([0, 0]), nyala.ones(2)).lerp_(nyala.ones(3), 0.5).addcmul_(nyala.ones(3), nyala.ones(3), value=2)
    assert x.tolist() == [3.5, 2.5, 2.5]


def test_new_tensors_take_dtype_and_device() -> None:
    x = nyala.ones(2, dtype="float16")
    for y in (x.new_full((2,), 3), x.new_tensor([1, 2]), x.new_empty(2), x.new_zeros(2)):
        assert y.dtype == nyala.float16 and y.shape == (2,)
    assert x.new_full(2, 3, dtype="int64").tolist() == [3, 3]
    assert x.view_as(nyala.ones(2, 1)).shape == x.reshape_as(nyala.ones(1, 2)).T.shape == (2, 1)
