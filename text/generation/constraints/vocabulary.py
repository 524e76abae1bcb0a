"""The bytes that each token stands for, in an order in which an automaton can run over all tokens at once."""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ....core.errors import ArgumentError
from .automaton import DEAD, Automaton

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"


class Vocabulary:
    """The texts of all tokens as bytes.

    Tokens that stand for no text (control tokens) are left out: no constraint allows them.

    Args:
        texts: of each token, in the order of their numbers; None or empty for those that stand for none.

    Attributes:
        size: tokens.
        single: bytes that are a token of their own.
        strips_space: whether decoding takes a space off the start of a text.

    Example:
        >>> v = Vocabulary([None, b"a", b"ab", b"b"])
        >>> sorted(v.single), v.size
        ([97, 98], 4)
    """

    def __init__(self, texts: list[bytes | None], strips_space: bool = False) -> None:
        self.size, self.strips_space = len(texts), strips_space
        self.texts = texts
        self.single = frozenset(t[0] for t in texts if t is not None and len(t) == 1)
        order = sorted((t, i) for i, t in enumerate(texts) if t)
        self._levels = _trie(order)

    @staticmethod
    def of(tokenizer: Any) -> Vocabulary:
        """Of a tokenizer of the ``tokenizers`` package, or of nyala's around one.

        Raises:
            ArgumentError: a kind of tokens whose text depends on their neighbours.
        """
        backend = getattr(tokenizer, "backend", tokenizer)
        return _of_json(backend.to_str())

    def run(self, automaton: Automaton, state: int) -> np.ndarray[Any, Any]:
        """(size,) int32: the state behind each token from ``state``; 0 where the token does not fit."""
        found = np.full(self.size, DEAD, np.int32)
        at = np.array([state], np.int32)  # of each node of the level before
        for parents, bytes_, tokens, holders in self._levels:
            before = at[parents]
            live = np.flatnonzero(before != DEAD)
            at = np.full(len(parents), DEAD, np.int32)
            if not len(live):
                break
            table = automaton.rows(np.unique(before[live]))
            at[live] = table[before[live], bytes_[live]]
            found[tokens] = at[holders]
        return found


def _trie(order: list[tuple[bytes, int]]) -> list[tuple[np.ndarray[Any, Any], ...]]:
    """Level by level: each node's parent in the level before and its byte; and the tokens that end here with their nodes.

    Args:
        order: texts and their tokens, sorted by the texts: those with one beginning stand together.
    """
    lengths = np.array([len(text) for text, _ in order], np.int64)
    numbers = np.array([token for _, token in order], np.int64)
    starts = np.cumsum(lengths) - lengths
    joined = np.frombuffer(b"".join(text for text, _ in order), np.uint8)
    node = np.zeros(len(order), np.int64)  # the one of the level before that each text goes through
    levels: list[tuple[np.ndarray[Any, Any], ...]] = []
    alive, depth = np.arange(len(order)), 0
    while len(alive):
        before, byte = node[alive], joined[starts[alive] + depth]
        fresh = np.ones(len(alive), bool)
        fresh[1:] = (before[1:] != before[:-1]) | (byte[1:] != byte[:-1])
        node[alive] = np.cumsum(fresh) - 1
        ends = lengths[alive] == depth + 1
        levels.append((before[fresh], byte[fresh], numbers[alive[ends]], node[alive[ends]]))
        alive, depth = alive[~ends], depth + 1
    return levels


@cache
def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes as (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(b): b for b in plain}
    return letters | {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in plain)}


@lru_cache(maxsize=4)
def _of_json(content: str) -> Vocabulary:
    told = json.loads(content)
    model = told["model"]
    vocabulary = model.get("vocab", {})
    numbers = {t: i for i, (t, _) in enumerate(vocabulary)} if isinstance(vocabulary, list) else dict(vocabulary)
    special = set()
    written = {}  # tokens that were added as they are, and are text
    for added in told.get("added_tokens", []):
        numbers[added["content"]] = added["id"]
        if added.get("special"):
            special.add(added["id"])
        else:
            written[added["id"]] = added["content"].encode()
    kinds = _decoders(told.get("decoder"))
    texts: list[bytes | None] = [None] * (max(numbers.values(), default=-1) + 1)
    for token, number in numbers.items():
        if number not in special:
            texts[number] = written.get(number) or _text(token, kinds)
    return Vocabulary(texts, strips_space="Strip" in kinds or ("Metaspace" in kinds and "ByteFallback" not in kinds))


def _decoders(told: Any) -> set[str]:
    """The kinds of decoders, those of a sequence taken out of it."""
    if told is None:
        return set()
    parts = told["decoders"] if told["type"] == "Sequence" else [told]
    kinds = {str(part["type"]) for part in parts}
    if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
        raise ArgumentError(
            f"constraints on a tokenizer with the decoder {', '.join(sorted(kinds))}",
            why="what its tokens stand for depends on their neighbours",
            fix="use a model with a byte-level or SentencePiece tokenizer",
        )
    return kinds


def _text(token: str, kinds: set[str]) -> bytes | None:
    if "ByteLevel" in kinds:
        letters = _byte_letters()
        return bytes(letters[c] for c in token) if all(c in letters for c in token) else None
    if found := _BYTE.fullmatch(token):
        return bytes([int(found[1], 16)])
    return token.replace(_SPACE, " ").encode() if kinds else token.encode()
