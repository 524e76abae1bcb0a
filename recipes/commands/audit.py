"""``nyala audit``: holds every card against the hub."""

from __future__ import annotations

import argparse

from .shared import console

NAME = "audit"
HELP = "check what the cards say against the hub: repository, commit, sizes, hashes, licence"
EXAMPLES = """  nyala audit                         every card
  nyala audit resnet18 resnet50
  nyala audit --json                  with what the hub states of each file"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="cards to check (default: all)")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...core.progress import progress_enabled
    from ...hub.auditing import audit
    from ...hub.catalogue import find, list_models

    cards = list({card.name: card for card in map(find, args.names)}.values()) if args.names else list_models()
    found = audit(cards, console.say if progress_enabled() else lambda line: None)  # noqa: ARG005 - says nothing
    if args.json:
        console.emit(found.as_json())
    else:
        print(found)
    return 0 if found.right else 1
