"""CUDA: a call is captured into graphs with memory of their own, and launched again.

The first calls run as always, on the stream that the graphs will use: kernels are compiled and plans made there. Then the call is
captured: forward, backward, clipping, the optimizer's step and what follows it are one graph. What changes from launch to launch
(random keys, counts of steps, rates) lies in device memory that kernels read; the host computes it anew before each launch and
sends it by one copy. Code whose state in Python cannot be split in that way ends a graph, runs as it stands after each launch,
and the next graph begins behind it. Arguments are copied to where the graphs read them, results out of where they write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .. import devices
from ..errors import DeviceError, NyalaError
from ..tensor import Tensor
from ..tracing import here
from .graphs import Recording
from .program import mapped_result
from .undo import Before
from .watch import Capturing, Unready, Watch

_WARM = 2  # calls before the capture
_MOST = 4  # recordings of one signature, which differ in the tensors that have a gradient when the call begins
_TRIES = 16  # captures that were put off: a loss scaler may leave out as many steps before the first


class Capture:
    """One signature on a GPU.

    Attributes:
        reason: why it runs eagerly, for good; empty otherwise.
        runs: how often the graphs were launched instead of the function being called.
        anew: why it was captured anew, and how often.
    """

    def __init__(self, title: str, known: Sequence[Tensor]) -> None:
        self.title, self.reason = title, ""
        self.calls = self.runs = 0
        self.anew: Counter[str] = Counter()
        self._known = list(known)
        self._stream: Any = None
        self._static: list[Any] = []
        self._recordings: list[Recording] = []
        self._seen: set[tuple[bool, ...]] = set()  # which tensors had a gradient at the start of calls that were watched
        self._tries = 0

    @property
    def parts(self) -> int:
        """Graphs, and calls of Python between them, of all that was captured."""
        return sum(len(r.parts) for r in self._recordings)

    @property
    def graphs(self) -> int:
        """Graphs that were captured."""
        return sum(r.graphs for r in self._recordings)

    @property
    def ends(self) -> list[str]:
        """Why a graph ended before the call did, for each that did."""
        return [why for r in self._recordings for why in r.ends]

    @property
    def reserved(self) -> int:
        """Bytes that the graphs' pools hold."""
        return sum(r.reserved for r in self._recordings)

    # ---- calls

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, given: list[Tensor]) -> Any:
        """The call: watched, captured or launched."""
        if not self.reason and not all(t.is_cuda for t in given):
            self.reason = "an argument lies on the CPU: a graph cannot read it there"
        if self.reason:
            return function(*args, **kwargs)
        people = [*self._known, *given]
        recording = self._recording(people)
        had = tuple([t.grad is not None for t in people])
        with self._own_place(given):
            if recording is not None:
                result = recording.run(people)
                self.runs += 1
            elif self.calls < _WARM or had not in self._seen:
                self._seen.add(had)
                return self._watched(function, args, kwargs)
            else:
                result = self._captured(function, args, kwargs, people)
        return result if self.reason else _copied(result)  # not in the graphs' memory

    def _recording(self, people: list[Tensor]) -> Recording | None:
        """What was captured for such a call, if it still holds."""
        found = next((r for r in self._recordings if r.takes(people)), None)
        if found is not None and (why := found.changed()):
            self.anew[why] += 1
            self._recordings, self.calls, self._seen = [], 0, set()
            return None
        return found

    @contextmanager
    def _own_place(self, given: list[Tensor]) -> Iterator[None]:
        """The arguments copied in, and everything on the graphs' stream; both streams wait for each other."""
        cupy = devices.cupy()
        if self._stream is None:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._static = [cupy.empty_like(t.array) for t in given]
        outer, mark, end = cupy.cuda.get_current_stream(), cupy.cuda.Event(), cupy.cuda.Event()
        mark.record(outer)
        self._stream.wait_event(mark)
        plain = [t.array for t in given]
        with self._stream:
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
        watch = here.tracer = Watch()
        try:
            result = function(*args, **kwargs)
        finally:
            here.tracer = None
        self.reason = watch.refused or watch.unread() or _unfit(result)
        return result if self.reason else _copied(result)

    def _captured(self, function: Callable[..., Any], args: Any, kwargs: Any, people: list[Tensor]) -> Any:
        recording, before = Recording(self._stream, people, len(self._known)), Before()
        watch = here.tracer = Capturing(recording, self._known, before)
        done = False
        try:
            recording.start(people)
            result = function(*args, **kwargs)
            done = not (watch.refused or _unfit(result))
            if done:
                recording.finish(people, result)
            self.reason = watch.refused or _unfit(result)
        except Unready as unready:
            self._put_off(str(unready))
        except (NyalaError, RuntimeError, NotImplementedError) as error:  # what the driver and CuPy raise where capturing fails
            done = False
            self.reason = f"it cannot be captured: {error}"
        finally:
            here.tracer = None
            if not done:
                recording.stop(people)
        if done:
            self._recordings = [*self._recordings[1 - _MOST :], recording]
            return result
        _check_undone(recording, self.reason)
        before.put_back()
        return function(*args, **kwargs)

    def _put_off(self, why: str) -> None:
        self._tries += 1
        self.calls = _WARM - 1
        if self._tries >= _TRIES:
            self.reason = f"each call does what only a first one should: {why}"


def _check_undone(recording: Recording, reason: str) -> None:
    """Raises where the call has changed what cannot be put back."""
    if recording.parts:
        raise DeviceError(
            f"compile: the call could not be captured as a whole ({reason})",
            why=f"a part of it had run already ({'; '.join(recording.ends)})",
            fix="leave what needs the host, as item() or indexing by a mask, out of the compiled function",
        )


def _copied(result: Any) -> Any:
    """Results in memory that the next launch does not write to."""
    return mapped_result(result, lambda t: Tensor._made(t.array.copy(), None, 0) if isinstance(t, Tensor) else t)


def _unfit(result: Any) -> str:
    """Why a result cannot come out of a graph."""
    found: list[Any] = []
    mapped_result(result, found.append)
    for leaf in found:
        if not isinstance(leaf, Tensor):
            if leaf is not None:
                return f"it returns {type(leaf).__name__}: return tensors"
        elif leaf.grad_fn is not None and not leaf.grad_fn.released:
            return "a result carries a graph: compile the whole step, or call it under no_grad()"
    return ""
