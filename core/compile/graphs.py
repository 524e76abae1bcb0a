"""What a captured call consists of: CUDA graphs, the host's work before each launch, and calls of Python between graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from .. import devices, faults
from ..errors import DeviceError, NyalaError
from ..tensor import Tensor
from .program import Key
from .settings import Settings

Grads = list[Tensor | None]


class Given(Tensor):
    """The gradient that a tensor has when the call begins. The graph reads it from memory of its own, if it reads it at all."""

    def __init__(self, like: Any) -> None:
        self._like_shape, self._like_dtype = like.shape, like.dtype
        self.own: Any = None

    @property
    def array(self) -> Any:
        if self.own is None:
            self.own = devices.cupy().empty(self._like_shape, self._like_dtype)
        return self.own

    @array.setter
    def array(self, value: Any) -> None:
        self.own = value


class Graph:
    """One graph, with the numbers that its kernels read from the device."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._graph = stream, None
        self._settings = Settings()
        self._host: list[tuple[Callable[[], Any], int]] = []  # what is called before a launch, and where its numbers go, or -1
        self._first: list[tuple[int, Any]] = []
        self._same: list[Callable[[], str]] = []
        self._constants: list[tuple[Any, np.ndarray[Any, Any]]] = []
        self._faults = Faults()
        self.kept: list[Any] = []  # arrays that others made and might let go of

    def held(self, numbers: Callable[[], Sequence[float]]) -> Any:
        values = numbers()
        place, array = self._settings.place(len(values))
        self._first.append((place, values))
        self._host.append((numbers, place))
        return array

    def words(self, now: tuple[int, int], later: Callable[[], tuple[int, int]]) -> Any:
        place, array = self._settings.words()
        self._first.append((place, np.array(now, np.uint32)))
        self._host.append((lambda: np.array(later(), np.uint32), place))
        return array

    def again(self, function: Callable[[], Any], same: Callable[[], str] | None) -> None:
        self._host.append((function, -1))
        if same is not None:
            self._same.append(same)

    def constant(self, array: np.ndarray[Any, Any]) -> Any:
        made = devices.cupy().empty(array.shape, array.dtype)
        self._constants.append((made, array))
        return made

    def tell(self, wrong: Any, what: str, kind: type[NyalaError]) -> None:
        """Have the call behind a launch in which ``wrong`` was true raise an error."""
        self._faults.add(wrong, what, kind)

    def changed(self) -> str:
        """Why the graph does not hold any more."""
        return next((why for same in self._same if (why := same())), "")

    def close(self) -> None:
        """The last that is captured."""
        self._faults.capture(self.constant)

    def end(self, graph: Any) -> None:
        """Captured: sends what it reads, and launches it for the first time."""
        self._graph = graph
        for made, array in self._constants:
            made.set(array, stream=self._stream)
        self._settings.send(self._stream, self._first)
        graph.launch(self._stream)
        self._faults.send(self._stream)

    def run(self) -> None:
        self._faults.check()
        values = [(place, function()) for function, place in self._host]
        self._settings.send(self._stream, [v for v in values if v[0] >= 0])
        self._graph.launch(self._stream)  # type: ignore[attr-defined]  # it has been captured
        self._faults.send(self._stream)


