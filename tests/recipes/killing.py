"""Not a test: a process that trains in forked children and kills them as ``kill -9`` does. ``test_kills.py`` starts it.

The children are forked from a process that has made the run once, so that each needs no import and no compiling. Standard output:
one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nyala.core import atomic, checkpoint
from nyala.recipes.folder import metrics, state
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import trainer

NAMES = ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # the signal is on its way


def train(recipe: str, folder: Path, *overrides: str) -> None:
    if (folder / runs.RECIPE).is_file():
        trainer.train(runs.open_run(folder, list(overrides)))
    else:
        trainer.train(runs.create(config.load(recipe, overrides), folder))


def results(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in NAMES}


def fork(work: Callable[[], None]) -> int:
    """Does ``work`` in a forked child; its exit code, negative for a signal."""
    child = os.fork()
    if not child:
        code = 70
        try:
            work()
            code = 0
        finally:
            if code:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---- at a random moment --------------------------------------------------------------------------------------------


def counting(limit: int, seen: list[int]) -> Callable[..., None]:
    """A profiler that counts calls and returns, of Python and of C, and dies at the ``limit``-th."""

    def profile(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == limit:
            die()

    return profile


def life(recipe: str, folder: Path, moment: int, late: bool, threads: int = 2, workers: int = 0) -> None:
    """A child's life: it trains until it is killed or done. ``late`` counts from the first step on. Writes what it counted."""
    os.environ["NYALA_NUM_THREADS"] = str(threads)
    seen, loop = [0], trainer.loop

    def from_here(*args: Any) -> None:
        sys.setprofile(counting(moment, seen))
        loop(*args)

    if late:
        trainer.loop = from_here
    else:
        sys.setprofile(counting(moment, seen))
    train(recipe, folder, f"data.workers={workers}")
    sys.setprofile(None)
    (folder / "counted").write_text(str(seen[0]))


