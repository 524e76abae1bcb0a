"""Voice activity detection: when somebody speaks, in sounds of any length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError
from ...hub.pipeline import Pipeline, as_is
from ...hub.results import Results, shortened, table
from ..transcript import clock
from .several import Several
from .sketch import Sketch
from .windows import Windows

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

Heard = Callable[[float, float], None]
Shares = np.ndarray[Any, np.dtype[np.float32]]
_CHUNKS = 1024  # of 32 ms, that go through the model at once
_GAP = 0.098  # seconds: a silence at which speech that lasts too long may be cut


@dataclass(frozen=True)
class Rules:
    """From probabilities to segments, as Silero's own package does.

    Attributes:
        threshold: speech begins where the probability reaches this.
        leave: and may end where it falls below this; None for 0.15 less.
        min_speech: seconds; shorter segments are left out.
        min_silence: seconds that a silence lasts which ends a segment.
        pad: seconds that are added on either side.
        max_speech: seconds; longer segments are cut, at their longest silence where they have one.

    Raises:
        ArgumentError: a threshold that is no probability, or a negative length.
    """

    threshold: float = 0.5
    leave: float | None = None
    min_speech: float = 0.25
    min_silence: float = 0.1
    pad: float = 0.03
    max_speech: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or not 0 <= self.below <= 1:
            raise ArgumentError(f"threshold={self.threshold}, leave={self.leave}", fix="use probabilities, as 0.5 and 0.35")
        lengths = asdict(self)
        wrong = next((n for n in ("min_speech", "min_silence", "pad", "max_speech") if not lengths[n] >= 0), None)
        if wrong or self.max_speech <= 2 * self.pad:
            name = wrong or "max_speech"
            raise ArgumentError(f"{name}={lengths[name]}", why="it is a length in seconds", fix="use a larger one")

    @property
    def below(self) -> float:
        """Where speech may end."""
        return max(self.threshold - 0.15, 0.01) if self.leave is None else self.leave


def stretches(shares: Sequence[float] | Shares, chunk: int, total: int, rate: int, rules: Rules) -> list[tuple[int, int]]:
    """The samples between which somebody speaks.

    Args:
        shares: the probability of each chunk.
        chunk: samples of one.
        total: samples there are.
        rate: of them in a second.
        rules: when speech begins and ends.

    Example:
        >>> stretches([0.1] * 10 + [0.9] * 20 + [0.1] * 10, 512, 20_480, 16_000, Rules())
        [(4640, 15840)]
    """
    found = _found(shares, chunk, total, rate, rules)
    pad = rate * rules.pad
    for i, stretch in enumerate(found):
        if i == 0:
            stretch[0] = int(max(0, stretch[0] - pad))
        if i == len(found) - 1:
            stretch[1] = int(min(total, stretch[1] + pad))
            continue
        following = found[i + 1]
        between = following[0] - stretch[1]
        half = between // 2 if between < 2 * pad else pad
        stretch[1] = int(min(total, stretch[1] + half))
        following[0] = int(max(0, following[0] - half))
    return [(start, end) for start, end in found]


def _found(shares: Sequence[float] | Shares, chunk: int, total: int, rate: int, rules: Rules) -> list[list[int]]:
    """Beginnings and ends before anything is added to them."""
    found: list[list[int]] = []
    longest = rate * rules.max_speech - chunk - 2 * rate * rules.pad
    start: int | None = None
    quiet: int | None = None  # where the silence began that may end the segment
    gaps: list[tuple[int, int]] = []  # lengths and places of silences within it
    for i, share in enumerate(shares):
        here = chunk * i
        if share >= rules.threshold and quiet is not None:
            if here - quiet > rate * _GAP:
                gaps.append((here - quiet, -quiet))  # the first of the longest
            quiet = None
        if share >= rules.threshold and start is None:
            start = here
            continue
        if start is not None and here - start > longest:
            length, place = max(gaps, default=(0, -here))
            found.append([start, -place])
            start, quiet = (-place + length if gaps else None), None
            if not gaps:
                continue
            gaps = []
        if share < rules.below and start is not None:
            quiet = here if quiet is None else quiet
            if here - quiet >= rate * rules.min_silence:
                if quiet - start > rate * rules.min_speech:
                    found.append([start, quiet])
                start, quiet, gaps = None, None, []
    if start is not None and total - start > rate * rules.min_speech:
        found.append([start, total])
    return found


@dataclass(frozen=True)
class Stretch:
    """A stretch of speech.

    Attributes:
        start, end: seconds from the beginning of the sound.
        score: the mean probability.
    """

    start: float
    end: float
    score: float


@dataclass(frozen=True, eq=False)
class Speech(Results):
    """When somebody speaks in one sound. Prints as a table; draws waveform, spectrum, probabilities and segments.

    Attributes:
        segments: in their order.
        probabilities: (chunks,) float32.
        step: seconds of a chunk.
        duration: seconds of the sound.
        name: of the sound.
        sketch: what it looks like.
    """

    segments: tuple[Stretch, ...]
    probabilities: Shares
    step: float
    duration: float
    name: str
    sketch: Sketch

    @property
    def share(self) -> float:
        """The part of the sound in which somebody speaks, 0 to 1."""
        return sum(s.end - s.start for s in self.segments) / self.duration if self.duration else 0.0

    def __repr__(self) -> str:
        head = f"{self.name}: speech in {self.share:.0%} of {self.duration:.1f} s"
        if not self.segments:
            return f"{self.name}: nobody speaks in {self.duration:.1f} s"
        rows = [[clock(s.start), clock(s.end), f"{s.end - s.start:.2f} s", s.score] for s in self.segments]
        return f"{head}\n" + table(["start", "end", "length", "probability"], rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers."""
        segments = [asdict(s) for s in self.segments]
        shares = [round(float(p), 4) for p in self.probabilities]
        told = {"input": self.name, "duration": self.duration, "speech": self.share, "segments": segments}
        return {**told, "step": self.step, "probabilities": shares}

    def draw(self) -> Image:
        """Waveform, spectrum and probabilities over time, with the segments."""
        from .drawing import timeline

        spans = [(s.start, s.end) for s in self.segments]
        return timeline(self.sketch, shortened(self.name, 90), spans=spans, curve=(self.probabilities, self.step))


