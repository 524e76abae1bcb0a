"""Folders as people have them: classes, splits, files of rows, texts; and what is said where there is nothing to read."""

from __future__ import annotations

from pathlib import Path

import pytest
from nyala.errors import DataError
from nyala.recipes.data import datasets
from nyala.recipes.language.schema import Data


def files(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return root


def read(path: Path, **options: object) -> datasets.Raw:
    return datasets.read(Data(name=str(path), **options))  # type: ignore[arg-type]


def sizes(raw: datasets.Raw) -> list[int]:
    return [len(part) if part is not None else 0 for part in (raw.train, raw.validation, raw.test)]


def classes(split: str, count: int = 2) -> list[str]:
    return [f"{split}/{name}/{i}.jpg" for name in ("cat", "dog") for i in range(count)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val", "test"), [4, 2, 2]),
        (("Train", "Valid", "Test"), [4, 2, 2]),
        (("training", "dev", "testing"), [4, 2, 2]),
        (("train", "test"), [4, 0, 2]),
        (("train", "val"), [4, 0, 2]),
    ],
)
def test_splits_by_their_customary_names(names: tuple[str, ...], expected: list[int], tmp_path: Path) -> None:
    files(tmp_path, *classes(names[0]), *(n for name in names[1:] for n in classes(name, 1)))
    raw = read(tmp_path)
    assert sizes(raw) == expected and raw.labels == ["cat", "dog"]
    assert bool(raw.notes) == (names == ("train", "val"))


def test_hidden_and_foreign_folders_are_left_out(tmp_path: Path) -> None:
    files(
        tmp_path,
        *classes("x"),
        "x/.ipynb_checkpoints/a.jpg",
        "x/__MACOSX/b.jpg",
        "x/cat/.DS_Store",
        "x/cat/._1.jpg",
        "x/readme.md",
    )
    assert sizes(read(tmp_path / "x")) == [4, 0, 0]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    files(tmp_path, "train/1.jpg", "plane/1.jpg", "car/1.jpg")
    assert read(tmp_path).labels == ["car", "plane", "train"]


def test_folders_of_texts(tmp_path: Path) -> None:
    files(tmp_path, "train/pos/1.txt", "train/neg/1.txt", "test/pos/2.txt")
    raw = read(tmp_path)
    assert (raw.kind, raw.labels) == ("text", ["neg", "pos"])
    assert list(raw.train.inputs) == ["content of train/neg/1.txt", "content of train/pos/1.txt"]
    (tmp_path / "train" / "pos" / "3.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"3\.txt:1 is not utf-8"):
        read(tmp_path)
    assert "café" in read(tmp_path, encoding="latin-1").train.inputs
    (tmp_path / "train" / "pos" / "3.txt").write_bytes(b" \n")
    with pytest.raises(DataError, match=r"3\.txt is empty"):
        read(tmp_path)


def test_files_of_rows_by_split_and_in_pieces(tmp_path: Path) -> None:
    header = "text,label\n"
    (tmp_path / "train-00000-of-00002.csv").write_text(header + "a,x\nb,y\n")
    (tmp_path / "train-00001-of-00002.csv").write_text(header + "c,x\n")
    (tmp_path / "test.csv").write_text(header + "d,y\n")
    (tmp_path / "README.md").write_text("words")
    raw = read(tmp_path)
    assert list(raw.train.inputs) == ["a", "b", "c"] and sizes(raw) == [3, 0, 1]


@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv", "anything.csv"])
def test_a_list_beside_the_pictures(name: str, tmp_path: Path) -> None:
    files(tmp_path, "images/1.jpg", "images/2.jpg")
    (tmp_path / name).write_text("file_name,label\nimages/1.jpg,a\nimages/2.jpg,b\n")
    raw = read(tmp_path)
    assert raw.kind == "image" and raw.labels == ["a", "b"]


def test_class_folders_win_over_a_stray_file(tmp_path: Path) -> None:
    files(tmp_path, "cat/1.jpg", "dog/1.jpg", "results.csv")
    assert read(tmp_path).labels == ["cat", "dog"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r" is empty"),
        (("a.jpg", "b.jpg", "c.wav"), r"has no subfolders: each would be a class; it holds files: 2 \.jpg, 1 \.wav"),
        (("cat/1.jpg", "dog/"), r"dog holds no pictures, no sounds and no texts: it is empty"),
        (("cat/1.jpg", "dog/1.pdf"), r"dog holds no pictures, no sounds and no texts: it holds 1 \.pdf"),
        (("cat/1.jpg", "dog/1.txt"), r"holds pictures and texts, e\.g\. .*1\.txt"),
        (("cat/1.jpg", "dog/1.wav"), r"holds pictures and sounds, e\.g\. .*1\.wav"),
        (("cat/1.jpg",), r"has 1 class, 'cat'"),
        (("test/cat/1.jpg", "test/dog/1.jpg"), r"has test and no training part"),
        (("train.csv", "train/cat/1.jpg", "test.csv"), r"has several train parts: train, train\.csv"),
        (("a.csv", "b.csv"), r"has 2 files of rows: a\.csv, b\.csv"),
        (("train/cat/1.jpg", "train/dog/1.jpg", "test/fox/1.jpg"), r"lacks: 'fox' \(1\), the first at .*fox/1\.jpg"),
    ],
)
def test_folders_that_cannot_be_read(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    files(tmp_path, *(n for n in names if not n.endswith("/")))
    for name in (n for n in names if n.endswith("/")):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read(tmp_path / "gone")
    with pytest.raises(DataError, match="is neither a folder nor a file of rows"):
        read(files(tmp_path, "a.bin") / "a.bin")
