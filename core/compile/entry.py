"""One signature's record: how far it is, what it is guarded by, and the function that repeats it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..random import ambient_state, set_ambient_state
from ..tensor import Tensor
from .array import TracedArray
from .backward import attach, split
from .fusing import fuse
from .memory import Plan, plan
from .order import look_first, looks
from .passes import difference, fold, prune, settle
from .program import Node, Program, Ref, leaves, reads
from .replay import Missed, runnable
from .tracer import Seen, Tracer

_TRACES = 4


class Entry:
    """What is known of calls of one signature.

    Attributes:
        run: from input arrays to result arrays; None until two records agree.
        reason: why it runs eagerly, for good; empty otherwise.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.run: Callable[..., Any] | None = None
        self.program: Program | None = None
        self.reason = ""
        self.last_difference = ""
        self.traces = self.misses = self.runs = 0
        self.recorded = self.folded = self.pruned = self.fused = self.held = 0
        self.memory: list[Plan] = []
        self._before: Program | None = None
        self._held: list[tuple[Tensor, Any]] = []
        self._written: list[Tensor] = []
        self._result: Any = None
        self._parts: list[Program] = []
        self._back: Callable[..., Any] | None = None
        self._kept: list[Tensor] = []
        self._edges: list[Any] = []
        self._outputs: list[int] = []

    def nodes(self) -> list[Node]:
        """The steps of a run, those of the backward pass last."""
        return [n for part in self._parts for n in part.nodes]

    def forget(self) -> None:
        """Start again."""
        self.run = self.program = self._before = self._back = None
        self.memory, self.fused = [], 0
        self.traces = self.misses = 0

    def give_up(self, reason: str) -> None:
        """Run eagerly from now on."""
        self.forget()
        self.reason = reason

    # ---- recording

    def take(self, tracer: Tracer, result: Any, inputs: int) -> None:
        """Look at a record: is it the same as the one before?"""
        program = tracer.program
        self.traces += 1
        program.result = result
        if tracer.refused:
            self.give_up(tracer.refused + (f" (at {tracer.refused_at})" if tracer.refused_at else ""))
            return
        if len(program.inputs) != inputs:
            self.give_up("one tensor is given twice")
            return
        before, self._before = self._before, program
        if before is None:
            return
        self.last_difference = difference(before, program) or _other_result(before.result, program.result)
        if not self.last_difference:
            settle(before, program)
            self._make(program)
        elif self.traces >= _TRACES:
            self.give_up(f"two calls never made the same steps: {self.last_difference}")

    def _make(self, program: Program) -> None:
        self._before = None
        results = [leaf for leaf in _flat(program.result) if isinstance(leaf, Ref)]
        grads = [Ref(slot) for _, slot in program.contributions or ()]
        self.recorded = len(program.nodes)
        self.folded = fold(program)
        self.pruned = prune(program, [r.slot for r in (*results, *grads)])
        first, second, saved = split(program) if grads else (program, Program(program.slots), [])
        problem = look_first(first) or ("the backward pass looks at a value" if any(map(looks, second.nodes)) else "")
        if problem:
            self.give_up(problem)
            return
        self._parts = [first, second]
        inputs: list[Any] = [Ref(s) for s in program.inputs]
        self.run = self._runnable(first, inputs, [*results, *saved])
        self._back = self._runnable(second, [*saved, *[Ref(s) for s in program.seeds]], grads) if grads else None
        self._guard(program, results)
        self.program = program

    def _runnable(self, program: Program, inputs: list[Any], results: list[Any]) -> Callable[..., Any]:
        kept = [r.slot for r in results if isinstance(r, Ref)]
        self.fused += fuse(program, kept)
        found = plan(program, kept)
        self.memory.append(found)
        return runnable(program, inputs, results, found.arrays)

    def _guard(self, program: Program, results: list[Ref]) -> None:
        nodes = [n for part in self._parts for n in part.nodes]
        used = {slot for node in nodes for slot in reads(node)}.union(r.slot for r in results)
        held = [s.source[1] for s in program.slots if s.source[0] == "held" and s.number in used]
        self._held = [(t, t.array) for t in held]
        self.held = len(held)
        roots = {r for node in nodes for r in node.writes}
        self._written = [s.source[1] for s in program.slots if s.source[0] == "held" and s.root in roots]
        late = {slot for node in self._parts[1].nodes for slot in reads(node)}
        self._kept = [s.source[1] for s in program.slots if s.source[0] == "held" and s.number in late]
        self._edges = [t for t, _ in program.contributions or ()]
        slots = [r.slot for r in results]
        self._outputs = [slots.index(s) for s in program.outputs] if self._back else []
        self._result = program.result

    # ---- repeating

    def broken(self) -> str:
        """Which guard on tensors from outside does not hold any more."""
        for tensor, array in self._held:
            if tensor.array is not array:
                return f"a tensor of shape {tensor.shape} that it uses has another array (it was replaced, loaded or moved)"
        return ""

    def repeat(self, tensors: list[Tensor]) -> Any:
        """The call, from the record."""
        assert self.run is not None, "asked for only where there is a record"
        stood = ambient_state()
        try:
            arrays = self.run([t.array for t in tensors])
        except Missed:
            set_ambient_state(stood)  # the eager run draws the same numbers
            raise
        self.runs += 1
        for t in self._written:
            t._bump()
        made: list[Tensor] = []
        result = _rebuilt(self._result, iter(arrays), made)
        if self._back is not None:
            edges = [tensors[e] if isinstance(e, int) else e for e in self._edges]
            attach([made[i] for i in self._outputs], edges, self._kept, self._back, arrays[len(made) :])
        return result


