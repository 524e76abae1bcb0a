"""The pipeline that puts texts in order by how well they answer a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from ...hub.pipeline import as_is
from ...hub.results import Results, shortened, table
from ..tokenizers.tokenizer import TooLong
from .batching import TextPipeline, logits_of, longest_of, texts_of, tokenizer_of
from .pooling import Pooling

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files


@dataclass(frozen=True)
class Ranked:
    """A text in its place.

    Attributes:
        index: where it stood in the list that was given.
        text: the text.
        score: how well it answers the query; the higher the better.
    """

    index: int
    text: str
    score: float


class Ranking(Results, Sequence[Ranked]):
    """The texts for one query, the best first. Prints as a table and draws bars."""

    def __init__(self, query: str, found: Sequence[Ranked]) -> None:
        self.query, self.found = query, tuple(found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        rows = [[i + 1, one.score, shortened(one.text, 80)] for i, one in enumerate(self.found)]
        return f"{shortened(self.query, 90)}\n{table(['place', 'score', 'text'], rows)}"

    def to_dict(self) -> dict[str, Any]:
        """The query and its texts in order."""
        return {"query": self.query, "ranking": [vars(one) for one in self.found]}

    def draw(self) -> Image:
        """The query over bars for its texts."""
        from .drawing import classification

        scores = np.array([one.score for one in self.found])
        low = min(0.0, float(scores.min()))
        shares = (scores - low) / max(float(scores.max()) - low, 1e-12)
        return classification([(self.query, [one.text for one in self.found], list(map(float, shares)))])


@dataclass(frozen=True, eq=False, repr=False)
class Reranking(TextPipeline):
    """A query and texts -> the texts in order. Call it on both, or on pairs with :meth:`scores`.

    A cross-encoder (one label) reads each text together with the query. A model that embeds texts works too, by cosines: quicker,
    and not as good.

    Attributes:
        sigmoid: scores are probabilities; without it they are what the model says.
        pooling: of a model that embeds texts; None for a cross-encoder.
    """

    sigmoid: bool = True
    pooling: Pooling | None = field(default=None)

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> Reranking:
        """Tokenizer from the files; what the scores go through as sentence-transformers writes it into ``config.json``.

        Raises:
            DataError: a classifier of several classes.
        """
        longest = longest_of(model)
        length = min(Pooling.max_length(files) or longest, longest)
        tokenizer = tokenizer_of(files, length, model)
        if not any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or []):
            pooling = Pooling.from_files(files)
            return cls(model, tokenizer, as_is, card, files, config, sigmoid=False, pooling=pooling)
        count = int(model.config.num_labels)  # type: ignore[union-attr, arg-type]
        if count > 1:
            raise DataError(
                f"{files.origin} tells {count} classes apart",
                why="a model that ranks texts has one score",
                fix="choose a cross-encoder, e.g. cross-encoder/ms-marco-MiniLM-L6-v2, or an embedding model",
            )
        said = (config.get("sentence_transformers") or {}).get("activation_fn")
        plain = str(said or config.get("sbert_ce_default_activation_function") or "").endswith("Identity")
        return cls(model, tokenizer, as_is, card, files, config, sigmoid=not plain)

    def __call__(
        self, query: str, texts: Sequence[str] | None = None, *, top_k: int | None = None, too_long: TooLong | None = None
    ) -> Ranking:
        """The texts for a query, the best first.

        Args:
            query: what is asked.
            texts: what may answer it.
            top_k: only the best so many.
            too_long: what happens to a pair that is longer than the model reads; see
                :class:`~nyala.text.tokenizers.tokenizer.Tokenizer`.

        Raises:
            DataError: no query, or no text.
            ArgumentError: ``top_k`` below 1.
        """
        if not isinstance(query, str) or texts is None:
            raise DataError("a query and texts are needed", fix="call it as pipe(query, [text, text, ...])")
        if top_k is not None and top_k < 1:
            raise ArgumentError(f"top_k={top_k}", fix="use at least 1")
        given = texts_of(texts)[0]
        scores = self.scores([(query, text) for text in given], too_long=too_long)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return Ranking(query, [Ranked(int(i), given[i], float(scores[i])) for i in order])

    def from_arguments(self, inputs: Sequence[str]) -> Ranking:
        """A query, then the texts that may answer it."""
        if len(inputs) < 2:
            raise DataError("a query and no text", fix="give the query first, then the texts to put in order")
        return self(inputs[0], list(inputs[1:]))

    def scores(self, pairs: Sequence[tuple[str, str]], too_long: TooLong | None = None) -> np.ndarray[Any, Any]:
        """(N,) float32: how well each second text answers the first.

        Raises:
            DataError: no pair, or something that is not a text.
        """
        if not pairs:
            raise DataError("no text to work on", fix="pass at least one")
        queries, texts = (list(side) for side in zip(*pairs, strict=True))
        if self.pooling is not None:
            every = list(dict.fromkeys((*queries, *texts)))
            place, unit = {text: i for i, text in enumerate(every)}, self.unit_vectors(every, self.pooling, too_long)
            return np.asarray((unit[[place[q] for q in queries]] * unit[[place[t] for t in texts]]).sum(1))
        found = self.run(queries, logits_of, pairs=texts, too_long=too_long)[:, 0]
        return np.asarray(1 / (1 + np.exp(-found)) if self.sigmoid else found)
