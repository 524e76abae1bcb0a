"""Texts to speech."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError, kind_of
from ...core.random import key
from ...hub.pipeline import Pipeline, Unavailable, as_is
from ...hub.results import PICTURES, Results, shortened
from .. import io as sound
from ..read_aloud import ReadAloud, pieces
from .several import Several
from .sketch import Sketch

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

Samples = np.ndarray[Any, np.dtype[np.float32]]
PAUSE = 0.25  # seconds between sentences


@dataclass(frozen=True, eq=False, repr=False)
class Speech(Results):
    """What was spoken; prints as a line.

    Attributes:
        waveform: (T,) float32, from -1 to 1.
        sample_rate: in Hz.
        text: what was to be said.

    Example:
        >>> Speech(np.zeros(8_000, np.float32), 16_000, "Hush.")
        0.50 s at 16,000 Hz: Hush.
    """

    waveform: Samples
    sample_rate: int
    text: str

    @property
    def duration(self) -> float:
        """In seconds."""
        return len(self.waveform) / self.sample_rate

    def __repr__(self) -> str:
        return f"{self.duration:.2f} s at {self.sample_rate:,} Hz: {shortened(self.text, 80)}"

    def to_dict(self) -> dict[str, Any]:
        """The text, and how long it is; not the samples."""
        return {"input": self.text, "duration": self.duration, "sample_rate": self.sample_rate}

    def save(self, path: str | Path) -> None:
        """Write the sound, or draw it, by the file's ending.

        Raises:
            ArgumentError: another ending, or no such folder.
            StorageError: the file cannot be written.
        """
        if Path(path).suffix.lower() in PICTURES:
            super().save(path)
        else:
            sound.write(path, self.waveform, self.sample_rate)

    def draw(self) -> Image:
        """Waveform and spectrum."""
        from .drawing import timeline

        sketch = Sketch(self.sample_rate)
        sketch.add(self.waveform)
        return timeline(sketch, shortened(self.text, 110))


@dataclass(frozen=True, eq=False, repr=False)
class TextToSpeech(Pipeline):
    """Texts -> speech. Call it on one text (:class:`Speech` comes back) or a list of them.

    A text is spoken sentence by sentence, each with noise of its own from the counter-based generator: the same text and seed
    give the same samples. What the model's alphabet lacks, as points and commas often, is left out.
    """

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextToSpeech:
        """The alphabet from ``vocab.json`` and ``tokenizer_config.json``."""
        settings: Any = model.config
        letters: Any = Unavailable("vocab.json", "turn letters into numbers", files.origin)
        if "vocab.json" in files:
            letters = ReadAloud.from_files(files, settings.vocab_size)
        return cls(model, letters, as_is, card, files, config)

    @property
    def sample_rate(self) -> int:
        """Of what is spoken, in Hz."""
        settings: Any = self.model.config
        return int(settings.sampling_rate)

    def __call__(
        self,
        inputs: Any,
        *,
        rate: float = 1.0,
        seed: int = 0,
        speaker: int | None = None,
        pause: float = PAUSE,
        phonemes: bool = False,
    ) -> Any:
        """One text -> :class:`Speech`; a list -> one below the other.

        Args:
            inputs: the text or texts.
            rate: how fast: 2 takes half the time, about.
            seed: of the noise that makes each speech another.
            speaker: whose voice, by its number, where the model has several; the first unless given.
            pause: seconds of silence between sentences.
            phonemes: the texts are written in the sounds of a model that reads sounds.

        Raises:
            DataError: no text, or one of which the model can say nothing.
            ArgumentError: a rate or pause that is none.
            IndexRangeError: a voice that there is not.
            MissingFileError: the model came without its alphabet.
        """
        texts = inputs if isinstance(inputs, list) else [inputs]
        if not texts:
            raise DataError("no text to say", fix="pass at least one")
        told: dict[str, Any] = {"rate": rate, "seed": seed, "speaker": speaker, "pause": pause, "phonemes": phonemes}
        found = [Speech(np.concatenate(list(self.stream(text, **told))), self.sample_rate, text) for text in texts]
        return Several(found) if isinstance(inputs, list) else found[0]

    def stream(
        self,
        text: str,
        *,
        rate: float = 1.0,
        seed: int = 0,
        speaker: int | None = None,
        pause: float = PAUSE,
        phonemes: bool = False,
    ) -> Iterator[Samples]:
        """Samples (T,) of one sentence after the other, and of the silence between them; arguments and errors as of a call."""
        if not isinstance(text, str):
            raise DataError(f"a text is {kind_of(text)}", fix="pass a string")
        if not 0 <= pause < math.inf or not 0 < rate < math.inf:
            raise ArgumentError(f"rate={rate}, pause={pause}", fix="use a positive rate, and a pause of 0 s or more")
        numbers = [n for n in map(self._encoder(phonemes), pieces(text)) if n]
        if not numbers:
            raise DataError(
                f"nothing of {shortened(text, 60)!r} can be said",
                why="it has no letter of the model's alphabet" if text.strip() else "it is empty",
                fix="write it in the language and letters of the model, numbers as words",
            )
        silence = np.zeros(round(pause * self.sample_rate), np.float32)
        for i, letters in enumerate(numbers):
            if i and len(silence):
                yield silence
            yield self._spoken(letters, rate, seed, i, speaker)

    def _encoder(self, phonemes: bool) -> Any:
        letters: Any = self.preprocess
        if not isinstance(letters, ReadAloud):
            return letters  # says what is missing
        if letters.phonemes != phonemes:
            what = "reads sounds, not letters" if letters.phonemes else "reads letters, not sounds"
            fix = "write the text in IPA, as espeak does, and pass phonemes=True" if letters.phonemes else "leave phonemes out"
            raise DataError(f"{self.name} {what}", fix=fix)
        return letters.encode

    def _spoken(self, letters: list[int], rate: float, seed: int, index: int, speaker: int | None) -> Samples:
        settings: Any = self.model.config
        ids = from_numpy(np.array([letters])).to(next(iter(self.model.parameters())).device)
        voice = 0 if speaker is None and settings.num_speakers > 1 else speaker
        speed = rate * settings.speaking_rate
        with inference_mode():
            found = self.model(ids, speaker_id=voice, speaking_rate=speed, key=key(seed, "speech", index))
        samples = found.waveform.float().cpu().numpy()[0]
        if not np.isfinite(samples).all():
            raise DataError(f"{self.name} gives samples that are not finite", fix="check its weights")
        return samples
