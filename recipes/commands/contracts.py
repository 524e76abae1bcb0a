"""``nyala contracts``: whether a model keeps the promises that training, saving and serving rely on."""

from __future__ import annotations

import argparse
import shutil

from .shared import console

NAME = "contracts"
HELP = "check a model's promises: accumulation, padding, batches, saving, checkpointing, adapters, export"
EXAMPLES = """  nyala contracts all-MiniLM-L6-v2
  nyala contracts runs/fashion-lite0-1 --only accumulation,saving
  nyala contracts tf_efficientnet_lite0 --json      exit code 1 where a promise is broken"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a catalogue name, a hub id, a folder, or a run folder")
    parser.add_argument(
        "--only",
        metavar="NAME,...",
        help="only these: evaluation, training, gradients, accumulation, batch, padding, saving, checkpointing, lora, export",
    )
    parser.add_argument("--seed", type=int, default=0, help="what the batch is drawn by (0)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...hub.results import table
    from .. import progress
    from ..judging import contracts

    chosen = [name.strip() for name in args.only.split(",") if name.strip()] if args.only else None
    with progress.choose(quiet=args.quiet) as show:
        found = contracts.check(args.name, only=chosen, seed=args.seed, progress=show)
    if args.json:
        console.emit({"model": args.name, **found.as_json()})
    else:
        rows = [[v.name, v.state, v.reason] for v in found]
        print(table(["contract", "verdict", "why"], rows, max(60, shutil.get_terminal_size().columns)))
        broken = sum(v.state == "fail" for v in found)
        print(f"\n{broken} of {len(found)} contracts broken" if broken else f"\n{args.name} keeps all that apply")
    return 0 if found.ok else 1
