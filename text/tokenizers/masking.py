"""Tokens hidden at random, for models that learn by guessing them (Devlin et al., arXiv:1810.04805, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.random import Key
from ..pipelines.tagging import NO_TAG
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class Masker:
    """Hides tokens.

    Attributes:
        tokenizer: of the model; it has a mask.
        probability: that a token is to be guessed.
        random: share of these that another token takes the place of.
        keep: share of these that stay what they are.
        whole_words: all tokens of a word are hidden together.

    Raises:
        DataError: the tokenizer has no mask.
    """

    tokenizer: Tokenizer
    probability: float = 0.15
    random: float = 0.1
    keep: float = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        if self.tokenizer.mask_id is None:
            raise DataError(
                "this tokenizer has no mask", why="its model was not made to guess tokens", fix="choose another model"
            )

    def __call__(self, ids: np.ndarray[Any, Any], key: Key) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Tokens (T,) int64 -> the tokens with some of them hidden, and what is to be told at each place, ``NO_TAG`` elsewhere.

        Special tokens are never hidden, and at least one other is. The same key hides the same.
        """
        usable = ~np.isin(ids, self._special)
        told = np.full(len(ids), NO_TAG, np.int64)
        if not usable.any():
            return ids.copy(), told
        group = np.cumsum(self._begins[ids] | ~usable) if self.whole_words else np.arange(len(ids))
        names, place = np.unique(group, return_inverse=True)
        draws = np.asarray(key.fold("which").uniform(len(names)))[place]
        chosen = usable & (draws < self.probability)
        if not chosen.any():
            chosen = usable & (draws == draws[usable].min())
        told[chosen] = ids[chosen]
        ways = np.asarray(key.fold("how").uniform(len(ids)))
        others = np.asarray(key.fold("other").integers(0, self.tokenizer.vocab_size, len(ids)))
        hidden = np.where(ways < self.random, others, np.where(ways < self.random + self.keep, ids, self._mask))
        return np.where(chosen, hidden, ids), told

    @property
    def _mask(self) -> int:
        return int(self.tokenizer.mask_id or 0)

    @cached_property
    def _special(self) -> np.ndarray[Any, Any]:
        """The tokens that are no text."""
        added = self.tokenizer.backend.get_added_tokens_decoder()
        return np.array([i for i, token in added.items() if token.special], np.int64)

    @cached_property
    def _begins(self) -> np.ndarray[Any, Any]:
        """For each token of the vocabulary whether a word begins with it."""
        tokens = [self.tokenizer.token(i) for i in range(self.tokenizer.vocab_size)]
        if any(token.startswith("##") for token in tokens):  # WordPiece marks what goes on
            return np.array([not token.startswith("##") for token in tokens])
        return np.array([token[:1] in ("Ġ", "▁") for token in tokens])  # byte-level BPE and SentencePiece mark the space before
