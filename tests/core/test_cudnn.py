"""What cuDNN is asked: a stand-in for its front end computes what a graph says from addresses, shapes and strides alone."""

from __future__ import annotations

import ctypes
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import nyala
import pytest
from nyala.core import devices, kernels
from nyala.core.kernels.cuda import cudnn_plans
from nyala.core.kernels.reference import attention as attending
from nyala.core.kernels.reference import conv as reference
from nyala.core.kernels.reference.after import ACTIVATIONS, After, apply

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TOLERANCE = {"float32": 3e-6, "float64": 1e-13, "float16": 3e-3, "bfloat16": 2e-2}
KINDS = {"FLOAT": np.float32, "DOUBLE": np.float64, "HALF": np.float16, "BFLOAT16": ml_dtypes.bfloat16}
rng = np.random.default_rng(0)


class NotSupported(Exception):  # noqa: N818 - cuDNN's name
    """``cudnnGraphNotSupportedError``."""


class Handle:
    """What ``create_handle`` gives."""

    stream: int | None = None


class Node(dict[str, Any]):
    """A tensor of a graph; setters give it back, as cuDNN's do."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("set_"):
            raise AttributeError(name)

        def put(value: Any) -> Node:
            self[name[4:]] = value
            return self

        return put


class Graph:
    """``cudnn.pygraph``: one convolution and what follows it, or an attention."""

    library: Cudnn

    def __init__(self, handle: Any, **types_: str) -> None:
        assert isinstance(handle, Handle)
        self.said: dict[str, Any] = {"types": types_, "nodes": {}, "after": []}
        self.ready, self.plan = False, 0

    def tensor(self, name: str, dim: list[int], stride: list[int], **kind: str) -> Node:
        self.said["nodes"][name] = node = Node(name=name, dim=dim, stride=stride, **kind)
        return node

    def _attend(
        self, names: list[str], attn_scale: float, diagonal_alignment: str = "all", diagonal_band_right_bound: int = 0,
        bias: Node | None = None,
    ) -> list[Node]:  # fmt: skip
        assert bias is None or (bias["name"], bias["data_type"]) == ("bias", "FLOAT")
        assert bias is None or diagonal_alignment != "BOTTOM_RIGHT"
        assert diagonal_band_right_bound == 0
        self.said |= {"operation": "attend", "scale": attn_scale, "seen": diagonal_alignment}
        for name in names:
            self.said["nodes"][name] = Node(name=name)
        return [self.said["nodes"][name] for name in names]

    def sdpa(self, q: Node, k: Node, v: Node, generate_stats: bool, **scores: Any) -> tuple[Node, Node | None]:
        assert [n["name"] for n in (q, k, v)] == ["q", "k", "v"]
        found = self._attend(["out", "statistics"] if generate_stats else ["out"], **scores)
        return found[0], found[1] if generate_stats else None

    def sdpa_backward(
        self, q: Node, k: Node, v: Node, o: Node, dO: Node, stats: Node, use_deterministic_algorithm: bool, **scores: Any
    ) -> list[Node]:
        assert [n["name"] for n in (q, k, v, o, dO, stats)] == ["q", "k", "v", "out", "grad", "statistics"]
        if self.library.forward_only:
            raise NotSupported("backward")
        assert use_deterministic_algorithm
        return self._attend(["gq", "gk", "gv"], **scores)

    def _conv(self, operation: str, **given: Any) -> Node:
        moves = {k: v for k, v in given.items() if not isinstance(v, Node)}
        self.said |= {"operation": operation, "inputs": [v["name"] for v in given.values() if isinstance(v, Node)], **moves}
        self.said["nodes"]["out"] = node = Node(name="out")
        return node

    def conv_fprop(self, image: Node, weight: Node, **moves: Any) -> Node:
        return self._conv("fprop", image=image, weight=weight, **moves)

    def conv_dgrad(self, loss: Node, filter: Node, **moves: Any) -> Node:
        return self._conv("dgrad", loss=loss, filter=filter, **moves)

    def conv_wgrad(self, image: Node, loss: Node, **moves: Any) -> Node:
        return self._conv("wgrad", image=image, loss=loss, **moves)

    def bias(self, input: Node, bias: Node) -> Node:
        assert bias["name"] == "bias"
        self.said["after"].append("bias")
        return input

    def _activation(self, name: str, input: Node) -> Node:
        if name in self.library.unfused:
            raise NotSupported(name)
        self.said["after"].append(name)
        return input

    def relu(self, input: Node) -> Node:
        return self._activation("relu", input)

    def gelu(self, input: Node) -> Node:
        return self._activation("gelu", input)

    def gelu_approx_tanh(self, input: Node) -> Node:
        return self._activation("gelu_tanh", input)

    def swish(self, input: Node) -> Node:
        return self._activation("silu", input)

    def validate(self) -> None:
        nodes = self.said["nodes"].values()
        assert len({n["uid"] for n in nodes}) == len(nodes)
        results = [n for n in self.said["nodes"] if n in ("gq", "gk", "gv")] or ["out"]
        assert all(self.said["nodes"][n]["output"] is True for n in results)

    def build_operation_graph(self) -> None:
        self.library.asked += 1

    def create_execution_plans(self, modes: list[str]) -> None:
        assert modes == ["A", "FALLBACK"]

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.said["without"] = notes

    def deselect_workspace_greater_than(self, limit: int) -> None:
        assert limit > 0

    def check_support(self) -> None:
        if self.library.refuses:
            raise NotSupported("no engine")

    def build_plans(self, policy: str) -> None:
        self.said["policy"], self.ready = policy, True

    def build_plan_at_index(self, index: int) -> None:
        self.plan = index

    def get_execution_plan_count(self) -> int:
        return 3

    def get_workspace_size(self) -> int:
        return 64

    def get_workspace_size_plan_at_index(self, index: int) -> int:
        if index == 1:
            raise RuntimeError("this plan was not built")
        return 128

    def execute_plan_at_index(self, places: dict[int, int], workspace: int, index: int, handle: Any) -> None:
        self.library.timed.append(index)
        self.execute(places, workspace, handle)

    def serialize(self) -> bytes:
        return json.dumps(self.said).encode()

    def deserialize(self, handle: Any, data: bytes) -> None:
        assert isinstance(handle, Handle)
        self.said, self.ready = json.loads(data), True
        self.library.read += 1

    def execute(self, places: dict[int, int], workspace: int, handle: Any) -> None:
        assert self.ready and workspace and handle.stream == 0
        self.library.run += 1
        arrays = {name: self._view(node, places[node["uid"]]) for name, node in self.said["nodes"].items()}
        if self.said["operation"] == "attend":
            self._attended(arrays)
            return
        wide = np.float64 if self.said["types"]["compute_data_type"] == "DOUBLE" else np.float32
        first, second = (arrays[name].astype(wide) for name in self.said["inputs"])
        padding = tuple(zip(self.said["pre_padding"], self.said["post_padding"], strict=True))
        moves = tuple(self.said["stride"]), padding, tuple(self.said["dilation"])
        out = arrays["out"]
        if self.said["operation"] == "fprop":
            y = reference.conv_forward(first, second, *moves, first.shape[1] // second.shape[1])
            y = y + arrays["bias"].astype(wide) if "bias" in self.said["after"] else y
            rest = [name for name in self.said["after"] if name != "bias"]
            out[...] = apply(y, After(activation=rest[0]) if rest else None, 1)
        elif self.said["operation"] == "dgrad":
            out[...] = reference.conv_input_grad(first, second, out.shape, *moves, out.shape[1] // second.shape[1])
        else:
            out[...] = reference.conv_weight_grad(second, first, out.shape, *moves, first.shape[1] // out.shape[1])

    def _attended(self, arrays: dict[str, np.ndarray]) -> None:
        q, k, v = (arrays[name].astype(np.float32) for name in "qkv")
        start = {"all": None, "TOP_LEFT": 0, "BOTTOM_RIGHT": k.shape[2] - q.shape[2]}[self.said["seen"]]
        rules = {"mask": arrays.get("bias"), "start": start}
        if "bias" in arrays:
            assert np.isfinite(arrays["bias"]).all()
        if "gq" in arrays:
            self._gradients(arrays, q, k, v, rules)
            return
        arrays["out"][...], known = attending.attention(q, k, v, self.said["scale"], statistics=True, **rules)
        if "statistics" in arrays:
            arrays["statistics"][..., 0] = known[0] + np.log(known[1])

    def _gradients(self, arrays: dict[str, np.ndarray], q: Any, k: Any, v: Any, rules: dict[str, Any]) -> None:
        """From the statistics that were given, as cuDNN computes the weights."""
        each, (out, grad) = q.shape[1] // k.shape[1], (arrays[name].astype(np.float32) for name in ("out", "grad"))
        scores = q @ k.repeat(each, 1).swapaxes(-1, -2) * self.said["scale"]
        scores = scores if rules["mask"] is None else scores + rules["mask"]
        if rules["start"] is not None:
            scores = np.where(np.tri(*scores.shape[-2:], rules["start"], dtype=bool), scores, -np.inf)
        weights = np.exp(scores - arrays["statistics"])
        inner = weights * (grad @ v.repeat(each, 1).swapaxes(-1, -2) - (grad * out).sum(-1, keepdims=True)) * self.said["scale"]
        arrays["gq"][...] = inner @ k.repeat(each, 1)
        for name, whole in (("gk", inner.swapaxes(-1, -2) @ q), ("gv", weights.swapaxes(-1, -2) @ grad)):
            arrays[name][...] = whole.reshape(len(q), -1, each, *whole.shape[2:]).sum(2)

    def _view(self, node: dict[str, Any], address: int) -> np.ndarray:
        assert address % 16 == 0 and sorted(node["stride"])[0] == 1
        dtype = np.dtype(KINDS[node.get("data_type", self.said["types"]["io_data_type"])])
        reach = 1 + sum((n - 1) * s for n, s in zip(node["dim"], node["stride"], strict=True))
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * (reach * dtype.itemsize)).from_address(address)).view(dtype)
        return np.lib.stride_tricks.as_strided(memory, node["dim"], [s * dtype.itemsize for s in node["stride"]])


class Cudnn(types.ModuleType):
    """The module ``cudnn`` of nvidia-cudnn-frontend 1.28."""

    def __init__(self) -> None:
        super().__init__("cudnn")
        self.asked = self.run = self.read = 0
        self.timed: list[int] = []
        self.unfused: set[str] = set()
        self.refuses = self.forward_only = False
        self.__version__, self.backend_version = "1.28.0", lambda: 91900
        self.cudnnGraphNotSupportedError, self.create_handle = NotSupported, Handle
        self.pygraph = type("pygraph", (Graph,), {"library": self})
        self.data_type = types.SimpleNamespace(**{name: name for name in KINDS})
        self.diagonal_alignment = types.SimpleNamespace(TOP_LEFT="TOP_LEFT", BOTTOM_RIGHT="BOTTOM_RIGHT")
        self.heur_mode = types.SimpleNamespace(A="A", FALLBACK="FALLBACK")
        self.numerical_note = types.SimpleNamespace(NONDETERMINISTIC="order", DOWN_CONVERT_INPUTS="tf32")
        self.build_plan_policy = types.SimpleNamespace(ALL="all", HEURISTICS_CHOICE="first")

    def set_stream(self, handle: Handle, stream: int) -> None:
        handle.stream = stream


@pytest.fixture
def cudnn(cuda: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cudnn]:  # noqa: ARG001 - the device comes first
    """The library, installed, with an empty disk."""
    if not hasattr(devices.cupy(), "_lacking"):
        pytest.skip("a stand-in reads ordinary memory alone")
    fake = Cudnn()
    monkeypatch.setitem(sys.modules, "cudnn", fake)
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setattr(devices.cupy().cuda.runtime, "streamIsCapturing", lambda _stream: False, raising=False)
    monkeypatch.setattr(cudnn_plans, "_load_what_it_needs", lambda: None)
    cudnn_plans.forget()
    yield fake
    cudnn_plans.forget()


def on_device(shape: tuple[int, ...], dtype: str = "float32", last: bool = False) -> Any:
    x = rng.standard_normal(shape).astype(DTYPES[dtype])
    return devices.move(np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x, "cuda:0")


def exact(x: Any) -> Any:
    return None if x is None else devices.move(x, "cpu").astype(np.float64)


def difference(a: Any, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(exact(a) - b).max() / max(1, np.abs(b).max()))


# x, w, stride, padding, dilation, groups
CASES = [
    ((2, 4, 9), (6, 4, 3), (2,), (1,), (1,), 1),
    ((2, 4, 7, 6), (6, 2, 3, 2), (1, 2), (1, (0, 1)), (2, 1), 2),
    ((1, 3, 4, 5, 4), (2, 3, 2, 2, 2), (1, 1, 1), (0, 1, 0), (1, 1, 1), 1),
    ((2, 4, 5, 5), (4, 1, 3, 3), (1, 1), (1, 1), (1, 1), 4),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=["line", "picture", "room", "depthwise"])
def test_a_convolution_and_its_adjoints(cudnn: Cudnn, case: Any, dtype: str, last: bool) -> None:
    x_shape, w_shape, *geometry = case
    x, w, bias = on_device(x_shape, dtype, last), on_device(w_shape, dtype), on_device(w_shape[:1], dtype)
    table = kernels.of(x)
    y = table.conv_forward(x, w, *geometry, bias)
    expected = reference.conv_forward(exact(x), exact(w), *geometry, exact(bias))
    assert y.dtype == x.dtype and difference(y, expected) < TOLERANCE[dtype]
    assert y.flags.c_contiguous is not last
    g = on_device(y.shape, dtype, last)
    gx = table.conv_input_grad(g, w, x.shape, *geometry)
    assert difference(gx, reference.conv_input_grad(exact(g), exact(w), x.shape, *geometry)) < TOLERANCE[dtype]
    gw = table.conv_weight_grad(g, x, w.shape, *geometry)
    assert difference(gw, reference.conv_weight_grad(exact(g), exact(x), w.shape, *geometry)) < TOLERANCE[dtype]
    assert gw.flags.c_contiguous and cudnn.run == 3


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("unfused", [set(), {"relu", "gelu", "gelu_tanh", "silu"}])
def test_what_follows(cudnn: Cudnn, unfused: set[str], activation: str, last: bool) -> None:
    cudnn.unfused = unfused
    for shape in ((2, 3, 5, 4), (1, 3, 5, 5)):
        x, w, bias = on_device(shape, last=last), on_device((4, 3, 3, 3)), on_device((4,))
        geometry = (1, 1), (1, 1), (1, 1), 1
        scale, shift, residual = on_device((4,)), on_device((4,)), on_device((shape[0], 4, *shape[2:]))
        for given, after in ((bias, After(activation=activation)), (None, After(scale, shift, residual, activation))):
            expected = reference.conv_forward(
                exact(x), exact(w), *geometry, exact(given), After(*map(exact, after[:3]), activation)
            )
            y = kernels.of(x).conv_forward(x, w, *geometry, given, after, {})
            assert difference(y, expected) < 6e-6 and cudnn.run


def convolve(x: Any, w: Any) -> Any:
    return kernels.of(x).conv_forward(x, w, (1, 1), (0, 0), (1, 1), 1)


def test_plans_are_kept_in_memory_and_on_the_disk(cudnn: Cudnn, tmp_path: Path) -> None:
    x, w = on_device((1, 2, 5, 5)), on_device((3, 2, 3, 3))
    first = exact(convolve(x, w))
    convolve(x, w)
    assert (cudnn.asked, cudnn.read, cudnn.run) == (1, 0, 2)
    cudnn_plans.forget()
    assert np.array_equal(exact(convolve(x, w)), first) and (cudnn.asked, cudnn.read) == (1, 1)
    (path,) = (tmp_path / "cuda").glob("cudnn.*.plan")
    path.write_bytes(path.read_bytes()[:-1])
    cudnn_plans.forget()
    assert np.array_equal(exact(convolve(x, w)), first) and (cudnn.asked, cudnn.read) == (2, 1)


def test_benchmark_times_what_was_built(cudnn: Cudnn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nyala.backends.cudnn, "benchmark", True)
    times = iter([5.0, 4.0, 6.0, 3.0, 9.0, 9.0])
    monkeypatch.setattr(devices.cupy().cuda, "get_elapsed_time", lambda _start, _end: next(times))
    x, w = on_device((1, 2, 5, 5)), on_device((3, 2, 3, 3))
    convolve(x, w)
    (plan,) = cudnn_plans._plans.values()
    assert plan is not None and plan.graph.plan == 2 and cudnn.timed == [0, 0, 0, 2, 2, 2] and plan.graph.said["policy"] == "all"


def test_only_kernels_that_are_wanted(cudnn: Cudnn, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = on_device((1, 2, 5, 5)), on_device((3, 2, 3, 3))
    convolve(x, w)
    monkeypatch.setattr(nyala.backends.cudnn, "allow_tf32", False)
    convolve(x, w)
    convolve(x.astype(np.float16), w.astype(np.float16))
    said = [plan.graph.said["without"] for plan in cudnn_plans._plans.values() if plan is not None]
    assert said == [["order"], ["order", "tf32"], ["order"]] and cudnn.run == 3


def test_kernels_of_our_own_compute_the_rest(cudnn: Cudnn, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = on_device((1, 2, 5, 5)), on_device((3, 2, 3, 3))
    expected = reference.conv_forward(exact(x), exact(w), (1, 1), (0, 0), (1, 1), 1)
    with monkeypatch.context() as patch:
        patch.setattr(devices.cupy().cuda.runtime, "streamIsCapturing", lambda _stream: True)
        assert difference(convolve(x, w), expected) < 3e-6 and cudnn.asked == 0
    cudnn.refuses = True
    for _ in range(2):
        assert difference(convolve(x, w), expected) < 3e-6
    assert (cudnn.asked, cudnn.run) == (1, 0)

    def create() -> Handle:
        raise RuntimeError("libcudnn is not found")

    monkeypatch.setattr(cudnn, "create_handle", create)
    cudnn_plans.forget()
    assert difference(convolve(x, w), expected) < 3e-6 and cudnn.asked == 1


@pytest.fixture
def attentive(cudnn: Cudnn) -> Iterator[Cudnn]:
    """The library, which attention is asked of too."""
    nyala.backends.cuda.enable_cudnn_sdp(True)
    yield cudnn
    nyala.backends.cuda.enable_cudnn_sdp(False)


def heads(number: int, length: int, width: int, dtype: str) -> Any:
    """(2, number, length, width), a third of a packed projection (2, length, 3, number, width)."""
    return on_device((2, length, 3, number, width), dtype)[:, :, 1].transpose(0, 2, 1, 3)


def attend(q: Any, k: Any, v: Any, **given: Any) -> tuple[Any, ...]:
    """Result and gradients, and what they are by the reference in float64, in pairs."""
    table, grad = kernels.of(q), heads(q.shape[1], q.shape[2], v.shape[3], q.dtype.name)
    out, statistics = table.attention(q, k, v, 0.3, statistics=True, **given)
    assert table.attention(q, k, v, 0.3, **given)[1] is None
    found = table.attention_backward(grad, q, k, v, out, statistics, 0.3, **given)
    wide = [exact(x) for x in (q, k, v)]
    given = {name: devices.move(x, "cpu") if hasattr(x, "get") else x for name, x in given.items()}
    expected = attending.attention(*wide, 0.3, **given)[0]
    return zip(
        (out, *found), (expected, *attending.attention_backward(exact(grad), *wide, None, None, 0.3, **given)), strict=True
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("start", [None, 0, 4, 12])
@pytest.mark.parametrize("shared", [4, 2])
def test_attention_and_its_gradients(attentive: Cudnn, shared: int, start: int | None, dtype: str) -> None:
    q, k, v = heads(4, 9, 16, dtype), heads(shared, 13, 16, dtype), heads(shared, 13, 8, dtype)
    for a, b in attend(q, k, v, start=start):
        assert a.dtype == q.dtype and difference(a, b) < TOLERANCE[dtype]
    assert (attentive.asked, attentive.run) == (3, 3)
    cudnn_plans.forget()
    list(attend(q, k, v, start=start))
    assert (attentive.asked, attentive.read, attentive.run) == (3, 3, 6)


def masks(kind: str) -> dict[str, Any]:
    """Masks for 9 queries and 13 keys of 2 batches and 4 heads; some queries see no key."""
    allowed, mask = rng.random((2, 1, 9, 13)) < 0.5, rng.standard_normal((4, 9, 13)).astype(np.float16)
    allowed[1, :, 3:5] = mask[2, 7] = False
    mask[2, 7], mask[0, :, 4] = -np.inf, -np.inf
    padding = np.arange(13) >= np.array([5, 0])[:, None, None, None]
    every = np.array([True, False]).reshape(2, 1, 1, 1)
    given = {
        "some": (allowed, None),
        "numbers": (None, mask),
        "both": (allowed, mask),
        "padding": (padding, None),
        "whole": (every, mask),
    }
    return {
        name: None if m is None else devices.move(m, "cuda:0") for name, m in zip(("allowed", "mask"), given[kind], strict=True)
    }


@pytest.mark.parametrize("start", [None, 0, 4])
@pytest.mark.parametrize("kind", ["some", "numbers", "both", "padding", "whole"])
@pytest.mark.parametrize("forward_only", [False, True])
def test_attention_with_masks(attentive: Cudnn, forward_only: bool, kind: str, start: int | None) -> None:
    attentive.forward_only = forward_only
    q, k, v = heads(4, 9, 16, "float16"), heads(2, 13, 16, "float16"), heads(2, 13, 8, "float16")
    for a, b in attend(q, k, v, start=start, **masks(kind)):
        assert difference(a, b) < TOLERANCE["float16"]
    assert attentive.run == (0 if start == 4 else 3 - forward_only)  # cuDNN has no masks where the last query sees all


def test_masks_of_other_dtypes_are_left_to_our_own_kernels(attentive: Cudnn) -> None:
    q, mask = heads(2, 9, 8, "float16"), on_device((9, 9), "float32")
    out, _ = kernels.of(q).attention(q, q, q, 0.3, None, mask)
    assert difference(out, attending.attention(*[exact(q)] * 3, 0.3, None, exact(mask))[0]) < TOLERANCE["float16"]
    assert attentive.run == 0


def test_what_cudnn_refuses_is_told(attentive: Cudnn) -> None:
    attentive.forward_only = True
    list(attend(*[heads(2, 9, 8, "float16")] * 3))
    ((asked, said),) = nyala.backends.cudnn.refusals().items()
    assert asked.startswith("Backward(dtype='float16'") and said == "backward"


def test_a_layer_of_attention(attentive: Cudnn) -> None:
    layer = nyala.nn.MultiheadAttention(32, 4, batch_first=True).to(dtype=nyala.float16)
    x = nyala.tensor(rng.standard_normal((2, 11, 32)).astype(np.float16))
    found = []
    for device in ("cpu", "cuda:0"):
        layer.zero_grad()
        y = layer.to(device)(given := x.to(device), given, given, need_weights=False)[0]
        y.sum().backward()
        found.append([t.cpu().numpy().astype(np.float64) for t in (y.detach(), *(p.grad for p in layer.parameters()))])
    for a, b in zip(*found, strict=True):
        assert np.abs(a - b).max() < 4e-3 * max(1, np.abs(a).max())
    assert attentive.run == 2


def test_our_own_gradient_of_what_cudnn_attended(attentive: Cudnn) -> None:
    attentive.forward_only = True
    for a, b in attend(heads(2, 9, 8, "bfloat16"), heads(2, 9, 8, "bfloat16"), heads(2, 9, 8, "bfloat16"), start=0):
        assert difference(a, b) < TOLERANCE["bfloat16"]
    assert attentive.run == 2


@pytest.mark.parametrize(
    ("queries", "width", "dtype", "given"),
    [
        (8, 8, "float16", {}),
        (9, 12, "float16", {}),
        (9, 264, "float16", {}),
        (9, 8, "float32", {}),
        (9, 8, "float16", {"start": 2}),
        (9, 8, "float16", {"start": -1}),
        (9, 8, "float16", {"dropout": (0.5, (1, 2))}),
    ],
    ids=["few", "odd", "wide", "float", "middle", "before", "dropout"],
)
def test_our_own_kernels_attend_otherwise(attentive: Cudnn, queries: int, width: int, dtype: str, given: Any) -> None:
    for a, b in attend(heads(2, queries, width, dtype), heads(2, 9, width, dtype), heads(2, 9, width, dtype), **given):
        assert difference(a, b) < TOLERANCE[dtype]
    assert attentive.asked == attentive.run == 0


def test_cudnn_attends_where_it_was_asked_to(cudnn: Cudnn) -> None:
    q = heads(2, 9, 8, "float16")
    assert not nyala.backends.cuda.cudnn_sdp_enabled()
    kernels.of(q).attention(q, q, q, 0.3)
    assert cudnn.run == 0
