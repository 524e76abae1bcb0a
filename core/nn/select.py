"""Choosing parameters and modules by the patterns users write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ..errors import UnknownNameError, nearest


def _prefixes(name: str) -> list[str]:
    """``a.b.c`` -> a, a.b, a.b.c"""
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _regex(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that ``pattern`` fits, as a shell pattern or else as a regular expression over the whole name.

    A pattern that fits a module's name covers everything inside it.

    Example:
        >>> matching("blocks.[01]", ["stem.weight", "blocks.0.weight", "blocks.10.weight"])
        ['blocks.0.weight']
        >>> matching(r"blocks\\.\\d+", ["stem.weight", "blocks.0.weight", "blocks.10.weight"])
        ['blocks.0.weight', 'blocks.10.weight']
    """
    names = list(names)
    hits = [n for n in names if any(fnmatchcase(p, pattern) for p in _prefixes(n))]
    compiled = None if hits else _regex(pattern)
    if compiled is None:
        return hits
    return [n for n in names if any(compiled.fullmatch(p) for p in _prefixes(n))]


def select(patterns: Sequence[str], names: Iterable[str], what: str) -> list[str]:
    """The names that at least one of ``patterns`` fits, in their own order.

    Raises:
        UnknownNameError: a pattern fits nothing.
    """
    names = list(names)
    chosen: set[str] = set()
    for pattern in patterns:
        hits = matching(pattern, names)
        if not hits:
            raise no_match(pattern, names, what)
        chosen.update(hits)
    return [n for n in names if n in chosen]


def no_match(pattern: str, names: Sequence[str], what: str) -> UnknownNameError:
    """The error for a pattern or a name that fits nothing."""
    known = list(dict.fromkeys(p for n in names for p in _prefixes(n)))
    near = nearest(pattern.strip("*^$").replace("\\", ""), known)
    roots = ", ".join(dict.fromkeys(n.partition(".")[0] for n in names))
    return UnknownNameError(
        f"{what}: nothing is called {pattern!r}",
        why="a pattern without a match would silently do nothing",
        fix=f"did you mean {' or '.join(map(repr, near))}?" if near else f"names begin with {roots or '(there are none)'}",
    )
