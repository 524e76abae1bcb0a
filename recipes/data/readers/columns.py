"""Which column of a table holds the text, the picture or the sound, and which the class: as the recipe says, or by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....audio.datasets.files import SOUNDS
from ....core.errors import DataError, did_you_mean
from ....vision.datasets.folder import PICTURES
from ...language.schema import Columns
from .tables import Table

TEXT = (
    *(
        "text",
        "sentence",
        "content",
        "body",
        "message",
        "review",
        "comment",
        "tweet",
        "document",
        "utterance",
        "email",
        "question",
    ),
    *("query", "description", "headline", "title", "subject"),
)
TOGETHER = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "passage")),
    *(
        ("title", "text"),
        ("title", "body"),
        ("title", "content"),
        ("title", "description"),
        ("subject", "body"),
        ("subject", "text"),
    ),
)
FILE = ("file_name", "filename", "file", "filepath", "file_path", "path")
IMAGE = ("image", "img", "picture", "photo", "image_path", "img_path", "image_file", *FILE)
SOUND = (
    *("audio", "sound", "wav", "recording", "clip", "audio_path", "sound_path", "wav_path", "audio_file", "sound_file"),
    *("audio_filepath", "wav_file", *FILE),
)
LABEL = (
    *("label", "labels", "class", "category", "target", "y", "class_name", "classname", "label_name", "label_text", "sentiment"),
    *("emotion", "intent", "topic", "tag", "species", "breed"),
)
IDENTITY = ("id", "uid", "guid")


@dataclass(frozen=True)
class Roles:
    """Which columns hold what.

    Attributes:
        kind: ``image``, ``sound`` or ``text``.
        inputs: the column of pictures or sounds, or those of text in the order in which they are joined.
        label: the column of classes.
        identity: the column of samples' own names; empty where there is none.
    """

    kind: str
    inputs: tuple[str, ...]
    label: str
    identity: str


def recognise(table: Table, wanted: Columns) -> Roles:
    """The roles of a table's columns.

    Raises:
        DataError: a column that the recipe names and the table has not, or no column that could be the input or the label.

    Example:
        >>> from pathlib import Path
        >>> table = Table(Path("m.csv"), ["subject", "body", "y"], [["a", "b", "c"]], ["m.csv:2"], {})
        >>> recognise(table, Columns()).inputs
        ('subject', 'body')
    """
    single = {key: getattr(wanted, key) for key in ("label", "image", "audio", "id")}
    for key, value in (*single.items(), *(("text", t) for t in wanted.text)):
        if value is not None and value not in table.columns:
            raise _no_column(table, f"data.columns.{key}", value)
    named = [key for key in ("text", "image", "audio") if getattr(wanted, key)]
    if len(named) > 1:
        raise DataError(f"data.columns names {' and '.join(named)}", why="a sample is one of them", fix="leave one out")
    given = (*wanted.text, wanted.image, wanted.audio)
    identity = wanted.id or _first(table, IDENTITY, taken=(*given, wanted.label))
    label = wanted.label or _first(table, LABEL, taken=(*given, identity))
    kind, inputs = _inputs(table, wanted, taken=(label, identity))
    label = label or _the_other(table, (*inputs, identity))
    if not inputs and label:
        kind, inputs = _only_other(table, (label, identity))
    if not inputs or not label:
        raise _unrecognised(table, "label" if inputs else "input")
    return Roles(kind, inputs, label, identity)


def _first(table: Table, names: Sequence[str], taken: Sequence[str | None]) -> str:
    """The table's column that comes first among ``names``, upper and lower case and - _ and blanks alike; empty if none."""
    folded = {fold(c): c for c in reversed(table.columns) if c not in taken}
    return next((folded[name] for name in names if name in folded), "")


def fold(name: str) -> str:
    """A column's name without regard to capitals, and to blanks, - and _."""
    """A column's name for comparing: upper and lower case, - _ and blanks alike."""
    return name.casefold().replace("-", "_").replace(" ", "_")


def _inputs(table: Table, wanted: Columns, taken: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if wanted.image:
        return "image", (wanted.image,)
    if wanted.audio:
        return "sound", (wanted.audio,)
    if wanted.text:
        return "text", tuple(wanted.text)
    for kind, customary in (("image", IMAGE), ("sound", SOUND)):
        column = _first(table, customary, taken)
        if column and held(table, column) == kind:
            return kind, (column,)
    folded = {fold(c): c for c in table.columns if c not in taken}
    for first, second in TOGETHER:
        if first in folded and second in folded:
            return "text", (folded[first], folded[second])
    text = _first(table, TEXT, taken)
    return "text", (text,) if text else ()


def held(table: Table, column: str) -> str:
    """What a column holds: ``image`` or ``sound``, as paths or as the files' bytes, else ``text``."""
    value = next((v for v in table.column(column) if v), None)
    if isinstance(value, bytes):
        return "sound" if fold(column) in SOUND and fold(column) not in FILE else "image"
    ending = value.lower() if isinstance(value, str) else ""
    return "image" if ending.endswith(PICTURES) else "sound" if ending.endswith(SOUNDS) else "text"


def _the_other(table: Table, taken: Sequence[str]) -> str:
    """The one column that is left over; empty where there are none or several."""
    left = [c for c in table.columns if c and c not in taken]
    return left[0] if len(left) == 1 and len(taken) else ""


def _only_other(table: Table, taken: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    column = _the_other(table, taken)
    if not column:
        return "", ()
    return held(table, column), (column,)


def _no_column(table: Table, key: str, name: str) -> DataError:
    known = ", ".join(map(repr, table.columns))
    return DataError(
        f"{table.path} has no column {name!r} ({key})", fix=did_you_mean(name, table.columns) or f"its columns are {known}"
    )


def _unrecognised(table: Table, what: str) -> DataError:
    known = ", ".join(map(repr, table.columns))
    says = {"label": "is the label", "input": "holds the text, the pictures or the sounds"}[what]
    key = {"label": "label", "input": "text"}[what]
    example = f'["{table.columns[0]}"]' if what == "input" else f'"{table.columns[-1]}"'
    headless = "" if any(fold(c) in (*TEXT, *IMAGE, *SOUND, *LABEL) for c in table.columns) else ", and no name that is customary"
    return DataError(
        f"{table.path}: no column tells that it {says}",
        why=f"it has {known}{headless}",
        fix=f"say which, e.g. data.columns.{key}={example}; a file without a header needs one as its first line",
    )


def label_text(value: Any) -> str | None:
    """A class as text: whole numbers without a fraction, true and false in small letters; None for what is no class.

    Example:
        >>> label_text(3.0), label_text(" spam "), label_text(True), label_text(0.5), label_text([1])
        ('3', 'spam', 'true', None, None)
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    if isinstance(value, int):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None
