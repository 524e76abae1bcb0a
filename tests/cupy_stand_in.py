"""A stand-in for the ``cupy`` module: NumPy underneath, CuPy 14's refusals on top, for tests without a GPU.

Code that runs here keeps NumPy and CuPy arrays apart and asks for nothing that CuPy lacks. It says nothing of CUDA itself:
not of speed, of memory, of the GPU's own roundings and casts. What it imitates was read in CuPy 14.0's sources and
signatures, and each rule says so where it stands:

- ``ndarray`` is no ``numpy.ndarray``, and never becomes one by itself; the two do not mix in operators and functions;
- names, methods and keyword arguments that CuPy lacks are missing; an array is no Python index;
- every result is an array, those without dimensions too;
- an index array that points outside wraps around, and of repeated places that are written to any may win;
- ``where`` and sorting know no bfloat16;
- ``base`` names the array a view was taken from, except for ``as_strided``, which names none.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import types
from typing import Any

import numpy as np
from cuda_on_cpu import building

# dir(numpy) without dir(cupy), CuPy 14.0 and NumPy 2.4
_LACKING = (
    "False_ True_ asmatrix block bmat busday_count busday_offset char core ctypeslib clongdouble cumulative_prod cumulative_sum "
    "datetime64 datetime_as_string datetime_data einsum_path emath errstate fromregex frompyfunc geomspace get_include geterr "
    "geterrcall getbufsize histogram_bin_edges info insert is_busday isdtype isnat ma matrix matrix_transpose matvec memmap "
    "nanpercentile nanquantile ndenumerate nditer nested_iters object_ polyder polydiv polyint rec recarray record setbufsize "
    "seterr seterrcall show_runtime spacing str_ strings test timedelta64 typecodes unstack vecdot vecmat void"
)
# the same of numpy.linalg
_LACKING_LINALG = "diagonal matmul matrix_norm matrix_transpose multi_dot outer svdvals tensordot test trace vecdot vector_norm"
LACKING = set(_LACKING.split())
# dir(numpy.ndarray) without dir(cupy.ndarray)
LACKING_METHODS = {"byteswap", "ctypes", "getfield", "resize", "setfield", "setflags", "to_device"}
# keyword arguments of NumPy that CuPy's functions and methods of these names do not take
_REFUSED = {
    "where initial": "all any amax amin max min mean prod sum nansum nanmax nanmin nanprod nanmean",
    "where initial correction mean": "std var nanstd nanvar",
    "order stable": "argsort sort partition argpartition",
    "device like": "arange array asanyarray asarray empty eye full identity linspace ones tri zeros",
    "like": "ascontiguousarray asfortranarray require",
    "device": "empty_like full_like ones_like zeros_like fftfreq rfftfreq",
    "subok": "broadcast_to broadcast_arrays copy",
    "subok writeable": "as_strided",
    "out": "hfft ihfft fft ifft rfft irfft fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn",
    "out optimize": "einsum",
    "casting subok device": "astype",
    "min max": "clip",
    "keepdims": "count_nonzero",
    "axis": "lexsort trim_zeros",
    "copy shape": "reshape",
    "mode": "take show_config",
    "sorted": "unique",
}
LACKING_ARGUMENTS = {name: set(arguments.split()) for arguments, names in _REFUSED.items() for name in names.split()}
_SCALARS = (int, float, complex, np.generic)
_CREATING = {"array", "asarray", "asanyarray", "ascontiguousarray"}  # these alone take what NumPy and Python made
_SORTING = {"sort", "argsort", "partition", "argpartition", "lexsort", "unique"}


class _Current(threading.local):
    id = 0
    stream: Any = None


_current = _Current()


class _Device:
    """``cupy.cuda.Device``: one of two; the current one is where arrays are made and computed with."""

    compute_capability = "90"

    def __init__(self, id: int | None = None) -> None:
        self.id = _current.id if id is None else id

    def use(self) -> None:
        _current.id = self.id

    def __enter__(self) -> _Device:
        self._before, _current.id = _current.id, self.id
        return self

    def __exit__(self, *exc: object) -> None:
        _current.id = self._before


LOG: list[tuple[Any, ...]] = []  # what streams were told, in order


class _Stream:
    """``cupy.cuda.Stream``: everything is done at once, and written down in ``LOG``."""

    _made = 0

    def __init__(self, null: bool = False, non_blocking: bool = False, priority: int = 0) -> None:  # noqa: ARG002
        _Stream._made += not null
        self.ptr, self.done, self._before = 0 if null else 4096 * _Stream._made, True, []

    def __enter__(self) -> _Stream:
        self._before.append(_current.stream)
        _current.stream = self
        return self

    def __exit__(self, *exc: object) -> None:
        _current.stream = self._before.pop()

    def synchronize(self) -> None:
        LOG.append(("synchronize", self.ptr))

    def begin_capture(self) -> None:
        """From now on nothing is computed: what is asked for is written down, and results hold NaN."""
        assert _capture.graph is None and _current.stream is not None
        _capture.graph = _Graph()

    def end_capture(self) -> _Graph:
        """What has been written down."""
        graph, _capture.graph = _capture.graph, None
        assert graph is not None
        if graph.broken:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture")
        return graph

    def wait_event(self, event: _Event) -> None:
        LOG.append(("wait", self.ptr, event.of))


class _Graph:
    """``cupy.cuda.Graph``: calls with their arrays, made again by ``launch``."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.broken = False

    def launch(self, stream: _Stream) -> None:
        LOG.append(("launch", stream.ptr))
        for call in self.calls:
            call()


