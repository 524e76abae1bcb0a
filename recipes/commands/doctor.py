"""``nyala doctor``: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import argparse

from .shared import console

NAME = "doctor"
HELP = "check this machine: Python, BLAS, threads, cache, disk, GPU, network"
EXAMPLES = """  nyala doctor
  nyala doctor --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Doctor takes no arguments of its own."""


def execute(args: argparse.Namespace) -> int:
    from .. import doctor

    checks = doctor.examine()
    if args.json:
        console.emit({"checks": [check.as_json() for check in checks]})
        return 0
    for check in checks:
        print(f"{check.state:4}  {check.name:10} {check.finding}")
        if check.remedy:
            print(f"{'':17}-> {check.remedy}")
    return 0
