"""wav2vec 2.0, HuBERT, WavLM: parity with transformers on tiny random models."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import hubert, wav2vec2
from nyala.audio.models.shared import speech_encoder
from nyala.audio.models.wavlm import buckets
from nyala.core import random
from nyala.errors import ArgumentError, DataError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
NAMES = sorted(p.name for p in GOLDENS.iterdir() if p.name.startswith(("wav2vec2", "hubert", "wavlm")))
TINY: dict[str, Any] = json.loads((GOLDENS / "wav2vec2_ctc" / "config.json").read_text())


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def loaded(folder: Path) -> tuple[Any, Any]:
    files = folder_files(folder)
    config = read_config(files, None)
    module: Any = importlib.import_module(f"nyala.audio.models.{config['model_type']}")
    model = module.build(config)
    read_weights(model, module, files)
    return module, model.eval()


def result_of(model: Any, frozen: dict[str, np.ndarray]) -> dict[str, Any]:
    inputs = {k: nyala.from_numpy(np.array(frozen[k])) for k in ("input_values", "attention_mask") if k in frozen}
    found = model(**inputs)
    if isinstance(found, nyala.Tensor):
        return {"logits": found}
    return {k: getattr(found, k) for k in ("logits", "embeddings", "last_hidden_state") if hasattr(found, k)}


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    folder = GOLDENS / request.param
    return loaded(folder)[1], checkpoint.load_file(folder / "goldens.safetensors")


def test_all_three_are_here() -> None:
    assert len(NAMES) == 15


def test_results_equal_transformers(golden) -> None:
    model, frozen = golden
    with nyala.no_grad():
        found = result_of(model, frozen)
    for name, value in found.items():
        assert relative(value, frozen[name]) < 1e-5, name


def test_gradients_equal_transformers(golden) -> None:
    model, frozen = golden
    out = next(iter(result_of(model, frozen).values()))
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = dict(model.named_parameters())
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    unused = {n for n, p in parameters.items() if p.grad is None}
    assert set(names) == set(parameters) - unused
    assert all("masked_spec_embed" in n or n == "objective.weight" for n in unused)
    largest = max(np.abs(frozen[f"grad.{n}"]).max() for n in names)
    for name in names:
        expected, found = frozen[f"grad.{name}"], np.asarray(parameters[name].grad)
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(found, expected) < 1e-4 or np.abs(found - expected).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spelling", ["new", "old"])
def test_the_published_file_comes_back(name: str, spelling: str) -> None:
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    if spelling == "old":
        old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
        for new, before in old.items():
            published = {k.replace(new, before): v for k, v in published.items()}
    module, model = loaded(GOLDENS / name)
    config = module.export_config(model)
    keys = module.key_map(config, list(published))
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    ours, back = keys.to_ours(published), keys.to_published(state)
    assert set(ours) == set(state) and all(np.array_equal(ours[k], state[k]) for k in state)
    assert set(back) == set(published) and all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(state), [v.shape for v in state.values()])
    assert module.build(config).config == model.config


def test_a_file_without_the_vector_of_masked_frames_is_read() -> None:
    published = checkpoint.load_file(GOLDENS / "wav2vec2_ctc" / "model.safetensors")
    del published["wav2vec2.masked_spec_embed"]
    model = wav2vec2.build(TINY)
    model.load_state_dict(wav2vec2.key_map(TINY, list(published)).to_ours(published))
    assert not model.wav2vec2.masked_spec_embed.any()


def test_weights_with_what_pretraining_needs_are_the_encoder() -> None:
    published = checkpoint.load_file(GOLDENS / "wav2vec2_ctc" / "model.safetensors")
    extra = {"quantizer.codevectors": np.zeros((1, 4, 2)), "project_hid.weight": np.zeros((2, 2))}
    config = {**TINY, "architectures": ["Wav2Vec2ForPreTraining"]}
    model = wav2vec2.build(config)
    found = wav2vec2.key_map(config, list(published)).to_ours({**published, **extra})
    model.load_state_dict(found)
    assert type(model) is wav2vec2.Wav2Vec2Model


def test_new_heads() -> None:
    model = wav2vec2.build({**TINY, "architectures": ["Wav2Vec2Model"]}, num_labels=7).eval()
    assert model(nyala.zeros(2, 330)).shape == (2, 7)
    model.reset_head(3)
    assert model(nyala.zeros(2, 330)).shape == (2, 3) and model.config.num_labels == 3
    letters = wav2vec2.build(TINY).eval()
    letters.reset_head(5)
    assert letters(nyala.zeros(2, 330)).shape == (2, 16, 5) and letters.config.vocab_size == 5


def test_the_published_size() -> None:
    with nyala.nn.init.skip_random():
        model = wav2vec2.build({"architectures": ["Wav2Vec2ForCTC"]})
    assert model.num_parameters() == 94_396_320  # facebook/wav2vec2-base-960h


@pytest.mark.parametrize(("kernel", "stride", "layers"), [(3, 2, 3), (2, 1, 1), (4, 3, 2)])
def test_frames_behind_an_adapter_are_counted(kernel: int, stride: int, layers: int) -> None:
    changes = {"adapter_kernel_size": kernel, "adapter_stride": stride, "num_adapter_layers": layers}
    model = wav2vec2.build({**TINY, "add_adapter": True, **changes}).eval()
    for samples in (1000, 1777):
        frames = model(nyala.zeros(1, samples)).shape[1]
        assert frames == model.config.frames(samples)
    assert model.config.hop == 20 * stride**layers


def test_frames_are_counted_as_the_convolutions_do() -> None:
    config = speech_encoder.SpeechConfig()
    assert (config.hop, config.least, config.frames(400), config.frames(160_000)) == (320, 400, 1, 499)


def test_training_masks_spans_and_leaves_layers_out() -> None:
    config = {**TINY, "mask_time_prob": 0.5, "mask_time_length": 3, "mask_feature_prob": 0.3, "mask_feature_length": 2}
    model = wav2vec2.build({**config, "layerdrop": 0.5, "hidden_dropout": 0.0}).train()
    sound = nyala.randn(2, 330)

    def heard(seed: int) -> np.ndarray:
        nyala.manual_seed(seed)
        return model(sound).detach().numpy()

    assert np.array_equal(heard(1), heard(1)) and not np.array_equal(heard(1), heard(2))
    model(sound).sum().backward()
    assert model.wav2vec2.masked_spec_embed.grad.abs().sum().item() > 0


def test_spans_lie_within_each_length() -> None:
    found = speech_encoder.spans(random.key(3, "mask"), 50, [50, 20, 4], 0.4, 5, 2)
    assert found[0].sum() >= 10 and not found[1, 20:].any() and not found[2].any()


def test_padding_behind_a_mask_changes_nothing() -> None:
    _, model = loaded(GOLDENS / "hubert_ctc")
    sound = nyala.randn(1, 250)
    padded = nyala.cat([sound, nyala.zeros(1, 80)], 1)
    mask = nyala.cat([nyala.ones(1, 250), nyala.zeros(1, 80)], 1).to("int64")
    with nyala.no_grad():
        alone, among = model(sound), model(padded, mask)
    assert relative(among[:, : alone.shape[1]], alone.numpy()) < 1e-5


def test_checkpointing_gives_the_same_gradients() -> None:
    found = []
    for again in (False, True):
        _, model = loaded(GOLDENS / "wavlm")
        model.enable_checkpointing(again)
        model(nyala.ones(1, 330)).last_hidden_state.sum().backward()
        found.append(model.encoder.layers[0].attention.rel_attn_embed.weight.grad.numpy())
    assert np.array_equal(*found)


def test_near_distances_have_a_bucket_each() -> None:
    found = buckets(1700, 320, 800)
    assert found[0, 79] == 160 + 79 and found[79, 0] == 79 and found[1699, 0] == 159 and found.max() == 319


def test_bad_input_is_named() -> None:
    model = wav2vec2.build(TINY)
    with pytest.raises(ShapeError, match="first frame takes 30"):
        model(nyala.zeros(1, 29))
    with pytest.raises(ShapeError, match="samples"):
        model(nyala.zeros(1, 1, 330))
    with pytest.raises(ShapeError, match="one number a sample"):
        model(nyala.zeros(1, 330), nyala.ones(1, 14))
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        wav2vec2.build(TINY, widht=3)
    with pytest.raises(ArgumentError, match="no multiple"):
        wav2vec2.build(TINY, num_attention_heads=5)
    with pytest.raises(ArgumentError, match="conv_kernel"):
        wav2vec2.build({**TINY, "conv_kernel": [3]})
    with pytest.raises(DataError, match="Wav2Vec2ForSinging"):
        wav2vec2.build({**TINY, "architectures": ["Wav2Vec2ForSinging"]})
    classifier = ["Wav2Vec2ForSequenceClassification"]
    with pytest.raises(DataError, match="add_adapter in a Wav2Vec2ForSequenceClassification"):
        wav2vec2.build({**TINY, "add_adapter": True, "architectures": classifier})
    with pytest.raises(DataError, match="no convolutions behind it"):
        hubert.build({**TINY, "model_type": "hubert", "architectures": ["HubertForCTC"], "add_adapter": True})
    with pytest.raises(ArgumentError, match="describes no adapter"):
        wav2vec2.build({**TINY, "add_adapter": True, "adapter_stride": 0})


def test_half_precision_shards_and_the_old_spelling_load_as_they_are(tmp_path: Path) -> None:
    published = checkpoint.load_file(GOLDENS / "wav2vec2_ctc_large" / "model.safetensors")
    config = (GOLDENS / "wav2vec2_ctc_large" / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    narrow = {k.replace("parametrizations.weight.original0", "weight_g"): v for k, v in published.items()}
    narrow = {k.replace("parametrizations.weight.original1", "weight_v"): v for k, v in narrow.items()}
    checkpoint.save_sharded({k: v.astype(nyala.bfloat16) for k, v in narrow.items()}, tmp_path, max_shard_bytes=8_000)
    assert (tmp_path / "model.safetensors.index.json").is_file()
    _, model = loaded(tmp_path)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    assert all(v.dtype == np.float32 for v in state.values())
    for name, value in published.items():
        assert np.array_equal(state[name], value.astype(nyala.bfloat16).astype(np.float32)), name
