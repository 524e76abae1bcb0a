"""Whisper's encoder as a classifier: parity with transformers, weights of a recognizer, shorter sounds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import whisper
from nyala.errors import ArgumentError, DataError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
FOLDER = GOLDENS / "whisper_classifier"
RECOGNIZERS = ("whisper", "whisper_bare")


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


@pytest.fixture
def model() -> Any:
    files = folder_files(FOLDER)
    made = whisper.build(read_config(files, None))
    read_weights(made, whisper, files)
    return made.eval()


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return checkpoint.load_file(FOLDER / "goldens.safetensors")


def test_results_and_gradients_equal_transformers(model, frozen) -> None:
    logits = model(nyala.from_numpy(np.array(frozen["input_features"])))
    assert relative(logits.detach(), frozen["logits"]) < 1e-5
    weights = np.cos(0.7 * np.arange(logits.numel(), dtype=np.float64) + 0.3).reshape(logits.shape)
    (logits * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    assert set(names) == set(parameters)
    for name in names:
        assert relative(parameters[name].grad, frozen[f"grad.{name}"]) < 1e-4, name


def test_the_published_file_comes_back(model) -> None:
    published = checkpoint.load_file(FOLDER / "model.safetensors")
    config = whisper.export_config(model)
    keys = whisper.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert set(back) == set(published) and all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert whisper.build(config).config == model.config


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_the_encoder_comes_from_a_recognizer(name: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDENS / name, tmp_path / "m")
    pipe = nyala.load(tmp_path / "m", task="audio-classification", num_classes=3)
    frozen = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    with nyala.no_grad():
        found = pipe.model.forward_features(nyala.from_numpy(np.array(frozen["input_features"])))
    assert relative(found, frozen["encoder"]) < 1e-5
    assert set(pipe.model.head_names()) == {
        f"{part}.{leaf}" for part in ("projector", "classifier") for leaf in ("weight", "bias")
    }
    assert pipe.labels == ("class 0", "class 1", "class 2")


def test_shorter_sounds(model, frozen) -> None:
    features = np.array(frozen["input_features"])
    table = model.encoder.embed_positions.weight.numpy().copy()
    model.keep_frames(8)
    assert model(nyala.from_numpy(np.ascontiguousarray(features[:, :, :8]))).shape == (2, 5)
    np.testing.assert_array_equal(model.encoder.embed_positions.weight.numpy(), table[:4])
    assert not model.encoder.embed_positions.weight.requires_grad
    assert whisper.export_config(model)["max_source_positions"] == 4
    for bad in (0, 7, 10):
        with pytest.raises(ArgumentError, match=f"{bad} frames"):
            model.keep_frames(bad)


def test_depths_begin_at_the_front_and_end_at_the_head(model) -> None:
    depth = {name: model.layer_of(name) for name, _ in model.named_parameters()}
    assert depth["encoder.conv1.weight"] == 0 and depth["encoder.layers.0.fc1.weight"] == 1
    assert depth["encoder.layer_norm.weight"] == 2 and depth["projector.weight"] == depth["classifier.bias"] == 3


def test_a_sum_of_layers_is_refused() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    with pytest.raises(DataError, match="sum of its layers"):
        whisper.build({**config, "use_weighted_layer_sum": True})
