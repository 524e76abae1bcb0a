"""One signature's record: how far it is, what it is guarded by, and the function that repeats it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..random import ambient_state, set_ambient_state
from ..tensor import Tensor
from .array import TracedArray
from .fusing import fuse
from .order import look_first
from .memory import Plan, plan
from .passes import difference, fold, prune, settle
from .program import Program, Ref, leaves, reads
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
        self.memory: Plan | None = None
        self._before: Program | None = None
        self._held: list[tuple[Tensor, Any]] = []
        self._written: list[Tensor] = []
        self._result: Any = None

    def forget(self) -> None:
        """Start again."""
        self.run = self.program = self._before = None
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
        results = [leaf.slot for leaf in _flat(program.result) if isinstance(leaf, Ref)]
        self.recorded = len(program.nodes)
        self.folded = fold(program)
        self.pruned = prune(program, results)
        if problem := look_first(program):
            self.give_up(problem)
            return
        self.fused = fuse(program, results)
        used = {slot for node in program.nodes for slot in reads(node)}.union(results)
        held = [s.source[1] for s in program.slots if s.source[0] == "held" and s.number in used]
        self._held = [(t, t.array) for t in held]
        roots = {r for node in program.nodes for r in node.writes}
        self.held = len(held)
        self.memory = plan(program, results)
        self._written = [s.source[1] for s in program.slots if s.source[0] == "held" and s.root in roots]
        self._result = program.result
        self.program = program
        self.run = runnable(program, results, self.memory.arrays)

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
            arrays = iter(self.run([t.array for t in tensors]))
        except Missed:
            set_ambient_state(stood)  # the eager run draws the same numbers
            raise
        self.runs += 1
        for t in self._written:
            t._bump()
        return _rebuilt(self._result, arrays)


def describe(result: Any, tracer: Tracer) -> Any:
    """What a call returns, with slots in place of arrays."""
    if isinstance(result, Tensor):
        array = result.array
        if result.grad_fn is not None and not result.grad_fn.released:
            tracer.refuse("a result carries a graph that backward has not run through")
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


def _rebuilt(tree: Any, arrays: Any) -> Any:
    if isinstance(tree, Ref):
        return Tensor._made(next(arrays), None, 0)
    if isinstance(tree, Seen):
        return tree.value
    if isinstance(tree, _Object):
        return tree.kind(**{k: _rebuilt(v, arrays) for k, v in tree.items()})
    if isinstance(tree, dict):
        return {k: _rebuilt(v, arrays) for k, v in tree.items()}
    parts = [_rebuilt(t, arrays) for t in tree]
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
