"""Sounds with transcripts, made ready for Whisper, and for networks that are trained by connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from ...audio.ctc.letters import Letters
from ...audio.scores import words
from ...core.create import from_numpy
from ...core.errors import DataError, RecipeError
from ...core.random import Key
from ...hub import registry
from ...hub.client import fetch_resolved, resolve
from ...hub.load import read_config
from ...hub.pipeline import Unavailable
from ..language.schema import Augment, Model
from . import augment
from .datasets import Part, Source
from .tasks import Task, named, opened

UNTOLD = -100  # in targets: a place that is told nothing


def fitted(source: Source, pipeline: Any, language: str | None) -> Source:
    """The dataset with a language for each sound.

    Raises:
        RecipeError: a model of English alone is told another language.
        UnknownNameError: a language that the model does not know.
    """
    if hasattr(pipeline, "letters"):
        if language is not None:
            raise RecipeError("model.language: this model spells what it hears, in one language", fix="leave it out")
        if source.labels:  # a new alphabet begins with its blank
            pipeline.model.config = replace(pipeline.model.config, pad_token_id=0)
        return source
    known = pipeline.tokens.languages
    if language is not None:
        pipeline.tokens.prompt(language, "transcribe", False)

    def told(part: Part) -> Part:
        return Part([replace(u, language=(u.language or language) if known else None) for u in part.inputs], part.labels)

    for code in sorted({u.language for part in (source.train, source.validation, source.test) for u in part.inputs} - {None}):
        if known:
            pipeline.tokens.language(code)
    return replace(source, train=told(source.train), validation=told(source.validation), test=told(source.test))


class Dictation(Task):
    """For Whisper: log-mel pictures of a whole window, and the tokens of the prompt, the text and its end.

    Args:
        pipeline: for speech recognition; see :class:`~nyala.audio.pipelines.recognition.SpeechRecognition`.
    """

    def __init__(self, pipeline: Any) -> None:
        self.mel, self.window, self.tokens = pipeline.preprocess, pipeline.window, pipeline.tokens

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> tuple[np.ndarray, np.ndarray]:
        samples = heard(raw, self.mel.sample_rate, self.window, augments, key)
        picture = self.mel(samples, self.window - len(samples)).numpy()[0]
        if key is not None and augments:
            picture = augment.frames(picture.T, len(samples) // 160, augments, key).T
        told = [*self.tokens.prompt(raw.language, "transcribe", False), *self.tokens.encode(" " + raw.text), self.tokens.end]
        return np.ascontiguousarray(picture), np.array(told, np.int64)

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:  # noqa: ARG002 - the task's signature
        pictures, told = zip(*prepared, strict=True)
        ids = filled([row[:-1] for row in told], self.tokens.end)
        return {"input_features": from_numpy(np.stack(pictures)), "decoder_input_ids": from_numpy(ids)}

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are in the text
        prompt = len(self.tokens.prompt(None, "transcribe", False))
        rows = [np.concatenate([np.full(prompt - 1, UNTOLD), told[prompt:]]) for _, told in prepared]
        return filled(rows, UNTOLD)

    def show(self, raw: Any) -> dict[str, Any]:
        return shown(raw)


class Spelling(Task):
    """For networks that spell: samples as they take them, and the letters of the text.

    Targets are int64 (N, 1 + letters): the first number of a row says how many frames are of its sound.

    Args:
        pipeline: for speech recognition; see :class:`~nyala.audio.pipelines.spelling.CTCRecognition`.
        letters: the alphabet.
    """

    def __init__(self, pipeline: Any, letters: Letters) -> None:
        self.waves, self.frames, self.letters = pipeline.preprocess, pipeline.model.config.frames, letters

    def prepare(self, raw: Any, augments: Sequence[Augment] = (), key: Key | None = None) -> tuple[np.ndarray, np.ndarray]:
        told = self.letters.encode(spelled(raw.text, self.letters))
        needed = len(told) + sum(a == b for a, b in pairwise(told))  # a blank between two that are alike
        samples = heard(raw, self.waves.sample_rate, None, augments, key)
        if augments and self.frames(len(samples)) < needed:  # it was played too fast
            samples = heard(raw, self.waves.sample_rate, None, (), None)
        frames = int(self.frames(len(samples))) if len(samples) >= self.waves.least else 0
        if frames < needed:
            raise DataError(
                f"{named(raw.sound)} has {frames} frames for the {needed} letters of {raw.text[:60]!r}",
                why="each letter takes a frame of its own",
                fix="check that the transcript belongs to it, or leave it out",
            )
        return self.waves.one(samples, name=named(raw.sound)), np.array([frames, *told], np.int64)

    def collate(self, prepared: Sequence[Any], indices: np.ndarray) -> dict[str, Any]:  # noqa: ARG002 - the task's signature
        return dict(self.waves.batch([samples for samples, _ in prepared]))

    def targets(self, prepared: Sequence[Any], labels: Sequence[int], inputs: Any) -> np.ndarray:  # noqa: ARG002 - they are in the text
        return filled([told for _, told in prepared], UNTOLD)

    def show(self, raw: Any) -> dict[str, Any]:
        return shown(raw)


def spelled(text: str, letters: Letters) -> str:
    """A text in the alphabet's case, without marks that the alphabet lacks; letters that it lacks stay.

    Example:
        >>> spelled("Don't stop -- me, now!", Letters(("_", " ", *"DONTSPEMW'"), 0, " "))
        "DON'T STOP ME NOW"
    """
    plain, known = letters.normalized(text.replace("\u2019", "'")), set(letters.names) - letters.marks
    kept = "".join(c if c in known or c.isalnum() else " " if c.isspace() or c == "-" else "" for c in plain)
    return " ".join(kept.split())


def alphabet(texts: Iterable[str]) -> list[str]:
    """The letters of some transcripts as a new alphabet: the blank, what stands between words, the letters, and the unknown.

    Example:
        >>> alphabet(["A cab!", "bad"])
        ['<pad>', '|', 'a', 'b', 'c', 'd', '<unk>']
    """
    found = {letter for text in texts for word in words(text) for letter in word}
    return ["<pad>", "|", *sorted(found), "<unk>"]


def letters_of(labels: Sequence[str], pipeline: Any) -> Letters:
    """The new alphabet of a run, or the model's own."""
    if not labels:
        if isinstance(pipeline.letters, Unavailable):
            pipeline.letters()
        return pipeline.letters
    return Letters.of({letter: number for number, letter in enumerate(labels)}, 0, {"do_lower_case": True})


