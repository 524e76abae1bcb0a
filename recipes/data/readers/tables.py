"""Files of rows: CSV, TSV, JSON lines, JSON and Parquet, with the line of each row for messages.

A file is read whole and every bad row is collected: one report names them all.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....core.atomic import storage_errors
from ....core.errors import DataError, RecipeError

ENDINGS = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet")
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_LONGEST = 1 << 28  # characters of one field: Python's own limit of 131,072 is less than a long document
SHOWN = 8  # mistakes that a report lists one by one


@dataclass(frozen=True)
class Table:
    """The rows of one file.

    Attributes:
        path: the file.
        columns: their names, in order.
        rows: the values of each row, in the order of the columns; None where a row has no such key.
        places: of each row, for messages: ``file:line``.
        names: of a column of whole numbers, what they stand for, where the file says it.
    """

    path: Path
    columns: list[str]
    rows: list[Sequence[Any]]
    places: list[str]
    names: dict[str, list[str]]

    def column(self, name: str) -> list[Any]:
        """The values of one column."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]


def ending(path: Path) -> str:
    """``.csv`` for ``a.csv`` and ``a.csv.gz``; empty for what is no file of rows."""
    name = path.name.lower().removesuffix(".gz")
    return next((e for e in ENDINGS if name.endswith(e)), "")


def read_table(path: Path, delimiter: str | None = None, encoding: str = "utf-8") -> Table:
    """Reads a file of rows.

    Args:
        path: named after its format: ``.csv``, ``.tsv``, ``.jsonl``, ``.json`` or ``.parquet``; all but the last may be gzipped.
        delimiter: of a CSV file; recognised if left out.
        encoding: of a text file; a byte order mark wins over it.

    Raises:
        DataError: no such file, not its format, damaged, no rows; every bad row is named with its line.
        RecipeError: there is no such encoding.
        MissingDependencyError: a Parquet file, and pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "mail.csv"
        >>> _ = file.write_text("text;label\\nwin a prize;spam\\n")
        >>> read_table(file).rows
        [['win a prize', 'spam']]
    """
    kind = ending(path)
    if kind == ".parquet":
        from .parquet import read_parquet

        return read_parquet(path)
    text = decoded(path, encoding)
    if kind in (".jsonl", ".ndjson"):
        return _from_objects(path, _json_lines(path, text))
    if kind == ".json":
        return _from_objects(path, _json_list(path, text))
    return _from_csv(path, text, "\t" if delimiter is None and kind in (".tsv", ".tab") else delimiter)


# ---- bytes to text ------------------------------------------------------------------------------------------------


def decoded(path: Path, encoding: str) -> str:
    """The text of a file, gzipped or not.

    Raises:
        DataError: no such file, damaged, or not of this encoding; it names the line.
        RecipeError: there is no such encoding.
    """
    content = _content(path)
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), encoding)
    try:
        text = content.decode(encoding)
    except LookupError:
        raise RecipeError(f"data.encoding: there is no {encoding!r}", fix="e.g. utf-8, latin-1, cp1252 or utf-16") from None
    except UnicodeDecodeError as error:
        raise _wrong_encoding(path, content, encoding, error) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(
            f"{path}:{line} holds a NUL character",
            why="this is no text, or text of another encoding",
            fix='for a file in UTF-16 set data.encoding="utf-16"',
        )
    return text


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="check the path")
    try:
        with storage_errors(path, "read"):
            return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}", fix="get the file again") from error


def _wrong_encoding(path: Path, content: bytes, encoding: str, error: UnicodeDecodeError) -> DataError:
    line = content[: error.start].count(b"\n") + 1
    before = content[: error.start].rpartition(b"\n")[2][-20:]
    after = content[error.start : error.start + 12].partition(b"\n")[0]
    return DataError(
        f"{path}:{line} is not {encoding}: {error.reason} 0x{content[error.start]:02x}",
        why=f"there stands {(before + after).decode('latin-1')!r}, if it is Latin-1",
        fix='save the file as UTF-8, or say what it is, e.g. data.encoding="cp1252" (Windows) or "latin-1"',
    )


def complain(path: Path, mistakes: Sequence[str], fix: str) -> None:
    """Raises one error for all ``mistakes``, if there is any."""
    if mistakes:
        more = [f"... and {len(mistakes) - SHOWN} more"] if len(mistakes) > SHOWN else []
        count = f"{len(mistakes)} bad row{'' if len(mistakes) == 1 else 's'}"
        raise DataError("\n  ".join([f"{path} has {count}:", *mistakes[:SHOWN], *more]) + "\n", fix=fix)