class Faults:
    """What a graph finds wrong with its input, as a token that is in no table.

    The host learns of it when it next waits for the GPU, as for a result that it reads, or when a later call begins.
    """

    def __init__(self) -> None:
        self._wrong: list[tuple[Any, str, type[NyalaError]]] = []
        self._flags: Any = None  # (faults,) bool on the device, as the last launch has found them
        self._seen: np.ndarray[Any, Any] | None = None  # the same in pinned memory, until an error has told of them
        self._arrived: Any = None

    def add(self, wrong: Any, what: str, kind: type[NyalaError]) -> None:
        self._wrong.append((wrong, what, kind))

    def capture(self, constant: Callable[[np.ndarray[Any, Any]], Any]) -> None:
        """Within the graph: all in one array, so that one copy brings them; once found, a fault stays."""
        if self._wrong:
            cupy = devices.cupy()
            self._flags = constant(np.zeros(len(self._wrong), bool))
            cupy.logical_or(self._flags, cupy.stack([wrong for wrong, *_ in self._wrong]), out=self._flags)

    def send(self, stream: Any) -> None:
        """Behind a launch: start the copy to the host."""
        if self._flags is None:
            return
        if self._seen is None:
            self._seen = devices.pinned(np.zeros(len(self._wrong), bool))
            self._arrived = devices.cupy().cuda.Event(disable_timing=True)
            faults.wait_for(self)
        self._flags.get(stream=stream, out=self._seen, blocking=False)
        self._arrived.record(stream)

    def check(self) -> None:
        """Raise for what a launch has found, if that is known by now."""
        if self._seen is None or not self._arrived.done or not self._seen.any():
            return
        _, what, kind = self._wrong[int(self._seen.argmax())]
        with self._flags.device:
            self._flags[...] = False
        self._seen[...] = False
        raise kind(
            f"{what}, in an earlier call of a compiled function",
            why="a CUDA graph goes on where a value is wrong; this is told when the host waits for it, or a later call begins",
            fix="call the function itself, without compile, on the inputs before: it names the place",
        )


class Outside:
    """A call of Python between two graphs, with the gradients that it found and left when it was captured."""

    def __init__(self, call: Callable[[], Any], people: Sequence[Tensor]) -> None:
        self._call, self._people = call, people
        self._found = [t.grad for t in people]
        self.result = call()
        self._left = [t.grad for t in people]

    def changed(self) -> str:
        return ""

    def run(self) -> None:
        put_grads(zip(self._people, self._found, strict=True))
        _into(self.result, self._call())
        for t, left in zip(self._people, self._left, strict=True):
            _into(left, t.grad)


def _into(target: Tensor | None, value: Tensor | None) -> None:
    """What the graph behind reads, where a call has made it anew."""
    if (target is None) != (value is None):
        raise DeviceError(
            "compile: a step between two CUDA graphs left other gradients than when it was captured",
            why="the graph behind it reads those that were there",
            fix="call reset() on the compiled function, or leave that step out of it",
        )
    if target is not None and value is not None and target.array is not value.array:
        target.array[...] = value.array


def put_grads(pairs: Iterable[tuple[Tensor, Tensor | None]]) -> None:
    """Gradients that lie in a graph's memory, in tensors of their own."""
    for t, grad in pairs:
        t.grad = None if grad is None else Tensor._made(grad.array, None, 0)


