"""``nyala show``: a model's card, or a recipe with the origin of each value."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import console

NAME = "show"
HELP = "show a model's card, or a recipe with the origin of each value"
EXAMPLES = """  nyala show tf_efficientnet_lite0
  nyala show vision/fashion-lite0 optim.lr=0.01
  nyala show runs/fashion-lite0-1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a model, a recipe, a .toml file, or a run folder")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for a recipe: overrides to apply")


def execute(args: argparse.Namespace) -> int:
    from ...core.errors import UnknownNameError, did_you_mean
    from .. import catalog, config, names, resolved
    from .. import run as runs

    folder = Path(args.name)
    if (folder / runs.RECIPE).is_file():
        loaded = runs.open_run(folder, args.overrides).loaded
    elif args.name in catalog.names() or args.name.endswith(".toml"):
        loaded = config.load(args.name, args.overrides)
    elif args.name in names.models():
        return _card(args)
    else:
        known = [*catalog.names(), *names.models()]
        fix = did_you_mean(args.name, known) or "`nyala list` shows models and recipes"
        raise UnknownNameError(f"nothing is called {args.name!r}", fix=fix)
    if args.json:
        console.emit(resolved.to_json(loaded))
    else:
        print(resolved.to_toml(loaded), end="")
    return 0


def _card(args: argparse.Namespace) -> int:
    import msgspec

    from ...hub.catalogue import find

    card = msgspec.to_builtins(find(args.name))
    if args.json:
        console.emit(card)
        return 0
    for key, value in _lines(card):
        print(f"{key:24} {value}")
    return 0


def _lines(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """The card flat; a long list, such as a thousand labels, is cut short."""
    for key, value in tree.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _lines(value, here)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield from _lines({str(i): item for i, item in enumerate(value, 1)}, here)
        elif isinstance(value, list | tuple) and len(value) > 8:
            yield here, f"{', '.join(map(str, value[:4]))}, ... ({len(value)})"
        elif value not in (None, "", (), [], 0):
            yield here, value
