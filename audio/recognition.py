"""Speech recognition: sounds of any length -> what was said, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.autograd import inference_mode
from ..core.create import from_numpy
from ..core.errors import ArgumentError, DataError, MissingFileError
from ..core.tensor import Tensor
from ..hub.pipeline import Pipeline, Unavailable
from .decoding import Decoded, Limits, Rules, language_of, write
from .tokens import STEP, Tokens
from .transcript import Segment, Transcript, Transcripts
from .transforms.whisper import HOP, N_FFT, SAMPLE_RATE, whisper_mel
from .windows import Windows

if TYPE_CHECKING:
    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files

Heard = Callable[[float, float], None]
_SILENCE = 1e-5  # a third of a 16-bit step: nothing was recorded


@dataclass(frozen=True)
class Request:
    """How a sound is to be transcribed.

    Attributes:
        timestamps: whether segments have times; None: where the sound is longer than a window, which needs them.
        language: code of what is spoken; None: what the first window sounds like.
        task: "transcribe", or "translate" into English.
        previous: whether a window is told what was said before it.
        prompt: words before the first window, such as names that occur.
        limits: when a window is tried again.
    """

    timestamps: bool | None = None
    language: str | None = None
    task: str = "transcribe"
    previous: bool = True
    prompt: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.task not in ("transcribe", "translate"):
            raise ArgumentError(f"task={self.task!r}", fix="use 'transcribe' or 'translate'")


@dataclass(frozen=True, eq=False, repr=False)
class SpeechRecognition(Pipeline):
    """Sounds -> what was said. Call it on one sound (:class:`Transcript`) or a list (:class:`Transcripts`).

    A sound is a path, an open binary file, samples at 16 kHz, or a pair (samples, sample rate). Files of any length are read in
    pieces: memory is bounded by a window of 30 s. A window of digital silence is not looked at: nobody speaks in it.

    Attributes:
        tokens: the tokenizer and its marks.
        suppress, suppress_first: tokens that are never written, and none that a text begins with, as published.
    """

    tokens: Any = None
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> Any:
        """Tokenizer and lists of tokens from the files; of a model that spells, its own pipeline."""
        if not hasattr(model, "encode"):
            from .ctc_recognition import CTCRecognition

            return CTCRecognition.from_files(model, files, card, config)
        settings = files.read_json("generation_config.json") if "generation_config.json" in files else {}
        told = {**config, **{k: v for k, v in settings.items() if v is not None}}
        lists = [tuple(told.get(key) or ()) for key in ("suppress_tokens", "begin_suppress_tokens")]
        try:
            tokens: Any = Tokens.from_files(files, int(model.config.vocab_size))
        except MissingFileError:
            tokens = Unavailable("tokenizer.json", "turn tokens into text", files.origin)
        mel = _Mel(int(model.config.num_mel_bins), int(model.config.frames) * HOP)
        return cls(model, mel, _as_is, card, files, config, tokens=tokens, suppress=lists[0], suppress_first=lists[1])

    def to_generation(self) -> dict[str, Any]:
        """The ``generation_config.json`` that goes with the weights: what transformers must know to write as this does."""
        published = self.files is not None and "generation_config.json" in self.files
        known = self.files.read_json("generation_config.json") if published and self.files else {}
        named = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
        told = {name: getattr(self.model.config, name) for name in named}
        told |= {"suppress_tokens": list(self.suppress), "begin_suppress_tokens": list(self.suppress_first)}
        told |= {"max_length": int(self.model.config.max_target_positions), "return_timestamps": False}
        if isinstance(self.tokens, Tokens):
            told["no_timestamps_token_id"] = self.tokens.untimed
            told["is_multilingual"] = bool(self.tokens.languages)
            if self.tokens.languages:
                told["lang_to_id"] = {f"<|{code}|>": number for code, number in self.tokens.languages.items()}
                told["task_to_id"] = {"transcribe": self.tokens.transcribe, "translate": self.tokens.translate}
        heads = self.config.get("alignment_heads")
        return {**told, **({"alignment_heads": heads} if heads else {}), **{k: v for k, v in known.items() if v is not None}}

    @property
    def window(self) -> int:
        """Samples that the model hears at once: 480,000 are 30 s."""
        return int(self.model.config.frames) * HOP

    def __call__(self, inputs: Any, *, progress: Heard | None = None, **options: Any) -> Any:
        """One sound -> :class:`Transcript`; a list -> :class:`Transcripts`.

        Args:
            inputs: sounds.
            progress: called with the seconds heard so far, and those there are.
            **options: see :class:`Request` and :class:`~nyala.audio.decoding.Limits`: ``timestamps``, ``language``, ``task``,
                ``previous``, ``prompt``, ``temperatures``, ``seed``, ...

        Raises:
            MissingFileError: no such file, or the model came without a tokenizer.
            DataError: no sound, one that is cut off, or samples that are not finite.
            ArgumentError: an option that is not known.
        """
        if isinstance(self.tokens, Unavailable):
            self.tokens()
        request = _request(options)
        if isinstance(inputs, list):
            if not inputs:
                raise DataError("no sound to work on", fix="pass at least one")
            return Transcripts([self._transcript(sound, request, progress) for sound in inputs])
        return self._transcript(inputs, request, progress)

    def logits(self, sounds: Sequence[Any]) -> np.ndarray[Any, Any]:
        """(N, vocabulary) float32: what the model says of the first word of each sound, of its first 30 s."""
        rows = []
        for sound in sounds:
            with Windows(sound, self.window, SAMPLE_RATE) as heard, inference_mode():
                ids = from_numpy(np.array([self.tokens.prompt(None, "transcribe", False)]))
                vectors = self._encode(heard.at(0)[: self.window])
                found = self.model(decoder_input_ids=ids.to(vectors.device), encoder_outputs=vectors, last=True)
                rows.append(found.float().cpu().numpy()[0, -1])
        return np.stack(rows)

    def _encode(self, samples: np.ndarray[Any, Any]) -> Tensor:
        parameter: Any = next(iter(self.model.parameters()))
        mel = self.preprocess(samples, self.window - len(samples))
        encode: Any = self.model.encode
        with inference_mode():
            return encode(mel.to(parameter.device).to(parameter.dtype))

    def _transcript(self, sound: Any, request: Request, progress: Heard | None) -> Transcript:
        with Windows(sound, self.window, SAMPLE_RATE) as heard:
            work = _Work(self, heard, request)
            segments: list[Segment] = []
            if progress is not None:
                progress(0.0, heard.total / SAMPLE_RATE)
            for found in work.segments():
                segments += found
                if progress is not None:
                    progress(min(work.seek, heard.total) / SAMPLE_RATE, heard.total / SAMPLE_RATE)
            return Transcript(tuple(segments), work.language, heard.length / SAMPLE_RATE, heard.name)


class _Work:
    """One sound's way through the windows."""

    def __init__(self, pipeline: SpeechRecognition, heard: Windows, request: Request) -> None:
        self.pipeline, self.heard, self.request, self.tokens = pipeline, heard, request, pipeline.tokens
        self.seek = self.count = 0
        self.language = request.language or "en"
        self.before: list[int] = pipeline.tokens.encode(" " + request.prompt.strip()) if request.prompt.strip() else []

    def segments(self) -> Iterator[list[Segment]]:
        """The segments of each window."""
        timed: bool | None = self.request.timestamps
        while len(samples := self.heard.at(self.seek)[: self.pipeline.window]):
            longer = self.heard.more(self.seek + self.pipeline.window)
            timed = bool(timed) or longer or self.count > 0
            yield self._window(samples, timed)
            self.count += 1

    def _window(self, samples: np.ndarray[Any, Any], timed: bool) -> list[Segment]:
        """What is said in a window; moves on behind it, or to where an unfinished segment begins."""
        if float(np.abs(samples).max()) < _SILENCE:  # the model would guess, and say so with confidence
            self.seek += len(samples)
            return []
        vectors = self.pipeline._encode(samples)
        if self.count == 0 and self.request.language is None:
            self.language = next(iter(language_of(self.pipeline.model, vectors, self.tokens)))
        prompt = self.tokens.prompt(self.language, self.request.task, timed)
        room = int(self.pipeline.model.config.max_target_positions) // 2 - 1
        if self.before and room > 0:
            prompt = [self.tokens.previous, *self.before[-room:], *prompt]
        model = self.pipeline.model
        rules = Rules.of(
            self.tokens,
            timed,
            self.pipeline.suppress,
            self.pipeline.suppress_first,
            int(model.config.vocab_size),  # type: ignore[arg-type]
        )
        found = write(model, vectors, prompt, rules, self.request.limits, self.count)
        start, length = self.seek, len(samples)
        if self.request.limits.silent(found):
            self.seek += length
            return []
        cut, taken = _cut(found, start / SAMPLE_RATE, length / SAMPLE_RATE, self.tokens)
        self.seek += max(HOP, min(length, round(taken * SAMPLE_RATE)))
        self._remember(found, cut)
        return [s for s in cut if s.text and s.end > s.start]

    def _remember(self, found: Decoded, cut: Iterable[Segment]) -> None:
        """What the next window is told; a text that needed much chance is not passed on."""
        if not self.request.previous or found.temperature > 0.5:
            self.before = []
        else:
            self.before += [t for s in cut for t in s.tokens]
            self.before = self.before[-int(self.pipeline.model.config.max_target_positions) :]  # type: ignore[arg-type]


