"""Captions to token ids: as transformers' tokenizer of CLIP, and what SigLIP wants."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nyala import checkpoint
from nyala.errors import DataError, MissingFileError
from nyala.hub.files import folder_files
from nyala.vision.captions import captions_of

CLIP = Path(__file__).parents[1] / "goldens" / "vision" / "clip"
TEXTS = json.loads((CLIP / "captions.json").read_text())["captions"]


def folder_with(tmp_path: Path, *names: str) -> Path:
    for name in names:
        shutil.copy(CLIP / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("names", [("tokenizer.json",), ("vocab.json", "merges.txt")])
def test_ids_equal_transformers(tmp_path: Path, names: tuple[str, ...]) -> None:
    frozen = checkpoint.load_file(CLIP / "use.safetensors")
    captions = captions_of(folder_files(folder_with(tmp_path, *names)), 16)
    with pytest.warns(UserWarning, match="text 3 has 24 tokens, 3 are so long: the model reads the first 16"):
        found = captions(TEXTS)
    assert np.array_equal(found["input_ids"].numpy(), frozen["caption_ids"])
    assert np.array_equal(found["attention_mask"].numpy(), frozen["caption_mask"])


def test_siglip_reads_padding_and_no_punctuation(tmp_path: Path) -> None:
    (folder_with(tmp_path, "tokenizer.json") / "tokenizer_config.json").write_text('{"tokenizer_class": "SiglipTokenizer"}')
    captions = captions_of(folder_files(tmp_path), 12, whole_length=True)
    found = captions(["A photo, of a CAT!", "a photo of a cat"])
    assert list(found) == ["input_ids"] and found["input_ids"].shape == (2, 12)
    rows = found["input_ids"].numpy()
    assert np.array_equal(rows[0], rows[1]) and rows[0, -1] == captions.pad_id


def test_bad_texts_and_files_are_named(tmp_path: Path) -> None:
    captions = captions_of(folder_files(CLIP), 16)
    with pytest.raises(DataError, match="text 1 is an int"):
        captions(["a", 3])  # type: ignore[list-item]
    with pytest.raises(DataError, match="no text"):
        captions([])
    with pytest.raises(MissingFileError, match=r"no tokenizer\.json"):
        captions_of(folder_files(tmp_path), 16)
    folder_with(tmp_path, "vocab.json")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na p\nq q q\n")
    with pytest.raises(DataError, match=r"merges\.txt:3 does not fit"):
        captions_of(folder_files(tmp_path), 16)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is not a tokenizer"):
        captions_of(folder_files(tmp_path), 16)
