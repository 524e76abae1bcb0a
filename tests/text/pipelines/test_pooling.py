"""How vectors of tokens become one, read from sentence-transformers' files and written as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import DataError, MissingFileError
from nyala.hub.files import folder_files
from nyala.text.pipelines.pooling import Dense, Pooling

RNG = np.random.default_rng(0)


def published(folder: Path, parts: list[str], pooling: dict[str, Any], dense: dict[str, Any] | None = None) -> Path:
    """The files beside the weights."""
    modules = [
        {"idx": i, "type": f"sentence_transformers.models.{part}", "path": f"{i}_{part}" if i else ""}
        for i, part in enumerate(parts)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if dense is not None:
        (folder / "2_Dense").mkdir()
        (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    return folder


MEAN = {"pooling_mode_mean_tokens": True}
LAYER = {"in_features": 4, "out_features": 3, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}


def weights(folder: Path, bias: bool = True) -> dict[str, np.ndarray]:
    arrays = {"linear.weight": RNG.normal(size=(3, 4)).astype(np.float32)}
    arrays |= {"linear.bias": RNG.normal(size=3).astype(np.float32)} if bias else {}
    checkpoint.save_file(arrays, folder / "2_Dense" / "model.safetensors")
    return arrays


def test_a_layer_behind_the_pooling_is_read_used_and_written(tmp_path: Path) -> None:
    folder = published(tmp_path, ["Transformer", "Pooling", "Dense", "Normalize"], MEAN, LAYER)
    arrays = weights(folder)
    pooling = Pooling.from_files(folder_files(folder))
    hidden = RNG.normal(size=(2, 5, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    mean = np.stack([hidden[0, :3].mean(0), hidden[1].mean(0)])
    expected = np.tanh(mean @ arrays["linear.weight"].T + arrays["linear.bias"])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = pooling(nyala.from_numpy(hidden), nyala.from_numpy(mask)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert json.loads(pooling.files(4)["2_Dense/config.json"]) == LAYER
    assert [m["type"].rpartition(".")[2] for m in json.loads(pooling.files(4)["modules.json"])] == [
        "Transformer", "Pooling", "Dense", "Normalize",
    ]  # fmt: skip
    written = pooling.arrays()["2_Dense/model.safetensors"]
    assert all(np.array_equal(written[name], array) for name, array in arrays.items())


@pytest.mark.parametrize(
    ("word", "mode"),
    [("mean", "mean"), ("cls", "cls"), ("max", "max"), ("lasttoken", "last"), ("weightedmean", "weightedmean")],
)
def test_newer_files_name_the_pooling_by_a_word(tmp_path: Path, word: str, mode: str) -> None:
    folder = published(tmp_path, ["Transformer", "Pooling"], {"embedding_dimension": 4, "pooling_mode": word})
    assert Pooling.from_files(folder_files(folder)) == Pooling(mode)


@pytest.mark.parametrize(
    ("parts", "dense", "text"),
    [
        (["Transformer", "Pooling", "CNN"], None, "asks for CNN"),
        (["Transformer", "Pooling", "Dense"], {**LAYER, "out_features": 5}, "its config.json says"),
        (["Transformer", "Pooling", "Dense"], {**LAYER, "activation_function": "torch.nn.Softsign"}, "'Softsign'"),
        (["Transformer", "Pooling", "Normalize", "Dense"], LAYER, "behind Normalize"),
    ],
)
def test_what_cannot_be_built_is_told(tmp_path: Path, parts: list[str], dense: dict[str, Any] | None, text: str) -> None:
    folder = published(tmp_path, parts, MEAN, dense)
    if dense is not None:
        weights(folder)
    with pytest.raises(DataError, match=text):
        Pooling.from_files(folder_files(folder))


def test_a_layer_without_weights_and_broken_lists_are_told(tmp_path: Path) -> None:
    folder = published(tmp_path, ["Transformer", "Pooling", "Dense"], MEAN, LAYER)
    with pytest.raises(MissingFileError, match=r"2_Dense/model\.safetensors"):
        Pooling.from_files(folder_files(folder))
    (folder / "modules.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="no list of modules"):
        Pooling.from_files(folder_files(folder))


def test_a_layer_of_its_own_dtype_follows_the_vectors() -> None:
    layer = Dense(nyala.ones(2, 4), None, "Identity")
    assert layer(nyala.ones(1, 4).to("float64")).dtype == np.float64
