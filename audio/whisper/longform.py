"""Sounds of any length for Whisper: window after window, several windows at once, and sound that is still coming in.

One after the other follows the paper (Radford et al., arXiv:2212.04356, section 4.5): a window begins where the last finished
segment ended. Several at once cannot know where that will be: they are cut where it is quietest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import ArgumentError
from ...core.tensor import Tensor
from ..pipelines.sounds import resampled
from ..pipelines.windows import Windows
from ..transcript import Segment, Word
from ..transforms.whisper import HOP, SAMPLE_RATE
from .alignment import align, heads_of
from .decoding import Decoded, Limits, Rules, language_of, write, write_all
from .tokens import STEP, Tokens

if TYPE_CHECKING:
    from ..pipelines.recognition import SpeechRecognition

Samples = np.ndarray[Any, np.dtype[np.float32]]
_SILENCE = 1e-5  # a third of a 16-bit step: nothing was recorded
_SEARCHED, _FRAME = 5, 0.1  # seconds at a window's end in which the quietest place is looked for, and its length
_BEYOND = 0.5  # seconds
_FRESH = 1.0  # seconds before now in which live sound may still be half a word


@dataclass(frozen=True)
class Request:
    """How a sound is to be transcribed.

    Attributes:
        timestamps: whether segments have times; None: where the sound is longer than a window, which needs them.
        words: whether words have times, by what the decoder listened to.
        language: code of what is spoken; None: what the first window sounds like.
        task: "transcribe", or "translate" into English.
        previous: whether a window is told what was said before it.
        prompt: words before the first window, such as names that occur.
        batch_size: windows that are written at once; more than 1 is quicker, and none is told what was said before it.
        limits: how a window is written, and when again.
    """

    timestamps: bool | None = None
    words: bool = False
    language: str | None = None
    task: str = "transcribe"
    previous: bool = True
    prompt: str = ""
    batch_size: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.task not in ("transcribe", "translate"):
            raise ArgumentError(f"task={self.task!r}", fix="use 'transcribe' or 'translate'")
        if self.batch_size < 1:
            raise ArgumentError(f"batch_size={self.batch_size}", fix="use 1 or more")

    @staticmethod
    def of(options: dict[str, Any]) -> Request:
        """From options of both kinds.

        Raises:
            ArgumentError: one that is not known.
        """
        own = {k: options[k] for k in options if k in Request.__dataclass_fields__ and k != "limits"}
        limits = {k: v for k, v in options.items() if k in Limits.__dataclass_fields__}
        unknown = sorted(set(options) - set(own) - set(limits))
        if unknown:
            known = [k for k in (*Request.__dataclass_fields__, *Limits.__dataclass_fields__) if k != "limits"]
            raise ArgumentError(f"no option {', '.join(unknown)}", fix=f"there are {', '.join(known)}")
        return replace(Request(**own), limits=Limits(**limits))


class Listener:
    """One sound's way through the windows.

    Args:
        pipeline: the model and its tokens.
        request: how.

    Attributes:
        seek: samples that are done with.
        language: of the sound, once a window was heard.
        pending: of live sound, the text that may still change.
    """

    def __init__(self, pipeline: SpeechRecognition, request: Request) -> None:
        self.pipeline, self.request, self.tokens = pipeline, request, pipeline.tokens
        self.seek = self.count = 0
        self.language, self.pending = request.language or "", ""
        self.before: list[int] = self.tokens.encode(" " + request.prompt.strip()) if request.prompt.strip() else []
        self.model: Any = pipeline.model

    def segments(self, heard: Windows) -> Iterator[list[Segment]]:
        """The segments of each window, or of several."""
        window = self.pipeline.window
        timed = bool(self.request.timestamps)
        while len(samples := heard.at(self.seek)[:window]):
            timed = timed or self.count > 0 or heard.more(self.seek + window)
            if self.request.batch_size > 1 and timed:
                yield self.together(self._quiet_windows(heard))
            else:
                yield self.window(samples, timed)

    def window(self, samples: Samples, timed: bool, fresh: bool = False) -> list[Segment]:
        """What is said in a window; moves on behind it, or to where an unfinished segment begins.

        Args:
            samples: of the window, at ``seek``.
            timed: whether times are written.
            fresh: there is more to come: what ends within the last second is heard again.
        """
        self.count += 1
        if float(np.abs(samples).max()) < _SILENCE:  # the model would guess, and say so with confidence
            self.seek += len(samples)
            return []
        vectors = self.pipeline.encode([samples])
        prompt = self._prompt(vectors, timed)
        found = write(self.model, vectors, prompt, self._rules(timed), self.request.limits, self.count - 1)
        if self.request.limits.silent(found):
            self.seek += len(samples)
            return []
        seconds = len(samples) / SAMPLE_RATE
        cut, taken = cut_up(found, self.seek / SAMPLE_RATE, seconds, self.tokens)
        if fresh:
            cut, taken = self._settled(cut, taken, seconds)
        own = min(taken, seconds)  # what follows is the next window's
        cut = self._with_words(cut, vectors, self.seek / SAMPLE_RATE, own)
        self.seek += max(0 if fresh else HOP, min(len(samples), round(taken * SAMPLE_RATE)))
        self._remember(found, cut)
        return [s for s in cut if s.text and s.end > s.start]

    def together(self, windows: Sequence[Samples]) -> list[Segment]:
        """What is said in several windows one behind the other, which are written at once."""
        spoken = [w for w in windows if float(np.abs(w).max(initial=0.0)) >= _SILENCE]
        written: list[Decoded] = []
        vectors = self.pipeline.encode(spoken) if spoken else None
        if vectors is not None:
            prompt = self._prompt(vectors[:1], True)
            written = write_all(self.model, vectors, [prompt] * len(spoken), self._rules(True), self.request.limits)
        found: list[Segment] = []
        row = 0
        for samples in windows:
            start, seconds = self.seek / SAMPLE_RATE, len(samples) / SAMPLE_RATE
            if row < len(spoken) and samples is spoken[row] and vectors is not None:
                own = vectors[row : row + 1]
                found += self._one_of_many(written[row], own, start, seconds)
                row += 1
            self.seek += len(samples)
            self.count += 1
        return found

    def _one_of_many(self, written: Decoded, vectors: Tensor, start: float, seconds: float) -> list[Segment]:
        limits = self.request.limits
        if not limits.fine(written) and len(limits.temperatures) > 1:
            written = write(self.model, vectors, self._prompt(vectors, True), self._rules(True), limits, self.count)
        if limits.silent(written):
            return []
        cut, taken = cut_up(written, start, seconds, self.tokens)
        rest = written.tokens[sum(len(s.tokens) for s in cut) :]
        if taken < seconds and any(t < self.tokens.first_time for t in rest):  # nobody comes back for what is unfinished
            cut.append(_segment(written, self.tokens, start + taken, start + seconds, rest))
        return [s for s in self._with_words(cut, vectors, start, seconds) if s.text and s.end > s.start]

    def _quiet_windows(self, heard: Windows) -> list[Samples]:
        """The next windows, each cut where it is quietest near its end."""
        found: list[Samples] = []
        place = self.seek
        while len(found) < self.request.batch_size and len(samples := heard.at(place)[: self.pipeline.window]):
            more = heard.more(place + len(samples))
            taken = samples[: quietest(samples)].copy() if more else samples.copy()
            found.append(taken)
            place += len(taken)
        return found

    def _prompt(self, vectors: Tensor, timed: bool) -> list[int]:
        if not self.language:
            self.language = next(iter(language_of(self.model, vectors, self.tokens)))
        prompt = self.tokens.prompt(self.language, self.request.task, timed)
        room = int(self.model.config.max_target_positions) // 2 - 1
        return [self.tokens.previous, *self.before[-room:], *prompt] if self.before and room > 0 else prompt

    def _rules(self, timed: bool) -> Rules:
        pipeline = self.pipeline
        return Rules.of(self.tokens, timed, pipeline.suppress, pipeline.suppress_first, int(self.model.config.vocab_size))

    def _with_words(self, cut: list[Segment], vectors: Tensor, offset: float, seconds: float) -> list[Segment]:
        """The segments with the times of their words, where these are asked for."""
        if not self.request.words:
            return cut
        config, every = self.model.config, [t for s in cut for t in s.tokens if t < self.tokens.end]
        heads = heads_of(self.pipeline.config, int(config.decoder_layers), int(config.decoder_attention_heads))
        prompt = self.tokens.prompt(self.language, self.request.task, False)
        room = int(config.max_target_positions) - len(prompt) - 1
        words = align(self.model, vectors, self.tokens, prompt, every[:room], self.language, heads, seconds)
        return spread(cut, words, offset, self.tokens)

    def _settled(self, cut: list[Segment], taken: float, seconds: float) -> tuple[list[Segment], float]:
        """The segments that more sound will not change, and the seconds they take."""
        offset = self.seek / SAMPLE_RATE
        kept = [s for s in cut if s.end <= offset + seconds - _FRESH]
        self.pending = " ".join(s.text for s in cut[len(kept) :])
        if len(kept) == len(cut) and taken < seconds:
            return cut, taken
        return kept, kept[-1].end - offset if kept else 0.0

    def _remember(self, found: Decoded, cut: Iterable[Segment]) -> None:
        """What the next window is told; a text that needed much chance is not passed on."""
        if not self.request.previous or found.temperature > 0.5:
            self.before = []
        else:
            self.before += [t for s in cut for t in s.tokens]
            self.before = self.before[-int(self.model.config.max_target_positions) :]


def live(
    listener: Listener, blocks: Iterable[Any], sample_rate: int, every: float, partial: Callable[[str], None] | None
) -> Iterator[Segment]:
    """The segments of sound that is still coming in, each once it is settled.

    Args:
        listener: at the beginning.
        blocks: samples (T,), float, one after the other; their end ends all.
        sample_rate: theirs.
        every: seconds of new sound after which it is listened to.
        partial: called with the text that is not settled yet.
    """
    held, new, window = np.zeros(0, np.float32), 0, listener.pipeline.window
    for samples in resampled(blocks, sample_rate, SAMPLE_RATE):
        held, new = np.concatenate([held, samples]), new + len(samples)
        while new >= every * SAMPLE_RATE or len(held) >= window:
            full = len(held) >= window
            before = listener.seek
            settled = listener.window(held[:window], True, fresh=not full)
            yield from settled
            held, new = held[listener.seek - before :], 0
            if partial is not None and not full:
                partial(listener.pending)
            if not full:
                break
    while len(held):
        before = listener.seek
        yield from listener.window(held[:window], True)
        held = held[listener.seek - before :]


def quietest(samples: Samples) -> int:
    """Where to cut a window: in the middle of the quietest tenth of a second of its last five.

    Example:
        >>> sound = np.ones(16_000 * 30, np.float32)
        >>> sound[16_000 * 28 :][:3200] = 0.0
        >>> 28.0 < quietest(sound) / 16_000 < 28.2
        True
    """
    length = round(_FRAME * SAMPLE_RATE)
    first = max(len(samples) // 2, len(samples) - _SEARCHED * SAMPLE_RATE)
    tail = samples[first:].astype(np.float64) ** 2
    if len(tail) < 2 * length:
        return len(samples)
    sums = np.cumsum(np.append(0.0, tail))
    energy = sums[length:] - sums[:-length]
    return first + int(energy.argmin()) + length // 2


def cut_up(found: Decoded, offset: float, length: float, tokens: Tokens) -> tuple[list[Segment], float]:
    """The segments of a window of ``length`` seconds that begins at ``offset``, and the seconds of it that are done."""
    first, written = tokens.first_time, list(found.tokens)
    is_time = [t >= first for t in written]
    ends = [i for i in range(1, len(written)) if is_time[i] and is_time[i - 1]]
    complete = is_time[-2:] == [False, True]
    if not ends:
        times = [t for t in written if t >= first and t != first]
        end = min(length, (times[-1] - first) * STEP) if times and len([t for t in is_time if t]) else length
        start = min(end, (written[0] - first) * STEP) if written and is_time[0] else 0.0
        return [_segment(found, tokens, offset + start, offset + end, written)], length
    parts, last = [], 0
    for end in [*ends, *([len(written)] if complete else [])]:
        piece = written[last:end]
        start, stop = ((piece[i] - first) * STEP for i in (0, -1))
        parts.append(_segment(found, tokens, offset + start, offset + min(stop, length), piece))
        last = end
    done = length if complete else (written[last - 1] - first) * STEP
    return parts, done


def _segment(found: Decoded, tokens: Tokens, start: float, end: float, piece: Sequence[int]) -> Segment:
    text = tokens.decode(piece).strip()
    times = round(start, 3), round(end, 3)
    return Segment(*times, text, tuple(piece), found.avg_logprob, found.no_speech_prob, found.temperature)


def spread(cut: Sequence[Segment], words: Sequence[Word], offset: float, tokens: Tokens) -> list[Segment]:
    """Words of a window, given to the segments that their letters stand in."""
    found, at = [], 0
    for segment in cut:
        own: list[Word] = []
        letters, wanted = 0, len(tokens.decode(segment.tokens).strip())
        while at < len(words) and letters < wanted:
            word = words[at]
            letters += len(word.text if own else word.text.lstrip())
            own.append(Word(round(offset + word.start, 3), round(offset + word.end, 3), word.text.strip(), word.score))
            at += 1
        kept = _within([word for word in own if word.text], segment)
        times = (kept[0].start, max(kept[-1].end, kept[0].start)) if kept else (segment.start, segment.end)
        found.append(replace(segment, start=times[0], end=times[1], words=tuple(kept)))
    return found


def _within(words: list[Word], segment: Segment) -> list[Word]:
    """The words; where the first or the last reaches far out of its segment, into a pause, the segment's time is believed."""
    if words and words[0].start < segment.start - _BEYOND and words[0].end > segment.start:
        words[0] = replace(words[0], start=segment.start)
    if words and words[-1].end > segment.end + _BEYOND and words[-1].start < segment.end:
        words[-1] = replace(words[-1], end=segment.end)
    return words
