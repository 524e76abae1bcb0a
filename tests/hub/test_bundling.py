"""Packing models into one file, and using them from there: the same bytes, the same answers, nothing unpacked."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import msgspec
import numpy as np
import nyala
import pytest
from nyala.core.checkpoint import load_file, save_sharded
from nyala.core.part import FilePart
from nyala.errors import ArgumentError, IntegrityError, MissingFileError, StorageError, UnknownNameError
from nyala.hub import bundling
from nyala.hub.bundled import open_bundle
from nyala.hub.bundling import bundle
from nyala.hub.client import fetch
from nyala.hub.integrity import sha256_file


@pytest.fixture
def made(tiny_card, tmp_path):
    """A bundle of the card's model."""
    assert tiny_card.name == "tiny"
    return bundle(["tiny"], tmp_path / "zoo.nyala").path


def same_weights(a, b) -> bool:
    return all(np.array_equal(x.numpy(), b.state_dict()[name].numpy()) for name, x in a.state_dict().items())


def test_a_bundle_holds_weights_configuration_card_labels_and_golden(made, tiny_card):
    opened = open_bundle(made)
    assert opened.names == ["tiny"]
    assert set(opened.files("tiny")) == {"config.json", "model.safetensors"}
    card = opened.card("tiny")
    assert (
        card.label_names() == tiny_card.label_names() and card.license == "MIT" and card.preprocessing == tiny_card.preprocessing
    )
    packed = opened.model("tiny").packed
    assert packed.golden == tiny_card.golden and packed.golden_from == "the card" and packed.license == "MIT"
    assert opened.model("small-one").name == "tiny"  # an alias on the card


def test_the_model_is_loaded_from_where_it_lies(made, tiny_folder, tmp_path, monkeypatch):
    shutil.rmtree(tiny_folder)
    monkeypatch.setattr("nyala.hub.client.list_models", list)  # as on a machine that never heard of it
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "fresh"))
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    pipe = nyala.load(made)
    assert pipe.name == "tiny" and pipe.labels == ("cat", "dog", "newt", "toad", "crow")
    assert all(isinstance(pipe.files[name], FilePart) for name in pipe.files)
    assert pipe.files.origin == f"bundle {made}#tiny"
    unpacked = [p for p in (tmp_path / "fresh").rglob("*") if p.is_file()]
    assert [p.name for p in unpacked] == ["bundles.verified.json"]  # the memory of hashes, and no weights
    assert pipe(np.zeros((40, 40, 3), np.uint8)).label in pipe.labels


def test_weights_are_the_same_and_aligned(made, tiny_folder):
    part = fetch(str(made))["model.safetensors"]
    assert part.start % 64 == 0
    ours, theirs = load_file(part), load_file(tiny_folder / "model.safetensors")
    assert all(np.array_equal(ours[name], theirs[name]) and not ours[name].flags.owndata for name in theirs)
    assert same_weights(nyala.load(made).model, nyala.load(tiny_folder).model)


@pytest.mark.usefixtures("tiny_card")
def test_equal_models_make_equal_bytes_whatever_the_order_and_the_clock(tiny_folder, tmp_path):
    second = shutil.copytree(tiny_folder, tmp_path / "elsewhere" / "other")
    one = bundle(["tiny", str(second)], tmp_path / "1.nyala")
    for name in ("config.json", "model.safetensors"):
        os.utime(second / name, (1, 1))
        os.utime(tiny_folder / name, (2, 2))
    two = bundle([str(second), "tiny"], tmp_path / "2.nyala")
    assert one.path.read_bytes() == two.path.read_bytes() and one.sha256 == two.sha256 == sha256_file(one.path)
    assert one.size == one.path.stat().st_size and one.models["tiny"][0] == 2


def test_any_zip_program_reads_it(made, tiny_folder):
    with zipfile.ZipFile(made) as archive:
        assert archive.testzip() is None
        assert archive.namelist()[0] == "manifest.json"
        assert archive.read("tiny/files/model.safetensors") == (tiny_folder / "model.safetensors").read_bytes()
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