class _Capture(threading.local):
    graph: _Graph | None = None


_capture = _Capture()


def _not_captured(what: str) -> None:
    """The host may not look at a value while a stream is captured."""
    if _capture.graph is not None:
        _capture.graph.broken = True
        raise RuntimeError(f"cudaErrorStreamCaptureUnsupported: {what} is not permitted when a stream is capturing")


def _now_or_then(call: Any) -> None:
    """Do something now, or at each launch."""
    if _capture.graph is None:
        call()
    else:
        _capture.graph.calls.append(call)


def _written_down(compute: Any, result: Any, sources: list[Any]) -> None:
    """Leave a call to the launch: its result gets NaN, and memory that it was to write to stays as it was."""
    graph = _capture.graph
    if graph is None:
        return
    targets = [r for r in _arrays(result) if not any(np.may_share_memory(r._array, s._array) for s in sources)]
    if targets:

        def again() -> None:
            for target, value in zip(_arrays(result), _computed(compute()), strict=True):
                target._array[...] = value

        graph.calls.append(again)
        for target in targets:
            if target.dtype.kind == "f":
                target._array[...] = np.nan


def _computed(value: Any) -> list[Any]:
    return [v for v in (value if isinstance(value, (tuple, list)) else [value]) if isinstance(v, (np.ndarray, np.generic))]


class _Event:
    """``cupy.cuda.Event``."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:  # noqa: ARG002
        self.timed, self.done, self.of = not disable_timing, True, None

    def record(self, stream: _Stream) -> None:
        self.of = stream.ptr

    def synchronize(self) -> None:
        LOG.append(("synchronize event", self.of))


class MemoryHook:
    """``cupy.cuda.MemoryHook``: the tests call it, for nothing is allocated here."""

    def __enter__(self) -> MemoryHook:
        return self


class PinnedMemoryPointer(bytearray):
    """What ``cupy.cuda.alloc_pinned_memory`` gives: a buffer."""


class _Pointer:
    """``ndarray.data``: an address, and the allocation (``mem``) that all views of it share."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.ptr = array.ctypes.data
        self.mem: Any = array
        while getattr(self.mem, "base", None) is not None:
            self.mem = self.mem.base


class _Flags:
    """``ndarray.flags``: without ``writeable``, as CuPy's."""

    def __init__(self, array: np.ndarray[Any, Any], owner: bool) -> None:
        self.c_contiguous, self.f_contiguous, self.owndata = array.flags.c_contiguous, array.flags.f_contiguous, owner


