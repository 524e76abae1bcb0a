"""Datasets by name, image folder or JSON lines, cut into training, validation and test parts; labels are checked before anything
runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...core import random
from ...core.errors import DataError
from ..language.schema import Columns, Data, Masking, Spans
from ..proof import hashing
from . import folds


@runtime_checkable
class Selectable(Protocol):
    """Samples that are read when they are asked for, and can be chosen without being read."""

    def select(self, indices: np.ndarray) -> Sequence[Any]:
        """Those at ``indices``."""


@dataclass(frozen=True)
class Part:
    """Raw inputs and labels, by position.

    Attributes:
        inputs: pictures (uint8 arrays or paths), sounds (paths or bytes) or texts.
        labels: whole numbers, int64 (N,).
    """

    inputs: Sequence[Any]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def sample(self, index: int) -> tuple[Any, int]:
        """The raw input and the label of one sample."""
        return self.inputs[index], int(self.labels[index])

    def files(self) -> list[Path]:
        """The files that the samples lie in, as far as they lie in files."""
        if self.inputs and hasattr(self.inputs[0], "files"):
            return [path for value in self.inputs for path in value.files()]
        found = (getattr(value, "sound", value) for value in self.inputs)
        return [value for value in found if isinstance(value, Path)]

    def take(self, indices: np.ndarray) -> Part:
        """The samples at ``indices``, in that order."""
        if isinstance(self.inputs, Selectable):
            return Part(self.inputs.select(indices), self.labels[indices])
        return Part([self.inputs[int(i)] for i in indices], self.labels[indices])


@dataclass(frozen=True)
class Source:
    """A whole dataset.

    Attributes:
        kind: a name of ``kinds.KINDS``.
        labels: class names by number.
        train, validation, test: the parts; ``validation`` may be empty.
        hashes: name -> sha256 of what was read, for the manifest.
        masking: how tokens are hidden, for the kind "masked".
        spans: how stretches are cut out, for the kind "spans".
    """

    kind: str
    labels: list[str]
    train: Part
    validation: Part
    test: Part
    hashes: dict[str, str]
    masking: Masking | None = None
    spans: Spans | None = None


@dataclass(frozen=True)
class Raw:
    """What a reader gives: the parts as published, before any split.

    ``notes`` say what was made of them, for the user; ``commit`` is that of a hub dataset.
    """

    kind: str
    labels: list[str]
    train: Part
    test: Part | None
    hashes: dict[str, str]
    validation: Part | None = None
    notes: tuple[str, ...] = ()
    commit: str = ""


def load(recipe: Data, seed: int, raw: Raw | None = None) -> Source:
    """Reads a recipe's dataset and splits it.

    Args:
        recipe: the ``[data]`` table.
        seed: what the splits are drawn by.
        raw: what ``read`` gave, where it has been called already.

    Raises:
        DataError: no such data, a label outside the classes, an unreadable sample, too few samples.
    """
    raw = raw or read(recipe)
    train, test = raw.train, raw.test
    if raw.labels:
        check_labels(raw.train, len(raw.labels), f"{recipe.name}, training part")
    if recipe.folds is not None:
        held = folds.assign(train.labels, recipe.folds, seed) == recipe.fold
        train, test = train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
    elif test is None:
        train, test = _split(train, recipe.test_fraction, seed, "test-split")
    elif raw.labels:
        check_labels(test, len(raw.labels), f"{recipe.name}, test part")
    if raw.validation is None:
        train, validation = _split(train, recipe.validation_fraction, seed, "validation-split")
    else:
        validation = raw.validation
    train = _limit(train, recipe.limit_train, seed, "limit-train")
    test = _limit(test, recipe.limit_test, seed, "limit-test")
    needed = {"training": train, "test": test} | ({"validation": validation} if recipe.validation_fraction else {})
    for name, part in needed.items():
        if not len(part):
            fix = "give more samples, or change data.test_fraction and data.validation_fraction"
            raise DataError(f"the {name} part of {recipe.name} is empty", fix=fix)
    return Source(raw.kind, raw.labels, train, validation, test, raw.hashes, recipe.masked, recipe.spans)


def check_labels(part: Part, classes: int, where: str) -> None:
    """Every label is one of the classes.

    Raises:
        DataError: naming the first sample whose label is not.
    """
    bad = np.flatnonzero((part.labels < 0) | (part.labels >= classes))
    if len(bad):
        first = int(bad[0])
        what = (
            f"sample {first} of {where} has label {int(part.labels[first])} and there are {classes} classes (0 to {classes - 1})"
        )
        more = f"; {len(bad)} samples are like this" if len(bad) > 1 else ""
        raise DataError(what + more, why="the loss of such a label is undefined", fix="correct the labels, or num_classes")


def _split(part: Part, fraction: float, seed: int, purpose: str) -> tuple[Part, Part]:
    """Two parts; the second gets ``fraction`` of each class, drawn by the seed. Both keep their order.

    Where every class is too small for that, it is drawn from all samples, whatever their class.
    """
    if not fraction:
        return part, part.take(np.arange(0))
    chosen = np.zeros(len(part), bool)
    for label in np.unique(part.labels):
        members = np.flatnonzero(part.labels == label)
        picks = random.key(seed, purpose, int(label)).permutation(len(members))[: round(fraction * len(members))]
        chosen[members[picks]] = True
    if not chosen.any():
        chosen[random.key(seed, purpose).permutation(len(part))[: round(fraction * len(part))]] = True
    return part.take(np.flatnonzero(~chosen)), part.take(np.flatnonzero(chosen))


def _limit(part: Part, limit: int | None, seed: int, purpose: str) -> Part:
    if limit is None or limit >= len(part):
        return part
    return part.take(np.sort(random.key(seed, purpose).permutation(len(part))[:limit]))


# ---- readers ------------------------------------------------------------------------------------------------------


def read(recipe: Data) -> Raw:
    """A dataset as published: its training part, and its test part where it has one; nothing is split, limited or checked."""
    raw = _read(recipe)
    if recipe.corrupt == "skip":
        from .readers.published import without_damaged

        raw = without_damaged(raw)
    wanted = [name for name in ("masked", "spans") if getattr(recipe, name) is not None]
    if not wanted:
        return raw
    from . import masked

    return masked.of_raw(raw, recipe.name, wanted[0])


def _read(recipe: Data) -> Raw:
    from .readers.published import PUBLISHED

    if recipe.name in REGISTERED or recipe.name in PUBLISHED:
        refused = [key for key in ("validation", "test", "subset") if getattr(recipe, key) is not None]
        refused += ["columns"] if recipe.columns != Columns() else []
        if refused:
            raise DataError(f"{recipe.name} has its own parts and columns", fix=f"leave data.{refused[0]} out")
        return REGISTERED[recipe.name]() if recipe.name in REGISTERED else PUBLISHED[recipe.name].read()
    from . import readers
    from .readers import boxes, layouts, masks, published, speech, structured

    special = (published, boxes, masks, structured, layouts, speech)
    return next((raw for one in special if (raw := one.read(recipe)) is not None), None) or readers.read(recipe)


# ---- registered datasets ------------------------------------------------------------------------------------------


def _fashion_mnist(sample: bool) -> Raw:
    from ...vision.datasets import FashionMNIST

    parts, hashes = {}, {}
    for name in ("train", "test"):
        read = FashionMNIST(name, sample=sample)
        parts[name] = Part(list(read.images), np.asarray(read.labels, np.int64))
        hashes[name] = hashing.of_arrays({"images": read.images, "labels": parts[name].labels})
    return Raw("image", list(read.classes), parts["train"], parts["test"], hashes)


def _drawn_shapes() -> Raw:
    """Made-up pictures with boxes; their hashes are those of every pixel and box."""
    from ...vision.datasets.shapes import DrawnShapes
    from .boxes import objects_of

    parts, hashes = {}, {}
    for name, count in (("train", 1000), ("test", 200)):
        drawn = list(DrawnShapes(name, count))
        parts[name] = Part(drawn, np.zeros(count, np.int64))
        pixels = {f"{i}.image": one.image for i, one in enumerate(drawn)}
        known = {f"{i}.objects": objects_of(one) for i, one in enumerate(drawn)}
        hashes[name] = hashing.of_arrays(pixels | known)
    return Raw("boxes", list(DrawnShapes.classes), parts["train"], parts["test"], hashes)


def _mails(sample: str) -> Raw:
    """Shipped e-mails with a class each."""
    from ...text import datasets

    kind = getattr(datasets, sample)
    parts, hashes = {}, {}
    for name in ("train", "test"):
        read = kind(name)
        parts[name] = Part(read.texts, np.array(read.labels, np.int64))
        hashes[name] = hashing.of_file(kind.file(name))
    return Raw("text", list(kind.names), parts["train"], parts["test"], hashes)


def _mail(read: str, make: Callable[..., Raw], **more: Any) -> Raw:
    """One of the tasks on the shipped e-mails."""
    from ...text import datasets

    parts = {name: getattr(datasets, read)(name) for name in ("train", "test")}
    return make(parts, {name: hashing.of_file(datasets.Spam.file(name)) for name in parts}, **more)


def _mail_marks() -> Raw:
    from .readers import structured

    return _mail("mail_marks", structured.of_tags, where="mail-marks")


def _mail_texts() -> Raw:
    from .readers import structured

    return _mail("mail_texts", structured.of_texts)


def _mail_questions() -> Raw:
    from .readers import structured

    return _mail("mail_questions", structured.of_questions)


def _mail_subjects() -> Raw:
    from .readers import structured

    return _mail("mail_subjects", structured.of_pairs)


def _mail_summaries() -> Raw:
    from .readers import structured

    return _mail("mail_summaries", structured.of_rewrites)


def _spoken_words() -> Raw:
    """Recordings with what is said in them, under the names that they have wherever they lie."""
    from ...audio.datasets.utterances import SpokenWords
    from .readers import speech

    found = {name: SpokenWords(name) for name in ("train", "test")}
    hashes = {
        name: hashing.of_files((key, one.sound) for key, one in zip(part.names, part.utterances, strict=True))
        for name, part in found.items()
    }
    return speech.of_utterances({name: part.utterances for name, part in found.items()}, hashes)


def _digit_strings() -> Raw:
    from ...audio.datasets.strings import DigitStrings
    from .readers import speech

    parts = {name: DigitStrings(name) for name in ("train", "test")}
    hashes = {name: hashing.of_files((path.name, path) for path in part.files) for name, part in parts.items()}
    return speech.of_utterances(dict(parts), hashes)


def _recordings(read: str) -> Raw:
    """Recordings with a class each, under the names that they have wherever they lie."""
    from ...audio import datasets

    found = {name: getattr(datasets, read)(name) for name in ("train", "test")}
    parts = {name: Part(part.files, np.array(part.labels, np.int64)) for name, part in found.items()}
    hashes = {name: hashing.of_files(zip(part.names, part.files, strict=True)) for name, part in found.items()}
    return Raw("sound", list(found["train"].classes), parts["train"], parts["test"], hashes)


def _fashion_scenes() -> Raw:
    from ...vision.datasets.fashion_scenes import FashionScenes
    from .readers import masks

    parts = {name: FashionScenes(name) for name in ("train", "test")}
    hashes = {
        name: hashing.of_arrays({"images": np.stack([s.image for s in found]), "masks": np.stack([s.mask for s in found])})
        for name, found in parts.items()
    }
    return masks.of_masks(dict(parts), list(FashionScenes.classes), hashes)


REGISTERED: dict[str, Callable[[], Raw]] = {
    "fashion-scenes": _fashion_scenes,
    "mail-marks": _mail_marks,
    "mail-questions": _mail_questions,
    "mail-subjects": _mail_subjects,
    "mail-summaries": _mail_summaries,
    "mail-texts": _mail_texts,
    "mail-topics": lambda: _mails("Topics"),
    "drawn-shapes": _drawn_shapes,
    "fashion-mnist-sample": lambda: _fashion_mnist(sample=True),
    "fashion-mnist": lambda: _fashion_mnist(sample=False),
    "spam-sample": lambda: _mails("Spam"),
    "spoken-numbers": lambda: _recordings("SpokenNumbers"),
    "digit-strings": _digit_strings,
    "spoken-words": _spoken_words,
    "voices": lambda: _recordings("Voices"),
}
