"""``nyala verify NAME``: right, damaged, absent, unknown; offline, and without deleting anything."""

from __future__ import annotations

import json

import nyala
import pytest
from nyala.errors import ArgumentError, NetworkError, UnknownNameError
from nyala.hub.verification import verify

FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(range(256)) * 40}


def test_the_cards_hashes_and_golden_are_compared(tiny_card):
    verdict = verify("tiny")
    assert verdict.right and verdict.authority == "the card" and verdict.answer.right
    assert {f.name: f.state for f in verdict.files} == {"config.json": "ok", "model.safetensors": "ok"}
    assert verdict.answer.expected == tiny_card.golden.argmax
    text = str(verdict)
    assert text.startswith("tiny: folder") and text.endswith("right: 2 files, and the golden answer")
    assert json.loads(json.dumps(verdict.as_json()))["golden"]["right"]


@pytest.mark.usefixtures("tiny_card")
def test_a_damaged_file_is_named_and_kept_and_the_model_not_run(tiny_folder):
    nyala.load("tiny")
    path = tiny_folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    verdict = verify("tiny")
    assert not verdict.right and verdict.answer is None and path.is_file()
    assert [f.name for f in verdict.damaged] == ["model.safetensors"]
    assert "model.safetensors should have sha256" in str(verdict) and "restore the files" in str(verdict)


@pytest.mark.usefixtures("tiny_card")
def test_rot_that_leaves_size_and_time_as_they_were_is_found(tiny_folder):
    """What the memory of hashes cannot see: the file is read anew."""
    import os

    verify("tiny")
    path = tiny_folder / "model.safetensors"
    times = path.stat()
    with open(path, "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    nyala.load("tiny")  # remembered
    assert [f.name for f in verify("tiny").damaged] == ["model.safetensors"]


def test_a_wrong_answer_from_right_files_is_told_apart(tiny_card, monkeypatch):
    import msgspec

    golden = msgspec.structs.replace(tiny_card.golden, argmax=(tiny_card.golden.argmax + 1) % 5)
    monkeypatch.setattr("nyala.hub.client.list_models", lambda: [msgspec.structs.replace(tiny_card, golden=golden)])
    verdict = verify("tiny")
    assert not verdict.right and not verdict.damaged
    assert "DIFFERENT" in str(verdict) and "the files are right and the answer is not" in str(verdict)
    assert verify("tiny", golden=False).right


def test_a_folder_of_which_nobody_knows_anything_is_not_called_right(tiny_folder):
    verdict = verify(tiny_folder)
    assert not verdict.right and "nothing to compare with" in str(verdict) and verdict.authority == "nobody"


@pytest.mark.weights
@pytest.mark.parametrize("name", [card.name for card in nyala.list_models() if card.golden])
def test_real_weights_are_right(name):
    nyala.pull(name)
    verdict = verify(name)
    assert verdict.right and verdict.answer.right and all(f.state == "ok" for f in verdict.files)


def test_a_bundle_is_held_against_a_lock_file_that_is_named(tiny_card, tmp_path):
    from nyala.hub import lockfile
    from nyala.hub.bundling import bundle
    from nyala.hub.cards import FileSpec, SourceSpec

    path, lock = bundle([tiny_card.name], tmp_path / "z.nyala").path, tmp_path / "weights.lock.toml"
    files = {name: FileSpec(sha256=spec.sha256) for name, spec in tiny_card.sources[0].files.items()}

    def against(files):
        lockfile.write(lock, {"tiny": lockfile.Entry(SourceSpec(kind="hub", repo="org/m", commit="a" * 40, files=files))})
        return verify(path, golden=False, lock=lock)

    assert against(files).right and against(files).authority == "weights.lock.toml"
    assert [f.state for f in against({**files, "config.json": FileSpec(sha256="0" * 64)}).damaged] == ["DAMAGED"]
    assert [f.state for f in against({**files, "vocab.txt": FileSpec(sha256="0" * 64)}).damaged] == ["MISSING"]
    with pytest.raises(UnknownNameError, match="has no tiny"):
        lockfile.write(lock, {})
        verify(path, lock=lock)
    with pytest.raises(ArgumentError, match="is in no lock file"):
        verify(tmp_path / "m", lock=lock)


def test_what_is_not_here_and_what_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    with pytest.raises(NetworkError, match=r"not on this machine.*nyala pull org/m"):
        verify("org/m")
    with pytest.raises(UnknownNameError, match="resnet18"):
        verify("resnet81")


def test_fetched_files_are_compared_with_their_first_fetch_or_the_lock_without_a_network(hub, client, tmp_path):
    hub.commit("org/m", FILES)
    lock = tmp_path / "weights.lock.toml"
    client(hub.url, f"from nyala.hub import locking; answer(len(locking.lock(['org/m'], {str(lock)!r})))")
    asked = len(hub.log)
    code = """
    from nyala.hub.verification import verify
    verdict = verify("org/m", golden=False, lock={lock!r})
    answer([verdict.right, verdict.authority, [f.name for f in verdict.damaged], str(verdict)])
    """
    assert client(hub.url, code.format(lock=""))[:2] == [True, "the first fetch from model hub org/m"]
    assert client(hub.url, code.format(lock=str(lock)))[:2] == [True, "weights.lock.toml"]
    blob = next(path for path in client.hf.rglob("model.safetensors")).resolve()
    blob.write_bytes(FILES["model.safetensors"][::-1])
    for given in ("", str(lock)):
        right, _, damaged, text = client(hub.url, code.format(lock=given))
        assert (right, damaged) == (False, ["model.safetensors"])
        assert "nyala pull org/m" in text and ("--locked" in text) == bool(given)
    assert blob.is_file() and len(hub.log) == asked
