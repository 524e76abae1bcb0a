"""``nyala list``: the models of the catalogue and the built-in recipes."""

from __future__ import annotations

import argparse
import shutil

from . import console

NAME = "list"
HELP = "list models and recipes; works offline"
EXAMPLES = """  nyala list
  nyala list "resnet*"
  nyala list --task image-classification --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", help="shell pattern over names, e.g. 'resnet*'")
    parser.add_argument("--task", help="only models for this task, e.g. image-classification")
    parser.add_argument("--domain", choices=["vision", "audio", "text"], help="only this domain")


def execute(args: argparse.Namespace) -> int:
    from fnmatch import fnmatchcase

    from ...core.errors import did_you_mean
    from ...hub.catalogue import list_models
    from ...hub.results import table
    from .. import catalog, config

    cards = list_models(args.pattern, task=args.task, domain=args.domain)
    recipes = [n for n in catalog.names() if fnmatchcase(n, args.pattern or "*") and n.startswith(args.domain or "")]
    loaded = [config.load(name) for name in recipes if not args.task]
    if args.json:
        models = [
            {
                "name": c.name,
                "task": c.task,
                "domain": c.domain,
                "architecture": c.architecture,
                "params": c.params,
                "license": c.license,
            }
            for c in cards
        ]
        found = [
            {"name": r.name, "description": r.recipe.description, "model": r.recipe.model.name, "data": r.recipe.data.name}
            for r in loaded
        ]
        console.emit({"models": models, "recipes": found})
        return 0
    width = shutil.get_terminal_size().columns
    rows = [[c.name, c.task, f"{c.params / 1e6:.1f} M", c.license] for c in cards]
    tables = [table(["model", "task", "parameters", "licence"], rows)] if rows else []
    if loaded:
        tables.append(table(["recipe", "what it does"], [[r.name, r.recipe.description] for r in loaded], width))
    if tables:
        print("\n\n".join(tables))
    else:
        known = [*catalog.names(), *(name for card in list_models() for name in card.names)]
        console.say(f"nothing fits; {did_you_mean(args.pattern or '', known) or '`nyala list` alone shows everything'}")
    return 0
