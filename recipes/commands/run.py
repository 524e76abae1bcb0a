"""``nyala run``: a recipe from weights to report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import NyalaError
from .shared import console
from .shared.device import add_device, with_device

if TYPE_CHECKING:
    from ..folder.run import Run

NAME = "run"
HELP = "run a recipe: fetch the weights, fine-tune, evaluate, write a run folder"
EXAMPLES = """  nyala run vision/fashion-lite0
  nyala run vision/fashion-lite0 data.name=fashion-mnist train.epochs=5
  nyala run text/spam-minilm optim.type=sgd optim.lr=0.01 --folder runs/sgd
  nyala run text/spam-minilm --folds data.folds=5 data.name=mails.jsonl
  nyala run my-recipe.toml --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a built-in recipe (`nyala list`) or a .toml file")
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="TOML values over the recipe's own, e.g. optim.lr=0.01"
    )
    parser.add_argument("--folder", help="the run folder; by default runs/<recipe>-<n>")
    parser.add_argument(
        "--folds", action="store_true", help="cross-validate: run all folds of data.folds, and print mean and deviation"
    )
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ..folder import run as runs
    from ..language import config
    from ..training import crossval

    if args.folds:
        return carry_out_folds(crossval.create(args.recipe, with_device(args), args.folder), args)
    loaded = config.load(args.recipe, with_device(args))
    run = runs.create(loaded, args.folder)
    try:
        return carry_out(run, args)
    except NyalaError:
        runs.discard_unbegun(run)
        raise


def carry_out(run: Run, args: argparse.Namespace) -> int:
    """Trains ``run`` to its end, or goes on with it, and prints the result."""
    from .. import progress
    from ..training import trainer

    console.running(run.folder)
    with progress.choose(quiet=args.quiet) as show:
        metrics = trainer.train(run, show)
    if args.json:
        console.emit({"run": str(run.folder), "metrics": metrics})
    else:
        _print(run, metrics)
    return 0


def carry_out_folds(group: Path, args: argparse.Namespace) -> int:
    """Trains all folds of a cross-validation, or the rest of them, and prints their scores."""
    from .. import progress
    from ..training import crossval

    console.running(group)
    with progress.choose(quiet=args.quiet) as show:
        found = crossval.carry_out(group, show)
    if args.json:
        console.emit(found.as_json())
    else:
        print(found)
        print(f"run folders    {group}")
        print(f"compare them   nyala report {group}/fold-*")
    return 0


def _print(run: Run, metrics: dict[str, Any]) -> None:
    from ..training import scores

    known = [name for name in metrics if name not in ("weights_step", "loss")]
    first = next(name for name in ("accuracy", "f1", "map", *known, "loss") if name in metrics)
    others = [f"{scores.title(name)} {value:.4f}" for name, value in metrics.items() if name not in (first, "weights_step")]
    print(f"{'test ' + scores.title(first):<15}{metrics[first]:.4f}   ({', '.join(others)})")
    print(f"run folder     {run.folder}")
    print(f"report         {run.folder / 'report.html'}")
    print(f"use it         nyala predict {run.folder} INPUT")
