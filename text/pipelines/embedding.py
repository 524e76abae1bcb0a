"""The pipeline that turns texts into vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError
from ...hub.pipeline import as_is
from ...hub.results import Results, shortened, table
from ..tokenizers.tokenizer import TooLong
from .batching import TextPipeline, longest_of, texts_of, tokenizer_of
from .pooling import Pooling
from .prompts import Prompts

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...core.tensor import Tensor
    from ...hub.cards import Card
    from ...hub.files import Files


class Embeddings(Results, Sequence[Any]):
    """One vector a text. ``.array`` is (N, D) float32; prints the texts' similarities and draws them as a map.

    Example:
        >>> e = Embeddings(np.eye(2, dtype=np.float32), ["a cat", "a share"])
        >>> e.similarity()
        array([[1., 0.],
               [0., 1.]], dtype=float32)
    """

    def __init__(self, array: np.ndarray[Any, Any], texts: Sequence[str]) -> None:
        self.array, self.texts = array, tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: Any) -> Any:
        return self.array[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.array, dtype, copy=copy)

    def similarity(self, other: Embeddings | None = None) -> np.ndarray[Any, Any]:
        """(N, M) cosines between these texts and others, or among themselves."""
        a, b = (e / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-12) for e in (self.array, (other or self).array))
        return a @ b.T

    def __repr__(self) -> str:
        if len(self) < 2:
            vectors = [" ".join(f"{v:.4f}" for v in e[:4]) + f" ... ({len(e)} numbers)" for e in self.array]
            return table(["text", "vector"], [[shortened(t, 30), v] for t, v in zip(self.texts, vectors, strict=True)])
        near = self.similarity()
        np.fill_diagonal(near, -2)
        best = near.argmax(axis=1)
        rows = [
            [i, shortened(t, 44), shortened(self.texts[b], 44), float(near[i, b])]
            for i, (t, b) in enumerate(zip(self.texts, best, strict=True))
        ]
        return table(["#", "text", "nearest", "cosine"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each text its vector."""
        return [{"input": t, "embedding": [float(v) for v in row]} for t, row in self._pairs()]

    def _pairs(self) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
        return zip(self.texts, self.array, strict=True)

    def draw(self) -> Image:
        """The cosines between all texts as coloured squares."""
        from .drawing import similarity

        return similarity(self.similarity(), self.texts)


@dataclass(frozen=True, eq=False, repr=False)
class TextEmbedding(TextPipeline):
    """Texts -> vectors. Call it on one text (a vector comes back) or a list (:class:`Embeddings`).

    Attributes:
        pooling: how the vectors of the tokens become one, as published with the weights.
        prompts: what the model wants to read before texts, as published with the weights.
    """

    pooling: Pooling = field(default_factory=Pooling)
    prompts: Prompts = field(default_factory=Prompts)

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextEmbedding:
        """Tokenizer, longest input, pooling and prompts from the files that sentence-transformers publishes."""
        longest = longest_of(model)
        tokenizer = tokenizer_of(files, min(Pooling.max_length(files) or longest, longest), model)
        published = {"pooling": Pooling.from_files(files), "prompts": Prompts.from_files(files)}
        return cls(model, tokenizer, as_is, card, files, config, **published)  # type: ignore[arg-type]

    def __call__(
        self, inputs: Any, *, prompt_name: str | None = None, prompt: str | None = None, too_long: TooLong | None = None
    ) -> Any:
        """One text -> (D,) float32; a list -> :class:`Embeddings`.

        Args:
            inputs: texts.
            prompt_name: of the published prompt that is put before each text, ``pipeline.prompts``; by default the default one.
            prompt: what is put before each text, in its place.
            too_long: what happens to a text that is longer than the model reads: "notice" (its end is cut off, and you are
                told), "cut", or "raise".

        Raises:
            DataError: something that is not a text, or one that is too long, where that is an error.
            ArgumentError: a prompt that the model was not published with, or both of them.
            MissingFileError: the model came without a tokenizer.
        """
        texts, single = texts_of(inputs)
        array = self._vectors(texts, self._prompt(prompt_name, prompt), too_long)
        return array[0] if single else Embeddings(array, texts)

    def _prompt(self, name: str | None, prompt: str | None) -> str:
        if name is not None and prompt is not None:
            raise ArgumentError("both prompt_name= and prompt=", why="one of them chooses the text", fix="leave one out")
        return self.prompts.text(name) if prompt is None else prompt

    def _vectors(self, texts: Sequence[Any], prompt: str, too_long: TooLong | None) -> np.ndarray[Any, Any]:
        """(N, D) float32 of texts behind a prompt."""
        told = [prompt + text if isinstance(text, str) else text for text in texts]
        before = 0
        if prompt and not self.pooling.include_prompt:
            ids, around = self.tokenizer().ids(prompt), self.tokenizer().ids("")
            before = len(ids) - (bool(around) and ids[-1] == around[-1])  # but for the special token at the end

        def pooled(hidden: Tensor, batch: dict[str, Tensor]) -> Tensor:
            mask = batch["attention_mask"]
            if before:
                mask = mask * (mask.cumsum(1) > before)
            return self.pooling(hidden, mask)

        return self.run(told, pooled, too_long=too_long)

    def compute(self, batch: dict[str, Tensor]) -> Tensor:
        """The vectors of the tokens, (N, T, D), whatever head the model has."""
        bare: Any = getattr(self.model, "base", self.model)
        hidden: Tensor = bare(**batch).last_hidden_state
        return hidden

    @property
    def width(self) -> int:
        """How many numbers a vector has."""
        if self.pooling.layers:
            return int(self.pooling.layers[-1].weight.shape[0])
        return int(self.model.config.hidden_size) * len(self.pooling.mode.split("+"))  # type: ignore[union-attr, arg-type]

    def stream(
        self,
        texts: Iterable[str],
        *,
        chunk: int = 4096,
        prompt_name: str | None = None,
        prompt: str | None = None,
        too_long: TooLong | None = None,
    ) -> Iterator[np.ndarray[Any, Any]]:
        """The vectors of any number of texts, (n, D) float32 for each ``chunk`` of them: only one chunk is in memory.

        A chunk is sorted by length before it is cut into batches; the vectors come in the order of the texts. Other arguments are
        those of a call.
        """
        rest, before = iter(texts), self._prompt(prompt_name, prompt)
        while part := list(islice(rest, chunk)):
            yield self._vectors(part, before, too_long)
