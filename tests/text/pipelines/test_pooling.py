"""How vectors of tokens become one, read from sentence-transformers' files and written as they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, MissingFileError
from nyala.hub.files import folder_files
from nyala.recipes.cli import main
from nyala.text.pipelines.embedding import TextEmbedding
from nyala.text.pipelines.pooling import Dense, Pooling
from nyala.text.pipelines.prompts import Prompts

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
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


def test_several_poolings_are_put_behind_each_other(tmp_path: Path) -> None:
    config = {**MEAN, "pooling_mode_cls_token": True, "pooling_mode_lasttoken": True, "include_prompt": False}
    pooling = Pooling.from_files(folder_files(published(tmp_path, ["Transformer", "Pooling"], config)))
    assert pooling == Pooling("cls+mean+last", include_prompt=False)
    hidden, mask = RNG.normal(size=(2, 3, 4)).astype(np.float32), np.array([[1, 1, 0], [1, 1, 1]])
    expected = [[hidden[0, 0], hidden[0, :2].mean(0), hidden[0, 1]], [hidden[1, 0], hidden[1].mean(0), hidden[1, 2]]]
    found = pooling(nyala.from_numpy(hidden), nyala.from_numpy(mask)).numpy()
    np.testing.assert_allclose(found, np.array(expected).reshape(2, 12), rtol=1e-6)
    again = tmp_path / "again"
    for name, content in pooling.files(4).items():
        (again / name).parent.mkdir(parents=True, exist_ok=True)
        (again / name).write_text(content)
    assert Pooling.from_files(folder_files(again)) == pooling


# ---- prompts


def embedding(folder: Path, prompts: Any, pooling: dict[str, Any] | None = None) -> TextEmbedding:
    """A tiny BERT with prompts beside it."""
    shutil.copytree(GOLDENS / "bert", folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", "text", ":", "sun", "rain"]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    if pooling is not None:
        published(folder, ["Transformer", "Pooling"], pooling)
    return nyala.load(str(folder), task="sentence-embedding")


def test_prompts_stand_before_texts(tmp_path: Path) -> None:
    pipe = embedding(tmp_path / "m", {"prompts": {"query": "query: ", "document": "text: "}, "default_prompt_name": "document"})
    plain = replace(pipe, prompts=Prompts())
    assert np.array_equal(pipe("sun"), plain("text: sun")) and np.array_equal(pipe("sun", prompt=""), plain("sun"))
    assert np.array_equal(pipe("sun", prompt_name="query"), plain("query: sun"))
    assert np.array_equal(next(pipe.stream(["sun"], prompt_name="query"))[0], plain("query: sun"))
    with pytest.raises(ArgumentError, match="has the prompts query, document") as told:
        pipe("sun", prompt_name="queri")
    assert "query" in str(told.value.fix)
    with pytest.raises(ArgumentError, match="published without prompts"):
        plain("sun", prompt_name="query")
    with pytest.raises(ArgumentError, match="both"):
        pipe("sun", prompt_name="query", prompt="x")


def test_a_prompt_may_be_left_out_of_the_mean(tmp_path: Path) -> None:
    pipe = embedding(tmp_path / "m", {"prompts": {"query": "query : "}}, {**MEAN, "include_prompt": False})
    batch = pipe.preprocess(["query : sun rain"])
    with nyala.no_grad():
        hidden = pipe.compute(batch).numpy()[0]
    assert batch["input_ids"].tolist() == [[2, 5, 7, 8, 9, 3]]
    np.testing.assert_allclose(pipe("sun rain", prompt_name="query"), hidden[3:].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pipe("query : sun rain"), hidden.mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"prompts": ["query"]}, "must be names with a text each"),
        ({"prompts": {}, "default_prompt_name": "q"}, "its prompts are none"),
    ],
)
def test_broken_prompts_are_told(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        embedding(tmp_path / "m", content)


def test_the_command_puts_prompts_before_questions_and_what_answers_them(tmp_path: Path, capsys: Any) -> None:
    prompts = {"prompts": {"query": "query: ", "document": "text: "}}
    pipe = embedding(tmp_path / "m", prompts)
    given = ["embed", "--text", "sun", "--text", "rain", "--model", str(tmp_path / "m"), "--quiet", "--json"]
    assert main([*given, "--query", "rain"]) == 0
    found = {one["text"]: one["cosine"] for one in json.loads(capsys.readouterr().out)["results"]}
    near = pipe(["rain"], prompt_name="query").similarity(pipe(["sun", "rain"], prompt_name="document"))[0]
    np.testing.assert_allclose([found["sun"], found["rain"]], near, atol=1e-5)
    assert main([*given, "--prompt-name", "query"]) == 0
    rows = [one["embedding"] for one in json.loads(capsys.readouterr().out)["results"]]
    np.testing.assert_allclose(rows, pipe(["sun", "rain"], prompt_name="query").array, atol=1e-6)
    assert main([*given, "--prompt-name", "odd"]) == 2 and "has the prompts query, document" in capsys.readouterr().err
