"""Speech recognition by CTC models: letters frame by frame, from sounds of any length, with the times of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.errors import ArgumentError, DataError
from ...hub.pipeline import Pipeline, Unavailable, as_is
from ..ctc.beam import Beam, search
from ..ctc.letters import Letters
from ..ctc.paths import Rows, Spelled, align, greedy, log_softmax
from ..transcript import Segment, Transcript, Transcripts, Word
from ..transforms.waves import Waves
from .sketch import Sketch
from .windows import Windows

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

Heard = Callable[[float, float], None]
_WINDOW, _MARGIN = 30, 4  # seconds: of a window, and of what is heard on either side of it for the context alone
_PAUSE = 0.8  # seconds of silence between segments


@dataclass(frozen=True, eq=False, repr=False)
class CTCRecognition(Pipeline):
    """Sounds -> what was said. Call it on one sound (:class:`Transcript`) or a list (:class:`Transcripts`).

    A sound is a path, an open binary file, samples at the model's rate, or a pair (samples, sample rate). Files of any length are
    read in windows of 30 s that overlap by 8 s: memory is bounded by a window.

    Attributes:
        letters: the alphabet.
    """

    letters: Any = None

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> CTCRecognition:
        """Alphabet and preprocessing from the files."""
        described = dict(card.preprocessing) if card is not None else {}
        if "preprocessor_config.json" in files:
            described = files.read_json("preprocessor_config.json")
        settings: Any = model.config
        letters: Any = Unavailable("vocab.json", "turn numbers into letters", files.origin)
        if "vocab.json" in files and settings.vocab_size == config.get("vocab_size", settings.vocab_size):
            letters = Letters.from_files(files, settings.pad_token_id, settings.vocab_size)
        return cls(model, Waves.from_config(described, settings), as_is, card, files, config, letters=letters)

    @property
    def window(self) -> int:
        """Samples that the model hears at once: 480,000 are 30 s."""
        return _WINDOW * self._waves.sample_rate

    @property
    def step(self) -> float:
        """Seconds from frame to frame."""
        hop: Any = self.model.config.hop  # type: ignore[union-attr]
        return float(hop) / self._waves.sample_rate

    @property
    def _waves(self) -> Waves:
        assert isinstance(self.preprocess, Waves)
        return self.preprocess

    def __call__(
        self,
        inputs: Any,
        *,
        progress: Heard | None = None,
        timestamps: bool | None = None,  # noqa: ARG002 - times come for nothing
        language: str | None = None,
        task: str = "transcribe",
        prompt: str = "",
        beam: Beam | None = None,
    ) -> Any:
        """One sound -> :class:`Transcript`; a list -> :class:`Transcripts`; segments and words have their times.

        Args:
            inputs: sounds.
            progress: called with the seconds heard so far, and those there are.
            timestamps: taken as Whisper's pipeline does, and always so.
            language: what is spoken, for the transcript: the model itself knows one.
            task: "transcribe".
            prompt: must be empty.
            beam: search for the likeliest text, with a language model or a list of words perhaps; without it each frame says its
                likeliest letter.

        Raises:
            MissingFileError: no such file, or the model came without its alphabet.
            DataError: no sound, one that is cut off, or samples that are not finite.
            ArgumentError: something that only Whisper does.
        """
        if isinstance(self.letters, Unavailable):
            self.letters()
        for what, given in (("task", task != "transcribe"), ("prompt", bool(prompt))):
            if given:
                raise ArgumentError(
                    f"{what} for {self.name}", why="a CTC model spells what it hears", fix="use a Whisper for this"
                )
        sounds = inputs if isinstance(inputs, list) else [inputs]
        if not sounds:
            raise DataError("no sound to work on", fix="pass at least one")
        found = [self._transcript(sound, language or "", progress, beam) for sound in sounds]
        return Transcripts(found) if isinstance(inputs, list) else found[0]

    def log_probs(self, sound: Any, progress: Heard | None = None) -> Rows:
        """(frames, letters) float32: log-probabilities of a whole sound, joined from overlapping windows."""
        return self._heard(sound, progress)[0]

    def logits(self, sounds: Sequence[Any]) -> np.ndarray[Any, Any]:
        """(N, letters) float32: what the model says of the first frame of each sound."""
        return np.stack([self.log_probs(sound)[0] for sound in sounds])

    def _heard(self, sound: Any, progress: Heard | None) -> tuple[Rows, float, str, Sketch]:
        """Log-probabilities, seconds, name and looks of a sound."""
        waves, hop = self._waves, int(self.model.config.hop)  # type: ignore[union-attr, arg-type]
        margin = _MARGIN * waves.sample_rate // hop
        inner = self.window // hop - 2 * margin
        parts: list[Rows] = []
        with Windows(sound, self.window, waves.sample_rate) as heard:
            done = 0  # frames that are told
            while True:
                first = max(0, done - margin)
                samples = heard.at(first * hop)
                last = not heard.more(first * hop + len(samples))
                rows = self._frames(samples, heard.name)
                keep = len(rows) if last else done - first + inner
                parts.append(rows[done - first : keep])
                done = first + keep
                if progress is not None:
                    progress(min(done * hop, heard.total) / waves.sample_rate, heard.total / waves.sample_rate)
                if last:
                    return np.concatenate(parts), heard.length / waves.sample_rate, heard.name, heard.sketch

    def _frames(self, samples: np.ndarray[Any, Any], name: str) -> Rows:
        """(frames, letters) of a window; none where it is too short for a frame."""
        waves = self._waves
        if len(samples) < waves.least:
            return np.zeros((0, int(self.model.config.vocab_size)), np.float32)  # type: ignore[union-attr, arg-type]
        parameter: Any = next(iter(self.model.parameters()))
        batch = waves.batch([waves.one(np.ascontiguousarray(samples), name)])
        values = batch["input_values"].to(parameter.device).to(parameter.dtype)
        with inference_mode():
            return log_softmax(self.model(values).float().cpu().numpy()[0])

    def align(self, sound: Any, text: str) -> list[Word]:
        """When each word of a known text is said.

        Args:
            sound: as for calling it.
            text: what is said in it, all of it.

        Raises:
            DataError: a text that is too long for the sound, or a letter that the model does not know.
        """
        if isinstance(self.letters, Unavailable):
            self.letters()
        rows = self.log_probs(sound)
        return words(align(rows, self.letters.encode(text), self.letters.blank), self.letters, self.step)

    def _transcript(self, sound: Any, language: str, progress: Heard | None, beam: Beam | None) -> Transcript:
        rows, seconds, name, sketch = self._heard(sound, progress)
        if beam is None:
            spelled = greedy(rows, self.letters.blank)
        else:
            best = search(rows, self.letters, beam)[0].text
            spelled = align(rows, self.letters.encode(best), self.letters.blank)
        return Transcript(tuple(segments(words(spelled, self.letters, self.step))), language, seconds, name, sketch)


def words(spelled: Sequence[Spelled], letters: Letters, step: float) -> list[Word]:
    """Letters with their frames -> words with their times.

    Args:
        spelled: as :func:`~nyala.audio.ctc.paths.greedy` and :func:`~nyala.audio.ctc.paths.align` give them.
        letters: the alphabet.
        step: seconds from frame to frame.

    Example:
        >>> alphabet = Letters(("-", "|", "A", "B"))
        >>> heard = [Spelled(2, 0, 2, 1.0), Spelled(3, 3, 4, 0.5), Spelled(1, 5, 6, 1.0), Spelled(2, 8, 9, 1.0)]
        >>> [(w.text, w.start, w.end, w.score) for w in words(heard, alphabet, 0.5)]
        [('AB', 0.0, 2.0, 0.75), ('A', 4.0, 4.5, 1.0)]
    """
    found: list[Word] = []
    held: list[Spelled] = []
    for letter in [*spelled, None]:
        if letter is not None and not letters.is_space(letter.number):
            if not letters.is_mark(letter.number):
                held.append(letter)
            continue
        if held:
            text = letters.decode([part.number for part in held])
            score = sum(part.score for part in held) / len(held)
            found.append(Word(round(held[0].start * step, 3), round(held[-1].end * step, 3), text, score))
            held = []
    return found


def segments(found: Sequence[Word], pause: float = _PAUSE) -> list[Segment]:
    """Words with their times -> segments, from pause to pause.

    Example:
        >>> said = [Word(0.0, 0.4, "GOOD"), Word(0.5, 0.9, "MORNING"), Word(3.0, 3.2, "BYE")]
        >>> [(s.start, s.end, s.text) for s in segments(said)]
        [(0.0, 0.9, 'GOOD MORNING'), (3.0, 3.2, 'BYE')]
    """
    groups: list[list[Word]] = []
    for word in found:
        if groups and word.start - groups[-1][-1].end < pause:
            groups[-1].append(word)
        else:
            groups.append([word])
    return [Segment(g[0].start, g[-1].end, " ".join(w.text for w in g), words=tuple(g)) for g in groups]
