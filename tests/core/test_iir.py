"""Recursive filters: the kernel against the recursion written out, where stretches meet, and for unstable filters."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala.core.kernels.reference.iir import all_pole as kernel
from nyala.core.ops.iir import all_pole


def written_out(x: np.ndarray, a: tuple[float, ...]) -> np.ndarray:
    y = np.zeros_like(x)
    for n in range(x.shape[-1]):
        y[..., n] = x[..., n] - sum(v * y[..., n - k] for k, v in enumerate(a, 1) if n >= k)
    return y


@pytest.mark.parametrize("a", [(), (-0.9,), (-1.8, 0.81), (0.2, 0.3, -0.1, 0.05, 0.4), (-1.0,), (-1.02,)])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 63, 64, 65, 257])
def test_kernel_is_the_recursion(a, length):
    x = np.random.default_rng(length).standard_normal((2, 1, length))
    expected = written_out(x, a)
    np.testing.assert_allclose(kernel(x, a), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_rows_do_not_know_each_other():
    x = np.random.default_rng(1).standard_normal((3, 5_000))
    np.testing.assert_array_equal(kernel(x, (-1.7, 0.8))[1], kernel(x[1], (-1.7, 0.8)))


def test_it_returns_an_array_of_its_own_and_keeps_the_dtype():
    x = np.ones(3, np.float32)
    for a in ((), (-0.5,)):
        found = kernel(x, a)
        assert found.dtype == np.float32 and not np.shares_memory(found, x)
    assert kernel(np.ones((2, 0)), (-0.5,)).shape == (2, 0)


def test_gradient_of_the_gradient():
    x = nyala.from_numpy(np.random.default_rng(2).standard_normal(30)).requires_grad_()
    (first,) = nyala.autograd.grad((all_pole(x, (-0.5, 0.3)) ** 2).sum(), (x,), create_graph=True)
    (second,) = nyala.autograd.grad((first**2).sum(), (x,))
    matrix = np.stack([written_out(row, (-0.5, 0.3)) for row in np.eye(30)], 1)
    hessian = 2 * matrix.T @ matrix
    np.testing.assert_allclose(second.numpy(), 2 * hessian @ hessian @ x.detach().numpy(), rtol=1e-9)
