"""What depends on the kind of data: how one sample is prepared, how samples become a batch, how a sample is shown."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import IndexRangeError
from ...core.random import Key
from ...text.pipelines.tagging import NO_TAG, first_pieces
from ..language.schema import Augment, RandomPart, RandomResizedCrop
from . import augment
from .picture_changes import bytes_changed


class Task(ABC):
    """Preparation of one kind of data for one model."""

    @abstractmethod
    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> Any:
        """One sample, ready to be put into a batch; with a ``key`` it is changed at random."""

    def together(
        self,
        raw: Any,
        augments: Sequence[Augment],  # noqa: ARG002 - for kinds whose samples are made of several
        key: Key,  # noqa: ARG002 - ditto
        others: Callable[[Key, int], list[Any]],  # noqa: ARG002 - ditto
    ) -> Any:
        """The sample that is to be prepared; ``others(key, n)`` gives n samples drawn from the same part."""
        return raw

    @abstractmethod
    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> Any:
        """What the model is called with; ``indices`` name the samples in messages."""

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - for subclasses
        """What the loss is told of a batch: the samples' labels, unless a kind of data has others."""
        return np.array(labels, np.int64)

    @abstractmethod
    def show(self, raw: Any) -> dict[str, Any]:
        """The sample itself, as the report shows it: ``picture`` (PNG), ``sound`` (WAV) or ``text``."""


class Images(Task):
    """Pictures: the preprocessing that came with the weights, and augmentation: of bytes before they are scaled and normalised,
    then of (3, H, W) float32.

    A random resized crop at the head of the list takes the place of resizing and cutting out the middle: it cuts out of the
    picture itself, which is scaled once.

    Args:
        preprocess: has ``one(picture) -> (3, H, W) float32``; see :class:`~nyala.vision.preprocess.ImagePreprocess`.
    """

    def __init__(self, preprocess: Any) -> None:
        self.preprocess = preprocess

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> np.ndarray:
        if key is None:
            return self.preprocess.one(raw)
        if augments and isinstance(augments[0], RandomResizedCrop):
            from ...vision.io import load_image

            image = load_image(raw)
            pixels = self.preprocess.part(image, augment.resized_crop_box(image.size, augments[0], key.fold(0)))
            pixels, done = bytes_changed(pixels, augments, key, done=1)
        else:
            pixels, done = bytes_changed(self.preprocess.crop(raw), augments, key, done=0)
        return augment.image(self.preprocess.normalise(pixels), augments, key, done)

    def collate(self, prepared: Sequence[np.ndarray], indices: np.ndarray) -> Any:  # noqa: ARG002 - the task's signature
        return from_numpy(np.stack(prepared))

    def show(self, raw: Any) -> dict[str, Any]:
        from ..report.samples import show_picture

        return show_picture(raw)


class Sounds(Task):
    """Sounds: read and resampled, changed as samples, then the preprocessing that came with the weights.

    Args:
        preprocess: a :class:`~nyala.audio.transforms.frontends.FrontEnd`.
    """

    def __init__(self, preprocess: Any) -> None:
        self.preprocess = preprocess

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> np.ndarray:
        from ...audio.pipelines.sounds import samples_of

        made, augments = self.preprocess, augments if key is not None else ()
        part = bool(augments) and isinstance(augments[0], RandomPart)
        start = float(key.fold(0).uniform()) if part and key is not None else 0.0
        samples = samples_of(opened(raw), made.sample_rate, most=made.samples, start=start)
        if not augments or key is None:
            return made.one(samples, name=named(raw))
        samples = augment.sound(samples, made.sample_rate, augments, key)[: made.samples]
        return augment.frames(made.one(samples, name=named(raw)), made.count(len(samples)), augments, key)

    def collate(self, prepared: Sequence[np.ndarray], indices: np.ndarray) -> Any:  # noqa: ARG002 - the task's signature
        return self.preprocess.batch(prepared)

    def show(self, raw: Any) -> dict[str, Any]:
        from ..report.samples import show_sound

        return show_sound(opened(raw))


def opened(raw: Any) -> Any:
    """A sound as its readers take it: the bytes of a file as an open one."""
    return io.BytesIO(raw) if isinstance(raw, bytes) else raw


