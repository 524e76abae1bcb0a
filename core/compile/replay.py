"""Running a program: one straight Python function is written for it, that calls its nodes in their order.

Arrays are let go of at their last use. What was looked at in the recorded run is looked at again, and where it differs the run
stops with ``Missed``, before anything outside has been written to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..tensor import Tensor
from .program import Key, Node, Packs, Program, Ref, fills, reads, same_value
from .tracer import Seen


class Missed(Exception):  # noqa: N818 - no mistake: the caller takes the other way
    """A value that the program goes by is another one than in the recorded run."""

    def __init__(self, node: Node, value: Any) -> None:
        super().__init__(node.label)
        self.node, self.value = node, value


class _Check:
    def __init__(self, node: Node, value: Any) -> None:
        self.node, self.value = node, value

    def __call__(self, now: Any) -> None:
        if not same_value(now, self.value):
            raise Missed(self.node, now)


def _set_grad(tensor: Tensor, array: Any) -> None:
    tensor.grad = None if array is None else Tensor._made(array, None, 0)


class _Writer:
    """The text of the function, and the things that its names stand for."""

    def __init__(self, program: Program, buffers: dict[int, Any]) -> None:
        self.program, self._buffers = program, buffers
        self.names: dict[str, Any] = {"set_grad": _set_grad}
        self.lines: list[str] = []
        self._known: dict[int, str] = {}
        self._loaded: set[int] = set()

    def constant(self, value: Any) -> str:
        if value is None or type(value) in (bool, int):
            return repr(value)
        name = self._known.get(id(value))
        if name is None:
            name = self._known[id(value)] = f"c{len(self._known)}"
            self.names[name] = value
        return name

    def expression(self, tree: Any) -> str:
        if isinstance(tree, Ref):
            return f"v{tree.slot}"
        if isinstance(tree, Key):
            return f"k{tree.number}"
        if isinstance(tree, Packs):
            return f"{self.constant(tree.tensor)}.packs()"
        if isinstance(tree, tuple):
            parts = ", ".join(self.expression(t) for t in tree)
            return f"{self.constant(type(tree))}({parts})" if hasattr(tree, "_fields") else f"({parts}{',' if tree else ''})"
        if isinstance(tree, list):
            return f"[{', '.join(self.expression(t) for t in tree)}]"
        if type(tree) is dict:
            return "{" + ", ".join(f"{self.constant(k)}: {self.expression(v)}" for k, v in tree.items()) + "}"
        if isinstance(tree, slice):
            return f"slice({', '.join(self.expression(t) for t in (tree.start, tree.stop, tree.step))})"
        return self.constant(tree)

    def _call(self, node: Node) -> str:
        args = [self.expression(a) for a in node.args] + [f"{k}={self.expression(v)}" for k, v in node.kwargs.items()]
        if isinstance(node.outputs, Ref) and node.outputs.slot in self._buffers:
            args.append(f"out={self.constant(self._buffers[node.outputs.slot])}")
        return f"{self.constant(node.function)}({', '.join(args)})"

    def _target(self, outputs: Any, checks: list[tuple[str, Any]]) -> str:
        if isinstance(outputs, Ref):
            return f"v{outputs.slot}"
        if isinstance(outputs, Seen):
            checks.append((f"s{len(checks)}", outputs.value))
            return checks[-1][0]
        if isinstance(outputs, (tuple, list)) and outputs:
            return "(" + ", ".join(self._target(o, checks) for o in outputs) + ",)"
        return "_"

    def node(self, node: Node) -> None:
        for slot in reads(node):
            self._load(slot)
        if node.kind == "guard":
            self.lines.append(f"{self.constant(_Check(node, node.value))}({self._call(node)})")
        elif node.kind == "grad":
            self.lines.append(f"set_grad({', '.join(self.expression(a) for a in node.args)})")
        elif node.kind == "draw":
            self.lines.append(f"k{node.value} = {self._call(node)}")
        elif node.kind == "whole":
            args, kwargs = self.constant(node.args), self.constant(node.kwargs)
            call = f"{self.constant(node.function)}(*{args}, **{kwargs})"
            self.lines.append(call if node.outputs is None else f"v{node.outputs.slot} = {call}.array")
        else:
            checks: list[tuple[str, Any]] = []
            self.lines.append(f"{self._target(node.outputs, checks)} = {self._call(node)}")
            self.lines += [f"{self.constant(_Check(node, value))}({name})" for name, value in checks]
        self._loaded.update(fills(node))

    def _load(self, number: int) -> None:
        slot = self.program.slots[number]
        if number in self._loaded or slot.source[0] in ("node", "input", "seed"):
            return
        kind, thing = slot.source
        self.lines.append(f"v{number} = {self.constant(thing)}{'.array' if kind == 'held' else ''}")
        self._loaded.add(number)

    def function(
        self, inputs: Sequence[Ref | Key], results: Sequence[Ref | Key], gone: dict[int, list[int]]
    ) -> Callable[..., Any]:
        if inputs:
            self.lines.append(f"{', '.join(self.expression(i) for i in inputs)}, = inputs")
            self._loaded.update(i.slot for i in inputs if isinstance(i, Ref))
        for number, node in enumerate(self.program.nodes):
            self.node(node)
            if names := [f"v{s}" for s in gone.get(number, ())]:
                self.lines.append(f"del {', '.join(names)}")
        for result in results:
            if isinstance(result, Ref):
                self._load(result.slot)
        self.lines.append(f"return [{', '.join(self.expression(r) for r in results)}]")
        text = "def run(inputs):\n    " + "\n    ".join(self.lines) + "\n"
        exec(compile(text, "<nyala.compile>", "exec"), self.names)
        return self.names["run"]  # type: ignore[no-any-return]


def last_uses(program: Program, results: list[int]) -> dict[int, list[int]]:
    """Node number -> the slots that nobody needs after it."""
    last: dict[int, int] = {}
    for number, node in enumerate(program.nodes):
        for slot in (*reads(node), *fills(node)):
            last[slot] = number
    forgotten: dict[int, list[int]] = {}
    for slot, number in last.items():
        if slot not in results:
            forgotten.setdefault(number, []).append(slot)
    return forgotten


def runnable(
    program: Program, inputs: Sequence[Ref | Key], results: Sequence[Ref | Key], buffers: dict[int, Any]
) -> Callable[..., Any]:
    """A function from a list of the inputs to a list of the results; ``buffers`` are where chains write, by slot."""
    kept = [r.slot for r in results if isinstance(r, Ref)]
    return _Writer(program, buffers).function(inputs, results, last_uses(program, kept))
