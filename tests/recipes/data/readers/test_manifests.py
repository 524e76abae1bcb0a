"""Tables become samples: columns recognised or named, pictures by path, and each row that cannot be used told with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nyala.errors import DataError
from nyala.recipes.data import datasets
from nyala.recipes.data.readers.columns import recognise
from nyala.recipes.data.readers.tables import Table
from nyala.recipes.language.schema import Columns, Data


def table(*columns: str, rows: list[list[Any]] | None = None) -> Table:
    rows = rows or [["x"] * len(columns)]
    return Table(Path("m.csv"), list(columns), rows, [f"m.csv:{i + 2}" for i in range(len(rows))], {})


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(r) for r in rows))
    return path


def read(path: Path, **options: Any) -> datasets.Raw:
    return datasets.read(Data(name=str(path), **options))


@pytest.mark.parametrize(
    ("columns", "wanted", "inputs", "label"),
    [
        (["text", "label"], Columns(), ("text",), "label"),
        (["Label", "Text"], Columns(), ("Text",), "Label"),
        (["idx", "review", "sentiment"], Columns(), ("review",), "sentiment"),
        (["subject", "body", "y"], Columns(), ("subject", "body"), "y"),
        (["premise", "hypothesis", "label", "id"], Columns(), ("premise", "hypothesis"), "label"),
        (["foo", "class"], Columns(), ("foo",), "class"),
        (["text", "bar"], Columns(), ("text",), "bar"),
        (["a", "b", "c"], Columns(text=["c", "a"], label="b"), ("c", "a"), "b"),
        (["text", "title-case", "kind"], Columns(label="kind"), ("text",), "kind"),
        (["text", "image", "label"], Columns(), ("text",), "label"),
    ],
)
def test_columns_of_text(columns: list[str], wanted: Columns, inputs: tuple[str, ...], label: str) -> None:
    roles = recognise(table(*columns), wanted)
    assert (roles.kind, roles.inputs, roles.label) == ("text", inputs, label)


@pytest.mark.parametrize("name", ["image", "path", "file", "File Name", "anything"])
def test_columns_of_pictures(name: str) -> None:
    roles = recognise(table("label", name, rows=[["a", "x/1.JPG"]]), Columns())
    assert (roles.kind, roles.inputs, roles.label) == ("image", (name,), "label")


@pytest.mark.parametrize(
    ("columns", "wanted", "message"),
    [
        (["a", "b", "c"], Columns(), r"no column tells that it holds the text, the pictures or the sounds: it has 'a', 'b', 'c'"),
        (["text", "b", "c"], Columns(), r'no column tells that it is the label.*data\.columns\.label="c"'),
        (["text", "labl"], Columns(label="label"), r"has no column 'label' \(data\.columns\.label\).*did you mean 'labl'"),
        (["text", "label"], Columns(text=["txt"]), r"has no column 'txt' \(data\.columns\.text\).*did you mean 'text'"),
        (["text", "label"], Columns(text=["text"], image="text"), "a sample is one of them"),
    ],
)
def test_columns_that_are_not_there(columns: list[str], wanted: Columns, message: str) -> None:
    with pytest.raises(DataError, match=message):
        recognise(table(*columns), wanted)


def test_several_text_columns_are_joined(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"subject": "Hi", "body": "there", "label": "x"},
        {"subject": None, "body": "only", "label": "y"},
        {"subject": "count", "body": 3, "label": "y"},
    )
    raw = read(path)
    assert list(raw.train.inputs) == ["Hi\nthere", "only", "count\n3"] and raw.labels == ["x", "y"]


def test_classes_are_sorted_whole_numbers_by_value(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"text": f"t{v}", "label": v} for v in (10, 9.0, "b", " 9 ", True)))
    raw = read(path)
    assert raw.labels == ["9", "10", "b", "true"] and raw.train.labels.tolist() == [1, 0, 2, 0, 3]


def test_bad_rows_are_named_together(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"text": "fine", "label": "x"},
        {"text": "  ", "label": "x"},
        {"text": "y", "label": None},
        {"text": ["a"], "label": 0.5},
    )
    with pytest.raises(DataError) as caught:
        read(path)
    text = str(caught.value)
    assert "has 4 bad rows" in text
    assert f"{path}:2: no text in 'text'\n" in text and f"{path}:3: no class in 'label'\n" in text
    assert f"{path}:4: no text in 'text', but \"['a']\"" in text and f"{path}:4: no class in 'label', but '0.5'" in text


def test_pictures_by_relative_path(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "pics" / name).write_bytes(b"x")
    (tmp_path / "list.csv").write_text("file,class\npics/a.png,cat\npics/b.png,dog\n")
    raw = read(tmp_path / "list.csv")
    assert raw.kind == "image" and list(raw.train.inputs) == [tmp_path / "pics" / n for n in ("a.png", "b.png")]
    before = raw.hashes["train"]
    (tmp_path / "pics" / "a.png").write_bytes(b"y")
    assert read(tmp_path / "list.csv").hashes["train"] != before
    (tmp_path / "list.csv").write_text("file,class\npics/a.png,cat\npics/c.png,dog\n,dog\n")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "list.csv")
    assert f"list.csv:3: there is no file {tmp_path}/pics/c.png" in str(caught.value)
    assert "list.csv:4: no image in 'file'" in str(caught.value)


def test_ids_may_occur_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"id": i % 3, "text": f"t{i}", "label": i % 2} for i in range(4)))
    with pytest.raises(DataError, match=r"a\.jsonl:4: the id '0' stands at .*a\.jsonl:1 already"):
        read(path)


def test_a_label_column_that_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"text": f"t{i}", "target": f"own {i}"} for i in range(30)))
    with pytest.raises(DataError, match=r"30 different classes in 30 rows: the column 'target' looks like text"):
        read(path)


def test_one_class_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"text": f"t{i}", "label": "x"} for i in range(3)))
    with pytest.raises(DataError, match="has 1 class, 'x': a classifier needs at least two"):
        read(path)


def test_classes_that_the_training_part_lacks(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", *({"text": f"t{i}", "label": "ab"[i % 2]} for i in range(4)))
    test = write(tmp_path / "test.jsonl", *({"text": f"u{i}", "label": "abcd"[i % 4]} for i in range(8)))
    with pytest.raises(
        DataError,
        match=r"the test part has classes that the training part lacks: 'c' \(2\), 'd' \(2\), the first at .*test\.jsonl:3",
    ):
        read(train, test=str(test))


def test_hidden_labels_of_a_test_part(tmp_path: Path) -> None:
    for name, labels in {"train": [0, 1], "validation": [1, 0, 0], "test": [-1, -1]}.items():
        write(tmp_path / f"{name}.jsonl", *({"text": f"{name}{i}", "label": v} for i, v in enumerate(labels)))
    raw = read(tmp_path)
    assert raw.test is not None and raw.test.labels.tolist() == [1, 0, 0] and raw.validation is None
    assert "hidden" in raw.notes[0]


def test_an_own_validation_part_is_used(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": i % 2} for i in range(20)]
    for name, part in {"train": rows[:10], "val": rows[10:14], "test": rows[14:]}.items():
        write(tmp_path / f"{name}.jsonl", *part)
    source = datasets.load(Data(name=str(tmp_path)), 0)
    assert (len(source.train), len(source.validation), len(source.test)) == (10, 4, 6)
    assert set(source.hashes) == {"train", "validation", "test"}
    given = datasets.load(
        Data(name=str(tmp_path / "train.jsonl"), validation=str(tmp_path / "val.jsonl"), test=str(tmp_path / "test.jsonl")), 0
    )
    assert [len(p) for p in (given.train, given.validation, given.test)] == [10, 4, 6]
