"""``nyala plan``: what a recipe will need, before it is launched.

A few real updates are made in a process of their own (:mod:`.probe`), on the run's own data, at growing batch sizes. What they
took is a constant and a part for each sample: so it is known for the recipe's batch size, even where that would not fit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ...core import errors
from ...core.errors import NyalaError, StorageError
from ..language import resolved
from ..language.config import Loaded
from ..progress import Progress
from . import memory
from .estimate import Plan, estimate

__all__ = ["Plan", "plan"]

_SHARE = 0.9  # of the memory there is, that a plan may fill


def plan(loaded: Loaded, *, room: int | None = None, seconds: float = 30.0, progress: Progress | None = None) -> Plan:
    """Says what a run of this recipe needs in memory, time and disk.

    Args:
        loaded: the recipe, from ``config.load``.
        room: bytes of memory that the run may hold; by default what this machine has free.
        seconds: roughly how long measuring may take, loading aside.
        progress: is told what happens.

    Raises:
        NyalaError: whatever would stop the run before its first update: its data, its weights, its settings.
        StorageError: the process that measures was killed, as systems do when memory runs out.
    """
    (progress or Progress()).phase("measuring a few updates")
    given = room if room is not None else memory.available()
    safe = int((memory.available() or given) * _SHARE)
    found = measured(loaded, seconds, safe)
    chosen = estimate(loaded.recipe, found, given)
    if not chosen.fits and not loaded.recipe.train.checkpointing:
        (progress or Progress()).phase("measuring with gradient checkpointing")
        chosen = _with_checkpointing(loaded, seconds, safe, given, chosen)
    return chosen


def _with_checkpointing(loaded: Loaded, seconds: float, safe: int, room: int, first: Plan) -> Plan:
    """The same plan, which also says what ``train.checkpointing`` would save."""
    from dataclasses import replace

    import msgspec

    recipe = loaded.recipe
    changed = msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, checkpointing=True))
    try:
        found = measured(replace(loaded, recipe=changed), seconds, safe)
    except errors.RecipeError:  # the model has no blocks that can be computed again
        return first
    return replace(first, checkpointed=estimate(changed, found, room).peak)


def measured(loaded: Loaded, seconds: float, room: int) -> dict[str, Any]:
    """What :mod:`.probe` found, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="nyala-plan-") as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(resolved.to_toml(loaded), encoding="utf-8")
        command = [sys.executable, "-m", f"{__name__}.probe", str(path), str(seconds), str(room)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode < 0:
        raise StorageError(
            f"the process that measured was killed by signal {-done.returncode}",
            why="systems do so when memory runs out",
            fix="try a smaller data.batch_size, a smaller model, or close other programs",
        )
    if done.returncode or not lines:
        raise NyalaError(
            f"the process that measured ended with {done.returncode}",
            why=done.stderr.strip()[-400:],
            fix="run the recipe itself to see the whole message, and report it",
        )
    found: dict[str, Any] = json.loads(lines[-1])
    if "error" in found:
        raise rebuilt(found["error"])
    return found


def rebuilt(error: dict[str, str]) -> NyalaError:
    """The error that the process met, as one of the same kind.

    Example:
        >>> rebuilt({"kind": "DataError", "what": "no data", "why": "", "fix": ""})
        DataError('no data')
    """
    kind = getattr(errors, error["kind"], NyalaError)
    made: NyalaError = kind(error["what"], why=error["why"], fix=error["fix"])
    return made
