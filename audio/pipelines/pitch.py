"""Pitch: how high one voice or instrument sounds, a hundred times a second."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError
from ...hub.pipeline import Pipeline, as_is
from ...hub.results import Results, shortened, table
from ..models.crepe import PITCHES, WINDOW
from ..transcript import clock
from .several import Several
from .windows import Windows

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files
    from .sketch import Sketch

Heard = Callable[[float, float], None]
Numbers = np.ndarray[Any, np.dtype[np.float32]]
Decided = tuple[Numbers, np.ndarray[Any, np.dtype[np.int64]]]
CENTS = np.linspace(0, 7180, PITCHES) + 1997.3794084376191  # of each pitch, above 10 Hz
_BATCH = 256  # frames that go through the model at once
_NEAR = 4  # pitches on either side of the best that tell where between them it lies
_STRIDE = 12  # pitches that a voice does not leap over in 10 ms
_LONGEST = 6000  # frames that wait to be decided: a minute
_QUIET = 1e-3  # -60 dB: what is softer has no pitch
_NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class Frames:
    """Samples around every ``hop``-th one -> frames of mean 0 and deviation 1.

    Attributes:
        sample_rate: in Hz.
        hop: samples from frame to frame: 160 are 10 ms.
    """

    sample_rate: int = 16_000
    hop: int = 160

    def __call__(self, padded: Numbers) -> tuple[Numbers, Numbers]:
        """Samples (T,), half a frame before the first middle and behind the last -> frames (N, 1024), and their loudness (N,).

        Example:
            >>> frames, loud = Frames()(np.ones(1024 + 320, np.float32))
            >>> frames.shape, loud.tolist()
            ((3, 1024), [1.0, 1.0, 1.0])
        """
        rows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: self.hop].astype(np.float64)
        loud = np.sqrt((rows**2).mean(1))
        rows = rows - rows.mean(1, keepdims=True)
        rows /= np.maximum(rows.std(1, ddof=1, keepdims=True), 1e-10)
        return rows.astype(np.float32), loud.astype(np.float32)


class Line:
    """The likeliest pitch of each frame where a voice moves little from frame to frame (Viterbi, 1967), as frames come.

    A frame is decided when every way on goes through one pitch there: what waits is as long as that takes, not as the sound.
    After a minute without such a pitch the best way so far is taken.
    """

    def __init__(self) -> None:
        places = np.arange(PITCHES)[:, None] + np.arange(-_STRIDE + 1, _STRIDE)
        inside = (places >= 0) & (places < PITCHES)
        weights = np.where(inside, _STRIDE - np.abs(places - np.arange(PITCHES)[:, None]), 0).astype(np.float64)
        self._places = np.clip(places, 0, PITCHES - 1)
        self._moves = np.full_like(weights, -np.inf)
        np.log(weights, out=self._moves, where=inside)
        self._moves -= np.log(weights.sum(1))[self._places]  # of the pitch that is left
        self._score: np.ndarray[Any, Any] | None = None
        self._rows: list[Numbers] = []  # frames that are not decided
        self._steps: list[np.ndarray[Any, Any]] = []  # for each of them: where the best way to each pitch comes from

    @property
    def waiting(self) -> int:
        """Frames that are not decided."""
        return len(self._rows)

    def feed(self, salience: Numbers) -> Decided:
        """(N, 360) more frames, from 0 to 1 -> those that are decided now, and their pitches."""
        every = np.arange(PITCHES)
        for row in salience:
            share = np.log(row.astype(np.float64) + 1e-12)
            if self._score is None:
                self._score, step = share, every.astype(np.int16)
            else:
                ways = self._score[self._places] + self._moves
                best = ways.argmax(1)
                step = self._places[every, best].astype(np.int16)
                self._score = ways[every, best] + share
                self._score -= self._score.max()  # only differences count
            self._rows.append(row)
            self._steps.append(step)
        return self._decide(*self._meeting())

    def finish(self) -> Decided:
        """The frames that are left."""
        if self._score is None or not self._rows:
            return np.zeros((0, PITCHES), np.float32), np.zeros(0, np.int64)
        return self._decide(len(self._rows), int(self._score.argmax()))

    def _meeting(self) -> tuple[int, int]:
        """How many frames are decided, and the pitch of the last of them."""
        came = np.arange(PITCHES)  # from each pitch now, one frame further back each time
        for t in range(len(self._steps) - 1, 0, -1):
            came = self._steps[t][came]
            if (came == came[0]).all():
                return t, int(came[0])
        if len(self._rows) > _LONGEST and self._score is not None:
            return len(self._rows), int(self._score.argmax())
        return 0, 0

    def _decide(self, count: int, pitch: int) -> Decided:
        path = np.zeros(count, np.int64)
        for t in range(count - 1, -1, -1):
            path[t] = pitch
            pitch = int(self._steps[t][pitch])
        rows = np.stack(self._rows[:count]) if count else np.zeros((0, PITCHES), np.float32)
        del self._rows[:count], self._steps[:count]
        return rows, path


def smooth_path(salience: Numbers) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The pitches of :class:`Line` for frames that are all there, (N, 360).

    Example:
        >>> rows = np.full((3, 360), 0.01, np.float32)
        >>> rows[:, 100] = 0.5, 0.4, 0.5
        >>> rows[1, 300] = 0.5  # an octave error
        >>> rows.argmax(1).tolist(), smooth_path(rows).tolist()
        ([100, 300, 100], [100, 100, 100])
    """
    line = Line()
    return np.concatenate([line.feed(salience)[1], line.finish()[1]])