class ndarray:  # noqa: N801 - CuPy's name
    """``cupy.ndarray``."""

    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray[Any, Any], base: ndarray | None = None) -> None:
        self._array, self.base = array, base
        self._device = _current.id if base is None else base._device

    flags = property(lambda self: _Flags(self._array, self.base is None))
    data = property(lambda self: _Pointer(self._array))
    device = property(lambda self: _Device(self._device))
    T = property(lambda self: self if self.ndim < 2 else self.transpose())

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        own = self._array.__array_interface__
        return {**{k: own[k] for k in ("shape", "typestr", "data", "strides")}, "version": 3}

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct one explicitly.")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0  # kDLCUDA

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.__dlpack__(**kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if "out" in kwargs:
            (kwargs["out"],) = kwargs["out"]
        function = getattr(module(), ufunc.__name__)
        return (function if method == "__call__" else getattr(function, method))(*inputs, **kwargs)

    def __array_function__(self, function: Any, kinds: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(k, (ndarray, np.ndarray)) for k in kinds):
            return NotImplemented
        place = functools.reduce(getattr, function.__module__.split(".")[1:], module())
        return getattr(place, function.__name__)(*args, **kwargs)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray[Any, Any]:
        _not_captured("a copy to the host")
        if not blocking:
            LOG.append(("copy back", stream.ptr))
        if out is None:
            return self._array.copy(order)
        out[...] = self._array
        return out  # type: ignore[no-any-return]

    def set(self, array: np.ndarray[Any, Any], stream: Any = None) -> None:
        assert isinstance(array, np.ndarray) and array.shape == self.shape and array.dtype == self.dtype
        _not_captured("a copy from the host")
        LOG.append(("copy", stream.ptr if stream is not None else 0))
        self._array[...] = array

    def __getattr__(self, name: str) -> Any:
        if name in LACKING_METHODS or name.startswith("__") or not hasattr(np.ndarray, name):
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        value = getattr(self._array, name)
        if not callable(value):
            return _wrapped(value, [self])
        if name in ("item", "tolist", "tobytes"):
            _not_captured(name)
            return value
        return lambda *args, **kwargs: _call(name, value, (self, *args), kwargs, skip=1)

    def view(self, dtype: Any = None) -> ndarray:
        return ndarray(self._array.view() if dtype is None else self._array.view(dtype), self if self.base is None else self.base)

    def __getitem__(self, index: Any) -> ndarray:
        plain, advanced = _plain_index(index, self._array)
        if not advanced:
            whole = plain if any(p is Ellipsis for p in plain) else (*plain, ...)  # one number is a view too
            return _wrapped(self._array[whole], [self])  # type: ignore[no-any-return]
        _check_current([self])

        def compute() -> Any:
            return self._array[_plain_index(index, self._array)[0]]

        chosen = _wrapped(compute(), [])
        _written_down(compute, chosen, [self])
        return chosen  # type: ignore[no-any-return]

    def __setitem__(self, index: Any, value: Any) -> None:
        plain, advanced = _plain_index(index, self._array)
        _check_current([self, value])
        if isinstance(value, ndarray):
            given = value._array
        elif advanced or isinstance(value, _SCALARS):
            given = np.asarray(value)
        else:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        if not advanced:
            _now_or_then(lambda: self._array.__setitem__(plain, given))
            return
        places = np.arange(self._array.size).reshape(self._array.shape)[plain]
        given = np.broadcast_to(given, places.shape)
        given = given.reshape(-1)
        # not NumPy's order: the first of equals wins here
        _now_or_then(lambda: self._array.flat.__setitem__(places.reshape(-1)[::-1], given[::-1]))

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        _not_captured("bool()")
        return bool(self._array)

    def __int__(self) -> int:
        _not_captured("int()")
        return int(self._array)

    def __float__(self) -> float:
        _not_captured("float()")
        return float(self._array)

    def __complex__(self) -> complex:
        _not_captured("complex()")
        return complex(self._array)

    def __repr__(self) -> str:
        return repr(self._array)

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return ndarray(self._array.copy())


def _operator(name: str, ufunc: str, reflected: bool) -> Any:
    def method(self: ndarray, other: Any) -> Any:
        if not isinstance(other, (ndarray, np.ndarray, *_SCALARS)) and getattr(other, "__array_priority__", 0) > 100:
            return NotImplemented
        if name in ("__eq__", "__ne__") and other is None:
            return getattr(module(), "ones" if name == "__ne__" else "zeros")(self.shape, bool)
        return getattr(module(), ufunc)(*((other, self) if reflected else (self, other)))

    return method


_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift",
    "rshift": "right_shift",
}  # fmt: skip
for _name, _ufunc in _BINARY.items():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__", _ufunc, False))
    setattr(ndarray, f"__r{_name}__", _operator(f"__r{_name}__", _ufunc, True))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", lambda self, other, u=_ufunc: getattr(module(), u)(self, other, out=self))
for _name, _ufunc in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__", _ufunc, False))
for _name, _ufunc in {"neg": "negative", "abs": "absolute", "invert": "invert"}.items():
    setattr(ndarray, f"__{_name}__", lambda self, u=_ufunc: getattr(module(), u)(self))


def _plain_index(index: Any, array: np.ndarray[Any, Any]) -> tuple[Any, bool]:
    """The index with NumPy arrays in place of ours, wrapped around; and whether it is an advanced one."""
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [_index_array(p) if isinstance(p, (ndarray, np.ndarray, list, tuple, bool, np.bool_)) else p for p in parts]
    taken = [p.ndim if isinstance(p, np.ndarray) and p.dtype == bool else 0 if p is None or p is Ellipsis else 1 for p in parts]
    axis = 0
    for i, (part, width) in enumerate(zip(parts, taken, strict=True)):
        if part is Ellipsis:
            width = array.ndim - sum(taken)
        elif isinstance(part, np.ndarray) and part.dtype != bool and axis < array.ndim and array.shape[axis]:
            parts[i] = part.astype(np.int64) % array.shape[axis]
        axis += width
    return tuple(parts), any(isinstance(p, np.ndarray) for p in parts)


