"""A run that the watchdog stopped: ``stopped.json`` says why, and the error tells the user what is left and how to go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.atomic import atomic_write, storage_errors
from ..data.datasets import Part
from .watchdog import DivergenceError

STOPPED = "stopped.json"
SHOWN = 32  # samples that are written down


@contextmanager
def told(folder: Path, part: Part) -> Iterator[None]:
    """Writes down a divergence inside the block and raises it again, with the newest checkpoint in its message.

    Args:
        folder: of the run.
        part: the training part; file names and texts of the samples at fault are written down too.
    """
    try:
        yield
    except DivergenceError as error:
        newest = max((p.name for p in (folder / "checkpoints").glob("step-*")), default=None)
        left = f"the newest checkpoint, {newest}, is from before" if newest else "no checkpoint was written before"
        error.why = f"{error.why}; {left}; {STOPPED} in the run folder says more" if error.why else left
        error.fix = f"start a new run with another recipe, for this one would come to the same step again: {error.fix}"
        record = {"step": error.step, "cause": error.cause, "why": error.why, "module": error.module}
        record |= {"samples": [_shown(part, i) for i in error.samples[:SHOWN]], "checkpoint": newest}
        atomic_write(folder / STOPPED, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        raise


def _shown(part: Part, index: int) -> dict[str, Any]:
    """A sample's number, label, and what it is made of where that can be written."""
    raw, label = part.sample(index)
    shown = {"index": index, "label": label}
    return shown | ({"input": str(raw)[:300]} if isinstance(raw, str | Path) else {})


def forget(folder: Path) -> None:
    """Removes what an earlier attempt left."""
    with storage_errors(folder / STOPPED, "remove"):
        (folder / STOPPED).unlink(missing_ok=True)
