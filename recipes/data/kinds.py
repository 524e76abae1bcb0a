"""Kinds of data, and what each needs: a domain, a pipeline, a preparation, an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ...core.errors import DataError, RecipeError
from ...core.nn import Module
from ...hub import registry
from ...hub.pipeline import Pipeline, pipeline_class
from ...text.datasets.packing import pack
from ...text.pipelines import answering
from ...text.tokenizers.masking import Masker
from ...vision.detection import SetCriterion
from ..language.schema import HorizontalFlip, Masking, Model, RandomPart, RandomResizedCrop, Spans, Train
from ..training import objectives
from ..training.objectives import Objective, class_weights
from . import asking, augment, boxes, masked, pixels, rewriting, speech, tasks
from .datasets import Part, Source
from .picture_changes import BOXED, CHANGES, MOVED


class Kind(ABC):
    """What follows from the kind of the data.

    Attributes:
        plural: what messages call the samples.
        domain: of the models that take them.
        task_name: of the pipeline that a run makes.
        augments: changes that can be made to a sample.
        metrics: names of the scores, beside ``loss``.
        by_class: each sample has one class.
        blends: ways in which an update can blend samples (``train.mixup``, ``train.cutmix``).
    """

    plural: ClassVar[str]
    domain: ClassVar[str] = "text"
    task_name: ClassVar[str]
    augments: ClassVar[tuple[Any, ...]] = augment.TEXT
    metrics: ClassVar[tuple[str, ...]] = objectives.Classes.metrics
    by_class: ClassVar[bool] = True
    blends: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:
        """How samples become batches."""

    def objective(self, pipeline: Pipeline, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        """What is minimised and measured."""
        weights = class_weights(recipe.class_weights, source.train.labels, labels)
        return objectives.Classes(len(labels), recipe.label_smoothing, weights)

    def labelled(self, source: Source, recipe: Model) -> Source:  # noqa: ARG002 - for kinds whose classes depend on the model
        """The dataset with the classes that this model is to tell apart; called before the model is read."""
        return source

    def fitted(self, source: Source, pipeline: Any, recipe: Model) -> Source:  # noqa: ARG002 - for kinds whose samples depend on it
        """The dataset as this model takes it."""
        return source

    def settled(self, pipeline: Any, recipe: Model) -> Any:  # noqa: ARG002 - for kinds whose pipelines have settings
        """The pipeline with what the recipe says of its results."""
        return pipeline

    def informed(self, pipeline: Any, source: Source) -> Any:  # noqa: ARG002 - for kinds whose pipelines answer as the data do
        """The pipeline with what the data say of its results."""
        return pipeline

    def new_head(self, config: Mapping[str, Any]) -> bool:  # noqa: ARG002 - for kinds whose head is no classifier
        """Whether a head that is no classifier of the data's classes is missing in what ``config.json`` describes."""
        return False

    def accepts(self, pipeline: Pipeline) -> bool:
        """Whether a finished model's pipeline does what this kind of data is for."""
        return isinstance(pipeline, pipeline_class(self.task_name))

    def trim(self, model: Module) -> None:  # noqa: B027 - most kinds use the whole model
        """Freezes what has no part in the objective."""


class Pictures(Kind):
    """Pictures with a class each."""

    plural, domain, task_name, augments = "pictures", "vision", "image-classification", (*augment.IMAGE, *CHANGES)
    blends = ("mixup", "cutmix")

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return tasks.Images(pipeline.preprocess)


