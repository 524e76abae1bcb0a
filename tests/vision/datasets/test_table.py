"""Pictures listed in CSV, TSV and JSON lines: classes, paths, and every bad row by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError
from nyala.vision.datasets import ImageTable
from PIL import Image


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", "id,file,kind\r\n1,sub/a.png,dog\r\n2,b.png,cat\r\n"),
        ("x.csv", "\ufefffile,kind\nsub/a.png, dog \nb.png,cat"),
        ("x.tsv", "file\tkind\nsub/a.png\tdog\nb.png\tcat\n"),
        ("x.jsonl", '{"file": "sub/a.png", "kind": "dog"}\n\n{"file": "b.png", "kind": "cat"}\n'),
    ],
)
def test_every_kind_of_table(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    Image.fromarray(np.full((2, 3, 3), 9, np.uint8)).save(tmp_path / "sub" / "a.png")
    data = ImageTable(write(tmp_path / name, content), "file", "kind")
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [1, 0]
    picture, label = data[0]
    assert (picture == 9).all() and picture.shape == (2, 3, 3) and label == 1
    with pytest.raises(DataError, match=r"there is no file .*b\.png"):
        data[1]
    with pytest.warns(UserWarning, match="1 of 2 pictures cannot be read"):
        assert len(ImageTable(tmp_path / name, "file", "kind", corrupt="skip")) == 1
    assert ImageTable(tmp_path / name, "file", "kind", classes=("dog", "bird", "cat"), root="/x").samples[1] == (
        Path("/x/b.png"),
        2,
    )


def test_numbers_are_sorted_by_size(tmp_path: Path) -> None:
    lines = "".join(f'{{"image": "a.png", "label": {n}}}\n' for n in (10, 9, 100))
    data = ImageTable(write(tmp_path / "x.jsonl", lines))
    assert data.classes == ("9", "10", "100") and data.labels.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.csv", "image,lable\na,b\n", r"has no column 'label'.*did you mean 'lable'"),
        ("x.csv", "", "has no column 'image'.*it has none"),
        ("x.csv", "image,label\n", "it has no rows"),
        ("x.csv", "image,label\na.png,\n,b\nc.png\n", "line 2: no label; line 3: no image; line 4: no label"),
        ("x.csv", "image,label\n" + "a.png,\n" * 9, "and 4 more"),
        ("x.csv", b"image,label\n\xff\xfe,b\n", "cannot be read as UTF-8"),
        ("x.jsonl", '{"image": "a.png", "label": 1}\n[1]\n', "line 2 is no JSON object"),
        ("x.jsonl", "{", "line 1: "),
        ("x.jsonl", '{"image": "a.png", "label": true}\n', "line 1: no label"),
        ("x.xml", "", "is no table.*use one of .csv"),
    ],
)
def test_mistakes_are_named(name: str, content: str | bytes, text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=text):
        ImageTable(write(tmp_path / name, content))


def test_other_classes_and_no_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "image,label\na.png,dog\nb.png,fox\n")
    with pytest.raises(DataError, match=r"line 3: class 'fox': the classes are cat, dog"):
        ImageTable(path, classes=("cat", "dog"))
    with pytest.raises(DataError, match="there is no file"):
        ImageTable(tmp_path / "y.csv")
