"""What ``nyala plan`` predicts beside what runs then take: peak memory above the import, and time.

    python -m tests.benchmarks.plan                    all rows
    python -m tests.benchmarks.plan 'text/*' --json out.json

Each row is planned, and then run in a process of its own on part of its data. Memory is the most that the process held, less
what it held when nyala had been imported. Times are of one update with its loading, of all processors together (which says more
on a machine that others use too) and by the clock, and of the whole run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

VISION, TEXT = "vision/fashion-lite0", "text/spam-minilm"
_HEAD = ('model.freeze=["*"]', 'model.unfreeze=["@head"]')
_SHORT = ("train.epochs=1", "schedule.warmup=0")
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "vision/full b32": (VISION, ("data.batch_size=32", "data.limit_train=960")),
    "vision/full b8": (VISION, ("data.batch_size=8", "data.limit_train=320")),
    "vision/head b64": (VISION, ("data.batch_size=64", "data.limit_train=1600", *_HEAD)),
    "vision/lora b16": (
        VISION,
        ("data.batch_size=16", "data.limit_train=480", "model.adapter.type=lora", 'model.adapter.targets=["*.conv_pw*"]'),
    ),
    "vision/accumulated b8x4": (VISION, ("data.batch_size=8", "train.accumulate=4", "data.limit_train=640")),
    "text/full b8": (TEXT, ("data.batch_size=8", "data.limit_train=240")),
    "text/full b4": (TEXT, ("data.batch_size=4", "data.limit_train=160")),
    "text/head b32": (TEXT, ("data.batch_size=32", "data.limit_train=800", *_HEAD, 'model.unfreeze=["@head", "bert.pooler"]')),
    "text/lora b16": (TEXT, ("data.batch_size=16", "data.limit_train=320", "model.adapter.type=lora")),
    "text/checkpointed b16": (TEXT, ("data.batch_size=16", "data.limit_train=320", "train.checkpointing=true")),
}


def run_once(recipe: str, overrides: list[str]) -> dict[str, float]:
    """Carries a run out in this process: bytes above the import, seconds of an update, seconds altogether."""
    from nyala.recipes.folder import run as runs
    from nyala.recipes.language import config
    from nyala.recipes.plan import memory
    from nyala.recipes.training import trainer

    start = memory.held()
    with tempfile.TemporaryDirectory() as folder:
        run = runs.create(config.load(recipe, overrides), Path(folder) / "run")
        began = time.perf_counter()
        seen: list[tuple[float, float]] = []
        trainer.train(run, before_update=lambda _: seen.append((time.perf_counter(), time.process_time())))
        taken = time.perf_counter() - began
        peak = memory.most() - start
    (first, last), steps = (seen[min(2, len(seen) - 2)], seen[-1]), len(seen) - 1 - min(2, len(seen) - 2)
    clock, work = ((b - a) / steps for a, b in zip(first, last, strict=True))
    return {"memory": peak, "step": clock, "worked": work, "total": taken}


def row(name: str) -> dict[str, Any]:
    """Predicted and measured figures of one row."""
    from nyala.recipes.language import config
    from nyala.recipes.plan import plan

    recipe, overrides = ROWS[name]
    given = [*overrides, *_SHORT]
    predicted = plan(config.load(recipe, given))
    command = [sys.executable, "-m", "tests.benchmarks.plan", "--run", recipe, *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    return {
        "row": name,
        "predicted": {
            "memory": predicted.peak - predicted.start,
            "step": predicted.step,
            "worked": predicted.worked,
            "total": predicted.total,
        },
        "measured": measured,
    }


def shown(figures: dict[str, Any]) -> str:
    """One line of the table."""
    parts = []
    for key, unit, scale in (("memory", "MB", 1e6), ("worked", "s", 1.0), ("step", "s", 1.0), ("total", "s", 1.0)):
        one, other = figures["predicted"][key] / scale, figures["measured"][key] / scale
        digits = 3 if unit == "s" and other < 10 else 0
        parts.append(f"{one:>9.{digits}f} {other:>9.{digits}f} {unit} {one / other - 1:>+5.0%}")
    return f"{figures['row']:<26}" + "  |".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=["*"], help="patterns of row names")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        print(json.dumps(run_once(args.rows[0], args.rows[1:])))
        return
    print(
        f"{'predicted, measured, off by':<26}{'memory':>20}{'processors, an update':>35}{'clock, an update':>26}{'whole run':>25}"
    )
    found = []
    for name in ROWS:
        if any(fnmatchcase(name, pattern) for pattern in args.rows):
            found.append(row(name))
            print(shown(found[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
