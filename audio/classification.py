"""What kind of sound is it: the pipeline of sound classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.autograd import no_grad
from ..core.create import from_numpy
from ..core.errors import DataError
from ..core.tensor import Tensor
from ..hub.pipeline import Pipeline
from ..hub.results import Classifications, predictions, table
from .sounds import name_of, samples_of
from .transforms.kaldi import FRAME, HOP, kaldi_fbank
from .transforms.waves import Waves

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


class SoundClasses(Classifications):
    """One :class:`~nyala.hub.results.Prediction` a sound; prints as a table."""

    def name(self, index: int) -> str:
        """The file's path, or the sound's number."""
        return name_of(self.inputs[index], index)

    def __repr__(self) -> str:
        rows = [
            [self.name(i) if k == 0 else "", label, score]
            for i, p in enumerate(self.predictions)
            for k, (label, score) in enumerate(zip(p.labels, p.scores, strict=True))
        ]
        return table(["sound", "label", "score"], rows)

    def draw(self) -> Image:
        """The table as a picture."""
        from .drawing import text

        return text(repr(self))


@dataclass(frozen=True)
class Fbank:
    """Samples -> normalised log mel frames of one length, as transformers' ``ASTFeatureExtractor`` makes them.

    Attributes:
        frames, n_mels: of a picture; shorter sounds are filled with zeros, longer ones lose their end.
        sample_rate: in Hz.
        mean, std: frames become (x - mean) / (2 std); both None for as they are.
    """

    frames: int = 1024
    n_mels: int = 128
    sample_rate: int = 16_000
    mean: float | None = -4.2677393
    std: float | None = 4.5689974

    @staticmethod
    def from_config(described: Mapping[str, Any], frames: int, n_mels: int) -> Fbank:
        """From a ``preprocessor_config.json``; what it does not say is AudioSet's.

        Raises:
            DataError: a deviation that cannot be divided by.
        """
        own = Fbank()
        if not described.get("do_normalize", True):
            return Fbank(frames, n_mels, int(described.get("sampling_rate", own.sample_rate)), None, None)
        mean, std = (float(described.get(key, getattr(own, key))) for key in ("mean", "std"))
        if not std > 0:
            raise DataError(f"preprocessor_config.json: std={std}", fix="restore the file from where it came")
        return Fbank(frames, n_mels, int(described.get("sampling_rate", own.sample_rate)), mean, std)

    @property
    def samples(self) -> int:
        """Samples that are looked at."""
        return FRAME + HOP * (self.frames - 1)

    def to_preprocessor(self) -> dict[str, Any]:
        """The content of the ``preprocessor_config.json`` that transformers reads."""
        normalised: dict[str, Any] = {"do_normalize": False}
        if self.mean is not None:
            normalised = {"do_normalize": True, "mean": self.mean, "std": self.std}
        return {
            "feature_extractor_type": "ASTFeatureExtractor",
            "feature_size": 1,
            "max_length": self.frames,
            "num_mel_bins": self.n_mels,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": False,
            "sampling_rate": self.sample_rate,
            **normalised,
        }

    def __call__(self, sounds: Any) -> Tensor:
        """Sounds -> (N, frames, n_mels); one sound is a list of one."""
        rows = []
        for i, sound in enumerate(sounds if isinstance(sounds, list) else [sounds]):
            rows.append(self.one(samples_of(sound, self.sample_rate, most=self.samples), name_of(sound, i)))
        return self.batch(rows)

    def batch(self, rows: Sequence[np.ndarray[Any, Any]]) -> Tensor:
        """What :meth:`one` gave, as the model takes it: (N, frames, n_mels)."""
        return from_numpy(np.stack(rows))

    def count(self, samples: int) -> int:
        """How many of the frames are of a sound of so many samples."""
        return min(self.frames, 1 + (samples - FRAME) // HOP)

    def one(self, samples: np.ndarray[Any, Any], name: str = "a sound") -> np.ndarray[Any, Any]:
        """Samples (T,) at the model's rate -> (frames, n_mels).

        Args:
            samples: float32.
            name: what messages call the sound.

        Raises:
            DataError: fewer than a frame.
        """
        if len(samples) < FRAME:
            raise DataError(
                f"{name} has {len(samples)} sample(s) at {self.sample_rate} Hz",
                why=f"a frame needs {FRAME}",
                fix="leave out sounds shorter than 25 ms",
            )
        found = kaldi_fbank(from_numpy(np.ascontiguousarray(samples)), self.n_mels, sample_rate=self.sample_rate).numpy()
        padded = np.zeros((self.frames, self.n_mels), np.float32)
        padded[: len(found)] = found[: self.frames]
        return padded if self.mean is None or self.std is None else (padded - self.mean) / np.float32(2 * self.std)


@dataclass(frozen=True, eq=False, repr=False)
class SoundClassification(Pipeline):
    """Sounds -> classes. Call it on one sound (a prediction comes back) or a list (:class:`SoundClasses`).

    A sound is a path, an open binary file, samples at the model's rate, or a pair (samples, sample rate). What lies behind the
    frames that the model looks at is not read.

    Attributes:
        labels: names of the classes, in the order of the logits.
        top_k: how many classes each prediction names.
        batch_size: sounds that go through the model at once.
    """

    preprocess: Any
    labels: tuple[str, ...] = ()
    top_k: int = 5
    batch_size: int = 16

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> SoundClassification:
        """Preprocessing from ``preprocessor_config.json``, labels from ``id2label``."""
        settings: Any = model.config
        names = config.get("id2label") or {}
        labels = tuple(str(names.get(str(i), f"class {i}")) for i in range(int(settings.num_labels)))
        return cls(model, preprocessing(model, files, card), _as_is, card, files, config, labels=labels)

    def hearing(self, seconds: float) -> SoundClassification:
        """The same on the first ``seconds`` of sounds; the model is changed too.

        Raises:
            ArgumentError: longer than what the model's weights hear, or shorter than a patch.
        """
        fbank: Fbank = self.preprocess
        frames = 1 + max(0, round(seconds * fbank.sample_rate) - FRAME) // HOP
        model: Any = self.model
        model.keep_frames(frames)
        return replace(self, preprocess=replace(fbank, frames=frames))

    def logits(self, inputs: Sequence[Any]) -> np.ndarray[Any, Any]:
        """(N, classes) float32: what the model says, before any softmax."""
        parts = []
        size = 1 if isinstance(self.preprocess, Waves) else self.batch_size  # samples differ in length: a neighbour's would count
        with no_grad():
            for i in range(0, len(inputs), size):
                batch = values_of(self.preprocess(list(inputs[i : i + size])), self.model)
                parts.append(self.model(batch).float().cpu().numpy())
        return np.concatenate(parts)

    def __call__(self, inputs: Any) -> Any:
        """One sound -> a prediction; a list -> :class:`SoundClasses`.

        Raises:
            DataError: no sound, or one of less than 25 ms.
            MissingFileError: no such file.
        """
        sounds = inputs if isinstance(inputs, list) else [inputs]
        if not sounds:
            raise DataError("no sound to work on", fix="pass at least one")
        found = predictions(self.logits(sounds), self.labels, min(self.top_k, len(self.labels)))
        return SoundClasses(found, sounds) if isinstance(inputs, list) else found[0]


def preprocessing(model: Module, files: Files, card: Card | None) -> Fbank | Waves:
    """What a model of sounds takes: log-mel frames, or the samples themselves.

    Raises:
        DataError: a ``preprocessor_config.json`` that makes no sense.
    """
    settings: Any = model.config
    described = dict(card.preprocessing) if card is not None else {}
    if "preprocessor_config.json" in files:
        described = files.read_json("preprocessor_config.json")
    if hasattr(settings, "conv_stride"):
        return Waves.from_config(described, settings)
    return Fbank.from_config(described, int(settings.max_length), int(settings.num_mel_bins))


def values_of(batch: Any, model: Module) -> Tensor:
    """What a preprocessing gave, where the model is and of its dtype."""
    parameter = next(iter(model.parameters()))
    values = batch if isinstance(batch, Tensor) else batch["input_values"]
    return values.to(parameter.device).to(parameter.dtype)


def _as_is(output: Any) -> Any:
    return output
