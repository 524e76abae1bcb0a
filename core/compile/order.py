"""Looking before leaping: what the program looks at is moved in front of what it writes to outside.

A run that finds another value than the recorded one stops and the call is made eagerly instead. That is possible only as long as
nothing outside has changed: neither weights nor running statistics nor gradients.
"""

from __future__ import annotations

from .program import Key, Node, Program, fills, leaves, reads
from .tracer import Seen


def looks(node: Node) -> bool:
    """Whether the run may stop at this node."""
    return node.kind == "guard" or any(isinstance(leaf, Seen) for leaf in leaves(node.outputs))


def commits(program: Program, node: Node) -> bool:
    """Whether the node changes something outside."""
    return node.kind in ("whole", "grad") or any(program.slots[r].source[0] != "node" for r in node.writes)


def look_first(program: Program) -> str:
    """Move looks, and what they need, in front of the first change outside; why that cannot be done, or nothing."""
    nodes = program.nodes
    first = next((i for i, n in enumerate(nodes) if commits(program, n)), len(nodes))
    late = [i for i in range(first, len(nodes)) if looks(nodes[i])]
    if not late:
        return ""
    early = _needed(program, late)
    for i in sorted(early):
        if problem := _obstacle(program, i, early):
            place = nodes[late[0]].place
            return f"it looks at a value{f' (at {place})' if place else ''} that {problem}, and could not be taken back then"
    program.nodes = [nodes[i] for i in sorted(early)] + [n for i, n in enumerate(nodes) if i not in early]
    return ""


def _roots(program: Program, slots: list[int]) -> set[int]:
    return {program.slots[s].root for s in slots}


def _needed(program: Program, wanted: list[int]) -> set[int]:
    """The nodes by number that the wanted ones need, themselves included; random keys keep their order."""
    needed: set[int] = set()
    roots: set[int] = set()
    keys = False
    for i in range(max(wanted), -1, -1):
        node = program.nodes[i]
        made = _roots(program, fills(node)) | node.writes
        if i in wanted or made & roots or (keys and node.kind == "draw"):
            needed.add(i)
            roots |= _roots(program, reads(node))
            keys = keys or node.kind == "draw" or _uses_key(node)
    return needed


def _uses_key(node: Node) -> bool:
    return any(isinstance(leaf, Key) for leaf in leaves((node.args, node.kwargs)))


def _obstacle(program: Program, number: int, early: set[int]) -> str:
    node = program.nodes[number]
    if commits(program, node):
        return f"depends on what {node.label} changes outside"
    touched, read = _roots(program, fills(node)) | node.writes, _roots(program, reads(node))
    for i in range(number):
        other = program.nodes[i]
        if i in early:
            continue
        if other.writes & (read | touched) or _roots(program, reads(other)) & node.writes:
            return f"{other.label} writes to before"
    return ""
