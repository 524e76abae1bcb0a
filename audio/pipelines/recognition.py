"""Speech recognition: sounds of any length -> what was said, window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError, DataError, MissingFileError
from ...core.ops.shape import cat
from ...core.tensor import Tensor
from ...hub.pipeline import Pipeline, Unavailable, as_is
from ..transcript import Segment, Transcript, Transcripts
from ..transforms.whisper import HOP, N_FFT, SAMPLE_RATE, whisper_mel
from ..whisper.longform import Listener, Request, live
from ..whisper.tokens import Tokens
from .windows import Windows

if TYPE_CHECKING:
    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

Heard = Callable[[float, float], None]


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
            from .spelling import CTCRecognition

            return CTCRecognition.from_files(model, files, card, config)
        settings = files.read_json("generation_config.json") if "generation_config.json" in files else {}
        told = {**config, **{k: v for k, v in settings.items() if v is not None}}
        lists = [tuple(told.get(key) or ()) for key in ("suppress_tokens", "begin_suppress_tokens")]
        try:
            tokens: Any = Tokens.from_files(files, int(model.config.vocab_size))
        except MissingFileError:
            tokens = Unavailable("tokenizer.json", "turn tokens into text", files.origin)
        mel = _Mel(int(model.config.num_mel_bins), int(model.config.frames) * HOP)
        return cls(model, mel, as_is, card, files, config, tokens=tokens, suppress=lists[0], suppress_first=lists[1])

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
            **options: see :class:`~nyala.audio.whisper.longform.Request` and :class:`~nyala.audio.whisper.decoding.Limits`:
                ``timestamps``, ``words``, ``language``, ``task``, ``previous``, ``prompt``, ``batch_size``, ``beams``,
                ``temperatures``, ...

        Raises:
            MissingFileError: no such file, or the model came without a tokenizer.
            DataError: no sound, one that is cut off, or samples that are not finite.
            ArgumentError: an option that is not known.
        """
        if isinstance(self.tokens, Unavailable):
            self.tokens()
        request = Request.of(options)
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
                vectors = self.encode([heard.at(0)[: self.window]])
                found = self.model(decoder_input_ids=ids.to(vectors.device), encoder_outputs=vectors, last=True)
                rows.append(found.float().cpu().numpy()[0, -1])
        return np.stack(rows)

    def encode(self, windows: Sequence[np.ndarray[Any, Any]]) -> Tensor:
        """(N, S, D): what the encoder hears in some windows of samples at 16 kHz."""
        parameter: Any = next(iter(self.model.parameters()))
        pictures = cat([self.preprocess(samples, self.window - len(samples)) for samples in windows], 0)
        encoder: Any = self.model.encode
        with inference_mode():
            return encoder(pictures.to(parameter.device).to(parameter.dtype))

    def stream(
        self,
        blocks: Iterable[Any],
        sample_rate: int = SAMPLE_RATE,
        *,
        every: float = 3.0,
        partial: Callable[[str], None] | None = None,
        **options: Any,
    ) -> Iterator[Segment]:
        """What is said in sound that is still coming in, segment by segment.

        A segment is given out once more sound will not change it. At most a window is held, whatever the length.

        Args:
            blocks: samples (T,), float, as a microphone gives them.
            sample_rate: theirs.
            every: seconds of new sound after which it is listened to; less is quicker to answer and more work.
            partial: called with the text that may still change.
            **options: as for a call; ``timestamps`` are always there, and windows come one after the other.

        Raises:
            MissingFileError: the model came without a tokenizer.
            ArgumentError: an option that is not known, or ``every`` that is not above 0.
        """
        if isinstance(self.tokens, Unavailable):
            self.tokens()
        if every <= 0:
            raise ArgumentError(f"every={every}", fix="use seconds above 0")
        listener = Listener(self, Request.of({**options, "timestamps": True}))
        return live(listener, blocks, sample_rate, every, partial)

    def _transcript(self, sound: Any, request: Request, progress: Heard | None) -> Transcript:
        with Windows(sound, self.window, SAMPLE_RATE) as heard:
            listener = Listener(self, request)
            segments: list[Segment] = []
            if progress is not None:
                progress(0.0, heard.total / SAMPLE_RATE)
            for found in listener.segments(heard):
                segments += found
                if progress is not None:
                    progress(min(listener.seek, heard.total) / SAMPLE_RATE, heard.total / SAMPLE_RATE)
            return Transcript(tuple(segments), listener.language or "en", heard.length / SAMPLE_RATE, heard.name, heard.sketch)


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
