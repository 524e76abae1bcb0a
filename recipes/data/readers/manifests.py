"""From tables to parts: texts, pictures or sounds with their classes, every bad row named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError
from ...language.schema import Data
from ...proof import hashing
from ..datasets import Part, Raw
from .columns import Roles, label_text, recognise
from .tables import SHOWN, Table, complain, read_table

PARTS = ("train", "validation", "test")
FILES = {"image": "picture", "sound": "sound"}  # kinds whose samples are files, and what messages call one
_HIDDEN = "-1"  # what published test parts have in place of labels that are kept secret


@dataclass(frozen=True)
class Samples:
    """The samples of one part, still with their classes by name.

    Attributes:
        kind: ``image``, ``sound`` or ``text``.
        inputs: texts, or the paths or bytes of pictures or sounds.
        labels: the class of each.
        places: where each stands, for messages.
        digest: sha256 of what was read.
        classes: all classes in their order, where the data say it; else sorted, whole numbers by value.
    """

    kind: str
    inputs: list[Any]
    labels: list[str]
    places: list[str]
    digest: str
    classes: tuple[str, ...] = ()


def read_manifest(path: Path, recipe: Data, root: Path | None = None) -> Samples:
    """The samples of one file of rows.

    Args:
        path: the file.
        recipe: says columns, delimiter and encoding where they are not recognised.
        root: what paths in it are relative to; the file's folder by default.

    Raises:
        DataError: every row without input or class, every picture or sound that is not there, ids that occur twice.
    """
    table = read_table(path, recipe.delimiter, recipe.encoding)
    return samples_of(table, recognise(table, recipe.columns), root or path.parent)


def samples_of(table: Table, roles: Roles, root: Path) -> Samples:
    """The samples of a table whose columns are known."""
    names = table.names.get(roles.label, [])
    labels = [_label(value, names) for value in table.column(roles.label)]
    if roles.kind in FILES:
        inputs: list[Any] = [named_file(value, root) for value in table.column(roles.inputs[0])]
    else:
        inputs = [_text(values) for values in zip(*(table.column(c) for c in roles.inputs), strict=True)]
    complain(table.path, _mistakes(table, roles, inputs, labels), _fix(roles))
    _check_ids(table, roles)
    _check_classes(table, roles, [str(label) for label in labels])
    return Samples(roles.kind, inputs, [str(label) for label in labels], table.places, _digest(table, inputs, root))


def _label(value: Any, names: Sequence[str]) -> str | None:
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return label_text(value)


def named_file(value: Any, root: Path) -> Any:
    """The path or the bytes of a picture or sound that stands in a row; None for what is neither."""
    if isinstance(value, bytes):
        return value
    return root / Path(value).expanduser() if isinstance(value, str) and value.strip() else None


def _text(values: Sequence[Any]) -> str | None:
    """Texts joined by line breaks; None where there is nothing in any of them, or something that is no text."""
    if any(not isinstance(v, str | int | float | None) for v in values):
        return None
    joined = "\n".join(str(v) for v in values if v not in (None, ""))
    return joined if joined.strip() else None


def _mistakes(table: Table, roles: Roles, inputs: Sequence[Any], labels: Sequence[str | None]) -> list[str]:
    found = []
    for row, place, value, label in zip(table.rows, table.places, inputs, labels, strict=True):
        if value is None:
            column = roles.inputs[0]
            found.append(f"{place}: no {roles.kind} in {', '.join(map(repr, roles.inputs))}{_instead(row, table, column)}")
        elif isinstance(value, Path) and not value.is_file():
            found.append(f"{place}: there is no file {value}")
        if label is None:
            found.append(f"{place}: no class in {roles.label!r}{_instead(row, table, roles.label)}")
    return found


def _instead(row: Sequence[Any], table: Table, column: str) -> str:
    value = row[table.columns.index(column)]
    return "" if value in (None, "") or (isinstance(value, str) and not value.strip()) else f", but {str(value)[:40]!r}"


def _fix(roles: Roles) -> str:
    if roles.kind in FILES:
        what = FILES[roles.kind]
        return f"correct or remove these rows; a {what}'s path counts from the file's folder, a class is a name or a whole number"
    return "correct or remove these rows; a class is a name or a whole number"


def _check_ids(table: Table, roles: Roles) -> None:
    if not roles.identity:
        return
    first: dict[Any, str] = {}
    mistakes = []
    for value, place in zip(table.column(roles.identity), table.places, strict=True):
        if value not in (None, "") and str(value) in first:
            mistakes.append(f"{place}: the {roles.identity} {str(value)[:40]!r} stands at {first[str(value)]} already")
        first.setdefault(str(value), place)
    complain(table.path, mistakes, "give each sample its own name, or remove the doubles")


def _check_classes(table: Table, roles: Roles, labels: Sequence[str]) -> None:
    different = len(set(labels))
    if len(labels) >= 20 and different > 0.7 * len(labels):
        raise DataError(
            f"{table.path} has {different} different classes in {len(labels)} rows",
            why=f"the column {roles.label!r} looks like text or numbers of its own",
            fix="say which column is the class, e.g. data.columns.label=NAME",
        )


def _digest(table: Table, inputs: Sequence[Any], root: Path) -> str:
    """Of the file alone where it holds the texts; with the pictures or sounds, each under its path."""
    files = {value for value in inputs if isinstance(value, Path)}
    if not files:
        return hashing.of_file(table.path)
    named = [(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix(), path) for path in files]
    return hashing.of_files([*named, (f"manifest {table.path.name}", table.path)])


# ---- several parts ------------------------------------------------------------------------------------------------


def assemble(parts: Mapping[str, Samples], where: str) -> Raw:
    """The parts of a dataset with one list of classes: those of the training part.

    Args:
        parts: by ``train``, ``validation``, ``test``; the first must be there.
        where: the dataset, for messages.

    Raises:
        DataError: one class alone, a class that the training part lacks, or parts of different kinds.
    """
    notes: list[str] = []
    parts = dict(parts)
    train = parts["train"]
    if "test" in parts and "validation" in parts and set(parts["test"].labels) == {_HIDDEN} and _HIDDEN not in train.labels:
        parts["test"] = parts.pop("validation")
        notes.append("the labels of the test part are hidden (-1): its validation part is tested on instead")
    elif "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
        notes.append("there is no test part: its validation part is tested on, and a new one is held out of the training part")
    classes = list(train.classes) or sorted(set(train.labels), key=by_value)
    if len(classes) < 2:
        raise DataError(
            f"{where} has {len(classes)} class{'' if len(classes) == 1 else 'es'}{f', {classes[0]!r}' if classes else ''}",
            why="a classifier needs at least two classes",
            fix="add another" + (f": a folder beside {classes[0]}" if train.classes else ", or check which column is the class"),
        )
    number = {name: i for i, name in enumerate(classes)}
    made = {name: _part(samples, number, name, train.kind) for name, samples in parts.items()}
    hashes = {name: parts[name].digest for name in PARTS if name in parts}
    return Raw(train.kind, classes, made["train"], made.get("test"), hashes, made.get("validation"), tuple(notes))


def by_value(label: str) -> tuple[bool, int, str]:
    """Sorts whole numbers by value and before names.

    Example:
        >>> sorted(["10", "b", "9", "a"], key=by_value)
        ['9', '10', 'a', 'b']
    """
    return not label.isdigit(), int(label) if label.isdigit() else 0, label


def _part(samples: Samples, number: Mapping[str, int], name: str, kind: str) -> Part:
    if samples.kind != kind:
        raise DataError(f"the {name} part holds {samples.kind}s and the training part {kind}s", fix="give both the same kind")
    strange = Counter(label for label in samples.labels if label not in number)
    if strange:
        first = next(p for p, label in zip(samples.places, samples.labels, strict=True) if label in strange)
        listed = ", ".join(f"{label!r} ({count})" for label, count in strange.most_common(SHOWN))
        raise DataError(
            f"the {name} part has classes that the training part lacks: {listed}, the first at {first}",
            why=f"the model can only learn {', '.join(list(number)[:SHOWN])}{', ...' if len(number) > SHOWN else ''}",
            fix="correct the labels, or give samples of these classes to the training part",
        )
    return Part(samples.inputs, np.array([number[label] for label in samples.labels], np.int64))
