"""Checkpoints in several files: every tensor in exactly the shard that the index names, and no way out of the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nyala.core import checkpoint
from nyala.core.errors import ArgumentError, CheckpointError, StorageError

GOLDENS = Path(__file__).parents[1] / "goldens" / "pth"
TENSORS = {name: np.full((4, 2), i, np.float32) for i, name in enumerate(["d", "a", "c", "b"])}  # 32 bytes each


def put(folder: Path, weight_map: object, **more: object) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 128}, "weight_map": weight_map, **more}))
    return path


def test_what_is_saved_comes_back_without_a_copy(tmp_path):
    files = checkpoint.save_sharded(TENSORS, tmp_path, max_shard_bytes=70, metadata={"format": "np"})
    assert files == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        read = checkpoint.load_sharded(path)
        assert read.keys() == TENSORS.keys()
        for name, array in read.items():
            np.testing.assert_array_equal(array, TENSORS[name])
            assert not array.flags.owndata
    assert checkpoint.read_header(tmp_path / files[1]).metadata == {"format": "np"}
    assert json.loads((tmp_path / "model.safetensors.index.json").read_text())["metadata"] == {"total_size": 128}


def test_equal_content_makes_equal_files(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        checkpoint.save_sharded(TENSORS, tmp_path / name, max_shard_bytes=40)
    left, right = (sorted((p.name, p.read_bytes()) for p in (tmp_path / name).iterdir()) for name in "ab")
    assert left == right and len(left) == 5


def test_a_small_checkpoint_is_one_file_and_a_large_tensor_has_its_own(tmp_path):
    assert checkpoint.save_sharded(TENSORS, tmp_path) == ["model.safetensors"]
    assert checkpoint.load_sharded(tmp_path, dtype="float64")["c"].dtype == np.float64
    (tmp_path / "large").mkdir()
    files = checkpoint.save_sharded({"small": np.zeros(1), "large": np.zeros(99), "last": np.zeros(1)}, tmp_path / "large", 16)
    assert [sorted(checkpoint.load_file(tmp_path / "large" / file)) for file in files] == [["small"], ["large"], ["last"]]


def test_a_folder_with_weights_is_not_written_over(tmp_path):
    checkpoint.save_sharded(TENSORS, tmp_path, max_shard_bytes=40)
    with pytest.raises(StorageError, match=r"already holds model-00001-of-00004.safetensors"):
        checkpoint.save_sharded(TENSORS, tmp_path)
    with pytest.raises(StorageError, match=r"could not write .*none"):
        checkpoint.save_sharded(TENSORS, tmp_path / "none")
    with pytest.raises(ArgumentError, match="max_shard_bytes is 0"):
        checkpoint.save_sharded(TENSORS, tmp_path, 0)


def test_pytorch_shards_and_a_single_pytorch_file_are_read(tmp_path):
    shutil.copy(GOLDENS / "training.zip.pth", tmp_path / "pytorch_model.bin")
    names = sorted(checkpoint.load_sharded(tmp_path))
    assert names[:2] == ["0.bias", "0.weight"]
    shutil.copy(GOLDENS / "training.legacy.pth", tmp_path / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": dict.fromkeys(names, "pytorch_model-00001-of-00001.bin")}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert sorted(checkpoint.load_sharded(tmp_path)) == names


@pytest.mark.parametrize(
    "shard",
    [
        "../../etc/passwd",
        "../model-00001-of-00002.safetensors",
        "/model.safetensors",
        "sub/model.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        ".hidden.safetensors",
        "model.safetensors\n",
        "model.safetensors\0.safetensors",
        "model.pkl",
        "model.py",
        "",
        3,
        None,
        ["model.safetensors"],
    ],
)
def test_a_shard_name_that_is_no_plain_weight_file_is_refused(tmp_path, shard):
    path = put(tmp_path, {"a": shard})
    with pytest.raises(CheckpointError, match=r"tensor 'a' is said to be in .*in the index's own folder") as caught:
        checkpoint.load_sharded(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "does not begin with '{'"),
        (b"[]", "does not begin with '{'"),
        (b"{", "does not begin with '{' and end"),
        (b"{}", "has no weight_map"),
        (b'{"weight_map":{}}', "has no weight_map"),
        (b'{"weight_map":["a"]}', "has no weight_map"),
        (b'{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}', "'a' is given twice in the index"),
        (b'{"weight_map":{"a":"x.safetensors"},"weight_map":{}}', "'weight_map' is given twice in the index"),
        (b'{"weight_map":{"a":NaN}}', "the index holds NaN"),
        (b'{"weight_map":' + b"[" * 100_000 + b"}", "nested too deeply"),
        (b'{"weight_map":\xff}', "the index is not UTF-8"),
    ],
)
def test_a_malformed_index_is_refused(tmp_path, raw, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_bytes(raw)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_sharded(path)
    assert text in str(caught.value) and str(path) in str(caught.value)


def test_missing_and_extra_tensors_and_shards_are_named(tmp_path):
    checkpoint.save_sharded(TENSORS, tmp_path, max_shard_bytes=70)
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    right = {"d": one, "a": one, "c": two, "b": two}
    with pytest.raises(CheckpointError, match=f"{one} lacks 'e'"):
        checkpoint.load_sharded(put(tmp_path, {**right, "e": one}))
    with pytest.raises(CheckpointError, match=f"{two} lacks 'd'"):
        checkpoint.load_sharded(put(tmp_path, {"c": two, "b": two, "d": two}))
    with pytest.raises(CheckpointError, match=f"{one} also holds 'a'"):
        checkpoint.load_sharded(put(tmp_path, {"d": one, "c": two, "b": two}))
    put(tmp_path, right)
    (tmp_path / two).unlink()
    with pytest.raises(CheckpointError, match=f"{two} is missing: model.safetensors.index.json puts 2 tensors there"):
        checkpoint.load_sharded(tmp_path)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    checkpoint.save_file({"a": np.zeros(1)}, tmp_path / "m-1.safetensors")
    checkpoint.save_file({"a": np.ones(1), "b": np.ones(1)}, tmp_path / "m-2.safetensors")
    with pytest.raises(CheckpointError, match=r"m-2.safetensors also holds 'a'"):
        checkpoint.load_sharded(put(tmp_path, {"a": "m-1.safetensors", "b": "m-2.safetensors"}))


def test_a_folder_without_weights_and_a_missing_index(tmp_path):
    with pytest.raises(CheckpointError, match="has no weights"):
        checkpoint.load_sharded(tmp_path)
    with pytest.raises(CheckpointError, match="there is no file"):
        checkpoint.load_sharded(tmp_path / "model.safetensors.index.json")
