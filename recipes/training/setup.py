"""Builds what a recipe names: dataset, model with its new head, task, optimizers, average. The same recipe builds the same
bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ...core import optim
from ...core.amp import GradScaler
from ...core.errors import ModuleError, RecipeError
from ...core.nn import Module
from ...core.nn.lora import Adapter
from ...hub.pipeline import Pipeline
from ..data import datasets, kinds, new_tokenizer
from ..data.datasets import Source
from ..data.tasks import Task
from ..language.schema import Recipe
from . import adapters, cautions, distillation, freezing, models, optimizers, precision, unfreezing
from .objectives import Objective


@dataclass
class Setup:
    """Everything a run needs that follows from its recipe alone.

    Attributes:
        source: the dataset's parts.
        labels: class names; classes beyond those of the data are called by their number.
        pipeline: the pretrained model as loaded, with its files.
        model: the same model, with the new head, frozen as the recipe says.
        task: preparation and collation of samples.
        optimizers: one, or two for Muon.
        base_rates: for each optimizer, the rate of each of its groups before the schedule.
        ema: the average of the weights, if the recipe asks for one.
        weights: file -> sha256 of the starting weights.
        steps_per_epoch, total_steps: updates.
        objective: the loss.
        notes: what the user should know before the first step.
        adapter: the low-rank adapter, if the recipe asks for one.
        starts: with gradual unfreezing, the step from which each parameter learns.
        scaler: scales the loss, where float16 needs it.
    """

    source: Source
    labels: list[str]
    pipeline: Pipeline
    model: Module
    task: Task
    optimizers: list[optim.Optimizer]
    ema: optim.EMA | None
    weights: dict[str, str]
    steps_per_epoch: int
    total_steps: int
    objective: Objective
    base_rates: list[list[float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    adapter: Adapter | None = None
    starts: dict[str, int] = field(default_factory=dict)
    scaler: GradScaler | None = None

    @property
    def classes(self) -> int:
        """How many classes the model tells apart."""
        return len(self.labels)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The average's weights in the model for the block, where there is an average."""
        if self.ema is None:
            yield
            return
        with self.ema.swapped():
            yield

    def final_arrays(self) -> dict[str, np.ndarray]:
        """The weights that would be published now: the average's, where there is one."""
        with self.averaged():
            return {name: np.array(t.numpy()) for name, t in self.model.state_dict().items()}


def prepare(recipe: Recipe) -> Setup:
    """Builds everything; the new head's weights are drawn by the recipe's seed.

    Raises:
        DataError, RecipeError, UnknownNameError: whatever of the recipe does not fit the data or the model.
    """
    precision.device_of(recipe.train)  # before anything is read or fetched
    source = datasets.load(recipe.data, recipe.seed)
    _check_fit(recipe, source)
    kind = kinds.of(source.kind)
    source = kind.labelled(source, recipe.model)
    classes = recipe.model.num_classes or len(source.labels)
    if classes < len(source.labels):
        why = f"{recipe.data.name} has {len(source.labels)}"
        raise RecipeError(f"model.num_classes is {classes}", why=why, fix="leave it out, or make it at least that")
    pipeline, head = models.load(recipe.model, kind, classes, recipe.seed)
    pipeline = kind.informed(new_tokenizer.with_new_tokenizer(pipeline, source, recipe.model), source)
    model, source = pipeline.model, kind.fitted(source, pipeline, recipe.model)
    adapter = adapters.attach(pipeline, recipe.model, head, recipe.seed)
    if adapter is None:
        freezing.freeze(model, recipe.model, head)
    precision.placed(model, recipe.train)
    per_epoch = math.ceil(math.ceil(len(source.train) / recipe.data.batch_size) / recipe.train.accumulate)
    starts = unfreezing.starts(model, recipe.train.unfreeze, head, per_epoch)
    made = optimizers.groups(model, recipe.optim, head)
    built = optimizers.build(recipe.optim, made, precision.has_masters(recipe.train))
    labels = [*source.labels, *(f"class {i}" for i in range(len(source.labels), classes))]
    if recipe.train.checkpointing:
        checkpoint(model, recipe.model.name)
    total = recipe.train.steps or per_epoch * (recipe.train.epochs or 1)
    objective = kind.objective(pipeline, recipe.train, source, labels)
    weights = models.hashes(pipeline)
    if recipe.train.distill is not None:
        teacher = distillation.load(recipe.train.distill, pipeline, source.labels)
        objective = distillation.taught(objective, recipe.train.distill, teacher)
        weights |= {f"teacher/{name}": digest for name, digest in models.hashes(teacher.pipeline).items()}
    return Setup(
        source=source,
        labels=labels,
        pipeline=pipeline,
        model=model,
        task=kind.task(pipeline, source),
        optimizers=built,
        ema=optim.EMA(model, recipe.train.ema, warmup=True) if recipe.train.ema else None,
        weights=weights,
        steps_per_epoch=per_epoch,
        total_steps=total,
        objective=precision.fitted(objective, recipe.train),
        base_rates=[[float(group["lr"]) for group in optimizer.param_groups] for optimizer in built],
        notes=[
            *cautions.of_accumulation(model, objective, recipe),
            *cautions.of_balance(recipe),
            *cautions.of_folds(recipe.data, source),
            *unfreezing.never(starts, total),
        ],
        adapter=adapter,
        starts=starts,
        scaler=precision.scaler_for(recipe.train),
    )


