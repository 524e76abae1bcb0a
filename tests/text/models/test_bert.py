"""BERT: parity with transformers on tiny random models, and what every architecture must offer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, NyalaError, ShapeError
from nyala.hub.load import load
from nyala.text.models import bert

GOLDENS = Path(__file__).parents[2] / "goldens"
FOLDERS = ("bert", "bert_classifier", "bert_tagger", "bert_masked_lm")


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def build(name: str) -> tuple[Any, dict[str, np.ndarray]]:
    """A tiny model with transformers' weights, and what transformers computes with them."""
    folder = GOLDENS / "text" / name
    return load(str(folder), task="feature-extraction").model, checkpoint.load_file(folder / "goldens.safetensors")


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    return build(request.param)


def inputs(frozen: dict[str, np.ndarray]) -> dict[str, nyala.Tensor]:
    return {k: nyala.from_numpy(frozen[k]) for k in ("input_ids", "attention_mask", "token_type_ids")}


def outputs(out: Any) -> dict[str, nyala.Tensor]:
    if isinstance(out, bert.BertOutput):
        return {"last_hidden_state": out.last_hidden_state, "pooler_output": out.pooler_output}
    return {"logits": out}


def test_outputs_equal_transformers(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    real = frozen["attention_mask"].astype(bool)
    with nyala.no_grad():
        named = outputs(model(**inputs(frozen)))
        plain = outputs(model(nyala.from_numpy(frozen["input_ids"])))
    for name, value in named.items():
        actual, expected = value.numpy(), frozen[name]
        if actual.shape[:2] == real.shape:  # what stands at padding means nothing
            actual, expected = actual[real], expected[real]
        assert relative(actual, expected) < 1e-5, name
    for name in (k for k in plain if f"plain.{k}" in frozen):
        assert relative(plain[name], frozen[f"plain.{name}"]) < 1e-5, name


def test_every_layers_output_equals_transformers() -> None:
    model, frozen = build("bert")
    real = frozen["attention_mask"].astype(bool)
    layers = [f"encoder.layer.{i}" for i in range(model.config.num_hidden_layers)]
    with nyala.no_grad():
        _, found = model.forward_intermediates(**inputs(frozen), names=["embeddings", *layers])
    for k, name in enumerate(["embeddings", *layers]):
        assert relative(found[name].numpy()[real], frozen[f"hidden_state.{k}"][real]) < 1e-5, name


def test_gradients_equal_transformers(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    named = outputs(model(**inputs(frozen)))
    out = named.get("logits", named.get("last_hidden_state"))
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = dict(model.named_parameters())
    names = [k for k in frozen if k.startswith("grad.")]
    assert len(names) > 20
    largest = max(np.abs(frozen[n]).max() for n in names)
    for name in names:
        grad = parameters[name.removeprefix("grad.")].grad
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(grad, frozen[name]) < 1e-4 or np.abs(np.asarray(grad) - frozen[name]).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_file_comes_back(name: str) -> None:
    folder = GOLDENS / "text" / name
    published = checkpoint.load_file(folder / "model.safetensors")
    model, _ = build(name)
    config = bert.export_config(model)
    keys = bert.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in published.items()}
    assert all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert bert.build(config).config == model.config


def test_the_published_sentence_model_has_our_tensors() -> None:
    shapes = json.loads((GOLDENS / "text" / "keys.json").read_text())
    expected = next(v for k, v in shapes.items() if "embeddings.word_embeddings.weight" in v)
    heads = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    model = bert.build({"model_type": "bert", "architectures": ["BertModel"], **heads})
    ours = {k: list(v.shape) for k, v in model.state_dict().items()}
    assert ours == {k: v for k, v in expected.items() if not k.endswith("position_ids")}


@pytest.mark.parametrize("rename", ["prefix", "gamma", "position_ids", "decoder"])
def test_old_spellings_load(rename: str, tmp_path: Path) -> None:
    name = "bert_masked_lm" if rename == "decoder" else "bert"
    folder = GOLDENS / "text" / name
    arrays = checkpoint.load_file(folder / "model.safetensors")
    if rename == "prefix":
        arrays = {f"bert.{k}": v for k, v in arrays.items()} | {"cls.predictions.bias": np.zeros(3, np.float32)}
    elif rename == "gamma":
        swap = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        arrays = {next((k.replace(a, b) for a, b in swap.items() if a in k), k): v for k, v in arrays.items()}
    elif rename == "position_ids":
        arrays["embeddings.position_ids"] = np.arange(32)[None]
    else:
        arrays["cls.predictions.decoder.weight"] = arrays["bert.embeddings.word_embeddings.weight"]
    checkpoint.save_file(arrays, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    model, expected = load(str(tmp_path), task="feature-extraction").model, build(name)[0]
    assert all(np.array_equal(v.numpy(), expected.state_dict()[k].numpy()) for k, v in model.state_dict().items())


def test_padding_changes_nothing(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    ids = frozen["input_ids"][:1, :5]
    padded = np.concatenate([ids, np.full((1, 4), 7)], axis=1)
    mask = np.array([[1] * 5 + [0] * 4])
    with nyala.no_grad():
        short = outputs(model(nyala.from_numpy(ids), nyala.from_numpy(np.ones_like(ids))))
        long = outputs(model(nyala.from_numpy(padded), nyala.from_numpy(mask)))
    for name in short:
        a, b = short[name].numpy(), long[name].numpy()
        assert relative(b[:, :5] if b.ndim == 3 else b, a) < 1e-5, name


def test_every_parameter_gets_a_gradient(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    model.train()
    nyala.manual_seed(0)
    sum(o.square().sum() for o in outputs(model(**inputs(frozen))).values() if o is not None).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda m: m(nyala.zeros(33, dtype="int64")), ShapeError, r"takes \(N, T\)"),
        (lambda m: m(nyala.zeros(1, 33, dtype="int64")), ShapeError, "at embeddings .*33 tokens in a row, the model has 32"),
        (lambda m: m(nyala.zeros(1, 3, dtype="int64"), nyala.ones(1, 4)), ShapeError, "attention_mask"),
    ],
)
def test_bad_shapes(call: Any, kind: type[NyalaError], text: str) -> None:
    with pytest.raises(kind, match=text):
        call(build("bert")[0])


@pytest.mark.parametrize(
    ("config", "kind", "text"),
    [
        ({"is_decoder": True}, DataError, "is a decoder"),
        ({"position_embedding_type": "relative_key"}, DataError, "relative_key"),
        ({"hidden_size": 10, "num_attention_heads": 3}, ArgumentError, "no multiple"),
        ({"hidden_act": "gelou"}, ArgumentError, "did you mean 'gelu'"),
        ({"architectures": ["BertForMultipleChoice"]}, DataError, "is not built"),
    ],
)
def test_bad_configurations(config: dict[str, Any], kind: type[NyalaError], text: str) -> None:
    with pytest.raises(kind, match=text):
        bert.build({"model_type": "bert", **config})
