"""What a recording consists of: slots that hold arrays, and nodes that fill them, in the order in which they ran.

A ``Ref`` stands for the array in a slot, wherever it occurs among a node's arguments. Everything else there is constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ref:
    """The array in a slot."""

    slot: int


@dataclass(frozen=True)
class Key:
    """The two words of a random key that is drawn anew in each run."""

    number: int


@dataclass(frozen=True)
class Packs:
    """What kernels made of the weight ``tensor`` (``Tensor.packs``), as it is when the program runs."""

    tensor: Any

    def __repr__(self) -> str:
        return f"packs of {self.tensor.shape}"


@dataclass
class Slot:
    """Where an array stands.

    Attributes:
        shape, dtype, strides: of the array when it was recorded.
        source: ("node", number), ("input", number), ("held", tensor), ("grad", tensor) or ("constant", array).
        root: the slot whose memory it shares, or its own number.
    """

    number: int
    shape: tuple[int, ...]
    dtype: Any
    strides: tuple[int, ...]
    source: tuple[str, Any]
    root: int
    nbytes: int


@dataclass
class Node:
    """One recorded call.

    Attributes:
        kind: "call", "guard" (the value must be as recorded), "grad" (a tensor gets its gradient), "whole" (Python code
            with a state, run as it is), "draw" (a random key) or "fused".
        outputs: slots in the shape of the result: a Ref, a tuple or list of such, or None.
        writes: roots whose memory it writes to.
    """

    kind: str
    label: str
    function: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    outputs: Any = None
    writes: frozenset[int] = frozenset()
    value: Any = None
    place: str = ""
    late: bool = False  # of the backward pass


@dataclass
class Program:
    """A recording: nodes over slots, and what goes in and comes out."""

    slots: list[Slot] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    result: Any = None
    outputs: list[int] = field(default_factory=list)  # results that carry a graph
    seeds: list[int] = field(default_factory=list)  # their gradients
    contributions: list[tuple[Any, int]] | None = (
        None  # a tensor from outside or an argument's number, and a part of its gradient
    )


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """The tree of tuples, lists and dicts with its leaves changed; named tuples stay what they are."""
    if isinstance(tree, tuple):
        parts = [mapped(t, change) for t in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [mapped(t, change) for t in tree]
    if type(tree) is dict:
        return {k: mapped(v, change) for k, v in tree.items()}
    if isinstance(tree, slice):
        return slice(*(mapped(t, change) for t in (tree.start, tree.stop, tree.step)))
    return change(tree)


def mapped_result(result: Any, change: Callable[[Any], Any]) -> Any:
    """``mapped``, with dataclasses taken apart too: what models return."""

    def part(leaf: Any) -> Any:
        if not is_dataclass(leaf) or isinstance(leaf, type):
            return change(leaf)
        return replace(leaf, **{f.name: mapped_result(getattr(leaf, f.name), change) for f in fields(leaf)})

    return mapped(result, part)


def leaves(tree: Any) -> Iterator[Any]:
    """Everything in the tree that is no tuple, list, dict or slice."""
    if isinstance(tree, (tuple, list)):
        for t in tree:
            yield from leaves(t)
    elif type(tree) is dict:
        for t in tree.values():
            yield from leaves(t)
    elif isinstance(tree, slice):
        yield from (tree.start, tree.stop, tree.step)
    else:
        yield tree


def reads(node: Node) -> list[int]:
    """The slots that a node reads."""
    return [leaf.slot for leaf in leaves((node.args, node.kwargs)) if isinstance(leaf, Ref)]


def fills(node: Node) -> list[int]:
    """The slots that a node fills."""
    return [leaf.slot for leaf in leaves(node.outputs) if isinstance(leaf, Ref)]


def same_value(a: Any, b: Any) -> bool:
    """Whether two constants are equal, bit for bit where they are numbers or arrays."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same_value, a, b))
    if is_dataclass(a):
        return all(same_value(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return bool(a == b)
