"""What cuBLASLt is asked: a stand-in for its bindings computes products from the arguments alone, and refuses what it would."""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.cuda import cublaslt
from nyala.core.kernels.reference import linalg as reference
from nyala.core.kernels.reference.after import ACTIVATIONS, After

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14, "float16": 2e-3, "bfloat16": 1.6e-2}
rng = np.random.default_rng(0)

TYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}
# attributes of descriptors
DESCRIPTION = {3: ("transa", np.int32), 4: ("transb", np.int32), 7: ("epilogue", np.uint32), 8: ("bias", np.int64)}
LAYOUT = {5: ("batch", np.int32), 6: ("step", np.int64)}
PREFERENCE = {1: ("workspace", np.uint64), 5: ("a", np.uint32), 6: ("b", np.uint32), 7: ("c", np.uint32), 8: ("d", np.uint32)}


class LtError(Exception):
    """``cuBLASLtError``."""


class HeuristicResult:
    """``cublasLtMatmulHeuristicResult_t``: 96 bytes, the algorithm first."""

    def __init__(self) -> None:
        self.bytes = np.zeros(96, np.uint8)
        self.ptr = self.bytes.ctypes.data


class CublasLt(types.ModuleType):
    """``nvmath.bindings.cublasLt`` of nvmath-python 1.0: its names, argument orders and enumerations, on ordinary memory."""

    def __init__(self) -> None:
        super().__init__("nvmath.bindings.cublasLt")
        self.MatmulHeuristicResult, self.cuBLASLtError = HeuristicResult, LtError
        self.made: list[dict[str, Any]] = [{}]  # a handle is a place here
        self.asked = self.run = 0
        self.refuses = False
        self.known: dict[bytes, tuple[int, ...]] = {}

    def _new(self, **parts: Any) -> int:
        self.made.append(parts)
        return len(self.made) - 1

    def create(self) -> int:
        return self._new(kind="handle")

    def matmul_desc_create(self, compute: int, scale: int) -> int:
        assert (compute, scale) in ((68, 0), (77, 0), (70, 1))
        return self._new(kind="description", compute=compute, scale=scale, transa=0, transb=0, epilogue=1, bias=0)

    def matrix_layout_create(self, dtype: int, rows: int, columns: int, apart: int) -> int:
        assert rows > 0 and columns > 0 and apart >= rows
        return self._new(kind="layout", dtype=dtype, rows=rows, columns=columns, apart=apart, batch=1, step=0)

    def matmul_preference_create(self) -> int:
        return self._new(kind="preference", workspace=0, a=256, b=256, c=256, d=256)

    def matmul_preference_destroy(self, preference: int) -> None:
        self.made[preference] = {}

    def _set(self, known: dict[int, tuple[str, Any]], kind: str, target: int, attribute: int, address: int, size: int) -> None:
        name, dtype = known[attribute]
        assert self.made[target]["kind"] == kind and size == np.dtype(dtype).itemsize
        self.made[target][name] = np.frombuffer(ctypes.string_at(address, size), dtype)[0].item()

    def matmul_desc_set_attribute(self, *args: int) -> None:
        self._set(DESCRIPTION, "description", *args)

    def matrix_layout_set_attribute(self, *args: int) -> None:
        self._set(LAYOUT, "layout", *args)

    def matmul_preference_set_attribute(self, *args: int) -> None:
        self._set(PREFERENCE, "preference", *args)

    def matmul_algo_get_heuristic(
        self, handle: int, description: int, a: int, b: int, c: int, d: int, preference: int, most: int, results: int, count: int
    ) -> None:
        assert self.made[handle]["kind"] == "handle" and most == 1 and self.made[preference]["workspace"] == 32 << 20
        self.asked += 1
        if self.refuses:
            raise LtError("status 15")
        wanted = self.made[preference]
        token = self.asked.to_bytes(8, "little")
        self.known[token] = (description, a, b, c, d, *(wanted[k] for k in "abcd"))
        ctypes.memmove(results, token, 8)
        ctypes.memmove(count, (1).to_bytes(4, "little"), 4)

    def matmul(
        self, handle: int, description: int, alpha: int, a: int, a_layout: int, b: int, b_layout: int, beta: int, c: int,
        c_layout: int, d: int, d_layout: int, algorithm: int, workspace: int, size: int, stream: int,
    ) -> None:  # fmt: skip
        assert self.made[handle]["kind"] == "handle"
        asked = self.known[ctypes.string_at(algorithm, 8)]
        assert asked[:5] == (description, a_layout, b_layout, c_layout, d_layout)
        assert all(address % alignment == 0 for address, alignment in zip((a, b, c, d), asked[5:], strict=True))
        assert workspace and size == 32 << 20 and stream == 0
        how, self.run = self.made[description], self.run + 1
        scale = np.float64 if how["scale"] else np.float32
        factors = [np.frombuffer(ctypes.string_at(place, np.dtype(scale).itemsize), scale)[0] for place in (alpha, beta)]
        left, right, before, out = (self._view(*pair) for pair in ((a, a_layout), (b, b_layout), (c, c_layout), (d, d_layout)))
        wide = np.float64 if how["scale"] else np.float32
        left, right = (
            x.astype(wide).swapaxes(1, 2) if how[k] else x.astype(wide) for x, k in ((left, "transa"), (right, "transb"))
        )
        sums = factors[0] * (left @ right)
        if factors[1]:
            sums = sums + factors[1] * before.astype(wide)
        out[...] = self._after(sums, how, out.dtype).astype(out.dtype)

    def _view(self, address: int, layout: int) -> np.ndarray:
        lies = self.made[layout]
        dtype = np.dtype(TYPES[lies["dtype"]])
        assert address % dtype.itemsize == 0
        reach = (lies["batch"] - 1) * lies["step"] + (lies["columns"] - 1) * lies["apart"] + lies["rows"]
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * (reach * dtype.itemsize)).from_address(address)).view(dtype)
        strides = [dtype.itemsize * n for n in (lies["step"], 1, lies["apart"])]
        return np.lib.stride_tricks.as_strided(memory, (lies["batch"], lies["rows"], lies["columns"]), strides)

    def _after(self, sums: np.ndarray, how: dict[str, Any], dtype: Any) -> np.ndarray:
        epilogue = how["epilogue"]
        assert epilogue in (1, 2, 4, 6, 32, 36)
        if epilogue & 4:
            size = sums.shape[1] * dtype.itemsize
            sums = sums + np.frombuffer(ctypes.string_at(how["bias"], size), dtype).astype(sums.dtype)[:, None]
        if epilogue & 32:
            return 0.5 * sums * (1 + np.tanh(np.sqrt(2 / np.pi) * (sums + 0.044715 * sums**3)))
        return np.maximum(sums, 0) if epilogue & 2 else sums


