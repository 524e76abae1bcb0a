"""The testing tools find what they are meant to find."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala.testing import Bad, OpCase, Sampler, assert_close, check_op, gradcheck, gradgradcheck


class Wrong(nyala.autograd.Function):
    """x**2 with the gradient of one element spoilt."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        factor = np.full(x.shape, 2.0)
        factor[1] = 2.5
        return grad * x * nyala.from_numpy(factor)


class WrongSecond(nyala.autograd.Function):
    """x**3 whose backward hides x from the second derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x.detach() ** 2


def leaf(*values: float) -> nyala.Tensor:
    return nyala.tensor(values, dtype="float64", requires_grad=True)


def test_a_wrong_gradient_is_named_with_input_element_and_both_values() -> None:
    with pytest.raises(AssertionError, match=r"input 1 of shape \(3,\), element \(1,\): backward says .* differences say"):
        gradcheck(lambda a, b: a + Wrong.apply(b), (leaf(1, 2, 3), leaf(0.5, 0.6, 0.7)))
    assert gradcheck(Wrong.apply, leaf(1, 2, 3), raise_exception=False) is False


def test_a_wrong_second_derivative_is_found() -> None:
    assert gradcheck(WrongSecond.apply, leaf(1, 2))
    with pytest.raises(AssertionError, match="wrong gradient"):
        gradgradcheck(WrongSecond.apply, leaf(1, 2))


def test_they_are_found_where_torch_has_them() -> None:
    assert nyala.autograd.gradcheck is gradcheck and nyala.autograd.gradgradcheck is gradgradcheck
    with pytest.raises(AttributeError, match="gradchek"):
        _ = nyala.autograd.gradchek


def test_complex_gradients_are_checked() -> None:
    z = nyala.tensor(np.array([1 + 2j, -0.5 + 0.3j]), requires_grad=True)
    assert gradcheck(lambda t: t * t.conj() * t, z)
    assert gradcheck(lambda t: abs(t), z)
    assert gradgradcheck(lambda t: t * t, z)


def test_the_inputs_are_put_back() -> None:
    x = leaf(0.1, 0.2)
    before = x.detach().numpy().copy()
    gradcheck(lambda t: t.exp(), x)
    assert np.array_equal(x.detach().numpy(), before) and x.grad is None


def test_unusable_inputs_are_refused() -> None:
    with pytest.raises(nyala.errors.DtypeError, match="input 0 is float32"):
        gradcheck(lambda t: t, nyala.ones(2, requires_grad=True))
    with pytest.raises(nyala.errors.ArgumentError, match="no input requires a gradient"):
        gradcheck(lambda t: t, nyala.ones(2, dtype="float64"))
    with pytest.raises(nyala.errors.ArgumentError, match="repeats its memory"):
        gradcheck(lambda t: t, nyala.ones(1, dtype="float64").expand(3).requires_grad_())


def test_a_function_that_is_not_repeatable_is_refused() -> None:
    with pytest.raises(AssertionError, match="differs between two calls"):
        gradcheck(lambda t: t * nyala.rand(2, dtype="float64"), leaf(1, 2))


def test_a_cut_graph_is_refused() -> None:
    with pytest.raises(AssertionError, match="no output requires a gradient"):
        gradcheck(lambda t: t.detach() * 2, leaf(1, 2))


@pytest.mark.parametrize(
    ("actual", "expected", "message"),
    [
        ([1.0, 2.0], [1.0, 2.1], r"1 of 2 elements differ.*\n.*0\.1.*\n  at \(1,\): 2.0, expected 2.1"),
        (np.ones(2), np.ones(3), r"shape \(2,\) where \(3,\)"),
        ({"a": 1}, {"b": 1}, r"keys \['a'\] where \['b'\]"),
        ((nyala.ones(2), nyala.ones(1)), (nyala.ones(2),), "2 values where 1"),
        (np.array([np.nan]), np.array([1.0]), "1 of 1"),
        (np.array([1.0]), np.array([np.inf]), "1 of 1"),
        (np.array([2**62 + 1]), np.array([2**62]), "1 of 1"),
    ],
)
def test_assert_close_reports(actual, expected, message) -> None:
    with pytest.raises(AssertionError, match=message):
        assert_close(actual, expected)


def test_assert_close_accepts() -> None:
    assert_close(nyala.ones(2) + 1e-7, np.ones(2))
    assert_close([np.nan, np.inf], [np.nan, np.inf], equal_nan=True)
    assert_close({"a": (nyala.ones(1), 2)}, {"a": (np.ones(1), 2)})
    assert_close(nyala.ones(2, dtype="bfloat16") * 1.01, np.ones(2, np.float32))
    with pytest.raises(AssertionError, match="dtype float32 where float64"):
        assert_close(nyala.ones(1), np.ones(1), check_dtype=True)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (OpCase("off", nyala.exp, lambda s: (s.normal(3),), np.expm1), "off: float64 result 0: 3 of 3"),
        (OpCase("grad", Wrong.apply, lambda s: (s.normal(3),), lambda x: x * x), "grad: wrong gradient"),
        (OpCase("dtype", lambda x: x.double(), lambda s: (s.normal(3),), lambda x: x), "float64 from inputs of float32"),
        (OpCase("layout", lambda x: nyala.from_numpy(x.detach().numpy().ravel("K")), lambda s: (s.normal(2, 3),), np.ravel),
         "layout: float64 transposed inputs result 0"),
        (OpCase("cut", lambda x: x.detach(), lambda s: (s.normal(3),), lambda x: x), "no result requires a gradient"),
        (OpCase("bad", nyala.exp, lambda s: (s.normal(3),),
         errors=(Bad(lambda: nyala.ones(2), ValueError, ""),)), "raised nothing"),
    ],
    ids=lambda v: v.name if isinstance(v, OpCase) else "",
)  # fmt: skip
def test_the_harness_finds_faults(case, message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_op(case)


def test_samples_are_stable_and_keep_away() -> None:
    assert np.array_equal(Sampler("a").normal(5), Sampler("a").normal(5))
    assert not np.array_equal(Sampler("a").normal(5), Sampler("b").normal(5))
    assert (np.abs(Sampler("a").away((1000,), [0.0, 1.0]) - 1) >= 0.1 - 1e-12).all()
    assert np.unique(Sampler("a").distinct(4, 5)).size == 20
