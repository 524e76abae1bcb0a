"""Who stands behind ``here.tracer`` while a call on a GPU is watched or captured: arrays stay what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import NyalaError
from ..random import ambient_state, set_ambient_state
from ..tensor import Tensor
from ..tracing import Way, here
from .graphs import Draws, Graph, Recording
from .undo import Before


class Unready(Exception):  # noqa: N818 - no error: the call runs as it stands
    """The call does what only a first call does, as making an optimizer's state: it is to be captured later."""


class Watch:
    """Looks on while a call runs as always, before it is captured."""

    may_look = True

    def __init__(self) -> None:
        self.refused = ""
        self._drawn: list[Any] = []  # keys' words, held so that their ids stay theirs
        self._read: set[int] = set()  # those that a kernel asked for, or another key was drawn from
        self._noted: list[Any] = []  # states of the ambient stream, likewise

    def refuse(self, reason: str) -> None:
        self.refused = self.refused or reason

    def operands(self, tensors: Sequence[Tensor]) -> list[Any]:
        arrays = [t.array for t in tensors]
        if any(type(a) is np.ndarray for a in arrays):
            self.refuse("an operation computes on the CPU: a graph would keep its result as it was when it was captured")
        return arrays

    def plain(self, array: Any) -> Any:
        return array

    def packs_of(self, tensor: Tensor, packs: Any) -> None:
        """Weights are packed for the processor alone."""

    # ---- random numbers

    def drawn(self, words: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:  # noqa: ARG002 - see Capturing
        self._drawn.append(words)
        self._read.update(map(id, args))

    def is_drawn(self, words: Any) -> bool:
        return any(words is w for w in self._drawn)

    def on_host(self, words: Any) -> None:
        if self.is_drawn(words):
            self.refuse("random numbers are drawn on the CPU: a graph would keep those of the captured call")

    def key_on_device(self, words: Any) -> Any:
        self._read.add(id(words))

    def unread(self) -> str:
        """Why a graph would draw the same numbers in each launch; nothing where it would not."""
        if all(id(words) in self._read for words in self._drawn):
            return ""
        return "random numbers are drawn from a key that the host hands over: a graph would keep those of the captured call"

    def noted(self, state: Any) -> None:
        self._noted.append(state)

    def rewound(self, state: Any) -> None:
        if not any(state is s for s in self._noted):
            self.refuse("random numbers are drawn from a state that was made outside the call")

    # ---- code with a state

    def held(self, numbers: Callable[[], Sequence[float]]) -> Any:  # noqa: ARG002 - see Capturing
        return None

    def again(self, function: Callable[[], Any], same: Callable[[], str] | None) -> None:
        """It will run again by itself."""

    def constant(self, array: np.ndarray[Any, Any]) -> Any:  # noqa: ARG002 - see Capturing
        return None

    def keep(self, arrays: Any) -> None:
        """Nothing reads them later on."""

    def tells_later(self, wrong: Callable[[], Any], what: str, kind: type[NyalaError]) -> bool:  # noqa: ARG002 - see Capturing
        return False

    def unready(self, reason: str) -> None:
        """This is the first call that ``Unready`` waits for."""

    def whole(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], way: Way) -> Any:  # noqa: ARG002
        result = function(*args, **kwargs)
        if result is not None and not isinstance(result, Tensor):
            self.refuse(f"{_name(function)} returns {type(result).__name__}, which the program may look at")
        return result


class Capturing(Watch):
    """Makes the host's share of a call repeatable, while the stream writes down the device's."""

    may_look = False

    def __init__(self, recording: Recording, known: Sequence[Tensor], before: Before) -> None:
        super().__init__()
        self._recording, self._known, self._before = recording, known, before
        self._draws = Draws()
        self._states: dict[int, Any] = {}  # what ``noted`` was told, as the last launch has found it

    @property
    def _graph(self) -> Graph:
        assert self._recording.graph is not None, "one is being captured"
        return self._recording.graph

    def drawn(self, words: Any, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        super().drawn(words, function, args)
        self._draws.draw(self._graph, words, function, args)

    def is_drawn(self, words: Any) -> bool:
        return self._draws.where(words) is not None

    def key_on_device(self, words: Any) -> Any:
        return self._draws.where(words)

    def noted(self, state: Any) -> None:
        super().noted(state)
        number = len(self._noted) - 1

        def note() -> None:
            self._states[number] = ambient_state()

        self._graph.again(note, None)

    def rewound(self, state: Any) -> None:
        super().rewound(state)
        number = next((i for i, s in enumerate(self._noted) if s is state), -1)
        if number >= 0:
            self._graph.again(lambda: set_ambient_state(self._states[number]), None)

    def held(self, numbers: Callable[[], Sequence[float]]) -> Any:
        return self._graph.held(numbers)

    def again(self, function: Callable[[], Any], same: Callable[[], str] | None) -> None:
        self._graph.again(function, same)

    def constant(self, array: np.ndarray[Any, Any]) -> Any:
        return self._graph.constant(array)

    def keep(self, arrays: Any) -> None:
        self._graph.kept.append(arrays)

    def tells_later(self, wrong: Callable[[], Any], what: str, kind: type[NyalaError]) -> bool:
        self._graph.tell(wrong(), what, kind)
        return True

    def unready(self, reason: str) -> None:
        raise Unready(reason)

    def whole(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], way: Way) -> Any:
        args = tuple(list(a) if isinstance(a, Iterator) else a for a in args)
        for thing in (*args, *kwargs.values()):
            self._before.remember(thing)
        if way.host:
            here.tracer = None
            try:
                result = function(*args, **kwargs)
            finally:
                here.tracer = self
            self.again(lambda: function(*args, **kwargs), None)
            return result
        why = f"{_name(function)} keeps its state in Python" if way.inside is None else way.inside(*args, **kwargs)
        if not why:
            return function(*args, **kwargs)
        here.tracer = None
        try:
            return self._recording.outside(lambda: function(*args, **kwargs), self._known, why)
        finally:
            here.tracer = self


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))
