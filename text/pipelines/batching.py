"""What pipelines on text have in common: texts become tokens, and go through the model in batches of similar length."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import no_grad
from ...core.errors import DataError, IndexRangeError, MissingFileError, kind_of
from ...hub.pipeline import Pipeline, Unavailable
from ...hub.results import shortened
from ..tokenizers.files import Settings
from ..tokenizers.tokenizer import INPUTS, Tokenizer, TooLong
from .pooling import Pooling

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...core.tensor import Tensor
    from ...hub.files import Files

_USUAL = 512  # tokens; of longer texts fewer go through the model at once, so that memory stays what it was
Use = Callable[[Any, "dict[str, Tensor]"], "Tensor"]


@dataclass(frozen=True, eq=False, repr=False)
class TextPipeline(Pipeline):
    """Texts go through the model in batches of similar length, and come back in their order.

    Attributes:
        batch_size: how many go through the model at once.
    """

    preprocess: Any
    batch_size: int = 32

    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            MissingFileError: the model came without one.
        """
        if isinstance(self.preprocess, Unavailable):
            self.preprocess()
        tokenizer: Tokenizer = self.preprocess
        return tokenizer

    def run(
        self, texts: Sequence[str], use: Use, *, pairs: Sequence[str] | None = None, too_long: TooLong | None = None
    ) -> np.ndarray[Any, Any]:
        """(N, ...) rows of ``use(output, batch)``, in the order of the texts.

        Args:
            texts: what to work on.
            use: what the model gives for a batch, and the batch -> a row for each.
            pairs: a second text for each.
            too_long: what happens to texts that are too long; see :class:`~nyala.text.tokenizers.tokenizer.Tokenizer`.

        Raises:
            DataError: something that is not a text.
            IndexRangeError: a token that the model does not have.
            MissingFileError: the model came without a tokenizer.
        """
        rows = self.tokenizer().encode(list(texts), None, pairs, too_long)
        self.check(rows, texts)
        return np.stack(self.run_rows(rows, use))

    def unit_vectors(self, texts: Sequence[str], pooling: Pooling, too_long: TooLong | None = None) -> np.ndarray[Any, Any]:
        """(N, D) float32 of length 1: what a model that embeds texts gives for each."""
        found = self.run(texts, lambda out, batch: pooling(out.last_hidden_state, batch["attention_mask"]), too_long=too_long)
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))

    def run_rows(self, rows: Sequence[Any], use: Use) -> list[np.ndarray[Any, Any]]:
        """The same of rows of tokens."""
        found: list[Any] = [None] * len(rows)
        for part, batch in self.batches(rows):
            for i, row in zip(part, use(self.compute(batch), batch).float().cpu().numpy(), strict=True):
                found[i] = row
        return found

    def compute(self, batch: dict[str, Tensor]) -> Any:
        """What the model gives for a batch."""
        return self.model(**batch)

    def batches(self, rows: Sequence[Any]) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """The rows in batches, the longest first: their numbers, and what the model takes. No graph is recorded meanwhile."""
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i][0]), i))
        device = next(self.model.parameters()).device
        while order:
            count = max(1, min(self.batch_size, self.batch_size * _USUAL // max(1, len(rows[order[0]][0]))))
            part, order = order[:count], order[count:]
            with no_grad():
                yield part, {k: v.to(device) for k, v in self.preprocess.pad([rows[i] for i in part]).items()}

    def check(self, rows: Sequence[Any], texts: Sequence[str]) -> None:
        """Each token is one of the model's: known before the first batch, with the text it stands in."""
        size = getattr(self.model.config, "vocab_size", None)
        if size is None:
            return
        for i, row in enumerate(rows):
            strange = next((t for t in row[0] if t >= size), None)
            if strange is not None:
                token = self.preprocess.token(strange)
                raise IndexRangeError(
                    f"input {i} ({shortened(texts[i], 40)!r}) has the token {token!r}, number {strange:,}",
                    why=f"the model has {size:,} tokens: this tokenizer belongs to another one",
                    fix="use the tokenizer that came with these weights",
                )


def longest_of(model: Module) -> int:
    """Tokens that a model reads at most."""
    config: Any = model.config
    return int(getattr(config, "max_tokens", None) or config.max_position_embeddings)


def length_of(files: Files, model: Module) -> int:
    """Tokens that texts are cut to: as many as the model reads, or what its publishers say, where that is less."""
    published = Pooling.max_length(files) or Settings.from_files(files).max_length
    return min(published or longest_of(model), longest_of(model))


def tokenizer_of(files: Files, max_length: int, model: Module | None = None) -> Any:
    """The tokenizer of a model's files, or what says that it is missing.

    Args:
        files: of the model.
        max_length: tokens that it may be given.
        model: only what its ``forward`` takes is made.
    """
    try:
        tokenizer = Tokenizer.from_files(files, max_length)
    except MissingFileError:
        return Unavailable("tokenizer.json", "turn text into tokens", files.origin)
    if model is None:
        return tokenizer
    taken = inspect.signature(model.forward).parameters
    return tokenizer.replace(inputs=[name for name in INPUTS if name in taken])


def logits_of(output: Any, _: dict[str, Tensor]) -> Tensor:
    """What a classifier says of each text, whether it returns its logits or something that has them."""
    logits: Tensor = getattr(output, "logits", output)
    return logits


def texts_of(inputs: Any) -> tuple[list[str], bool]:
    """The texts that a pipeline was called with, and whether it was a single one.

    Raises:
        DataError: neither a text nor a list of texts.
    """
    if isinstance(inputs, str):
        return [inputs], True
    if isinstance(inputs, bytes) or not hasattr(inputs, "__iter__"):
        fix = "decode it first, e.g. data.decode('utf-8')" if isinstance(inputs, bytes) else "pass a string, or a list of strings"
        raise DataError(f"the input is {kind_of(inputs)}, not a text", fix=fix)
    return list(inputs), False