@pytest.mark.usefixtures("tiny_card")
def test_large_members_are_written_with_64_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(bundling, "_BIG", 1000)
    path = bundle(["tiny"], tmp_path / "big.nyala").path
    part = fetch(str(path))["model.safetensors"]
    assert part.size > 1000 and part.start % 64 == 0
    assert nyala.load(path).name == "tiny"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


@pytest.mark.usefixtures("tiny_card")
def test_of_several_models_one_is_named(tiny_folder, tmp_path):
    path = bundle(["tiny", str(tiny_folder)], tmp_path / "two.nyala").path
    with pytest.raises(ArgumentError, match=r"bundle of 2 models: it holds m, tiny\. Remedy: name one: .*two\.nyala#m"):
        nyala.load(path)
    assert nyala.load(f"{path}#tiny").card.name == "tiny"
    assert nyala.load(f"{path}#m").card is None
    with pytest.raises(UnknownNameError, match=r"holds no model called 'tinny'.*did you mean 'tiny'"):
        nyala.load(f"{path}#tinny")


def test_a_folder_gets_a_golden_of_its_own_and_only_what_a_loader_needs(tiny_folder, tmp_path):
    (tiny_folder / "optimizer.pt").write_bytes(b"not needed")
    (tiny_folder / "notes.txt").write_text("private")
    path = bundle([str(tiny_folder)], tmp_path / "f.nyala").path
    opened = open_bundle(path)
    assert set(opened.files("m")) == {"config.json", "model.safetensors"}
    packed = opened.model().packed
    assert packed.golden.input == "waves 3x32x32" and packed.golden_from == "the machine that made the bundle"
    assert str(tiny_folder) not in opened.part("manifest.json").read_text()  # nobody needs to know where it lay


def test_the_result_of_a_run_is_called_like_the_run(tiny_folder, tmp_path):
    run = tmp_path / "runs" / "shoes-1"
    shutil.copytree(tiny_folder, run / "model")
    (run / "manifest.json").write_text("{}")
    assert open_bundle(bundle([str(run)], tmp_path / "r.nyala").path).names == ["shoes-1"]


def test_sharded_weights_stay_sharded(tiny_folder, tmp_path):
    folder = tmp_path / "sharded"
    folder.mkdir()
    shutil.copy(tiny_folder / "config.json", folder)
    shards = save_sharded(load_file(tiny_folder / "model.safetensors"), folder, max_shard_bytes=40_000)
    assert len(shards) > 1
    path = bundle([str(folder)], tmp_path / "s.nyala").path
    assert set(fetch(str(path))) == {"config.json", "model.safetensors.index.json", *shards}
    assert same_weights(nyala.load(path).model, nyala.load(tiny_folder).model)
    (folder / shards[0]).unlink()
    with pytest.raises(MissingFileError, match=shards[0]):
        bundle([str(folder)], tmp_path / "s2.nyala")


def test_a_text_model_keeps_its_tokenizer_and_pooling(text_folder, tmp_path):
    path = bundle([str(text_folder)], tmp_path / "t.nyala").path
    there, here = nyala.load(path), nyala.load(text_folder)
    assert np.array_equal(there(["the cat"]).array, here(["the cat"]).array)
    assert open_bundle(path).model().packed.golden.input == "The cat sat on the mat."


