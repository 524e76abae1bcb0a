"""Plans of cuDNN: asked for once, kept in memory and on the disk, and run on arrays.

A plan on the disk is for cuDNN's version and the GPU. ``nyala.backends.cudnn.benchmark`` has every candidate timed before one is
kept. Only deterministic kernels are taken, and those that round to TensorFloat-32 only if ``nyala.backends.cudnn.allow_tf32``.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ... import backends
from ...atomic import atomic_write, storage_errors
from ...cache import cache_folder
from ...devices import cupy
from ..reference.windows import Size

_WORKSPACE = 256 << 20  # bytes of memory to work in that a plan may ask for
_ROUNDS = 3  # runs of which the quickest counts
_NAMES = ("x", "w", "y", "bias", "q", "k", "v", "out", "grad", "statistics", "gq", "gk", "gv")
_UIDS = {name: uid for uid, name in enumerate(_NAMES, 1)}
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_approx_tanh", "silu": "swish"}
_DTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF", "bfloat16": "BFLOAT16"}


class Kind(Protocol):
    """What a plan is made for: hashable, and its ``repr`` tells it from every other kind."""

    def described(self, cudnn: Any, **where: Any) -> Any:
        """The graph, whose tensors have the uids of their names, its candidates found; nothing is built yet."""


class Window(NamedTuple):
    """How a window moves over a picture, a number for each dimension."""

    stride: Size
    before: Size
    after: Size
    dilation: Size


class Convolution(NamedTuple):
    """``wanted`` is computed from the other two, which are given by their shapes."""

    wanted: str  # "y", "x" or "w"
    dtype: str
    x: Size
    w: Size
    y: Size
    last: bool  # channels
    window: Window
    tf32: bool
    bias: bool = False
    activation: str = "none"

    def described(self, cudnn: Any, **where: Any) -> Any:
        """The graph of it, as ``Kind`` has it."""
        graph = begun(cudnn, self.dtype, **where)
        shape, out = getattr(self, self.wanted), _result(graph, self)
        named(out.set_output(True).set_dim(list(shape)).set_stride(_strides(shape, self.last)), self.wanted)
        out.set_data_type(narrow(cudnn, self.dtype))
        exact = self.dtype == "float32" and not self.tf32
        return with_candidates(cudnn, graph, [cudnn.numerical_note.DOWN_CONVERT_INPUTS] if exact else [])


class _Plan(NamedTuple):
    graph: Any
    workspace: int


_lock = threading.RLock()
_plans: dict[tuple[int, Kind], _Plan | None] = {}
_refusals: dict[str, str] = {}


@functools.lru_cache(maxsize=1)
def library() -> Any:
    """The front end; None where it is not installed, or does not load."""
    try:
        _load_what_it_needs()
        return importlib.import_module("cudnn")
    except (ImportError, RuntimeError, OSError):
        return None


def _load_what_it_needs() -> None:
    """cuDNN compiles kernels with NVRTC and asks cuBLASLt: it looks for both among what the process has loaded."""
    pathfinder = importlib.import_module("cuda.pathfinder")
    for name in ("nvrtc", "cublasLt", "cublas"):
        pathfinder.load_nvidia_dynamic_lib(name)


@functools.cache
def _handle(device: int, stream: int) -> Any:  # noqa: ARG001 - made while the device is the current one
    """None where cuDNN itself is missing."""
    try:
        handle = library().create_handle()
        library().set_stream(handle=handle, stream=stream)
    except RuntimeError:
        return None
    return handle


def forget() -> None:
    """Ask anew what is installed, with no plan in memory."""
    library.cache_clear()
    _handle.cache_clear()
    _plans.clear()
    _refusals.clear()


def refusals() -> dict[str, str]:
    """What cuDNN was asked for and has no plan for, and what it said."""
    with _lock:
        return dict(_refusals)


def run(kind: Kind, arrays: dict[str, Any]) -> bool:
    """Compute some of ``arrays`` from the others, which all lie as the kind says; False where cuDNN has no plan for it."""
    device, stream = int(cupy().cuda.runtime.getDevice()), int(cupy().cuda.get_current_stream().ptr)
    places = {_UIDS[name]: int(array.data.ptr) for name, array in arrays.items()}
    with _lock:
        handle = _handle(device, stream)
        plan = None if handle is None else _plan(kind, device, stream, handle, places)
        if plan is None:
            return False
        memory = cupy().empty(max(1, plan.workspace), "uint8")
        plan.graph.execute(places, memory.data.ptr, handle=handle)
    return True


def _plan(kind: Kind, device: int, stream: int, handle: Any, places: dict[int, int]) -> _Plan | None:
    """The plan, made where it is the first of its kind; None where there is none, or a graph is being captured."""
    key = device, kind
    if key not in _plans:
        if cupy().cuda.runtime.streamIsCapturing(stream):
            return None
        path = _path(kind, device)
        _plans[key] = _read(path, handle) or _made(kind, handle, places, path)
    return _plans[key]


def _made(kind: Kind, handle: Any, places: dict[int, int], path: Path) -> _Plan | None:
    cudnn = library()
    try:
        graph = kind.described(cudnn, handle=handle)
        every = backends.cudnn.benchmark
        policy = cudnn.build_plan_policy
        graph.build_plans(policy.ALL if every else policy.HEURISTICS_CHOICE)
        if every:
            _choose_quickest(graph, handle, places)
        plan = _Plan(graph, graph.get_workspace_size())
    except (
        cudnn.cudnnGraphNotSupportedError,
        RuntimeError,
        ValueError,
    ) as error:  # what the front end raises for what it has not
        _refusals[repr(kind)] = " ".join(str(error).split()) or type(error).__name__
        return None
    with storage_errors(path.parent, "create"):
        path.parent.mkdir(parents=True, exist_ok=True)
    content = bytes(graph.serialize())
    atomic_write(path, hashlib.sha256(content).digest() + content)
    return plan


def narrow(cudnn: Any, dtype: str) -> Any:
    """cuDNN's name of a dtype."""
    return getattr(cudnn.data_type, _DTYPES[dtype])


