"""``Tracer``: an eager run in which every call on arrays is written down as a node.

It stands behind ``core/tracing.here`` while it records: NumPy's module and the kernel table come from it, and tensors' arrays
are ``TracedArray``. What cannot be followed makes it refuse, with the reason; the run itself goes on as always.
"""

from __future__ import annotations

import gc
import types
import weakref
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import kernels
from ..errors import NyalaError
from ..graph import Node as GraphNode
from ..graph import state
from ..tensor import Tensor
from ..tracing import Way, here
from .array import TracedArray
from .program import Key, Node, Packs, Program, Ref, Slot, mapped


class Seen:
    """A plain value among a call's results: the program may have looked at it, so it must come out the same again."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Module:
    """NumPy, or a module of it, as recorded code sees it."""

    def __init__(self, tracer: Tracer, module: Any) -> None:
        self._tracer, self._plain = tracer, module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._plain, name)
        if isinstance(found, types.ModuleType):
            return _Module(self._tracer, found)
        if isinstance(found, type) or not callable(found) or name in ("dtype", "result_type", "promote_types", "finfo", "iinfo"):
            return found

        def function(*args: Any, **kwargs: Any) -> Any:
            if not self._tracer.active:
                return found(*unwrapped(args), **unwrapped(kwargs))
            out = kwargs.get("out")
            return self._tracer.call(found, args, kwargs, () if out is None else (out,))

        return function


class _Table:
    """The kernels as recorded code sees them."""

    def __init__(self, tracer: Tracer, base: Any) -> None:
        self._tracer, self._base = tracer, base

    def __getattr__(self, name: str) -> Callable[..., Any]:
        tracer, kernel = self._tracer, getattr(self._base, name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            if not tracer.active:
                return kernel(*unwrapped(args), **unwrapped(kwargs))
            return tracer.call(kernel, args, kwargs, None, name)

        setattr(self, name, recorded)
        return recorded


def unwrapped(tree: Any) -> Any:
    """The tree with plain arrays and NumPy itself in place of what stands for them."""
    return mapped(tree, lambda t: t.plain if isinstance(t, TracedArray) else t._plain if type(t) is _Module else t)


def _owner(array: Any) -> Any:
    """What an array's memory belongs to in the end."""
    while isinstance(array, np.ndarray) and isinstance(np.ndarray.base.__get__(array), np.ndarray):  # type: ignore[attr-defined]
        array = np.ndarray.base.__get__(array)  # type: ignore[attr-defined]
    return array


def _array_of(result: Any) -> Any:
    return np.asarray(result) if isinstance(result, np.generic) else result


class _AsArrays:
    """A function whose numbers come as arrays without dimensions, as operations hand them on."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return mapped(self.function(*args, **kwargs), _array_of)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _AsArrays) and bool(self.function == other.function)

    def __hash__(self) -> int:
        return hash(self.function)


def grad_of(tensor: Tensor) -> Any:
    """The array of a tensor's gradient."""
    return tensor.grad.array  # type: ignore[union-attr]  # recorded where there was one


