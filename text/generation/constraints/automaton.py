"""A grammar run byte by byte: its states are sets of places, found when they are first reached."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ....core.errors import ArgumentError
from .grammar import Grammar

DEAD, UNKNOWN = 0, -1
_DEEPEST = 100  # calls inside calls: Python's own JSON reader gives up at a thousand
FAR = 1 << 40

Place = tuple[int, Any]
"""A state of the grammar and what to return to behind it: (state, what to return to), or None at the top."""


class Automaton:
    """A deterministic automaton over bytes that grows as it is used.

    State 0 is dead: nothing that began so fits. ``start`` is where an empty text is.

    Args:
        grammar: what is matched, its rule ``""``.
        available: bytes that may be written one by one, for ``distance``; all unless given.

    Raises:
        ArgumentError: no text fits, or a rule begins with itself.

    Example:
        >>> from .regex import regex
        >>> a = Automaton(regex("a+b"))
        >>> state = a.after(a.start, b"aab")
        >>> a.accepts(state), a.accepts(a.after(a.start, b"aa")), a.after(state, b"b")
        (True, False, 0)
    """

    def __init__(self, grammar: Grammar, available: Iterable[int] | None = None) -> None:
        self.grammar = grammar
        self._allowed = frozenset(range(256) if available is None else available)
        self._check_recursion()
        self._ends = {last: name for name, (_, last) in grammar.rules.items()}
        self._to_end = self._distances()
        self._numbers: dict[frozenset[Place], int] = {}
        self._places: list[frozenset[Place]] = []
        self._table = np.full((64, 256), UNKNOWN, np.int32)
        self._distance: list[int] = []
        self._number(frozenset())
        self._table[DEAD] = DEAD
        first, _ = grammar.rules[""]
        self.start = self._number(self._closed([(first, None)]))
        if self.distance(self.start) >= FAR:
            raise ArgumentError(
                "no text fits the constraint",
                why="it asks for what excludes itself, or for characters that the tokenizer cannot write",
                fix="correct it",
            )

    def accepts(self, state: int) -> bool:
        """Whether a text that led here is complete."""
        return self._distance[state] == 0

    def distance(self, state: int) -> int:
        """Bytes that are missing at least until a text is complete; :data:`FAR` where none ever is."""
        return self._distance[state]

    def after(self, state: int, text: bytes) -> int:
        """The state behind ``text``."""
        for byte in text:
            state = int(self.row(state)[byte])
        return state

    def row(self, state: int) -> np.ndarray[Any, Any]:
        """(256,) int32: the state behind each byte."""
        if self._table[state, 0] == UNKNOWN:
            self._fill(state)
        return self._table[state]

    def rows(self, states: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The table of all states so far, with the rows of ``states`` filled."""
        for state in states.tolist():
            self.row(state)
        return self._table

    def __len__(self) -> int:
        return len(self._places)

    # ---- sets of places

    def _number(self, places: frozenset[Place]) -> int:
        found = self._numbers.get(places)
        if found is None:
            found = self._numbers[places] = len(self._places)
            self._places.append(places)
            self._distance.append(min(map(self._left, places), default=FAR))
            if found >= len(self._table):
                more = np.full((len(self._table), 256), UNKNOWN, np.int32)
                self._table = np.concatenate([self._table, more])
        return found

    def _fill(self, state: int) -> None:
        """The next state of each byte: bytes between the same edges go the same way."""
        edges = [(lo, hi, target, stack) for s, stack in self._places[state] for lo, hi, target in self.grammar.edges[s]]
        cuts = sorted({0, 256, *(lo for lo, *_ in edges), *(hi + 1 for _, hi, *_ in edges)})
        row = np.zeros(256, np.int32)
        known: dict[frozenset[Place], int] = {}
        for low, high in itertools.pairwise(cuts):
            reached = frozenset((target, stack) for lo, hi, target, stack in edges if lo <= low <= hi)
            if reached:
                if reached not in known:
                    known[reached] = self._number(self._closed(reached))
                row[low:high] = known[reached]
        self._table[state] = row

    def _closed(self, places: Iterable[Place]) -> frozenset[Place]:
        """The places, and all that are reached from them without a byte."""
        seen: set[Place] = set()
        waiting = list(places)
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            state, stack = place
            waiting += [(target, stack) for target in self.grammar.skips[state]]
            for name, behind in self.grammar.calls[state]:
                depth = 1 if stack is None else stack[2] + 1
                if depth <= _DEEPEST:
                    waiting.append((self.grammar.rules[name][0], (behind, stack, depth)))
            if stack is not None and state in self._ends:
                waiting.append((stack[0], stack[1]))
        return frozenset(place for place in seen if self._counts(place))

    def _counts(self, place: Place) -> bool:
        """Whether a place says more than those that it led to: it has edges, or is the end."""
        return bool(self.grammar.edges[place[0]]) or self._left(place) == 0

    def _left(self, place: Place) -> int:
        """Bytes that are missing from a place to the end of all."""
        state, stack = place
        total = self._to_end[state]
        while stack is not None and total < FAR:
            total += self._to_end[stack[0]]
            stack = stack[1]
        return min(total, FAR)

    # ---- what is known before anything is run

    def _distances(self) -> list[int]:
        """For each state the bytes that are missing until its rule ends; rules that call each other until nothing changes."""
        grammar, count = self.grammar, len(self.grammar.edges)
        back: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        callers: dict[str, list[tuple[int, int]]] = {}
        for state in range(count):
            for low, high, target in grammar.edges[state]:
                if any(byte in self._allowed for byte in range(low, high + 1)):
                    back[target].append((state, 1))
            for target in grammar.skips[state]:
                back[target].append((state, 0))
            for name, behind in grammar.calls[state]:
                if name not in grammar.rules:
                    raise ArgumentError(f"the constraint calls {name!r}, which is not defined", fix="define it")
                callers.setdefault(name, []).append((state, behind))
        costs = dict.fromkeys(grammar.rules, FAR)
        found = [FAR] * count
        heap = [(0, last) for _, last in grammar.rules.values()]
        names = {first: name for name, (first, _) in grammar.rules.items()}
        behind_of: dict[int, list[tuple[int, str]]] = {}
        for name, places in callers.items():
            for state, behind in places:
                behind_of.setdefault(behind, []).append((state, name))
        while heap:
            distance, state = heapq.heappop(heap)
            if distance >= found[state]:
                continue
            found[state] = distance
            steps = [(origin, distance + cost) for origin, cost in back[state]]
            steps += [(origin, distance + costs[name]) for origin, name in behind_of.get(state, ())]
            if state in names:
                name = names[state]
                costs[name] = distance
                steps += [(origin, found[behind] + distance) for origin, behind in callers.get(name, ())]
            for origin, total in steps:
                if total < min(found[origin], FAR):
                    heapq.heappush(heap, (total, origin))
        return found

    def _check_recursion(self) -> None:
        """Refuse rules that call themselves before any byte: they would never come to one."""
        begins = {name: self._called_first(first) for name, (first, _) in self.grammar.rules.items()}
        for name in begins:
            seen: set[str] = set()
            waiting = list(begins[name])
            while waiting:
                other = waiting.pop()
                if other == name:
                    raise ArgumentError(
                        f"the rule {name!r} of the constraint begins with itself",
                        why="it never comes to an end",
                        fix="correct it",
                    )
                if other not in seen:
                    seen.add(other)
                    waiting += begins.get(other, ())

    def _called_first(self, state: int) -> set[str]:
        """Rules that may be called from a state before any byte; a rule that may be empty is not looked behind."""
        seen, waiting, found = set(), [state], set()
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            waiting += self.grammar.skips[at]
            found |= {name for name, _ in self.grammar.calls[at]}
        return found
