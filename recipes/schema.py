"""What a recipe may say: one frozen struct for each table of the TOML file.

Everything here is data: a recipe names components from fixed lists, so reading one can run no code.
Defaults follow PyTorch where PyTorch has the option. ``check.py`` reports every mistake at once; msgspec alone stops at the
first.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .identity import tree_of

Count = Annotated[int, Meta(ge=1)]
Whole = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Below1 = Annotated[float, Meta(ge=0, lt=1)]
Alpha = Annotated[float, Meta(ge=0, le=4)]
Decay = Annotated[float, Meta(gt=0, le=1)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the recipe: frozen, and an unknown key in it is a mistake."""


# ---- augmentation -------------------------------------------------------------------------------------------------


class HorizontalFlip(Table, frozen=True, tag_field="type", tag="horizontal_flip"):
    """Mirrors left and right with probability ``p``."""

    p: Fraction = 0.5


class RandomCrop(Table, frozen=True, tag_field="type", tag="random_crop"):
    """Pads by ``padding`` pixels (of the prepared image) and cuts the original size out at a random place."""

    padding: Count = 8


class RandomResizedCrop(Table, frozen=True, tag_field="type", tag="random_resized_crop"):
    """Cuts out a random area and aspect ratio and scales it (Inception's crop): of the picture itself where it comes first in
    the list, else of the prepared image."""

    scale: tuple[Fraction, Fraction] = (0.35, 1.0)
    ratio: tuple[Rate, Rate] = (3 / 4, 4 / 3)


class RandomErasing(Table, frozen=True, tag_field="type", tag="random_erasing"):
    """Replaces a random rectangle by zeros, with probability ``p`` (Zhong et al. 2017)."""

    p: Fraction = 0.25
    scale: tuple[Fraction, Fraction] = (0.02, 0.33)
    ratio: tuple[Rate, Rate] = (0.3, 3.3)


class WordDropout(Table, frozen=True, tag_field="type", tag="word_dropout"):
    """Leaves out each word of a text with probability ``p``; at least one word stays."""

    p: Below1 = 0.1


Augment = HorizontalFlip | RandomCrop | RandomResizedCrop | RandomErasing | WordDropout


# ---- data and model -----------------------------------------------------------------------------------------------


class Data(Table, frozen=True):
    """Where samples come from, and how they are batched.

    ``name``: a registered dataset, a folder with one subfolder of images a class (or ``train/`` and ``test/`` of such),
    or a ``.jsonl`` file of ``{"text": ..., "label": ...}``. ``test``: a second folder or file
    to test on. ``limit_train`` and ``limit_test`` keep that many samples, drawn by
    the seed. ``test_fraction`` splits a dataset that has no test part of its own. ``validation_fraction`` of the training part is
    held out: the best weights are chosen on it, and the test part is looked at once, at the end. ``workers`` are threads: their
    number never changes a bit.

    ``sampling = "balanced"`` shows every class equally often: an epoch still has as many samples, rare ones come again (changed
    anew by ``augment``), and of frequent ones another selection comes each epoch. ``folds = 5`` is cross-validation: the samples
    are cut into five folds, stratified and by the seed, and ``fold`` (0 to 4) is the test part; a test part that the dataset has
    of its own is then left alone. ``nyala run RECIPE --folds`` runs them all.
    """

    name: str
    test: str | None = None
    test_fraction: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    validation_fraction: Below1 = 0.1
    limit_train: Count | None = None
    limit_test: Count | None = None
    batch_size: Count = 32
    eval_batch_size: Count = 64
    workers: Whole = 2
    augment: list[Augment] = []
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    folds: Annotated[int, Meta(ge=2)] | None = None
    fold: Whole = 0


