"""The measurement behind a plan, in a process of its own: load, a few real updates at growing batch sizes, an evaluation, a save.

Run as ``python -m nyala.recipes.plan.probe RECIPE.toml SECONDS BYTES``; the last line it prints is JSON. What it measures is what
a run does: the same functions on the same data.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import NyalaError
from ...core.random import key
from ..data import batches
from ..data.batches import Batch, Prepared
from ..folder.state import Store
from ..language import config
from ..language.schema import Recipe
from ..training import freezing, steps, unfreezing
from ..training.setup import Setup, prepare
from . import memory

_LENGTHS = 1500  # samples whose length is looked at
_LATER = "train.unfreeze: measured with everything learning, as at the end; the updates before that take less"
_WARM, _TIMED = 2, 30  # updates before the clock runs, and at most while it does


def probe(path: Path, seconds: float, room: int) -> dict[str, Any]:
    """Measures the recipe at ``path``.

    Args:
        path: a recipe file.
        seconds: roughly how long the updates may take altogether.
        room: bytes of memory that may be used; a batch that would need more is not tried.

    Returns:
        Sizes in bytes, times in seconds; ``peaks`` by batch size, ``timed`` and ``worked``: batch size -> seconds of an
        update, by the clock and of the processors.
    """
    start = memory.held()
    recipe = config.load(path).recipe
    began = time.perf_counter()
    memory.forget_most()
    setup = prepare(recipe)
    found: dict[str, Any] = {"start": start, "loading": memory.most(), "load_seconds": time.perf_counter() - began}
    found |= sizes(setup)
    if setup.starts:  # the heaviest time of a run is its end, when everything learns
        unfreezing.apply(setup.model, setup.starts, max(setup.starts.values()))
    memory.forget_most()
    found["live"] = memory.held()
    measurer = Measurer(setup, recipe, start, room)
    found |= measurer.updates(seconds)
    memory.forget_most()
    # freed memory is kept in pieces: one thing after the other takes more than each alone
    found |= measurer.timed(seconds / 2)
    found["training"] = memory.most()
    found |= measurer.evaluation() | measurer.saving()
    found["sequence"] = memory.most()
    found["optimizer"] = sum(a.nbytes for o in setup.optimizers for a in o.named_state().values())
    return found


def sizes(setup: Setup) -> dict[str, Any]:
    """What follows from the model and the data without running anything."""
    parameters = list(setup.model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    buffers = sum(b.array.nbytes for b in setup.model.buffers())
    return {
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in trained),
        "weights": sum(p.array.nbytes for p in parameters) + buffers,
        "gradients": sum(p.array.nbytes for p in trained),
        "average": 0 if setup.ema is None else sum(a.nbytes for a in setup.ema.averages.values()),
        "train": len(setup.source.train),
        "validation": len(setup.source.validation),
        "test": len(setup.source.test),
        "steps_per_epoch": setup.steps_per_epoch,
        "total_steps": setup.total_steps,
        "notes": [*setup.notes, *([_LATER] if setup.starts else [])],
    }


class Measurer:
    """Runs updates of a prepared run and measures them."""

    def __init__(self, setup: Setup, recipe: Recipe, start: int, room: int) -> None:
        self.setup, self.recipe, self.start, self.room = setup, recipe, start, room
        self.count = 0
        self.sizes: list[int] = []
        self.heaviest: Any = None
        self.data = Prepared(setup.source.train, setup.task)

    def updates(self, seconds: float) -> dict[str, Any]:
        """Peaks at batch sizes 2, 4, 8, ... on the longest samples, as far as time and memory allow; then the clock."""
        wanted = min(self.recipe.data.batch_size, len(self.setup.source.train))
        order, longest = self.by_length()
        peaks: dict[int, int] = {}
        took: dict[int, float] = {}
        self.update(self.batch(np.resize(order, min(2, wanted))))  # compiles kernels and makes the optimizer's state
        for size in growing(wanted):
            if peaks and not self.affordable(size, peaks, took, seconds):
                break
            batch = self.batch(np.resize(order, size))
            peaks[size] = memory.peak_of(lambda batch=batch: self.update(batch))  # type: ignore[misc]
            began = time.perf_counter()
            self.update(batch)
            took[size] = time.perf_counter() - began
        self.heaviest, self.sizes = batch, list(peaks)
        return {"peaks": peaks, "longest": longest}

    def timed(self, seconds: float) -> dict[str, Any]:
        """Seconds of an update at the largest batch sizes that could be tried, the very largest last."""
        found = {size: self.pace(size, seconds) for size in self.sizes[-2:]}
        self.update(self.heaviest)
        return {
            "timed": {size: wall for size, (wall, _) in found.items()},
            "worked": {size: cpu for size, (_, cpu) in found.items()},
        }

    def affordable(self, size: int, peaks: dict[int, int], took: dict[int, float], seconds: float) -> bool:
        """Whether a larger batch will fit, judged by those before it, and leave time for the clock."""
        last = max(peaks)
        expected = self.start + (peaks[last] - self.start) * size / last  # too much rather than too little
        return expected < self.room and took[last] * size / last * 8 < seconds

    def pace(self, size: int, seconds: float) -> tuple[float, float]:
        """Mean seconds of an update on the run's own batches, loading included: by the clock, and of all processors together."""
        stream = self.stream(size)
        for parts in itertools.islice(stream, _WARM):
            self.update(*parts)
        began, worked, done = time.perf_counter(), time.process_time(), 0
        for parts in itertools.islice(stream, _TIMED):
            self.update(*parts)
            done += 1
            if done >= 3 and time.perf_counter() - began > seconds:
                break
        stream.close()
        return (time.perf_counter() - began) / done, (time.process_time() - worked) / done

    def stream(self, size: int) -> Generator[list[Batch], None, None]:
        """Groups of batches without end, as the training loop takes them."""
        import msgspec

        recipe = msgspec.structs.replace(self.recipe, data=msgspec.structs.replace(self.recipe.data, batch_size=size))
        for epoch in itertools.count():
            loader = batches.for_training(self.setup.source.train, self.setup.task, recipe, epoch, 0)
            yield from _grouped(loader, recipe.train.accumulate)

    def update(self, *parts: Batch) -> None:
        """One update; a single batch stands for all that are accumulated."""
        given = list(parts) if len(parts) > 1 else list(parts) * self.recipe.train.accumulate
        freezing.train_mode(self.setup.model)
        key, setup = (self.recipe.seed, self.count), self.setup
        steps.update(setup.model, setup.optimizers, given, self.recipe.train, setup.objective, key, scaler=setup.scaler)
        if self.setup.ema is not None:
            self.setup.ema.update()
        self.count += 1

    def batch(self, indices: np.ndarray) -> Batch:
        return self.data.collate([self.data[int(i)] for i in indices])

    def by_length(self) -> tuple[np.ndarray, int]:
        """Training samples, the longest first, and its length in numbers; of many samples some are looked at."""
        count = len(self.setup.source.train)
        chosen = np.arange(count)
        if count > _LENGTHS:
            chosen = np.sort(key(0, "plan").permutation(count)[:_LENGTHS])
        if self.setup.source.kind == "image":
            return chosen, _length(self.batch(chosen[:1]).inputs)
        lengths = np.array([_length(self.batch(np.array([i])).inputs) for i in chosen])
        order = np.argsort(-lengths, kind="stable")
        return chosen[order], int(lengths[order[0]])

    # ---- beside the updates

    def evaluation(self) -> dict[str, Any]:
        """Seconds a sample of an evaluation, on as many batches as the loader holds at once and a few more."""
        part = max(self.setup.source.validation, self.setup.source.test, key=len)
        many = self.recipe.data.eval_batch_size * (2 * self.recipe.data.workers + 3)
        few = part.take(np.arange(min(many, len(part))))
        loader = batches.for_evaluation(few, self.setup.task, self.recipe)
        began = time.perf_counter()
        self.setup.objective.evaluate(self.setup.model, loader)
        return {"eval_seconds": (time.perf_counter() - began) / len(few)}

    def saving(self) -> dict[str, Any]:
        """Seconds and size of a checkpoint with the best weights beside it."""
        from ..training import trainer

        tensors = {f"model.{k}": v for k, v in trainer.arrays(self.setup.model.state_dict()).items()}
        for number, optimizer in enumerate(self.setup.optimizers):
            tensors |= {f"optimizer.{number}.{k}": v for k, v in optimizer.named_state().items()}
        with tempfile.TemporaryDirectory(prefix="nyala-plan-") as folder:
            store = Store(Path(folder))
            began = time.perf_counter()
            store.save_best(1, self.setup.final_arrays())
            store.save(1, tensors, {})
            taken = time.perf_counter() - began
            size = sum(p.stat().st_size for p in (Path(folder) / "checkpoints").glob("step-*/*"))
        return {"save_seconds": taken, "checkpoint": size}


def growing(wanted: int) -> list[int]:
    """Batch sizes to try: 2, 4, 8, ... and the one that is wanted. A batch norm learns nothing from a single sample.

    Example:
        >>> growing(12), growing(1)
        ([2, 4, 8, 12], [1])
    """
    return [*itertools.takewhile(lambda n: n < wanted, (2**i for i in itertools.count(1))), wanted]


def _grouped(loader: Any, count: int) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    for batch in loader:
        group.append(batch)
        if len(group) == count:
            yield group
            group = []
    if group:
        yield group


def _length(inputs: Any) -> int:
    """How many numbers go into the model."""
    if isinstance(inputs, dict):
        return max(_length(value) for value in inputs.values())
    if isinstance(inputs, (list, tuple)):
        return sum(map(_length, inputs))
    return int(inputs.numel()) if hasattr(inputs, "numel") else int(np.size(inputs))


def main(path: str, seconds: str, room: str) -> dict[str, Any]:
    """What ``probe`` finds, or the error that it met, in words."""
    try:
        return probe(Path(path), float(seconds), int(room))
    except NyalaError as error:
        return {"error": {"kind": type(error).__name__, "what": error.what, "why": error.why, "fix": error.fix}}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])), flush=True)
