"""The catalogue: every card of every domain, by name. Offline, and without importing any domain."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from ..core.errors import DataError, UnknownNameError, did_you_mean, nearest
from .cards import Card, read_card
from .pipeline import TASKS

_DOMAINS = ("vision", "audio", "text")


def card_paths() -> list[Path]:
    """The card files shipped with nyala, sorted by domain and name."""
    with as_file(files(__package__.rpartition(".")[0])) as root:
        return [path for domain in _DOMAINS for path in sorted((Path(root) / domain / "cards").glob("*.toml"))]


@cache
def _catalogue() -> dict[str, Card]:
    cards: dict[str, Card] = {}
    for path in card_paths():
        card = read_card(path)
        if card.name in cards:
            raise DataError(f"two cards are called {card.name!r}: {cards[card.name].path} and {path}", fix="rename one")
        cards[card.name] = card
    return cards


@cache
def _by_any_name() -> dict[str, Card]:
    names: dict[str, Card] = {}
    for card in _catalogue().values():
        for name in card.names:
            if names.setdefault(name, card) is not card:
                raise DataError(f"{name!r} names both {names[name].name!r} and {card.name!r}", fix="correct one card")
    return names


def _tasks() -> list[str]:
    return sorted({*TASKS, *(card.task for card in _catalogue().values())})


def list_models(
    pattern: str | None = None,
    *,
    task: str | None = None,
    domain: str | None = None,
    license: str | None = None,
    architecture: str | None = None,
    max_params: int | None = None,
) -> list[Card]:
    """The cards that fit every filter given, sorted by domain and name. Works offline.

    Args:
        pattern: shell pattern over name and aliases, upper and lower case alike, e.g. ``"resnet*"``.
        task: e.g. ``"image-classification"``.
        domain: ``"vision"``, ``"audio"`` or ``"text"``.
        license: SPDX identifier, upper and lower case alike.
        architecture: registry name, with or without its layout: ``"timm:resnet18"`` or ``"resnet18"``.
        max_params: at most this many parameters.

    Raises:
        UnknownNameError: no such task or domain; names the nearest.

    Example:
        >>> import nyala
        >>> [card.name for card in nyala.list_models("resnet*", max_params=20_000_000)]
        ['resnet18.a1_in1k']
    """
    for kind, asked, known in (("task", task, _tasks()), ("domain", domain, _DOMAINS)):
        if asked is not None and asked not in known:
            fix = did_you_mean(asked, known) or f"use one of {', '.join(known)}"
            raise UnknownNameError(f"no {kind} is called {asked!r}", fix=fix)
    chosen = []
    for card in _catalogue().values():
        names = [name.casefold() for name in card.names]
        wanted = [
            pattern is None or any(fnmatchcase(name, pattern.casefold()) for name in names),
            task is None or card.task == task,
            domain is None or card.domain == domain,
            license is None or card.license.casefold() == license.casefold(),
            architecture is None or architecture in (card.architecture, card.architecture.partition(":")[2]),
            max_params is None or card.params <= max_params,
        ]
        if all(wanted):
            chosen.append(card)
    return chosen


def find(name: str) -> Card:
    """The card with this name, alias or hub id; exact case first, then any case.

    Raises:
        UnknownNameError: no card has it; the message lists the nearest names.

    Example:
        >>> find("timm/resnet50.a1_in1k").name
        'resnet50.a1_in1k'
    """
    names = _by_any_name()
    if name in names:
        return names[name]
    folded = {known.casefold(): card for known, card in names.items()}
    if name.casefold() in folded:
        return folded[name.casefold()]
    nearest_of: dict[str, str] = {}  # each card once, by the nearest of its names
    for hit in nearest(name, names, count=8):
        nearest_of.setdefault(names[hit].name, hit)
    near = did_you_mean(name, list(nearest_of.values())[:3])
    fix = f"{near} " if near else ""
    raise UnknownNameError(
        f"no model in the catalogue is called {name!r}",
        why=f"it knows {', '.join(sorted(_catalogue()))}",
        fix=f"{fix}`nyala list` shows them; a hub id is org/name, a folder needs a path",
    )
