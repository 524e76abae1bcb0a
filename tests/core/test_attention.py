"""scaled_dot_product_attention against its definition, one query at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops.attention import scaled_dot_product_attention as attend
from nyala.core.ops.attention import watch_attention
from nyala.errors import ArgumentError, DtypeError, ShapeError
from nyala.testing import Bad, OpCase, check_op


def naive(q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False, scale: float | None = None) -> Any:
    """One query after the other; ``mask`` as bools or as numbers to add."""
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    length, size = q.shape[-2], k.shape[-2]
    q, k, v = (np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in (q, k, v))
    out = np.zeros((*batch, length, v.shape[-1]))
    for place in np.ndindex(*batch, length):
        where, i = place[:-1], place[-1]
        scores = k[where] @ q[place] * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        if mask is not None:
            row = np.broadcast_to(mask, (*batch, length, size))[place]
            scores = np.where(row, scores, -np.inf) if row.dtype == bool else scores + row
        if causal:
            scores = np.where(np.arange(size) <= i, scores, -np.inf)
        if scores.max(initial=-np.inf) > -np.inf:
            e = np.exp(scores - scores.max())
            out[place] = e / e.sum() @ v[where]
    return out


def masked(q: Any, k: Any, v: Any, m: Any) -> nyala.Tensor:
    return attend(q, k, v, m)


def grouped(q: Any, k: Any, v: Any) -> Any:
    n = q.shape[1] // k.shape[1]
    return naive(q, np.repeat(k, n, 1), np.repeat(v, n, 1), causal=True)


def qkv(s: Any) -> tuple[Any, ...]:
    return s.normal(2, 2, 3, 4), s.normal(2, 2, 5, 4), s.normal(2, 2, 5, 3)


def ones(*shape: int) -> nyala.Tensor:
    return nyala.ones(*shape)


def never(s: Any) -> Any:
    """A bool mask (2, 1, 3, 5) in which one query may look nowhere."""
    mask = s.bools(2, 1, 3, 5)
    mask[0, 0, 1] = False
    return mask


CASES = [
    OpCase(
        "attention",
        attend,
        qkv,
        naive,
        rtol=8,
        also=[
            lambda s: (s.normal(3, 4), s.normal(5, 4), s.normal(5, 2)),
            lambda s: (s.normal(2, 3, 3, 4), s.normal(3, 5, 4), s.normal(1, 5, 2)),
            lambda s: (s.normal(2, 0, 4), s.normal(2, 5, 4), s.normal(2, 5, 2)),
        ],
        errors=[
            Bad(lambda: attend(ones(3, 4), ones(5, 3), ones(5, 2)), ShapeError, r"query.*\(3, 4\), key.*\(5, 3\).*one width E"),
            Bad(lambda: attend(ones(3, 4), ones(5, 4), ones(6, 2)), ShapeError, "lengths S equal"),
            Bad(lambda: attend(ones(2, 3, 4), ones(3, 5, 4), ones(3, 5, 2)), ShapeError, "enable_gqa=True"),
            Bad(lambda: attend(ones(4), ones(5, 4), ones(5, 2)), ShapeError, "two dimensions"),
            Bad(
                lambda: attend(ones(3, 4), ones(5, 4), ones(5, 2), ones(2, 5)),
                ShapeError,
                r"attn_mask of shape \(2, 5\).*\(3, 5\)",
            ),
            Bad(lambda: attend(ones(3, 4), ones(5, 4), ones(5, 2), ones(3, 5).long()), DtypeError, "int64.*bool"),
            Bad(lambda: attend(ones(3, 4), ones(5, 4), ones(5, 2), ones(3, 5), is_causal=True), ArgumentError, "one mask"),
            Bad(lambda: attend(ones(3, 4), ones(5, 4), ones(5, 2), dropout_p=1.0), ArgumentError, "dropout_p=1.0"),
            Bad(lambda: attend(ones(3, 4), ones(5, 4).double(), ones(5, 2)), DtypeError, "key float64"),
            Bad(lambda: attend(ones(3, 2, 4), ones(2, 5, 4), ones(2, 5, 4), enable_gqa=True), ShapeError, "must be a multiple"),
        ],
    ),
    OpCase(
        "attention causal", attend, qkv, lambda q, k, v, is_causal: naive(q, k, v, causal=is_causal), {"is_causal": True}, rtol=8
    ),
    OpCase("attention scale", attend, qkv, lambda q, k, v, scale: naive(q, k, v, scale=scale), {"scale": 0.3}, rtol=8),
    OpCase("attention bool mask", masked, lambda s: (*qkv(s), s.bools(3, 5)), naive, rtol=8),
    OpCase(
        "attention padding mask",
        masked,
        lambda s: (*qkv(s), np.array([[[[1, 1, 1, 0, 0]]], [[[1, 0, 0, 0, 0]]]], bool)),
        naive,
        rtol=8,
    ),
    OpCase("attention nowhere to look", masked, lambda s: (*qkv(s), never(s)), naive, rtol=8),
    OpCase("attention float mask", masked, lambda s: (*qkv(s), s.normal(2, 2, 3, 5)), naive, rtol=8),
    OpCase("attention float mask shared", masked, lambda s: (*qkv(s), s.normal(2, 1, 1, 5)), naive, rtol=8),
    OpCase(
        "attention grouped",
        lambda q, k, v: attend(q, k, v, is_causal=True, enable_gqa=True),
        lambda s: (s.normal(2, 4, 3, 4), s.normal(2, 2, 5, 4), s.normal(2, 2, 5, 2)),
        grouped,
        rtol=8,
    ),
    OpCase(
        "attention dropout",
        lambda q, k, v: attend(q, k, v, dropout_p=0.4, dropout_key=nyala.random.key(0, "test")),
        qkv,
        None,
        dtypes=(),
        layouts=False,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_operation(case: OpCase) -> None:
    check_op(case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_query_with_nowhere_to_look_gives_zero_and_passes_no_gradient(dtype: str) -> None:
    q, k, v = (nyala.from_numpy(a.astype(dtype)).requires_grad_() for a in np.random.default_rng(0).normal(size=(3, 4, 6)))
    for mask in (nyala.zeros(4, 4).bool(), nyala.full((4, 4), -np.inf, dtype=dtype)):
        out = attend(q, k, v, mask)
        assert (out.detach().numpy() == 0).all()
        for t in (q, k, v):
            t.grad = None
        out.sum().backward()
        assert all((t.grad.numpy() == 0).all() for t in (q, k, v))


def test_huge_scores() -> None:
    q = nyala.tensor([[1e20, 0.0]])
    k = nyala.tensor([[1e18, 0.0], [-1e18, 0.0]])
    assert attend(q, k, nyala.tensor([[1.0], [2.0]])).tolist() == [[1.0]]


def test_dropout_drops_weights_and_keeps_their_mean() -> None:
    q, k, v = nyala.zeros(1, 2000, 4), nyala.zeros(1, 16, 4), nyala.ones(1, 16, 1)
    out = attend(q, k, v, dropout_p=0.25, dropout_key=nyala.random.key(1, "test")).numpy()
    sixteenths = out * 16 * 0.75  # a whole number of kept keys
    np.testing.assert_allclose(sixteenths, np.round(sixteenths), atol=1e-4)
    assert abs(out.mean() - 1) < 0.01 and out.std() > 0.05


def test_dropout_draws_from_the_ambient_stream() -> None:
    x = nyala.randn(1, 8, 4)
    nyala.manual_seed(5)
    first, second = (attend(x, x, x, dropout_p=0.5).numpy() for _ in range(2))
    nyala.manual_seed(5)
    np.testing.assert_array_equal(attend(x, x, x, dropout_p=0.5).numpy(), first)
    assert (first != second).any()


def test_a_checkpointed_block_replays_its_dropout() -> None:
    from nyala.utils.checkpoint import checkpoint

    def block(t: nyala.Tensor) -> nyala.Tensor:
        return attend(t, t, t, dropout_p=0.5)

    grads = []
    for run in (block, lambda t: checkpoint(block, t)):
        x = nyala.tensor(np.random.default_rng(0).normal(size=(2, 6, 4)), requires_grad=True)
        nyala.manual_seed(7)
        run(x).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(*grads)


@pytest.mark.parametrize("kind", ["plain", "causal", "bools", "added", "grouped"])
def test_watched_weights_are_those_of_the_result(kind: str) -> None:
    rng = np.random.default_rng(4)
    q, k, v = (nyala.tensor(rng.normal(size=(2, 2 if kind == "grouped" and i else 4, 5, 3))) for i in range(3))
    mask = {"bools": nyala.tensor(rng.random((5, 5)) < 0.7), "added": nyala.tensor(rng.normal(size=(5, 5)))}.get(kind)
    given = {"attn_mask": mask, "is_causal": kind == "causal", "enable_gqa": kind == "grouped"}
    with watch_attention() as seen:
        out = attend(q, k, v, **given)
        with watch_attention() as inner:
            attend(q, k, v, **given)
    attend(q, k, v, **given)  # outside, nothing is watched
    assert len(seen) == len(inner) == 1 and np.array_equal(seen[0], inner[0]) and seen[0].shape == (2, 4, 5, 5)
    values = v.numpy().repeat(2, axis=1) if kind == "grouped" else v.numpy()
    np.testing.assert_allclose(seen[0] @ values, out.numpy(), atol=1e-12)
