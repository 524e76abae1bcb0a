"""Texts for a model that guesses hidden tokens: cut to length, and hidden anew each time they are seen."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core import random
from ...core.create import from_numpy
from ...core.errors import DataError, RecipeError
from ...core.random import Key
from ...text.datasets.packing import pack
from ...text.pipelines.tagging import NO_TAG
from ...text.tokenizers.masking import Masker
from ..language.schema import Augment, Masking
from .datasets import Part, Raw, Source
from .tasks import Task, check_tokens

PLACES = "places"  # where the hidden tokens stand in the batch, row after row: the head looks at these alone


def of_raw(raw: Raw, name: str, kind: str = "masked") -> Raw:
    """The dataset with its texts alone, for a kind that hides or cuts out parts of them.

    Raises:
        RecipeError: it does not consist of texts.
    """
    if raw.kind not in ("corpus", "text"):
        raise RecipeError(f"data.{kind}: {name} holds no plain texts", fix="give text files, or a file with a column of texts")

    def plain(part: Part | None) -> Part | None:
        return None if part is None else Part(part.inputs, np.zeros(len(part), np.int64))

    train = plain(raw.train)
    assert train is not None
    return replace(raw, kind=kind, labels=[], train=train, validation=plain(raw.validation), test=plain(raw.test))


def fitted(source: Source, tokenizer: Any, length: int) -> Source:
    """The texts of each part as rows of at most ``length`` tokens, special ones included.

    Raises:
        DataError: a part too short for one window.
    """
    masking = source.masking or Masking()
    around = tokenizer.backend.post_process(tokenizer.backend.encode("", add_special_tokens=False)).ids
    half = (len(around) + 1) // 2
    between = around[-1] if around else None

    def cut(name: str, part: Part) -> Part:
        if not masking.pack:
            return Part(_Rows(part.inputs, tokenizer, length), part.labels)
        found = pack(part.inputs, tokenizer, length, between=between, around=(around[:half], around[half:]))
        if not len(found) and len(part):
            raise DataError(
                f"the {name} part has {len(part)} text(s), together shorter than one window of {length} tokens",
                fix="give more text, make model.max_length smaller, or set data.masked.pack=false",
            )
        return Part(found, np.zeros(len(found), np.int64))

    train, validation, test = cut("training", source.train), cut("validation", source.validation), cut("test", source.test)
    return replace(source, train=train, validation=validation, test=test)


class _Rows(Sequence[np.ndarray]):
    """Each text as its tokens, encoded when it is asked for."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, length: int) -> None:
        self.texts, self.tokenizer, self.length = texts, tokenizer, length

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: Any) -> Any:
        return np.array(self.tokenizer.ids(self.texts[index], self.length), np.int64)


class Masked(Task):
    """Rows of tokens, some of them hidden: in training by the sample's key, in evaluation always the same ones.

    Args:
        masker: hides tokens.
        vocabulary: rows of the model's embedding.
    """

    def __init__(self, masker: Masker, vocabulary: int) -> None:
        self.masker, self.tokenizer, self.vocabulary = masker, masker.tokenizer, vocabulary

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> Any:  # noqa: ARG002 - none is for them
        fixed = random.key(0, "masking", zlib.crc32(np.ascontiguousarray(raw).tobytes()))
        return self.masker(raw, fixed if key is None else key.fold("masking"))

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:
        tokens = self.tokenizer.pad([(ids.tolist(), (0,) * len(ids)) for ids, _ in prepared])
        check_tokens(np.asarray(tokens["input_ids"]), self.vocabulary, indices)
        told = self.targets(prepared, (), tokens)
        return {**tokens, PLACES: from_numpy(np.flatnonzero(told.ravel() != NO_TAG))}

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are in the text
        told = np.full(inputs["input_ids"].shape, NO_TAG, np.int64)
        for row, (_, hidden) in zip(told, prepared, strict=True):
            row[: len(hidden)] = hidden
        return told

    def show(self, raw: Any) -> dict[str, Any]:
        return {"text": self.tokenizer.decode(raw)[:600]}