@pytest.fixture
def lt(cuda: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CublasLt]:  # noqa: ARG001 - the device comes first
    """The library, installed."""
    if not hasattr(devices.cupy(), "_lacking"):
        pytest.skip("a stand-in reads ordinary memory alone")
    fake = CublasLt()
    monkeypatch.setitem(sys.modules, "nvmath", types.ModuleType("nvmath"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings", types.ModuleType("nvmath.bindings"))
    monkeypatch.setitem(sys.modules, "nvmath.bindings.cublasLt", fake)
    monkeypatch.setattr(devices.cupy().cuda.runtime, "streamIsCapturing", lambda _stream: False, raising=False)
    cublaslt.forget()
    yield fake
    cublaslt.forget()


def on_device(shape: tuple[int, ...], dtype: str = "float32") -> Any:
    return devices.move(rng.standard_normal(shape).astype(DTYPES[dtype]), "cuda:0")


def exact(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu").astype(np.float64)


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(exact(a) - b).max() / max(1, np.abs(b).max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 5, 7), (16, 24, 8), (1, 6, 9), (9, 1, 4), (3, 4, 1)])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_operands_as_they_lie(lt: CublasLt, shape: tuple[int, int, int], turned: str, dtype: str) -> None:
    m, n, k = shape
    a = on_device((k, m), dtype).T if "a" in turned else on_device((m, k), dtype)
    b = on_device((n, k), dtype).T if "b" in turned else on_device((k, n), dtype)
    out = kernels.of(a).matmul(a, b)
    assert lt.run == 1 and difference(out, exact(a) @ exact(b)) < TOLERANCE[dtype]


def test_views_and_batches(lt: CublasLt) -> None:
    x = on_device((2, 9, 3, 3, 8))
    q, k, v = (x[:, :, :, i].transpose(0, 2, 1, 3) for i in range(3))
    scores = kernels.of(q).matmul(q, k.swapaxes(-1, -2))
    assert difference(scores, exact(q) @ exact(k).swapaxes(-1, -2)) < 2e-6
    assert difference(kernels.of(q).matmul(scores, v), exact(scores) @ exact(v)) < 2e-6
    assert lt.run == 4  # two launches each: the batch lies in two dimensions
    turned = x.transpose(2, 0, 1, 3, 4)[:, :, :, 0]  # the longer dimension of the batch comes first
    squares = kernels.of(x).matmul(turned, turned.swapaxes(-1, -2))
    assert difference(squares, exact(turned) @ exact(turned).swapaxes(-1, -2)) < 2e-6
    for first, second in (((6, 5, 7), (7, 4)), ((3, 1, 5, 7), (2, 7, 4)), ((5, 7), (6, 7, 4)), ((2, 3, 5, 7), (3, 7, 4))):
        a, b = on_device(first), on_device(second)
        assert difference(kernels.of(a).matmul(a, b), np.matmul(exact(a), exact(b))) < 2e-6


def test_what_it_cannot_read_is_computed_by_kernels(lt: CublasLt) -> None:
    x, b = on_device((6, 9, 4)), on_device((4, 5))
    for a in (x[0, ::-1], devices.cupy().broadcast_to(x[0, 0], (9, 4)), x[:6, :6, :].transpose(1, 0, 2)[:, None]):
        before = lt.run
        assert difference(kernels.of(a).matmul(a, b), exact(a) @ exact(b)) < 2e-6
        assert a.ndim > 2 or lt.run == before
    many = on_device((5, 2, 6, 7))[:, :, ::2].transpose(0, 2, 1, 3)[:, :, None]
    other = on_device((5, 2, 3, 7, 3)).transpose(0, 2, 1, 3, 4)
    assert difference(kernels.of(b).matmul(many, other), exact(many) @ exact(other)) < 2e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n", [15, 16])
def test_what_follows(lt: CublasLt, n: int, activation: str, dtype: str) -> None:
    x, w, bias = on_device((2, 9, 20), dtype), on_device((n, 20), dtype), on_device((n,), dtype)
    residual, wide = on_device((2, 9, n), dtype), "float64" if dtype == "float64" else "float32"
    scale, shift = on_device((n,), wide), on_device((n,), wide)
    for b in (None, bias):
        for after in (
            After(activation=activation), After(None, None, residual, activation), After(scale, shift, residual, activation)
        ):  # fmt: skip
            expected = reference.linear(exact(x), exact(w), exact(b), After(*map(exact, after[:3]), activation))
            assert difference(kernels.of(x).linear(x, w, b, after), expected) < 2 * TOLERANCE[dtype]
    epilogues = {made["epilogue"] for made in lt.made if made.get("kind") == "description"}
    assert epilogues == {"relu": {1, 4, 2, 6}, "gelu_tanh": {1, 4, 32, 36}}.get(activation, {1, 4})


def test_plans_are_made_once_for_each_kind_of_product(lt: CublasLt) -> None:
    x, w = on_device((9, 20)), on_device((16, 20))
    for _ in range(3):
        kernels.of(x).linear(x, w, on_device((16,)))
    assert (lt.asked, lt.run) == (1, 3)
    kernels.of(x).linear(x, w)
    kernels.of(x).linear(x.astype(np.float16), w.astype(np.float16))
    kernels.of(x).linear(x, on_device((17, 20))[1:])
    assert lt.asked >= 4


def test_few_rows_are_left_to_the_kernel_that_reads_the_weight_once(lt: CublasLt) -> None:
    x, w = on_device((8, 20)), on_device((16, 20))
    assert difference(kernels.of(x).linear(x, w), exact(x) @ exact(w).T) < 2e-6 and lt.run == 0


def test_tensor_float_32_is_used_when_it_is_allowed(lt: CublasLt) -> None:
    x, w = on_device((9, 20)), on_device((16, 20))
    kernels.of(x).linear(x, w)
    nyala.set_float32_matmul_precision("high")
    try:
        kernels.of(x).linear(x, w)
        kernels.of(x).linear(x.astype(np.float64), w.astype(np.float64))
    finally:
        nyala.set_float32_matmul_precision("highest")
    assert [made["compute"] for made in lt.made if made.get("kind") == "description"] == [68, 77, 70]


def test_no_plan_is_made_while_a_graph_is_captured(lt: CublasLt, monkeypatch: pytest.MonkeyPatch) -> None:
    x, known, new = on_device((9, 20)), on_device((16, 20)), on_device((7, 20))
    kernels.of(x).linear(x, known)
    monkeypatch.setattr(devices.cupy().cuda.runtime, "streamIsCapturing", lambda _stream: True)
    assert difference(kernels.of(x).linear(x, known), exact(x) @ exact(known).T) < 2e-6 and lt.run == 2
    assert difference(kernels.of(x).linear(x, new), exact(x) @ exact(new).T) < 2e-6 and (lt.asked, lt.run) == (1, 2)


def test_kernels_compute_what_it_has_no_algorithm_for(lt: CublasLt) -> None:
    lt.refuses = True
    x, w, after = on_device((9, 20)), on_device((16, 20)), After(activation="silu")
    for _ in range(2):
        expected = reference.linear(exact(x), exact(w), None, after)
        assert difference(kernels.of(x).linear(x, w, None, after), expected) < 2e-6
    assert (lt.asked, lt.run) == (1, 0)


def test_a_library_that_does_not_load_is_left_alone(lt: CublasLt, monkeypatch: pytest.MonkeyPatch) -> None:
    def create() -> int:
        raise RuntimeError("CUDA driver is not found")

    monkeypatch.setattr(lt, "create", create)
    x, w = on_device((9, 20)), on_device((16, 20))
    assert difference(kernels.of(x).linear(x, w), exact(x) @ exact(w).T) < 2e-6 and lt.run == 0
