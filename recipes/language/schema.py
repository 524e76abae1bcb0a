"""What a recipe may say: one frozen struct for each table of the TOML file.

Everything here is data: a recipe names components from fixed lists, so reading one can run no code.
Defaults follow PyTorch where PyTorch has the option. ``check.py`` reports every mistake at once; msgspec alone stops at the
first. The string below a field is its documentation: ``nyala recipes schema`` prints it, and a test refuses a field without one.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .identity import tree_of
from .optimization import (
    Adafactor,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Lamb,
    Linear,
    Lion,
    Muon,
    OneCycle,
    Optim,
    Optimizer,
    Plateau,
    Polynomial,
    Schedule,
    Schedules,
    Sgd,
    Step,
)
from .pictures import BoxChange, PictureChange
from .values import Alpha, Below1, Count, Decay, Fraction, NotNegative, Rate, Score, Table, Whole

# The tables of other files, for those who look for them here.
__all__ = [
    "Adafactor",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Lamb",
    "Linear",
    "Lion",
    "Muon",
    "OneCycle",
    "Optim",
    "Optimizer",
    "Plateau",
    "Polynomial",
    "Schedule",
    "Schedules",
    "Sgd",
    "Step",
    "Table",
]


# ---- augmentation -------------------------------------------------------------------------------------------------


class HorizontalFlip(Table, frozen=True, tag_field="type", tag="horizontal_flip"):
    """Mirrors left and right."""

    p: Fraction = 0.5
    """Probability."""


class RandomCrop(Table, frozen=True, tag_field="type", tag="random_crop"):
    """Pads the prepared image by repeating its edge, and cuts the original size out at a random place."""

    padding: Count = 8
    """Pixels on each side."""


class RandomResizedCrop(Table, frozen=True, tag_field="type", tag="random_resized_crop"):
    """Cuts out a random area and aspect ratio and scales it (Inception's crop): of the picture itself where it comes first in
    the list, else of the prepared image."""

    scale: tuple[Fraction, Fraction] = (0.35, 1.0)
    """Bounds of the part's area, as a fraction of the picture's."""
    ratio: tuple[Rate, Rate] = (3 / 4, 4 / 3)
    """Bounds of the part's width over its height."""


class RandomErasing(Table, frozen=True, tag_field="type", tag="random_erasing"):
    """Replaces a random rectangle by zeros, the mean colour (Zhong et al. 2017)."""

    p: Fraction = 0.25
    """Probability."""
    scale: tuple[Fraction, Fraction] = (0.02, 0.33)
    """Bounds of the rectangle's area, as a fraction of the picture's."""
    ratio: tuple[Rate, Rate] = (0.3, 3.3)
    """Bounds of the rectangle's width over its height."""


class WordDropout(Table, frozen=True, tag_field="type", tag="word_dropout"):
    """Leaves out words of a text at random; at least one stays."""

    p: Below1 = 0.1
    """Probability for each word."""


class RandomPart(Table, frozen=True, tag_field="type", tag="random_part"):
    """Of a sound longer than what the model hears: a random part instead of the beginning. Comes first in the list."""


class TimeShift(Table, frozen=True, tag_field="type", tag="time_shift"):
    """Moves a sound to an earlier or later time, and fills up with silence."""

    seconds: Rate = 0.1
    """At most so far, either way."""


class Speed(Table, frozen=True, tag_field="type", tag="speed"):
    """Plays a sound faster or slower, which changes its pitch too (Ko et al. 2015)."""

    by: Annotated[float, Meta(gt=0, le=0.5)] = 0.1
    """So much faster, so much slower, or as it is: one of the three is drawn."""


class Gain(Table, frozen=True, tag_field="type", tag="gain"):
    """Makes a sound louder or softer; what goes beyond full scale is clipped."""

    db: tuple[float, float] = (-6.0, 6.0)
    """Bounds, in decibels."""


class Noise(Table, frozen=True, tag_field="type", tag="noise"):
    """Adds noise to a sound."""

    p: Fraction = 0.5
    """Probability."""
    snr: tuple[float, float] = (10.0, 40.0)
    """Bounds of the sound's power over the noise's, in decibels."""
    colour: Literal["white", "pink"] = "white"
    """Alike at all frequencies, or falling by 3 decibels an octave, as most noise outdoors does."""


class Room(Table, frozen=True, tag_field="type", tag="room"):
    """Lets a sound ring in a made-up room: the direct sound, then echoes that die away (Ko et al. 2017)."""

    p: Fraction = 0.5
    """Probability."""
    rt60: tuple[Rate, Rate] = (0.1, 0.6)
    """Bounds of the time in which the echoes fall by 60 decibels, in seconds."""
    direct: tuple[float, float] = (0.0, 12.0)
    """Bounds of the direct sound's power over that of all echoes, in decibels."""


class SpecAugment(Table, frozen=True, tag_field="type", tag="spec_augment"):
    """Covers stretches of time and of frequency in the log-mel frames by their mean (Park et al. 2019). Comes last."""

    time_masks: Whole = 2
    """Stretches of time."""
    time_width: Fraction = 0.2
    """The longest such, as a fraction of the sound's frames."""
    band_masks: Whole = 2
    """Stretches of frequency."""
    band_width: Fraction = 0.2
    """The widest such, as a fraction of all bands."""


ImageAugment = HorizontalFlip | RandomCrop | RandomResizedCrop | RandomErasing
SoundAugment = RandomPart | TimeShift | Speed | Gain | Noise | Room | SpecAugment
Augment = ImageAugment | PictureChange | BoxChange | WordDropout | SoundAugment


# ---- data and model -----------------------------------------------------------------------------------------------


class Columns(Table, frozen=True):
    """Which columns of a CSV, TSV, JSON lines or Parquet file hold what. Each is recognised by its name where it is left out."""

    text: list[str] = []
    """The text; several columns are joined by line breaks, in this order. Recognised: text, sentence, content, body, ..."""
    image: str | None = None
    """The picture's path, relative to the file it stands in. Recognised: image, path, file, filename, ..."""
    audio: str | None = None
    """The sound file's path, relative to the file it stands in. Recognised: audio, sound, wav, path, file, ..."""
    label: str | None = None
    """The class. Recognised: label, class, category, target, ..."""
    id: str | None = None
    """A sample's own name, which may occur once in the whole dataset. Recognised: id, uid, guid."""


class Masking(Table, frozen=True):
    """Hidden tokens that the model learns to guess (Devlin et al. 2018): others each time a text is seen."""

    probability: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    """That a token is hidden."""
    random: Fraction = 0.1
    """Share of the hidden tokens that another token stands for, instead of the mask."""
    keep: Fraction = 0.1
    """Share of the hidden tokens that are shown as they are, and are to be told nevertheless."""
    whole_words: bool = False
    """All tokens of a word are hidden together."""
    pack: bool = True
    """Texts are joined and cut into windows of equal length; false makes each text a sample, its end cut off where it is too
    long."""


class Spans(Table, frozen=True):
    """Stretches of texts that are cut out (Raffel et al. 2019): others each time a text is seen."""

    density: Annotated[float, Meta(gt=0, lt=1)] = 0.15
    """Share of the tokens that are cut out."""
    mean_length: Annotated[float, Meta(ge=1)] = 3.0
    """Of a stretch, in tokens."""


class Data(Table, frozen=True):
    """Where samples come from, and how they are batched."""

    name: str
    """A registered dataset (`fashion-mnist`), a folder with one subfolder of pictures or sounds a class (or train/val/test
    folders of such, or files of these names), a CSV, TSV, JSON lines or Parquet file of texts or of the paths of pictures or
    sounds, or a hub dataset `org/name[@revision]`."""
    validation: str | None = None
    """A second folder or file to choose the best weights on; without it a part of the training samples is held out."""
    test: str | None = None
    """A further folder or file to test on; without it the dataset's own test part, or a part of the samples."""
    subset: str | None = None
    """Of a hub dataset with several configurations: which one. Files below a folder of this name, or named after it."""
    columns: Columns = Columns()
    """Which columns of a file hold text, picture, sound and class, where their names do not say it."""
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    """What separates the fields of a CSV file; recognised where it is left out (comma, semicolon, tab or bar)."""
    encoding: str = "utf-8"
    """Of text files, by Python's names: utf-8, latin-1, cp1252, utf-16. A byte order mark is understood in any case."""
    corrupt: Literal["raise", "skip"] = "raise"
    """Pictures that cannot be read: "raise", an error that names the file when one comes up; "skip", all are read once at the
    beginning, and the damaged ones are left out, counted and told."""
    test_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    """Share of each class that becomes the test part, drawn by the seed, where the data have no test part of their own."""
    validation_fraction: Below1 = 0.1
    """Share of each class of the training part that is held out where the data have no validation part of their own: the best
    weights are chosen on it, and the test part is looked at once, at the end."""
    limit_train: Count | None = None
    """Keep only this many training samples, drawn by the seed."""
    limit_test: Count | None = None
    """Keep only this many test samples, drawn by the seed."""
    batch_size: Count = 32
    """Samples that go through the model at once in training."""
    eval_batch_size: Count = 64
    """Samples that go through the model at once in evaluation. Another number rounds the last bits differently."""
    workers: Whole = 2
    """Threads that prepare samples; 0 prepares them in between. Their number never changes a bit."""
    augment: list[Augment] = []
    """Random changes of the training samples, in this order; each draw is keyed by (seed, epoch, sample)."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """As they come, in random order, or "balanced": every class equally often. An epoch still has as many samples, rare
    ones come again (changed anew by `augment`), and of frequent ones another selection comes each epoch."""
    folds: Annotated[int, Meta(ge=2)] | None = None
    """Cross-validation: the samples are cut into this many folds, stratified and by the seed; a test part that the dataset has of
    its own is then left alone. `nyala run RECIPE --folds` runs them all."""
    fold: Whole = 0
    """Which fold, from 0, is the test part."""
    masked: Masking | None = None
    """Hide tokens of the texts, for a model that learns to guess them; classes of the texts are left out of account."""
    spans: Spans | None = None
    """Cut stretches out of the texts, for an encoder-decoder that learns to write them; classes are left out of account."""


class Tokens(Table, frozen=True):
    """A tokenizer that is made of the training part: byte pairs that are frequent in it become tokens (byte-level BPE)."""

    vocab_size: Annotated[int, Meta(ge=257)] = 4096
    """Tokens at most; `model.sizes.vocab_size` says how many the model has."""
    sentinels: Whole = 0
    """Tokens `<extra_id_0>`, ... at the end of the vocabulary, which `data.spans` needs."""


class Adapter(Table, frozen=True, tag_field="type"):
    """A few new weights beside frozen ones: all of the model is frozen but the adapter, a new head, and what `model.unfreeze`
    names. The run's result holds the adapter alone, in PEFT's layout, and the model with it merged in.
    """

    rank: Count = 8
    """Of the matrix that is added to each weight: how much can be learnt."""
    alpha: Rate = 16.0
    """What is added is multiplied by `alpha / rank`."""
    targets: list[str] = []
    """Patterns of layers that get an adapter: names with wildcards (`*.attention.self.query`) or the last part of names
    (`query`); by default every linear layer but the head. Convolutions and embeddings can be named too."""
    dropout: Below1 = 0.0
    """Probability that an element of the adapter's input is dropped in training."""
    rslora: bool = False
    """Multiply by `alpha / sqrt(rank)` instead, so that a higher rank learns as fast (Kalajdzievski 2023)."""
    merge: bool = True
    """Write the merged model as `model/`; false writes the adapter alone there, which needs the base's weights to be loaded."""


class Lora(Adapter, frozen=True, tag="lora"):
    """Low-rank adaptation (Hu et al. 2021)."""


class Dora(Adapter, frozen=True, tag="dora"):
    """Weight-decomposed low-rank adaptation (Liu et al. 2024): the length of each output's weights is learnt apart."""


class Model(Table, frozen=True):
    """Which weights, what is new in them, and what stays as it is.

    A pattern is a parameter's name with wildcards (``blocks.[0-3]``, ``*.bias``), and covers all below a module it matches;
    ``@head`` is the classifier, ``*`` is everything.
    """

    name: str
    """A catalogue name (`nyala list`), a hub id `org/name[@revision]`, a folder, or a run folder."""
    num_classes: Count | None = None
    """Size of the new head; by default the classes of the dataset."""
    new_head: bool = True
    """Draw a new classifier; false keeps the one of the weights, which must have as many classes as the data."""
    random_init: bool = False
    """Start from the architecture alone, without its weights."""
    freeze: list[str] = []
    """Patterns of parameters that do not learn."""
    unfreeze: list[str] = []
    """Patterns of parameters that learn nevertheless; applied after `freeze`."""
    adapter: Lora | Dora | None = None
    """Low-rank weights to learn beside frozen ones; none where it is left out."""
    dropout: dict[str, Below1] = {}
    """Dropout rates by the names the architecture has for them, e.g. `drop_rate`, `hidden_dropout_prob`."""
    sizes: dict[str, Count | list[Count]] = {}
    """Whole numbers, or lists of them, in place of those of the architecture's own configuration, by its names such as
    num_hidden_layers: a smaller or larger model of the same kind, which starts from `random_init`."""
    image_size: Annotated[int, Meta(ge=8)] | None = None
    """Side in pixels of what the model sees; by default what the weights were evaluated with. It goes into the result's
    preprocessing."""
    crop_pct: Decay | None = None
    """Side of the crop over side of the resized picture; by default the weights' own. It goes into the result's preprocessing."""
    language: str | None = None
    """Of a speech recognition model for many languages: what is spoken, e.g. `de`, where the data do not say it."""
    max_length: Annotated[int, Meta(ge=2)] | None = None
    """Tokens of a text at most; by default what the tokenizer says. It goes into the result's preprocessing."""
    max_target_length: Annotated[int, Meta(ge=2)] | None = None
    """Tokens of what is to be written at most, by default 128; what is longer loses its end. It goes into the result's
    settings."""
    prefix: str = ""
    """What an encoder-decoder reads before each text, e.g. `summarize: `. It goes into the result's settings."""
    tokenizer: Tokens | None = None
    """Make a new tokenizer, for a model with `random_init`; by default the model's own is used."""
    max_seconds: Rate | None = None
    """Of a sound, what the model hears; by default what the weights do, which is the most. It goes into the result's
    preprocessing."""


# ---- training and the run -----------------------------------------------------------------------------------------


class EarlyStop(Table, frozen=True):
    """Ends the run when the validation part has stopped improving."""

    metric: Score = "accuracy"
    """What is watched."""
    patience: Count = 3
    """Evaluations without improvement after which the run ends."""
    min_delta: NotNegative = 0.0
    """A smaller change is no improvement."""


class Checkpoint(Table, frozen=True):
    """When the state of the run is saved, and how much of it stays."""

    every: Count | None = None
    """Steps from one checkpoint to the next; by default an epoch, at most 200."""
    keep: Count = 2
    """How many stay, beside the best."""


class Best(Table, frozen=True):
    """Which weights are the result."""

    metric: Score = "accuracy"
    """What is compared on the validation part."""
    use: Literal["best", "last"] = "best"
    """Those of the best evaluation, or of the last step."""


class Watchdog(Table, frozen=True):
    """Stops a run whose loss explodes: before an update, with the samples at fault and the newest checkpoint named. What is not
    finite stops every run, with a watchdog or without."""

    loss: Annotated[float, Meta(gt=1)] = 10.0
    """A loss above this many times the lowest running median so far, and above the loss of the first step, breaks the rule."""
    grad_norm: Annotated[float, Meta(gt=1)] | None = None
    """A gradient's norm above this many times its running median breaks it too; not watched where it is left out."""
    window: Annotated[int, Meta(ge=2)] = 20
    """Steps that the medians are taken over; at the beginning of a run, over those there are."""
    patience: Count = 3
    """Steps in a row that break the rule before the run stops: a single hard batch is no explosion. No checkpoint is written
    meanwhile."""


class Stage(Table, frozen=True):
    """Parameters that learn from some time on. Exactly one of ``epoch`` and ``step`` is given."""

    patterns: list[str]
    """What begins to learn: patterns as in `model.freeze`."""
    epoch: Count | None = None
    """After this many epochs."""
    step: Count | None = None
    """After this many updates."""


class Stages(Table, frozen=True, tag_field="type", tag="stages"):
    """What is frozen by `model.freeze` begins to learn in stages."""

    stages: list[Stage]
    """When what begins to learn, e.g. `[{ epoch = 1, patterns = ["blocks.6"] }, { epoch = 2, patterns = ["*"] }]`."""


class Layerwise(Table, frozen=True, tag_field="type", tag="layers"):
    """First the head learns, then one layer after the other from the head down (Howard & Ruder 2018)."""

    every_epochs: Rate = 1.0
    """Epochs, whole or in parts, from one layer to the next."""
    every_steps: Count | None = None
    """The same in updates, in place of `every_epochs`."""
    layers: Count = 1
    """How many layers begin at once."""


class Distill(Table, frozen=True):
    """A trained model, the teacher, whose answers the model learns as well (Hinton et al. 2015): which other classes it thinks
    likely tells more than the label alone."""

    teacher: str
    """A model of the same classes: a catalogue name, a hub id, a folder or a run folder. It sees the same changed pictures."""
    weight: Fraction = 0.7
    """Share of the loss that is the teacher's; the rest is the labels'."""
    temperature: Rate = 4.0
    """Both models' logits are divided by it: the higher, the more unlikely classes count."""


class Train(Table, frozen=True):
    """Length and method. Exactly one of ``epochs`` and ``steps`` is given; a step is one update of the weights."""

    epochs: Count | None = None
    """Passes over the training part."""
    steps: Count | None = None
    """Updates of the weights."""
    accumulate: Count = 1
    """Batches of `data.batch_size` that make one update, normalised over all their samples: 4 batches of 2 give the update of 1
    batch of 8 (but for dropout, and for batch norms that learn: they see one batch at a time)."""
    clip_norm: Rate | None = None
    """The gradient is scaled down to this norm where it is longer."""
    ema: Annotated[float, Meta(gt=0, lt=1)] | None = None
    """Decay of a running average of the weights, which is then evaluated and published."""
    label_smoothing: Below1 = 0.0
    """Share of each label that is spread over all classes."""
    distill: Distill | None = None
    """Learn from another model's answers too; off where it is left out."""
    dice: NotNegative = 0.0
    """Of pictures with masks: the dice loss of each class is added so many times, which sees small classes as well as large."""
    focal: NotNegative = 0.0
    """Of pictures with masks: gamma of the focal loss, which looks away from pixels that are easy; 0 is cross-entropy."""
    mixup: Alpha = 0.0
    """Blends pairs of pictures or sounds; the parameter of the Beta distribution, 0 is off."""
    cutmix: Alpha = 0.0
    """Pastes a part of one picture into another; the parameter of the Beta distribution, 0 is off. With mixup on too, each
    update draws one of the two."""
    eval_every: Count | None = None
    """Steps from one evaluation to the next; by default an epoch."""
    hash_every: Count = 20
    """Steps from one hash of all weights in the metrics to the next."""
    class_weights: Literal["balanced"] | list[NotNegative] | dict[str, NotNegative] | None = None
    """Multiply each sample's loss by its class's weight, as PyTorch's do: "balanced" (samples / (classes * samples of the
    class), of the training part), a number for each class in the order of the labels, or `{spam = 2.0}` with 1 for the others."""
    device: Annotated[str, Meta(pattern=r"^(cpu|cuda|cuda:\d+)$")] = "cpu"
    """Where the model learns: "cpu", "cuda" or "cuda:1"."""
    precision: Literal["fp32", "bf16", "fp16", "bf16-weights"] = "fp32"
    """What products are computed in; sums, norms and losses stay in float32. "bf16" and "fp16" keep the weights in float32
    (`nyala.autocast`), "fp16" scales the loss too; "bf16-weights" keeps them in bfloat16, with float32 masters in the optimizer,
    and publishes them so."""
    checkpointing: bool = False
    """Keep fewer activations and compute them again in the backward pass: the same bits in less memory and more time."""
    unfreeze: Layerwise | Stages | None = None
    """Gradual unfreezing: what begins to learn later; off where it is left out."""
    watchdog: Watchdog | None = None
    """Stops a run whose loss explodes; off where it is left out."""
    early_stop: EarlyStop | None = None
    """Ends the run early; off where it is left out."""
    checkpoint: Checkpoint = Checkpoint()
    """When the state of the run is saved."""
    best: Best = Best()
    """Which weights are the result."""


class RunFolder(Table, frozen=True):
    """Where the run is written: ``<folder>/<name>-<n>``. It has no influence on the numbers."""

    folder: str = "runs"
    """The folder of all runs."""
    name: str | None = None
    """By default the recipe's name."""


class Recipe(Table, frozen=True, kw_only=True):
    """A whole recipe."""

    schema: Literal[1]
    """Version of this format."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """All random draws follow from it: splits, new weights, order, augmentation, dropout."""
    description: str = ""
    """One line for people."""
    data: Data
    """Where samples come from."""
    model: Model
    """Which weights, and what is new in them."""
    optim: Optim = AdamW()
    """How the weights are updated."""
    schedule: Schedules = Constant()
    """How the learning rate changes over the run."""
    train: Train
    """Length and method."""
    run: RunFolder = RunFolder()
    """Where the run is written."""


# Keys that cannot change a result: a run may be resumed or repeated with others.
INDIFFERENT = ("run", "description", "data.workers")


def canonical(recipe: Recipe) -> bytes:
    """The recipe's identity as bytes: sorted JSON, without the keys that cannot change a result.

    ``data.eval_batch_size`` is kept: another batch size rounds a matrix product differently. A field newer than the first schema
    counts only where it is not at its default (``identity.py``).
    """
    tree = tree_of(recipe)
    for path in INDIFFERENT:
        table, _, key = path.rpartition(".")
        (tree[table] if table else tree).pop(key)
    return msgspec.json.encode(tree, order="sorted")


def digest(recipe: Recipe) -> str:
    """sha256 of the canonical bytes: two recipes with the same digest give the same run."""
    return hashlib.sha256(canonical(recipe)).hexdigest()