class Tracer:
    """Records one run into ``program``.

    Args:
        known: tensors that the run may use: parameters, buffers and what else the function holds.
    """

    may_look = True

    def __init__(self, known: Sequence[Tensor]) -> None:
        self.program = Program()
        self.active = False
        self.late = False  # what is recorded belongs to the backward pass
        self._keeps = state.grad
        self._alive: list[Any] = []
        self.live: list[Tensor] = []  # results whose graph has been recorded
        self.values: dict[int, Any] = {}
        self.refused = ""
        self.refused_at = ""
        self._slots: dict[int, tuple[Any, int]] = {}  # id of a plain array -> weak reference, slot
        self._owners: dict[int, tuple[Any, int, Any]] = {}  # id of a memory's owner -> weak reference, root slot, root array
        self._known = {id(t.array): t for t in known}
        self._leaves = {id(t): t for t in known}
        self._held: dict[int, tuple[Tensor, Any]] = {}
        self._grads = {id(t): t.grad for t in known}
        self._packs: dict[int, tuple[Any, Tensor]] = {}
        self._words: dict[int, tuple[Any, int]] = {}
        self._made: list[Any] = []

    # ---- the run

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what this thread does inside."""
        here.module, here.table, here.tracer = _Module(self, np), _Table(self, kernels.of(np.empty(0))), self
        self.active = True
        self.operands(list(self._leaves.values()))  # also what is used without an operation, as running statistics are
        try:
            yield
        finally:
            self.active = False
            here.module, here.table, here.tracer = np, None, None

    @contextmanager
    def _paused(self) -> Iterator[None]:
        before = here.module, here.table
        self.active, here.module, here.table, here.tracer = False, np, None, None
        try:
            yield
        finally:
            self.active, here.tracer = True, self
            here.module, here.table = before

    def refuse(self, reason: str) -> None:
        """Say why this run cannot be repeated from its record; the first reason counts."""
        if not self.refused:
            self.refused, self.refused_at = reason, _place()

    def _add(self, node: Node) -> None:
        node.late = self.late
        self.program.nodes.append(node)

    def seed(self, like: Any) -> Any:
        """The gradient that a result will get."""
        traced = self._wrap(np.ones(like.shape, like.dtype), ("seed", len(self.program.seeds)))
        self.program.seeds.append(traced.slot)
        return traced

    def is_outside(self, tensor: Tensor) -> bool:
        """Whether the tensor was there before the run."""
        return id(tensor) in self._leaves

    def words(self, number: int) -> tuple[int, int]:
        """The words of a key that was drawn."""
        return next(words for words, n in self._words.values() if n == number)

    def input(self, array: Any) -> Any:
        """An argument of the run."""
        traced = self._wrap(array, ("input", len(self.program.inputs)))
        self.program.inputs.append(traced.slot)
        return traced

    # ---- slots

    def _new_slot(self, plain: Any, source: tuple[str, Any]) -> int:
        number = len(self.program.slots)
        owner = _owner(plain)
        found = self._owners.get(id(owner))
        root = found[1] if found is not None and found[0]() is owner else number
        self.program.slots.append(Slot(number, plain.shape, plain.dtype, plain.strides, source, root, plain.nbytes))
        self._slots[id(plain)] = weakref.ref(plain), number
        return number

    def _wrap(self, plain: Any, source: tuple[str, Any]) -> Any:
        number = self._new_slot(plain, source)
        traced = plain.view(TracedArray)
        traced.plain, traced.slot, traced.tracer = plain, number, self
        if self._keeps:
            self.values[number] = plain  # a backward pass of this very call may need it
            self._alive.append(traced)  # the engine tells gradients' arrays apart by their ids
        root = self.program.slots[number].root
        if root == number:
            owner = _owner(plain)
            if isinstance(owner, np.ndarray):
                self._owners[id(owner)] = weakref.ref(owner), number, weakref.ref(traced)
        else:
            held = self._owners[id(_owner(plain))][2]()
            traced.root = traced.plain if held is None else held
        self._made.append(weakref.ref(traced))
        return traced

    def _slot_of(self, plain: Any) -> int | None:
        found = self._slots.get(id(plain))
        return found[1] if found is not None and found[0]() is plain else None

    def _reference(self, leaf: Any) -> Any:
        """How an argument is written down."""
        if isinstance(leaf, TracedArray):
            if leaf.slot >= 0 and leaf.tracer is self:
                return Ref(leaf.slot)
            leaf = leaf.plain if leaf.plain is not None else leaf.view(np.ndarray)
        if type(leaf) is _Module:
            return leaf._plain
        if isinstance(leaf, np.ndarray):
            return Ref(self._outside(leaf))
        return leaf

    def _outside(self, plain: Any) -> int:
        """The slot of an array that no recorded call has made."""
        slot = self._slot_of(plain)
        if slot is not None:
            return slot
        tensor = self._known.get(id(plain))
        if tensor is not None and tensor.array is plain:
            return self._new_slot(plain, ("held", tensor))
        owner = _owner(plain)
        found = self._owners.get(id(owner))
        if found is not None and found[0]() is owner and self.program.slots[found[1]].source[0] in ("node", "input"):
            self.refuse("an array was taken out of the recording and used again (np.asarray or another view of its memory)")
        return self._new_slot(plain, ("constant", plain))

    def _written_down(self, tree: Any) -> Any:
        if type(tree) is dict and id(tree) in self._packs:
            return Packs(self._packs[id(tree)][1])
        if type(tree) is tuple and id(tree) in self._words:
            return Key(self._words[id(tree)][1])
        if isinstance(tree, tuple):
            parts = [self._written_down(t) for t in tree]
            return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
        if isinstance(tree, list):
            return [self._written_down(t) for t in tree]
        if type(tree) is dict:
            return {k: self._written_down(v) for k, v in tree.items()}
        if isinstance(tree, slice):
            return slice(*(self._written_down(t) for t in (tree.start, tree.stop, tree.step)))
        return self._reference(tree)

    # ---- calls

    def call(self, function: Any, args: Any, kwargs: Any, written: Any = (), label: str = "") -> Any:
        """Compute ``function(*args, **kwargs)`` and write it down.

        Args:
            written: the arguments whose memory it writes to; None where that must be found out.
        """
        refs = self._written_down(tuple(args)), self._written_down(dict(kwargs))
        plain_args, plain_kwargs = unwrapped(tuple(args)), unwrapped(dict(kwargs))
        arrays = _arrays((plain_args, plain_kwargs)) if written is None else []
        before = [_checksum(a) for a in arrays]
        with self._paused():
            result = function(*plain_args, **plain_kwargs)
        if written is None:
            written = [a for a, sum_ in zip(arrays, before, strict=True) if _checksum(a) != sum_]
        roots = frozenset(self.program.slots[self._reference(w).slot].root for w in written if isinstance(w, np.ndarray))
        name = label or getattr(function, "__name__", type(function).__name__)
        node = Node("call", name, function, *refs, writes=roots, place="")
        if _has_numbers(result):
            node.function = _AsArrays(function)
        number = len(self.program.nodes)
        self._add(node)
        shown, node.outputs = self._taken(result, number)
        return shown

    def _taken(self, result: Any, number: int) -> tuple[Any, Any]:
        """What the caller gets, and how it is written down."""
        if isinstance(result, tuple) or type(result) is list:
            pairs = [self._taken(r, number) for r in result]
            shown, outputs = [p[0] for p in pairs], [p[1] for p in pairs]
            if hasattr(result, "_fields"):
                return type(result)(*shown), tuple(outputs)
            return type(result)(shown), type(result)(outputs)
        if isinstance(result, np.generic):
            result = np.asarray(result)
        if isinstance(result, np.ndarray):
            known = self._slot_of(result)
            if known is not None:
                return self._again(result, known), Ref(known)
            traced = self._wrap(result, ("node", number))
            return traced, Ref(traced.slot)
        if result is None or isinstance(result, (np.dtype, type)):
            return result, None
        if not isinstance(result, (bool, int, float, complex, str)):
            self.refuse(f"a call returns {type(result).__name__}, which is neither an array nor a number")
        return result, Seen(result)

    def _again(self, plain: Any, slot: int) -> Any:
        traced = plain.view(TracedArray)
        traced.plain, traced.slot, traced.tracer = plain, slot, self
        self._made.append(weakref.ref(traced))
        return traced

    def guard(self, function: Any, args: Any, value: Any) -> None:
        """The program has looked at a value: it must be the same again, or the record does not hold."""
        refs = self._written_down(tuple(args))
        self._add(Node("guard", function.__name__.strip("_"), function, refs, value=value, place=_place()))

    # ---- tensors

    def operands(self, tensors: Sequence[Tensor]) -> list[Any]:
        """The arrays of an operation's inputs; those of tensors from outside are lifted in."""
        return [t.array if type(t.array) is TracedArray else self._lifted(t) for t in tensors]

    def _lifted(self, tensor: Tensor) -> Any:
        plain = tensor.array
        if type(plain) is not np.ndarray:
            if isinstance(plain, np.ndarray):
                self.refuse(f"an array of the class {type(plain).__name__}")
            return plain
        slot = self._slot_of(plain)
        if slot is not None:
            traced = self._again(plain, slot)
        elif (owner := self._gradient_of(tensor)) is not None:
            traced = self._wrap(plain, ("node", len(self.program.nodes)))
            self._add(Node("call", "grad", grad_of, (owner,), outputs=Ref(traced.slot)))
        else:
            traced = self._wrap(plain, ("held", tensor))
            if tensor.grad_fn is not None:
                self.refuse("a tensor from outside carries a graph of its own: its gradient would flow out of the record")
            if tensor.requires_grad and id(tensor) not in self._leaves:
                self._leaves[id(tensor)], self._grads[id(tensor)] = tensor, tensor.grad
        tensor.array = traced
        self._held[id(tensor)] = tensor, traced
        return traced

    def _gradient_of(self, tensor: Tensor) -> Tensor | None:
        return next((t for t in self._leaves.values() if t.grad is tensor), None)

    def plain(self, array: Any) -> Any:
        """The array itself where this recording wraps one from outside, as weights are; computed ones stay wrapped."""
        if isinstance(array, TracedArray) and array.slot >= 0 and self.program.slots[array.slot].source[0] == "held":
            return array.plain
        return array

    def packs_of(self, tensor: Tensor, packs: Any) -> None:
        """Remember whose packs these are."""
        self._packs[id(packs)] = packs, tensor
        array = self.plain(tensor.array)
        self._known.setdefault(id(array), tensor)
        self._leaves.setdefault(id(tensor), tensor)
        self._grads.setdefault(id(tensor), tensor.grad)

    # ---- random numbers

    def drawn(self, words: tuple[int, int], function: Any, args: tuple[Any, ...]) -> None:
        """Remember how the words of a key came about, so that a run draws its own."""
        node = Node("draw", "key", function, self._written_down(args), value=len(self._words))
        self._words[id(words)] = words, len(self._words)
        self._add(node)

    def is_drawn(self, words: tuple[int, int]) -> bool:
        """Whether these are the words of a key that the run draws."""
        return id(words) in self._words

    def on_host(self, words: tuple[int, int]) -> None:
        """Bits are drawn by a kernel that is recorded as any other."""

    def keep(self, arrays: Any) -> None:
        """The record holds what it reads."""

    def tells_later(self, wrong: Callable[[], Any], what: str, kind: type[NyalaError]) -> bool:  # noqa: ARG002 - see Capturing
        return False

    def noted(self, state: tuple[int, int, int]) -> None:
        """The ambient stream's state may be gone back to: ``rewound`` says so."""

    def rewound(self, state: tuple[int, int, int]) -> None:  # noqa: ARG002 - a capture tells states apart
        """Draws from an earlier state would be recorded as draws that go on."""
        self.refuse("random numbers are drawn again from an earlier state, as a checkpointed block does")

    # ---- code with a state

    def whole(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _way: Way) -> Any:
        """Run a function as it stands, on plain arrays, and write it down as one step."""
        args = tuple(list(a) if isinstance(a, Iterator) else a for a in args)
        self.gradients()
        self._put_back()
        with self._paused():
            result = function(*args, **kwargs)
        for tensor, traced in self._held.values():
            if tensor.array is traced.plain:
                tensor.array = traced
        for t in self._leaves.values():
            self._grads[id(t)] = t.grad
        node = Node("whole", getattr(function, "__qualname__", "function"), function, args, kwargs)
        self._add(node)
        if isinstance(result, Tensor) and type(result.array) is np.ndarray:
            result.array = self._wrap(result.array, ("node", len(self.program.nodes) - 1))
            node.outputs = Ref(result.array.slot)
        elif result is not None:
            self.refuse(f"{node.label} returns {type(result).__name__}, which the program may look at")
        return result

    def gradients(self) -> None:
        """Write down which leaves have got another gradient since the last time."""
        for key, tensor in list(self._leaves.items()):
            now, before = tensor.grad, self._grads.get(key)
            if now is before:
                continue
            self._grads[key] = now
            value = None if now is None else self._reference(now.array)
            self._add(Node("grad", "set grad", None, (tensor, value)))

    def _put_back(self) -> None:
        """Plain arrays in all tensors that this recording has reached."""
        for tensor, traced in self._held.values():
            if tensor.array is traced:
                tensor.array = traced.plain
        for tensor in self._leaves.values():
            if tensor.grad is not None and type(tensor.grad.array) is TracedArray:
                tensor.grad.array = tensor.grad.array.plain
            if type(tensor.array) is TracedArray:
                tensor.array = tensor.array.plain

    def finish(self) -> None:
        """Leave no traced array behind, wherever the run may have kept one."""
        self._alive.clear()
        self._put_back()
        if any(reference() is not None for reference in self._made):
            for thing in gc.get_objects():
                kind = type(thing)  # isinstance() would wake what only poses as something, as dead weak references do
                if issubclass(kind, Tensor) and type(thing.__dict__.get("array")) is TracedArray:
                    thing.array = thing.array.plain
                elif issubclass(kind, GraphNode):  # of a graph that goes on living
                    vars(thing).update({k: unwrapped(v) for k, v in vars(thing).items() if k not in ("edges", "kept")})
        self._made.clear()


def _arrays(tree: Any) -> list[Any]:
    from .program import leaves

    return [leaf for leaf in leaves(tree) if isinstance(leaf, np.ndarray) and leaf.size]


def _checksum(array: Any) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _has_numbers(result: Any) -> bool:
    if isinstance(result, (tuple, list)):
        return any(_has_numbers(r) for r in result)
    return isinstance(result, np.generic)


_ENGINE = __file__.rpartition("compile")[0]


def _place() -> str:
    """The line of the program, outside the engine, that is running."""
    import sys

    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_ENGINE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
