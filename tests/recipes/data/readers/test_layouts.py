"""Published sound datasets as data of a recipe: classes or transcripts, by their own parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.audio import io as sound
from nyala.errors import DataError
from nyala.recipes.data import datasets
from nyala.recipes.language.schema import Columns, Data


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    for digit in range(3):
        for speaker in ("jackson", "theo"):
            for number in range(8):
                path = tmp_path / "recordings" / f"{digit}_{speaker}_{number}.wav"
                path.parent.mkdir(exist_ok=True)
                sound.write(path, np.full(80, 0.1 * digit, np.float32), 8_000)
    return tmp_path


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    for part in ("train", "dev", "test"):
        table = "path\tsentence\tgender\tlocale\n"
        for i, gender in enumerate(("female", "male", "", "male")):
            sound.write(tmp_path / "clips" / f"{part}{i}.wav", np.zeros(80, np.float32), 8_000)
            table += f"{part}{i}.wav\tHello {i}\t{gender}\tde\n"
        (tmp_path / f"{part}.tsv").write_text(table)
    return tmp_path


def test_classes_and_parts(digits: Path) -> None:
    raw = datasets.read(Data(name=str(digits)))
    assert (raw.kind, raw.labels) == ("sound", ["0", "1", "2"]) and raw.notes == ("read as free spoken digit dataset",)
    assert (len(raw.train), len(raw.test or ())) == (18, 30)
    speakers = datasets.read(Data(name=str(digits), columns=Columns(label="speaker")))
    assert speakers.labels == ["jackson", "theo"] and speakers.hashes == raw.hashes


def test_transcripts_unless_another_value_is_asked_for(voices: Path) -> None:
    raw = datasets.read(Data(name=str(voices)))
    assert raw.kind == "speech" and len(raw.train) == len(raw.test or ()) == 4
    assert raw.train.inputs[1].text == "Hello 1" and raw.train.inputs[1].language == "de"
    told = datasets.read(Data(name=str(voices), columns=Columns(label="gender")))
    assert told.kind == "sound" and told.labels == ["female", "male"]
    assert [len(part or ()) for part in (told.train, told.validation, told.test)] == [3, 3, 3]  # one does not say


def test_the_hash_covers_sounds_and_tables(voices: Path) -> None:
    before = datasets.read(Data(name=str(voices))).hashes
    table = (voices / "test.tsv").read_text()
    (voices / "test.tsv").write_text(table.replace("Hello 3", "Hello you"))
    after = datasets.read(Data(name=str(voices))).hashes
    assert set(before) == {"train", "validation", "test"} and before["test"] != after["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": Columns(label="speakr")}, "has no 'speakr'. Remedy: did you mean 'speaker'"),
        ({"test": "other"}, r"has its own parts.*leave data\.test out; data\.columns\.label may be digit or speaker"),
        ({"columns": Columns(text=["digit"])}, r"leave data\.columns out"),
    ],
)
def test_what_it_has_not_is_refused(options: dict, message: str, digits: Path) -> None:
    with pytest.raises(DataError, match=message):
        datasets.read(Data(name=str(digits), **options))


def test_a_value_that_nobody_states(voices: Path) -> None:
    for name in ("train", "dev", "test"):
        table = (voices / f"{name}.tsv").read_text()
        (voices / f"{name}.tsv").write_text(table.replace("female", "").replace("male", ""))
    with pytest.raises(DataError, match=r"no recording in .* states its gender"):
        datasets.read(Data(name=str(voices), columns=Columns(label="gender")))