def test_the_hash_is_remembered_and_a_change_is_seen(made):
    nyala.load(made)
    part = fetch(str(made))["model.safetensors"]
    raw = bytearray(made.read_bytes())
    raw[part.start + part.size // 2] ^= 1
    made.write_bytes(raw)
    with pytest.raises(IntegrityError, match=r"zoo\.nyala/tiny/files/model\.safetensors has sha256 .* manifest says"):
        nyala.load(made)


def test_a_wrong_golden_answer_is_not_packed(tiny_card, tmp_path, monkeypatch):
    golden = msgspec.structs.replace(tiny_card.golden, output=[v + 1 for v in tiny_card.golden.output])
    monkeypatch.setattr("nyala.hub.client.list_models", lambda: [msgspec.structs.replace(tiny_card, golden=golden)])
    with pytest.raises(IntegrityError, match="does not answer as its card says"):
        bundle(["tiny"], tmp_path / "w.nyala")
    assert not (tmp_path / "w.nyala").exists()


def test_bytes_that_change_while_they_are_packed_are_noticed(tiny_folder, tmp_path, monkeypatch):
    chunks, path = bundling._chunks, tmp_path / "c.nyala"

    def changing(data):
        seen = changing.seen = changing.seen + (data == tiny_folder / "config.json")
        yield from (chunks(data) if seen < 2 or data != tiny_folder / "config.json" else [b"{}"])

    changing.seen = 0
    monkeypatch.setattr(bundling, "_chunks", changing)
    with pytest.raises((IntegrityError, RuntimeError), match=r"changed while|size"):
        bundle([str(tiny_folder)], path)
    assert not path.exists() and not list(tmp_path.glob(".nyala-tmp*"))


@pytest.mark.parametrize(
    ("names", "output", "said"),
    [
        (["tiny"], "zoo.zip", "does not end in .nyala"),
        ([], "zoo.nyala", "no name was given"),
        (["tiny", "small-one"], "zoo.nyala", "two models would be called 'tiny'"),
    ],
)
@pytest.mark.usefixtures("tiny_card")
def test_the_users_mistakes(tmp_path, names, output, said):
    with pytest.raises(ArgumentError, match=said):
        bundle(names, tmp_path / output)


def test_a_bundle_of_a_bundle_and_a_missing_folder_are_refused(made, tmp_path):
    with pytest.raises(ArgumentError, match="is a bundle already"):
        bundle([str(made)], tmp_path / "x.nyala")
    with pytest.raises(StorageError, match="nowhere"):
        bundle(["tiny"], tmp_path / "nowhere" / "x.nyala")
    with pytest.raises(ArgumentError, match="one revision"):
        nyala.load(made, revision="main")


def test_an_adapter_is_refused(tiny_folder, tmp_path, monkeypatch):
    files = fetch(str(tiny_folder))
    with_adapter = type(files)({**files, "adapter_config.json": files["config.json"]}, origin=files.origin)
    monkeypatch.setattr(bundling, "fetch_resolved", lambda *_, **__: with_adapter)
    with pytest.raises(ArgumentError, match="merge it into its base"):
        bundle([str(tiny_folder)], tmp_path / "x.nyala")


@pytest.mark.usefixtures("tiny_card")
def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bundling.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))  # noqa: ARG005
    with pytest.raises(StorageError, match=r"needs 1\d\d\.\d kB, but its disk has 1 byte free"):
        bundle(["tiny"], tmp_path / "x.nyala")


def test_a_lock_file_decides_which_bytes_are_packed(hub, client, tiny_folder, tmp_path):
    files = {p.name: p.read_bytes() for p in tiny_folder.iterdir()}
    first = hub.commit("org/m", files)
    hub.repos["org/m"].tags = ["license:mit"]
    path = tmp_path / "weights.lock.toml"
    code = f"""
    from nyala.hub import locking, bundling
    from nyala.hub.bundled import open_bundle
    locking.lock(["org/m"], {str(path)!r})
    answer(None)
    """
    client(hub.url, code)
    hub.commit("org/m", {**files, "model.safetensors": files["model.safetensors"][:-4] + b"\1\2\3\4"})
    code = f"""
    from nyala.hub.bundling import bundle
    from nyala.hub.bundled import open_bundle
    made = bundle(["org/m"], {str(tmp_path / "l.nyala")!r}, lock={str(path)!r})
    packed = open_bundle(made.path).model().packed
    answer([packed.revision, packed.license, packed.folder, open_bundle(made.path).names])
    """
    fresh = {"NYALA_CACHE": str(tmp_path / "fresh"), "HF_HOME": str(tmp_path / "fresh-hf")}
    assert client(hub.url, code, **fresh) == [first, "mit", "org%2Fm", ["org/m"]]
    assert json.loads(zipfile.ZipFile(tmp_path / "l.nyala").read("manifest.json"))["models"]["org/m"]["card"] is False