# ---- CSV ----------------------------------------------------------------------------------------------------------


def _from_csv(path: Path, text: str, delimiter: str | None) -> Table:
    sign = delimiter or _recognised(text)
    found = list(_records(path, text, sign))
    if not found:
        raise DataError(f"{path} is empty", fix="its first line names the columns, each further line is a sample")
    (_, header), *records = found
    columns = [name.strip() for name in header]
    _check_header(path, columns, sign)
    mistakes = [
        f"{path}:{line}: {len(row)} field{'' if len(row) == 1 else 's'}, the header has {len(columns)}"
        for line, row in records
        if len(row) != len(columns)
    ]
    name = _DELIMITERS.get(sign, repr(sign))
    fix = f'put a field that has a {name} in it into "quotes", or set data.delimiter if it is not the {name}'
    complain(path, mistakes, fix)
    if not records:
        raise DataError(f"{path} has a header and no rows", fix="add samples")
    return Table(path, columns, [row for _, row in records], [f"{path}:{line}" for line, _ in records], {})


def _recognised(text: str) -> str:
    """The sign that cuts the first lines into the same number of fields, at least two; the comma where none does."""
    head = "\n".join(text.split("\n", 40)[:40])
    best, score = ",", (0.0, 0)
    for sign in _DELIMITERS:
        try:
            widths = Counter(len(row) for row in csv.reader(io.StringIO(head, newline=""), delimiter=sign) if row)
        except csv.Error:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        agreement = count / max(1, widths.total())
        if width > 1 and (agreement, width) > score:
            best, score = sign, (agreement, width)
    return best


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the number of the line it begins on; empty lines are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = csv.field_size_limit(_LONGEST)
    start = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        unclosed = "unexpected end" in str(error)
        why = "a quote that opens there is never closed" if unclosed else str(error)
        raise DataError(f"{path}:{start} is no CSV", why=why, fix='double a quote inside a quoted field: "say ""hi"""') from error
    finally:
        csv.field_size_limit(before)


def _check_header(path: Path, columns: list[str], delimiter: str) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataError(
            f"{path}:1 names the column {twice[0]!r} twice", why="the first line names the columns", fix="rename one of them"
        )
    others = [name for sign, name in _DELIMITERS.items() if sign != delimiter and sign in columns[0]]
    if len(columns) == 1:
        why = f"its first line is {columns[0][:60]!r}" + (f", which has a {others[0]} in it" if others else "")
        raise DataError(
            f"{path} has one column, separated by {_DELIMITERS.get(delimiter, repr(delimiter))}",
            why=why,
            fix='a text or picture and its label are needed; set data.delimiter, e.g. ";"',
        )


# ---- JSON ---------------------------------------------------------------------------------------------------------

_WANTED = 'write one object a line, e.g. {"text": "...", "label": "..."}'


def _json_lines(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    found, mistakes = [], []
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: a text may hold other line breaks
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            mistakes.append(f"{path}:{number}: not JSON: {error}")
            continue
        if isinstance(value, dict):
            found.append((f"{path}:{number}", value))
        else:
            mistakes.append(f"{path}:{number}: {str(value)[:40]!r} is no object")
    complain(path, mistakes, _WANTED)
    return found


def _json_list(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    """A list of objects; also JSON lines in a file that is called ``.json``."""
    try:
        tree = json.loads(text)
    except ValueError as error:
        if text.lstrip().startswith("{"):
            return _json_lines(path, text)
        raise DataError(f"{path} is not JSON: {error}", fix="write a list of objects, or one object a line") from error
    if isinstance(tree, dict):
        inner = [value for value in tree.values() if isinstance(value, list) and value and isinstance(value[0], dict)]
        tree = inner[0] if len(inner) == 1 else [tree]
    if not isinstance(tree, list):
        raise DataError(f"{path} holds no list of objects", fix=_WANTED)
    complain(path, [f"{path}, item {i}: no object" for i, v in enumerate(tree) if not isinstance(v, dict)], _WANTED)
    return [(f"{path}, item {i}", value) for i, value in enumerate(tree)]


def _from_objects(path: Path, found: list[tuple[str, dict[str, Any]]]) -> Table:
    if not found:
        raise DataError(f"{path} holds no rows", fix=_WANTED)
    columns = list(dict.fromkeys(key for _, row in found for key in row))
    return Table(path, columns, [[row.get(c) for c in columns] for _, row in found], [place for place, _ in found], {})
