"""``nyala verify``: repeats a run and compares every bit."""

from __future__ import annotations

import argparse

from . import console

NAME = "verify"
HELP = "repeat a run and say whether every bit is the same, or which step differs first"
EXAMPLES = """  nyala verify runs/fashion-lite0-1
  nyala verify runs/fashion-lite0-1 --steps 20     only the first 20 steps"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", help="the run folder")
    parser.add_argument("--steps", type=_positive, help="repeat only this many steps")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from .. import progress, verify

    with progress.choose(quiet=args.quiet) as show:
        result = verify.verify(args.run, show, steps=args.steps)
    if args.json:
        console.emit(result.as_json())
    else:
        print(result)
    return 0 if result.equal else 1


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
