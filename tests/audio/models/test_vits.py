"""VITS: parity with transformers, with the noise that was drawn there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import vits
from nyala.errors import ArgumentError, IndexRangeError, NumericError, ShapeError
from nyala.hub import registry
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
NAMES = ("vits", "vits_voices")


def load(name: str) -> Any:
    files = folder_files(GOLDENS / name)
    model = registry.get("transformers:vits").build(read_config(files, None))
    read_weights(model, vits, files)
    return model.eval()


def speak(model: Any, frozen: dict[str, Any], rows: slice = slice(None), **told: Any) -> vits.SpeechOutput:
    given = {k: nyala.from_numpy(np.array(frozen[k][rows])) for k in ("input_ids", "attention_mask")}
    noise = tuple(nyala.from_numpy(np.array(frozen[f"noise.{k}"][rows])) for k in ("durations", "frames"))
    speaker = 2 if model.config.num_speakers > 1 else None
    return model(**given, speaker_id=speaker, noise=noise, **told)


@pytest.mark.parametrize("name", NAMES)
def test_speech_and_gradients_equal_transformers(name: str) -> None:
    model, frozen = load(name), checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    out = speak(model, frozen)
    assert out.sequence_lengths.tolist() == frozen["sequence_lengths"].tolist()
    total: Any = 0
    for key in ("waveform", "log_duration"):
        found = getattr(out, key)
        np.testing.assert_allclose(found.detach().numpy(), frozen[key], atol=1e-5 * np.abs(frozen[key]).max())
        weights = np.cos(0.7 * np.arange(found.numel()) + 0.3).reshape(found.shape)
        total = total + (found * nyala.tensor(weights.astype(np.float32))).sum()
    total.backward()
    grads = {n: np.asarray(p.grad) for n, p in model.named_parameters() if p.grad is not None}
    assert set(grads) == {k.removeprefix("grad.") for k in frozen if k.startswith("grad.")}
    largest = max(np.abs(v).max() for k, v in frozen.items() if k.startswith("grad."))
    for key, grad in grads.items():
        expected = frozen[f"grad.{key}"]
        assert np.abs(grad - expected).max() < 1e-4 * max(np.abs(expected).max(), 1e-3 * largest), key


@pytest.mark.parametrize("name", NAMES)
def test_the_published_file_comes_back(name: str) -> None:
    model, published = load(name), checkpoint.load_file(GOLDENS / name / "model.safetensors")
    keys = vits.key_map({}, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert set(back) == set(published) and all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(model.state_dict()), [v.shape for v in model.state_dict().values()])
    assert vits.build(vits.export_config(model)).config == model.config


def test_the_older_spelling_of_norms_is_read_and_written() -> None:
    published = checkpoint.load_file(GOLDENS / "vits" / "model.safetensors")
    endings = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    older = {}
    for name, array in published.items():
        ending = next((e for e in endings if name.endswith(e)), "")
        older[name.removesuffix(ending) + endings.get(ending, "")] = array
    keys = vits.key_map({}, list(older))
    ours = keys.to_ours(older)
    assert set(ours) == set(published) and set(keys.to_published(ours)) == set(older) != set(published)


def test_what_is_beside_padding_counts_for_nothing() -> None:
    model, frozen = load("vits"), checkpoint.load_file(GOLDENS / "vits" / "goldens.safetensors")
    alone = {k: v[1:, ..., :6] if k != "noise.frames" else v[1:] for k, v in frozen.items() if v.ndim > 1}
    out = speak(model, alone)
    heard = int(frozen["sequence_lengths"][1])
    spoken = heard - 40  # the vocoder's convolutions see what lies behind the end
    np.testing.assert_allclose(out.waveform.detach().numpy()[0, :spoken], frozen["waveform"][1, :spoken], atol=1e-5)


def test_one_key_one_speech() -> None:
    model, ids = load("vits"), nyala.tensor([[1, 2, 3, 4]])
    with nyala.no_grad():
        first, again, other = (model(ids, key=nyala.random.key(seed, "speech")).waveform.numpy() for seed in (1, 1, 2))
    assert np.array_equal(first, again) and (first.shape != other.shape or not np.array_equal(first, other))


def test_speech_is_as_fast_as_is_asked() -> None:
    model, frozen = load("vits_voices"), checkpoint.load_file(GOLDENS / "vits_voices" / "goldens.safetensors")
    lasting = np.exp(frozen["log_duration"][0, 0])
    with nyala.no_grad():
        fast = speak(model, frozen, slice(0, 1), speaking_rate=4.0)
    assert fast.sequence_lengths[0] == np.ceil(lasting / 4).sum() * model.config.hop


@pytest.mark.parametrize("value", [100.0, float("nan")])
def test_letters_that_would_last_for_ever_are_refused(value: float) -> None:
    model = load("vits_voices")
    with nyala.no_grad():
        model.duration_predictor.proj.bias.fill_(value)
    with pytest.raises(NumericError, match="a letter would last"):
        model(nyala.tensor([[1, 2]]))


def test_bad_input_is_named() -> None:
    model = load("vits_voices")
    ids = nyala.tensor([[1, 2]])
    with pytest.raises(IndexRangeError, match="speaker 3"):
        model(ids, speaker_id=3)
    with pytest.raises(ArgumentError, match="speaking_rate=0"):
        model(ids, speaking_rate=0)
    with pytest.raises(ShapeError, match=r"\(N, L\)"):
        model(nyala.zeros(1, 0).to("int64"))
    with pytest.raises(ShapeError, match="noise for 1 frames"):
        model(ids, noise=(nyala.zeros(1, 2, 2), nyala.zeros(1, 6, 1)))
    for wrong, message in (
        ({"depth": 1}, "no option 'depth'"),
        ({"flow_size": 5}, "flow_size=5"),
        ({"upsample_rates": [4]}, "lists"),
    ):
        with pytest.raises(ArgumentError, match=message):
            vits.build({}, **wrong)
