"""A local folder as a source: in place, and held against the card's hashes where it has them."""

from __future__ import annotations

import hashlib

import pytest
from nyala.errors import IntegrityError, MissingFileError
from nyala.hub.cards import FileSpec, SourceSpec
from nyala.hub.sources import open_source


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "weights.bin").write_bytes(b"right")
    return tmp_path / "m"


def source(folder, files=None, **settings):
    spec = SourceSpec(kind="folder", folder=settings.pop("name", str(folder)), files=files or {})
    return open_source(spec, folder.parent / "cache", **settings)


RIGHT = hashlib.sha256(b"right").hexdigest()


def test_files_are_used_in_place_under_their_local_names(folder):
    files = source(folder, {"pytorch_model.bin": FileSpec("weights.bin", RIGHT)}).cached()
    assert dict(files) == {"pytorch_model.bin": folder / "weights.bin"}
    assert files.hashes == {"pytorch_model.bin": RIGHT}
    assert list(source(folder).fetch(patient=True)) == ["weights.bin"]


def test_a_relative_folder_lies_beside_the_card(folder):
    assert list(source(folder, name="m", beside=folder.parent).cached()) == ["weights.bin"]


def test_wrong_bytes_are_refused_and_never_deleted(folder, caplog):
    (folder / "weights.bin").write_bytes(b"wrong")
    wrong = source(folder, {"pytorch_model.bin": FileSpec("weights.bin", RIGHT)})
    assert wrong.cached() is None
    assert "the card says" in caplog.text
    with pytest.raises(IntegrityError, match=r"weights.bin has sha256 .* the card says"):
        wrong.fetch(patient=True)
    assert (folder / "weights.bin").read_bytes() == b"wrong"


def test_what_is_not_there(folder):
    assert source(folder, name=str(folder / "nowhere")).cached() is None
    with pytest.raises(MissingFileError, match="there is no folder"):
        source(folder, name=str(folder / "nowhere")).fetch(patient=True)
    with pytest.raises(MissingFileError, match=r"has no config.json"):
        source(folder, {"config.json": FileSpec()}).fetch(patient=True)