def spells(recipe: Model) -> bool:
    """Whether a recipe's model is trained by connectionist temporal classification, as its architecture tells.

    Raises:
        RecipeError: it is for no speech recognition at all.
    """
    resolved = resolve(recipe.name)
    if resolved.card is not None:
        architecture = resolved.card.architecture
    else:
        files = fetch_resolved(resolved)
        architecture = registry.architecture_of(read_config(files, None), files.origin)
    head = getattr(registry.get(architecture), "HEADS", {}).get("speech-recognition")
    if head is None:
        raise RecipeError(
            f"model.name: {recipe.name} recognises no speech, and the data are sounds with transcripts",
            fix="choose a model for it: `nyala list --task speech-recognition`; to sort sounds into classes, name their column: "
            "data.columns.label=NAME",
        )
    return bool(head.endswith("ForCTC"))


def covers(recipe: Model, source: Source) -> bool:
    """Whether the model that a recipe names spells, and has all letters of the training part in its own alphabet."""
    if not spells(recipe) or recipe.random_init:
        return False
    files = fetch_resolved(resolve(recipe.name))
    if "vocab.json" not in files:
        return False
    config = read_config(files, None)
    own = Letters.from_files(files, int(config.get("pad_token_id") or 0))
    known = {own.normalized(name) for name in own.names if name not in own.marks}
    needed = {letter for u in source.train.inputs for letter in spelled(u.text, own) if letter != " "}
    return needed <= known


def heard(raw: Any, rate: int, most: int | None, augments: Sequence[Augment], key: Key | None) -> np.ndarray:
    """The samples of an utterance, (T,) float32, changed at random by ``key``; never longer than ``most``."""
    from ...audio.pipelines.sounds import samples_of

    samples = samples_of(opened(raw.sound), rate)
    if most is not None and len(samples) > most:
        raise DataError(
            f"{named(raw.sound)} lasts {len(samples) / rate:.1f} s",
            why=f"the model hears {most / rate:g} s at once, and the transcript tells of all",
            fix="cut the sound and its transcript into pieces, or leave it out",
        )
    if key is None or not augments:
        return samples
    return augment.sound(samples, rate, augments, key)[:most]


def filled(rows: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Rows of different lengths as one array, filled up behind.

    Example:
        >>> filled([np.array([1, 2]), np.array([3])], -100).tolist()
        [[1, 2], [3, -100]]
    """
    made = np.full((len(rows), max(map(len, rows))), value, np.int64)
    for place, row in zip(made, rows, strict=True):
        place[: len(row)] = row
    return made


def shown(raw: Any) -> dict[str, Any]:
    """The sound, as the report plays it."""
    from ..report.samples import show_sound

    return show_sound(opened(raw.sound))
