"""Encoders: parity with transformers on tiny random models, and what every one of them must offer."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.core.nn import lora, peft
from nyala.errors import ArgumentError, CheckpointError, DataError, IndexRangeError, NyalaError, ShapeError
from nyala.hub import registry
from nyala.hub.load import load
from nyala.text.models import deberta
from nyala.text.pipelines import answering

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
BARE = ("roberta", "distilbert", "mpnet", "modernbert", "deberta", "electra", "albert")
NAMES = ("bert", *BARE)  # test_bert.py compares BERT with transformers
HEADS = ("_classifier", "_tagger", "_masked_lm", "_answers")
FOLDERS = (
    "bert_answers",
    *(name + head for name in BARE for head in ("", *HEADS)),
    "xlm_roberta_classifier",
    "xlm_roberta_masked_lm",
    "deberta_v2_masked_lm",
    "electra_discriminator",
)


def relative(actual: Any, expected: np.ndarray) -> float:
    """Largest difference, over the largest value."""
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def build(name: str, **options: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """A tiny model with transformers' weights, and what transformers computes with them."""
    folder = GOLDENS / name
    return model_of(folder, **options), checkpoint.load_file(folder / "goldens.safetensors")


def model_of(folder: Path, **options: Any) -> Any:
    """The model as its ``config.json`` names it, whatever pipelines there are for it."""
    return load(str(folder), **{"task": "feature-extraction", **options}).model


def module_of(model: Any) -> Any:
    """The file of the architecture."""
    return sys.modules[type(model).__module__]


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    return build(request.param)


def inputs(frozen: dict[str, np.ndarray]) -> dict[str, nyala.Tensor]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {k: nyala.from_numpy(frozen[k]) for k in names if k in frozen}


def outputs(out: Any) -> dict[str, nyala.Tensor]:
    return {"logits": out} if isinstance(out, nyala.Tensor) else {k: v for k, v in vars(out).items() if v is not None}


def objective(found: dict[str, nyala.Tensor], mask: np.ndarray) -> nyala.Tensor:
    """The sum whose gradients are frozen; what stands at padding means nothing."""
    ends = [found[k] for k in ("start_logits", "end_logits") if k in found]
    out = nyala.stack(ends, -1) if ends else found.get("logits", found.get("last_hidden_state"))
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    if out.shape[:2] == mask.shape:
        weights = weights * mask.reshape(*mask.shape, *[1] * (out.ndim - 2))
    return (out * nyala.tensor(weights.astype(np.float32))).sum()


