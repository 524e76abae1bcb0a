"""The memory plan: how long each array lives, how much is held at most, and which arrays of chains share a buffer.

An array lives from the call that makes it to the last one that reads it or a view of it. Chains write where they are told to, so
those whose arrays never live at the same time get one buffer, kept from run to run. What leaves the program (results, gradients)
never lies in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .program import Program, fills, reads


@dataclass
class Plan:
    """What was found.

    Attributes:
        total: bytes of all arrays that a run makes.
        peak: bytes that are held at most when arrays are given back at their last use.
        buffers: bytes of the buffers that chains share.
        shared: the slots in buffers, each with its buffer.
        arrays: the buffers' arrays by slot.
    """

    total: int = 0
    peak: int = 0
    buffers: list[int] = field(default_factory=list)
    shared: dict[int, int] = field(default_factory=dict)
    arrays: dict[int, Any] = field(default_factory=dict)


def lifetimes(program: Program, results: list[int]) -> dict[int, tuple[int, int]]:
    """Root slot -> the first and last call by number between which its memory is needed; results live on for ever."""
    spans: dict[int, tuple[int, int]] = {}
    end = len(program.nodes)
    for number, node in enumerate(program.nodes):
        for slot in fills(node):
            root = program.slots[slot].root
            if program.slots[root].source[0] == "node":
                spans.setdefault(root, (number, number))
        for slot in (*reads(node), *fills(node)):
            root = program.slots[slot].root
            if root in spans:
                spans[root] = spans[root][0], end if node.kind in ("grad", "whole") else max(spans[root][1], number)
    for slot in results:
        root = program.slots[slot].root
        if root in spans:
            spans[root] = spans[root][0], end
    return spans


def plan(program: Program, results: list[int]) -> Plan:
    """The plan of a program; buffers are made."""
    spans = lifetimes(program, results)
    found = Plan()
    found.total = sum(program.slots[root].nbytes for root in spans)
    change = [0] * (len(program.nodes) + 2)
    for root, (first, last) in spans.items():
        change[first] += program.slots[root].nbytes
        change[last + 1] -= program.slots[root].nbytes
    held = 0
    for step in change:
        held += step
        found.peak = max(found.peak, held)
    _share(program, spans, found)
    return found


def _share(program: Program, spans: dict[int, tuple[int, int]], found: Plan) -> None:
    """Best fit: the smallest free buffer that is large enough, else the largest free one grows, else a new one."""
    end = len(program.nodes)
    free_from: list[int] = []
    for number, node in enumerate(program.nodes):
        if node.kind != "fused":
            continue
        slot = program.slots[fills(node)[0]]
        if slot.root != slot.number or spans[slot.root][1] == end:
            continue
        free = [b for b, when in enumerate(free_from) if when < number]
        large = [b for b in free if found.buffers[b] >= slot.nbytes]
        if large:
            best = min(large, key=lambda b: found.buffers[b])
        elif free:
            best = max(free, key=lambda b: found.buffers[b])
            found.buffers[best] = slot.nbytes
        else:
            best = len(found.buffers)
            found.buffers.append(slot.nbytes)
            free_from.append(0)
        free_from[best] = spans[slot.root][1]
        found.shared[slot.number] = best
    memory = [np.empty(n, np.uint8) for n in found.buffers]
    for number, buffer in found.shared.items():
        chain = next(n.function for n in program.nodes if n.kind == "fused" and number in fills(n))
        whole = memory[buffer][: program.slots[number].nbytes].view(np.float32)
        found.arrays[number] = whole.reshape(chain.in_memory)


def in_words(size: int) -> str:
    """Bytes for people.

    Example:
        >>> in_words(3 << 20)
        '3.0 MB'
    """
    for unit in ("B", "kB", "MB"):
        if size < 1024:
            return f"{size} B" if unit == "B" else f"{size:.1f} {unit}"
        size = size / 1024  # type: ignore[assignment]  # the last ones are shown with a digit
    return f"{size:.1f} GB"
