"""CLAP: parity with transformers on tiny random models, names of published files, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import clap
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
FOLDERS = ("clap", "clap_fused")
INPUTS = ("input_ids", "input_features", "is_longer", "attention_mask")
FOLLOW = ("relative_position_index", "position_ids", "token_type_ids")  # from the sizes alone


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def model_of(name: str) -> Any:
    files = folder_files(GOLDENS / name)
    model = clap.build(read_config(files, None))
    read_weights(model, clap, files)
    return model.eval()


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    return model_of(request.param), checkpoint.load_file(GOLDENS / request.param / "goldens.safetensors")


def result_of(model: Any, frozen: dict[str, np.ndarray]) -> Any:
    return model(**{k: nyala.from_numpy(np.array(frozen[k])) for k in INPUTS if k in frozen})


def test_results_equal_transformers(golden: Any) -> None:
    model, frozen = golden
    with nyala.no_grad():
        found = result_of(model, frozen)
    assert relative(found.logits_per_audio, frozen["logits"]) < 1e-5
    assert relative(found.audio_embeds, frozen["audio_embeds"]) < 1e-5
    assert relative(found.text_embeds, frozen["text_embeds"]) < 1e-5
    assert relative(found.logits_per_text, frozen["logits"].T) < 1e-5  # both scales begin alike


def test_gradients_equal_transformers(golden: Any) -> None:
    model, frozen = golden
    out = result_of(model, frozen).logits_per_audio
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    state = {k: np.zeros(v.shape, np.float32) if v.grad is None else v.grad.numpy() for k, v in model.named_parameters()}
    found = clap.key_map({}, []).to_published(state)
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    assert set(found) - set(names) == {"logit_scale_t"}  # which these logits do not have
    largest = max(np.abs(frozen[f"grad.{n}"]).max() for n in names)
    for name in names:
        expected = frozen[f"grad.{name}"]
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(found[name], expected) < 1e-4 or np.abs(found[name] - expected).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_file_comes_back(name: str) -> None:
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    model = model_of(name)
    config = clap.export_config(model)
    keys = clap.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    learnt = {k: v for k, v in published.items() if not k.endswith(FOLLOW)}
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in learnt.items()}
    assert all(np.array_equal(back[k], learnt[k]) for k in learnt)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert clap.build(config).config == model.config


def test_a_sound_is_heard_alone_or_in_a_batch() -> None:
    model, frozen = model_of("clap_fused"), checkpoint.load_file(GOLDENS / "clap_fused" / "goldens.safetensors")
    features, longer = (nyala.from_numpy(np.array(frozen[k])) for k in ("input_features", "is_longer"))
    with nyala.no_grad():
        together = model.get_audio_features(features, longer)
        alone = nyala.cat([model.get_audio_features(features[i : i + 1], longer[i : i + 1]) for i in range(3)])
        unjoined = model.get_audio_features(features)
    assert relative(alone, together.numpy()) < 1e-5
    assert relative(unjoined[1], together[1].numpy()) < 1e-5 and relative(unjoined[0], together[0].numpy()) > 1e-3


def test_the_published_sizes() -> None:
    with nyala.nn.init.skip_random():
        plain = clap.build({})
        fused = clap.build({"audio_config": {"enable_fusion": True}})
    assert plain.num_parameters() == 153_492_890 and fused.num_parameters() == 153_507_530


def test_layers_count_up() -> None:
    model = model_of("clap")
    by_name = {n: model.layer_of(n) for n, _ in model.named_parameters()}
    layers = [d for n, d in by_name.items() if n.startswith("audio_model.audio_encoder.layers.")]
    assert layers == sorted(layers) and set(layers) == {1, 2, 3, 4, 5, 6}
    assert by_name["text_model.encoder.layer.1.output.dense.weight"] == 2
    assert by_name["text_projection.linear1.weight"] == by_name["audio_model.audio_encoder.norm.weight"] == 7
    assert by_name["text_model.embeddings.word_embeddings.weight"] == 0
    assert len(list(model.checkpointed_blocks())) == 8


def test_wrong_tensors_are_named() -> None:
    model = model_of("clap_fused")
    ids = nyala.tensor([[0, 5, 2]])
    with pytest.raises(ShapeError, match=r"\(N, 4, T, 64\) with T up to 256"):
        model(ids, nyala.zeros(1, 1, 201, 64))
    with pytest.raises(ShapeError, match="up to 256 frames"):
        model(ids, nyala.zeros(1, 4, 300, 64))
    with pytest.raises(ShapeError, match=r"is_longer of shape \(2,\) for 1 sound"):
        model(ids, nyala.zeros(1, 4, 201, 64), nyala.tensor([True, False]))
    with pytest.raises(IndexRangeError, match="300"):
        model.get_text_features(nyala.tensor([[0, 300, 2]]))
    with pytest.raises(ShapeError, match="40 positions"):
        model.get_text_features(nyala.full((1, 41), 5))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"audio_config": {"fusion_type": "channel_map"}}, "fusion_type='channel_map'"),
        ({"audio_config": {"flatten_patch_embeds": False}}, "flatten_patch_embeds=False"),
        ({"audio_config": {"hidden_size": 512}}, "hidden_size 512 behind 4 stages from 96 on"),
        ({"audio_config": {"depths": [2, 2]}}, "2 depths and 4 num_attention_heads"),
        ({"audio_config": {"window_size": 16}}, "windows of 16 in 64 x 64 patches"),
        ({"audio_config": {"num_mel_bins": 300}}, "300 bands in a picture of 256"),
        ({"audio_config": {"num_attention_heads": [5, 8, 16, 32]}}, "do not divide"),
        ({"audio_config": 3}, "audio_config in the config.json is an int"),
        ({"text_config": [1]}, "text_config in the config.json is a list"),
        ({"text_config": {"num_attention_heads": 7}}, "num_attention_heads 7"),
        ({"text_config": {"max_position_embeddings": 2}}, "max_position_embeddings 2"),
        ({"logit_scale_init_value": 0}, "logit_scale_init_value 0"),
        ({"architectures": ["ClapAudioModel"]}, "ClapAudioModel"),
    ],
)
def test_configurations_that_make_no_sense_are_named(config: dict[str, Any], told: str) -> None:
    with pytest.raises((DataError, ArgumentError), match=told):
        clap.build(config)
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        clap.build({}, widht=3)


def test_a_classifier_is_refused_in_words() -> None:
    with pytest.raises(ArgumentError, match="CLAP has no classes to be trained on"):
        clap.build({}, num_labels=3)
