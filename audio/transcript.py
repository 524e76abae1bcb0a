"""What was said: segments with times, and the formats that players and programs read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.atomic import atomic_write
from ..core.errors import ArgumentError
from ..hub.results import PICTURES, Results, shortened, table

if TYPE_CHECKING:
    from PIL.Image import Image

    from .pipelines.sketch import Sketch

FORMATS = ("txt", "srt", "vtt", "json")


@dataclass(frozen=True)
class Word:
    """A word and when it is said.

    Attributes:
        start, end: seconds from the beginning of the sound.
        text: the word.
        score: how sure the model is of it, 0 to 1.
    """

    start: float
    end: float
    text: str
    score: float = 1.0


@dataclass(frozen=True)
class Segment:
    """A stretch of speech.

    Attributes:
        start, end: seconds from the beginning of the sound.
        text: what was said.
        tokens: as the model wrote them.
        avg_logprob, no_speech_prob, temperature: of the window it stood in; see :class:`~nyala.audio.whisper.decoding.Decoded`.
        words: with their times, where they were asked for or come for nothing.
    """

    start: float
    end: float
    text: str
    tokens: tuple[int, ...] = ()
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    temperature: float = 0.0
    words: tuple[Word, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers; words where there are any."""
        told = {**asdict(self), "tokens": list(self.tokens), "words": [asdict(word) for word in self.words]}
        return told if self.words else {k: v for k, v in told.items() if k != "words"}


@dataclass(frozen=True)
class Transcript(Results):
    """What was said in one sound. Draws waveform, spectrum and, where they are said, words or else segments.

    Attributes:
        segments: in their order.
        language: code, e.g. "en".
        duration: seconds of the sound.
        name: of the sound.
        sketch: what it looks like, for pictures; None where nobody listened.

    Example:
        >>> said = Transcript((Segment(0.0, 1.5, "Goodbye."),), "en", 1.5)
        >>> print(said.format("srt"), end="")
        1
        00:00:00,000 --> 00:00:01,500
        Goodbye.
    """

    segments: tuple[Segment, ...]
    language: str
    duration: float
    name: str = ""
    sketch: Sketch | None = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """All segments as one text."""
        return " ".join(s.text for s in self.segments)

    def __str__(self) -> str:
        return self.text

    def by_words(self) -> Transcript:
        """The same with a segment for each word, as for subtitles that show one at a time; segments without words stay.

        Example:
            >>> said = Segment(0.0, 1.0, "Oh no.", words=(Word(0.0, 0.3, "Oh"), Word(0.4, 1.0, "no.")))
            >>> [s.text for s in Transcript((said,), "en", 1.0).by_words().segments]
            ['Oh', 'no.']
        """
        every = [[Segment(w.start, w.end, w.text, words=(w,)) for w in s.words] or [s] for s in self.segments]
        return replace(self, segments=tuple(word for segment in every for word in segment))

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers."""
        return {
            "input": self.name,
            "text": self.text,
            "language": self.language,
            "duration": self.duration,
            "segments": [s.to_dict() for s in self.segments],
        }

    def format(self, kind: str) -> str:
        """The transcript as ``"txt"`` (a line a segment), ``"srt"`` or ``"vtt"`` (subtitles), or ``"json"``.

        Raises:
            ArgumentError: another format.
        """
        if kind not in FORMATS:
            raise ArgumentError(f"a transcript as {kind!r}", fix=f"use {', '.join(FORMATS)}")
        if kind == "txt":
            return "".join(f"{s.text}\n" for s in self.segments)
        if kind == "json":
            return json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n"
        mark = "," if kind == "srt" else "."
        cues = [f"{clock(s.start, mark)} --> {clock(s.end, mark)}\n{_cue(s.text)}\n" for s in self.segments]
        if kind == "srt":
            return "\n".join(f"{i}\n{cue}" for i, cue in enumerate(cues, 1))
        return "WEBVTT\n" + "".join(f"\n{cue}" for cue in cues)

    def draw(self) -> Image:
        """Waveform and spectrum over time, the segments, and below them the words; segments' texts where words have no times.

        Raises:
            ArgumentError: a transcript without a sound.
        """
        from .pipelines.drawing import timeline

        if self.sketch is None:
            raise ArgumentError("a transcript without its sound is not drawn", fix="draw what a pipeline gave")
        spans = [(s.start, s.end) for s in self.segments]
        words = [(one.start, one.end, _cue(one.text)) for one in self.by_words().segments]
        return timeline(self.sketch, shortened(f"{Path(self.name).name}: {self.text}", 150), spans=spans, words=words)

    def save(self, path: str | Path) -> None:
        """Write it in the format of the path's ending, a picture's too.

        Raises:
            ArgumentError: another ending.
            StorageError: the file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() in PICTURES:
            super().save(path)
            return
        if target.suffix[1:].lower() not in FORMATS:
            raise ArgumentError(f"{path} is no transcript file", fix=f"end the name in .{', .'.join(FORMATS)} or {PICTURES[0]}")
        atomic_write(target, self.format(target.suffix[1:].lower()).encode())


def _cue(text: str) -> str:
    """A text that cannot be taken for the next cue: one line, without an arrow."""
    return " ".join(text.split()).replace("-->", "->")


def clock(seconds: float, mark: str = ".") -> str:
    """Hours, minutes, seconds and thousandths.

    Example:
        >>> clock(3723.5)
        '01:02:03.500'
    """
    thousandths = max(0, round(1000 * seconds))
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


class Transcripts(Results, Sequence[Transcript]):
    """A :class:`Transcript` for each sound. Prints as a table."""

    def __init__(self, found: Sequence[Transcript]) -> None:
        self.found = tuple(found)

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Transcript]:
        return iter(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        rows = [[shortened(t.name, 30), f"{t.duration:.1f} s", shortened(t.text, 400)] for t in self.found]
        return table(["sound", "length", "text"], rows, 110)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each sound its text, segments and language."""
        return [t.to_dict() for t in self.found]

    def draw(self) -> Image:
        """Each one's picture, below each other.

        Raises:
            ArgumentError: a transcript without a sound.
        """
        from .pipelines.drawing import below

        return below([said.draw() for said in self.found])
