"""Folders as published sound datasets lie in them, made here in small."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from nyala.audio import io as sound
from nyala.audio.datasets.layouts import recognise
from nyala.errors import DataError

ESC = "filename,fold,target,category,esc10,src_file,take\n"
VOICE = "client_id\tpath\tsentence\tup_votes\tage\tgender\tlocale\n"


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound.write(path, np.zeros(80, np.float32), 8_000)


@pytest.fixture
def speech_commands(tmp_path: Path) -> Path:
    for word in ("yes", "no"):
        for speaker in ("a1", "b2", "c3"):
            put(tmp_path / word / f"{speaker}_nohash_0.wav")
    put(tmp_path / "_background_noise_" / "white.wav")
    (tmp_path / "validation_list.txt").write_text("yes/b2_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("yes/c3_nohash_0.wav\nno/c3_nohash_0.wav\n")
    return tmp_path


@pytest.fixture
def esc50(tmp_path: Path) -> Path:
    rows = [
        (f"{fold}-1-A-{target}.wav", fold, target, name) for fold in range(1, 6) for target, name in ((0, "dog"), (14, "chirp"))
    ]
    for row in rows:
        put(tmp_path / "audio" / row[0])
    (tmp_path / "meta").mkdir()
    table = ESC + "".join(f"{file},{fold},{target},{name},False,1,A\n" for file, fold, target, name in rows)
    (tmp_path / "meta" / "esc50.csv").write_text(table)
    return tmp_path


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    for subset, speakers in {"train-clean-100": ("19", "26"), "dev-clean": ("84",), "test-other": ("121",)}.items():
        for speaker in speakers:
            folder = tmp_path / subset / speaker / "198"
            for number in range(2):
                put(folder / f"{speaker}-198-000{number}.flac")
            (folder / f"{speaker}-198.trans.txt").write_text(f"{speaker}-198-0000 GOOD DAY\n{speaker}-198-0001 BYE\n")
    return tmp_path


@pytest.fixture
def common_voice(tmp_path: Path) -> Path:
    for part, people in {"train": ("f", "m", ""), "dev": ("f",), "test": ("m",)}.items():
        table = VOICE
        for i, gender in enumerate(people):
            put(tmp_path / "clips" / f"{part}{i}.wav")
            table += f'id{i}\t{part}{i}.wav\tSay "hi", {i}\t2\t\t{gender}\tde\n'
        (tmp_path / f"{part}.tsv").write_text(table)
    return tmp_path


def test_speech_commands_by_its_lists(speech_commands: Path) -> None:
    found = recognise(speech_commands)
    assert found is not None and (found.name, found.target) == ("Speech Commands", "label")
    assert {part: len(rows) for part, rows in found.parts.items()} == {"train": 3, "validation": 1, "test": 2}
    assert Counter(r.values["label"] for r in found.parts["test"]) == {"yes": 1, "no": 1}
    assert {r.values["speaker"] for r in found.parts["test"]} == {"c3"}


def test_esc50_by_its_folds(esc50: Path) -> None:
    found = recognise(esc50)
    assert found is not None and found.target == "category" and "fifth" in found.notes[0]
    assert {part: len(rows) for part, rows in found.parts.items()} == {"train": 8, "test": 2}
    assert {r.values["category"] for r in found.parts["test"]} == {"dog", "chirp"}


@pytest.mark.parametrize("inside", ["", "recordings"])
def test_spoken_digits_by_their_names(inside: str, tmp_path: Path) -> None:
    for digit in (0, 7):
        for number in (0, 4, 5, 49):
            put(tmp_path / inside / f"{digit}_jackson_{number}.wav")
    found = recognise(tmp_path)
    assert found is not None and {part: len(rows) for part, rows in found.parts.items()} == {"train": 4, "test": 4}
    assert found.parts["train"][0].values == {"digit": "0", "speaker": "jackson"}


@pytest.mark.parametrize("inside", ["", "genres", "genres_original"])
def test_gtzan_leaves_out_what_is_broken(inside: str, tmp_path: Path) -> None:
    for genre in ("blues", "jazz"):
        for number in range(3):
            put(tmp_path / inside / genre / f"{genre}.0000{number}.wav")
    (tmp_path / inside / "jazz" / "jazz.00002.wav").write_bytes(b"broken, as jazz.00054 is")
    found = recognise(tmp_path)
    assert found is not None and found.values == ["genre"] and len(found.parts["train"]) == 5
    assert found.notes == ("left out, since they cannot be read: jazz.00002.wav",)


def test_librispeech_with_its_transcripts(librispeech: Path) -> None:
    found = recognise(librispeech)
    assert found is not None and found.text == "text" and len(found.tables) == 4
    assert {part: len(rows) for part, rows in found.parts.items()} == {"train": 4, "validation": 2, "test": 2}
    assert found.parts["train"][0].values == {"text": "GOOD DAY", "speaker": "19", "chapter": "198"}
    alone = recognise(librispeech / "dev-clean")
    assert alone is not None and list(alone.parts) == ["train"] and len(alone.parts["train"]) == 2


def test_common_voice_quotes_nothing(common_voice: Path) -> None:
    found = recognise(common_voice)
    assert found is not None and (found.text, found.target) == ("sentence", "gender")
    assert {part: len(rows) for part, rows in found.parts.items()} == {"train": 3, "validation": 1, "test": 1}
    assert found.parts["train"][1].values["sentence"] == 'Say "hi", 1'


def test_other_folders_are_none_of_these(tmp_path: Path) -> None:
    assert recognise(tmp_path / "gone") is None and recognise(tmp_path) is None
    for name in ("dog/1.wav", "cat/blues.00001.wav", "train.csv"):
        put(tmp_path / name) if name.endswith("wav") else (tmp_path / name).write_text("a,b\n")
    assert recognise(tmp_path) is None


def test_what_is_missing_is_named(speech_commands: Path, tmp_path: Path) -> None:
    (speech_commands / "yes" / "c3_nohash_0.wav").unlink()
    with pytest.raises(DataError, match=r"names yes/c3_nohash_0\.wav, which is not in"):
        recognise(speech_commands)
    assert tmp_path == speech_commands


def test_damaged_tables_are_named(esc50: Path) -> None:
    table = esc50 / "meta" / "esc50.csv"
    good = table.read_text()
    table.write_text(good + "one,two\n")
    with pytest.raises(DataError, match=r"esc50\.csv:12 has another number of fields"):
        recognise(esc50)
    table.write_text(good.replace("category", "kind"))
    with pytest.raises(DataError, match="no column 'category'"):
        recognise(esc50)


def test_damaged_tables_of_voices_are_named(common_voice: Path) -> None:
    (common_voice / "test.tsv").write_text(VOICE + "id\tgone.wav\thello\t1\t\tm\tde\n" + "id\talso.wav\thi\t1\t\tm\tde\n")
    with pytest.raises(DataError, match=r"names gone\.wav, and 1 more, which are not in"):
        recognise(common_voice)
