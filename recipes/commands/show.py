"""``nyala show``: a model's card, or a recipe with the origin of each value."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from . import console, recipes

NAME = "show"
HELP = "show a model's card, or a recipe with the origin of each value"
EXAMPLES = """  nyala show tf_efficientnet_lite0
  nyala show vision/fashion-lite0 optim.lr=0.01
  nyala show runs/fashion-lite0-1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a model, a recipe, a .toml file, or a run folder")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="for a recipe: overrides to apply")


def execute(args: argparse.Namespace) -> int:
    from ...core.errors import UnknownNameError, did_you_mean
    from .. import catalog, names

    loaded = recipes.find(args.name, args.overrides)
    if loaded is not None:
        return recipes.show(loaded, args.json)
    if args.name in names.models():
        return _card(args)
    known = [*catalog.names(), *names.models()]
    what = f"the folder {args.name} is no run" if Path(args.name).is_dir() else f"nothing is called {args.name!r}"
    raise UnknownNameError(what, fix=did_you_mean(args.name, known) or "`nyala list` shows models and recipes")


def _card(args: argparse.Namespace) -> int:
    import msgspec

    from ...core.errors import ArgumentError
    from ...hub.catalogue import find
    from ...hub.describe import describe

    if args.overrides:
        raise ArgumentError(f"{args.name} is a model", why=f"{args.overrides[0]} is for recipes", fix="leave it out")
    card = find(args.name)
    if args.json:
        console.emit(msgspec.to_builtins(card))
    else:
        print(describe(card, min(shutil.get_terminal_size().columns, 100)))
    return 0