def _index_array(part: Any) -> np.ndarray[Any, Any]:
    if isinstance(part, ndarray):
        _check_current([part])
        found = part._array
    else:
        found = np.asarray([_index_array(p) for p in part]) if _holds_arrays(part) else np.asarray(part)
        found = found.astype(np.int32) if isinstance(part, (list, tuple)) and not found.size else found
    if found.dtype.kind not in "iub":
        raise IndexError(f"arrays used as indices must be of integer or boolean type (actual: {found.dtype.type})")
    return found


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(isinstance(v, ndarray) or _holds_arrays(v) for v in value)


def _check_current(arrays: Any) -> None:
    """CuPy computes on the current device; arrays of another it reads only where the two are connected."""
    for a in arrays:
        if isinstance(a, ndarray) and a._device != _current.id:
            raise ValueError(f"the array is on device {a._device}, the current device is {_current.id}")


def _plain(value: Any) -> Any:
    """An argument with NumPy arrays in place of ours; NumPy's own are refused."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_plain(v) for v in value)
    return value


def _wrapped(value: Any, sources: list[ndarray]) -> Any:
    """A result as CuPy gives it: an array, whose base is the source it shares memory with."""
    if isinstance(value, (tuple, list)):
        return type(value)(*[_wrapped(v, sources) for v in value]) if hasattr(value, "_fields") else \
            type(value)(_wrapped(v, sources) for v in value)  # fmt: skip
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    for source in sources:
        if array is source._array:
            return source
        if np.may_share_memory(array, source._array):
            return ndarray(array, source if source.base is None else source.base)
    return ndarray(array)


def _call(name: str, function: Any, args: Any, kwargs: Any, skip: int = 0) -> Any:
    """``function`` on plain arrays, after what CuPy refuses was refused. The first ``skip`` arguments are bound already."""
    refused = LACKING_ARGUMENTS.get(name, set()) & set(kwargs)
    if refused:
        raise TypeError(f"{name}() got an unexpected keyword argument {refused.pop()!r}")
    if name in _CREATING and args and isinstance(args[0], (np.ndarray, list, tuple, *_SCALARS)):
        _not_captured("a copy from the host")
        return ndarray(np.array(_get(args[0]), *args[1:2], **{k: v for k, v in kwargs.items() if k == "dtype"}))
    sources = [a for a in (*args, *kwargs.values()) if isinstance(a, ndarray)]
    if name in {*_CREATING, "copy"} and sources and sources[0]._device != _current.id:
        return ndarray(np.array(sources[0]._array))  # a copy goes to the current device
    if name in ("take", "take_along_axis") and len(args) > 1 and isinstance(args[1], ndarray):
        return _take(name, args[0], args[1], *args[2:], **kwargs)
    if name == "repeat" and any(isinstance(a, ndarray) for a in args[1:]):
        raise ValueError("'repeats' should be int or sequence")
    if name in _SORTING and any(s.dtype.kind == "V" for s in sources):
        raise NotImplementedError(f"Sorting arrays with dtype '{sources[0].dtype}' is not supported")
    if name == "where":
        if not isinstance(args[0], ndarray):
            raise AttributeError(f"{type(args[0]).__name__!r} object has no attribute 'astype'")
        args = [a.astype(np.float32) if isinstance(a, ndarray) and a.dtype.kind == "V" else a for a in args]
    out = kwargs.get("out")

    def compute() -> Any:
        return function(*[_plain(a) for a in args[skip:]], **{k: _plain(v) for k, v in kwargs.items()})

    if isinstance(out, ndarray):
        _now_or_then(compute)
        _check_current(sources)
        return out
    result = compute()
    wrapped = _wrapped(result, sources)
    if name == "as_strided":
        wrapped.base, wrapped._device = None, sources[0]._device
    elif any(w.base is None and not any(w is s for s in sources) for w in _arrays(wrapped)):
        _check_current(sources)
    if name not in ("empty", "empty_like"):
        _written_down(compute, wrapped, sources)
    elif _capture.graph is not None and wrapped.dtype.kind == "f":  # memory is given once, not at each launch
        wrapped._array[...] = np.nan
    return wrapped


def _arrays(value: Any) -> list[ndarray]:
    return [v for v in (value if isinstance(value, (tuple, list)) else [value]) if isinstance(v, ndarray)]


def _get(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._array
    return type(value)(_get(v) for v in value) if isinstance(value, (list, tuple)) else value


def _take(name: str, source: ndarray, index: ndarray, axis: Any = None) -> ndarray:
    _check_current([source, index])
    size = source.size if axis is None else source.shape[axis]

    def compute() -> Any:
        places = index._array % size if size else index._array
        return np.asarray(getattr(np, name)(source._array, places, axis))

    taken = ndarray(compute())
    _written_down(compute, taken, [source, index])
    return taken


class _Ufunc:
    """A universal function: arrays of ours and numbers in, an array out. ``at`` adds in no fixed order on a GPU: not here."""

    def __init__(self, name: str) -> None:
        self.__name__, self._function = name, getattr(np, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for a in args:
            if not isinstance(a, (ndarray, *_SCALARS)):
                raise TypeError(f"Unsupported type {type(a)}")
        return _call(self.__name__, self._function, args, kwargs)


class _Module(types.ModuleType):
    """NumPy's functions under CuPy's names, each made when it is first asked for."""

    def __init__(self, name: str, source: Any, lacking: set[str]) -> None:
        super().__init__(name)
        self._source, self._lacking = source, lacking

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in self._lacking or not hasattr(self._source, name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        found = getattr(self._source, name)
        if isinstance(found, np.ufunc):
            made: Any = _Ufunc(name)
        elif callable(found) and not isinstance(found, type):
            made = functools.wraps(found)(lambda *args, **kwargs: _call(name, found, args, kwargs))
        elif isinstance(found, (float, type, type(None), type(np.newaxis))):
            made = found
        else:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        setattr(self, name, made)
        return made


class _Code:
    """``cupy.cuda.function.Module``: code built for the CPU (``cuda_on_cpu``), its kernels launched on stand-in arrays."""

    def load(self, code: bytes) -> None:
        self._library = building.Library(code)

    def get_function(self, name: str) -> Any:
        kernel = self._library.kernel(name)

        def function(grid: Any, block: Any, args: Any, shared_mem: int = 0) -> None:
            _check_current(args)
            plain = [a._array if isinstance(a, ndarray) else a for a in args]
            _now_or_then(lambda: kernel(grid, block, plain, shared_mem))

        function.ptr = id(kernel)  # type: ignore[attr-defined]  # by which the driver knows it
        return function


class _Exported:
    """What NumPy needs to read our DLPack capsule as memory of its own."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._source.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


