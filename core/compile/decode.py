"""Steps of one token: on a GPU, a decoder's call with the keys and values of the tokens before in caches, as one CUDA graph.

Caches grow in Python, and a graph's arrays do not. So a graph is captured for a room, a power of two of steps; the caches lie in
it, the number of steps lies on the device, where kernels read it to write behind them and to see no more than them, and Python
counts along. Other caches of that shape, as those of the next text, are moved into the room when they come, and those that were
there before are given memory of their own if anybody still holds them.
"""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import devices
from ..graph import state
from ..nn.positions import KVCache
from ..tensor import Tensor
from ..tracing import held
from .capture import Capture
from .program import leaves, mapped

_LEAST = 64  # steps of a room
_KINDS = 256  # signatures of which is known what they do to caches


def caches_in(tree: Any) -> list[KVCache]:
    """The caches among arguments, those that objects hold in lists included."""
    return list({id(cache): cache for leaf in leaves(tree) for cache in _caches_of(leaf)}.values())


def without_caches(tree: Any) -> Any:
    """The arguments with what caches are made for in the place of caches."""
    return mapped(tree, lambda leaf: (type(leaf), *map(_shape, caches)) if (caches := list(_caches_of(leaf))) else leaf)


def _caches_of(leaf: Any) -> Iterator[KVCache]:
    if isinstance(leaf, KVCache):
        yield leaf
    elif type(leaf).__module__ != "builtins" and not isinstance(leaf, Tensor):
        for part in vars(leaf).values() if hasattr(leaf, "__dict__") else ():
            if isinstance(part, (list, tuple)):
                yield from (cache for cache in part if isinstance(cache, KVCache))


def _shape(cache: KVCache) -> Any:
    """All of a cache but its length."""
    if cache.keys is None or cache.values is None:
        return type(cache), None
    return type(cache), cache.keys.dtype, cache.keys.device, *((t.shape[:2], t.shape[3]) for t in (cache.keys, cache.values))


def unfit(caches: Sequence[KVCache]) -> str:
    """Why a call with these caches runs as it stands, whatever it does; nothing where it may be a step to capture."""
    for cache in caches:
        if cache.keys is None or cache.values is None:
            return "it fills empty caches"
        if not cache.keys.is_cuda:
            return "calls with a KVCache are captured on GPUs alone: it counts its steps in Python"
        if type(cache) is not KVCache:
            return f"a {type(cache).__name__} lets go of steps in Python"
        if state.grad:
            return "gradients are recorded: call it under no_grad()"
        if cache.keys.requires_grad or cache.values.requires_grad:
            return "its caches are part of a graph of gradients"
    return ""


class Decoding:
    """The steps of one function: one capture for each signature and room.

    Args:
        function: what is compiled.
        known: tensors that it reaches.
        limit: captures kept at a time.
        note: is told why calls run as they stand.
    """

    def __init__(self, function: Callable[..., Any], known: Sequence[Tensor], limit: int, note: Callable[[str], None]) -> None:
        self._function, self._known, self._limit, self._note = function, known, limit, note
        self._grows: OrderedDict[Any, tuple[bool, ...]] = OrderedDict()  # signature -> which caches get a step; () for no step
        self._steps: OrderedDict[Any, _Step] = OrderedDict()

    def captures(self) -> list[Capture]:
        """Those of all signatures and rooms."""
        return [step.capture for step in self._steps.values()]

    def call(self, key: Any, title: str, args: Any, kwargs: Any, given: list[Tensor], caches: list[KVCache]) -> Any:
        """The call: as it stands, watched, captured or launched."""
        grows = self._grows.get(key)
        if grows is None:
            return self._first(key, args, kwargs, caches)
        if len({c.length for c, own in zip(caches, grows, strict=False) if own}) != 1:
            self._note("run as it stands: it adds other than one step, or the caches differ in their steps")
            return self._function(*args, **kwargs)
        return self._step(key, title, caches, grows).call(self._function, args, kwargs, given, caches)

    def _first(self, key: Any, args: Any, kwargs: Any, caches: list[KVCache]) -> Any:
        """A call as it stands, which shows what caches it adds a step to."""
        before = [c.length for c in caches]
        result = self._function(*args, **kwargs)
        added = [c.length - n for c, n in zip(caches, before, strict=True)]
        if len(self._grows) >= _KINDS:
            self._grows.popitem(last=False)
        self._grows[key] = tuple([n == 1 for n in added]) if set(added) <= {0, 1} else ()
        return result

    def _step(self, key: Any, title: str, caches: list[KVCache], grows: tuple[bool, ...]) -> _Step:
        sizes = tuple([_room_of(c) if own else c.length for c, own in zip(caches, grows, strict=True)])
        step = self._steps.get((key, sizes))
        if step is None:
            room = " and ".join(map(str, sorted(set(sizes))))
            if any(known == key for known, _ in self._steps):
                self._note(f"{title}: captured anew, the caches need room for {room} steps")
            if len(self._steps) >= self._limit:
                self._steps.popitem(last=False)
            step = self._steps[key, sizes] = _Step(
                f"{title}, one step behind caches with room for {room}", self._known, grows, sizes
            )
        self._steps.move_to_end((key, sizes))
        return step


