"""The spatial operations on ``device="cuda"``: the same numbers as on the CPU, with gradients and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala.testing import Sampler

CALLS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1), [(2, 4, 9), (6, 2 * 2, 3), (6,)]),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, 1, (1, 2), 2), [(2, 4, 7, 8), (6, 2, 3, 3), (6,)]),
    "conv2d same": (lambda x, w: F.conv2d(x, w, padding="same"), [(1, 2, 4, 5), (3, 2, 2, 3)]),
    "conv2d uneven": (lambda x, w: F.conv2d(x, w, None, 2, ((0, 1), (2, 1))), [(1, 2, 4, 5), (3, 2, 3, 3)]),
    "depthwise": (lambda x, w: F.conv2d(x, w, padding=1, groups=3), [(2, 3, 5, 4), (3, 1, 3, 3)]),
    "conv3d": (F.conv3d, [(1, 2, 3, 4, 3), (2, 2, 2, 2, 2)]),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), [(2, 3, 3, 4), (3, 2, 3, 3), (2,)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), [(2, 2, 6, 5)]),
    "max_pool2d indices": (lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[1].to(x.dtype) + 0 * x.sum(), [(2, 2, 6, 5)]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x, (2, 3)), [(2, 2, 5, 5)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), [(2, 2, 6, 5)]),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, (2, 3)), [(2, 2, 5, 5)]),
    "lp_pool2d": (lambda x: F.lp_pool2d(x * x + 1, 2, 2), [(1, 2, 4, 4)]),
    "nearest": (lambda x: F.interpolate(x, (7, 2)), [(1, 2, 4, 5)]),
    "bilinear": (lambda x: F.interpolate(x, (7, 2), mode="bilinear"), [(1, 2, 4, 5)]),
    "bicubic": (lambda x: F.interpolate(x, (7, 2), mode="bicubic", antialias=True), [(1, 2, 4, 5)]),
    "pad": (lambda x: F.pad(x, (1, 2, -1, 0), value=2.0), [(1, 2, 4, 5)]),
    "pad reflect": (lambda x: F.pad(x, (1, 2, 3, 0), mode="reflect"), [(1, 2, 4, 5)]),
    "pad circular": (lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"), [(1, 2, 4, 5)]),
    "unfold": (lambda x: F.unfold(x, 3, 1, 1, 2), [(1, 2, 4, 5)]),
    "fold": (lambda x: F.fold(x, (4, 5), 2), [(1, 8, 12)]),
    "Tensor.unfold": (lambda x: x.unfold(1, 3, 2), [(2, 7, 2)]),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), [(1, 8, 2, 3)]),
    "grid_sample": (lambda x, g: F.grid_sample(x, g, padding_mode="reflection"), [(1, 2, 4, 5), (1, 2, 3, 2)]),
    "grid_sample bicubic": (lambda x, g: F.grid_sample(x, g, "bicubic", "border", True), [(1, 2, 4, 5), (1, 2, 3, 2)]),
    "affine_grid": (lambda t: F.affine_grid(t, (2, 1, 3, 2)), [(2, 2, 3)]),
}


def derivatives(call: Callable[..., Any], arrays: list[Any], device: str) -> list[Any]:
    """The result, the gradients of sum(result ** 2), and the gradients of the sum of their squares."""
    inputs = [nyala.tensor(a, device=device).requires_grad_() for a in arrays]
    out = call(*inputs)
    first = nyala.autograd.grad((out * out).sum(), inputs, create_graph=True)
    total = first[0].sum() * 0.0
    for g in first:
        total = total + (g * g).sum()
    second = nyala.autograd.grad(total, inputs)
    found = [out, *first, *second]
    assert all(t.device == inputs[0].device for t in found)
    return [t.detach().cpu().numpy() for t in found]


@pytest.mark.parametrize("name", CALLS)
def test_the_same_numbers_on_both_devices(name: str, cuda: str) -> None:
    call, shapes = CALLS[name]
    sampler = Sampler(name)
    arrays = [sampler.normal(*shape) for shape in shapes]
    for got, expected in zip(derivatives(call, arrays, cuda), derivatives(call, arrays, "cpu"), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
