"""Sounds with transcripts, made ready for Whisper, and for networks that are trained by connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.create import from_numpy
from ...core.errors import DataError
from ...core.random import Key
from ..language.schema import Augment
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
        pipeline: for speech recognition; see :class:`~nyala.audio.recognition.SpeechRecognition`.
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


def heard(raw: Any, rate: int, most: int | None, augments: Sequence[Augment], key: Key | None) -> np.ndarray:
    """The samples of an utterance, (T,) float32, changed at random by ``key``; never longer than ``most``."""
    from ...audio.sounds import samples_of

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
