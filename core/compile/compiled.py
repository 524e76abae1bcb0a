"""``compile``: the front of it all. A call is traced, then repeated from its record as long as its guards hold."""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, kind_of
from ..graph import state
from ..invariance import mode
from ..nn.positions import KVCache
from ..tensor import Tensor
from ..tracing import here
from .array import TracedArray
from .backward import record_backward
from .buckets import Buckets
from .capture import Capture
from .decode import Decoding, caches_in, unfit, without_caches
from .entry import Entry, describe, first_call
from .explaining import explained
from .reach import Reach
from .replay import Missed
from .tracer import Tracer

_TRACES = 4  # of one signature, until two agree
_SIGNATURES = 16  # kept at a time


class Compiled:
    """A function or module that is repeated from its record. Made by ``compile``.

    Attributes:
        function: what is compiled.
    """

    def __init__(self, function: Callable[..., Any], signatures: int = _SIGNATURES, buckets: Buckets | None = None) -> None:
        self.function = function
        self._buckets = buckets
        self._limit = signatures
        self._entries: dict[Any, Entry] = {}
        self._captures: dict[Any, Capture] = {}
        self._decoding: Decoding | None = None
        self._reach: Reach | None = None
        self._lock = threading.RLock()
        self._history: Counter[str] = Counter()
        functools.update_wrapper(self, function, updated=())

    @property
    def runs(self) -> int:
        """How many calls were repeated from a record."""
        return sum(e.runs for e in self._entries.values()) + sum(c.runs for c in self._all_captures())

    def _all_captures(self) -> list[Capture]:
        steps = [] if self._decoding is None else self._decoding.captures()
        return [*self._captures.values(), *steps]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if here.tracer is not None or state.anomaly:  # inside another recording it is part of that one
            return self.function(*args, **kwargs)
        caches = caches_in((args, kwargs))
        if caches and (why := unfit(caches)):
            self._note(f"run as it stands: {why}")
            return self.function(*args, **kwargs)
        with self._lock:
            if caches:
                return self._with_caches(args, kwargs, caches)
            if self._buckets is None or state.grad:  # padding would take part in gradients
                return self._call(args, kwargs)
            args, kwargs, length, size = self._buckets.padded(args, kwargs)
            result = self._call(args, kwargs)
            return result if length == size else self._buckets.cut(result, length, size)

    def _note(self, what: str) -> None:
        self._history[what] += 1

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key, tensors = self._key(args, kwargs)
        assert self._reach is not None, "looked for in _key"
        if any(t.is_cuda for t in (*tensors, *self._reach.tensors)):
            return self._on_gpu(key, args, kwargs, tensors)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._new_entry(key)
        if entry.run is not None and (broken := entry.broken()):
            self._note(f"{entry.title}: recorded again, {broken}")
            entry.forget()
        if entry.run is None:
            return self._eager(args, kwargs) if entry.reason else self._traced(entry, args, kwargs)
        try:
            return entry.repeat(tensors)
        except Missed as missed:
            self._missed(entry, missed)
        return self._eager(args, kwargs)

    def _with_caches(self, args: tuple[Any, ...], kwargs: dict[str, Any], caches: list[KVCache]) -> Any:
        key, tensors = self._key(without_caches(args), without_caches(kwargs))
        assert self._reach is not None, "looked for in _key"
        if self._decoding is None:
            self._decoding = Decoding(self.function, self._reach.tensors, self._limit, self._note)
        given = list({id(t): t for t in tensors}.values())
        return self._decoding.call(key, _title(key[0]), args, kwargs, given, caches)

    def _key(self, args: Any, kwargs: Any) -> tuple[Any, list[Tensor]]:
        """What a record is made for, and the tensors among the arguments."""
        if self._reach is None:
            self._reach = Reach(self.function)
        tensors: list[Tensor] = []
        flags = state.grad, state.inference, mode.depth, state.autocast
        return (_signature((args, kwargs), tensors), self._reach.training(), *flags, self._reach.numbers()), tensors

    def _on_gpu(self, key: Any, args: Any, kwargs: Any, tensors: list[Tensor]) -> Any:
        assert self._reach is not None, "looked for in _key"
        capture = self._captures.get(key)
        if capture is None:
            if len(self._captures) >= self._limit:
                self._captures.pop(next(iter(self._captures)))
            capture = self._captures[key] = Capture(_title(key[0]), self._reach.tensors)
        return capture.call(self.function, args, kwargs, list({id(t): t for t in tensors}.values()))

    def _eager(self, args: Any, kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def _new_entry(self, key: Any) -> Entry:
        title = _title(key[0])
        if self._entries:
            self._note(f"{title}: recorded, {_why_new(key, next(reversed(self._entries)))}")
        if len(self._entries) >= self._limit:
            self._entries.pop(next(iter(self._entries)))
        entry = self._entries[key] = Entry(title)
        return entry

    def _missed(self, entry: Entry, missed: Missed) -> None:
        entry.misses += 1
        what = (
            f"the program looked at {missed.node.value!r} at {missed.node.place or missed.node.label}, now it is {missed.value!r}"
        )
        if entry.misses >= _TRACES:
            entry.give_up(what)
        self._note(f"{entry.title}: run as it stands, {what}")

    def _traced(self, entry: Entry, args: Any, kwargs: Any) -> Any:
        assert self._reach is not None, "looked for in _key"
        tracer = Tracer(self._reach.tensors)
        given: list[Tensor] = []
        _signature((args, kwargs), given)
        behind = [(t, t.grad_fn, t._number) for t in given]
        for t in given:
            t.grad_fn = None  # the record ends at the arguments, whatever lies behind them
        try:
            with tracer.recording():
                for t in given:
                    if type(t.array) is not TracedArray:  # a tensor may be given twice
                        t.array = tracer.input(t.array)
                result = self.function(*args, **kwargs)
                tracer.gradients()
                described = describe(result, tracer)
                record_backward(tracer, result, given)
        finally:
            for t in given:
                t.array = t.array.plain if type(t.array) is TracedArray else t.array
            for t, node, number in behind:
                t.grad_fn, t._number = node, number
            tracer.finish()
        first_call(tracer, given)
        entry.take(tracer, described, len(given))
        return result

    def reset(self) -> None:
        """Forget all records: after a module's settings were changed, such as a dropout's ``p``, or its members."""
        with self._lock:
            self._entries.clear()
            self._captures.clear()
            self._decoding = None
            self._reach = None

    def explain(self, graph: bool = False) -> str:
        """What became of it: signatures, steps, chains, memory, guards, and why calls were recorded anew or run eagerly.

        Args:
            graph: list every step too.
        """
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return explained(name, list(self._entries.values()), self._all_captures(), self._history, graph)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.function, name)


