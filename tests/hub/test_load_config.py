"""A config.json from anywhere: whatever stands in it ends in a pipeline or in one of nyala's errors."""

from __future__ import annotations

import json
import random
from pathlib import Path

import fuzz
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import CheckpointError, DataError, NyalaError
from nyala.hub.load import published_classes
from nyala.vision.models import resnet

CFG = {"input_size": [3, 16, 16], "crop_pct": 1.0, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("model")
    model = resnet.build(fuzz._RESNET)
    checkpoint.save_file({name: t.numpy() for name, t in model.state_dict().items()}, place / "model.safetensors")
    return place


def load(folder: Path, **values: object) -> object:
    config = {**fuzz._RESNET, "label_names": ["a", "b", "c"], "pretrained_cfg": CFG, **values}
    (folder / "config.json").write_text(json.dumps(config))
    return nyala.load(folder)


@pytest.mark.parametrize(
    ("values", "error", "shown"),
    [
        ({"num_classes": "os.system"}, DataError, "num_classes in the config.json is a str: it must be a whole number"),
        ({"num_classes": True}, DataError, "num_classes in the config.json is a bool"),
        ({"label_names": 7}, DataError, "label_names in the config.json is an int: it must be a list"),
        ({"model_args": [1]}, DataError, "model_args in the config.json is a list: it must be an object"),
        ({"model_args": {"num_classes": {}}}, DataError, "num_classes in the config.json is a dict"),
        ({"pretrained_cfg": "x"}, DataError, "pretrained_cfg in the config.json is a str"),
        ({"architectures": 3}, DataError, "architectures in the config.json is an int"),
        ({"architectures": [3]}, DataError, "architectures in the config.json are no names"),
        ({"model_type": "bert", "num_hidden_layers": 2**64}, DataError, "no model has so many layers"),
        ({"model_type": "bert", "vocab_size": 10**30}, CheckpointError, "its configuration describes no model"),
        ({"model_type": "bert", "vocab_size": 10**15}, CheckpointError, "its configuration describes a giant"),
        ({"model_type": "bert", "pad_token_id": 1.5}, CheckpointError, "its configuration describes no model"),
    ],
)
def test_values_of_another_kind_are_named(folder, values, error, shown):
    with pytest.raises(error) as caught:
        load(folder, **values)
    assert shown in str(caught.value) and "Remedy: " in str(caught.value) and str(folder) in str(caught.value)


def test_null_means_absent(folder):
    assert published_classes({"architecture": "resnet18", "num_classes": None}) == 1000
    assert load(folder, label_names=None).model.config.num_classes == 3


def test_odd_values_anywhere_end_in_a_pipeline_or_an_error_of_nyalas(folder):
    ended = {"read": 0, "refused": 0}
    small = [value for value in fuzz._ODD if not isinstance(value, int) or abs(value) < 100 or value >= 2**62]
    for number in range(120):
        rng = random.Random(f"config {number}")
        config = json.loads(json.dumps({**fuzz._RESNET, "label_names": ["a", "b", "c"], "pretrained_cfg": CFG}))
        table = rng.choice([config, config, config["model_args"], config["pretrained_cfg"]])
        table[rng.choice(list(table))] = rng.choice([*small, "../x", {"a": 1}, ["x"], 0.5])
        try:
            load(folder, **config)
            ended["read"] += 1
        except NyalaError as error:
            ended["refused"] += 1
            assert len(str(error)) < 5000
    assert ended["refused"] > 50 and ended["read"] > 2, ended
