"""Texts to token ids for models that compare them with something else: what fills up, what is cut, what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from nyala.errors import DataError, MissingFileError
from nyala.hub.captions import Captions
from nyala.hub.files import folder_files
from nyala.hub.zero_shot import check_labels

CLAP = Path(__file__).parents[1] / "goldens" / "audio" / "clap"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(CLAP / "tokenizer.json", tmp_path / "tokenizer.json")
    return tmp_path


def test_the_files_say_what_fills_up_and_how_long_texts_may_be(folder: Path) -> None:
    plain = Captions.from_files(folder_files(folder), 50, pad_token="<pad>")
    assert (plain.pad_id, plain.max_length) == (1, 50)
    (folder / "tokenizer_config.json").write_text('{"pad_token": {"content": "<unk>"}, "model_max_length": 9}')
    said = Captions.from_files(folder_files(folder), 50, pad_token="<pad>")
    assert (said.pad_id, said.max_length) == (3, 9)
    ids = plain(["in", "in the"])["input_ids"].numpy()
    assert ids[0, -1] == 1 and ids[:, 0].tolist() == [0, 0]


def test_a_long_text_loses_its_end_and_keeps_its_marks(folder: Path) -> None:
    captions = Captions.from_files(folder_files(folder), 6, pad_token="<pad>")
    with pytest.warns(UserWarning, match="text 1 has 12 tokens: the model reads the first 6"):
        found = captions(["a", "abcdefghij"])["input_ids"].numpy()
    assert found.shape == (2, 6) and (found[1, 0], found[1, -1]) == (0, 2)


def test_bad_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no token '<fill>' for padding"):
        Captions.from_files(folder_files(folder), 6, pad_token="<fill>")
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is not a tokenizer"):
        Captions.from_files(folder_files(folder), 6, pad_token="<pad>")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingFileError, match=r"no tokenizer\.json"):
        Captions.from_files(folder_files(tmp_path), 6, pad_token="<pad>")


def test_one_label_is_enough_where_each_is_judged_alone() -> None:
    check_labels(["a dog"], ["{}"], least=1)
