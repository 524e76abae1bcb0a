"""From a model's name and a folder of data to a recipe, and from the recipe to a run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...core.atomic import atomic_write
from ...core.errors import ArgumentError, NyalaError
from ...hub.load import load as load_pipeline
from ...hub.pipeline import Pipeline
from .. import catalog
from ..data import kinds
from ..data.batches import Prepared
from ..folder import run as runs
from ..language import config, editable, names, resolved
from ..language.config import Loaded
from ..plan import plan as measured
from ..progress import Progress
from ..training import models, trainer
from . import measure, rules
from .facts import Facts, examine, seconds_of_sounds
from .frame import Plan

_UNITS = {"s": 1, "m": 60, "h": 3600}
# What stands in until the rules have chosen.
_START = "schema = 1\n[data]\n[model]\n[optim]\ntype = 'adamw'\n[schedule]\ntype = 'constant'\n[train.best]\nuse = 'last'\n"
_LENGTH = "train.steps=1"
_MEASURING = 10.0  # seconds, of updates to measure by


@dataclass(frozen=True)
class Proposal:
    """What would be run, and why.

    Attributes:
        facts: data and model in numbers.
        method: which parts learn, and why.
        because: the reason of ``method``.
        reasons: dotted path -> reason, of each value that a rule or the user has chosen.
        loaded: the recipe.
        toml: the recipe as a file, each value below its reason.
        name: of the file, without ``.toml``.
    """

    facts: Facts
    method: str
    because: str
    reasons: Mapping[str, str]
    loaded: Loaded
    toml: str
    name: str

    def choices(self) -> list[tuple[str, str, str]]:
        """Each value that was chosen: its key, the value as TOML, and the reason."""
        tree = dict(config.leaves(resolved.tree_of(self.loaded.recipe)))
        chosen = [(path, reason) for path, reason in self.reasons.items() if reason and (path in tree or _inside(path, tree))]
        return [(path, resolved.value_text(_at(tree, path)), reason) for path, reason in chosen]

    def write(self, path: str | Path) -> Path:
        """Writes the recipe; `nyala run` takes it."""
        path = Path(path).expanduser()
        atomic_write(path, self.toml)
        return path


def _inside(path: str, tree: Mapping[str, Any]) -> bool:
    return any(p.startswith(path + ".") for p in tree)


def _at(tree: Mapping[str, Any], path: str) -> Any:
    if path in tree:
        return tree[path]
    return {p.removeprefix(path + "."): value for p, value in tree.items() if p.startswith(path + ".")}


@dataclass(frozen=True, eq=False, repr=False)
class Finetuned:
    """A finished fine-tuning.

    Attributes:
        folder: the run folder: report, metrics, weights, and the recipe.
        recipe: the file that was run: ``nyala run`` of it gives the same bits.
        metrics: the scores on the test part.
        proposal: what was chosen, and why.
    """

    folder: Path
    recipe: Path
    metrics: dict[str, Any]
    proposal: Proposal = field(repr=False)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The fine-tuned model with its preprocessing and labels: call it on a picture or a text."""
        return load_pipeline(self.folder)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items() if isinstance(value, float))
        return f"Finetuned({str(self.folder)!r}, {scores})"


