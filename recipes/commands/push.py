"""``nyala push``: a finished run, or a folder with a model, onto a model hub."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ...core.errors import ArgumentError
from .shared import console

if TYPE_CHECKING:
    from ...hub.pushing import Plan

NAME = "push"
HELP = "upload a finished run to a model hub: weights, configuration, model card and proof"
EXAMPLES = """  nyala push runs/fashion-lite0-1 me/fashion-lite0 --dry-run     show exactly what would go
  nyala push runs/fashion-lite0-1 me/fashion-lite0 --private
  nyala push runs/spam-minilm-1 my-org/spam --revision trial --message "Second try" --yes

Log in first with `hf auth login`, or set HF_TOKEN to a token that may write."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN_OR_FOLDER", help="the folder of a finished run, or one with weights and config.json")
    parser.add_argument("repo", metavar="ORG/NAME", help="the repository; it is made where it does not exist")
    parser.add_argument("--private", action="store_true", help="make a new repository private; refuse one that is public")
    parser.add_argument("--revision", default="main", metavar="BRANCH", help="the branch; it is made where it does not exist")
    parser.add_argument("--message", default="", help="of the commit")
    parser.add_argument("--license", default="", metavar="ID", help="of the result, e.g. apache-2.0; by default that of the base")
    parser.add_argument("--dry-run", action="store_true", help="only show what would go; needs no token")
    parser.add_argument("--yes", action="store_true", help="do not ask before uploading")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...hub.pushing import push

    interactive = sys.stdin is not None and sys.stdin.isatty()
    if not (args.dry_run or args.yes or interactive):
        raise ArgumentError(
            f"pushing to {args.repo} needs your word for it",
            why="nobody is at the terminal to ask",
            fix="add --yes, or --dry-run",
        )
    result = push(
        args.run,
        args.repo,
        private=args.private,
        revision=args.revision,
        message=args.message,
        license=args.license,
        dry_run=args.dry_run,
        confirm=None if args.dry_run or args.yes else _ask,
    )
    if args.json:
        console.emit(result.to_dict())
    elif args.dry_run:
        print(result.plan)
        print("nothing was uploaded: this was a dry run")
    elif not result.commit:
        console.say("nothing was uploaded")
    else:
        _print_done(result.plan, result.url)
    return 0


def _ask(plan: Plan) -> bool:
    console.say(str(plan))
    console.say("Upload? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _print_done(plan: Plan, url: str) -> None:
    if plan.changed:
        print(f"uploaded     {len(plan.changed)} of {len(plan.files)} files, {plan.size:,} bytes")
    else:
        print("uploaded     nothing: the repository holds all of it already")
    for note in plan.notes:
        print(f"note         {note}")
    print(f"commit       {url}")
    print(f'use it       nyala.load("{plan.repo}{"" if plan.revision == "main" else "@" + plan.revision}")')