def compile(
    model: Callable[..., Any] | None = None, *, signatures: int = _SIGNATURES, buckets: tuple[int, Sequence[int]] | None = None
) -> Any:
    """A module, a step function or any function of tensors that runs from a record of its own calls.

    The first calls run as always while every call on arrays is written down; when two records agree, further calls repeat the
    record without Python's share of the work, with chains of element-wise operations in one kernel each, and with memory planned.
    The bits are those of the eager run. What the record holds for is guarded: shapes, dtypes, memory order, training flags,
    whether gradients are recorded, parameters replaced, and every value that the program looked at. Where a function cannot be
    repeated it runs as it stands, and ``explain()`` says why.

    Python itself (prints, counters, lists) runs only while a call is recorded. Numbers that the function reads from its closure
    or its Python module are guarded; those inside other objects are as they were recorded, until ``reset()`` forgets them.
    Optimizers, schedules, clipping and averages of weights are called as they are in every run, and random numbers go on as in
    the eager run. On a GPU a call is captured into CUDA graphs instead; there a decoder's call on one new token a text, with an
    ``nn.KVCache`` a layer for those before, is one graph too, outside gradients. The caches' steps then lie in memory of the
    graph's, which grows by powers of two, and caches of other texts are moved there when they come. Other calls with caches run
    as they stand.

    Args:
        model: a module, or a function of tensors; a function may compute a loss, call ``backward`` and step an optimizer.
        signatures: records kept at a time, one for each combination of shapes, dtypes and flags.
        buckets: (dim, sizes): outside gradients, tensors as long along ``dim`` as the first one are padded with zeros to the
            next of these sizes, and results are cut back, so that a few records serve all lengths. The function must treat what
            is padded apart: rows of a batch (dim 0) are, texts under an attention mask are.

    Raises:
        ArgumentError: ``model`` cannot be called, or the buckets are none.

    Example:
        >>> import nyala
        >>> double = nyala.compile(lambda x: x * 2 + 1)
        >>> for i in range(3):
        ...     y = double(nyala.tensor([1.0, i]))
        >>> y
        tensor([3., 5.])
    """
    if model is None:
        return functools.partial(compile, signatures=signatures, buckets=buckets)
    if not callable(model):
        raise ArgumentError(f"compile was given {kind_of(model)}", fix="pass a module or a function of tensors")
    return Compiled(model, signatures, None if buckets is None else Buckets(*buckets))


def _signature(tree: Any, tensors: list[Tensor]) -> Any:
    """What a record is made for, as a hashable; the tensors found on the way."""
    if isinstance(tree, Tensor):
        tensors.append(tree)
        array = tree.array
        return array.shape, array.dtype, array.strides, tree.requires_grad, type(array) is np.ndarray
    if isinstance(tree, (tuple, list)):
        return (type(tree), *[_signature(t, tensors) for t in tree])
    if isinstance(tree, dict):
        return (dict, *[(k, _signature(v, tensors)) for k, v in tree.items()])
    try:
        hash(tree)
    except TypeError:
        return id(tree)
    return type(tree), tree


def _title(signature: Any) -> str:
    found: list[str] = []

    def look(tree: Any) -> None:
        if isinstance(tree, tuple) and len(tree) == 5 and isinstance(tree[1], np.dtype):
            found.append(f"{tree[1]}{list(tree[0])}")
        elif isinstance(tree, tuple):
            for t in tree:
                look(t)

    look(signature)
    return ", ".join(found) or "no tensors"


_PARTS = (
    "other shapes, dtypes or arguments",
    "modules changed between training and evaluation",
    "gradients are recorded or not",
    "inference mode changed",
    "batch_invariant changed",
    "autocast changed",
    "a number that the function reads has changed",
)


def _why_new(key: Any, last: Any) -> str:
    return "; ".join(why for why, a, b in zip(_PARTS, key, last, strict=True) if a != b)
