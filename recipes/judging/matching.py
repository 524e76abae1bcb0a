"""The classes of the data and those of a model, matched by name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, DataError, nearest

LEFT_OUT = -1
_SHOWN = 12


def match(
    data: Sequence[str], model: Sequence[str], mapping: Mapping[str, str] | None = None, where: str = "the data"
) -> np.ndarray:
    """For each class of the data the number of the model's class with that name, int64; ``LEFT_OUT`` where it is left out.

    Names match without regard to case, ``_`` and ``-``; a model's label may be a list of synonyms (``tench, Tinca tinca``),
    any of which will do where only one label has it.

    Args:
        data: names of the data's classes.
        model: names of the model's classes.
        mapping: a class of the data -> a class of the model, or ``"-"`` to leave its samples out.
        where: what messages call the data.

    Raises:
        DataError: classes that the model has not, all of them, each with the nearest.
        ArgumentError: a mapping from or to a name that is not there.

    Example:
        >>> match(["Tiger_cat", "tench"], ["tench, Tinca tinca", "tiger cat"]).tolist()
        [1, 0]
        >>> match(["kitty", "junk"], ["cat", "dog"], {"kitty": "cat", "junk": "-"}).tolist()
        [0, -1]
    """
    mapping = dict(mapping or {})
    names = _names(model)
    _check_mapping(mapping, data, names, where)
    found = [_find(mapping.get(name, name), names) for name in data]
    lost = [name for name, number in zip(data, found, strict=True) if number is None]
    if lost:
        raise DataError(_unmatched(lost, len(data), model, where), why="", fix=_remedy(lost, model))
    return np.array(found, np.int64)


def _find(name: str, names: Mapping[str, int]) -> int | None:
    return LEFT_OUT if name == "-" else names.get(_plain(name))


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _names(model: Sequence[str]) -> dict[str, int]:
    """Every spelling that means one class of the model alone -> its number."""
    whole: dict[str, int] = {}
    for i, label in enumerate(model):
        whole.setdefault(_plain(label), i)
    parts: dict[str, set[int]] = {}
    for i, label in enumerate(model):
        for part in label.split(","):
            parts.setdefault(_plain(part), set()).add(i)
    return {part: next(iter(owners)) for part, owners in parts.items() if part and len(owners) == 1} | whole


def _check_mapping(mapping: Mapping[str, str], data: Sequence[str], names: Mapping[str, int], where: str) -> None:
    for given, target in mapping.items():
        if given not in data:
            known = _near(given, data)
            raise ArgumentError(f"the mapping names the class {given!r}", why=f"{where} has no such class", fix=known)
        if _find(target, names) is None:
            raise ArgumentError(f"{given} is mapped to {target!r}", why="the model has no such class", fix=_near(target, names))


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    hits = nearest(name, known)
    return f"did you mean {' or '.join(map(repr, hits))}?" if hits else f"the classes are {_list(known)}"


def _list(names: Sequence[str]) -> str:
    first = [name.partition(",")[0] for name in names[:_SHOWN]]  # of synonyms one is enough
    return ", ".join(first) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _unmatched(lost: Sequence[str], total: int, model: Sequence[str], where: str) -> str:
    lines = []
    for name in lost[:_SHOWN]:
        hits = nearest(name, model, 1)
        lines.append(f"  {name}" + (f"   (nearest: {hits[0]})" if hits else ""))
    if len(lost) > _SHOWN:
        lines.append(f"  and {len(lost) - _SHOWN} more")
    verb = "is" if len(lost) == 1 else "are"
    listed = "\n".join(lines)
    return (
        f"{len(lost)} of the {total} classes of {where} {verb} not among the model's {len(model)} ({_list(model)}):\n{listed}\n"
    )


def _remedy(lost: Sequence[str], model: Sequence[str]) -> str:
    near = (nearest(lost[0], model, 1) or [model[0] if model else "LABEL"])[0]
    example = f"--map '{lost[0]}={near}'"
    return f"say what they are called ({example}), leave them out ('{lost[0]}=-'), or take a model for these classes"


def read_mapping(given: Sequence[str]) -> dict[str, str]:
    """``DATA=MODEL`` pairs and ``.json`` files of such, as one mapping; what comes later wins.

    Raises:
        ArgumentError: neither a pair nor a file of one JSON object of names.

    Example:
        >>> read_mapping(["cat=tiger cat", "junk=-"])
        {'cat': 'tiger cat', 'junk': '-'}
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, target = text.partition("=")
        if equals and name:
            found[name] = target.strip()
        elif text.endswith(".json") and Path(text).is_file():
            found |= _file(Path(text))
        else:
            raise ArgumentError(f"--map {text!r}", why="it is no DATA=MODEL and no .json file", fix="e.g. --map 'cat=tiger cat'")
    return found


def _file(path: Path) -> dict[str, str]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArgumentError(f"{path} is not JSON", why=str(error), fix='write {"data class": "model class"}') from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise ArgumentError(f"{path} is no object of names", fix='write {"data class": "model class"}')
    return content