def finetune(
    name: str | Path,
    data: str | Path,
    *,
    target: str | None = None,
    test: str | Path | None = None,
    epochs: int | None = None,
    time: float | str | None = None,
    seed: int = 0,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Fine-tunes a pretrained model on data of your own; rules choose what is not given (``nyala finetune --rules`` lists them).

    Args:
        name: a catalogue name, a hub id, a folder, or a run.
        data: a folder with a subfolder a class, a CSV or JSON lines file, a registered dataset, or a hub dataset.
        target: the column of the class, where its name does not say it.
        test: a second folder or file to test on.
        epochs: passes over the training part.
        time: at most this long: seconds, or "90s", "10m", "2h".
        seed: what every draw follows from.
        overrides: any value of the recipe, as ``"optim.lr=1e-4"`` or ``{"optim.lr": 1e-4}``.
        folder: the run folder; ``runs/<name>-<n>`` by default.
        progress: shows what happens; nothing by default.

    Returns:
        The scores, the run folder with the recipe in it, and the fine-tuned pipeline.

    Raises:
        DataError: data that cannot be read; the file and the line are named.
        RecipeError: overrides with mistakes; all of them are named.
        UnknownNameError: no such model.

    Example:
        >>> import nyala
        >>> try:
        ...     nyala.finetune("tf_efficientnet_lite0", "no/such/pictures.csv")
        ... except nyala.errors.NyalaError as error:
        ...     print(str(error).splitlines()[1].partition(" (")[0].strip())
        data.name: there is no file or folder no/such/pictures.csv
    """
    given = propose(name, data, target=target, test=test, epochs=epochs, time=time, seed=seed, overrides=overrides)
    return carry_out(given, folder, progress)


def propose(
    name: str | Path,
    data: str | Path,
    *,
    target: str | None = None,
    test: str | Path | None = None,
    epochs: int | None = None,
    time: float | str | None = None,
    seed: int = 0,
    overrides: Sequence[str] | Mapping[str, Any] = (),
) -> Proposal:
    """The recipe that ``finetune`` would run, with a reason for each choice; nothing is trained.

    Arguments and errors are those of :func:`finetune`.
    """
    if str(name) in catalog.names():
        fix = f"nyala run {name} data.name={data}; or name a model: `nyala list`"
        raise ArgumentError(f"{name} is a recipe, not a model", fix=fix)
    budget = None if time is None else seconds_of(time)
    said = [f"model.name={_toml(str(name))}", f"data.name={_toml(str(data))}"]
    said += [f"seed={seed}"] if seed else []
    said += [f"data.columns.label={_toml(target)}"] if target is not None else []
    said += [f"data.test={_toml(str(test))}"] if test is not None else []
    said += [f"train.epochs={epochs}"] if epochs is not None else []
    said += [f"{k}={_toml(v)}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else list(overrides)
    given = config.given(said)
    return _proposal(str(name), str(data), said, given, budget)


def _proposal(name: str, data: str, said: list[str], given: Mapping[str, Any], budget: float | None) -> Proposal:
    with tempfile.TemporaryDirectory(prefix="nyala-finetune-") as temporary:
        start = Path(temporary) / f"{_slug(name)}-{_slug(data)}.toml"
        start.write_text(_START, encoding="utf-8")
        length = [] if {"train.steps", "train.epochs"} & set(given) else [_LENGTH]
        first = config.load(start, [*said, *length])
        facts, source, pipeline = examine(first.recipe)
        said += [f"{key}={_toml(pinned)}" for key, pinned in facts.pins.items()]
        plan = rules.decide(facts, given)
        plan.set("description", f"{_slug(name)} fine-tuned on {_slug(data)}", "")
        _fit_memory(plan, first, source, pipeline)
        loaded = _loaded(start, plan, said)
        if budget is not None:
            _fit_time(plan, loaded, budget)
            loaded = _loaded(start, plan, said)
        reasons = plan.reasons | dict.fromkeys(given, "as you said")
        reasons |= dict.fromkeys(facts.pins, "as you said, at the commit that it has now")
        toml = editable.to_toml(loaded, _header(facts, plan, start.stem), reasons)
        start.write_text(toml, encoding="utf-8")
        return Proposal(facts, plan.method, plan.because, reasons, config.load(start), toml, start.stem)


def _loaded(path: Path, plan: Plan, said: Sequence[str]) -> Loaded:
    """The recipe of the plan's values and the user's."""
    path.write_text("schema = 1\n", encoding="utf-8")
    chosen = [f"{key}={resolved.value_text(value)}" for key, value in plan.values.items()]
    return config.load(path, [*chosen, *said])


def _fit_memory(plan: Plan, first: Loaded, source: Any, pipeline: Any) -> None:
    """Halves the batch size until it fits, and accumulates so that an update still has as many samples."""
    wanted = int(plan.get("data.batch_size"))
    kind = kinds.of(source.kind)
    sizes = {key: plan.get(f"model.{key}") for key in ("image_size", "max_length", "max_seconds")}
    changed = msgspec.structs.replace(first.recipe.model, **{key: size for key, size in sizes.items() if size})
    pipeline = models.prepared(changed, pipeline, kind)
    source = kind.fitted(source, pipeline, changed)
    task = kind.task(pipeline, source)
    longest = _longest(source)
    prepared = Prepared(source.train, task)
    inputs = prepared.collate([prepared[longest]]).inputs
    objective = kind.objective(pipeline, first.recipe.train, source, source.labels)
    one = measure.activations(pipeline.model, lambda: objective.outputs(pipeline.model, inputs))
    size = measure.fitting(pipeline.model, one, wanted, plan.facts.memory)
    if size < wanted:
        free = plan.facts.memory / 1e9
        reason = f"{wanted} samples at once would take more than half of the {free:.1f} GB that are free"
        plan.set("data.batch_size", size, reason)
        plan.set("train.accumulate", wanted // size, f"{wanted // size} batches make one update of {wanted} samples")


def _longest(source: Any) -> int:
    """The training sample that takes the most memory."""
    inputs = source.train.inputs
    if source.kind in ("text", "tags", "questions", "pairs", "seq2seq"):
        return max(range(len(inputs)), key=lambda i: len(str(inputs[i])))
    return int(np.argmax(seconds_of_sounds(inputs))) if source.kind == "speech" else 0


def _fit_time(plan: Plan, loaded: Loaded, budget: float) -> None:
    """Shortens the run to what fits into ``budget`` seconds on this machine, a tenth of them kept in reserve."""
    told = measured(loaded, seconds=_MEASURING)
    update = told.epoch / told.steps_per_epoch  # with its share of evaluations and checkpoints
    once = told.total - update * told.total_steps
    fits = int((0.9 * budget - once) / update)
    if fits >= told.total_steps:
        return
    if fits < 1:
        raise ArgumentError(
            f"{budget:.0f} s are not enough",
            why=f"one update takes {update:.1f} s on this machine, loading and testing {once:.0f} s",
            fix="give more time, or fewer samples: data.limit_test=200",
        )
    plan.values.pop("train.epochs", None)
    plan.reasons.pop("train.epochs", None)
    rules_say = f"where the rules would make {told.total_steps}"
    plan.set("train.steps", fits, f"what fits into {budget:.0f} s, at {update:.2f} s an update on this machine, {rules_say}")


def _header(facts: Facts, plan: Plan, name: str) -> list[str]:
    return [
        f"Written by `nyala finetune`: run it again with `nyala run {name}.toml`, or change it first.",
        "The line above a value says why it was chosen.",
        *facts.lines(),
        f"{plan.method}: {plan.because}",
    ]


def carry_out(proposal: Proposal, folder: str | Path | None = None, progress: Progress | None = None) -> Finetuned:
    """Runs a proposal to its end."""
    run = runs.create(proposal.loaded, folder)
    try:
        recipe = proposal.write(run.folder / f"{proposal.name}.toml")
        metrics = trainer.train(run, progress)
    except NyalaError:
        runs.discard_unbegun(run, f"{proposal.name}.toml")
        raise
    return Finetuned(run.folder, recipe, metrics, proposal)


def seconds_of(time: float | str) -> float:
    """Seconds of ``90``, ``"90s"``, ``"10m"`` or ``"2h"``.

    Example:
        >>> seconds_of("1.5m"), seconds_of(20)
        (90.0, 20.0)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)(?:ec|in|ours?|r)?\s*", str(time))
    if not found or float(found[1]) <= 0:
        raise ArgumentError(f"{time!r} is no time", fix="write seconds, or e.g. 90s, 10m, 2h")
    return float(found[1]) * _UNITS.get(found[2], 1)


def _slug(name: str) -> str:
    """A name as a part of a file's name: ``org/name`` is ``name``."""
    last = Path(name.partition("@")[0].rstrip("/")).name
    stem = last if names.is_registered("data", last) or names.is_registered("model", last) else last.partition(".")[0]
    return re.sub(r"[^\w.-]+", "-", stem or "data").strip("-.") or "data"


def _toml(value: Any) -> str:
    return resolved.value_text(str(value) if isinstance(value, Path) else value)