class Masks(Kind):
    """Pictures with a class for every pixel."""

    plural, domain, task_name, augments = "pictures with masks", "vision", "image-segmentation", (*augment.IMAGE, *MOVED)
    metrics, by_class = objectives.Pixels.metrics, False

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:
        return pixels.MaskedPictures(pipeline.preprocess, source.labels)

    def objective(self, pipeline: Pipeline, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:
        if recipe.class_weights == "balanced":
            weights: np.ndarray | None = pixels.pixel_weights(source.train.inputs, len(labels))
        else:
            weights = class_weights(recipe.class_weights, np.zeros(0, np.int64), labels)
        model: Any = pipeline.model
        further = float(model.auxiliary_weight)
        return objectives.Pixels(tuple(labels), recipe.label_smoothing, weights, recipe.dice, recipe.focal, further)


class BoxedPictures(Kind):
    """Pictures of several objects, with a box around each."""

    plural, domain, task_name = "pictures with boxes", "vision", "object-detection"
    augments = (HorizontalFlip, RandomResizedCrop, *MOVED, *BOXED)
    metrics, by_class = objectives.Boxes.metrics, False

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return boxes.Boxes(pipeline.preprocess, bool(getattr(pipeline.model, "takes_mask", False)))

    def objective(self, pipeline: Any, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        pipeline.model.auxiliary |= pipeline.model.layered  # as the paper trains it
        return objectives.Boxes(SetCriterion.of(pipeline.model.config), tuple(labels))


class Sounds(Kind):
    """Sounds with a class each."""

    plural, domain, task_name, augments = "sounds", "audio", "audio-classification", augment.SOUND
    blends = ("mixup",)

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return tasks.Sounds(pipeline.preprocess)


class Speech(Kind):
    """Sounds with a transcript each."""

    plural, domain, task_name = "sounds with transcripts", "audio", "speech-recognition"
    augments = tuple(kind for kind in augment.SOUND if kind is not RandomPart)  # the transcript tells of all of a sound
    metrics, by_class = objectives.SPEECH_METRICS, False

    def accepts(self, pipeline: Pipeline) -> bool:
        return super().accepts(pipeline) or hasattr(pipeline, "letters")

    def labelled(self, source: Source, recipe: Model) -> Source:
        """For a model that spells with a new head: the letters of the training part are the classes of each frame."""
        if not speech.spells(recipe) or not recipe.new_head:
            return source
        return replace(source, labels=speech.alphabet(u.text for u in source.train.inputs))

    def fitted(self, source: Source, pipeline: Any, recipe: Model) -> Source:
        return speech.fitted(source, pipeline, recipe.language)

    def task(self, pipeline: Any, source: Source) -> tasks.Task:
        if hasattr(pipeline, "letters"):
            return speech.Spelling(pipeline, speech.letters_of(source.labels, pipeline))
        return speech.Dictation(pipeline)

    def objective(self, pipeline: Any, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        if hasattr(pipeline, "letters"):
            return objectives.Spelled(speech.letters_of(source.labels, pipeline))
        return objectives.dictated(pipeline)


class Texts(Kind):
    """Texts with a class each."""

    plural, task_name = "texts", "text-classification"

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return _texts(pipeline)


class Tags(Kind):
    """Texts with a tag for each word."""

    plural, task_name, augments = "tagged texts", "token-classification", ()
    metrics, by_class = objectives.Tags.metrics, False

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:
        return tasks.TaggedTexts(pipeline.preprocess, int(pipeline.model.config.vocab_size), source.labels)

    def objective(self, pipeline: Pipeline, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        number = {tag: i for i, tag in enumerate(labels)}
        every = np.array([number[tag] for text in source.train.inputs for tag in text.tags], np.int64)
        return objectives.Tags(tuple(labels), recipe.label_smoothing, class_weights(recipe.class_weights, every, labels))


class Questions(Kind):
    """Questions and the texts that answer them, word for word, or do not."""

    plural, task_name, augments = "questions", answering.TASK, ()
    metrics, by_class = objectives.Answers.metrics, False

    def informed(self, pipeline: Any, source: Source) -> Any:
        return replace(pipeline, no_answer=_unanswered(source.train))

    def task(self, pipeline: Any, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return asking.Asking(pipeline)

    def objective(self, pipeline: Any, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        parts = (source.train, source.validation, source.test)
        return objectives.Answers(pipeline.no_answer or any(map(_unanswered, parts)))

    def new_head(self, config: Mapping[str, Any]) -> bool:
        return _new_head(config, self.task_name, "answer questions", ("ForQuestionAnswering",))


class Pairs(Kind):
    """Pairs of texts that belong together."""

    plural, task_name = "pairs of texts", "sentence-embedding"
    metrics, by_class = objectives.Pairs.metrics, False

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return tasks.TextPairs(_texts(pipeline))

    def objective(self, pipeline: Any, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        return objectives.Pairs(pipeline.pooling)

    def trim(self, model: Any) -> None:
        """The layer behind the first token, which embeddings do not go through."""
        pooler = getattr(model, "pooler", None)
        if pooler is not None:
            pooler.requires_grad_(False)


class Corpora(Kind):
    """Texts to be continued: joined, and cut into windows of equal length."""

    plural, task_name, augments = "corpora", "text-generation", ()
    metrics, by_class = objectives.NextTokens.metrics, False

    def fitted(self, source: Source, pipeline: Any, recipe: Model) -> Source:
        """The texts of each part as windows of ``model.max_length`` tokens, by default 256."""
        if not hasattr(pipeline.model, "new_caches"):
            raise RecipeError(
                f"model.name: {recipe.name} cannot continue texts, which a corpus is for",
                fix="choose a model for text-generation: `nyala list --task text-generation`; an encoder can learn to guess "
                "hidden words, with data.masked={}",
            )
        length = recipe.max_length or min(_WINDOW, pipeline.preprocess.max_length)

        def cut(name: str, part: Part) -> Part:
            found = pack(part.inputs, pipeline.preprocess, length, between=next(iter(pipeline.ends), None), special=True)
            if not len(found) and len(part):
                raise DataError(
                    f"the {name} part has {len(part)} text(s), together shorter than one window of {length} tokens",
                    fix="give more text, or make model.max_length smaller",
                )
            return Part(found, np.zeros(len(found), np.int64))

        parts = (cut("training", source.train), cut("validation", source.validation), cut("test", source.test))
        return replace(source, train=parts[0], validation=parts[1], test=parts[2])

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return tasks.Windows(pipeline.preprocess)

    def objective(self, pipeline: Pipeline, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        return objectives.NextTokens(recipe.label_smoothing)


class MaskedTexts(Kind):
    """Texts with hidden tokens that are to be guessed."""

    plural, task_name, augments = "texts with hidden tokens", "fill-mask", ()
    metrics, by_class = objectives.HiddenTokens.metrics, False

    def fitted(self, source: Source, pipeline: Any, recipe: Model) -> Source:
        """The texts as rows of at most ``model.max_length`` tokens, by default 256."""
        length = recipe.max_length or min(_WINDOW, pipeline.preprocess.max_length)
        return masked.fitted(source, pipeline.preprocess, length)

    def task(self, pipeline: Any, source: Source) -> tasks.Task:
        given = source.masking or Masking()
        masker = Masker(pipeline.preprocess, given.probability, given.random, given.keep, given.whole_words)
        return masked.Masked(masker, int(pipeline.model.config.vocab_size))

    def objective(self, pipeline: Pipeline, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        return objectives.HiddenTokens(recipe.label_smoothing)

    def new_head(self, config: Mapping[str, Any]) -> bool:
        return _new_head(config, self.task_name, "guess hidden words", ("ForMaskedLM", "ForPreTraining"))


class Rewrites(Kind):
    """Texts and what is to be written of them: summaries, translations, answers."""

    plural, task_name = "texts to be rewritten", "text2text-generation"
    metrics, by_class = objectives.Rewritten.metrics, False

    def settled(self, pipeline: Any, recipe: Model) -> Any:
        return rewriting.settled(pipeline, recipe)

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:  # noqa: ARG002 - the kinds' signature
        return rewriting.Rewriting(pipeline)

    def objective(self, pipeline: Any, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        return objectives.Rewritten(pipeline.preprocess, pipeline.start, pipeline.ends, recipe.label_smoothing)


class CutTexts(Rewrites):
    """Texts with stretches cut out that are to be written."""

    plural, augments = "texts with stretches cut out", ()
    metrics = objectives.CutTokens.metrics

    def fitted(self, source: Source, pipeline: Any, recipe: Model) -> Source:
        """The texts as rows of at most ``model.max_length`` tokens, by default 256."""
        return rewriting.windows(source, pipeline, recipe)

    def task(self, pipeline: Pipeline, source: Source) -> tasks.Task:
        return rewriting.CutOut(pipeline, source.spans or Spans())

    def objective(self, pipeline: Any, recipe: Train, source: Source, labels: Sequence[str]) -> Objective:  # noqa: ARG002
        return objectives.CutTokens(recipe.label_smoothing)


_WINDOW = 256


def _unanswered(part: Part) -> bool:
    return any(not one.answers for one in part.inputs)


def _new_head(config: Mapping[str, Any], task: str, said: str, endings: tuple[str, ...]) -> bool:
    """A model that was not published with such a head gets one that is to be learnt.

    Raises:
        RecipeError: an architecture that has no such head.
    """
    architecture = registry.architecture_of(config)
    if task not in getattr(registry.get(architecture), "HEADS", {}):
        fix = "choose an encoder such as all-MiniLM-L6-v2"
        raise RecipeError(
            f"model.name: {architecture.partition(':')[2]} cannot {said}",
            why="it reads from left to right, or has no such head",
            fix=f"{fix}, or leave data.masked out" if task == "fill-mask" else fix,
        )
    return not any(name.endswith(endings) for name in config.get("architectures") or [])


def _texts(pipeline: Pipeline) -> tasks.Texts:
    return tasks.Texts(pipeline.preprocess, int(pipeline.model.config.vocab_size))


KINDS: dict[str, Kind] = {
    "image": Pictures(),
    "boxes": BoxedPictures(),
    "masks": Masks(),
    "sound": Sounds(),
    "speech": Speech(),
    "masked": MaskedTexts(),
    "text": Texts(),
    "tags": Tags(),
    "questions": Questions(),
    "pairs": Pairs(),
    "corpus": Corpora(),
    "seq2seq": Rewrites(),
    "spans": CutTexts(),
}


def of(name: str) -> Kind:
    """The kind that a dataset says it is."""
    return KINDS[name]
