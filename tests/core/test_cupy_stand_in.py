"""The stand-in for CuPy refuses what CuPy refuses; where CuPy is installed (no GPU needed), its lists are compared."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stand_in = load(Path(__file__).parents[1] / "cupy_stand_in.py")
cp = stand_in.module()
x = cp.asarray(np.arange(6.0).reshape(2, 3))


def test_is_no_numpy_array_and_becomes_none_unasked() -> None:
    assert not isinstance(x, np.ndarray) and isinstance(x.get(), np.ndarray) and isinstance(cp.asnumpy(x), np.ndarray)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda: x + np.ones(3),
        lambda: np.ones(3) * x,
        lambda: cp.add(x, np.ones(3)),
        lambda: cp.exp([1.0]),
        lambda: cp.concatenate([x, np.ones((1, 3))]),
        lambda: cp.where(x > 0, x, np.ones(3)),
        lambda: np.concatenate([x, np.ones((1, 3))]),
        lambda: cp.matmul(x, np.ones((3, 1))),
        lambda: x.__iadd__(np.ones(3)),
    ],
)
def test_does_not_mix_with_numpy(call: Any) -> None:
    with pytest.raises(TypeError, match="Unsupported type"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: cp.add.at,
        lambda: cp.add.reduceat,
        lambda: cp.errstate,
        lambda: cp.object_,
        lambda: cp.nditer,
        lambda: x.ctypes,
        lambda: x.__array_interface__,
        lambda: x.flags.writeable,
        lambda: cp.lib.format,
        lambda: cp.geomspace,
    ],
)
def test_lacks_what_cupy_lacks(call: Any) -> None:
    with pytest.raises(AttributeError):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: x.sum(where=x > 0),
        lambda: cp.max(x, initial=0),
        lambda: x.argsort(order="a"),
        lambda: cp.zeros(3, like=x),
        lambda: x.astype("f4", casting="safe"),
        lambda: range(cp.asarray(3)),
        lambda: cp.lib.stride_tricks.as_strided(x, writeable=True),
    ],
)
def test_takes_only_cupys_arguments(call: Any) -> None:
    with pytest.raises(TypeError):
        call()


def test_reductions_and_elements_are_arrays() -> None:
    for made in (x.sum(), x.max(), x[0, 0], cp.sum(x), cp.asarray(2.0) * 2, x.argmax()):
        assert isinstance(made, cp.ndarray) and made.shape == ()
    assert x.sum().item() == 15.0 and float(x[1, 2]) == 5.0 and bool(x.any())


def test_numpy_functions_and_numbers_reach_it() -> None:
    for made in (np.exp(x), np.float32(2) * x, 2 * x, np.add(x, 1), np.concatenate([x, x]), np.where(x > 1, x, 0.0)):
        assert isinstance(made, cp.ndarray)
    assert (np.float32(2) * x).dtype == np.float64


def test_views_name_their_base_and_copies_none() -> None:
    for view in (x[0], x.T, x.reshape(6), x[:, None], cp.broadcast_to(x, (2, 2, 3)), x.view(), x[0][1:]):
        assert view.base is x and view.data.mem is x.data.mem
    for copy in (x.copy(), x + 1, x[[0, 1]], x.astype("f4"), x.T.reshape(6)):
        assert copy.base is None and copy.data.mem is not x.data.mem
    strided = cp.lib.stride_tricks.as_strided(x, (2,), (8,))
    assert strided.base is None and strided.data.mem is x.data.mem


def test_an_index_wraps_around_and_repeats_have_no_order() -> None:
    row = cp.asarray(np.arange(3.0))
    assert row[cp.asarray([3, -4, 4])].tolist() == [0.0, 2.0, 1.0] and row.take(cp.asarray([5])).tolist() == [2.0]
    row[cp.asarray([0, 0])] = cp.asarray([7.0, 8.0])
    assert row.tolist() == [7.0, 1.0, 2.0]
    with pytest.raises(IndexError):
        row[3]
    with pytest.raises(ValueError, match="fill"):
        row[:] = np.ones(3)


def test_bfloat16_is_neither_chosen_nor_sorted() -> None:
    half = cp.asarray([1.0, 2.0]).astype("bfloat16")
    assert cp.where(half > 1, half, half).dtype == np.float32
    with pytest.raises(NotImplementedError, match="Sorting"):
        cp.argsort(half)


# what nyala may want to say of an array, rather than of a file or a printed text
WORDS = {
    "axis",
    "casting",
    "device",
    "initial",
    "keepdims",
    "like",
    "mode",
    "order",
    "out",
    "stable",
    "subok",
    "where",
    "writeable",
}


def test_rows_are_taken_at_each_launch_of_what_was_captured() -> None:
    table, places = cp.asarray(np.arange(6.0).reshape(3, 2)), cp.asarray(np.array([0, 2]))
    with cp.cuda.Stream() as stream:
        stream.begin_capture()
        taken = cp.take(table, places, 0)
        graph = stream.end_capture()
        for chosen in ([2, 1], [0, 0]):
            places._array[...] = chosen
            graph.launch(stream)
            assert taken.get().tolist() == np.arange(6.0).reshape(3, 2)[chosen].tolist()


def test_it_offers_nothing_that_an_installed_cupy_lacks() -> None:
    real = pytest.importorskip("cupy", minversion="14", reason="CuPy is not installed")
    for ours, theirs in (
        (cp, real),
        (cp.fft, real.fft),
        (cp.linalg, real.linalg),
        (cp.lib.stride_tricks, real.lib.stride_tricks),
    ):
        names = {n for n in dir(ours._source) if not n.startswith("_") and callable(getattr(ours, n, None))}
        functions = {n for n in names if not isinstance(getattr(ours, n), type)}
        assert {n for n in functions if not hasattr(theirs, n)} == set(), f"{ours.__name__} has names that CuPy lacks"
        for name in (n for n in functions if not isinstance(getattr(ours._source, n), np.ufunc)):
            offered = keywords(getattr(ours._source, name), set()) & WORDS - stand_in.LACKING_ARGUMENTS.get(name, set())
            assert offered <= keywords(getattr(theirs, name), WORDS), f"CuPy's {name} has not all of {offered}"
    absent = {n for n in dir(np.ndarray) if not n.startswith("__") and not hasattr(real.ndarray, n)}
    assert absent <= stand_in.LACKING_METHODS


def keywords(function: Any, untold: set[str]) -> set[str]:
    """Names of the parameters; and ``untold`` where it takes any, or does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return untold
    return {p.name for p in parameters} | (untold if any(p.kind is p.VAR_KEYWORD for p in parameters) else set())
