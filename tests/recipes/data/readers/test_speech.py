"""Files of sounds with transcripts: which columns are which, what is wrong with a row, data for other readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.audio import io
from nyala.errors import DataError
from nyala.recipes.data import datasets
from nyala.recipes.language.schema import Columns, Data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        io.write(tmp_path / f"{name}.wav", np.zeros(80), 8_000)
    return tmp_path


def read(path: Path, **options: Any) -> datasets.Raw:
    return datasets.read(Data(name=str(path), **options))


def told(part: Any) -> list[tuple[str, str, str | None]]:
    return [(u.sound.name, u.text, u.language) for u in part.inputs]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("m.csv", ["audio,text", "a.wav,  one   two ", "b.wav,three"]),
        ("m.tsv", ["path\tsentence", "a.wav\tone two", "b.wav\tthree"]),
        ("m.jsonl", [json.dumps({"file_name": f, "transcription": t}) for f, t in (("a.wav", "one two"), ("b.wav", "three"))]),
    ],
)
def test_columns_are_known_by_their_names(folder: Path, name: str, lines: list[str]) -> None:
    raw = read(write(folder / name, *lines))
    assert (raw.kind, raw.labels) == ("speech", [])
    assert told(raw.train) == [("a.wav", "one two", None), ("b.wav", "three", None)]
    assert raw.train.files() == [folder / "a.wav", folder / "b.wav"]
    before = raw.hashes["train"]
    io.write(folder / "a.wav", np.ones(80) / 2, 8_000)
    assert read(folder / name).hashes["train"] != before  # sounds count, not their names alone


def test_columns_can_be_named_and_languages_are_read(folder: Path) -> None:
    path = write(folder / "m.csv", "take,said,label,locale", "a.wav,hallo,x,de-AT", "b.wav,ciao,y,it")
    raw = read(path, columns=Columns(audio="take", text=["said"]))
    assert told(raw.train) == [("a.wav", "hallo", "de"), ("b.wav", "ciao", "it")]
    assert read(write(folder / "n.csv", "audio,text,label", "a.wav,hi,x", "b.wav,ho,y")).kind != "speech"


def test_parts_of_a_folder(folder: Path) -> None:
    for part, sound in (("train", "a"), ("dev", "b"), ("test", "c")):
        write(folder / f"{part}.tsv", "path\tsentence", f"{sound}.wav\tsaid {sound}")
    raw = read(folder)
    assert [told(p)[0][1] for p in (raw.train, raw.validation, raw.test)] == ["said a", "said b", "said c"]


def test_one_list_beside_its_sounds_and_clips_of_common_voice(folder: Path) -> None:
    (folder / "clips").mkdir()
    (folder / "a.wav").rename(folder / "clips" / "a.wav")
    write(folder / "metadata.csv", "file_name,transcription", "a.wav,one", "b.wav,two")
    raw = read(folder)
    assert raw.train.files() == [folder / "clips" / "a.wav", folder / "b.wav"]


def test_every_bad_row_is_told(folder: Path) -> None:
    path = write(folder / "m.csv", "audio,text", "a.wav,one", "gone.wav,two", "b.wav,", ",three")
    with pytest.raises(DataError) as error:
        read(path)
    message = str(error.value)
    for words in ("m.csv:3: there is no file", "m.csv:4: no transcript in 'text'", "m.csv:5: no sound in 'audio'"):
        assert words in message
    assert "m.csv:2" not in message


def test_parts_must_be_of_one_kind(folder: Path) -> None:
    speech = write(folder / "m.csv", "audio,text", "a.wav,one")
    texts = write(folder / "t.csv", "text,label", "x,1", "y,2")
    with pytest.raises(DataError, match=r"t.csv holds no sounds with transcripts, as .*m.csv does"):
        read(speech, test=str(texts))
