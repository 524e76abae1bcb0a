"""Datasets of a model hub: the same care as for weights, on the dataset side."""

from __future__ import annotations

import re

import pytest
from nyala.errors import AccessError, IntegrityError, MissingFileError, NetworkError, StorageError, UnknownNameError
from nyala.hub.datasets import fetch_dataset

ROWS = b"text,label\n" + b"a line,1\n" * 500  # stored as a big file
FILES = {"train.csv": ROWS, "README.md": b"# d", "data/test.csv": b"text,label\nx,0\n"}


def tables(names):
    return [name for name in names if name.endswith(".csv")]


@pytest.fixture
def hub_with_data(world):
    world.first = world.hub.commit("org/d", FILES)
    world.hub.repos["org/d"].kind = "dataset"
    return world


def test_it_is_fetched_once_and_stays_what_it_is(hub_with_data):
    world = hub_with_data
    found = fetch_dataset("org/d", tables)
    assert sorted(found.files) == ["data/test.csv", "train.csv"]
    assert found.commit == world.first
    assert (found.folder / "train.csv").read_bytes() == found.files["train.csv"].read_bytes() == ROWS
    assert "datasets--org--d" in str(found.folder)
    world.hub.commit("org/d", {"train.csv": b"moved"})
    world.hub.log.clear()
    assert fetch_dataset("org/d", tables) == found
    assert world.hub.log == []


def test_a_cut_download_goes_on(hub_with_data):
    hub_with_data.hub.fault("cut", match="/lfs/", at=1000)
    assert fetch_dataset("org/d", tables).files["train.csv"].read_bytes() == ROWS
    assert hub_with_data.ranges() == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("org/nothing", UnknownNameError, r"has no dataset org/nothing that you may see.*/datasets\?search=nothing"),
        ("org/d@v9", UnknownNameError, r"hub dataset org/d has no revision 'v9'.*/datasets/org/d"),
        ("d", UnknownNameError, "no name of a hub dataset"),
    ],
)
@pytest.mark.usefixtures("hub_with_data")
def test_names_that_are_wrong(name, kind, words):
    with pytest.raises(kind) as caught:
        fetch_dataset(name, tables)
    assert re.search(words, str(caught.value))


def test_what_goes_wrong_is_told(hub_with_data, monkeypatch):
    world = hub_with_data
    with pytest.raises(MissingFileError, match=r"holds no data that nyala can read"):
        fetch_dataset("org/d", lambda _: [], "nothing")
    monkeypatch.setenv("NYALA_QUOTA", "3kB")
    with pytest.raises(StorageError, match="NYALA_QUOTA=3kB"):
        fetch_dataset("org/d", tables)
    monkeypatch.delenv("NYALA_QUOTA")
    world.hub.fault("corrupt", match="/lfs/", times=9, at=7)
    with pytest.raises(IntegrityError, match=r"hub dataset org/d: train\.csv has sha256"):
        fetch_dataset("org/d", tables)
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    with pytest.raises(NetworkError, match="not cached"):
        fetch_dataset("org/d", tables)


def test_gated(hub_with_data):
    hub_with_data.hub.repos["org/d"].gated = True
    with pytest.raises(AccessError) as caught:
        fetch_dataset("org/d", tables)
    assert f"accept the licence at {hub_with_data.hub.url}/datasets/org/d" in str(caught.value)
