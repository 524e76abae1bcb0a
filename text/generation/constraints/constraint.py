"""A processor that lets a text grow only as a grammar allows, and sees to it that it is complete in the end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ....core.errors import ArgumentError, ShapeError
from ..rows import Row
from .automaton import DEAD, FAR, Automaton
from .grammar import Grammar, chars, optional
from .vocabulary import Vocabulary

_KEPT = 128  # states whose tokens are remembered

Scores = np.ndarray[Any, np.dtype[np.float32]]


class Constraint:
    """Forbids tokens after which no text of a grammar could follow any more; pass it to ``generate`` as a processor.

    A text ends when it is complete and the model wishes so; where tokens run short it is led to its end, so that also the text
    of ``max_new_tokens`` tokens is complete.

    Args:
        grammar: of :func:`~.regex.regex` or :func:`~.schema.json_schema`.
        vocabulary: the tokenizer's, ``Vocabulary.of(tokenizer)``.
        ends: tokens that end a text.

    Raises:
        ArgumentError: no text fits.

    Example:
        >>> from nyala.text.generation.rows import Row
        >>> from .regex import regex
        >>> yes_or_no = Constraint(regex("yes|no"), Vocabulary([None, b"y", b"es", b"no", b"n", b"o", b"e", b"s"]), ends=(0,))
        >>> yes_or_no([Row([], limit=4)], np.zeros((1, 8), np.float32))[0]
        array([-inf,   0., -inf,   0.,   0., -inf, -inf, -inf], dtype=float32)
    """

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary, ends: Collection[int]) -> None:
        if vocabulary.strips_space:
            grammar = _behind_a_space(grammar)
        self.automaton = Automaton(grammar, vocabulary.single)
        self.vocabulary, self.ends = vocabulary, sorted(ends)
        self._states: dict[tuple[int, ...], int] = {(): self.automaton.start}
        self._after: OrderedDict[int, np.ndarray[Any, Any]] = OrderedDict()

    def __call__(self, rows: Sequence[Row], scores: Scores) -> Scores:
        """The scores (N, vocabulary) with -inf for what may not follow.

        Raises:
            ArgumentError: too few tokens to complete a text.
            ShapeError: the scores are of another vocabulary.
        """
        if scores.shape[1] < self.vocabulary.size and any(self.vocabulary.texts[scores.shape[1] :]):
            raise ShapeError(
                f"scores of {scores.shape[1]} tokens, the tokenizer has {self.vocabulary.size}",
                fix="use the tokenizer that came with these weights",
            )
        found = np.full_like(scores, -np.inf)
        states: dict[tuple[int, ...], int] = {(): self.automaton.start}
        for row, given, allowed in zip(rows, scores, found, strict=True):
            state = states[tuple(row.new)] = self._state(row.new)
            if state == DEAD:  # a hypothesis that beam search took for want of a better one
                continue
            tokens = self._allowed(state, row.limit - len(row.new) - 1)
            if self.automaton.accepts(state):
                tokens = np.concatenate([tokens, np.array(self.ends, np.int64)])
            tokens = tokens[tokens < scores.shape[1]]
            if not len(tokens):
                self._give_up(row, state)
            allowed[tokens] = given[tokens]
            if not (allowed > -np.inf).any():  # other processors forbade all that fits: the constraint comes first
                allowed[tokens] = 0
        self._states = states
        return found

    def _state(self, new: Sequence[int]) -> int:
        """Where a text stands: from where it stood one token ago, if that was the last call."""
        before = self._states.get(tuple(new[:-1])) if new else self.automaton.start
        if before is None:
            state = self.automaton.start
            for token in new:
                state = self._next(state, token)
            return state
        return self._next(before, new[-1]) if new else before

    def _next(self, state: int, token: int) -> int:
        text = self.vocabulary.texts[token] if token < self.vocabulary.size else None
        return DEAD if text is None else self.automaton.after(state, text)

    def _allowed(self, state: int, room: int) -> np.ndarray[Any, Any]:
        """Tokens from which a complete text is still reached with ``room`` more."""
        following = self._run(state)
        tokens = np.flatnonzero(following)
        reached, places = np.unique(following[tokens], return_inverse=True)
        missing = np.array([self.automaton.distance(s) for s in reached.tolist()])
        return tokens[(missing <= min(room, FAR - 1))[places]] if len(tokens) else tokens

    def _run(self, state: int) -> np.ndarray[Any, Any]:
        found = self._after.get(state)
        if found is None:
            found = self._after[state] = self.vocabulary.run(self.automaton, state)
            if len(self._after) > _KEPT:
                self._after.popitem(last=False)
        else:
            self._after.move_to_end(state)
        return found

    def _give_up(self, row: Row, state: int) -> None:
        if self.automaton.accepts(state):
            raise ArgumentError(
                "the text is complete, and no token ends it", why="the model names none", fix="pass ends= with one"
            )
        missing = self.automaton.distance(state)
        raise ArgumentError(
            f"{row.limit} token(s) are too few for what the constraint asks for",
            why=f"{missing if missing < FAR else 'more'} are missing after {len(row.new)}",
            fix=f"set max_new_tokens to {len(row.new) + missing} or more" if missing < FAR else "use another tokenizer",
        )


def _behind_a_space(grammar: Grammar) -> Grammar:
    """The same behind one space or none, which decoding takes off."""
    inner, last = grammar.rules[""]
    first = grammar.state()
    grammar.skips[optional(chars([(32, 32)]))(grammar, first)].append(inner)
    grammar.rules[""] = (first, last)
    return grammar
