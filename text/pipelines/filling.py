"""The pipeline that says which words could stand where a text has a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from ...hub.pipeline import as_is
from ...hub.results import Results, shortened, table
from ..tokenizers.tokenizer import Tokenizer
from .batching import TextPipeline, longest_of, texts_of, tokenizer_of
from .pooling import Pooling

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

_SPELLINGS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Fill:
    """What could stand at a mask.

    Attributes:
        word: as text, without spaces around it.
        id: of its token.
        score: its probability.
    """

    word: str
    id: int
    score: float


@dataclass(frozen=True)
class Filled:
    """A text with masks, and what could stand at each.

    Attributes:
        text: as it was given.
        mask: what a mask is written as.
        fills: for each mask the likeliest words, best first.
    """

    text: str
    mask: str
    fills: tuple[tuple[Fill, ...], ...]

    @property
    def best(self) -> str:
        """The text with the likeliest word at each mask.

        Example:
            >>> Filled("a <mask> sat", "<mask>", ((Fill("cat", 5, 0.9), Fill("dog", 6, 0.1)),)).best
            'a cat sat'
        """
        parts = self.text.split(self.mask)
        words = [*(options[0].word for options in self.fills), ""]
        return "".join(part + word for part, word in zip(parts, words, strict=True))


class Fills(Results, Sequence[Filled]):
    """One :class:`Filled` a text. Prints as a table and draws bars."""

    def __init__(self, found: Sequence[Filled]) -> None:
        self.found = tuple(found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        rows = [
            [shortened(one.text, 50), str(k + 1), fill.word or repr(fill.word), fill.score]
            for one in self.found
            for k, options in enumerate(one.fills)
            for fill in options
        ]
        return table(["text", "mask", "word", "score"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each text its likeliest words at each mask, and the text with the best of them."""
        return [
            {"input": one.text, "best": one.best, "masks": [[vars(fill) for fill in options] for options in one.fills]}
            for one in self.found
        ]

    def draw(self) -> Image:
        """Each mask with bars for its words."""
        from .drawing import classification

        return classification(
            [(one.text, [f.word for f in options], [f.score for f in options]) for one in self.found for options in one.fills]
        )


@dataclass(frozen=True, eq=False, repr=False)
class FillMask(TextPipeline):
    """Texts with masks -> words for them. Call it on one text (:class:`Filled`) or a list (:class:`Fills`)."""

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> FillMask:
        """Tokenizer from the files."""
        longest = longest_of(model)
        length = min(Pooling.max_length(files) or longest, longest)
        return cls(model, tokenizer_of(files, length, model), as_is, card, files, config)

    @property
    def mask(self) -> str:
        """How a mask is written.

        Raises:
            DataError: the tokenizer has no such token.
        """
        return _mask_of(self.tokenizer(), self.name)

    def __call__(self, inputs: Any, *, top_k: int = 5, targets: Sequence[str] | None = None) -> Any:
        """One text -> :class:`Filled`; a list -> :class:`Fills`.

        Args:
            inputs: texts with one mask or several, written as ``.mask`` says.
            top_k: words for each mask.
            targets: only these words are looked at; each must be a single token.

        Raises:
            DataError: no text, or one without a mask, or a mask behind what the model reads.
            ArgumentError: a target that is no single token, or ``top_k`` below 1.
        """
        if top_k < 1:
            raise ArgumentError(f"top_k={top_k}", fix="use at least 1")
        texts, single = texts_of(inputs)
        tokenizer, mask = self.tokenizer(), self.mask
        rows = tokenizer.encode(texts)
        self.check(rows, texts)
        places = [_places(text, row.ids, i, mask, tokenizer) for i, (text, row) in enumerate(zip(texts, rows, strict=True))]
        chosen = None if targets is None else np.array([_single(tokenizer, word) for word in targets])
        found: list[Any] = [None] * len(texts)
        for part, batch in self.batches(rows):
            hidden = self.model.forward_features(**batch)  # type: ignore[operator]
            for row, i in enumerate(part):
                vectors = hidden[row][batch["attention_mask"][row] != 0][places[i]]
                logits = self.model.forward_head(vectors.unsqueeze(0))[0].float().cpu().numpy()  # type: ignore[operator]
                found[i] = Filled(texts[i], mask, tuple(self._best(scores, top_k, chosen) for scores in logits))
        return found[0] if single else Fills(found)

    def _best(self, logits: np.ndarray[Any, Any], top_k: int, chosen: np.ndarray[Any, Any] | None) -> tuple[Fill, ...]:
        """The likeliest tokens from the logits (vocabulary,)."""
        shares = np.exp(logits.astype(np.float64) - logits.max())
        shares /= shares.sum()
        ids = np.arange(len(shares)) if chosen is None else chosen
        best = ids[np.argsort(-shares[ids], kind="stable")[:top_k]]
        return tuple(Fill(self.preprocess.decode([i], False).strip(), int(i), float(shares[i])) for i in best)


def _mask_of(tokenizer: Tokenizer, name: str) -> str:
    if tokenizer.mask_token is None:
        raise DataError(
            f"the tokenizer of {name} has no mask", why="its model was not trained to fill masks", fix="choose another"
        )
    return tokenizer.mask_token


def _places(text: str, ids: Sequence[int], number: int, mask: str, tokenizer: Tokenizer) -> list[int]:
    """Which tokens of a text are masks."""
    wanted = text.count(mask)
    if not wanted:
        other = next((s for s in _SPELLINGS if s != mask and s in text), None)
        fix = f"write {mask} instead of {other}" if other else f"write {mask} where a word is to be guessed"
        raise DataError(f"input {number} has no {mask}", why="there is nothing to fill", fix=fix)
    places = [i for i, token in enumerate(ids) if token == tokenizer.mask_id]
    if len(places) != wanted:
        raise DataError(
            f"input {number} has {wanted} masks, {len(places)} of them in what the model reads",
            why=f"it reads {tokenizer.max_length} tokens",
            fix="shorten the text around the mask",
        )
    return places


def _single(tokenizer: Tokenizer, word: str) -> int:
    """The token of a word, as it stands behind a space."""
    for text in (f" {word}", word):
        ids = tokenizer.backend.encode(text, add_special_tokens=False).ids
        if len(ids) == 1:
            return int(ids[0])
    pieces = " ".join(tokenizer.token(i) for i in tokenizer.backend.encode(word, add_special_tokens=False).ids)
    raise ArgumentError(f"the target {word!r} is no single token", why=f"its tokens are {pieces}", fix="choose other words")
