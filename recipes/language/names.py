"""Looks up the names a recipe uses before anything is loaded, so that a misspelt one is listed with the other mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core.errors import did_you_mean
from .check import Problem, unknown_name

DATASETS = (
    "digit-strings",
    "drawn-shapes",
    "fashion-mnist-sample",
    "fashion-mnist",
    "mnist",
    "kmnist",
    "cifar10",
    "cifar100",
    "svhn",
    "oxford-pets",
    "flowers-102",
    "food-101",
    "fashion-scenes",
    "spam-sample",
    "mail-marks",
    "mail-questions",
    "mail-subjects",
    "mail-summaries",
    "mail-texts",
    "mail-topics",
    "spoken-numbers",
    "spoken-words",
    "voices",
)
_HUB_ID = re.compile(r"[\w.\-]+/[\w.\-]+(@[\w.\-/]+)?")


def unknown(tree: Mapping[str, Any]) -> Iterator[Problem]:
    """The dataset and model names in ``tree`` that nothing answers to."""
    for key in ("name", "validation", "test"):
        value = _text(tree, "data", key)
        if value is not None and not _is_data(value):
            yield _no_data(f"data.{key}", value)
    value = _text(tree, "model", "name")
    if value is not None and not _is_model(value):
        yield unknown_name("model.name", value, models(), "a hub id (org/name), a folder, or a name that `nyala list` shows")


def is_registered(table: str, name: str) -> bool:
    """Whether ``name`` is a dataset's or a model's own name, which wins over a folder called the same."""
    return name in (DATASETS if table == "data" else models())


def models() -> list[str]:
    """The catalogue's model names."""
    from ...hub.catalogue import list_models

    return [name for card in list_models() for name in card.names]


def _no_data(key: str, value: str) -> Problem:
    path = Path(value).expanduser()
    if len(path.parts) < 2 and not path.suffix:
        fix = f"a folder, a .csv or .jsonl file, a hub dataset (org/name), or one of {', '.join(DATASETS)}"
        return unknown_name(key, value, list(DATASETS), fix)
    around = path.parent if path.parent.is_dir() else None
    beside = [other.name for other in around.iterdir()] if around is not None else []
    hint = did_you_mean(path.name, beside) if around is not None else f"there is no folder {path.parent} either"
    return Problem(key, f"there is no file or folder {value}", hint or "check the path")


def _is_data(name: str) -> bool:
    return name in DATASETS or Path(name).expanduser().exists() or is_hub_id(name)


def is_hub_id(name: str) -> bool:
    """Whether ``name`` can be ``org/name[@revision]`` of a hub, and is no misspelt path: its first part is no folder here.

    Example:
        >>> is_hub_id("stanfordnlp/imdb"), is_hub_id("./pictures/cats"), is_hub_id("mails.csv")
        (True, False, False)
    """
    return bool(_HUB_ID.fullmatch(name)) and not name.startswith(".") and not Path(name.partition("/")[0]).exists()


def _is_model(name: str) -> bool:
    from ...hub.bundled import is_bundle_name, split_name

    bundled = is_bundle_name(name) and split_name(name)[0].is_file()
    return bundled or Path(name).expanduser().is_dir() or bool(_HUB_ID.fullmatch(name)) or name in models()


def _text(tree: Mapping[str, Any], table: str, key: str) -> str | None:
    inside = tree.get(table)
    value = inside.get(key) if isinstance(inside, Mapping) else None
    return value if isinstance(value, str) else None