@dataclass(frozen=True, eq=False, repr=False)
class VoiceActivity(Pipeline):
    """Sounds -> when somebody speaks. Call it on one sound (:class:`Speech`) or a list (several of them).

    A sound is a path, an open binary file, samples at 16 kHz, or a pair (samples, sample rate). Files of any length are read in
    pieces of half a minute, and what the network remembers goes from piece to piece.
    """

    preprocess: Any

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> VoiceActivity:
        """Nothing but the weights is needed."""
        settings: Any = model.config
        return cls(model, Chunks(int(settings.sample_rate), int(settings.chunk)), as_is, card, files, config)

    def __call__(self, inputs: Any, *, progress: Heard | None = None, **rules: Any) -> Any:
        """One sound -> :class:`Speech`; a list -> :class:`~nyala.audio.pipelines.several.Several`.

        Args:
            inputs: sounds.
            progress: called with the seconds heard so far, and those there are.
            **rules: see :class:`Rules`: ``threshold``, ``min_speech``, ``min_silence``, ``pad``, ``max_speech``, ``leave``.

        Raises:
            MissingFileError: no such file.
            DataError: no sound, one that is cut off, or samples that are not finite.
            ArgumentError: an option that is not known, or makes no sense.
        """
        unknown = sorted(set(rules) - set(Rules.__dataclass_fields__))
        if unknown:
            raise ArgumentError(f"no option {', '.join(unknown)}", fix=f"there are {', '.join(Rules.__dataclass_fields__)}")
        made = Rules(**rules)
        if isinstance(inputs, list):
            if not inputs:
                raise DataError("no sound to work on", fix="pass at least one")
            return Several([self._speech(sound, made, progress) for sound in inputs])
        return self._speech(inputs, made, progress)

    def logits(self, sounds: Sequence[Any]) -> list[Shares]:
        """The probabilities of each sound, (chunks,) float32."""
        return [self._speech(sound, Rules(), None).probabilities for sound in sounds]

    def _speech(self, sound: Any, rules: Rules, progress: Heard | None) -> Speech:
        rate, chunk = self.preprocess.sample_rate, self.preprocess.chunk
        parts: list[Shares] = [np.zeros(0, np.float32)]
        state, first = None, 0
        parameter: Any = next(iter(self.model.parameters()))
        with Windows(sound, _CHUNKS * chunk, rate) as heard, inference_mode():
            while len(samples := heard.at(first)):
                whole = self.preprocess(samples)
                given = from_numpy(whole[None]).to(parameter.device).to(parameter.dtype)
                shares, state = self.model(given, state)  # type: ignore[misc]
                parts.append(shares.float().cpu().numpy()[0])
                first += len(samples)
                if progress is not None:
                    progress(min(first, heard.total) / rate, heard.total / rate)
            total, name, sketch = heard.length, heard.name, heard.sketch
        shares = np.concatenate(parts)
        segments = [self._told(stretch, shares, rate, chunk) for stretch in stretches(shares, chunk, total, rate, rules)]
        return Speech(tuple(segments), shares, chunk / rate, total / rate, name, sketch)

    @staticmethod
    def _told(stretch: tuple[int, int], shares: Shares, rate: int, chunk: int) -> Stretch:
        start, end = stretch
        inside = shares[start // chunk : max(-(-end // chunk), start // chunk + 1)]
        return Stretch(round(start / rate, 3), round(end / rate, 3), float(inside.mean()))


@dataclass(frozen=True)
class Chunks:
    """Samples -> whole chunks, with silence behind the last.

    Example:
        >>> Chunks()(np.ones(600, np.float32)).shape
        (1024,)
    """

    sample_rate: int = 16_000
    chunk: int = 512

    def __call__(self, samples: Shares) -> Shares:
        return np.pad(samples, (0, -len(samples) % self.chunk))
