"""CUDA: a call is captured into graphs with memory of their own, and launched again.

The first calls run as always, on the stream and in the pool that the graphs will use: kernels are compiled and plans made there.
Then the call is captured. Code with a state in Python (an optimizer, a schedule) cannot be part of a graph: it ends one, runs as
it stands after each launch, and the next graph begins behind it. Arguments are copied to where the graphs read them, results out
of where they write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from .. import devices
from ..errors import DeviceError, NyalaError
from ..tensor import Tensor
from ..tracing import here
from .program import leaves, mapped

_WARM = 2  # calls before the capture


class _Watch:
    """Stands behind ``here.tracer`` while a call is watched or captured: arrays stay what they are."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self.refused = ""

    def operands(self, tensors: Sequence[Tensor]) -> list[Any]:
        return [t.array for t in tensors]

    def plain(self, array: Any) -> Any:
        return array

    def packs_of(self, tensor: Tensor, packs: Any) -> None:
        """Weights are packed for the processor alone."""

    def is_drawn(self, words: Any) -> bool:  # noqa: ARG002 - the tracer's interface
        return False

    def drawn(self, *what: Any) -> None:  # noqa: ARG002 - as above
        self.refuse("it draws random numbers, whose keys are made in Python")

    def refuse(self, reason: str) -> None:
        self.refused = self.refused or reason

    def whole(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args = tuple(list(a) if isinstance(a, Iterator) else a for a in args)
        with self._capture.outside(self, function, args, kwargs):
            return function(*args, **kwargs)


class Capture:
    """One signature on a GPU.

    Attributes:
        reason: why it runs eagerly, for good; empty otherwise.
        runs: how often the graphs were launched instead of the function being called.
    """

    def __init__(self, title: str, known: Sequence[Tensor]) -> None:
        self.title, self.reason = title, ""
        self.calls = self.runs = 0
        self._known = list(known)
        self._held: list[tuple[Tensor, Any]] = []
        self._stream: Any = None
        self._pool: Any = None
        self._static: list[Any] = []
        self._parts: list[Callable[[], None]] = []
        self._result: Any = None
        self._capturing = False

    @property
    def parts(self) -> int:
        """Graphs, and calls of Python between them."""
        return len(self._parts)

    @property
    def reserved(self) -> int:
        """Bytes that the graphs' pool holds."""
        return int(self._pool.total_bytes()) if self._pool is not None else 0

    # ---- calls

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        """The call: watched, captured or launched."""
        if self.reason:
            return function(*args, **kwargs)
        if self._parts and any(t.array is not array for t, array in self._held):
            self._parts, self.calls = [], 0
        if self._stream is None:
            self._prepare(given)
        with self._own_place(given):
            if self._parts:
                for part in self._parts:
                    part()
                self.runs += 1
                result = self._result
            elif self.calls < _WARM:
                return self._watched(function, args, kwargs)
            else:
                return self._captured(function, args, kwargs)
        return _copied(result)

    def _prepare(self, given: list[Tensor]) -> None:
        cupy = devices.cupy()
        self._stream, self._pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
        with self._stream, cupy.cuda.using_allocator(self._pool.malloc):
            self._static = [cupy.empty_like(t.array) for t in given]

    @contextmanager
    def _own_place(self, given: list[Tensor]) -> Iterator[None]:
        """The arguments copied in, and everything on the graphs' stream and in their pool; both streams wait for each other."""
        cupy = devices.cupy()
        outer, mark, end = cupy.cuda.get_current_stream(), cupy.cuda.Event(), cupy.cuda.Event()
        mark.record(outer)
        self._stream.wait_event(mark)
        plain = [t.array for t in given]
        with self._stream, cupy.cuda.using_allocator(self._pool.malloc):
            for static, t in zip(self._static, given, strict=True):
                static[...] = t.array
                t.array = static
            try:
                yield
            finally:
                for t, array in zip(given, plain, strict=True):
                    t.array = array
                end.record(self._stream)
        outer.wait_event(end)

    def _watched(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self.calls += 1
        watch = here.tracer = _Watch(self)
        try:
            result = function(*args, **kwargs)
        finally:
            here.tracer = None
        self.reason = watch.refused or _unfit(result)
        return result if self.reason else _copied(result)

    # ---- capturing

    def _captured(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        here.tracer = _Watch(self)
        self._held = [(t, t.array) for t in self._known]
        try:
            self._begin()
            result = function(*args, **kwargs)
            self._end()
        except (NyalaError, RuntimeError, NotImplementedError) as error:  # what the driver and CuPy raise where capturing fails
            self._stop()
            if self._parts:
                raise DeviceError(
                    f"compile: the call could not be captured as a whole ({error})",
                    why="a part of it had run already",
                    fix="leave what needs the host, as item() or indexing by a mask, out of the compiled function",
                ) from error
            self.reason = f"it cannot be captured: {error}"
            here.tracer = None
            return function(*args, **kwargs)
        finally:
            here.tracer = None
        self._result = result
        return _copied(result)

    def _begin(self) -> None:
        self._stream.begin_capture()
        self._capturing = True

    def _end(self) -> None:
        self._capturing = False
        graph = self._stream.end_capture()
        stream = self._stream
        self._parts.append(lambda: graph.launch(stream))
        self._parts[-1]()

    def _stop(self) -> None:
        """Leave the stream as it was before the capture."""
        if self._capturing:
            self._capturing = False
            with suppress(RuntimeError, NotImplementedError):  # it says once more that the capture is broken, and ends it
                self._stream.end_capture()

    @contextmanager
    def outside(self, watch: _Watch, function: Callable[..., Any], args: Any, kwargs: Any) -> Iterator[None]:
        """What runs in Python between two graphs."""
        capturing, here.tracer = self._capturing, None
        if capturing:
            self._end()
            grads = [(t, t.grad) for t in self._known]

            def again() -> None:
                for t, grad in grads:
                    t.grad = None if grad is None else Tensor._made(grad.array, None, 0)
                function(*args, **kwargs)

            self._parts.append(again)
        try:
            yield
        finally:
            here.tracer = watch
        if capturing:
            self._begin()


def _copied(result: Any) -> Any:
    """Results in memory that the next launch does not write to."""
    return mapped(result, lambda t: Tensor._made(t.array.copy(), None, 0) if isinstance(t, Tensor) else t)


def _unfit(result: Any) -> str:
    """Why a result cannot come out of a graph."""
    for leaf in leaves(result):
        if not isinstance(leaf, Tensor):
            if leaf is not None:
                return f"it returns {type(leaf).__name__}: return tensors"
        elif leaf.grad_fn is not None and not leaf.grad_fn.released:
            return "a result carries a graph: compile the whole step, or call it under no_grad()"
    return ""
