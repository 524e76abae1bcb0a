"""How JSON writes strings and numbers, as pieces of a grammar.

Numbers have 15 digits at most before and behind the point, and exponents two: any reader keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .grammar import Grammar, Piece, call, chars, either, optional, repeat, sequence, text
from .utf8 import Range, between, complement, merged

ANY = "any value"
"""The rule of any JSON value."""
LETTER = "any character"
"""The rule of any character of a string."""

_DIGITS = 15
_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_ESCAPED: list[Range] = [(0, 31), (34, 34), (92, 92)]

digit = chars([(48, 57)])
_fraction = sequence(text("."), repeat(digit, 1, _DIGITS))
_plain_integer = either(text("0"), sequence(chars([(49, 57)]), repeat(digit, 0, _DIGITS - 1)))
_exponent = sequence(chars([(69, 69), (101, 101)]), optional(chars([(43, 43), (45, 45)])), repeat(digit, 1, 2))
space = optional(text(" "))


def letter(ranges: Iterable[Range]) -> Piece:
    """One character of a set inside a string: as itself, or escaped where it must be."""
    wanted = merged(ranges)
    plain = _common(wanted, complement(_ESCAPED))
    escaped = [i for low, high in _common(wanted, _ESCAPED) for i in range(low, high + 1)]
    pieces = [chars(plain)] if plain else []
    pieces += [text(_ESCAPES.get(i, f"\\u{i:04x}")) for i in escaped]
    return pieces[0] if len(pieces) == 1 else either(*pieces)


def _common(a: list[Range], b: list[Range]) -> list[Range]:
    """What two sets have in common."""
    return [(max(x, u), min(y, v)) for x, y in a for u, v in b if max(x, u) <= min(y, v)]


def string(least: int = 0, most: int | None = None) -> Piece:
    """A string of so many characters."""
    return quoted(repeat(call(LETTER), least, most))


def quoted(piece: Piece) -> Piece:
    """A piece between quotation marks."""
    return sequence(text('"'), piece, text('"'))


def number() -> Piece:
    """Any number."""
    return sequence(optional(text("-")), _plain_integer, optional(_fraction), optional(_exponent))


def integer(low: int | None = None, high: int | None = None) -> Piece:
    """A whole number between two, both counted."""
    limit = 10**_DIGITS - 1
    if low is None and high is None:
        return sequence(optional(text("-")), _plain_integer)
    return _signed(max(-limit, -limit if low is None else low), min(limit, limit if high is None else high), False)


def number_between(low: int | None, high: int | None) -> Piece:
    """A number between two whole ones, both counted."""
    limit = 10**_DIGITS - 1
    return _signed(-limit if low is None else low, limit if high is None else high, True)


def _signed(low: int, high: int, fractions: bool) -> Piece:
    pieces = []
    if high >= 0 and low <= high:
        pieces.append(_unsigned(max(low, 0), high, fractions, 0))
    if low < 0 and low <= high:
        pieces.append(sequence(text("-"), _unsigned(max(0, -high), -low, fractions, 1)))
    return either(*pieces)


def _unsigned(low: int, high: int, fractions: bool, least: int) -> Piece:
    """Numbers from ``low`` to ``high``, none of them negative; whole ones from ``least`` on."""
    pieces = _counting(max(low, least), high)
    if fractions and low < high:
        pieces.append(sequence(either(*_counting(low, high - 1)), _fraction))
    return either(*pieces)


def _counting(low: int, high: int) -> list[Piece]:
    """The whole numbers from ``low`` to ``high``, none of them negative."""
    found = []
    for length in range(len(str(low)), len(str(high)) + 1):
        first, last = max(low, 10 ** (length - 1) if length > 1 else 0), min(high, 10**length - 1)
        if first <= last:
            for ranges in between(str(first).encode(), str(last).encode(), 48, 57):
                found.append(sequence(*(chars([r]) for r in ranges)))
    return found


def exactly(value: Any) -> Piece:
    """One value, as ``json.dumps`` writes it."""
    said = json.dumps(value, ensure_ascii=False)
    if any(0xD800 <= ord(c) <= 0xDFFF for c in said):  # half a character can only be escaped
        said = json.dumps(value)
    return text(said)


def listed(item: Piece, least: int = 0, most: int | None = None, first: Iterable[Piece] = ()) -> Piece:
    """An array of ``least`` to ``most`` items; those of ``first`` stand first."""
    comma = sequence(text(","), space)
    given = list(first)

    def add(grammar: Grammar, start: int) -> int:
        at, end = text("[")(grammar, start), grammar.state()
        count = 0
        while count < max(least, len(given)) or (most is not None and count < most):
            if count >= least:
                grammar.skips[at].append(end)
            if most is not None and count >= most:
                break
            at = (comma if count else _nothing)(grammar, at)
            at = (given[count] if count < len(given) else item)(grammar, at)
            count += 1
        grammar.skips[at].append(end)
        if most is None:
            rest = item if count else None
            if rest is None:  # the first has no comma before it
                at = item(grammar, at)
                grammar.skips[at].append(end)
            grammar.skips[repeat(sequence(comma, item))(grammar, at)].append(end)
        return text("]")(grammar, end)

    return add


def _nothing(grammar: Grammar, start: int) -> int:  # noqa: ARG001 - a Piece
    return start


def members(known: list[tuple[str, Piece, bool]], others: Piece | None) -> Piece:
    """An object.

    Args:
        known: (key, value, whether it must be there), in the order in which they are written.
        others: of further values, under keys that are none of the known; None for none.
    """
    comma = sequence(text(","), space)
    colon = sequence(text(":"), space)
    pairs = [(sequence(exactly(key), colon, value), must) for key, value, must in known]
    if others is not None:
        pairs.append((sequence(_other_key([key for key, _, _ in known]), colon, others), False))

    def add(grammar: Grammar, start: int) -> int:
        bare: int = text("{")(grammar, start)  # nothing is written yet
        some: int | None = None  # something is
        for i, (pair, must) in enumerate(pairs):
            begin, behind = grammar.state(), grammar.state()
            grammar.skips[bare].append(begin)
            if some is not None:
                grammar.skips[comma(grammar, some)].append(begin)
            grammar.skips[pair(grammar, begin)].append(behind)
            if others is not None and i == len(pairs) - 1:  # any number of them
                grammar.skips[comma(grammar, behind)].append(begin)
            following = grammar.state()
            if not must:
                grammar.skips[bare].append(following)
                if some is not None:
                    grammar.skips[some].append(behind)
            bare, some = following, behind
        end = grammar.state()
        grammar.skips[bare].append(end)
        if some is not None:
            grammar.skips[some].append(end)
        return text("}")(grammar, end)

    return add


def _other_key(known: list[str]) -> Piece:
    """A key of unescaped characters that is none of these."""
    free = complement(_ESCAPED)

    def add(grammar: Grammar, start: int) -> int:
        at, end = text('"')(grammar, start), grammar.state()
        anything = repeat(chars(free))
        _apart(grammar, at, end, [k for k in known if all(ord(c) >= 32 and c not in '"\\' for c in k)], anything)
        return text('"')(grammar, end)

    def _apart(grammar: Grammar, at: int, end: int, keys: list[str], anything: Piece) -> None:
        nexts = sorted({k[0] for k in keys if k})
        if "" not in keys:
            grammar.skips[at].append(end)
        rest = complement([*_ESCAPED, *((ord(c), ord(c)) for c in nexts)])
        grammar.skips[sequence(chars(rest), anything)(grammar, at)].append(end)
        for c in nexts:
            _apart(grammar, text(c)(grammar, at), end, [k[1:] for k in keys if k.startswith(c)], anything)

    return add


def any_letter() -> Piece:
    """The body of the rule :data:`LETTER`."""
    return either(chars(complement(_ESCAPED)), *(text(f"\\{c}") for c in 'bfnrt"\\/'))


def any_value() -> Piece:
    """The body of the rule :data:`ANY`."""
    value = call(ANY)
    words = [text(word) for word in ("true", "false", "null")]
    return either(members([], value), listed(value), string(), number(), *words)
