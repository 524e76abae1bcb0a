"""Reading and splitting data: folders, JSON lines, the shipped samples, and labels that cannot be."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.errors import DataError
from nyala.recipes.data import datasets
from nyala.recipes.language.schema import Columns, Data


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, count in {"cat": 10, "dog": 20}.items():
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i:02}.png").write_bytes(bytes([i]))
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def lines(path: Path, records: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in records) + "\n\n")
    return path


def test_an_image_folder_is_split_class_by_class(pictures: Path) -> None:
    source = datasets.load(Data(name=str(pictures), test_fraction=0.2, validation_fraction=0.25), seed=1)
    assert (source.kind, source.labels) == ("image", ["cat", "dog"])
    counts = [dict(Counter(part.labels.tolist())) for part in (source.train, source.validation, source.test)]
    assert counts == [{0: 6, 1: 12}, {0: 2, 1: 4}, {0: 2, 1: 4}]
    paths = [p for part in (source.train, source.validation, source.test) for p in part.inputs]
    assert len(set(paths)) == 30


def test_splits_follow_the_seed_alone(pictures: Path) -> None:
    def drawn(seed: int) -> list[Path]:
        return list(datasets.load(Data(name=str(pictures)), seed).test.inputs)

    assert drawn(1) == drawn(1) and drawn(1) != drawn(2)


def test_train_and_test_folders(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("both")
    pictures.rename(root / "train")
    (root / "test" / "dog").mkdir(parents=True)
    (root / "test" / "dog" / "a.jpg").write_bytes(b"x")
    source = datasets.load(Data(name=str(root), validation_fraction=0), seed=0)
    assert (len(source.train), len(source.test), source.test.labels.tolist()) == (30, 1, [1])
    assert set(source.hashes) == {"train", "test"}


def test_limits_draw_by_the_seed_and_keep_the_order(pictures: Path) -> None:
    source = datasets.load(Data(name=str(pictures), limit_train=5, limit_test=3, validation_fraction=0), seed=0)
    assert (len(source.train), len(source.test)) == (5, 3)
    assert list(source.train.inputs) == sorted(source.train.inputs)


def test_json_lines_plain_and_gzipped(tmp_path: Path) -> None:
    records = [{"text": f"t{i}", "label": i % 3} for i in range(30)]
    plain = lines(tmp_path / "a.jsonl", records)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    for name in ("a.jsonl", "b.jsonl.gz"):
        source = datasets.load(Data(name=str(tmp_path / name)), seed=0)
        assert source.kind == "text" and source.labels == ["0", "1", "2"]
        for part in (source.train, source.validation, source.test):
            assert all(int(text[1:]) % 3 == label for text, label in zip(part.inputs, part.labels, strict=True))


def test_the_test_file_may_only_have_known_classes(tmp_path: Path) -> None:
    train = lines(tmp_path / "a.jsonl", [{"text": "x", "label": "ham"}, {"text": "y", "label": "spam"}])
    test = lines(tmp_path / "b.jsonl", [{"text": "x", "label": "eggs"}])
    with pytest.raises(DataError, match=r"lacks: 'eggs' \(1\), the first at .*b.jsonl:1: the model can only learn ham, spam"):
        datasets.load(Data(name=str(train), test=str(test)), 0)


@pytest.mark.parametrize("more", [{"test": "x.jsonl"}, {"validation": "x.jsonl"}, {"columns": Columns(label="kind")}])
def test_a_registered_dataset_takes_no_other_parts(more: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"spam-sample has its own parts and columns. Remedy: leave data.{next(iter(more))} out"):
        datasets.read(Data(name="spam-sample", **more))


def test_one_class_is_too_few(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"text": "x", "label": "ham"}])
    with pytest.raises(DataError, match=r"has 1 class, 'ham': .* at least two classes. Remedy: .*which column is the class"):
        datasets.load(Data(name=str(path)), 0)


def test_bad_folders_are_named(pictures: Path, tmp_path: Path) -> None:
    (pictures / "fox").mkdir()
    with pytest.raises(DataError, match=r"fox holds no pictures"):
        datasets.load(Data(name=str(pictures)), 0)
    (tmp_path / "x.bin").write_text("")
    with pytest.raises(DataError, match="neither a folder nor a file of rows"):
        datasets.load(Data(name=str(tmp_path / "x.bin")), 0)


def test_a_label_out_of_range_names_its_sample() -> None:
    part = datasets.Part(["a", "b", "c"], np.array([0, 7, -1]))
    with pytest.raises(
        DataError, match=r"sample 1 of mail has label 7 and there are 2 classes \(0 to 1\); 2 samples are like this"
    ):
        datasets.check_labels(part, 2, "mail")


def test_too_few_samples_for_a_test_part(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"text": "x", "label": "a"}, {"text": "y", "label": "b"}])
    with pytest.raises(DataError, match=r"the test part of .* is empty"):
        datasets.load(Data(name=str(path)), 0)


def test_classes_too_small_to_be_cut_one_by_one(tmp_path: Path) -> None:
    rows = [{"text": f"{label} {i}", "label": label} for label in "abcdef" for i in range(2)]
    source = datasets.load(Data(name=str(lines(tmp_path / "a.jsonl", rows)), test_fraction=0.2), 0)
    assert [len(part) for part in (source.train, source.validation, source.test)] == [9, 1, 2]


def test_the_shipped_mail_sample() -> None:
    source = datasets.load(Data(name="spam-sample"), 0)
    assert source.labels == ["ham", "spam"] and len(source.train) + len(source.validation) >= 900 and len(source.test) >= 300
    assert Counter(source.validation.labels.tolist()).keys() == {0, 1}
