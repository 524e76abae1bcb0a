"""Sizes in words, the room that fetched files take, and the limit on it."""

from __future__ import annotations

import os

import pytest
from nyala.errors import ArgumentError, StorageError
from nyala.hub import quota
from nyala.hub.quota import bytes_below, in_words, parse_size, require_quota


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("20GB", 20 * 10**9), ("1.5 tb", 15 * 10**11), ("1kb", 1000), ("2 MiB", 2 << 20), (" 3K ", 3000)],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 GB 2", "1PB", "1e9", "ten", "1,000"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ArgumentError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (10**13, "10.0 TB"),
    ],
)
def test_sizes_are_written(size, words):
    assert in_words(size) == words


def test_files_count_once_and_links_not_at_all(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"x" * 100)
    os.link(tmp_path / "a" / "one", tmp_path / "two")
    (tmp_path / "three").symlink_to(tmp_path / "a" / "one")
    (tmp_path / "four").write_bytes(b"x" * 11)
    assert bytes_below(tmp_path) == 111
    assert bytes_below(tmp_path / "nothing") == 0


def test_the_quota_counts_what_is_there_and_names_the_largest(tmp_path, monkeypatch):
    folders = [tmp_path / name for name in "abcd"]
    for n, folder in enumerate(folders):
        folder.mkdir()
        (folder / "f").write_bytes(b"x" * (n * 1000))
    monkeypatch.delenv("NYALA_QUOTA", raising=False)
    require_quota(folders, 10**15, "m")
    monkeypatch.setenv("NYALA_QUOTA", "10kB")
    require_quota(folders, 4000, "m")
    with pytest.raises(StorageError) as caught:
        require_quota(folders, 4001, "org/m")
    text = str(caught.value)
    assert "org/m needs 4.0 kB, but NYALA_QUOTA=10kB leaves 4.0 kB: fetched files take 6.0 kB" in text
    assert text.index(str(folders[3])) < text.index(str(folders[2])) < text.index(str(folders[1]))
    assert str(folders[0]) not in text
    assert quota.quota() == 10_000
