"""Edge cases of operations: NaN, infinities, ties, zeros, whole numbers, empty tensors. The values are torch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops.index import one_hot
from nyala.errors import ArgumentError, DtypeError, ShapeError
from nyala.testing import assert_close

NAN, INF = math.nan, math.inf


def t(*values: Any, dtype: Any = "float64") -> nyala.Tensor:
    return nyala.tensor(list(values), dtype=dtype)


def gradient(function: Any, *values: Any) -> list[Any]:
    x = t(*values).requires_grad_()
    function(x).sum().backward()
    return x.grad.tolist()


def close(actual: Any, *expected: Any) -> None:
    assert_close(actual, np.array(expected if len(expected) > 1 else expected[0]), 1e-6, 1e-12, equal_nan=True)


class TestNaN:
    x = t(1, NAN, 3, 2)

    def test_it_wins_every_extreme(self) -> None:
        x = self.x
        for value in (x.max(), x.min(), x.amax(0), x.max(0).values, x.median(), x.median(0).values):
            close(value, NAN)
        for place in (x.argmax(), x.argmin(), x.max(0).indices, x.median(0).indices):
            assert place.item() == 1
        close(nyala.maximum(t(1, NAN), t(NAN, 1)), NAN, NAN)
        close(nyala.minimum(t(1, NAN), t(NAN, 1)), NAN, NAN)

    def test_it_sorts_as_the_largest(self) -> None:
        close(self.x.sort().values, 1, 2, 3, NAN)
        close(self.x.sort(descending=True).values, NAN, 3, 2, 1)
        close(self.x.topk(2).values, NAN, 3)
        close(self.x.topk(2, largest=False).values, 1, 2)

    def test_it_passes_through(self) -> None:
        close(self.x.clamp(0, 2), 1, NAN, 2, 2)
        for function in (nyala.relu, nyala.sigmoid, nyala.erf, nyala.floor):
            assert math.isnan(function(self.x)[1].item())


class TestTies:
    def test_the_first_is_named_and_all_share_the_gradient(self) -> None:
        x = t([1, 3, 3, 1], [2, 2, 2, 2])
        assert x.argmax(1).tolist() == [1, 0] and x.max(1).indices.tolist() == [1, 0]
        assert gradient(lambda v: v.amax(1), [1, 3, 3, 1], [2, 2, 2, 2]) == [[0, 0.5, 0.5, 0], [0.25] * 4]
        assert gradient(lambda v: v.max(1).values, [1, 3, 3, 1], [2, 2, 2, 2]) == [[0, 1, 0, 0], [1, 0, 0, 0]]
        assert gradient(lambda v: v.max(), 1, 3, 3) == [0, 0.5, 0.5]
        assert gradient(lambda v: v.median(), 2, 2, 5) == [0.5, 0.5, 0]

    def test_pairwise(self) -> None:
        assert gradient(lambda v: nyala.maximum(v, t(1, 3)), 1, 2) == [0.5, 0]
        assert gradient(lambda v: v.clamp(min=t(1, 1)), 1, 0) == [1, 0]
        assert gradient(lambda v: v.clamp(-1, 1), -1, 0, 1, 2) == [1, 1, 1, 0]

    def test_sorting_is_stable_both_ways(self) -> None:
        x = t(1, 3, 3, 1)
        assert x.argsort().tolist() == [0, 3, 1, 2]
        assert x.argsort(descending=True).tolist() == [1, 2, 0, 3]


class TestZeros:
    @pytest.mark.parametrize(
        ("values", "product", "running"),
        [
            ([1, 2, 3], [6, 3, 2], [9, 4, 2]),
            ([0, 2, 3], [6, 0, 0], [9, 0, 0]),
            ([2, 0, 3], [0, 6, 0], [1, 8, 0]),
            ([0, 0, 3], [0, 0, 0], [1, 0, 0]),
        ],
    )
    def test_gradients_of_products(self, values: list[float], product: list[float], running: list[float]) -> None:
        assert gradient(lambda v: v.prod(), *values) == product
        assert gradient(lambda v: v.prod(0, keepdim=True), *values) == product
        assert gradient(lambda v: v.cumprod(0), *values) == running

    def test_second_derivative_of_a_product_with_a_zero(self) -> None:
        x = t(2, 0, 5).requires_grad_()
        (g,) = nyala.autograd.grad(x.prod(), x, create_graph=True)
        (h,) = nyala.autograd.grad(g[0], x)
        assert h.tolist() == [0, 5, 0]

    def test_norms_have_gradient_zero_at_zero(self) -> None:
        for p in (2, 1, 3, 0.5, INF, "fro"):
            assert all(math.isfinite(v) for v in gradient(lambda v, p=p: v.norm(p), 0, 0))
        close(t(1, -2, 0).norm(-1), 0.0)
        close(t(3, -4).norm(0), 2.0)

    def test_deviations_of_equal_elements(self) -> None:
        assert gradient(lambda v: v.std(), 4, 4, 4) == [0, 0, 0]
        close(t(4, 4, 4).var(), 0.0)

    def test_powers(self) -> None:
        assert gradient(lambda v: v**0, 0, 2) == [0, 0]
        assert gradient(lambda v: v**2, 0, -3) == [0, -6]
        assert gradient(lambda v: t(0.0, 2.0, -2.0) ** v, 2, 0, 2)[:2] == [0, pytest.approx(math.log(2))]
        assert math.isnan(gradient(lambda v: t(-2.0) ** v, 2.0)[0])
        assert gradient(abs, 0, -2) == [0, -1]
        close(t(0.0) ** 0.0, [1.0])

    def test_scatters_multiply_and_pick(self) -> None:
        x, i, v = t(1, 2, 3), nyala.tensor([2, 0, 2]), t(3, 1, 3)
        close(x.scatter(0, i, v, reduce="multiply"), 1, 2, 27)
        close(nyala.scatter_reduce(x, 0, i, v, "amax"), 1, 2, 3)
        close(nyala.scatter_reduce(x, 0, i, v, "mean", include_self=False), 1, 2, 3)
        assert nyala.scatter_reduce(x.long(), 0, i, v.long(), "mean").tolist() == [1, 2, 3]
        with pytest.raises(nyala.errors.GradError, match="products"):
            nyala.scatter_reduce(x.requires_grad_(), 0, i, v, "prod").sum().backward()


class TestInfinities:
    def test_logsumexp(self) -> None:
        close(t(-INF, -INF).logsumexp(0), -INF)
        close(t(INF, 1).logsumexp(0), INF)
        close(t(1000, 1000).logsumexp(0), 1000 + math.log(2))
        close(t(-1000, -1000).logsumexp(0), -1000 + math.log(2))
        assert gradient(lambda v: v.logsumexp(0), -INF, 1) == [0, 1]

    def test_sigmoid_is_exact_in_both_tails(self) -> None:
        for dtype, low in (("float32", -80.0), ("float64", -700.0)):
            y = nyala.tensor([low, -20.0, 20.0, -low], dtype=dtype).sigmoid()
            assert_close(y, 1 / (1 + np.exp(-np.array([low, -20, 20, -low], np.float64))), 2e-6, 0)
        assert nyala.tensor([-1e4, 1e4]).sigmoid().tolist() == pytest.approx([0, 1], abs=1e-37)

    def test_masked_fill_with_infinity(self) -> None:
        close(t(1, 2).masked_fill(t(1, 0) > 0, -INF), -INF, 2)


class TestWholeNumbers:
    def test_sums_and_products_widen(self) -> None:
        assert nyala.tensor([200, 100], dtype="uint8").sum().item() == 300
        for function in (nyala.sum, nyala.prod):
            assert function(nyala.tensor([True, True])).dtype == nyala.int64
        assert nyala.tensor([1, 2], dtype="int32").cumsum(0).dtype == nyala.int64

    def test_division_and_remainder_have_the_sign_of_the_floor(self) -> None:
        a = nyala.tensor([7, -7])
        assert (a // 2).tolist() == [3, -4] and (a % 3).tolist() == [1, 2]
        assert a.div(2, rounding_mode="trunc").tolist() == [3, -3]
        assert (a / 2).dtype == nyala.float32 and (7 % nyala.tensor([3, -3])).tolist() == [1, -2]
        assert (t(7, -7) // 2).tolist() == [3, -4] and (t(7, -7) % -3.0).tolist() == [-2, -1]

    def test_rounding_keeps_them(self) -> None:
        for function in (nyala.floor, nyala.ceil, nyala.round, nyala.trunc, nyala.relu, nyala.abs, nyala.sign, nyala.square):
            assert function(nyala.tensor([1, 2])).dtype == nyala.int64

    def test_comparison_with_what_they_cannot_hold(self) -> None:
        assert (nyala.tensor([2, 255], dtype="uint8") < 256).tolist() == [True, True]
        assert (nyala.tensor([2, 3]) < 2.5).tolist() == [True, False]

    def test_other_things_compare_as_python_does(self) -> None:
        assert (nyala.ones(2) == None) is False  # noqa: E711 - that is what is tested
        assert (nyala.ones(2) != "a") is True
        with pytest.raises(DtypeError, match="list"):
            nyala.ones(2) - [1, 2]

    def test_writing_fractions_is_refused(self) -> None:
        x = nyala.tensor([1, 2])
        x[0] = 5.0
        assert x.tolist() == [5, 2]
        for write in (lambda: x.__setitem__(0, 0.5), lambda: x.__setitem__(0, nyala.tensor(0.5))):
            with pytest.raises(DtypeError, match="written to a tensor of int64"):
                write()

    def test_writing_keeps_the_precision_of_the_target(self) -> None:
        x = nyala.zeros(1, dtype="float64")
        x[0] = 0.1
        assert x.item() == 0.1


class TestEmpty:
    def test_neutral_elements(self) -> None:
        empty = nyala.zeros(0)
        assert (empty.sum().item(), empty.prod().item()) == (0, 1)
        assert math.isnan(empty.mean().item())
        assert (empty.any().item(), empty.all().item()) == (False, True)
        assert empty.logsumexp(0).item() == -INF
        for function in (nyala.max, nyala.min, nyala.median, nyala.argmax):
            with pytest.raises(ShapeError, match="length 0"):
                function(empty)

    def test_shapes(self) -> None:
        assert [p.shape for p in nyala.zeros(0).chunk(3)] == [(0,)] * 3
        assert nyala.zeros(0).reshape(0, 3).shape == (0, 3)
        with pytest.raises(ShapeError, match="cannot become"):
            nyala.zeros(0).reshape(0, -1)
        assert nyala.zeros(2, 3)[nyala.zeros(2, dtype="int64") > 0].shape == (0, 3)
        assert nyala.zeros(2, 3)[[]].shape == (0, 3)
        with pytest.raises(ArgumentError, match="num_classes"):
            one_hot(nyala.zeros(0, dtype="int64"))


class TestDeviations:
    def test_one_element(self) -> None:
        assert math.isnan(t(1).std().item()) and math.isnan(t([1, 2]).var(0)[0].item())
        close(t([1, 2]).std(0, correction=0), 0, 0)
        close(t(1, 2, 5).var(False), 26 / 9)
        close(t(1, 2, 5).std(correction=2), math.sqrt(26 / 3))


class TestHalf:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_sums_are_taken_in_float32(self, dtype: str) -> None:
        x = nyala.ones(4096, 2, dtype=dtype)
        assert x.sum(0).tolist() == [4096, 4096]
        assert x.mean().item() == 1
        assert (x * 300).mean().item() == pytest.approx(300, rel=1e-2)
        assert (x * 300).norm().item() == pytest.approx(300 * math.sqrt(8192), rel=1e-2)
        assert x.cumsum(0)[-1].tolist() == [4096, 4096]
        assert x.sum(0).dtype == x.dtype

    def test_bfloat16_keeps_its_dtype(self) -> None:
        x = nyala.tensor([1.5, -0.5], dtype="bfloat16")
        for y in (x.abs() ** 2.5, x.clamp(0, 1), x.clamp(min=0), x.relu(), x + 1.0, 2 * x, x.floor(), x.maximum(x)):
            assert y.dtype == nyala.bfloat16
        assert nyala.where(x > 0, x, 0.0).dtype == nyala.bfloat16
        assert x.sort().values.tolist() == [-0.5, 1.5] and x.argmax().item() == 0


class TestZeroDimensions:
    def test_a_dimension_of_none(self) -> None:
        x = t(2.0).reshape(())
        assert x.max(0).values.item() == 2 and x.sum(0).item() == 2 and x.cumsum(0).item() == 2 and x.sort().values.item() == 2
        assert x.topk(1).values.item() == 2 and x.flatten().shape == (1,) and x.argmax(0).item() == 0
        for function in (x.sum, x.max, x.prod, x.cumsum, x.flip):
            with pytest.raises(ShapeError, match="dimension 1"):
                function(1)
        for function in (x.unbind, lambda: x.split(1), lambda: x.narrow(0, 0, 1), lambda: x.chunk(2)):
            with pytest.raises(ShapeError, match="without dimensions"):
                function()

    def test_a_single_element_read_is_a_view(self) -> None:
        x = t(1, 2)
        x[1].fill_(5.0)
        assert x.tolist() == [1, 5]