class Model(Table, frozen=True):
    """Which weights, what is new in them, and what stays as it is.

    ``name``: a catalogue name, a hub id, a folder, or a run. ``num_classes`` defaults to the classes of the dataset; ``new_head
    = false`` keeps the classifier of the weights. ``freeze`` and then ``unfreeze`` are patterns over parameter names
    (``blocks.[0-3]``, ``*.bias``; ``@head`` is the classifier, ``*`` everything); a pattern that matches a module covers all
    below it. ``dropout`` sets rates by the names the architecture has for them (``drop_rate``, ``hidden_dropout_prob``).
    ``random_init = true`` starts from the architecture alone, without its weights. ``image_size``, ``crop_pct`` and
    ``max_length`` change the preprocessing that came with the weights, and go into the result's.
    """

    name: str
    num_classes: Count | None = None
    new_head: bool = True
    random_init: bool = False
    freeze: list[str] = []
    unfreeze: list[str] = []
    dropout: dict[str, Below1] = {}
    image_size: Annotated[int, Meta(ge=8)] | None = None
    crop_pct: Decay | None = None
    max_length: Annotated[int, Meta(ge=2)] | None = None


# ---- optimizers ---------------------------------------------------------------------------------------------------


class Optimizer(Table, frozen=True, tag_field="type"):
    """What every optimizer takes. Norms and biases are never decayed.

    ``layer_decay`` multiplies the rate once for each layer below the head; ``lr_scale`` multiplies it by pattern, e.g.
    ``{"@head" = 10.0}``.
    """

    lr: Rate = 1e-3
    weight_decay: NotNegative = 0.0
    layer_decay: Decay | None = None
    lr_scale: dict[str, NotNegative] = {}


class Sgd(Optimizer, frozen=True, tag="sgd"):
    """Stochastic gradient descent."""

    lr: Rate = 1e-2
    momentum: Below1 = 0.9
    nesterov: bool = False


class Adam(Optimizer, frozen=True, tag="adam"):
    """Adam (Kingma & Ba 2014); its weight decay is added to the gradient."""

    betas: tuple[Below1, Below1] = (0.9, 0.999)
    eps: Rate = 1e-8


class AdamW(Optimizer, frozen=True, tag="adamw"):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017)."""

    weight_decay: NotNegative = 0.01
    betas: tuple[Below1, Below1] = (0.9, 0.999)
    eps: Rate = 1e-8


class Lion(Optimizer, frozen=True, tag="lion"):
    """Sign of an interpolated momentum (Chen et al. 2023); wants a tenth of Adam's rate."""

    lr: Rate = 1e-4
    betas: tuple[Below1, Below1] = (0.9, 0.99)


class Lamb(Optimizer, frozen=True, tag="lamb"):
    """Layer-wise trust ratios over Adam (You et al. 2019), for large batches."""

    betas: tuple[Below1, Below1] = (0.9, 0.999)
    eps: Rate = 1e-6


class Adafactor(Optimizer, frozen=True, tag="adafactor"):
    """Factored second moments (Shazeer & Stern 2018): almost no optimizer memory."""

    lr: Rate = 1e-2


class Muon(Optimizer, frozen=True, tag="muon"):
    """Orthogonalised momentum (Jordan 2024) for matrices; AdamW with ``adamw_lr`` for everything else."""

    weight_decay: NotNegative = 0.1
    momentum: Below1 = 0.95
    nesterov: bool = True
    adamw_lr: Rate = 1e-3


Optim = Sgd | Adam | AdamW | Lion | Lamb | Adafactor | Muon


# ---- schedules ----------------------------------------------------------------------------------------------------


class Schedule(Table, frozen=True, tag_field="type"):
    """Warm-up that every schedule has: a fraction of all steps below 1, else a number of steps."""

    warmup: NotNegative = 0.0


class Constant(Schedule, frozen=True, tag="constant"):
    """The rate as it is."""


class Cosine(Schedule, frozen=True, tag="cosine"):
    """Half a cosine down to ``end`` times the rate."""

    end: Fraction = 0.0


class Linear(Schedule, frozen=True, tag="linear"):
    """A straight line down to ``end`` times the rate."""

    end: Fraction = 0.0


class Step(Schedule, frozen=True, tag="step"):
    """Multiplies the rate by ``gamma`` every ``every`` epochs."""

    every: Count = 30
    gamma: Decay = 0.1


class Polynomial(Schedule, frozen=True, tag="polynomial"):
    """Down to ``end`` times the rate as ``(1 - t) ** power``."""

    power: Rate = 1.0
    end: Fraction = 0.0


