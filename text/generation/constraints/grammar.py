"""Languages over bytes: automata whose edges are ranges of bytes or calls of other automata, so that they may nest.

A regular expression is one automaton; the values of JSON are several that call each other. States are numbered through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ....core.errors import ArgumentError
from .utf8 import Range, byte_ranges, merged

_MOST_STATES = 100_000

Piece = Callable[["Grammar", int], int]
"""Adds what it matches behind a state, and gives the state behind it."""


@dataclass
class Grammar:
    """States and edges as they are added.

    Attributes:
        edges: of each state: (first byte, last byte, next state).
        skips: of each state: states that are reached without a byte.
        calls: of each state: (rule, state behind it).
        rules: name -> (first state, last state).
    """

    edges: list[list[tuple[int, int, int]]] = field(default_factory=list)
    skips: list[list[int]] = field(default_factory=list)
    calls: list[list[tuple[str, int]]] = field(default_factory=list)
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)

    def state(self) -> int:
        """A new state.

        Raises:
            ArgumentError: there are too many: the expression repeats too much.
        """
        if len(self.edges) >= _MOST_STATES:
            raise ArgumentError(
                f"the constraint has more than {_MOST_STATES:,} states",
                why="counted repetitions such as {1,5000} or maxLength are written out",
                fix="ask for fewer repetitions, or for any number of them",
            )
        for table in (self.edges, self.skips, self.calls):
            table.append([])  # type: ignore[attr-defined]
        return len(self.edges) - 1

    def rule(self, name: str, piece: Piece) -> None:
        """Define what calls of ``name`` match."""
        first = self.state()
        self.rules[name] = (first, piece(self, first))


def nothing(grammar: Grammar, start: int) -> int:  # noqa: ARG001 - a Piece
    """Matches the empty text."""
    return start


def never(grammar: Grammar, start: int) -> int:  # noqa: ARG001 - a Piece
    """Matches no text at all."""
    return grammar.state()


def chars(ranges: Iterable[Range]) -> Piece:
    """Matches one character of a set of code points; shared beginnings of bytes are not told apart."""
    sequences = [s for low, high in merged(ranges) for s in byte_ranges(low, high)]

    def add(grammar: Grammar, start: int) -> int:
        end = grammar.state()
        for sequence in sequences:
            at = start
            for i, (low, high) in enumerate(sequence):
                following = end if i == len(sequence) - 1 else grammar.state()
                grammar.edges[at].append((low, high, following))
                at = following
        return end

    return add


def text(value: str) -> Piece:
    """Matches one text exactly."""

    def add(grammar: Grammar, start: int) -> int:
        for byte in value.encode():
            following = grammar.state()
            grammar.edges[start].append((byte, byte, following))
            start = following
        return start

    return add


def sequence(*pieces: Piece) -> Piece:
    """Matches one piece behind the other."""

    def add(grammar: Grammar, start: int) -> int:
        for piece in pieces:
            start = piece(grammar, start)
        return start

    return add


def either(*pieces: Piece) -> Piece:
    """Matches what any of the pieces matches."""

    def add(grammar: Grammar, start: int) -> int:
        end = grammar.state()
        for piece in pieces:
            begin = grammar.state()
            grammar.skips[start].append(begin)
            grammar.skips[piece(grammar, begin)].append(end)
        return end

    return add


def repeat(piece: Piece, least: int = 0, most: int | None = None) -> Piece:
    """Matches a piece several times, any number of times where ``most`` is None."""

    def add(grammar: Grammar, start: int) -> int:
        for _ in range(least):
            start = piece(grammar, start)
        end = grammar.state()
        if most is None:
            loop = grammar.state()
            grammar.skips[start].append(loop)
            grammar.skips[loop].append(end)
            grammar.skips[piece(grammar, loop)].append(loop)
            return end
        for _ in range(most - least):
            grammar.skips[start].append(end)
            start = piece(grammar, start)
        grammar.skips[start].append(end)
        return end

    return add


def optional(piece: Piece) -> Piece:
    """Matches a piece, or nothing."""
    return repeat(piece, 0, 1)


def call(name: str) -> Piece:
    """Matches what the rule of this name matches."""

    def add(grammar: Grammar, start: int) -> int:
        end = grammar.state()
        grammar.calls[start].append((name, end))
        return end

    return add


def build(piece: Piece, rules: Sequence[tuple[str, Piece]] = ()) -> Grammar:
    """The grammar of a piece and the rules that it calls; its own rule is called ``""``.

    Raises:
        ArgumentError: there are too many states, or too many pieces in pieces.
    """
    grammar = Grammar()
    try:
        grammar.rule("", piece)
        for name, body in rules:
            grammar.rule(name, body)
    except RecursionError as error:
        raise ArgumentError("the constraint is nested too deeply", fix="write its parts into each other less often") from error
    return grammar
