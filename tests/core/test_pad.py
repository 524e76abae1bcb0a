"""Padding, folding and windows against NumPy and loops written out, and finite differences."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.core.ops.pad import fold, pad, unfold, unfold_dimension
from nyala.errors import ArgumentError, ShapeError
from nyala.testing import Bad, OpCase, check_op

WINDOW = {"kernel_size": 3, "dilation": (2, 1), "padding": (2, 1)}
NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def naive_pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """NumPy's pad for what is added, slices for what is cut off."""
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs, strict=True))]
    added = [(max(a, 0), max(b, 0)) for a, b in pairs]
    return np.pad(x, added, constant_values=value or 0) if mode == "constant" else np.pad(x, added, NUMPY[mode])


def naive_unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    kernel, dilation, padding, stride = (v if isinstance(v, tuple) else (v, v) for v in (kernel_size, dilation, padding, stride))
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    starts = [range(0, s - r + 1, t) for s, r, t in zip(x.shape[2:], reach, stride, strict=True)]
    columns = [
        x[:, :, top : top + reach[0] : dilation[0], left : left + reach[1] : dilation[1]].reshape(len(x), -1)
        for top, left in itertools.product(*starts)
    ]
    return np.stack(columns, -1)


def naive_fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Any:
    """The transpose of ``naive_unfold``, which is linear: its matrix is found by unfolding every unit image."""
    channels = x.shape[1] // int(np.prod(kernel_size if isinstance(kernel_size, tuple) else (kernel_size,) * 2))
    units = np.eye(channels * int(np.prod(output_size))).reshape(-1, channels, *output_size)
    matrix = naive_unfold(units, kernel_size, dilation, padding, stride).reshape(len(units), -1)
    return (x.reshape(len(x), -1) @ matrix.T).reshape(len(x), channels, *output_size)


def naive_windows(x: Any, dimension: int, size: int, step: int) -> Any:
    dimension %= x.ndim
    parts = [x.take(range(start, start + size), dimension) for start in range(0, x.shape[dimension] - size + 1, step)]
    return np.moveaxis(np.stack(parts, dimension), dimension + 1, -1)


def padded(name: str, shape: tuple[int, ...], widths: tuple[int, ...], mode: str = "constant", **kwargs: Any) -> OpCase:
    return OpCase(name, pad, lambda s: (s.normal(*shape),), naive_pad, {"pad": widths, "mode": mode, **kwargs})


def on(name: str, op: Any, naive: Any, shape: tuple[int, ...], **kwargs: Any) -> OpCase:
    return OpCase(name, op, lambda s: (s.normal(*shape),), naive, kwargs, rtol=2)