def named(raw: Any) -> str:
    """What messages call a sound: its file, where it has one."""
    return str(raw) if isinstance(raw, (str, Path)) else "a sound"


class Texts(Task):
    """Texts: the tokenizer that came with the weights; a batch is padded to its longest text.

    Args:
        tokenizer: ``tokenizer(texts) -> {"input_ids": ..., "attention_mask": ...}``, padded int64 arrays.
        vocabulary: rows of the model's embedding.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self.tokenizer, self.vocabulary = tokenizer, vocabulary

    def prepare(self, raw: str, augments: Sequence[Augment] = (), key: Key | None = None) -> str:
        return raw if key is None else augment.text(raw, augments, key)

    def collate(self, prepared: Sequence[str], indices: np.ndarray) -> dict[str, Any]:
        tokens = self.tokenizer(list(prepared))
        check_tokens(np.asarray(tokens["input_ids"]), self.vocabulary, indices)
        return dict(tokens)

    def show(self, raw: str) -> dict[str, Any]:
        from ..report.samples import show_text

        return show_text(raw)


class TaggedTexts(Task):
    """Words with tags: each word's first token carries its tag. Words behind the longest input are cut off.

    Args:
        tokenizer: of the model; see :class:`~nyala.text.tokenizers.tokenizer.Tokenizer`.
        vocabulary: rows of the model's embedding.
        tags: names by number.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, tags: Sequence[str]) -> None:
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        self.number = {tag: i for i, tag in enumerate(tags)}

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> Any:  # noqa: ARG002 - none is for tags
        row = self.tokenizer.encode_words([raw.words])[0]
        told = np.full(len(row.ids), NO_TAG, np.int64)
        for word, place in first_pieces(row.pieces):
            told[place] = self.number[raw.tags[word]]
        return row, told

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:
        tokens = self.tokenizer.pad([row[:2] for row, _ in prepared])
        check_tokens(np.asarray(tokens["input_ids"]), self.vocabulary, indices)
        return dict(tokens)

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are in the text
        told = np.full(inputs["input_ids"].shape, NO_TAG, np.int64)
        for row, (_, tags) in zip(told, prepared, strict=True):
            row[: len(tags)] = tags
        return told

    def show(self, raw: Any) -> dict[str, Any]:
        return {"text": " ".join(raw.words)[:600]}


class TextPairs(Task):
    """Two texts that belong together, each tokenized for itself.

    Args:
        texts: prepares either of them.
    """

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> tuple[str, str]:
        first, second = (key.fold(i) if key is not None else None for i in (0, 1))
        return self.texts.prepare(raw.anchor, augments, first), self.texts.prepare(raw.positive, augments, second)

    def collate(self, prepared: Sequence[tuple[str, str]], indices: np.ndarray) -> dict[str, dict[str, Any]]:
        anchors, partners = zip(*prepared, strict=True)
        return {"anchor": self.texts.collate(anchors, indices), "positive": self.texts.collate(partners, indices)}

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - each its own
        return np.arange(len(prepared))

    def show(self, raw: Any) -> dict[str, Any]:
        return {"text": raw.anchor[:600]}


class Windows(Task):
    """Tokens of a corpus, cut to equal length before.

    Args:
        tokenizer: of the model, to show them as text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> Any:  # noqa: ARG002 - none is for them
        return raw

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:  # noqa: ARG002 - the task's signature
        return {"input_ids": from_numpy(np.stack(prepared))}

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are the tokens
        return np.stack(prepared)

    def show(self, raw: Any) -> dict[str, Any]:
        return {"text": self.tokenizer.decode(raw)[:600]}


def check_tokens(ids: np.ndarray, vocabulary: int, indices: np.ndarray) -> None:
    """Every token id is a row of the embedding.

    Raises:
        IndexRangeError: naming the first sample with one that is not.
    """
    bad = np.argwhere((ids < 0) | (ids >= vocabulary))
    if len(bad):
        row, column = (int(v) for v in bad[0])
        sample, token = int(indices[row]), int(ids[row, column])
        raise IndexRangeError(
            f"sample {sample} has token id {token} at position {column} and the vocabulary has {vocabulary}",
            why="the embedding has no such row",
            fix="use the tokenizer that belongs to these weights",
        )
