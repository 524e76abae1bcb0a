"""Parquet files, where pyarrow is installed; class names and pictures as the ``datasets`` library writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....core.errors import DataError, MissingDependencyError
from .tables import Table


def read_parquet(path: Path) -> Table:
    """All rows of a file.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        DataError: damaged, or without rows.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        fix = 'pip install "nyala[parquet]", or convert the file to CSV'
        raise MissingDependencyError(f"{path} is a Parquet file", why="reading one needs pyarrow", fix=fix) from error
    if not path.is_file():
        raise DataError(f"there is no file {path}", fix="check the path")
    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}", fix="get the file again") from error
    if not table.num_rows:
        raise DataError(f"{path} holds no rows", fix="add samples")
    columns = [[_picture(value) for value in column.to_pylist()] for column in table.columns]
    rows: list[Sequence[Any]] = list(zip(*columns, strict=True))
    places = [f"{path}, row {i}" for i in range(len(rows))]
    return Table(path, list(table.column_names), rows, places, _class_names(table.schema.metadata or {}))


def _picture(value: Any) -> Any:
    """The bytes of a picture that is written as ``{"bytes": ..., "path": ...}``."""
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        return value["bytes"] if value["bytes"] is not None else value["path"]
    return value


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):  # written by another program: the numbers are the names
        return {}
    named = {column: kind.get("names") for column, kind in features.items() if isinstance(kind, dict)}
    return {column: [str(n) for n in names] for column, names in named.items() if isinstance(names, list)}
