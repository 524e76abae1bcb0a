"""``nyala show``: a model's card, or a recipe with the origin of each value."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from . import recipes
from .shared import console

NAME = "show"
HELP = "show a model's card, or a recipe with the origin of each value"
EXAMPLES = """  nyala show tf_efficientnet_lite0
  nyala show google-bert/bert-base-uncased     a repository of a model hub: licence, files, hashes
  nyala show vision/fashion-lite0 optim.lr=0.01
  nyala show runs/fashion-lite0-1
  nyala show models.nyala                      what is in a bundle; models.nyala#NAME shows one card"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a model, a recipe, a .toml file, a run folder, a bundle, or a hub id org/name[@revision]")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="for a recipe: overrides to apply")


def execute(args: argparse.Namespace) -> int:
    from ...core.errors import UnknownNameError, did_you_mean
    from ...hub.bundled import is_bundle_name
    from .. import catalog
    from ..language import names

    loaded = recipes.find(args.name, args.overrides)
    if loaded is not None:
        return recipes.show(loaded, args.json)
    if is_bundle_name(args.name):
        return _bundle(args)
    if args.name.partition("@")[0] in names.models():
        return _card(args)
    if _may_be_on_a_hub(args.name):
        return _repository(args)
    known = [*catalog.names(), *names.models()]
    what = f"the folder {args.name} is no run" if Path(args.name).is_dir() else f"nothing is called {args.name!r}"
    raise UnknownNameError(what, fix=did_you_mean(args.name, known) or "`nyala list` shows models and recipes")


def _bundle(args: argparse.Namespace) -> int:
    """What is in a bundle, or the card of one model of it."""
    import msgspec

    from ...hub.bundled import open_bundle, split_name
    from ...hub.describe import describe
    from ...hub.results import table

    path, wanted = split_name(args.name)
    bundle = open_bundle(path)
    card = bundle.card(bundle.model(wanted).name) if wanted else None
    if args.json:
        console.emit(msgspec.to_builtins(card if card else bundle.manifest))
    elif card is not None:
        print(describe(card, min(shutil.get_terminal_size().columns, 100)))
    else:
        rows = []
        for name in [bundle.model(wanted).name] if wanted else bundle.names:
            files, packed = bundle.files(name), bundle.model(name).packed
            size = sum(files.size(file) for file in files)
            rows.append([name, packed.origin, packed.revision[:12], packed.license or "?", len(files), f"{size:,}"])
        print(table(["model", "from", "revision", "licence", "files", "bytes"], rows))
    return 0


def _may_be_on_a_hub(name: str) -> bool:
    """Whether it has the form ``org/name[@revision]`` and is no path here and no recipe's name that was mistyped."""
    from ...hub.client import is_hub_id
    from .. import catalog

    folder = name.partition("/")[0]
    return is_hub_id(name) and not Path(folder).is_dir() and folder not in {known.partition("/")[0] for known in catalog.names()}


def _repository(args: argparse.Namespace) -> int:
    from ...core.errors import ArgumentError
    from ...hub.client import resolve
    from ...hub.remote import look_up

    if args.overrides:
        raise ArgumentError(f"{args.name} is no recipe", why=f"{args.overrides[0]} is for recipes", fix="leave it out")
    found = look_up(resolve(args.name))
    if args.json:
        console.emit(found.as_json())
    else:
        print(found)
    return 0


def _card(args: argparse.Namespace) -> int:
    import msgspec

    from ...core.errors import ArgumentError
    from ...hub.catalogue import find
    from ...hub.describe import describe

    if args.overrides:
        raise ArgumentError(f"{args.name} is a model", why=f"{args.overrides[0]} is for recipes", fix="leave it out")
    card = find(args.name.partition("@")[0])
    if args.json:
        console.emit(msgspec.to_builtins(card))
    else:
        print(describe(card, min(shutil.get_terminal_size().columns, 100)))
    return 0
