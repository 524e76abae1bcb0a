"""What the rules look at: how much data of which kind there is, how large it is, and what the model can take."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.nn import LayerNorm, Module
from ..data import datasets, kinds, speech
from ..data.batches import damaged_hint
from ..data.datasets import Part, Source
from ..language import names
from ..language.schema import Recipe
from ..plan import memory
from ..training import models

_UNKNOWN = 4 << 30  # bytes to count with where the system does not say what is free
LOOKED_AT = 400  # samples whose size is looked at: their median and 95 % point move little beyond that


@dataclass(frozen=True)
class Facts:
    """Data and model in numbers.

    Attributes:
        kind: of the data: ``image``, ``masks`` and ``boxes`` (pictures with such), ``sound``, ``speech`` (sounds with
            transcripts), ``text``, ``tags`` (a tag for each word), ``questions``, ``pairs`` (of texts that belong together),
            ``corpus`` (texts to be continued), ``masked`` (with hidden tokens), ``seq2seq`` (texts to be rewritten) or
            ``spans`` (with stretches cut out).
        classes: their names.
        train, validation, test: samples of each part, after splitting.
        counts: training samples of each class; empty where a sample has no class of its own.
        own_validation: the data come with a validation part.
        side: median of the pictures' shorter sides in pixels; 0 for what is no picture.
        grey: all pictures looked at are grey.
        tokens: length of the text, in tokens, that 95 of 100 stay below; 0 for pictures.
        longest: tokens of the longest text looked at.
        seconds: length that 95 of 100 sounds stay below; 0 for what is no sound.
        heard: seconds that the weights hear of a sound; infinite where that has no bound, 0 for what is no sound.
        spells: the model spells what it hears (CTC).
        covered: its own alphabet has all letters of the transcripts.
        frames: the model looks at frames of sounds, not at their samples.
        fresh: the head is new, and its weights drawn at random.
        layerdrop: probability that the model leaves out a layer in training.
        head: patterns of the layers that are new, where the classifier is.
        slow: patterns of layers that learn at a smaller rate: a detector's backbone.
        scratch: all weights are drawn at random.
        layer_norms: the model has layer norms, as transformers and ConvNeXts have; else it is made of convolutions alone.
        model: its name.
        parameters: how many it has.
        width: of its last features; what the head looks at.
        layers: how many layers it has, as layer decay counts them.
        native: side of the pictures that the weights were evaluated with, the shorter one; 0 for what is no picture.
        positions: tokens that the model has positions for; 0 for pictures.
        flexible: pictures of another size can be given to it.
        memory: bytes that are free.
        top: patterns of the layers that are new or untrained: the head, and what belongs to it.
        upper: patterns of the top third of all layers.
        notes: what was made of the data, for the user.
        pins: recipe key -> the name with the commit it had, of data and model that come from a hub and may move there.
    """

    kind: str
    classes: list[str]
    train: int
    validation: int
    test: int
    counts: list[int]
    own_validation: bool
    side: int
    grey: bool
    tokens: int
    longest: int
    model: str
    parameters: int
    width: int
    layers: int
    native: int
    positions: int
    flexible: bool
    memory: int
    top: list[str]
    upper: list[str]
    seconds: float = 0.0
    heard: float = 0.0
    spells: bool = False
    covered: bool = False
    frames: bool = False
    fresh: bool = True
    layerdrop: float = 0.0
    head: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    scratch: bool = False
    layer_norms: bool = True
    notes: list[str] = field(default_factory=list)
    pins: dict[str, str] = field(default_factory=dict)

    def _classes(self) -> list[str]:
        named = ", ".join(self.classes[:6]) + ", ..." * (len(self.classes) > 6)
        if not self.counts:
            what = "letters" if self.spells else "tags" if self.kind == "tags" else "classes"
            return [f"{len(self.classes)} {what}: {named}"] if self.classes else []
        fewest, most = min(self.counts), max(self.counts)
        each = f"{fewest:,} to {most:,}" if fewest < most else f"{fewest:,}"
        return [f"{len(self.classes)} classes, {each} training samples each: {named}"]

    @property
    def per_class(self) -> float:
        """Training samples a class, on average; all of them where a sample has no class of its own."""
        return self.train / max(1, len(self.counts))

    @property
    def imbalance(self) -> float:
        """Samples of the largest class over those of the smallest."""
        return max(self.counts, default=1) / max(1, min(self.counts, default=1))

    def lines(self) -> list[str]:
        """The facts in words."""
        data = f"{self.train:,} training, {self.validation:,} validation and {self.test:,} test {kinds.of(self.kind).plural}"
        size = f"95 of 100 texts have at most {self.tokens} tokens"
        if self.side:
            size = f"{'grey ' if self.grey else ''}pictures of {self.side} pixels (median of the shorter side)"
        elif self.seconds:
            size = f"95 of 100 sounds last at most {self.seconds:.2f} s"
        return [
            data,
            *self._classes(),
            size,
            f"{self.model}: {self.parameters / 1e6:.1f} million parameters",
            *self.notes,
        ]


_SLOW = "model.backbone"  # of detectors over a convolutional network, which was pretrained on more than they were


def examine(recipe: Recipe) -> tuple[Facts, Source, Any]:
    """Reads the data and the model that a recipe names.

    Returns:
        The facts, the data, and the pipeline of the model with a new head.
    """
    raw = datasets.read(recipe.data)
    source = datasets.load(recipe.data, recipe.seed, raw)
    kind = kinds.of(source.kind)
    source = kind.labelled(source, recipe.model)
    classes = recipe.model.num_classes or len(source.labels)
    pipeline, _ = models.load(recipe.model, kind, classes, recipe.seed)
    model, prepared = pipeline.model, vars(pipeline)["preprocess"]
    is_image, is_text = kind.domain == "vision", kind.domain == "text"
    lengths = _tokens(pipeline, source.train) if is_text else []
    seconds = seconds_of_sounds(_some(source.train)) if kind.domain == "audio" else [0.0]
    sides, grey = _sides(source.train) if is_image else ([0], False)
    layer = {name: int(model.layer_of(name)) for name, _ in model.named_parameters()}
    highest = max(layer.values())
    facts = Facts(
        kind=source.kind,
        classes=list(source.labels),
        train=len(source.train),
        validation=len(source.validation),
        test=len(source.test),
        counts=np.bincount(source.train.labels, minlength=len(source.labels)).tolist() if kind.by_class else [],
        own_validation=raw.validation is not None,
        side=int(np.median(sides)),
        grey=grey,
        tokens=int(np.percentile(lengths, 95)) if lengths else 0,
        longest=max(lengths, default=0),
        model=recipe.model.name,
        parameters=sum(p.numel() for p in model.parameters()),
        width=_width(model) or int(getattr(model.config, "d_model", 0)),
        layers=highest + 1,
        native=_native(prepared) if is_image else 0,
        positions=_positions(model) if is_text else 0,
        flexible=is_image and not any("pos_embed" in name or "position" in name for name in layer),
        memory=memory.available() or _UNKNOWN,
        top=_patterns(layer, highest),
        upper=_patterns(layer, highest - round(highest / 3)),
        seconds=float(np.percentile(seconds, 95)),
        spells=hasattr(pipeline, "letters"),
        covered=source.kind == "speech" and speech.covers(recipe.model, source),
        heard=_heard(prepared) if source.kind == "sound" else 0.0,
        frames=hasattr(prepared, "n_mels"),
        fresh=not is_text or bool(classes) or kind.new_head(models.config_of(recipe.model)),
        layerdrop=float(getattr(model.config, "layerdrop", 0.0)),
        head=_patterns({name: int(name in model.head_names()) for name in layer}, 1),
        slow=[_SLOW] if any(name.startswith(f"{_SLOW}.") for name in layer) else [],
        scratch=recipe.model.random_init,
        layer_norms=any(isinstance(module, LayerNorm) for module in model.modules()),
        notes=[*raw.notes, *_shared(source)],
        pins=_pins(recipe, raw.commit, pipeline),
    )
    return facts, source, pipeline


def _pins(recipe: Recipe, commit: str, pipeline: Any) -> dict[str, str]:
    files, model = pipeline.files, recipe.model.name
    revision = files.revision if files is not None and pipeline.card is None and names.is_hub_id(model) else ""
    found = {"data.name": (recipe.data.name, commit), "model.name": (model, revision)}
    return {key: f"{name.partition('@')[0]}@{pin}" for key, (name, pin) in found.items() if pin}


def _tokens(pipeline: Any, part: Part) -> list[int]:
    tokenizer = pipeline.preprocess
    texts = [text for sample in _some(part) for text in _texts(sample)]
    return [len(encoding.ids) for encoding in tokenizer.backend.encode_batch(texts)]


def _texts(sample: Any) -> list[str]:
    """The texts of a sample: one, the words of a tagged one, a question before its text, or both of a pair."""
    if isinstance(sample, str):
        return [sample]
    if hasattr(sample, "question"):
        return [f"{sample.question} {sample.context}"]
    if hasattr(sample, "source"):
        return [sample.source]
    return [" ".join(sample.words)] if hasattr(sample, "words") else [sample.anchor, sample.positive]


def _some(part: Part) -> list[Any]:
    """Samples evenly spread over a part."""
    step = max(1, len(part) // LOOKED_AT)
    return [part.inputs[i] for i in range(0, len(part), step)][:LOOKED_AT]


def seconds_of_sounds(inputs: Sequence[Any]) -> list[float]:
    """Lengths of sounds, those of files from their headers alone."""
    from ...audio.io import info
    from ..data.tasks import opened

    sounds = [getattr(sample, "sound", sample) for sample in inputs]
    return [len(s[0]) / s[1] if isinstance(s, tuple) else info(opened(s)).duration for s in sounds]


def _heard(front: Any) -> float:
    """Seconds that a model of sounds hears at most."""
    return math.inf if front.samples is None else front.samples / front.sample_rate


def _sides(part: Part) -> tuple[list[int], bool]:
    """The shorter side of pictures, from their headers alone, and whether all are grey."""
    from PIL import Image

    from ...vision.io import load_image

    sides, grey = [], True
    for sample in _some(part):
        source = getattr(sample, "path", getattr(sample, "image", sample))
        if isinstance(source, np.ndarray):
            sides.append(min(source.shape[:2]))
            grey = grey and (source.ndim == 2 or source.shape[2] == 1)
            continue
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                sides.append(min(image.size))
                grey = grey and image.mode in ("L", "1", "I;16")
        except (OSError, ValueError):  # no picture: the reader says what is wrong with it
            with damaged_hint():
                sides.append(min(load_image(source).size))
            grey = False
    return sides, grey


def _native(preprocess: Any) -> int:
    """The shorter side of what a model of pictures sees."""
    return int(min(preprocess.size) if preprocess.size is not None else preprocess.shortest_edge)


def _positions(model: Any) -> int:
    from ...text.pipelines.batching import longest_of

    return longest_of(model)


def _width(model: Module) -> int:
    """Inputs of the classifier: the last matrix."""
    heads = [p for name, p in model.named_parameters() if name in set(model.head_names()) and p.ndim == 2]
    return int(heads[-1].shape[1]) if heads else 0


def _patterns(layer: dict[str, int], lowest: int) -> list[str]:
    """The shortest list of modules that holds exactly the parameters of layers from ``lowest`` on.

    Example:
        >>> _patterns({"stem.w": 0, "blocks.0.w": 1, "blocks.1.a.w": 2, "blocks.1.b.w": 2, "head.w": 3}, 2)
        ['blocks.1', 'head']
    """
    wanted = {name for name, number in layer.items() if number >= lowest}
    found: list[str] = []
    for name in layer:
        if name not in wanted or any(name.startswith(f + ".") for f in found):
            continue
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            prefix = ".".join(parts[:end])
            below = [n for n in layer if n == prefix or n.startswith(prefix + ".")]
            if wanted.issuperset(below):
                found.append(prefix)
                break
    return found


def _shared(source: Source) -> list[str]:
    """A word on texts that stand in the training and in the test part: they flatter the result."""
    if source.kind != "text":
        return []
    known = set(map(str, source.train.inputs))
    count = sum(str(text) in known for text in source.test.inputs)
    return [f"{count} of {len(source.test)} test texts also stand in the training part: the result is flattered"] * bool(count)
