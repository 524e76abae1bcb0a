"""Parquet files, where pyarrow is installed: rows, class names, pictures and sounds as the datasets library writes them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from nyala.audio import io as audio
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


def sound(rate: int = 8_000) -> bytes:
    file = io.BytesIO()
    audio.write(file, 0.1 * np.sin(np.arange(rate // 10) / 5), rate, format="FLAC")
    return file.getvalue()


def test_sounds_with_classes_lie_in_the_file(tmp_path: Path) -> None:
    sounds = [{"bytes": sound(8_000 + i), "path": f"{i}.flac"} for i in range(4)]
    path = write(tmp_path / "a.parquet", {"audio": sounds, "label": [0, 1, 1, 0]}, ["no", "yes"])
    raw = datasets.read(Data(name=str(path)))
    assert raw.kind == "sound" and raw.labels == ["no", "yes"]
    assert [audio.info(io.BytesIO(one)).sample_rate for one in raw.train.inputs] == [8_000, 8_001, 8_002, 8_003]


def test_sounds_beside_the_file_are_found_by_their_paths(tmp_path: Path) -> None:
    (tmp_path / "clip.flac").write_bytes(sound())
    structs = [{"bytes": None, "path": "clip.flac"}, {"bytes": sound(), "path": None}]
    raw = datasets.read(Data(name=str(write(tmp_path / "a.parquet", {"audio": structs, "label": ["a", "b"]}))))
    assert raw.kind == "sound" and raw.train.inputs[0] == tmp_path / "clip.flac" and raw.train.inputs[1] == sound()


def test_sounds_with_transcripts_lie_in_the_file(tmp_path: Path) -> None:
    said: list[object] = ["good morning", "yes", "no"]
    columns = {"audio": [{"bytes": sound(), "path": "a.flac"}] * 3, "sentence": said, "locale": ["en", "en", "de"]}
    for piece in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        write(tmp_path / f"{piece}.parquet", columns)
    raw = datasets.read(Data(name=str(tmp_path)))
    heard = raw.train.inputs
    assert raw.kind == "speech" and raw.test is not None and len(raw.test) == 3
    assert [u.text for u in heard] == said * 2 and heard[0].sound == sound() and heard[2].language == "de"


def test_what_holds_no_sound_is_told_of(tmp_path: Path) -> None:
    structs = [{"bytes": sound(), "path": None}, {"bytes": None, "path": None}]
    path = write(tmp_path / "a.parquet", {"audio": structs, "sentence": ["yes", "no"]})
    with pytest.raises(DataError, match=r"a\.parquet, row 1: no sound in 'audio'"):
        datasets.read(Data(name=str(path)))