def at_random(recipe: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kills children at random moments until ``kills`` of them are dead; every run that ends is compared with the whole one."""
    train(recipe, folder / "whole")
    whole = results(folder / "whole")
    moments = []
    for late in (False, True):
        assert fork(lambda: life(recipe, folder / f"counted-{late}", 0, late)) == 0  # noqa: B023 - it ends before the next
        moments.append(int((folder / f"counted-{late}" / "counted").read_text()))
    draw = random.Random(seed)
    deaths, ended, most, here = 0, 0, 0, 0
    while deaths < kills or here:
        late, threads, workers = draw.random() < 0.7, draw.choice((1, 2, 3)), draw.choice((0, 1, 3))
        moment = draw.randint(1, moments[late]) if deaths < kills else 0
        code = fork(lambda: life(recipe, folder / f"run-{ended}", moment, late, threads, workers))  # noqa: B023
        if code == -signal.SIGKILL:
            deaths, here = deaths + 1, here + 1
            continue
        assert code == 0, f"exit code {code}"
        assert results(folder / f"run-{ended}") == whole, f"run {ended}, killed {here} times, differs"
        ended, most, here = ended + 1, max(most, here), 0
    return {"deaths": deaths, "ended": ended, "most": most, "moments": moments}


# ---- at a named place ----------------------------------------------------------------------------------------------


class Dying:
    """Stands for a function; at its ``nth`` call for which ``suits`` says so it dies, before, after or instead of the call."""

    def __init__(self, owner: Any, name: str, nth: int, suits: Callable[..., bool], before: Callable[..., Any] | None) -> None:
        self.real, self.left, self.suits, self.before = getattr(owner, name), nth, suits, before
        setattr(owner, name, self)

    def __call__(self, *args: Any, **named: Any) -> Any:
        if self.suits(*args):
            self.left -= 1
        if self.left or not self.suits(*args):
            return self.real(*args, **named)
        if self.before is None:
            self.real(*args, **named)
        else:
            self.before(*args, **named)
        die()
        return None


def nothing(*_: Any, **__: Any) -> None:
    """Dies before the call does anything."""


def half_file(tensors: Any, path: Path, *_: Any) -> None:
    """Writes the first half of a weight file."""
    whole = checkpoint.save(tensors)
    Path(path).write_bytes(bytes(whole)[: len(whole) // 2])


def half_text(path: Path, text: str, *_: Any) -> None:
    with open(path, "w") as file:
        file.write(text[: len(text) // 2])


def half_line(log: metrics.Log, record: dict[str, Any]) -> None:
    line = metrics.encode(record)
    log._file.write(line[: len(line) // 2])
    log._file.flush()


def half_tree(folder: Path) -> None:
    next(p for p in sorted(Path(folder).iterdir()) if p.is_file()).unlink()


def always(*_: Any) -> bool:
    return True


def below(part: str) -> Callable[..., bool]:
    """Whether a path among the arguments lies in ``part``."""
    return lambda *args: any(part in str(a) for a in args if isinstance(a, str | Path))


# name -> (owner, function, which calls, what is done of the call; None is all of it)
PLACES: dict[str, tuple[Any, str, Callable[..., bool], Callable[..., Any] | None]] = {
    "half of a checkpoint's weights": (state.checkpoint, "save_file", below("checkpoints"), half_file),
    "between a checkpoint's weights and its record": (state.checkpoint, "save_file", below("checkpoints"), None),
    "half of a checkpoint's record": (Path, "write_text", below("checkpoints"), half_text),
    "before a checkpoint is flushed": (atomic, "_fsync_tree", below("checkpoints"), nothing),
    "before a checkpoint gets its name": (atomic, "_swap", below("checkpoints"), nothing),
    "when a checkpoint has its name": (atomic, "_swap", below("checkpoints"), None),
    "before old checkpoints are removed": (state.Store, "_prune", always, nothing),
    "in the middle of removing an old checkpoint": (state.shutil, "rmtree", below("checkpoints"), half_tree),
    "half of a line of metrics": (metrics.Log, "write", always, half_line),
    "before the metrics are flushed": (metrics.Log, "sync", always, nothing),
    "in the middle of an update": (trainer.steps, "update", always, nothing),
    "before a small file gets its name": (atomic.os, "replace", always, nothing),
    "when a small file has its name": (atomic.os, "replace", always, None),
}


class Bound(Dying):
    """``Dying`` for a method of a class."""

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        return lambda *args, **named: self(instance, *args, **named)


def work(recipe: str, name: str, nth: int, folder: Path) -> None:
    owner, function, suits, before = PLACES[name]
    (Bound if isinstance(owner, type) else Dying)(owner, function, nth, suits, before)
    train(recipe, folder)


def at_places(recipe: str, folder: Path, times: int) -> dict[str, Any]:
    """Kills a child at the first, second, ... time that each place is reached, each time in a new run, which then goes on."""
    train(recipe, folder / "whole")
    whole = results(folder / "whole")
    deaths = dict.fromkeys(PLACES, 0)
    for name in PLACES:
        for nth in range(1, times + 1):
            run = folder / "run"
            code = fork(lambda: work(recipe, name, nth, run))  # noqa: B023 - it ends before the next
            deaths[name] += code == -signal.SIGKILL
            assert code in (0, -signal.SIGKILL), f"exit code {code}"
            assert fork(lambda: train(recipe, run)) == 0, f"killed at {name} ({nth}), it did not go on"  # noqa: B023
            assert results(run) == whole, f"killed at {name} ({nth}), it differs"
            left = [p.name for p in run.rglob(".nyala-tmp-*")]
            assert not left, f"killed at {name} ({nth}), {left} are left"
            shutil.rmtree(run)
    return deaths


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=0, help="at random moments")
    parser.add_argument("--seed", type=int, default=0, help="of these moments")
    parser.add_argument("--places", type=int, default=0, help="kill so often at each named place")
    given = parser.parse_args()
    made = {"random": at_random(given.recipe, given.folder, given.kills, given.seed)} if given.kills else {}
    if given.places:
        made = {"places": at_places(given.recipe, given.folder, given.places)}
    print(json.dumps(made))


if __name__ == "__main__":
    main()