def hertz(salience: Numbers, path: np.ndarray[Any, Any]) -> Numbers:
    """(N,) Hz: the mean of the pitches around each frame's, weighted by how well they explain it (Kim et al., section 2)."""
    near = path[:, None] + np.arange(-_NEAR, _NEAR + 1)
    inside = (near >= 0) & (near < PITCHES)
    near = np.clip(near, 0, PITCHES - 1)
    weights = np.take_along_axis(salience.astype(np.float64), near, 1) * inside + 1e-30
    cents = (weights * CENTS[near]).sum(1) / weights.sum(1)
    return (10 * 2 ** (cents / 1200)).astype(np.float32)


def note(frequency: float) -> str:
    """The note that is nearest, by A4 = 440 Hz.

    Example:
        >>> note(440.0), note(261.6), note(100.0)
        ('A4', 'C4', 'G2')
    """
    number = round(69 + 12 * math.log2(frequency / 440))
    return f"{_NOTES[number % 12]}{number // 12 - 1}"


@dataclass(frozen=True, eq=False)
class Pitch(Results):
    """How high one sound is, frame by frame. Prints a summary and what is sung or played; draws a line over the spectrum.

    Attributes:
        times: (N,) seconds, of the middles of the frames.
        frequencies: (N,) Hz, of every frame.
        confidence: (N,): how sure the model is that there is a pitch, 0 to 1; 0 where nothing is heard.
        threshold: below this confidence there is none.
        duration: seconds of the sound.
        name: of the sound.
        sketch: what it looks like.
    """

    times: Numbers
    frequencies: Numbers
    confidence: Numbers
    threshold: float
    duration: float
    name: str
    sketch: Sketch

    @property
    def voiced(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """(N,): whether a frame has a pitch."""
        return self.confidence >= self.threshold

    @property
    def line(self) -> Numbers:
        """(N,) Hz, NaN where there is no pitch."""
        return np.where(self.voiced, self.frequencies, np.float32(np.nan))

    def notes(self, shortest: float = 0.06) -> list[tuple[float, float, str, float]]:
        """Stretches of one note: start and end in seconds, its name, and the median in Hz.

        Args:
            shortest: seconds; what is shorter is left out.
        """
        step = float(self.times[1] - self.times[0]) if len(self.times) > 1 else 0.01
        names = [note(f) if v else "" for f, v in zip(self.frequencies.tolist(), self.voiced.tolist(), strict=True)]
        found, first = [], 0
        for i in range(1, len(names) + 1):
            if i == len(names) or names[i] != names[first]:
                if names[first] and (i - first) * step >= shortest:
                    middle = float(np.median(self.frequencies[first:i]))
                    found.append((round(first * step, 3), round(min(i * step, self.duration), 3), names[first], middle))
                first = i
        return found

    def __repr__(self) -> str:
        heard = self.frequencies[self.voiced]
        if not len(heard):
            return f"{self.name}: no pitch in {self.duration:.1f} s"
        low, middle, high = (float(v) for v in np.percentile(heard, (5, 50, 95)))
        head = (
            f"{self.name}: a pitch in {len(heard) / len(self.times):.0%} of {self.duration:.1f} s; median {middle:.1f} Hz "
            f"({note(middle)}), mostly {low:.0f} to {high:.0f} Hz"
        )
        rows = [[clock(start), clock(end), name, f"{frequency:.1f}"] for start, end, name, frequency in self.notes()]
        return f"{head}\n" + table(["start", "end", "note", "Hz"], rows) if rows else head

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers; frequencies are null where there is no pitch."""
        found = [round(float(f), 2) if v else None for f, v in zip(self.frequencies, self.voiced, strict=True)]
        notes = [dict(zip(("start", "end", "note", "hz"), row, strict=True)) for row in self.notes()]
        return {
            "input": self.name,
            "duration": self.duration,
            "times": [round(float(t), 4) for t in self.times],
            "hz": found,
            "confidence": [round(float(c), 4) for c in self.confidence],
            "notes": notes,
        }

    def csv(self) -> str:
        """Lines of seconds, Hz (of every frame) and confidence, with a head."""
        rows = zip(self.times, self.frequencies, self.confidence, strict=True)
        return "time,hz,confidence\n" + "".join(f"{t:.3f},{f:.3f},{c:.4f}\n" for t, f, c in rows)

    def draw(self) -> Image:
        """Waveform, spectrum with the pitch over it, and confidence."""
        from .drawing import timeline

        step = float(self.times[1] - self.times[0]) if len(self.times) > 1 else 0.01
        curve, line = (self.confidence, step), (self.times, self.line)
        return timeline(self.sketch, shortened(self.name, 90), curve=curve, pitch=line)


@dataclass(frozen=True, eq=False, repr=False)
class PitchTracking(Pipeline):
    """Sounds -> pitch. Call it on one sound (:class:`Pitch`) or a list (several of them).

    A sound is a path, an open binary file, samples at 16 kHz, or a pair (samples, sample rate), of one voice or instrument at a
    time. Files of any length are read in pieces.
    """

    preprocess: Any

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> PitchTracking:
        """Nothing but the weights is needed."""
        settings: Any = model.config
        return cls(model, Frames(int(settings.sample_rate)), as_is, card, files, config)

    def __call__(self, inputs: Any, *, progress: Heard | None = None, threshold: float = 0.5, smooth: bool = True) -> Any:
        """One sound -> :class:`Pitch`; a list -> :class:`~nyala.audio.pipelines.several.Several`.

        Args:
            inputs: sounds.
            progress: called with the seconds heard so far, and those there are.
            threshold: the confidence from which a frame has a pitch.
            smooth: look for a line without leaps, rather than each frame's own best.

        Raises:
            MissingFileError: no such file.
            DataError: no sound, one that is cut off, or samples that are not finite.
            ArgumentError: a threshold that is none.
        """
        if not 0 <= threshold <= 1:
            raise ArgumentError(f"threshold={threshold}", fix="use a confidence, as 0.5")
        if isinstance(inputs, list):
            if not inputs:
                raise DataError("no sound to work on", fix="pass at least one")
            return Several([self._pitch(sound, threshold, smooth, progress) for sound in inputs])
        return self._pitch(inputs, threshold, smooth, progress)

    def salience(self, sound: Any) -> Numbers:
        """(N, 360) float32: how well each pitch explains each frame."""
        return np.concatenate([found for found, _ in self._heard(sound, None, _Told())])

    def logits(self, sounds: Sequence[Any]) -> Numbers:
        """(N, 360) float32: what the model says of the frame in the middle of each sound, before its sigmoid."""
        found = [self.salience(sound) for sound in sounds]
        middle = np.stack([rows[len(rows) // 2] for rows in found])
        return np.log(middle) - np.log1p(-middle)

    def _heard(self, sound: Any, progress: Heard | None, told: _Told) -> Iterator[tuple[Numbers, Numbers]]:
        """Salience and loudness of the frames, a batch at a time; at the end ``told`` is filled."""
        frames: Frames = self.preprocess
        rate, hop, half = frames.sample_rate, frames.hop, WINDOW // 2
        step, first, last = _BATCH * hop, 0, False
        before = np.zeros(half, np.float32)
        with Windows(sound, step + half, rate) as heard:
            while not last and (len(samples := heard.at(first)) or first == 0):
                own = samples[:step]
                last = len(samples) < step or not heard.more(first + step)
                count = (len(own) // hop + 1) if last else _BATCH
                around = np.concatenate([before, samples, np.zeros(WINDOW, np.float32)])
                yield self._frames(around[: (count - 1) * hop + WINDOW])
                before = np.concatenate([before, own])[-half:]
                first += len(own)
                if progress is not None:
                    progress(min(first, heard.total) / rate, heard.total / rate)
            told.seconds, told.name, told.sketch = heard.length / rate, heard.name, heard.sketch

    def _frames(self, padded: Numbers) -> tuple[Numbers, Numbers]:
        rows, loud = self.preprocess(padded)
        parameter: Any = next(iter(self.model.parameters()))
        with inference_mode():
            found = self.model(from_numpy(rows).to(parameter.device).to(parameter.dtype))
        return found.float().cpu().numpy(), loud

    def _pitch(self, sound: Any, threshold: float, smooth: bool, progress: Heard | None) -> Pitch:
        told, line, found, louds = _Told(), Line(), [], []
        for salience, loud in self._heard(sound, progress, told):
            found.append(_told_by(*(line.feed(salience) if smooth else (salience, salience.argmax(1)))))
            louds.append(loud)
        found.append(_told_by(*line.finish()))
        frequencies, confidence = (np.concatenate(parts) for parts in zip(*found, strict=True))
        confidence *= np.concatenate(louds) >= _QUIET
        times = (np.arange(len(frequencies)) * (self.preprocess.hop / self.preprocess.sample_rate)).astype(np.float32)
        return Pitch(times, frequencies, confidence, threshold, told.seconds, told.name, told.sketch)


@dataclass
class _Told:
    """What is known of a sound when it has been heard."""

    seconds: float = 0.0
    name: str = ""
    sketch: Any = None


def _told_by(salience: Numbers, path: np.ndarray[Any, Any]) -> tuple[Numbers, Numbers]:
    """Hz and confidence of frames whose pitches are decided."""
    return hertz(salience, path), np.take_along_axis(salience, path[:, None], 1)[:, 0].astype(np.float32)