class OneCycle(Schedule, frozen=True, tag="one_cycle"):
    """Up from ``1 / div_factor`` of the rate and down to ``1 / (div_factor * final_div_factor)`` (Smith & Topin 2017)."""

    pct_start: Annotated[float, Meta(gt=0, lt=1)] = 0.3
    div_factor: Annotated[float, Meta(ge=1)] = 25.0
    final_div_factor: Annotated[float, Meta(ge=1)] = 1e4


class Plateau(Schedule, frozen=True, tag="plateau"):
    """Multiplies the rate by ``factor`` when ``metric`` has not improved for ``patience`` evaluations."""

    metric: Literal["accuracy", "macro_f1", "loss"] = "loss"
    factor: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    patience: Whole = 2


Schedules = Constant | Cosine | Linear | Step | Polynomial | OneCycle | Plateau


# ---- training and the run -----------------------------------------------------------------------------------------


class EarlyStop(Table, frozen=True):
    """Ends the run when ``metric`` has not improved by ``min_delta`` for ``patience`` evaluations."""

    metric: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    patience: Count = 3
    min_delta: NotNegative = 0.0


class Checkpoint(Table, frozen=True):
    """A checkpoint every ``every`` steps (default: an epoch, at most 200); the last ``keep`` stay, and the best."""

    every: Count | None = None
    keep: Count = 2


class Best(Table, frozen=True):
    """Which evaluation on the validation part gives the final weights; ``use = "last"`` takes the last step's instead."""

    metric: Literal["accuracy", "macro_f1", "loss"] = "accuracy"
    use: Literal["best", "last"] = "best"


class Watchdog(Table, frozen=True):
    """Stops a run whose loss explodes: above ``loss`` times its median over the last ``window`` steps and above ``floor`` (a loss
    close to 0 may jump tenfold and mean nothing), or a gradient's norm above ``grad_norm`` times its median. It looks once
    there are ``window`` steps to compare with. What is not finite stops every run, with a watchdog or without.
    """

    loss: Annotated[float, Meta(gt=1)] = 10.0
    grad_norm: Annotated[float, Meta(gt=1)] | None = None
    window: Annotated[int, Meta(ge=2)] = 20
    floor: NotNegative = 1.0


class Train(Table, frozen=True):
    """Length and method. Exactly one of ``epochs`` and ``steps``; a step is one update of the weights.

    ``accumulate`` batches of ``data.batch_size`` make one update, normalised over all their samples: 4 batches of 2 give the
    update of 1 batch of 8. ``mixup`` and ``cutmix`` are the Beta distribution's parameter; 0 is off. ``eval_every`` counts steps
    (default: every epoch). ``hash_every``: a hash of all weights goes into the metrics that often.

    ``class_weights`` multiply each sample's loss by its class's weight, as PyTorch's do: ``"balanced"`` (samples / (classes *
    samples of the class), of the training part), a number for each class in the order of the labels, or ``{spam = 2.0}`` with 1
    for the others. ``checkpointing`` keeps fewer activations and computes them again in the backward pass: the same bits in less
    memory and more time.
    """

    epochs: Count | None = None
    steps: Count | None = None
    accumulate: Count = 1
    clip_norm: Rate | None = None
    ema: Annotated[float, Meta(gt=0, lt=1)] | None = None
    label_smoothing: Below1 = 0.0
    mixup: Alpha = 0.0
    cutmix: Alpha = 0.0
    eval_every: Count | None = None
    hash_every: Count = 20
    class_weights: Literal["balanced"] | list[NotNegative] | dict[str, NotNegative] | None = None
    checkpointing: bool = False
    watchdog: Watchdog | None = None
    early_stop: EarlyStop | None = None
    checkpoint: Checkpoint = Checkpoint()
    best: Best = Best()


class RunFolder(Table, frozen=True):
    """Where the run is written: ``<folder>/<name>-<n>``. It has no influence on the numbers."""

    folder: str = "runs"
    name: str | None = None


class Recipe(Table, frozen=True, kw_only=True):
    """A whole recipe. ``task`` follows from the model where it is left out."""

    schema: Literal[1]
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    description: str = ""
    data: Data
    model: Model
    optim: Optim = AdamW()
    schedule: Schedules = Constant()
    train: Train
    run: RunFolder = RunFolder()


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
