"""Which element-wise calls of a program become one: the pass that makes ``chains`` of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .chains import Chain, Step, joins, known
from .program import Node, Program, Ref, Slot, fills, leaves, reads

_FLOAT32 = np.dtype(np.float32)
_SMALLEST = 1 << 12  # elements below which NumPy's own calls are as quick
_NARROW = 16  # numbers in a row below which a loop over rows is slow
_MOST_INPUTS, _MOST_STEPS = 6, 24  # more arrays than that and the compiler gives up its vectors


def memory_order(slot: Slot) -> tuple[int, ...] | None:
    """The array's dimensions from the outermost in memory; None where there are gaps or repeats."""
    wide = [i for i, n in enumerate(slot.shape) if n > 1]
    wide.sort(key=lambda i: -slot.strides[i])
    step = slot.dtype.itemsize
    for i in reversed(wide):
        if slot.strides[i] != step:
            return None
        step *= slot.shape[i]
    if wide == sorted(wide):
        return tuple(range(len(slot.shape)))
    return (*[i for i, n in enumerate(slot.shape) if n == 1], *wide)


def operation(program: Program, node: Node) -> str:
    """The name under which a chain knows the call; empty where it does not."""
    if node.kind != "call" or node.writes or node.kwargs or not isinstance(node.outputs, Ref):
        return ""
    name = node.label
    if name in ("gelu", "gelu_backward"):
        name = f"{name} {node.args[-1]}"
    if name == "power_number" and node.args[1] == 2:
        name = "square"
    if not known(name):
        return ""
    slots = [program.slots[s] for s in reads(node)] + [program.slots[node.outputs.slot]]
    if any(s.dtype != _FLOAT32 for s in slots) or any(isinstance(a, (np.ndarray, tuple)) for a in node.args):
        return ""
    return name if math.prod(slots[-1].shape) >= _SMALLEST and memory_order(slots[-1]) is not None else ""


def fuse(program: Program, results: list[int]) -> int:
    """Put chains in place of element-wise calls that feed each other; the number of calls that were saved."""
    names = {i: n for i, node in enumerate(program.nodes) if (n := operation(program, node))}
    made_by = {fills(program.nodes[i])[0]: i for i in names}
    uses: dict[int, set[int]] = {}
    for i, node in enumerate(program.nodes):
        for slot in reads(node):
            uses.setdefault(slot, set()).add(i)
    groups: dict[int, list[int]] = {}
    for i in names:
        groups[i] = [i]
        for slot in dict.fromkeys(reads(program.nodes[i])):
            before = made_by.get(slot)
            if before is None or before not in groups or uses[slot] != {i} or slot in results:
                continue
            joined = sorted({*groups[before], *groups[i]})
            fits = joins(names[before], names[i]) and _same_place(program, before, i) and _stays(program, groups[before], i)
            if fits and _cut(program, joined) is not None:
                groups[i] = joined
                del groups[before]
    chosen = {i: g for i, g in groups.items() if len(g) > 1}
    gone = {n for g in chosen.values() for n in g}
    nodes = []
    for i, node in enumerate(program.nodes):
        if i in chosen:
            nodes.append(_fused(program, chosen[i], names))
        elif i not in gone:
            nodes.append(node)
    saved = len(program.nodes) - len(nodes)
    program.nodes = nodes
    return saved


def _same_place(program: Program, first: int, second: int) -> bool:
    a, b = (program.slots[fills(program.nodes[i])[0]] for i in (first, second))
    return a.shape == b.shape and memory_order(a) == memory_order(b)


def _stays(program: Program, numbers: list[int], until: int) -> bool:
    """Whether what the calls read is still the same at a later call."""
    roots = {program.slots[s].root for n in numbers for s in reads(program.nodes[n])}
    later = program.nodes[numbers[0] : until]
    return not any(node.writes & roots or node.kind == "whole" for node in later)


def _outer_inputs(program: Program, numbers: list[int]) -> list[int]:
    inside = {s for n in numbers for s in fills(program.nodes[n])}
    return list(dict.fromkeys(s for n in numbers for s in reads(program.nodes[n]) if s not in inside))


def _cut(program: Program, numbers: list[int]) -> tuple[tuple[str, ...], int, int] | None:
    """The kinds of the inputs, and rows and width; None where one kernel cannot read them all."""
    inputs = _outer_inputs(program, numbers)
    if len(inputs) > _MOST_INPUTS or len(numbers) > _MOST_STEPS:
        return None
    out = program.slots[fills(program.nodes[numbers[-1]])[0]]
    order = memory_order(out)
    assert order is not None, "operation() asked"
    found = [_kind(program.slots[s], out, order) for s in inputs]
    widths = {width for kind, width in (f for f in found if f is not None) if kind in ("row", "column")}
    if any(f is None for f in found) or len(widths) > 1:
        return None
    size = math.prod(out.shape)
    width = widths.pop() if widths else size
    return tuple(f[0] for f in found if f is not None), size // width, width


def _kind(slot: Slot, out: Slot, order: tuple[int, ...]) -> tuple[str, int] | None:
    """How an input lies against the result, and the width of a row; None where it repeats in another way."""
    if math.prod(slot.shape) == 1:
        return "one", 0
    if slot.shape == out.shape:
        return ("full", 0) if memory_order(slot) == order else None
    if order != tuple(range(len(out.shape))) or memory_order(slot) != tuple(range(len(slot.shape))):
        return None
    shape = (1,) * (len(out.shape) - len(slot.shape)) + slot.shape
    wide = [i for i, n in enumerate(shape) if n > 1]
    first, last = wide[0], wide[-1] + 1
    if shape[first:last] != out.shape[first:last]:
        return None
    if math.prod(out.shape[last:]) == 1:
        return ("row", math.prod(out.shape[first:])) if math.prod(out.shape[first:]) >= _NARROW else None
    fits = math.prod(out.shape[:first]) == 1 and math.prod(out.shape[last:]) >= _NARROW
    return ("column", math.prod(out.shape[last:])) if fits else None


def _fused(program: Program, numbers: list[int], names: dict[int, str]) -> Node:
    nodes = [program.nodes[n] for n in numbers]
    inputs = _outer_inputs(program, numbers)
    place = {s: -1 - i for i, s in enumerate(inputs)}
    steps = []
    for k, (number, node) in enumerate(zip(numbers, nodes, strict=True)):
        operands = tuple(place[s] for s in reads(node))
        parameters = [] if names[number] == "square" else [a for a in leaves(node.args) if isinstance(a, (int, float))]
        steps.append(Step(names[number], operands, tuple(parameters)))
        place[fills(node)[0]] = k
    cut = _cut(program, numbers)
    out = program.slots[fills(nodes[-1])[0]]
    order = memory_order(out)
    assert cut is not None and order is not None, "fuse() asked"
    chain: Any = Chain(steps, cut[0], out.shape, order, *cut[1:])
    return Node("fused", chain.__name__, chain, tuple(Ref(s) for s in inputs), outputs=Ref(out.number))