ROWS = [
    padded("constant", (2, 3, 4), (1, 2)),
    padded("constant, a value, all dimensions", (2, 3, 2), (1, 0, 0, 2, 2, 1), value=-1.5),
    padded("constant, cut off", (2, 4, 5), (-1, 2, 1, -2), value=3.0),
    padded("constant, nothing", (2, 3), (0, 0)),
    *[padded(f"{mode}, 1 dimension", (2, 2, 5), (3, 2), mode) for mode in NUMPY],
    *[padded(f"{mode}, 2 dimensions", (1, 2, 4, 5), (3, 2, 1, 3), mode) for mode in NUMPY],
    *[padded(f"{mode}, 3 dimensions", (1, 1, 3, 4, 3), (1, 2, 3, 1, 2, 0), mode) for mode in NUMPY],
    *[padded(f"{mode}, without a batch", (2, 4), (2, 1), mode) for mode in NUMPY],
    *[padded(f"{mode}, length 1", (1, 2, 1), (0, 0) if mode == "reflect" else (1, 1), mode) for mode in NUMPY],
    padded("replicate, far", (1, 2, 2, 3), (4, 0, 0, 5), "replicate"),
    padded("replicate, cut off", (1, 2, 5), (-2, 3), "replicate"),
    on("unfold", unfold, naive_unfold, (2, 2, 4, 5), kernel_size=(2, 3)),
    on("unfold, all arguments", unfold, naive_unfold, (1, 2, 6, 7), **WINDOW, stride=(2, 3)),
    on("fold", fold, naive_fold, (2, 12, 12), output_size=(4, 5), kernel_size=2),
    on("fold, all arguments", fold, naive_fold, (1, 18, 16), output_size=(7, 8), **WINDOW, stride=2),
    on("Tensor.unfold", nyala.Tensor.unfold, naive_windows, (3, 7), dimension=1, size=3, step=2),
    on("Tensor.unfold, first dimension", unfold_dimension, naive_windows, (6, 2), dimension=0, size=2, step=1),
    on("Tensor.unfold, apart", unfold_dimension, naive_windows, (2, 9, 2), dimension=-2, size=2, step=4),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_operation(row: OpCase) -> None:
    check_op(row)


def test_inputs_without_a_batch() -> None:
    x = nyala.tensor(np.random.default_rng(0).standard_normal((2, 5, 6)))
    columns = unfold(x, 3, padding=1)
    np.testing.assert_array_equal(columns.numpy(), unfold(x[None], 3, padding=1)[0].numpy())
    np.testing.assert_array_equal(
        fold(columns, (5, 6), 3, padding=1).numpy(), fold(columns[None], (5, 6), 3, padding=1)[0].numpy()
    )


def test_any_dtype_can_be_padded() -> None:
    assert pad(nyala.tensor([[1, 2, 3]]), (1, 1), value=9).tolist() == [[9, 1, 2, 3, 9]]
    assert pad(nyala.tensor([[True, False]]), (2, 0), mode="replicate").tolist() == [[True, True, True, False]]
    assert pad(nyala.tensor([[1, 2, 3]]), (2, 1), mode="circular").tolist() == [[2, 3, 1, 2, 3, 1]]


def test_channels_last_memory_stays_so() -> None:
    last = nyala.from_numpy(np.ones((2, 4, 5, 3), "f")).permute(0, 3, 1, 2)
    assert pad(last, (0, 1, 0, 1)).permute(0, 2, 3, 1).is_contiguous()


def test_a_padded_tensor_has_memory_of_its_own() -> None:
    x = nyala.zeros(2, 3)
    for mode in ("constant", "reflect"):
        pad(x, (0, 0), mode=mode).fill_(1.0)
        assert not x.numpy().any()


def test_windows_are_a_view_that_counts_its_writes() -> None:
    x = nyala.arange(5.0)
    windows = x.unfold(0, 2, 2)
    windows[1, 0] = 9.0
    assert x.tolist() == [0, 1, 9, 3, 4]
    leaf = nyala.arange(5.0).requires_grad_()
    with pytest.raises(nyala.errors.GradError, match="writes through a view"):
        (leaf * 1.0).unfold(0, 2, 2).mul_(2.0)
    with nyala.no_grad():
        squares = nyala.enable_grad()(lambda: leaf * leaf)()
        leaf.unfold(0, 2, 2).mul_(2.0)
    with pytest.raises(nyala.errors.GradError, match="changed in place"):
        squares.sum().backward()


def test_a_number_has_one_window() -> None:
    assert nyala.tensor(3.0).unfold(0, 1, 1).tolist() == [3.0]


x = nyala.zeros(1, 2, 3, 4)
ERRORS = [
    Bad(lambda: pad(x, (1, 2, 3)), ArgumentError, "3 widths"),
    Bad(lambda: pad(x, (1,) * 10), ArgumentError, "10 widths"),
    Bad(lambda: pad(x, (1, 1), mode="mirror"), ArgumentError, "'reflect', 'replicate' or 'circular'"),
    Bad(lambda: pad(x, (1, 1), mode="reflect", value=1.0), ArgumentError, "only 'constant' fills with a value"),
    Bad(lambda: pad(x, (4, 1, 0, 0), mode="reflect"), ShapeError, r"4 before and 1 after dimension 3.*at most 3.*length of 4"),
    Bad(lambda: pad(x, (0, 0, 0, 4), mode="circular"), ShapeError, "at most 3 can be taken from a length of 3"),
    Bad(lambda: pad(x, (1, 1), mode="circular"), ShapeError, r"\(N, C, \*S\) or \(C, \*S\)"),
    Bad(lambda: pad(nyala.zeros(1, 2, 0), (1, 1), mode="replicate"), ShapeError, "length of 0"),
    Bad(lambda: pad(x, (-3, -2)), ShapeError, "leave nothing of dimension 3"),
    Bad(lambda: pad(nyala.zeros(1, 1, 3), (-2, -2), mode="replicate"), ShapeError, "leave nothing"),
    Bad(lambda: unfold(x, 4), ShapeError, r"a window \(4, 4\).*does not fit once"),
    Bad(lambda: unfold(x[0, 0], 2), ShapeError, r"takes \(N, C, H, W\)"),
    Bad(lambda: unfold(x, (2, 0)), ArgumentError, "kernel_size"),
    Bad(lambda: fold(nyala.zeros(1, 4, 5), (2, 3), 2), ShapeError, r"L = 1 \* 2 columns"),
    Bad(lambda: fold(nyala.zeros(1, 5, 2), (2, 3), 2), ShapeError, r"C \* 4 rows"),
    Bad(lambda: fold(x, (2, 3), 2), ShapeError, r"takes \(N, C \* KH \* KW, L\)"),
    Bad(lambda: x.unfold(3, 5, 1), ShapeError, "window of 5 along dimension 3.*length 4"),
    Bad(lambda: x.unfold(4, 1, 1), ShapeError, "dimension 4"),
    Bad(lambda: x.unfold(3, 2, 0), ArgumentError, "unfold: step=0"),
]


@pytest.mark.parametrize("bad", ERRORS, ids=range(len(ERRORS)))
def test_a_wrong_call_says_what_is_wrong(bad: Bad) -> None:
    with pytest.raises(bad.error, match=bad.text):
        bad.call()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("widths", [(2, 3), (0, 4), (4, 0), (-2, 3), (3, -4), (-5, 0), (-2, -3), (-4, 2), (0, 0)])
def test_borders_of_a_signal_are_those_of_a_picture(mode, widths):
    x = nyala.randn(2, 3, 5)
    table = pad(x.unsqueeze(2), (*widths, 0, 0), mode=mode).squeeze(2)
    assert np.array_equal(pad(x, widths, mode=mode).numpy(), table.numpy())
