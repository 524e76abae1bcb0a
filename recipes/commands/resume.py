"""``nyala resume``: goes on with a run that was stopped, as if it had not been."""

from __future__ import annotations

import argparse
from pathlib import Path

from .run import carry_out, carry_out_folds

NAME = "resume"
HELP = "go on with an interrupted run; it ends with the bytes of an uninterrupted one"
EXAMPLES = """  nyala resume runs/fashion-lite0-1
  nyala resume runs/fashion-lite0-1 data.workers=4
  nyala resume runs/pets-1 data.name=/mnt/pets     the data lie elsewhere now: their hashes are compared"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="the run folder, or that of a cross-validation")
    allowed = "only keys that cannot change a result (data.workers), and where data and weights lie now (data.name, model.name)"
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=allowed)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ..folder import run as runs
    from ..training import crossval

    if crossval.is_group(args.run):
        return carry_out_folds(Path(args.run).expanduser().resolve(), args)
    return carry_out(runs.open_run(args.run, args.overrides), args)
