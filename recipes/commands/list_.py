"""``nyala list``: the models of the catalogue and the built-in recipes."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING, Any

from .shared import console

if TYPE_CHECKING:
    from ...hub.cards import Card

NAME = "list"
HELP = "list models and recipes; works offline"
EXAMPLES = """  nyala list
  nyala list "resnet*"
  nyala list --task image-classification --max-size 50MB --json
  nyala list --metric imagenet_top1 --at-least 75      best first
  nyala list --offline                                 what loads without a network"""

_OF_MODELS = ("task", "license", "architecture", "max_params", "max_size", "metric", "at_least", "offline")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", help="shell pattern over names, e.g. 'resnet*'")
    parser.add_argument("--domain", choices=["vision", "audio", "text"], help="only this domain")
    models = parser.add_argument_group("models only (recipes are then left out)")
    models.add_argument("--task", help="for this task, e.g. image-classification")
    models.add_argument("--licence", "--license", dest="license", metavar="SPDX", help="with this licence, e.g. Apache-2.0")
    models.add_argument("--architecture", metavar="NAME", help="of this architecture, e.g. resnet18 or transformers:bert")
    models.add_argument("--max-size", metavar="SIZE", help="at most this much to fetch, e.g. 50MB")
    models.add_argument("--max-params", metavar="N", help="at most this many parameters, e.g. 20M")
    models.add_argument("--metric", metavar="NAME", help="that publish this metric, best first, e.g. imagenet_top1")
    models.add_argument("--at-least", type=float, metavar="X", help="with a value of the metric of at least this")
    models.add_argument("--offline", action="store_true", help="whose files are on this machine")


def execute(args: argparse.Namespace) -> int:
    from fnmatch import fnmatchcase

    from ...hub.catalogue import list_models
    from ...hub.quota import parse_size
    from .. import catalog
    from ..language import config

    wanted = {name: getattr(args, name) for name in _OF_MODELS}
    if args.max_params is not None:
        wanted["max_params"] = parse_size(args.max_params, "--max-params")  # 20M is twenty million here too
    cards = list_models(args.pattern, domain=args.domain, **wanted)
    of_models = any(value not in (None, False) for value in wanted.values())
    recipes = [n for n in catalog.names() if fnmatchcase(n, args.pattern or "*") and n.startswith(args.domain or "")]
    loaded = [] if of_models else [config.load(name) for name in recipes]
    if args.json:
        found = [
            {"name": r.name, "description": r.recipe.description, "model": r.recipe.model.name, "data": r.recipe.data.name}
            for r in loaded
        ]
        console.emit({"models": [_as_json(card) for card in cards], "recipes": found})
    elif cards or loaded:
        print("\n\n".join(_tables(cards, loaded, args.metric)))
    else:
        _say_nothing_fits(args.pattern, of_models)
    return 0


def _as_json(card: Card) -> dict[str, Any]:
    from ...hub.catalogue import is_cached

    facts = {name: getattr(card, name) for name in ("name", "task", "domain", "architecture", "params", "license", "metrics")}
    return {**facts, "bytes": card.size or None, "cached": is_cached(card)}


def _tables(cards: list[Card], loaded: list[Any], metric: str | None) -> list[str]:
    from ...hub.catalogue import is_cached
    from ...hub.quota import in_words
    from ...hub.results import table

    columns = ["model", "task", "parameters", "to fetch", "licence", "here", *([metric] if metric else [])]
    rows = [
        [
            card.name,
            card.task,
            f"{card.params / 1e6:.1f} M",
            f"{'' if card.size else 'about '}{in_words(card.download_size)}",
            card.license,
            "yes" if is_cached(card) else "no",
            *([f"{card.metrics[metric]:g}"] if metric else []),
        ]
        for card in cards
    ]
    tables = [table(columns, rows)] if rows else []
    if loaded:
        width = shutil.get_terminal_size().columns
        tables.append(table(["recipe", "what it does"], [[r.name, r.recipe.description] for r in loaded], width))
    return tables


def _say_nothing_fits(pattern: str | None, of_models: bool) -> None:
    from ...core.errors import did_you_mean
    from ...hub.catalogue import list_models
    from .. import catalog

    known = [] if of_models else catalog.names()
    near = did_you_mean(pattern or "", [*known, *(name for card in list_models() for name in card.names)])
    console.say(f"nothing fits; {near or 'take a filter away: `nyala list` alone shows everything'}")
