"""What kind of sound is it: the pipeline of sound classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.autograd import no_grad
from ...core.errors import DataError
from ...core.tensor import Tensor
from ...hub.pipeline import Pipeline, as_is
from ...hub.results import Classifications, predictions, table
from ..transforms.clap import ClapMel
from ..transforms.frontends import Fbank, FrontEnd, LogMel
from ..transforms.voices import VoiceMel
from ..transforms.waves import Waves
from .sounds import name_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ...core.nn import Module
    from ...hub.cards import Card
    from ...hub.files import Files

LONGEST = 300  # seconds that models of samples hear of a sound: each frame looks at all others


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


@dataclass(frozen=True, eq=False, repr=False)
class SoundClassification(Pipeline):
    """Sounds -> classes. Call it on one sound (a prediction comes back) or a list (:class:`SoundClasses`).

    A sound is a path, an open binary file, samples at the model's rate, or a pair (samples, sample rate). What lies behind the
    frames that the model looks at is not read; a model that takes samples of any length hears the first five minutes.

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
        return cls(model, preprocessing(model, files, card), as_is, card, files, config, labels=labels)

    def hearing(self, seconds: float) -> SoundClassification:
        """The same on the first ``seconds`` of sounds; the model is changed too.

        Raises:
            ArgumentError: longer than what the model's weights hear, or shorter than a patch.
        """
        shorter = self.preprocess.hearing(seconds)
        model: Any = self.model
        if hasattr(model, "keep_frames"):
            model.keep_frames(shorter.frames)
        return replace(self, preprocess=shorter)

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


def preprocessing(model: Module, files: Files, card: Card | None) -> FrontEnd | VoiceMel | ClapMel:
    """What a model of sounds takes: log-mel frames, or the samples themselves.

    Raises:
        DataError: a ``preprocessor_config.json`` that makes no sense.
    """
    settings: Any = model.config
    described = dict(card.preprocessing) if card is not None else {}
    if "preprocessor_config.json" in files:
        described = files.read_json("preprocessor_config.json")
    if hasattr(settings, "conv_stride"):
        waves = Waves.from_config(described, settings)
        return replace(waves, most=LONGEST * waves.sample_rate)
    if hasattr(settings, "audio_config"):
        return ClapMel.from_config(described, settings.audio_config.num_mel_bins, settings.audio_config.enable_fusion)
    if hasattr(settings, "partial_frames"):
        return VoiceMel.from_config(described, settings)
    if hasattr(settings, "max_source_positions"):
        return LogMel(int(settings.frames), int(settings.num_mel_bins))
    return Fbank.from_config(described, int(settings.max_length), int(settings.num_mel_bins))


def values_of(batch: Any, model: Module) -> Tensor:
    """What a preprocessing gave, where the model is and of its dtype."""
    parameter = next(iter(model.parameters()))
    values = batch if isinstance(batch, Tensor) else batch["input_values"]
    return values.to(parameter.device).to(parameter.dtype)


def features_of(model: Module, batch: dict[str, Tensor]) -> Tensor:
    """The vectors of sounds by the tower that a model has for them, of any length: (N, D)."""
    tower: Any = model
    values = values_of({"input_values": batch["input_features"]}, model)
    found: Tensor = tower.get_audio_features(values, batch["is_longer"].to(values.device))
    return found
