"""Patterns over parameter names: what is frozen, and what has its own rate.

The patterns are the engine's (``core/nn/select.py``), and ``@head`` stands for the classifier, by whatever name the architecture
gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...core.errors import RecipeError
from ...core.nn.select import matching, no_match

HEAD = "@head"


def select(patterns: Sequence[str], names: Iterable[str], head: Sequence[str], key: str) -> dict[str, list[str]]:
    """For each pattern, the names it fits.

    Args:
        patterns: shell patterns, regular expressions, or ``@head``.
        names: parameter names.
        head: the parameter names of the classifier.
        key: the recipe's key, for messages.

    Raises:
        RecipeError: patterns that fit no name, all in one report: a silent one would train the wrong model.

    Example:
        >>> select(["blocks.0", "@head"], ["blocks.0.weight", "blocks.1.weight", "fc.bias"], ["fc.bias"], "model.freeze")
        {'blocks.0': ['blocks.0.weight'], '@head': ['fc.bias']}
    """
    names = list(names)
    found = {p: [n for n in names if n in set(head)] if p == HEAD else matching(p, names) for p in patterns}
    errors = [no_match(p, names, key) for p, hit in found.items() if not hit]
    if errors:
        fixes = dict.fromkeys(e.fix for e in errors)
        raise RecipeError("; ".join(e.what for e in errors), why=errors[0].why, fix="; ".join(fixes))
    return found