class Recording:
    """A call as it was captured for one set of weights, and for tensors that have a gradient when it begins or have none.

    Args:
        people: tensors whose gradients the call may read and set: those it reaches, then its arguments.
        known: how many of them it reaches; what they hold must stay the same arrays.

    Attributes:
        ends: why each graph but the last ended.
    """

    def __init__(self, stream: Any, people: Sequence[Tensor], known: int) -> None:
        self.parts: list[Graph | Outside] = []
        self.ends: list[str] = []
        self.graph: Graph | None = None  # the one that is being captured
        self.result: Any = None
        self._stream = stream
        self._pool = devices.cupy().cuda.MemoryPool()
        self._place = ExitStack()
        self._held = [(t, t.array) for t in people[:known]]
        self._arguments = len(people) - known
        self._before = [t.grad for t in people]
        self._given = [None if g is None else Given(g.array) for g in self._before]
        self._final: list[tuple[int, Tensor | None]] = []

    @property
    def graphs(self) -> int:
        return sum(isinstance(part, Graph) for part in self.parts)

    @property
    def reserved(self) -> int:
        """Bytes that the graphs' pool holds."""
        return int(self._pool.total_bytes())

    # ---- capturing

    def start(self, people: Sequence[Tensor]) -> None:
        for t, given in zip(people, self._given, strict=True):
            t.grad = given
        self.begin()

    def begin(self) -> None:
        self.graph = Graph(self._stream)
        self._stream.begin_capture()
        self._place.enter_context(devices.cupy().cuda.using_allocator(self._pool.malloc))

    def end(self) -> None:
        graph, self.graph = self.graph, None
        assert graph is not None, "begun before"
        graph.close()
        self._place.close()
        captured = self._stream.end_capture()
        if not self.parts:
            self._copy_grads(self._before)
        self.parts.append(graph)
        graph.end(captured)

    def outside(self, call: Callable[[], Any], people: Sequence[Tensor], why: str) -> Any:
        self.end()
        self.ends.append(why)
        part = Outside(call, people)
        self.parts.append(part)
        self.begin()
        return part.result

    def finish(self, people: Sequence[Tensor], result: Any) -> None:
        self.end()
        self.result = result
        self._final = [(i, t.grad) for i, t in enumerate(people) if self._is_new(i, t.grad)]
        for t, given, before in zip(people, self._given, self._before, strict=True):
            t.grad = before if given is not None and t.grad is given and given.own is None else t.grad
        put_grads((people[i], grad) for i, grad in self._final)
        self._before = []

    def _is_new(self, number: int, grad: Tensor | None) -> bool:
        given = self._given[number]
        return grad is not given or (given is not None and given.own is not None)

    def stop(self, people: Sequence[Tensor]) -> None:
        """Leave the stream and the gradients as they were before the capture."""
        if self.graph is not None:
            self.graph = None
            self._place.close()
            with suppress(RuntimeError, NotImplementedError):  # it says once more that the capture is broken, and ends it
                self._stream.end_capture()
        for t, grad in zip(people, self._before, strict=True):
            t.grad = grad

    # ---- launching

    def takes(self, people: Sequence[Tensor]) -> bool:
        """Whether gradients are there where the graph needs them, and where it needs none, none."""
        if len(people) != len(self._given):
            return False
        for t, given in zip(people, self._given, strict=True):
            if given is None and t.grad is not None:
                return False
            if given is not None and given.own is not None and (t.grad is None or t.grad.shape != given.own.shape):
                return False
        return True

    def changed(self) -> str:
        """Why what was captured does not hold any more."""
        if any(t.array is not array for t, array in self._held):
            return "a weight was replaced"
        return next((why for part in self.parts if (why := part.changed())), "")

    def run(self, people: Sequence[Tensor]) -> Any:
        self._copy_grads([t.grad for t in people])
        for part in self.parts:
            part.run()
        put_grads((people[i], grad) for i, grad in self._final)
        return self.result

    def _copy_grads(self, grads: Sequence[Tensor | None]) -> None:
        for given, grad in zip(self._given, grads, strict=True):
            if given is not None and given.own is not None and grad is not None and grad.array is not given.own:
                given.own[...] = grad.array


class Draws:
    """Random keys of a recording: each launch draws its own, in the order of the captured call."""

    def __init__(self) -> None:
        self._words: list[tuple[int, int]] = []  # as the last launch has drawn them
        self._captured: dict[int, tuple[tuple[int, int], int, Any]] = {}  # id of the words -> words, number, where they lie

    def draw(self, graph: Graph, words: tuple[int, int], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        number = len(self._words)
        self._words.append(words)
        given = [self._reference(a) for a in args]

        def later() -> tuple[int, int]:
            self._words[number] = function(*[self._words[a.number] if isinstance(a, Key) else a for a in given])
            return self._words[number]

        self._captured[id(words)] = words, number, graph.words(words, later)

    def where(self, words: Any) -> Any:
        """The array on the device that holds these words; None for words that the call did not draw."""
        found = self._captured.get(id(words))
        return found[2] if found is not None and found[0] is words else None

    def _reference(self, argument: Any) -> Any:
        found = self._captured.get(id(argument))
        return Key(found[1]) if found is not None and found[0] is argument else argument