def _cut(found: Decoded, offset: float, length: float, tokens: Tokens) -> tuple[list[Segment], float]:
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


@dataclass(frozen=True)
class _Mel:
    """Samples -> the log-mel picture of a window."""

    n_mels: int
    window: int
    sample_rate: int = SAMPLE_RATE

    def to_preprocessor(self) -> dict[str, Any]:
        """The ``preprocessor_config.json`` of transformers' ``WhisperFeatureExtractor``."""
        seconds, frames = self.window / self.sample_rate, self.window // HOP
        return {
            "feature_extractor_type": "WhisperFeatureExtractor",
            "processor_class": "WhisperProcessor",
            "chunk_length": int(seconds) if seconds.is_integer() else seconds,
            "feature_size": self.n_mels,
            "hop_length": HOP,
            "n_fft": N_FFT,
            "n_samples": self.window,
            "nb_max_frames": frames,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
            "sampling_rate": self.sample_rate,
        }

    def __call__(self, samples: np.ndarray[Any, Any], padding: int) -> Tensor:
        """(T,) samples and ``padding`` more of silence -> (1, n_mels, frames)."""
        return whisper_mel(from_numpy(np.ascontiguousarray(samples)), self.n_mels, padding=padding).unsqueeze(0)


def _request(options: dict[str, Any]) -> Request:
    own = {k: options[k] for k in options if k in Request.__dataclass_fields__ and k != "limits"}
    limits = {k: v for k, v in options.items() if k in Limits.__dataclass_fields__}
    unknown = sorted(set(options) - set(own) - set(limits))
    if unknown:
        known = [*Request.__dataclass_fields__, *Limits.__dataclass_fields__]
        raise ArgumentError(f"no option {', '.join(unknown)}", fix=f"there are {', '.join(k for k in known if k != 'limits')}")
    return replace(Request(**own), limits=Limits(**limits))


def _as_is(output: Any) -> Any:
    return output
