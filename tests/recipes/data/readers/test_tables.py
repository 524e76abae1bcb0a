"""Files of rows as people have them: any delimiter, any encoding that is named, and every bad row told with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from nyala.errors import DataError, MissingDependencyError, RecipeError
from nyala.recipes.data.readers.tables import ending, read_table

ROWS = [["text", "label"], ["win, a prize", "spam"], ["see you", "ham"]]


def csv(path: Path, rows: list[list[str]], sign: str = ",", encoding: str = "utf-8") -> Path:
    path.write_bytes("\n".join(sign.join(f'"{f}"' if sign in f else f for f in row) for row in rows).encode(encoding))
    return path


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised(sign: str, tmp_path: Path) -> None:
    assert read_table(csv(tmp_path / "a.csv", ROWS, sign)).rows == ROWS[1:]


def test_a_delimiter_that_is_given_wins(tmp_path: Path) -> None:
    assert read_table(csv(tmp_path / "a.csv", [["a;b:c"], ["1;2:3"]]), delimiter=":").columns == ["a;b", "c"]
    assert read_table(csv(tmp_path / "a.tsv", [["a,b", "c"], ["1,2", "3"]], "\t")).columns == ["a,b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_understood(encoding: str, tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", [["text", "label"], ["naïve café", "a"]], encoding=encoding)
    assert read_table(path).rows == [["naïve café", "a"]]


def test_another_encoding_must_be_named(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", [["text", "label"], ["plain", "a"], ["café", "a"]], encoding="latin-1")
    with pytest.raises(DataError, match=r"a\.csv:3 is not utf-8.*0xe9.*'café,a'") as caught:
        read_table(path)
    assert 'data.encoding="cp1252"' in str(caught.value)
    assert read_table(path, encoding="latin-1").rows[1] == ["café", "a"]
    with pytest.raises(RecipeError, match="there is no 'utf8x'"):
        read_table(path, encoding="utf8x")


def test_text_without_a_mark_in_utf_16_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nx,y\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"a\.csv:1 holds a NUL character.*utf-16"):
        read_table(path)


def test_quotes_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one\ntwo, ""three""",a\n\nfour,b\n')
    table = read_table(path)
    assert table.rows == [['one\ntwo, "three"', "a"], ["four", "b"]]
    assert table.places == [f"{path}:2", f"{path}:5"]


def test_every_row_of_another_length_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "a,b\n" * 3 + "a,b,c\n" + "a,b\n" + "a\n" * 12)
    with pytest.raises(DataError) as caught:
        read_table(path)
    text = str(caught.value)
    assert f"{path}:5: 3 fields, the header has 2" in text and f"{path}:7: 1 field, the header has 2" in text
    assert "13 bad rows" in text and "... and 5 more" in text and '"quotes"' in text


def test_a_wrong_delimiter_is_told(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", [["text~label"], ["x~y"]])
    with pytest.raises(DataError, match=r"has one column, separated by comma: its first line is 'text~label'.*data\.delimiter"):
        read_table(path)
    with pytest.raises(DataError, match="which has a semicolon in it"):
        read_table(csv(tmp_path / "b.csv", [["text;label"], ["x;y"]]), delimiter=",")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("text,label\n", "has a header and no rows"),
        ("text,text\na,b\n", r"a\.csv:1 names the column 'text' twice"),
        ('text,label\nx,y\n"never closed,y\nz,z\n', r"a\.csv:3 is no CSV: a quote that opens there is never closed"),
    ],
)
def test_files_that_are_no_table(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "a.csv")


def test_a_missing_or_damaged_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*gone\.csv"):
        read_table(tmp_path / "gone.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,label\nx,y\n")[:-9])
    with pytest.raises(DataError, match=r"a\.csv\.gz is damaged"):
        read_table(tmp_path / "a.csv.gz")


def test_a_field_longer_than_pythons_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "x" * 200_000 + ",a\n")
    assert len(read_table(path).rows[0][0]) == 200_000


def test_json_lines_and_json(tmp_path: Path) -> None:
    records = [{"text": "a\u2028b", "label": 1}, {"label": 0, "text": "b", "more": None}]
    lines = "\n\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    for name, content in {
        "a.jsonl": lines,
        "b.json": json.dumps(records),
        "c.json": lines,
        "d.json": json.dumps({"data": records}),
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        table = read_table(tmp_path / name)
        assert (table.columns, table.rows) == (["text", "label", "more"], [["a\u2028b", 1, None], ["b", 0, None]])
    assert read_table(tmp_path / "a.jsonl").places == [f"{tmp_path}/a.jsonl:1", f"{tmp_path}/a.jsonl:3"]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert read_table(tmp_path / "a.jsonl.gz").rows == read_table(tmp_path / "a.jsonl").rows


def test_bad_json_lines_are_named_together(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": 1}\n{"text": "a"\n[1]\n')
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert (
        "2 bad rows" in str(caught.value)
        and f"{path}:2: not JSON" in str(caught.value)
        and f"{path}:3: '[1]' is no object" in str(caught.value)
    )
    path.write_text("\n\n")
    with pytest.raises(DataError, match="holds no rows"):
        read_table(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingDependencyError, match=r'pip install "nyala\[parquet\]", or convert the file to CSV'):
        read_table(tmp_path / "a.parquet")


def test_endings() -> None:
    names = ["a.csv", "a.CSV.gz", "a.tsv", "a.jsonl", "a.parquet", "a.txt", "csv", "a.csv.zip"]
    assert [ending(Path(n)) for n in names] == [".csv", ".csv", ".tsv", ".jsonl", ".parquet", "", "", ""]
