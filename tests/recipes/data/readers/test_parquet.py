"""Parquet files, where pyarrow is installed: rows, class names and pictures as the datasets library writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nyala.errors import DataError
from nyala.recipes.data import datasets
from nyala.recipes.language.schema import Data

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(path: Path, columns: dict[str, list[object]], names: list[str] | None = None) -> Path:
    table = pyarrow.table(columns)
    if names:
        about = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    parquet.write_table(table, path)
    return path


def test_class_names_come_from_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["x", "y", "z"], "label": [0, 1, 0]}, ["neg", "pos"])
    raw = datasets.read(Data(name=str(path)))
    assert raw.labels == ["neg", "pos"] and raw.train.labels.tolist() == [0, 1, 0]


def test_pictures_lie_in_the_file(tmp_path: Path) -> None:
    pictures = [{"bytes": bytes([i]), "path": f"{i}.png"} for i in range(4)]
    for split in ("train", "test"):
        write(tmp_path / f"{split}-00000-of-00001.parquet", {"image": pictures, "label": [0, 1, 1, 0]})
    raw = datasets.read(Data(name=str(tmp_path)))
    assert raw.kind == "image" and raw.train.inputs[2] == b"\x02" and raw.test is not None and len(raw.test) == 4


def test_bad_rows_and_damaged_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["x", None], "label": [0, 1]})
    with pytest.raises(DataError, match=r"a\.parquet, row 1: no text in 'text'"):
        datasets.read(Data(name=str(path)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet is damaged"):
        datasets.read(Data(name=str(path)))
