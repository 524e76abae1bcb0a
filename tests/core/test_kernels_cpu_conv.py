"""The convolution kernels where arrays, not tensors, meet them: uneven padding, odd layouts, threads, what follows them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala.core.kernels.reference import conv as reference
from nyala.core.kernels.reference.windows import sides
from nyala.testing import Sampler


def zeros_around(x: Any, padding: Any) -> Any:
    return np.pad(x, [(0, 0), (0, 0), *sides(padding)])


@pytest.mark.parametrize("padding", [((1, 0), (0, 2)), (1, (3, 0)), ((0, 0), (2, 1))])
def test_the_reference_pads_each_side_by_its_own_number(padding: Any) -> None:
    s, even = Sampler("sides"), (0, 0)
    x, w = s.normal(2, 4, 6, 5), s.normal(6, 2, 3, 2)
    rest = (1, 1), 2
    wide = zeros_around(x, padding)
    y = reference.conv_forward(x, w, (2, 1), padding, *rest)
    np.testing.assert_array_equal(y, reference.conv_forward(wide, w, (2, 1), even, *rest))
    (top, bottom), (left, right) = sides(padding)
    back = reference.conv_input_grad(y, w, wide.shape, (2, 1), even, *rest)
    inner = back[:, :, top : back.shape[2] - bottom, left : back.shape[3] - right]
    np.testing.assert_array_equal(reference.conv_input_grad(y, w, x.shape, (2, 1), padding, *rest), inner)
    expected = reference.conv_weight_grad(y, wide, w.shape, (2, 1), even, *rest)
    np.testing.assert_array_equal(reference.conv_weight_grad(y, x, w.shape, (2, 1), padding, *rest), expected)
