r"""Regular expressions, as Python's ``re`` writes them, that a whole text must match.

``\d``, ``\w`` and ``\s`` write ASCII characters alone; what they exclude (``\D``, ``[^\w]``) is what ``re`` counts, so that a
text which was generated always matches in ``re.fullmatch``. What no automaton can tell is refused: back-references, and looks
ahead or back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ....core.errors import ArgumentError, kind_of
from .grammar import Grammar, Piece, build, chars, either, repeat, sequence
from .utf8 import LAST, Range, category, complement, merged

_parser: Any = re._parser  # type: ignore[attr-defined]
Letter = Callable[[Iterable[Range]], Piece]
_ASCII = {
    "d": [(ord("0"), ord("9"))],
    "s": [(ord(c), ord(c)) for c in " \t\n\r\f\v"],
    "w": [(ord("0"), ord("9")), (ord("A"), ord("Z")), (ord("_"), ord("_")), (ord("a"), ord("z"))],
}
_CATEGORIES = {"CATEGORY_DIGIT": "d", "CATEGORY_SPACE": "s", "CATEGORY_WORD": "w"}


def regex(pattern: str) -> Grammar:
    """The grammar of a regular expression.

    Args:
        pattern: as for ``re.fullmatch``; anchors at its ends may be left out.

    Raises:
        ArgumentError: it is no regular expression, or uses what no automaton can tell.

    Example:
        >>> len(regex("[0-9]{4}-[0-9]{2}").edges) > 6
        True
    """
    return build(expression(pattern))


def expression(pattern: str, anchored: bool = True, letter: Letter = chars) -> Piece:
    """The same as a piece of a grammar.

    Args:
        pattern: as there.
        anchored: whether the whole text must match; else, as JSON Schema has it, any part of it, unless it says ``^`` and ``$``.
        letter: makes the piece of one character of a set.
    """
    if not isinstance(pattern, str):
        raise ArgumentError(f"a regular expression is {kind_of(pattern)}", fix="pass a string")
    try:
        parsed = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ArgumentError(f"{pattern!r} is no regular expression: {error}", fix="correct it; try it with re.compile") from error
    if parsed.state.flags & ~int(re.UNICODE):
        raise ArgumentError(
            f"{pattern!r} has flags", why="each character must be written out", fix="write [Aa] in place of a with (?i)"
        )
    items = list(parsed)
    begins = bool(items) and _is_anchor(items[0], ("AT_BEGINNING", "AT_BEGINNING_STRING"))
    ends = bool(items) and _is_anchor(items[-1], ("AT_END", "AT_END_STRING"))
    inner = items[1 if begins else 0 : len(items) - 1 if ends else len(items)]
    body = _Reader(pattern, letter).sequence(inner)
    if anchored:
        return body
    anything = repeat(letter([(0, LAST)]))
    return sequence(*[] if begins else [anything], body, *[] if ends else [anything])


def _is_anchor(item: Any, names: tuple[str, ...]) -> bool:
    kind, value = item
    return str(kind) == "AT" and str(value) in names


_REFUSED = {
    "AT": "an anchor or word border in its middle",
    "GROUPREF": "a back-reference",
    "GROUPREF_EXISTS": "a choice by a group",
    "ASSERT": "a look ahead or back",
    "ASSERT_NOT": "a look ahead or back",
    "POSSESSIVE_REPEAT": "a possessive repetition",
    "ATOMIC_GROUP": "an atomic group",
}


class _Reader:
    """Turns what ``re`` made of a pattern into pieces."""

    def __init__(self, pattern: str, letter: Letter) -> None:
        self.pattern, self.letter = pattern, letter

    def sequence(self, items: Iterable[Any]) -> Piece:
        return sequence(*(self.piece(str(kind), value) for kind, value in items))

    def piece(self, kind: str, value: Any) -> Piece:
        if kind in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self.letter(_set(kind, value))
        if kind in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = value
            return repeat(self.sequence(inner), least, None if most == _parser.MAXREPEAT else most)
        if kind == "BRANCH":
            return either(*(self.sequence(branch) for branch in value[1]))
        if kind == "SUBPATTERN" and not value[1] and not value[2]:
            return self.sequence(value[3])
        said = "flags in a group" if kind == "SUBPATTERN" else _REFUSED.get(kind, kind)
        raise ArgumentError(f"{self.pattern!r} has {said}", why="an automaton cannot tell what fits", fix="write it without")


def _set(kind: str, value: Any) -> list[Range]:
    """The characters of one place."""
    if kind == "LITERAL":
        return [(value, value)]
    if kind == "NOT_LITERAL":
        return complement([(value, value)])
    if kind == "ANY":
        return complement([(10, 10)])
    negated = bool(value) and str(value[0][0]) == "NEGATE"
    found: list[Range] = []
    for name, item in value[1:] if negated else value:
        found += _member(str(name), item, negated)
    return complement(found) if negated else merged(found)


def _member(name: str, item: Any, negated: bool) -> list[Range]:
    """One member of a set in brackets; in a negated one all that ``re`` counts to it must be left out."""
    if name == "LITERAL":
        return [(item, item)]
    if name == "RANGE":
        return [item]
    kind = str(item)
    if kind in _CATEGORIES:
        letter = _CATEGORIES[kind]
        return list(category(letter)) if negated else _ASCII[letter]
    letter = _CATEGORIES[kind.replace("_NOT_", "_")]
    # not in a negated set: \D is all but what re counts; in one, [^\D] is the ASCII digits
    return complement(_ASCII[letter]) if negated else complement(category(letter))
