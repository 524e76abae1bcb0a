"""``nyala contracts``: the promises of ``nyala.testing``, checked on a named model or a run with a batch that fits it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core import random
from ...core.create import from_numpy
from ...core.errors import ArgumentError, did_you_mean
from ...core.nn import Module, init
from ...core.tensor import Tensor
from ...core.testing.contracts import Broken, NotApplicable, Verdict, Verdicts, check_model, judged
from ...core.testing.model_contracts import CONTRACTS
from ...hub import registry
from ...hub.load import load
from ...hub.pipeline import Pipeline
from ..progress import Progress

ROWS = 4
_TOKENS = 24  # of each row of a made-up text
EXPORT = "export"
_EXPORT_PROMISE = "the names and layouts of the published file come back, tensor by tensor, and its config builds the same model"


@dataclass(frozen=True)
class _Loaded:
    """A loaded model, with what exporting it needs."""

    model: Module
    config: Mapping[str, Any]


def names() -> list[str]:
    """The contracts there are."""
    return [*CONTRACTS, EXPORT]


def check(
    model: str | Path | Pipeline, *, only: Iterable[str] | None = None, seed: int = 0, progress: Progress | None = None
) -> Verdicts:
    """Check the contracts of a model that ``nyala.load`` knows.

    Args:
        model: a name, a hub id, a folder, a run, or a pipeline.
        only: names of contracts (:func:`names`); all if left out.
        seed: what the batch and the draws in training mode are made by.
        progress: is told which contract is being checked.

    Raises:
        ArgumentError: no such contract, or a kind of model for which no batch can be made up.
    """
    progress = progress or Progress()
    chosen = list(only) if only is not None else names()
    for name in chosen:
        if name not in names():
            raise ArgumentError(
                f"no contract is called {name!r}", fix=did_you_mean(name, names()) or f"there are {', '.join(names())}"
            )
    progress.phase("loading the model")
    pipeline = model if isinstance(model, Pipeline) else load(model)
    loaded = _Loaded(pipeline.model, pipeline.config)
    batch = inputs_for(pipeline, seed)
    found: list[Verdict] = []
    for done, name in enumerate(chosen):
        progress.count(done, len(chosen), f"checking {name}")
        if name == EXPORT:
            found.append(judged(EXPORT, _EXPORT_PROMISE, exporting, loaded, pipeline.model))
        else:
            found += check_model(pipeline.model, batch, only=[name], fresh=_builder(loaded), seed=seed)
    progress.count(len(chosen), len(chosen), "checked")
    return Verdicts(found)


def inputs_for(pipeline: Pipeline, seed: int = 0) -> dict[str, Tensor]:
    """A batch of ``ROWS`` made-up inputs, as the pipeline's preprocessing would hand them to the model.

    Raises:
        ArgumentError: for this kind of model no batch can be made up.
    """
    draw = random.key(seed, "contracts")
    device = next(pipeline.model.parameters()).device
    config: Any = getattr(pipeline.model, "config", None)
    domain = type(pipeline).__module__.split(".")[1]
    if domain == "vision":
        height, width = pipeline.preprocess.size  # type: ignore[attr-defined]
        pictures = draw.normal((ROWS, int(getattr(config, "in_chans", 3)), height, width)).astype(np.float32)
        return {"": from_numpy(pictures).to(device)}
    if domain == "text":
        from ...text.pipelines.batching import longest_of

        length = min(_TOKENS, longest_of(pipeline.model))
        ids = draw.integers(min(5, config.vocab_size - 1), config.vocab_size, (ROWS, length)).astype(np.int64)
        mask = np.ones((ROWS, length), np.int64)
        return {"input_ids": from_numpy(ids).to(device), "attention_mask": from_numpy(mask).to(device)}
    if hasattr(pipeline.preprocess, "batch"):  # a second of noise, or as much as the model hears
        front: Any = pipeline.preprocess
        count = min(front.sample_rate, front.samples or front.sample_rate)
        waves = 0.1 * draw.normal((ROWS, count)).astype(np.float32)
        batch = front.batch([front.one(wave) for wave in waves])
        named = batch if isinstance(batch, dict) else {"": batch}
        return {name: values.to(device) for name, values in named.items()}
    raise ArgumentError(
        f"no batch can be made up for {type(pipeline).__name__}",
        fix="call nyala.testing.check_model(pipeline.model, inputs) with a batch of your own",
    )


def _builder(loaded: _Loaded) -> Any:
    architecture = registry.get(registry.architecture_of(dict(loaded.config)))

    def build() -> Module:
        with init.skip_random():
            return architecture.build(architecture.export_config(loaded.model))

    return build


def exporting(loaded: _Loaded) -> str:
    """The key map is a bijection on this model's tensors, and the exported configuration builds a model of the same shape."""
    if not loaded.config:
        raise NotApplicable("the model came without a config.json")
    architecture = registry.get(registry.architecture_of(dict(loaded.config)))
    config = architecture.export_config(loaded.model)
    ours = {n: np.array(t.numpy()) for n, t in loaded.model.state_dict().items()}
    keys = architecture.key_map(config, list(ours))
    published = keys.to_published(ours)
    back = keys.to_ours(published)
    for name in {*ours} ^ {*back}:
        raise Broken(f"{name} is {'lost' if name in ours else 'invented'} on the way out and back")
    for name, array in ours.items():
        if back[name].shape != array.shape or back[name].tobytes() != array.tobytes():
            raise Broken(f"{name} of shape {array.shape} comes back as {back[name].shape}, or with other numbers")
    keys.check_bijection(list(ours), [a.shape for a in ours.values()])
    twin = _builder(loaded)()
    shapes = {n: tuple(t.shape) for n, t in twin.state_dict().items()}
    different = next((n for n in ours if shapes.get(n) != ours[n].shape), "")
    if different:
        raise Broken(f"the exported config.json builds a model where {different} has shape {shapes.get(different)}")
    return f"{len(ours)} tensors out as {len(published)} and back; the exported config.json builds the same model"