def _room_of(cache: KVCache) -> int:
    """Steps that a graph has room for: a power of two, as many as were announced, and one more than there are."""
    return 1 << (max(_LEAST, cache.max_length, cache.length + 1) - 1).bit_length()


class _Step:
    """One signature and room.

    Args:
        grows: which of the caches get the step.
        sizes: steps that there is room for, one number a cache.

    Attributes:
        capture: the graph.
    """

    def __init__(self, title: str, known: Sequence[Tensor], grows: tuple[bool, ...], sizes: tuple[int, ...]) -> None:
        self.capture = Capture(title, known)
        self._grows, self._sizes, self._length = grows, sizes, 0
        self._rooms: list[tuple[Any, Any]] = []
        self._holders: list[weakref.ref[KVCache]] = []

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any, given: list[Tensor], caches: list[KVCache]) -> Any:
        """The call; afterwards the caches hold one step more."""
        if self.capture.reason:
            return function(*args, **kwargs)
        self._take(caches)
        own = [c for c, grows in zip(caches, self._grows, strict=True) if grows]
        self._length = own[0].length
        result = self.capture.call(functools.partial(self._placed, function, own), args, kwargs, given)
        if own[0].length == self._length:  # a graph has added it
            for cache in own:
                cache.added_one()
        return result

    def _placed(self, function: Callable[..., Any], own: list[KVCache], *args: Any, **kwargs: Any) -> Any:
        """The function, whose caches read from the device where the step stands while it is captured."""
        place = held(lambda: (self._length,))
        for cache in own:
            cache.place = place
        try:
            return function(*args, **kwargs)
        finally:
            for cache in own:
                cache.place = None

    def _take(self, caches: list[KVCache]) -> None:
        """Have the caches lie in the rooms."""
        if not self._rooms:
            self._rooms = [_new_room(cache, size) for cache, size in zip(caches, self._sizes, strict=True)]
        places = list(zip(caches, self._rooms, strict=True))
        if all(cache.lies_in(room) for cache, room in places):
            return
        for holder, (cache, room) in zip(self._holders, places, strict=False):
            before = holder()
            if before is not None and before is not cache and before.lies_in(room):
                before.move([array.copy() for array in room])
        for cache, room in places:
            if not cache.lies_in(room):
                cache.move(room)
        self._holders = [weakref.ref(cache) for cache in caches]


def _new_room(cache: KVCache, size: int) -> tuple[Any, Any]:
    keys, values = [
        devices.module_of(t.array).empty((*t.shape[:2], size, t.shape[3]), t.dtype)
        for t in (cache.keys, cache.values)
        if t is not None
    ]
    return keys, values
