"""``nyala.load`` on small models written by the tests: layouts, heads, what is missing, what does not fit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import nyala
import pytest
from nyala.core.checkpoint import load_file, save_file, save_sharded
from nyala.errors import ArgumentError, CheckpointError, DataError, MissingFileError, UnknownNameError
from nyala.hub.golden import check
from nyala.hub.load import published_classes, task_of

RESNET = {
    "architecture": "resnet18",
    "num_classes": 5,
    "model_args": {"channels": [8, 8, 16, 16], "stem_channels": 8},
    "label_names": ["a", "b", "c", "d", "e"],
    "pretrained_cfg": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "classifier": "fc"},
}


def write_model(folder, config: dict, **build):
    """A folder in the published layout, with weights drawn by nyala itself; returns the model."""
    from nyala.hub import registry

    architecture = registry.get(registry.architecture_of(config))
    with nyala.random.step_scope(7, 0):
        model = architecture.build(config, **build)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(architecture.key_map(config, list(arrays)).to_published(arrays), folder / "model.safetensors")
    return model


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "m", RESNET)
    return tmp_path / "m"


def picture() -> np.ndarray:
    return (np.arange(32 * 32 * 3, dtype=np.uint32) % 251).astype(np.uint8).reshape(32, 32, 3)


def same_weights(a, b, besides: str = "nothing") -> bool:
    theirs = b.state_dict()
    names = [name for name in a.state_dict() if not name.startswith(besides)]
    return all(np.array_equal(a.state_dict()[name].numpy(), theirs[name].numpy()) for name in names)


def test_a_folder_becomes_a_pipeline_with_the_same_weights(tmp_path):
    model = write_model(tmp_path / "m", RESNET)
    pipe = nyala.load(tmp_path / "m")
    assert same_weights(model, pipe.model)
    assert not pipe.model.training
    assert pipe.card is None
    assert pipe(picture()).label in RESNET["label_names"]
    model.eval()
    x = nyala.tensor(np.ones((1, 3, 32, 32), np.float32))
    with nyala.no_grad():
        assert np.array_equal(pipe.model(x).numpy(), model(x).numpy())


def test_a_pipeline_cannot_be_changed(folder):
    with pytest.raises(AttributeError):
        nyala.load(folder).model = None


@pytest.mark.parametrize("layout", ["sharded", "run", "single file of another name"])
def test_other_layouts(folder, layout):
    reference = nyala.load(folder).model
    weights = folder / "model.safetensors"
    if layout == "sharded":
        arrays = {name: np.array(array) for name, array in load_file(weights).items()}
        weights.unlink()
        assert len(save_sharded(arrays, folder, max_shard_bytes=40_000)) > 1
        name = folder
    elif layout == "run":
        name = folder.parent / "run"
        shutil.copytree(folder, name / "model")
        (name / "manifest.json").write_text("{}")
    else:
        weights.rename(folder / "weights-1.safetensors")
        name = folder
    assert same_weights(reference, nyala.load(name).model)


def test_a_run_without_a_model_says_how_to_go_on(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(MissingFileError, match="nyala resume"):
        nyala.load(tmp_path)


def test_a_new_head_is_the_only_thing_that_is_new(folder):
    old = nyala.load(folder)
    new = nyala.load(folder, num_classes=3)
    assert new.model.state_dict()["fc.weight"].shape == (3, 16)
    assert same_weights(old.model, new.model, besides="fc.")
    assert new(picture()).label.startswith("class ")
    same = nyala.load(folder, num_classes=5)
    assert same_weights(old.model, same.model), "as many classes as published: the head is kept"


def test_a_new_head_may_be_missing_from_the_file_only_if_declared(folder):
    arrays = {n: np.array(a) for n, a in load_file(folder / "model.safetensors").items() if not n.startswith("fc.")}
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"no head for ResNet: fc.bias, fc.weight.*num_classes="):
        nyala.load(folder)
    assert nyala.load(folder, num_classes=3).model.state_dict()["fc.bias"].shape == (3,)
    assert nyala.load(folder, new_head=["fc.*"]).model.state_dict()["fc.bias"].shape == (5,)
    with pytest.raises(ArgumentError, match="no parameter fits 'head"):
        nyala.load(folder, new_head=["head.*"])


def test_what_does_not_fit_is_listed_in_full(folder):
    arrays = {name: np.array(array) for name, array in load_file(folder / "model.safetensors").items()}
    arrays["layer1.0.conv1.weigth"] = arrays.pop("layer1.0.conv1.weight")
    arrays["bn1.bias"] = np.zeros(9, np.float32)
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        nyala.load(folder)
    text = str(caught.value)
    for part in (
        "layer1.0.conv1.weight",
        "layer1.0.conv1.weigth",
        "did you mean 'layer1.0.conv1.weight'",
        "(9,)",
        "(8,)",
        "model.safetensors",
    ):
        assert part in text, f"{part} is not in:\n{text}"
    assert caught.value.exit_code == 1


def test_random_init_leaves_the_weights_out(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFileError, match=r"no model.safetensors"):
        nyala.load(folder)
    assert nyala.load(folder, random_init=True).model.state_dict()["fc.weight"].shape == (5, 16)


def test_dtype_and_overrides(folder):
    model = nyala.load(folder, dtype=nyala.float64, drop_rate=0.5).model
    assert model.state_dict()["fc.weight"].dtype == nyala.float64
    assert model.config.drop_rate == 0.5
    with pytest.raises(ArgumentError, match="no option 'drop_rat'"):
        nyala.load(folder, drop_rat=0.5)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (None, MissingFileError, "no config.json"),
        ("[1]", DataError, "holds a list"),
        ("{", DataError, "is not JSON"),
        ('{"hidden_size": 3}', DataError, "names no architecture"),
        ('{"architecture": "resnet99"}', UnknownNameError, "did you mean 'resnet"),
        ('{"model_type": "brt"}', UnknownNameError, "did you mean 'bert'"),
    ],
)
def test_a_config_that_cannot_be_used(folder, config, error, message):
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(error, match=message):
        nyala.load(folder)


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty", "two"])
def test_weights_that_cannot_be_read(folder, damage):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    if damage == "two":
        path.rename(folder / "a.safetensors")
        (folder / "b.safetensors").write_bytes(data)
    else:
        path.write_bytes({"truncate": data[:-100], "garbage": b"\xff" * 100, "empty": b""}[damage])
    with pytest.raises(CheckpointError) as caught:
        nyala.load(folder)
    assert "safetensors" in str(caught.value)


def test_a_shard_that_lies_elsewhere_or_nowhere(folder):
    arrays = {name: np.array(array) for name, array in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    shards = save_sharded(arrays, folder, max_shard_bytes=40_000)
    (folder / shards[0]).unlink()
    with pytest.raises(MissingFileError, match=shards[0]):
        nyala.load(folder)


def test_a_hub_id_becomes_a_pipeline_and_stays_one_offline(hub, client, folder):
    hub.commit("org/tiny", {path.name: path.read_bytes() for path in folder.iterdir()})
    code = """
    import numpy as np, nyala
    def use(**options):
        pipe = nyala.load("org/tiny@main", **options)
        return [pipe.files.origin, float(pipe.model.state_dict()["fc.weight"].numpy().astype(np.float64).sum())]
    answer(attempt(lambda: [use(), use(offline=True), use(num_classes=2, offline=True)[0]]))
    """
    got = client(hub.url, code)
    expected = float(load_file(folder / "model.safetensors")["fc.weight"].astype(np.float64).sum())
    assert got == [["model hub org/tiny", expected], ["model hub org/tiny", expected], "model hub org/tiny"]
    assert len(hub.requests("/api/models")) == 1


# -- what a config.json means


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"architecture": "resnet18"}, 1000),
        ({"architecture": "resnet18", "num_classes": 7}, 7),
        ({"model_type": "bert"}, 0),
        ({"model_type": "bert", "architectures": None}, 0),
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, 0),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, 2),
        (
            {
                "model_type": "bert",
                "architectures": ["BertForSequenceClassification"],
                "id2label": {"0": "a", "1": "b", "2": "c"},
            },
            3,
        ),
    ],
)
def test_published_classes(config, count):
    assert published_classes(config) == count


def test_tasks():
    from pathlib import Path

    from nyala.hub.catalogue import find
    from nyala.hub.files import Files

    none, sentence = Files({}, origin="x"), Files({"modules.json": Path("modules.json")}, origin="x")
    assert task_of({"architecture": "resnet18"}, none, None) == "image-classification"
    assert task_of({"model_type": "bert"}, none, None) == "feature-extraction"
    assert task_of({"model_type": "bert", "architectures": ["BertModel"]}, sentence, None) == "sentence-embedding"
    assert (
        task_of({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, none, None) == "text-classification"
    )
    assert task_of({"model_type": "bert"}, none, find("minilm")) == "sentence-embedding"
    assert task_of({"model_type": "bert"}, none, find("minilm"), 2) == "text-classification"
    assert task_of({"architecture": "resnet18"}, none, find("resnet18"), 2) == "image-classification"


# -- text


BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}


def test_config_and_weights_alone_give_a_model_and_a_call_names_the_missing_file(tmp_path):
    write_model(tmp_path / "m", BERT)
    pipe = nyala.load(tmp_path / "m")
    ids = nyala.tensor(np.arange(6).reshape(1, 6))
    with nyala.no_grad():
        assert pipe.model(ids).last_hidden_state.shape == (1, 6, 16)
    with pytest.raises(MissingFileError, match=r"tokenizer.json"):
        pipe("a cat")


def test_a_new_classifier_on_an_encoder(tmp_path):
    encoder = write_model(tmp_path / "m", BERT)
    pipe = nyala.load(tmp_path / "m", num_classes=3)
    assert type(pipe).__name__ == "TextClassification"
    ids = nyala.tensor(np.arange(6).reshape(1, 6))
    with nyala.no_grad():
        assert pipe.model(ids).shape == (1, 3)
    ours = encoder.state_dict()
    kept = {n.removeprefix("bert."): t for n, t in pipe.model.state_dict().items()}
    assert all(np.array_equal(ours[n].numpy(), kept[n].numpy()) for n in ours if n in kept)
    assert sum(n in kept for n in ours) > 30


@pytest.mark.parametrize(
    ("value", "said"), [(99999999999, "no memory holds it"), ("x", "describes no model"), (None, "describes no model")]
)
def test_a_configuration_of_nonsense_is_told(folder, value, said):
    config = {**RESNET, "model_args": {"channels": [value, 8, 16, 16], "stem_channels": 8}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said):
        nyala.load(folder)


# -- the catalogue's models


@pytest.mark.weights
@pytest.mark.parametrize("name", [card.name for card in nyala.list_models() if card.golden])
def test_real_weights_give_the_golden_answer(name):
    pipe = nyala.load(name)
    found = check(pipe, pipe.card.golden)
    assert found.right, str(found)
    assert sum(p.numel() for p in pipe.model.parameters()) == pipe.card.params


def test_weights_of_another_architecture_are_told_as_such(folder):
    arrays = load_file(folder / "model.safetensors")
    save_file({f"encoder.{name}": np.array(array) for name, array in arrays.items()}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"does not hold a ResNet, .*: 0 of [0-9]+ .* names such as encoder\."):
        nyala.load(folder)