def checkpoint(model: Module, name: str) -> None:
    """Switches gradient checkpointing on.

    Raises:
        RecipeError: the model has no blocks that can be computed again.
    """
    try:
        model.enable_checkpointing()
    except ModuleError as error:
        raise RecipeError(f"train.checkpointing: {name} cannot do it", why=str(error.what), fix="set it to false") from error


def _check_fit(recipe: Recipe, source: Source) -> None:
    """Options of the recipe that make no sense for this kind of data, all in one report."""
    kind = kinds.of(source.kind)
    wrong: list[str] = []
    for i, item in enumerate(recipe.data.augment):
        if not isinstance(item, kind.augments):
            wrong.append(f"  data.augment[{i}]: {item.__struct_config__.tag} is not for {kind.plural}")
    wrong += [
        f"  train.{k}: {kind.plural} cannot be blended"
        for k in ("mixup", "cutmix")
        if k not in kind.blends and getattr(recipe.train, k)
    ]
    wrong += [
        f"  train.{k}: the data have no masks" for k in ("dice", "focal") if source.kind != "masks" and getattr(recipe.train, k)
    ]
    if recipe.train.distill is not None and source.kind != "image":
        wrong.append("  train.distill: only for pictures with a class each")
    if recipe.train.focal and recipe.train.label_smoothing:
        wrong.append("  train.label_smoothing: the focal loss has none")
    sizes = {"vision": ("image_size", "crop_pct"), "audio": ("max_seconds",), "text": ("max_length",)}
    wrong += [
        f"  model.{k}: the data are {kind.plural}"
        for domain, keys in sizes.items()
        for k in keys
        if domain != kind.domain and getattr(recipe.model, k)
    ]
    if recipe.data.sampling == "balanced" and not kind.by_class:
        wrong.append(f"  data.sampling: {kind.plural} have no classes to balance")
    if not source.labels:
        wrong += [
            f"  train.{k}: {kind.plural} have no classes"
            for k in ("class_weights", "label_smoothing")
            if getattr(recipe.train, k)
        ]
    chosen = {"train.best": recipe.train.best, "train.early_stop": recipe.train.early_stop, "schedule": recipe.schedule}
    for key, table in chosen.items():
        metric = getattr(table, "metric", None)
        if metric not in (None, "loss", *kind.metrics):
            wrong.append(f"  {key}.metric: {kind.plural} have {', '.join((*kind.metrics, 'loss'))}, not {metric}")
    if wrong:
        lines = "\n".join(wrong)
        raise RecipeError(f"the recipe does not fit {recipe.data.name}:\n{lines}\n", fix="remove or change these keys")