@functools.lru_cache(maxsize=1)
def module() -> Any:
    """The module to stand where ``import cupy`` looks."""
    cupy = _Module("cupy", np, LACKING)
    cupy.ndarray = ndarray
    cupy.fft = _Module("cupy.fft", np.fft, {"test"})
    cupy.linalg = _Module("cupy.linalg", np.linalg, set(_LACKING_LINALG.split()))
    cupy.lib = types.SimpleNamespace(stride_tricks=_Module("cupy.lib.stride_tricks", np.lib.stride_tricks, set()))
    cupy.is_available = lambda: True
    cupy.asnumpy = lambda array: array.get() if isinstance(array, ndarray) else np.asarray(array)
    cupy.from_dlpack = lambda source: ndarray(np.from_dlpack(_Exported(source)))
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 2, getDevice=lambda: _current.id, deviceSynchronize=lambda: None)
    runtime.getDeviceProperties = lambda number: {"name": f"stand-in {number}".encode()}
    pool = types.SimpleNamespace(used_bytes=lambda: 0, free_all_blocks=lambda: None)
    cupy.get_default_memory_pool = lambda: pool
    pool.total_bytes = lambda: 1024
    runtime.memGetInfo = lambda: (3 * 2**30, 4 * 2**30)
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=_Device, Stream=_Stream, Event=_Event, MemoryHook=MemoryHook)
    null = _Stream(null=True)
    cupy.cuda.get_current_stream = lambda: _current.stream or null
    cupy.cuda.get_elapsed_time = lambda _start, _end: 1.5
    cupy.cuda.alloc_pinned_memory = PinnedMemoryPointer
    cupy.cuda.MemoryPool = lambda: types.SimpleNamespace(malloc=None, total_bytes=lambda: 2048)
    cupy.cuda.using_allocator = lambda _malloc: contextlib.nullcontext()
    cupy.cuda.function = types.SimpleNamespace(Module=_Code)
    cupy.cuda.driver = types.SimpleNamespace(funcSetAttribute=lambda _function, _attribute, _value: None)
    return cupy
