"""The graph that operations record, and the walk that takes gradients back through it.

A ``Node`` stands for one operation that was run. It knows its inputs (other nodes, or leaf tensors), keeps what its
backward needs, and turns gradients of its outputs into gradients of its inputs. ``run_backward`` visits nodes in the
reverse of the order in which they were made (a node's inputs are always older), with a heap and no recursion, and lets
go of each node's memory as soon as it has been used.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import traceback
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .devices import use
from .errors import GradError, NumericError, ShapeError

if TYPE_CHECKING:
    from .tensor import Tensor


class _State(threading.local):
    """Per-thread switches: whether operations record, and what anomaly mode collects."""

    grad = True
    inference = False
    anomaly = False
    recomputing = False  # a checkpointed block runs for the second time: what it counts has been counted
    modules: tuple[str, ...] = ()
    autocast: Any = None  # what `nyala.autocast` has switched on; None where nothing is
    unfinished: list[weakref.ref[Any]] | None = None  # what waits to be computed; None where nothing may wait


state = _State()
_sequence = itertools.count()


def last_sequence() -> int:
    """A number that every node made before has passed, and every node made from now on exceeds."""
    return next(_sequence)


class Version:
    """Counts in-place writes to one piece of memory; a tensor and its views share one."""

    __slots__ = ("count", "viewed")

    def __init__(self) -> None:
        self.count = 0
        self.viewed = False  # a view of this memory is part of a graph


class Node:
    """One recorded operation.

    Attributes:
        edges: for each input, the node that made it, or the leaf tensor itself, or None where no gradient is wanted.
        numbers: which output of that node the input is.
        outputs: shape and dtype of each output, for zero gradients of the outputs that nobody used.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.name = cls.__dict__.get("name", cls.__name__)

    edges: tuple[Node | Tensor | None, ...] = ()
    numbers: tuple[int, ...] = ()
    outputs: tuple[Any, ...] = ()
    kept: tuple[tuple[Tensor, int], ...] = ()
    hooks: dict[int, list[Callable[[Tensor], Tensor | None]]] | None = None
    retained: dict[int, weakref.ref[Tensor]] | None = None  # weak: the tensor already holds the node
    place: str | None = None
    released = False
    sequence = -1

    def backward(self, *grads: Any, **nothing: Any) -> Any:
        """Gradients of the inputs, in their order, from the gradients of the outputs. None where there is none."""
        raise NotImplementedError

    def connect(self, inputs: Sequence[Tensor]) -> None:
        """Become part of the graph, with ``inputs`` behind this node."""
        edges: list[Node | Tensor | None] = []
        numbers = []
        for t in inputs:
            if not t.requires_grad:
                edges.append(None)
                numbers.append(0)
            elif t.grad_fn is None:
                edges.append(t)
                numbers.append(0)
            else:
                edges.append(t.grad_fn)
                numbers.append(t._number)
        self.edges, self.numbers = tuple(edges), tuple(numbers)
        self.sequence = next(_sequence)
        if state.anomaly:
            self.place = _place()

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each input, whether its gradient is wanted."""
        return tuple(e is not None for e in self.edges)

    def keep(self, *tensors: Tensor) -> None:
        """Keep tensors for the backward pass; a write to one of them in between is an error."""
        self.kept = tuple((t, t._version.count if t._version is not None else 0) for t in tensors)

    def kept_tensors(self) -> tuple[Tensor, ...]:
        """The kept tensors, checked to be unchanged."""
        if self.released:
            raise GradError(
                f"backward through {self.name} a second time",
                why="the first backward pass freed what the graph had kept",
                fix="pass retain_graph=True to the first backward or grad call, or compute the output again",
            )
        for t, count in self.kept:
            now = t._version.count if t._version is not None else 0
            if now != count:
                raise changed_in_place(self.name, t.shape, now - count)
        return tuple(t for t, _ in self.kept)

    def release(self) -> None:
        """Let go of everything kept; the node cannot run again."""
        self.kept = ()
        self.edges = (None,) * len(self.edges)
        self.released = True

    def __repr__(self) -> str:
        return f"<{self.name}Backward>"


def changed_in_place(name: str, shape: Sequence[int], writes: int) -> GradError:
    """The error for a kept tensor that was written to between forward and backward."""
    return GradError(
        f"a tensor of shape {tuple(shape)} that {name} keeps for its gradient was changed in place ({writes} write(s) since)",
        why="the gradient would be wrong",
        fix="use the operation without the trailing underscore, or write to a clone()",
    )


def _place() -> str:
    """Module path and source line of the operation being recorded, for anomaly mode."""
    here = next((f for f in reversed(traceback.extract_stack()[:-2]) if not f.filename.startswith(_CORE)), None)
    line = f"{here.filename}:{here.lineno}: {here.line}" if here else "unknown line"
    path = ".".join(m for m in state.modules if m)
    return f"{f'module {path}, ' if path else ''}{line}"


_CORE = __file__.rpartition("graph.py")[0]


class Sink:
    """Where a backward pass puts the gradients it finds: ``.grad`` of leaves, or a list asked for by ``grad()``."""

    def __init__(self, wanted: Sequence[Tensor] | None, create_graph: bool) -> None:
        self.create_graph = create_graph
        self.wanted: dict[Any, int] | None = None
        self.found: list[Tensor | None] = []
        self.given: set[int] = set()  # memory already handed to a leaf in this pass: never shared between two
        if wanted is not None:
            self.wanted = {(id(t.grad_fn), t._number) if t.grad_fn is not None else id(t): i for i, t in enumerate(wanted)}
            self.found = [None] * len(wanted)

    def leaf(self, tensor: Tensor, grad: Tensor) -> None:
        if self.wanted is not None and id(tensor) not in self.wanted:
            return
        grad = _run_hooks(tensor._hooks, grad)
        if self.wanted is not None:
            self._capture(self.wanted[id(tensor)], grad)
            return
        if tensor._hooks:
            self.given.add(id(grad.array))  # a hook may have kept it
        if tensor.grad is None:
            tensor.grad = grad if self.create_graph else self._own(grad)
        else:
            tensor.grad = tensor.grad + grad
        for hook in tuple(tensor._accumulate_hooks or ()):
            hook(tensor)

    def node(self, node: Node, number: int, grad: Tensor) -> None:
        if self.wanted is not None and (i := self.wanted.get((id(node), number))) is not None:
            self._capture(i, grad)

    def _capture(self, i: int, grad: Tensor) -> None:
        before = self.found[i]
        self.found[i] = grad if before is None else before + grad

    def _own(self, grad: Tensor) -> Tensor:
        """The gradient in memory of its own: users scale ``.grad`` in place, so no two may share it."""
        array = grad.array
        if type(array) is not np.ndarray:
            use(array)
        if array.base is not None or not array.flags.c_contiguous or id(array) in self.given:
            array = array.copy()
        self.given.add(id(array))
        return grad._like(array)


def _run_hooks(hooks: Iterable[Callable[[Tensor], Tensor | None]] | None, grad: Tensor) -> Tensor:
    for hook in tuple(hooks or ()):
        changed = hook(grad)
        grad = grad if changed is None else changed
    return grad


def _useful(roots: Iterable[Node], wanted: dict[Any, int]) -> set[int]:
    """Ids of the nodes that lie between the roots and a wanted tensor: the rest need not run."""
    order, seen, stack = [], set(), list(roots)
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            order.append(node)
            stack.extend(e for e in node.edges if isinstance(e, Node))
    useful: set[int] = set()
    for node in sorted(order, key=lambda n: n.sequence):
        if node.released:  # where it led is forgotten: the walk must come here and say so
            useful.add(id(node))
        for edge, number in zip(node.edges, node.numbers, strict=True):
            if edge is None:
                continue
            key = (id(edge), number) if isinstance(edge, Node) else id(edge)
            if key in wanted or id(edge) in useful:
                useful.add(id(node))
                break
    return useful


def run_backward(
    roots: Sequence[Tensor],
    grads: Sequence[Tensor],
    sink: Sink,
    retain_graph: bool,
) -> None:
    """Send ``grads`` back from ``roots``; gradients end in ``sink``.

    Nodes run once each, youngest first. With ``retain_graph`` false each node is released after it ran.
    """
    pending: dict[Node, list[Tensor | None]] = {}
    heap: list[tuple[int, Node]] = []

    def deliver(edge: Node | Tensor, number: int, grad: Tensor) -> None:
        if not isinstance(edge, Node):
            sink.leaf(edge, grad)
            return
        slots = pending.get(edge)
        if slots is None:
            slots = pending[edge] = [None] * max(1, len(edge.outputs))
            heapq.heappush(heap, (-edge.sequence, edge))
        before = slots[number]
        slots[number] = grad if before is None else before + grad

    for root, grad in zip(roots, grads, strict=True):
        deliver(root if root.grad_fn is None else root.grad_fn, root._number, grad)
    useful = None
    if sink.wanted is not None:
        useful = _useful([r.grad_fn for r in roots if r.grad_fn is not None], sink.wanted)

    casting, state.autocast = state.autocast, None  # gradients have the dtypes that the forward pass chose
    try:
        while heap:
            node = heapq.heappop(heap)[1]
            slots = pending.pop(node)
            for number, slot in enumerate(slots):
                if slot is None:
                    continue
                if node.hooks is not None:
                    slots[number] = slot = _run_hooks(node.hooks.get(number), slot)
                    sink.given.add(id(slot.array))  # a hook may have kept it
                sink.node(node, number, slot)
                if node.retained is not None and sink.wanted is None and number in node.retained:
                    _retain(node.retained[number](), slot, sink)
            if useful is not None and id(node) not in useful:
                continue
            if node.released:
                node.kept_tensors()  # raises: the graph has been freed
            _run_node(node, slots, deliver)
            if not retain_graph:
                node.release()
    finally:
        state.autocast = casting


def _retain(tensor: Tensor | None, grad: Tensor, sink: Sink) -> None:
    if tensor is None:
        return  # nobody holds the tensor any more
    if tensor.grad is None:
        tensor.grad = grad if sink.create_graph else sink._own(grad)
    else:
        tensor.grad = tensor.grad + grad


def _run_node(node: Node, slots: list[Tensor | None], deliver: Callable[[Node | Tensor, int, Tensor], None]) -> None:
    if len(slots) > 1:
        slots = [_zeros(node, i) if s is None else s for i, s in enumerate(slots)]
    results = node.backward(*slots)
    if not isinstance(results, tuple):
        results = (results,)
    edges, numbers = node.edges, node.numbers
    if len(results) != len(edges):
        raise GradError(
            f"{node.name}.backward returned {len(results)} gradient(s) for {len(edges)} input(s)",
            fix="return one gradient for each input of forward, None where there is none",
        )
    if state.anomaly:
        _check_finite(node, results)
    for edge, number, grad in zip(edges, numbers, results, strict=True):
        if edge is not None and grad is not None:
            deliver(edge, number, grad)


def _zeros(node: Node, number: int) -> Any:
    if node.outputs[number] is None or not getattr(node, "materialize", True):
        return None
    module, shape, dtype = node.outputs[number]
    from .tensor import Tensor

    return Tensor(module.zeros(shape, dtype))


def _check_finite(node: Node, grads: Iterable[Tensor | None]) -> None:
    for i, grad in enumerate(grads):
        if grad is not None and not bool(np.isfinite(np.asarray(grad.detach().cpu().array, np.float64)).all()):
            raise NumericError(
                f"{node.name} returned NaN or infinity as the gradient of its input {i}",
                why=f"recorded at {node.place or 'an operation outside anomaly mode'}",
                fix="look at this operation's input (log of 0, division by 0, sqrt at 0) or lower the learning rate",
            )


def check_grad_shape(root: Tensor, grad: Tensor) -> None:
    """A gradient handed in by the user must look like the tensor it belongs to."""
    if tuple(root.shape) != tuple(grad.shape):
        raise ShapeError(
            f"the gradient has shape {tuple(grad.shape)}, the tensor {tuple(root.shape)}",
            fix="pass a gradient of the tensor's own shape",
        )
