"""The catalogue: every card of every domain, by name. Offline, and without importing any domain."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from ..core.errors import ArgumentError, DataError, UnknownNameError, did_you_mean, nearest
from .cards import Card, read_card
from .pipeline import TASKS
from .quota import parse_size
from .registry import ARCHITECTURES
from .storage import cache_folder

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
    max_size: int | str | None = None,
    metric: str | None = None,
    at_least: float | None = None,
    offline: bool = False,
) -> list[Card]:
    """The cards that fit every filter given, sorted by domain and name, or by ``metric``. Works offline.

    Args:
        pattern: shell pattern over name and aliases, upper and lower case alike, e.g. ``"resnet*"``.
        task: e.g. ``"image-classification"``.
        domain: ``"vision"``, ``"audio"`` or ``"text"``.
        license: SPDX identifier, upper and lower case alike.
        architecture: registry name, with or without its layout: ``"timm:resnet18"`` or ``"resnet18"``.
        max_params: at most this many parameters.
        max_size: at most this many bytes to fetch, also in words: ``"50MB"``. Where a card gives no sizes, four bytes a
            parameter count.
        metric: only cards that publish it, the largest value first, e.g. ``"imagenet_top1"``.
        at_least: a value of ``metric`` of at least this.
        offline: only cards whose files are on this machine.

    Raises:
        UnknownNameError: no such task, domain, licence, architecture or metric in the catalogue; names the nearest.
        ArgumentError: ``max_size`` is no size, or ``at_least`` comes without ``metric``.

    Example:
        >>> import nyala
        >>> [card.name for card in nyala.list_models("resnet*", max_params=20_000_000)]
        ['resnet18.a1_in1k']
        >>> [card.name for card in nyala.list_models(metric="imagenet_top1", at_least=76)]
        ['resnet50.a1_in1k']
    """
    _require_known(task=task, domain=domain, license=license, architecture=architecture, metric=metric)
    if at_least is not None and metric is None:
        raise ArgumentError(f"at_least={at_least} says nothing without a metric", fix="name a metric, e.g. imagenet_top1")
    limit = parse_size(max_size, "the largest size") if isinstance(max_size, str) else max_size
    chosen = []
    for card in _catalogue().values():
        names = [name.casefold() for name in card.names]
        wanted = [
            pattern is None or any(fnmatchcase(name, pattern.casefold()) for name in names),
            task is None or card.task == task,
            domain is None or card.domain == domain,
            license is None or card.license.casefold() == license.casefold(),
            architecture is None or architecture in _architectures(card),
            max_params is None or card.params <= max_params,
            limit is None or card.download_size <= limit,
            metric is None or metric in _numbers(card),
            metric is None or at_least is None or _numbers(card).get(metric, at_least - 1) >= at_least,
        ]
        if all(wanted) and (not offline or is_cached(card)):
            chosen.append(card)
    return sorted(chosen, key=lambda card: -_numbers(card)[metric]) if metric is not None else chosen


def is_cached(card: Card) -> bool:
    """Whether the card's files are on this machine, so that it loads without a network."""
    from .sources import open_source

    beside = Path(card.path).parent
    return any(open_source(spec, cache_folder(), beside).present() is not None for spec in card.sources)


def _numbers(card: Card) -> dict[str, float]:
    return {name: value for name, value in card.metrics.items() if isinstance(value, (int, float))}


def _architectures(card: Card) -> tuple[str, str]:
    return card.architecture, card.architecture.partition(":")[2]


def _require_known(*, license: str | None, **asked: str | None) -> None:
    """Refuse a filter that no card can ever fit: it is a slip of the pen."""
    cards = _catalogue().values()
    known: dict[str, Callable[[], Collection[str]]] = {
        "task": _tasks,
        "domain": lambda: _DOMAINS,
        "architecture": lambda: {*ARCHITECTURES, *(a.partition(":")[2] for a in ARCHITECTURES)},
        "metric": lambda: {name for card in cards for name in _numbers(card)},
    }
    for kind, name in asked.items():
        names = sorted(known[kind]())
        if name is not None and not any(fnmatchcase(name, pattern) for pattern in names):
            fix = did_you_mean(name, names) or f"use one of {', '.join(names)}"
            raise UnknownNameError(f"no {kind} is called {name!r}", fix=fix)
    licences = {card.license.casefold(): card.license for card in cards}
    if license is not None and license.casefold() not in licences and (near := did_you_mean(license, licences.values())):
        raise UnknownNameError(f"no card has the licence {license!r}", fix=near)  # one unlike all others may well exist


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
