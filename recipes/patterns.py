"""Patterns over parameter and module names: what is frozen, what has its own rate, what drops out.

``blocks.[0-3]`` is a shell pattern; one that matches a module covers all below it. ``@head`` stands for the classifier, by
whatever name the architecture gives it. A pattern that matches nothing is a mistake: a silent one would train the wrong model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ..core.errors import RecipeError, nearest


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` fits ``name`` or a module above it.

    Example:
        >>> matches("blocks.[01]", "blocks.1.conv.weight"), matches("blocks.1", "blocks.10.conv.weight")
        (True, False)
    """
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[: i + 1]), pattern) for i in range(len(parts)))


def select(patterns: Sequence[str], names: Iterable[str], head: Sequence[str], key: str) -> dict[str, set[str]]:
    """For each pattern, the names it fits.

    Args:
        patterns: shell patterns, or ``@head``.
        names: parameter or module names.
        head: the parameter names of the classifier.
        key: the recipe's key, for messages.

    Raises:
        RecipeError: a pattern that fits no name; all such patterns in one report.
    """
    names = list(names)
    below_head = {n for n in names if n in set(head) or any(h.startswith(n + ".") for h in head)}
    found = {p: below_head if p == "@head" else {n for n in names if matches(p, n)} for p in patterns}
    idle = [p for p, hit in found.items() if not hit]
    if idle:
        near = [n for p in idle for n in nearest(p.replace("*", ""), _prefixes(names), 2)]
        roots = ", ".join(dict.fromkeys(n.partition(".")[0] for n in names))
        raise RecipeError(
            f"{key}: nothing is called {' or '.join(map(repr, idle))}",
            why="a pattern that matches no parameter would silently do nothing",
            fix=f"names begin with {roots}" + (f"; near: {', '.join(dict.fromkeys(near))}" if near else ""),
        )
    return found


def _prefixes(names: Sequence[str]) -> list[str]:
    """Every module path and name."""
    parts = [n.split(".") for n in names]
    return list(dict.fromkeys(".".join(p[: i + 1]) for p in parts for i in range(len(p))))
