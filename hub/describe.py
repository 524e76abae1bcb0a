"""A card as text for people: what the model is, what it takes, where it comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from .cards import Card, SourceSpec
from .quota import in_words

_LEFT = 15  # columns of the names


def describe(card: Card, width: int = 80) -> str:
    """A card as lines of at most ``width`` columns, hashes and paths alone excepted.

    Example:
        >>> from nyala.hub.catalogue import find
        >>> print(describe(find("resnet18")).splitlines()[0])
        resnet18.a1_in1k: ResNet-18, ImageNet-1k, recipe A1
    """
    facts = {
        "task": f"{card.task} ({card.domain})",
        "architecture": card.architecture,
        "parameters": f"{card.params:,}; {'' if card.size else 'about '}{in_words(card.download_size)} to fetch",
        "licence": card.license,
        "citation": card.citation,
        "also called": ", ".join(card.aliases),
        "labels": _labels(card.label_names()),
        "preprocessing": "; ".join(f"{name} {_value(value)}" for name, value in card.preprocessing.items()),
        "published": _metrics(card.metrics),
    }
    lines = [*textwrap.wrap(f"{card.name}: {card.title}", width, break_on_hyphens=False), *textwrap.wrap(card.summary, width), ""]
    for name, value in facts.items():
        lines += _fact(name, value, width)
    lines += ["", "sources, tried in this order:"]
    for number, source in enumerate(card.sources, 1):
        lines += _source(number, source)
    return "\n".join(lines)


def _fact(name: str, value: str, width: int) -> list[str]:
    if not value:
        return []
    right = textwrap.wrap(value, width - _LEFT, break_long_words=False, break_on_hyphens=False)
    return [f"{name if i == 0 else '':{_LEFT}}{line}" for i, line in enumerate(right)]


def _labels(names: list[str]) -> str:
    few = ", ".join(name.partition(",")[0] for name in names[:3])  # ImageNet's have synonyms behind commas
    return f"{len(names)}: {few}, ..." if len(names) > 3 else few


def _metrics(metrics: Mapping[str, float | str]) -> str:
    where = metrics.get("published_in", "")
    numbers = ", ".join(f"{name} {_value(value)}" for name, value in metrics.items() if name != "published_in")
    return f"{numbers} ({where})" if where and numbers else f"{where}{numbers}"


def _value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " x ".join(map(str, value)) if all(type(v) is int for v in value) else " ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _source(number: int, source: SourceSpec) -> Iterator[str]:
    yield f"{number}. {source.label}"
    yield f"   {'each file has the sha256 below it' if source.verified else _unverified(source)}"
    for name, file in source.files.items():
        if source.verified:
            yield f"     {name}  {file.size:,} bytes" if file.size else f"     {name}"
            yield f"       {file.sha256}"


def _unverified(source: SourceSpec) -> str:
    if source.kind != "hub":
        return "without hashes"
    return f"commit {source.commit}" if source.commit else f"the commit that {source.revision!r} is when it is first fetched"