def begun(cudnn: Any, dtype: str, **where: Any) -> Any:
    """An empty graph for arrays of a dtype, computed in float, or in double."""
    wide = cudnn.data_type.DOUBLE if dtype == "float64" else cudnn.data_type.FLOAT
    return cudnn.pygraph(io_data_type=narrow(cudnn, dtype), intermediate_data_type=wide, compute_data_type=wide, **where)


def named(tensor: Any, name: str) -> Any:
    """The tensor of a graph, with the uid by which ``run`` finds its array."""
    return tensor.set_uid(_UIDS[name])


def with_candidates(cudnn: Any, graph: Any, unwanted: list[Any], workspace: int = _WORKSPACE) -> Any:
    """The graph with its candidates found, but those that are not wanted: with such notes, or more memory to work in."""
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.deselect_numeric_notes([cudnn.numerical_note.NONDETERMINISTIC, *unwanted])
    graph.deselect_workspace_greater_than(workspace)
    graph.check_support()
    return graph


def _result(graph: Any, kind: Convolution) -> Any:
    """The graph's last tensor."""
    given = {name: _tensor(graph, name, getattr(kind, name), kind.last) for name in "xwy" if name != kind.wanted}
    stride, before, after, dilation = map(list, kind.window)
    moves = {"pre_padding": before, "post_padding": after, "stride": stride, "dilation": dilation}
    if kind.wanted == "x":
        return graph.conv_dgrad(loss=given["y"], filter=given["w"], **moves)
    if kind.wanted == "w":
        return graph.conv_wgrad(image=given["x"], loss=given["y"], **moves)
    out = graph.conv_fprop(image=given["x"], weight=given["w"], **moves)
    if kind.bias:
        channels = (1, kind.y[1], *(1 for _ in kind.y[2:]))
        out = graph.bias(input=out, bias=_tensor(graph, "bias", channels, kind.last))
    return out if kind.activation == "none" else getattr(graph, _ACTIVATIONS[kind.activation])(input=out)


def _tensor(graph: Any, name: str, shape: Size, last: bool) -> Any:
    return named(graph.tensor(name=name, dim=list(shape), stride=_strides(shape, last)), name)


def _strides(shape: Size, last: bool) -> list[int]:
    """Of an array (N, C, *S) whose memory is full: channels last, or as the shape has them.

    Example:
        >>> _strides((2, 3, 4, 5), last=True), _strides((2, 3, 4, 5), last=False)
        ([60, 1, 15, 3], [60, 20, 5, 1])
    """
    order = [0, *range(2, len(shape)), 1] if last else list(range(len(shape)))
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return strides


def _choose_quickest(graph: Any, handle: Any, places: dict[int, int]) -> None:
    """Time every plan that was built, on the arrays themselves, and select the quickest."""
    times: dict[int, float] = {}
    for index in range(graph.get_execution_plan_count()):
        try:
            memory = cupy().empty(max(1, graph.get_workspace_size_plan_at_index(index)), "uint8")
            times[index] = min(_time(graph, index, handle, places, memory) for _ in range(_ROUNDS))
        except (library().cudnnGraphNotSupportedError, RuntimeError):  # this one was not built, or left out
            continue
    graph.build_plan_at_index(min(times, key=times.__getitem__))


def _time(graph: Any, index: int, handle: Any, places: dict[int, int], memory: Any) -> float:
    """Milliseconds of one run."""
    events = cupy().cuda.Event(), cupy().cuda.Event()
    stream = cupy().cuda.get_current_stream()
    events[0].record(stream)
    graph.execute_plan_at_index(places, memory.data.ptr, index, handle=handle)
    events[1].record(stream)
    events[1].synchronize()
    return float(cupy().cuda.get_elapsed_time(*events))


def _path(kind: Kind, device: int) -> Path:
    properties = cupy().cuda.runtime.getDeviceProperties(device)
    cudnn = library()
    parts = (kind, cudnn.__version__, cudnn.backend_version(), properties["name"], cupy().cuda.Device(device).compute_capability)
    return cache_folder() / "cuda" / f"cudnn.{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}.plan"


def _read(path: Path, handle: Any) -> _Plan | None:
    """The plan on the disk; None where there is none, or the file was cut short."""
    content = path.read_bytes() if path.exists() else b""
    length = hashlib.sha256().digest_size
    if backends.cudnn.benchmark or content[:length] != hashlib.sha256(content[length:]).digest():
        return None
    graph = library().pygraph(handle=handle)
    try:
        graph.deserialize(handle, content[length:])
    except (library().cudnnGraphNotSupportedError, RuntimeError):  # of another build of the same version: made anew
        return None
    return _Plan(graph, graph.get_workspace_size())