def first_call(tracer: Tracer, given: list[Tensor]) -> None:
    """The results of a recorded call get the recorded backward pass, with what this very call has computed."""
    program = tracer.program
    if program.contributions is None:
        return
    _, second, saved = split(program)
    values = [tracer.values[s.slot] if isinstance(s, Ref) else tracer.words(s.number) for s in saved]
    grads = [Ref(slot) for _, slot in program.contributions]
    run = runnable(second, [*saved, *[Ref(s) for s in program.seeds]], grads, {})
    edges = [given[t] if isinstance(t, int) else t for t, _ in program.contributions]
    attach(tracer.live, edges, [], run, values)


def describe(result: Any, tracer: Tracer) -> Any:
    """What a call returns, with slots in place of arrays."""
    if isinstance(result, Tensor):
        array = result.array
        if type(array) is TracedArray and array.slot >= 0:
            return Ref(array.slot)
        slot = tracer._slot_of(array)
        if slot is not None:
            return Ref(slot)
        tracer.refuse("a result was not made by the recorded steps")
        return None
    if isinstance(result, (tuple, list)):
        parts = [describe(r, tracer) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if isinstance(result, dict):
        return {k: describe(v, tracer) for k, v in result.items()}
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return _Object(type(result), {f.name: describe(getattr(result, f.name), tracer) for f in dataclasses.fields(result)})
    if isinstance(result, np.ndarray):
        tracer.refuse("the result holds a NumPy array; return a tensor")
    return Seen(result)


class _Object(dict):  # type: ignore[type-arg]
    """A dataclass among the results."""

    def __init__(self, kind: type, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.kind = kind


def _rebuilt(tree: Any, arrays: Any, made: list[Tensor]) -> Any:
    if isinstance(tree, Ref):
        made.append(Tensor._made(next(arrays), None, 0))
        return made[-1]
    if isinstance(tree, Seen):
        return tree.value
    if isinstance(tree, _Object):
        return tree.kind(**{k: _rebuilt(v, arrays, made) for k, v in tree.items()})
    if isinstance(tree, dict):
        return {k: _rebuilt(v, arrays, made) for k, v in tree.items()}
    parts = [_rebuilt(t, arrays, made) for t in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def _other_result(a: Any, b: Any) -> str:
    from .passes import _same_leaf

    one, two = list(_flat(a)), list(_flat(b))
    same = len(one) == len(two) and all(_same_leaf(x, y) for x, y in zip(one, two, strict=True))
    return "" if same else "the results are of another kind"


def _flat(tree: Any) -> Any:
    if isinstance(tree, dict):
        for v in tree.values():
            yield from _flat(v)
    else:
        yield from leaves(tree)
