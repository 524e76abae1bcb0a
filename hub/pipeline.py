"""What ``nyala.load`` returns: a model together with its preprocessing, its postprocessing and where it came from.

A pipeline is called on raw input (a picture's path, a sentence) and cannot be used with the wrong preprocessing. It is
made once and not changed afterwards. The classes for each task live in the domains and are imported when a model of
that task is loaded.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

from ..core.errors import MissingFileError, UnknownNameError, did_you_mean
from .cards import Card
from .files import Files

if TYPE_CHECKING:
    from ..core.nn import Module

# Task -> "module:class". Each class offers ``from_files(model, files, card, config) -> Pipeline``.
TASKS: dict[str, str] = {
    "image-classification": "vision.pipelines:ImageClassification",
    "zero-shot-image-classification": "vision.zero_shot:ZeroShotImages",
    "image-segmentation": "vision.segmentation:ImageSegmentation",
    "object-detection": "vision.detection.pipeline:ObjectDetection",
    "image-embedding": "vision.embedding:ImageEmbedding",
    "image-explanation": "vision.explaining.pipeline:ImageExplanation",
    "depth-estimation": "vision.depth:DepthEstimation",
    "mask-generation": "vision.prompting.pipeline:PromptedMasks",
    "sentence-embedding": "text.pipelines.embedding:TextEmbedding",
    "feature-extraction": "text.pipelines.embedding:TextEmbedding",
    "text-classification": "text.pipelines.classification:TextClassification",
    "text-generation": "text.generation:TextGeneration",
    "text2text-generation": "text.pipelines.text2text:Text2Text",
    "summarization": "text.pipelines.text2text:Summarization",
    "translation": "text.pipelines.text2text:Translation",
    "token-classification": "text.pipelines.tagging:TokenClassification",
    "fill-mask": "text.pipelines.filling:FillMask",
    "question-answering": "text.pipelines.answering:QuestionAnswering",
    "reranking": "text.pipelines.ranking:Reranking",
    "zero-shot-classification": "text.pipelines.zero_shot:ZeroShot",
    "speech-recognition": "audio.pipelines.recognition:SpeechRecognition",
    "audio-classification": "audio.pipelines.classification:SoundClassification",
    "zero-shot-audio-classification": "audio.pipelines.zero_shot:ZeroShotSounds",
    "sound-embedding": "audio.pipelines.embedding:SoundEmbedding",
    "voice-activity-detection": "audio.pipelines.voice:VoiceActivity",
    "pitch": "audio.pipelines.pitch:PitchTracking",
    "text-to-speech": "audio.pipelines.speaking:TextToSpeech",
    "audio-codec": "audio.pipelines.codec:Codec",
}


def no_grad() -> Any:
    from ..core.autograd import no_grad as engine_no_grad

    return engine_no_grad()


@dataclass(frozen=True, eq=False, repr=False)
class Pipeline:
    """A model and all that is needed to use it on raw input. Subclasses are frozen dataclasses too.

    ``eval()`` is called on the model when the pipeline is made, and no graph is recorded when it runs.

    Attributes:
        model: the model, on its device.
        preprocess: raw input(s) -> what the model takes (a Tensor, or a mapping of named ones).
        postprocess: the model's output -> the result.
        card: the catalogue's card; None for a model that is not in the catalogue.
        files: the files it was made from.
        config: content of the ``config.json`` it was made from.
    """

    model: Module
    preprocess: Callable[..., Any]
    postprocess: Callable[..., Any]
    card: Card | None = None
    files: Files | None = None
    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.model.eval()

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> Pipeline:
        """Make the pipeline of ``model`` from its files.

        Args:
            model: the model with its weights.
            files: the files of the source; any of them may be missing.
            card: the catalogue's card, if there is one: preprocessing, labels.
            config: content of the model's ``config.json``.
        """
        raise NotImplementedError(f"{cls.__name__}.from_files")

    def __call__(self, inputs: Any) -> Any:
        """Raw input -> result: preprocess, run the model without a graph, postprocess.

        Raises:
            MissingFileError: the preprocessing needs a file that the model came without.
        """
        prepared = self.preprocess(inputs)
        with no_grad():
            output = self.model(**prepared) if isinstance(prepared, Mapping) else self.model(prepared)
        return self.postprocess(output)

    def from_arguments(self, inputs: Sequence[str]) -> Any:
        """What the arguments of a command line give: each is an input, unless a pipeline takes them otherwise."""
        return self(list(inputs))

    @property
    def name(self) -> str:
        """The card's name, or where the files came from."""
        return self.card.name if self.card else self.files.origin if self.files else type(self.model).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, model={type(self.model).__name__})"


def as_is(output: Any) -> Any:
    """A postprocessing that changes nothing."""
    return output


@dataclass(frozen=True)
class Unavailable:
    """Stands in for a preprocessing or postprocessing whose file is missing: ``.model`` works, calling it raises.

    Args:
        file: the missing file, e.g. ``"tokenizer.json"``.
        purpose: what it is for, e.g. ``"turn text into tokens"``.
        origin: where the model came from.

    Example:
        >>> from nyala.errors import MissingFileError
        >>> try:
        ...     Unavailable("tokenizer.json", "turn text into tokens", "folder m")("a cat")
        ... except MissingFileError as error:
        ...     print(error.what)
        folder m came without tokenizer.json
    """

    file: str
    purpose: str
    origin: str

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002 - it stands in for any callable
        raise MissingFileError(
            f"{self.origin} came without {self.file}",
            why=f"it is needed to {self.purpose}",
            fix=f"put {self.file} beside the weights, or call pipeline.model on prepared tensors",
        )


def pipeline_class(task: str) -> type[Pipeline]:
    """Import and return the pipeline class of a task.

    Raises:
        UnknownNameError: no such task; the message lists the nearest.
    """
    if task not in TASKS:
        raise UnknownNameError(
            f"nyala has no pipeline for the task {task!r}",
            why=f"it has {', '.join(TASKS)}",
            fix=did_you_mean(task, TASKS) or "use .model of a folder or hub id instead",
        )
    module, _, name = TASKS[task].partition(":")
    package = __package__.rpartition(".")[0]
    return cast(type[Pipeline], getattr(importlib.import_module(f"{package}.{module}"), name))
