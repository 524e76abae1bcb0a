"""Functions whose results are differentiated later: the backward pass is recorded with the forward pass, and cut off from it.

A result of such a function carries one node. Its backward repeats the second half of the record from what the first half saved.
Contributions to a leaf are handed on one by one, in the order of the eager run, so sums have its bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import GradError
from ..graph import Node as GraphNode
from ..graph import Sink, run_backward, state
from ..tensor import Tensor
from .program import Key, Program, Ref, fills, leaves, reads
from .tracer import Tracer


class _Collected(Sink):
    """Takes down what reaches the leaves, in its order."""

    def __init__(self) -> None:
        super().__init__(None, False)
        self.reached: list[tuple[Tensor, Tensor]] = []

    def leaf(self, tensor: Tensor, grad: Tensor) -> None:
        self.reached.append((tensor, grad))


def live_results(result: Any) -> list[Tensor]:
    """The results, each once, behind which a graph lies that no backward pass has freed."""
    found = [t for t in leaves(_parts(result)) if isinstance(t, Tensor) and t.grad_fn is not None and not t.grad_fn.released]
    return list({id(t): t for t in found}.values())


def _parts(result: Any) -> Any:
    return vars(result) if hasattr(result, "__dataclass_fields__") else result


def record_backward(tracer: Tracer, result: Any, given: Sequence[Tensor]) -> None:
    """Run back from the results, with the tracer still recording."""
    outputs = live_results(result)
    _check(tracer, outputs, given)
    if not outputs or tracer.refused:
        return
    program = tracer.program
    tracer.late = True
    seeds = []
    for t in outputs:
        traced = tracer.seed(t.array)
        seeds.append(Tensor._made(traced, None, 0))
    sink, before = _Collected(), state.grad
    state.grad = False
    try:
        run_backward(outputs, seeds, sink, False)
    finally:
        state.grad = before
    numbers = {id(t): i for i, t in enumerate(given)}
    tracer.live = outputs
    program.outputs = [t.array.slot for t in outputs]
    program.contributions = []
    for tensor, grad in sink.reached:
        slot = tracer._reference(grad.array)
        program.contributions.append((numbers.get(id(tensor), tensor), slot.slot))
    tracer.late = False


def _check(tracer: Tracer, outputs: Sequence[Tensor], given: Sequence[Tensor]) -> None:
    """Refuse where the graph behind the results cannot be one node."""
    seen: set[int] = set()
    waiting: list[Any] = [t.grad_fn for t in outputs]
    inside = {id(t) for t in given}
    while waiting:
        thing = waiting.pop()
        if thing is None or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            if id(thing) not in inside and not tracer.is_outside(thing):
                tracer.refuse("a tensor that the function itself makes requires a gradient")
            if thing._hooks:
                tracer.refuse("a leaf has a hook on its gradient")
            continue
        if thing.released:
            tracer.refuse("a result carries a graph that backward has freed in part; return it detached")
        if thing.hooks or thing.retained:
            tracer.refuse("a hook looks at a gradient inside the function")
        waiting += thing.edges


def attach(tensors: list[Tensor], edges: list[Tensor], kept: list[Tensor], run: Callable[..., Any], saved: list[Any]) -> None:
    """Put one node behind all the results."""
    node = Replayed(run, saved, edges)
    node.connect(edges)
    node.keep(*kept)
    node.outputs = tuple((t._module, t.shape, t.dtype) for t in tensors)
    for number, t in enumerate(tensors):
        t.requires_grad, t.grad_fn, t._number = True, node, number


class Replayed(GraphNode):
    """The second half of a record."""

    name = "compiled"

    def __init__(self, run: Callable[..., Any], saved: list[Any], leaves_: list[Tensor]) -> None:
        self._run, self._saved, self._count = run, saved, len(leaves_)

    def backward(self, *grads: Tensor) -> Any:
        if state.grad:
            raise GradError(
                "the gradient of a compiled function cannot be differentiated again",
                why="its backward pass is a record without a graph",
                fix="call the function itself, without compile, where create_graph=True is needed",
            )
        self.kept_tensors()
        return tuple(Tensor._made(a, None, 0) for a in self._run([*self._saved, *[g.array for g in grads]]))

    def release(self) -> None:
        super().release()
        self._saved = []


def split(program: Program) -> tuple[Program, Program, list[Ref | Key]]:
    """The two halves, and what the first hands to the second."""
    first = [n for n in program.nodes if not n.late]
    second = [n for n in program.nodes if n.late]
    made = {s for n in second for s in fills(n)} | set(program.seeds)
    assert program.contributions is not None, "asked for only where there is a backward pass"
    wanted = [s for n in second for s in reads(n)] + [slot for _, slot in program.contributions]
    inside = ("node", "input")
    saved: list[Any] = [Ref(s) for s in dict.fromkeys(wanted) if s not in made and program.slots[s].source[0] in inside]
    drawn = {n.value for n in second if n.kind == "draw"}
    keys = dict.fromkeys(leaf for n in second for leaf in leaves((n.args, n.kwargs)) if isinstance(leaf, Key))
    saved += [k for k in keys if k.number not in drawn]
    return Program(program.slots, first), Program(program.slots, second), saved
