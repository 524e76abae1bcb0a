"""Sets of characters, and the bytes that they are written as in UTF-8."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from functools import cache

Range = tuple[int, int]  # first and last of code points, or of bytes

LAST = sys.maxunicode
SURROGATES = (0xD800, 0xDFFF)  # no characters, and not written in UTF-8
_WIDTHS = ((0x00, 0x7F), (0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, LAST))


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same set as ranges in order that do not touch.

    Example:
        >>> merged([(5, 9), (1, 2), (3, 4), (8, 12)])
        [(1, 12)]
    """
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def complement(ranges: Iterable[Range]) -> list[Range]:
    """All characters that are in none of the ranges.

    Example:
        >>> complement([(0, 9), (11, LAST)])
        [(10, 10)]
    """
    found, at = [], 0
    for low, high in merged([*ranges, SURROGATES]):
        if at < low:
            found.append((at, low - 1))
        at = high + 1
    return [*found, (at, LAST)] if at <= LAST else found


@cache
def category(name: str) -> tuple[Range, ...]:
    """All characters that ``re`` counts as ``d`` (digits), ``w`` (of words) or ``s`` (space).

    Example:
        >>> category("d")[0] == (ord("0"), ord("9"))
        True
    """
    test = {"d": str.isdecimal, "s": str.isspace, "w": lambda c: c.isalnum() or c == "_"}[name]
    return tuple(merged((i, i) for i in range(LAST + 1) if test(chr(i))))


def byte_ranges(low: int, high: int) -> Iterator[tuple[Range, ...]]:
    """The characters from ``low`` to ``high`` as sequences of ranges of bytes.

    Example:
        >>> list(byte_ranges(ord("a"), ord("z")))
        [((97, 122),)]
        >>> list(byte_ranges(0xE9, 0xE9))
        [((195, 195), (169, 169))]
    """
    for first, last in _WIDTHS:
        a, b = max(low, first), min(high, last)
        for start, stop in ((a, min(b, SURROGATES[0] - 1)), (max(a, SURROGATES[1] + 1), b)) if first == 0x800 else ((a, b),):
            if start <= stop:
                yield from between(chr(start).encode(), chr(stop).encode(), 0x80, 0xBF)


def between(low: bytes, high: bytes, least: int, most: int) -> Iterator[tuple[Range, ...]]:
    """The byte strings of one length from ``low`` to ``high``, as sequences of ranges.

    Args:
        low, high: the first and the last.
        least, most: what the bytes behind the first may be.

    Example:
        >>> [tuple(bytes(r).decode() for r in s) for s in between(b"17", b"42", 48, 57)]
        [('11', '79'), ('23', '09'), ('44', '02')]
    """
    if len(low) == 1:
        yield ((low[0], high[0]),)
        return
    if low[0] == high[0]:
        for rest in between(low[1:], high[1:], least, most):
            yield ((low[0], low[0]), *rest)
        return
    first, last, count = low[0], high[0], len(low) - 1
    smallest, largest = bytes([least] * count), bytes([most] * count)
    if low[1:] != smallest:
        yield from between(low, bytes([first]) + largest, least, most)
        first += 1
    if high[1:] != largest:
        last -= 1
    if first <= last:
        yield ((first, last), *[(least, most)] * count)
    if high[1:] != largest:
        yield from between(bytes([high[0]]) + smallest, high, least, most)
