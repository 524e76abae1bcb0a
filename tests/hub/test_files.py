"""Files by their local names, and which of them are the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from nyala.errors import CheckpointError, DataError, MissingFileError
from nyala.hub.files import Files, folder_files
from nyala.hub.sources.selection import helper_files, shard_names, weight_file


def named(*names: str) -> Files:
    return Files({name: Path(name) for name in names}, origin="folder m")


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["pytorch_model.bin", "model.safetensors"], "model.safetensors"),
        (["model.safetensors", "model.safetensors.index.json"], "model.safetensors"),
        (["pytorch_model.bin", "model.safetensors.index.json"], "model.safetensors.index.json"),
        (["pytorch_model.bin", "config.json"], "pytorch_model.bin"),
        (["resnet-0123.pth", "config.json"], "resnet-0123.pth"),
        (["other.safetensors"], "other.safetensors"),
    ],
)
def test_which_file_holds_the_weights(names, weights):
    assert named(*names).weights() == weights


def test_no_weights_or_too_many():
    with pytest.raises(MissingFileError, match=r"folder m has no model.safetensors: .*what is there: config.json"):
        named("config.json").weights()
    with pytest.raises(CheckpointError, match=r"several weight files: a.pth, b.pth"):
        named("b.pth", "a.pth").weights()


def test_a_missing_file_says_what_it_is_for():
    with pytest.raises(MissingFileError, match=r"no tokenizer.json: it is needed to turn text into tokens; what is there: a, b"):
        named("b", "a").require("tokenizer.json", "turn text into tokens")
    assert named("a").require("a", "anything") == Path("a")


@pytest.mark.parametrize(("content", "message"), [(b"{", "is not JSON"), (b"\xff{}", "is not JSON"), (b"[]", "holds a list")])
def test_json_that_is_none(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        folder_files(tmp_path).read_json("config.json")


def test_a_folder_is_read_two_levels_deep_without_hidden_files(tmp_path):
    for name in ("config.json", ".git/config", "1_Pooling/config.json", "a/b/c.json", ".hidden"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert list(folder_files(tmp_path)) == ["1_Pooling/config.json", "config.json"]
    with pytest.raises(MissingFileError, match="there is no folder"):
        folder_files(tmp_path / "nowhere")


# -- what is taken from a repository


def test_helpers_are_taken_and_other_formats_are_not():
    names = ["config.json", "tokenizer.json", "vocab.txt", "merges.txt", "2_Normalize/config.json", "preprocessor_config.json"]
    others = ["README.md", "onnx/config.json", "tf_model.h5", "model.py", "../config.json", "training_args.bin", "x/vocab.txt"]
    assert helper_files([*names, *others]) == sorted(names)


def test_weights_of_a_repository():
    assert weight_file(["pytorch_model.bin", "model.safetensors"], "hub") == "model.safetensors"
    with pytest.raises(MissingFileError, match=r"it holds flax_model.msgpack, tf_model.h5"):
        weight_file(["tf_model.h5", "flax_model.msgpack"], "hub")


@pytest.mark.parametrize("bad", [None, [], {}, {"a": 3}, {"a": "../m-00001-of-00001.safetensors"}, {"a": "model.safetensors"},
                                 {"a": "/m-00001-of-00001.safetensors"}, {"a": "m-00001-of-00001.py"}])  # fmt: skip
def test_an_index_with_bad_shards(bad):
    with pytest.raises(CheckpointError, match=r"i\.json (names|has no weight_map)"):
        shard_names(bad, "i.json")


def test_shards_are_listed_once():
    a, b = "m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"
    assert shard_names({"x": b, "y": a, "z": b}, "i.json") == [a, b]
