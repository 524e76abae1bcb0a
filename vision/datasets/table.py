"""Pictures listed in a file of rows: CSV, TSV or JSON lines, with a column of paths and one of classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from ...core.atomic import storage_errors
from ...core.errors import DataError, did_you_mean
from .pictures import ClassPictures, Corrupt, Transform

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LINES = (".jsonl", ".ndjson")
_SHOWN = 5


class ImageTable(ClassPictures):
    """The pictures that a file lists, each with its class.

    Args:
        path: ``.csv`` or ``.tsv`` with a first row of names, or ``.jsonl``, one JSON object a line.
        image: the column of paths; they count from ``root``.
        label: the column of classes, which are names or whole numbers.
        root: by default the file's folder.
        classes: the classes there may be; else those of the file, sorted: whole numbers by their size.
        transform, corrupt, threads: as for :class:`~nyala.vision.datasets.pictures.Pictures`.

    Raises:
        DataError: no such file or column, or rows without a path or a class: the first are named by their lines.

    Example:
        >>> import tempfile
        >>> root = tempfile.TemporaryDirectory()
        >>> _ = Path(root.name, "list.csv").write_text("image,label\\na.png,dog\\nb.png,cat\\n")
        >>> data = ImageTable(Path(root.name, "list.csv"))
        >>> data.classes, [(path.name, label) for path, label in data.samples]
        (('cat', 'dog'), [('a.png', 1), ('b.png', 0)])
    """

    def __init__(
        self,
        path: str | Path,
        image: str = "image",
        label: str = "label",
        *,
        root: str | Path | None = None,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
        corrupt: Corrupt = "raise",
        threads: int | None = None,
    ) -> None:
        table = Path(path).expanduser()
        rows = _rows(table, (image, label))
        folder = table.parent if root is None else Path(root).expanduser()
        names = tuple(classes) if classes is not None else _classes({name for _, _, name in rows})
        number = {name: i for i, name in enumerate(names)}
        wrong = [f"line {line}: class {name!r}" for line, _, name in rows if name not in number]
        if wrong:
            raise _mistakes(table, wrong, f"the classes are {', '.join(names)}")
        samples = [(folder / file, number[name]) for _, file, name in rows]
        super().__init__(samples, names, transform=transform, corrupt=corrupt, threads=threads)


def _rows(path: Path, columns: tuple[str, str]) -> list[tuple[int, str, str]]:
    """(line, path, class) of each row."""
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="check the path")
    try:
        with storage_errors(path, "read"), open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() in _LINES:
                found = [(i, _json_row(line, path, i)) for i, line in enumerate(file, 1) if line.strip()]
                header = sorted({name for _, row in found for name in row})
            elif path.suffix.lower() in _DELIMITERS:
                reader = csv.DictReader(file, delimiter=_DELIMITERS[path.suffix.lower()])
                header = list(reader.fieldnames or ())
                found = [(reader.line_num, row) for row in reader]
            else:
                raise DataError(f"{path} is no table", fix=f"use one of {', '.join((*_DELIMITERS, *_LINES))}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as UTF-8 rows: {error}", fix="save it as UTF-8") from None
    missing = next((name for name in columns if name not in header), None)
    if missing is not None:
        hint = did_you_mean(missing, header) or f"it has {', '.join(header) or 'none'}: name yours"
        raise DataError(f"{path} has no column {missing!r}", fix=hint)
    rows = [(line, _text(row.get(columns[0])), _text(row.get(columns[1]))) for line, row in found]
    wrong = [f"line {line}: no {n}" for line, *told in rows for n, value in zip(columns, told, strict=True) if not value]
    if wrong or not rows:
        raise _mistakes(path, wrong or ["it has no rows"], "each row names a picture and its class")
    return rows


def _json_row(line: str, path: Path, number: int) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: {error}", fix="one JSON object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number} is no JSON object", fix="one JSON object a line")
    return row


def _text(value: object) -> str:
    """A path or a class; empty for what is neither."""
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _classes(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=int) if all(name.lstrip("-").isdecimal() for name in names) else sorted(names))


def _mistakes(path: Path, wrong: Sequence[str], why: str) -> DataError:
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return DataError(f"{path}: {'; '.join(wrong[:_SHOWN])}{more}", why=why, fix="correct or remove these rows")
