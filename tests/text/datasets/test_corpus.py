"""Files of texts that are mapped: lines and paragraphs, and what may be wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError
from nyala.text.datasets import Corpus, corpus


@pytest.mark.parametrize(
    ("content", "lines", "paragraphs"),
    [
        (b"", [], []),
        (b"\n\n", [], []),
        (b"one", ["one"], ["one"]),
        (b"one\n", ["one"], ["one"]),
        (b"one\ntwo\n\n\nthree\n", ["one", "two", "three"], ["one\ntwo", "three"]),
        (b"\n\none\r\ntwo\r\n\r\nthree\r\n", ["one", "two", "three"], ["one\ntwo", "three"]),
        (b"one\r\ntwo\r\n\r\nthree", ["one", "two", "three"], ["one\ntwo", "three"]),
        (
            b"\xef\xbb\xbfone\n\xc3\xa9t\xc3\xa9\xe2\x80\xa8same line\n",
            ["one", "été\u2028same line"],
            ["one\nété\u2028same line"],
        ),
    ],
)
@pytest.mark.parametrize("chunk", [3, 1 << 24])
def test_lines_and_paragraphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, lines: list[str], paragraphs: list[str], chunk: int
) -> None:
    monkeypatch.setattr(corpus, "_CHUNK", chunk)
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert [line.rstrip("\r") for line in Corpus(path)] == lines and list(Corpus(path, "paragraph")) == paragraphs
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(content))
    assert list(Corpus(tmp_path / "a.txt.gz", "paragraph")) == paragraphs


def test_a_sequence_that_reads_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"line {i}\n" for i in range(1000)) + "\n")
    lines = Corpus(path)
    assert len(lines) == 1000 and lines[-1] == "line 999" and lines[3:6][1] == "line 4"
    chosen = lines.select(np.array([7, 3]))
    assert list(chosen) == ["line 7", "line 3"] and len(Corpus(path, empty=True)) == 1001
    with pytest.raises(IndexError):
        lines[1000]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nnot \xff\n")
    assert Corpus(path)[0] == "fine"
    with pytest.raises(DataError, match=r"a\.txt:2 is not UTF-8: invalid start byte 0xff"):
        Corpus(path)[1]
    with pytest.raises(DataError, match="there is no file"):
        Corpus(tmp_path / "b.txt")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"text")[:-3])
    with pytest.raises(DataError, match="is damaged"):
        Corpus(tmp_path / "c.txt.gz")
    with pytest.raises(ArgumentError, match="unit='word'"):
        Corpus(path, "word")  # type: ignore[arg-type]