def test_outputs_equal_transformers(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    real = frozen["attention_mask"].astype(bool)
    with nyala.no_grad():
        named = outputs(model(**inputs(frozen)))
        plain = outputs(model(nyala.from_numpy(frozen["input_ids"][:1])))
    assert {k for k in frozen if k.startswith("plain.")} == {f"plain.{k}" for k in plain}
    for name, value in named.items():
        actual, expected = value.numpy(), frozen[name]
        if actual.shape[:2] == real.shape:  # what stands at padding means nothing
            actual, expected = actual[real], expected[real]
        assert relative(actual, expected) < 1e-5, name
        assert relative(plain[name], frozen[f"plain.{name}"]) < 1e-5, name


def test_gradients_equal_transformers(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    objective(outputs(model(**inputs(frozen))), frozen["attention_mask"]).backward()
    module = module_of(model)
    names = module.key_map(module.export_config(model), [])
    found = names.to_published({n: np.asarray(p.grad) for n, p in model.named_parameters() if p.grad is not None})
    expected = {k.removeprefix("grad."): v for k, v in frozen.items() if k.startswith("grad.")}
    assert len(expected) > 5
    largest = max(np.abs(v).max() for v in expected.values())
    for name, value in expected.items():
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(found[name], value) < 1e-4 or np.abs(found[name] - value).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_file_comes_back(name: str) -> None:
    folder = GOLDENS / name
    published = checkpoint.load_file(folder / "model.safetensors")
    model, _ = build(name)
    module = module_of(model)
    config, written = json.loads(json.dumps(module.export_config(model))), json.loads((folder / "config.json").read_text())
    assert {k: v for k, v in written.items() if k in config} == {k: v for k, v in config.items() if k in written}
    assert registry.get(registry.architecture_of(config)) is module
    keys = module.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in published.items()}
    assert all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert module.build(config).config == model.config and type(module.build(config)) is type(model)


@pytest.mark.parametrize("name", NAMES)
def test_files_in_half_precision_and_in_parts_load(name: str, tmp_path: Path) -> None:
    arrays = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    half = {k: v.astype(nyala.bfloat16) for k, v in arrays.items()}
    parts = {f"model-{i:05}-of-00002.safetensors": dict(list(half.items())[i - 1 :: 2]) for i in (1, 2)}
    for file, part in parts.items():
        checkpoint.save_file(part, tmp_path / file)
    index = {"metadata": {}, "weight_map": {k: file for file, part in parts.items() for k in part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_bytes((GOLDENS / name / "config.json").read_bytes())
    model, expected = model_of(tmp_path), build(name)[0]
    for key, value in expected.state_dict().items():
        found = model.state_dict()[key].numpy()
        assert found.dtype == np.float32 and np.array_equal(found, value.numpy().astype(nyala.bfloat16).astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_the_encoder_of_every_head_loads_alone(name: str, tmp_path: Path) -> None:
    for head in HEADS:
        config = json.loads((GOLDENS / (name + head) / "config.json").read_text())
        bare = json.loads((GOLDENS / name / "config.json").read_text())["architectures"]
        (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": bare}))
        arrays = checkpoint.load_file(GOLDENS / (name + head) / "model.safetensors")
        checkpoint.save_file(arrays, tmp_path / "model.safetensors")
        whole, alone = build(name + head)[0], model_of(tmp_path)
        for key, value in whole.base.state_dict().items():
            assert np.array_equal(alone.state_dict()[key].numpy(), value.numpy()), key


@pytest.mark.parametrize("name", ["roberta", "mpnet", "albert", "bert"])
def test_weights_without_a_pooler_are_encoders_too(name: str) -> None:
    folder = str(GOLDENS / f"{name}_masked_lm")
    model = load(folder, task="sentence-embedding").model
    assert type(model).__name__.endswith("Model") and model.pooler is None
    assert model(nyala.tensor([[5, 6]])).pooler_output is None
    with_head = load(folder, num_classes=3).model
    trained = checkpoint.load_file(f"{folder}/model.safetensors")
    query = next(k for k in trained if k.endswith(("query.weight", "attn.q.weight")))
    assert np.array_equal(with_head.state_dict()[query].numpy(), trained[query])
    pooler = [v.numpy() for k, v in with_head.state_dict().items() if "pooler" in k and k.endswith("weight")]
    assert all(0.01 < w.std() < 0.03 for w in pooler)  # drawn anew
    # it is a part of the head, which adapters are saved with
    assert {k for k in with_head.state_dict() if "pooler" in k} <= set(with_head.head_names())


def test_a_lost_pooler_is_an_error_where_the_head_is_trained(tmp_path: Path) -> None:
    arrays = checkpoint.load_file(GOLDENS / "bert_classifier" / "model.safetensors")
    checkpoint.save_file({k: v for k, v in arrays.items() if "pooler" not in k}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((GOLDENS / "bert_classifier" / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"bert.pooler.dense"):
        load(str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_a_new_head_on_the_bare_model(name: str) -> None:
    model = load(str(GOLDENS / name), num_classes=4).model
    assert type(model).__name__.endswith("ForSequenceClassification") and model.config.num_labels == 4
    bare, frozen = build(name)
    for key, value in bare.state_dict().items():
        if f"{model.base_name}.{key}" in model.state_dict():
            assert np.array_equal(model.state_dict()[f"{model.base_name}.{key}"].numpy(), value.numpy()), key
    assert model(**inputs(frozen)).shape == (4, 4)
    model.reset_head(7)
    assert model(**inputs(frozen)).shape == (4, 7)


def test_padding_changes_nothing(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    ids = frozen["input_ids"][:1, :5]
    pad = model.config.pad_token_id
    padded = np.concatenate([ids, np.full((1, 4), pad)], axis=1)
    mask = np.array([[1] * 5 + [0] * 4])
    with nyala.no_grad():
        short = outputs(model(nyala.from_numpy(ids), nyala.from_numpy(np.ones_like(ids))))
        long = outputs(model(nyala.from_numpy(padded), nyala.from_numpy(mask)))
    for name in short:
        a, b = short[name].numpy(), long[name].numpy()
        assert relative(b[:, :5] if b.shape[1] == 9 else b, a) < 1e-5, name


def test_a_row_of_padding_alone_is_finite(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    batch = inputs(frozen)
    batch["attention_mask"] = batch["attention_mask"] * nyala.tensor([[1], [0], [1], [1]])
    with nyala.no_grad():
        found, whole = outputs(model(**batch)), outputs(model(**inputs(frozen)))
    for name, value in found.items():
        assert np.isfinite(value.numpy()).all(), name
        assert relative(value.numpy()[0], whole[name].numpy()[0]) < 1e-6, name


def test_every_parameter_gets_a_gradient(golden: tuple[Any, dict[str, np.ndarray]]) -> None:
    model, frozen = golden
    model.train()
    nyala.manual_seed(0)
    sum(o.square().sum() for o in outputs(model(**inputs(frozen))).values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_replays_dropout_exactly(name: str) -> None:
    model, frozen = build(f"{name}_classifier")
    model.train()

    def gradients() -> dict[str, np.ndarray]:
        nyala.manual_seed(3)
        model.zero_grad()
        model(**inputs(frozen)).square().sum().backward()
        return {n: p.grad.numpy() for n, p in model.named_parameters()}

    plain = gradients()
    model.enable_checkpointing()
    again = gradients()
    assert all(np.array_equal(plain[n], again[n]) for n in plain)


@pytest.mark.parametrize("name", NAMES)
def test_layers_count_up_from_the_embeddings(name: str) -> None:
    model, _ = build(f"{name}_classifier")
    depths = {n: model.layer_of(n) for n, _ in model.named_parameters()}
    last = model.config.depth + 1
    assert set(depths.values()) == set(range(last + 1))
    assert {depths[n] for n in model.head_names()} == {last}
    assert depths[next(n for n in depths if "embeddings" in n)] == 0


@pytest.mark.parametrize("name", NAMES)
def test_bad_input(name: str) -> None:
    model, frozen = build(name)
    ids = frozen["input_ids"].copy()
    ids[1, 2] = 61
    with pytest.raises(IndexRangeError, match=r"token id 61 in sample 1, the vocabulary has 61 tokens"):
        model(nyala.from_numpy(ids))
    with pytest.raises(IndexRangeError, match="token id -1 in sample 0"):
        model(nyala.tensor([[-1]]))
    with pytest.raises(ShapeError, match=r"takes \(N, T\)"):
        model(nyala.zeros(33, dtype="int64"))
    with pytest.raises(ShapeError, match="attention_mask"):
        model(nyala.zeros(1, 3, dtype="int64"), nyala.ones(1, 4))
    with pytest.raises(ShapeError, match="hold no token"):
        model(nyala.zeros(1, 0, dtype="int64"))


@pytest.mark.parametrize(
    ("name", "whole"),
    [("roberta", ["classifier"]), ("distilbert", ["pre_classifier", "classifier"]), ("modernbert", ["head", "classifier"])],
)
def test_adapters_name_a_head_of_several_layers_as_one(name: str, whole: list[str], tmp_path: Path) -> None:
    model, frozen = build(f"{name}_classifier")
    head = list(dict.fromkeys(n.rpartition(".")[0] for n in model.head_names()))
    targets = [n for n in lora.inner_linears(model) if "layer" in n and n not in head]
    adapter = lora.attach(model, rank=2, targets=targets, train=head)
    assert sorted(peft.configuration(adapter)["modules_to_save"]) == sorted(whole)
    peft.save(adapter, tmp_path)
    other = build(f"{name}_classifier")[0]
    other.reset_head(3)
    peft.load(other, tmp_path)
    with nyala.no_grad():
        assert relative(other(**inputs(frozen)), model(**inputs(frozen)).numpy()) < 1e-6


def test_roberta_counts_positions_from_behind_the_padding() -> None:
    model, _ = build("roberta")
    assert model.config.max_tokens == 30
    assert model.embeddings.positions(nyala.tensor([[0, 7, 2, 1, 1]])).tolist() == [[2, 3, 4, 1, 1]]
    with pytest.raises(ShapeError, match="31 tokens in a row, the model has 30 positions"):
        model(nyala.full((1, 31), 5))


def test_kinds_of_distances_are_deberta_v3s() -> None:
    frozen = checkpoint.load_file(GOLDENS / "deberta" / "goldens.safetensors")["buckets"]
    config = deberta.Config(position_buckets=256, max_relative_positions=-1, max_position_embeddings=512)
    found = deberta.buckets(np.arange(-600, 601), config)
    assert np.array_equal(found, np.clip(frozen.astype(np.int64) + 256, 0, 511))


def test_deberta_v3_loads_as_microsoft_published_it(tmp_path: Path) -> None:
    """No ``architectures``, one string for what is weighed, a table of positions that no layer uses, heads of its training."""
    folder = GOLDENS / "deberta_masked_lm"
    config = json.loads((folder / "config.json").read_text())
    kept = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    own = {
        "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "initializer_range": 0.02,
        "max_position_embeddings": 512, "relative_attention": True, "position_buckets": 4, "norm_rel_ebd": "layer_norm",
        "share_att_key": True, "pos_att_type": "p2c|c2p", "layer_norm_eps": 1e-7, "max_relative_positions": 12,
        "position_biased_input": False, "type_vocab_size": 0,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({**{k: config[k] for k in kept}, **own}))
    arrays = checkpoint.load_file(folder / "model.safetensors")
    heads = {"lm_predictions.lm_head.bias": 61, "mask_predictions.dense.bias": 16, "mask_predictions.classifier.bias": 1}
    arrays = {k: v for k, v in arrays.items() if k.startswith("deberta.")} | {k: np.ones(n, "f4") for k, n in heads.items()}
    arrays["deberta.embeddings.position_embeddings.weight"] = np.ones((512, 16), "f4")
    checkpoint.save_file(arrays, tmp_path / "model.safetensors")
    (model, frozen), found = build("deberta_masked_lm"), load(str(tmp_path)).model
    assert isinstance(found, deberta.DebertaV2Model)
    with nyala.no_grad():
        assert np.array_equal(found(**inputs(frozen)).last_hidden_state.numpy(), model.forward_features(**inputs(frozen)).numpy())


def test_a_sentence_model_may_name_the_head_it_was_trained_with(tmp_path: Path) -> None:
    """As all-mpnet-base-v2 and all-distilroberta-v1 do."""
    config = json.loads((GOLDENS / "mpnet" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["MPNetForMaskedLM"]}))
    (tmp_path / "model.safetensors").write_bytes((GOLDENS / "mpnet" / "model.safetensors").read_bytes())
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Transformer"}]))
    pipe = load(str(tmp_path))
    assert type(pipe.model).__name__ == "MPNetModel" and type(pipe).__name__ == "TextEmbedding"


@pytest.mark.parametrize("legacy", [True, False])
def test_both_names_of_debertas_head_are_read(legacy: bool, tmp_path: Path) -> None:
    folder = GOLDENS / "deberta_v2_masked_lm"
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "legacy": legacy}))
    arrays = checkpoint.load_file(folder / "model.safetensors")
    checkpoint.save_file({**arrays, "mask_predictions.dense.bias": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    model, expected = model_of(tmp_path), build("deberta_v2_masked_lm")[0]
    assert all(np.array_equal(v.numpy(), model.state_dict()[k].numpy()) for k, v in expected.state_dict().items())
    written = deberta.key_map(deberta.export_config(model), []).to_published(
        {k: v.numpy() for k, v in model.state_dict().items()}
    )
    assert ("cls.predictions.bias" in written, "lm_predictions.lm_head.bias" in written) == (legacy, not legacy)


@pytest.mark.parametrize("change", [{"architectures": ["RobertaForMultipleChoice"]}, {"tie_word_embeddings": False}])
def test_the_encoder_of_a_head_that_is_not_built_loads_alone(change: dict[str, Any], tmp_path: Path) -> None:
    folder = GOLDENS / "roberta_masked_lm"
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(DataError, match="task='sentence-embedding'"):
        load(str(tmp_path))
    assert type(load(str(tmp_path), task="sentence-embedding").model).__name__ == "RobertaModel"


def test_modernbert_takes_no_positions() -> None:
    with pytest.raises(ArgumentError, match="counts positions itself"):
        build("modernbert")[0](nyala.tensor([[5]]), position_ids=nyala.tensor([[0]]))


def test_camembert_is_a_roberta_by_another_name() -> None:
    config = json.loads((GOLDENS / "roberta_masked_lm" / "config.json").read_text())
    config |= {"model_type": "camembert", "architectures": ["CamembertForMaskedLM"]}
    model = registry.get("transformers:camembert").build(config)
    written = module_of(model).export_config(model)
    assert (written["model_type"], written["architectures"]) == ("camembert", ["CamembertForMaskedLM"])
    assert type(model).__name__ == "RobertaForMaskedLM"


def test_an_answer_begins_with_a_word_where_tokens_hold_the_space_before_it() -> None:
    window: Any = SimpleNamespace(offsets=[None, (0, 3), (3, 7), (7, 8)])
    ends = np.array([[0.0, 1.0, 9.0, 0.0], [0.0, 1.0, 9.0, 0.0]])
    found = answering.likeliest("The cat.", [window], [ends], False, 30)
    assert (found.text, found.start, found.end) == ("cat", 4, 7)


@pytest.mark.parametrize(
    ("config", "kind", "text"),
    [
        ({"model_type": "roberta", "is_decoder": True}, DataError, "this RoBERTa is a decoder"),
        ({"model_type": "roberta", "pad_token_id": None}, DataError, "pad_token_id is missing"),
        ({"model_type": "roberta", "hidden_act": "gelou"}, ArgumentError, "did you mean 'gelu'"),
        ({"model_type": "roberta", "architectures": ["RobertaForMultipleChoice"]}, DataError, "is not built"),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"], "tie_word_embeddings": False}, DataError, "of its own"),
        ({"model_type": "mpnet", "pad_token_id": 0}, DataError, "MPNet's is 1"),
        ({"model_type": "modernbert", "layer_types": ["full_attention"]}, DataError, "layer_types names 1 layers of 22"),
        ({"model_type": "modernbert", "classifier_pooling": "max"}, DataError, "use 'cls' or 'mean'"),
        ({"model_type": "modernbert", "rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, DataError, "'yarn'"),
        ({"model_type": "deberta-v2", "conv_kernel_size": 3}, DataError, "convolution"),
        ({"model_type": "deberta-v2", "pos_att_type": "c2p|p2p"}, DataError, "'p2p'"),
        ({"model_type": "albert", "num_hidden_groups": 13}, ArgumentError, "13 groups"),
        ({"model_type": "bert", "hidden_size": 10, "num_attention_heads": 3}, ArgumentError, "no multiple"),
    ],
)
def test_bad_configurations(config: dict[str, Any], kind: type[NyalaError], text: str) -> None:
    with pytest.raises(kind, match=text):
        registry.get(registry.architecture_of(config)).build(config)
