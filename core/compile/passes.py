"""What is done to a program before it runs: two recordings become one, constants are computed once, unused calls go."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from .program import Key, Node, Packs, Program, Ref, fills, leaves, reads, same_value
from .tracer import Seen


def difference(first: Program, second: Program) -> str:
    """Where two recordings of one function differ, in words; empty where they are the same."""
    for number, (a, b) in enumerate(zip(first.nodes, second.nodes, strict=False)):
        if a.kind != b.kind or a.label != b.label or a.function != b.function:
            return f"step {number} is {b.label} where it was {a.label}"
        if found := _other_arguments(a, b):
            return f"step {number} ({a.label}): {found}"
    if [s for _, s in first.contributions or ()] != [s for _, s in second.contributions or ()]:
        return "gradients go to other tensors"
    if len(first.nodes) != len(second.nodes):
        return f"it made {len(second.nodes)} steps, after {len(first.nodes)} before"
    for one, two in zip(first.slots, second.slots, strict=True):
        if one.shape != two.shape or one.dtype != two.dtype or one.strides != two.strides:
            return f"an array is {two.dtype}{list(two.shape)}, it was {one.dtype}{list(one.shape)} or lay otherwise in memory"
        if not _same_source(one.source, two.source):
            users = ", ".join(sorted({n.label for n in second.nodes if two.number in reads(n)}))
            return f"an array of shape {one.shape} ({users}) comes from outside the record, with other values in each call"
    return ""


def _other_arguments(a: Node, b: Node) -> str:
    one, two = list(leaves((a.args, a.kwargs, a.outputs))), list(leaves((b.args, b.kwargs, b.outputs)))
    if len(one) != len(two):
        return "it has another number of arguments"
    for x, y in zip(one, two, strict=True):
        if not _same_leaf(x, y):
            return f"{_short(x)} became {_short(y)}"
    if a.kind == "guard" and not same_value(a.value, b.value):
        return f"the program looked at {_short(a.value)}, then at {_short(b.value)} (at {a.place})"
    return ""


def _same_leaf(x: Any, y: Any) -> bool:
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return x is y
    if isinstance(x, Packs) and isinstance(y, Packs):
        return x.tensor is y.tensor
    if isinstance(x, Seen) and isinstance(y, Seen):
        return same_value(x.value, y.value)
    return same_value(x, y)


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) < 60 else f"{type(x).__name__} {text[:50]}..."


def _same_source(a: tuple[str, Any], b: tuple[str, Any]) -> bool:
    if a[0] == b[0] == "held":
        return a[1] is b[1] or same_value(_plain(a[1]), _plain(b[1]))
    if a[0] == b[0] == "constant":
        return a[1] is b[1] or same_value(a[1], b[1])
    return a == b


def _plain(tensor: Tensor) -> Any:
    return np.asarray(tensor.array)


def settle(first: Program, second: Program) -> None:
    """Arrays of tensors that are made anew in each call, with the same values, are constants."""
    for a, b in zip(first.slots, second.slots, strict=True):
        if a.source[0] == "held" and a.source[1] is not b.source[1]:
            b.source = ("constant", b.source[1].array)


def fold(program: Program) -> int:
    """Compute now what depends on nothing that changes; the number of calls saved."""
    written = {root for node in program.nodes for root in node.writes}
    known: dict[int, Any] = {}
    kept: list[Node] = []
    for node in program.nodes:
        if _foldable(program, node, known, written):
            value = node.function(*_filled(node.args, known), **_filled(node.kwargs, known))
            if isinstance(value, np.ndarray):
                slot = fills(node)[0]
                known[slot] = value
                program.slots[slot].source = ("constant", value)
                continue
        kept.append(node)
    saved = len(program.nodes) - len(kept)
    program.nodes = kept
    return saved


def _foldable(program: Program, node: Node, known: dict[int, Any], written: set[int]) -> bool:
    if node.kind != "call" or node.writes or not isinstance(node.outputs, Ref):
        return False
    if program.slots[node.outputs.slot].root in written:
        return False
    changing = any(isinstance(leaf, (Key, Packs, Tensor)) for leaf in leaves((node.args, node.kwargs)))
    return not changing and all(s in known for s in reads(node))


def _filled(tree: Any, known: dict[int, Any]) -> Any:
    from .program import mapped

    return mapped(tree, lambda leaf: known[leaf.slot] if isinstance(leaf, Ref) else leaf)


def prune(program: Program, results: list[int]) -> int:
    """Leave out calls whose results nobody uses and that write to nothing; the number of calls left out."""
    needed = set(results)
    roots = {program.slots[s].root for s in needed}
    kept: list[Node] = []
    for node in reversed(program.nodes):
        outputs = fills(node)
        used = any(s in needed for s in outputs) or node.kind in ("guard", "grad", "whole", "draw")
        used = used or bool(node.writes) or any(isinstance(leaf, Seen) for leaf in leaves(node.outputs))
        if used:
            needed.update(reads(node))
            roots.update(program.slots[s].root for s in reads(node))
            kept.append(node)
    left = len(program.nodes) - len(kept)
    program.nodes = kept[::-1]
    return left
