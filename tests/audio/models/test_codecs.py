"""EnCodec and DAC: parity with transformers on tiny random models, whole and piece by piece."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.audio.models import dac, encodec
from nyala.audio.models.shared import codec
from nyala.errors import ArgumentError, DataError, ShapeError
from nyala.hub.files import folder_files
from nyala.hub.load import read_config, read_weights

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
ENCODECS = ("encodec", "encodec_music", "encodec_stereo")
DACS = ("dac", "dac_even")


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def loaded(name: str) -> tuple[Any, Any, dict[str, np.ndarray]]:
    files = folder_files(GOLDENS / name)
    config = read_config(files, None)
    module: Any = importlib.import_module(f"nyala.audio.models.{config['model_type']}")
    model = module.build(config)
    read_weights(model, module, files)
    return module, model.eval(), checkpoint.load_file(GOLDENS / name / "goldens.safetensors")


def cotangent(shape: tuple[int, ...]) -> nyala.Tensor:
    return nyala.tensor(np.cos(0.7 * np.arange(int(np.prod(shape))) + 0.3).reshape(shape).astype(np.float32))


def samples_of(frozen: dict[str, np.ndarray]) -> nyala.Tensor:
    return nyala.from_numpy(np.array(frozen["input_values"]))


def codes_of(frozen: dict[str, np.ndarray]) -> dict[float, np.ndarray]:
    return {float(k.removeprefix("audio_codes.")): v for k, v in frozen.items() if k.startswith("audio_codes.")}


@pytest.mark.parametrize("name", ENCODECS)
def test_encodec_equals_transformers(name: str) -> None:
    _, model, frozen = loaded(name)
    sound, codes = samples_of(frozen), codes_of(frozen)
    with nyala.no_grad():
        found = {b: model.encode(sound, bandwidth=b) for b in codes}
        first = model.encode(sound)
        heard = model.decode(first.audio_codes, first.audio_scales, first.last_frame_pad_length)
        embeddings = model.encoder(sound[..., : model.config.chunk_length])
        whole = model(sound)
    assert all(np.array_equal(found[b].audio_codes.numpy(), expected) for b, expected in codes.items())
    assert all(len(np.unique(book)) >= 10 for v in codes.values() for book in np.moveaxis(v, 2, 0))  # of 16
    assert len({v.shape[2] for v in codes.values()}) == len(codes)  # each bandwidth has its own number of codebooks
    assert relative(embeddings, frozen["embeddings"]) < 1e-5 and relative(heard, frozen["audio_values"]) < 1e-5
    assert np.array_equal(whole.audio_values.numpy(), heard[..., : sound.shape[-1]].numpy())
    if "audio_scales" in frozen:
        scales = np.stack([s.numpy() for s in first.audio_scales])
        assert relative(scales, frozen["audio_scales"]) < 1e-5


@pytest.mark.parametrize("name", DACS)
def test_dac_equals_transformers(name: str) -> None:
    _, model, frozen = loaded(name)
    sound = samples_of(frozen)
    with nyala.no_grad():
        found = {n: model.encode(sound, int(n)).audio_codes for n in codes_of(frozen)}
        whole = model(sound)
        heard = model.decode(audio_codes=whole.audio_codes)
    assert all(np.array_equal(found[n].numpy(), expected) for n, expected in codes_of(frozen).items())
    assert all(len(np.unique(book)) >= 5 for v in codes_of(frozen).values() for book in np.moveaxis(v, 1, 0))  # of 16
    for field, expected in (("audio_values", "audio_values"), ("quantized_representation", "quantized"), ("loss", "loss")):
        assert relative(getattr(whole, field), frozen[expected]) < 1e-5, field
    assert relative(heard[..., : sound.shape[-1]], frozen["audio_values"]) < 1e-5


@pytest.mark.parametrize("name", ENCODECS + DACS)
def test_gradients_equal_transformers(name: str) -> None:
    _, model, frozen = loaded(name)
    sound = samples_of(frozen)
    if name in ENCODECS:
        found = model.encode(sound)
        heard = model.decode(found.audio_codes, found.audio_scales, found.last_frame_pad_length)
        embeddings = model.encoder(sound[..., : model.config.chunk_length])
        aim = (embeddings * cotangent(embeddings.shape)).sum() + (heard * cotangent(heard.shape)).sum()
    else:
        out = model(sound)
        aim = (out.audio_values * cotangent(out.audio_values.shape)).sum() + out.loss.sum()
    aim.backward()
    parameters = dict(model.named_parameters())
    assert {f"grad.{n}" for n in parameters} == {k for k in frozen if k.startswith("grad.")}
    largest = max(np.abs(frozen[f"grad.{n}"]).max() for n in parameters)
    for key, parameter in parameters.items():
        expected, actual = frozen[f"grad.{key}"], np.asarray(parameter.grad)
        # a bias before a norm over time has no gradient but rounding
        assert relative(actual, expected) < 1e-4 or np.abs(actual - expected).max() < 1e-6 * largest, key


@pytest.mark.parametrize("name", ENCODECS + DACS)
@pytest.mark.parametrize("spelling", ["new", "old"])
def test_the_published_file_comes_back(name: str, spelling: str) -> None:
    module, model, _ = loaded(name)
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    if spelling == "old":
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            published = {k.replace(f"parametrizations.weight.{new}", old): v for k, v in published.items()}
    config = module.export_config(model)
    keys = module.key_map(config, list(published))
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    ours, back = keys.to_ours(published), keys.to_published(state)
    assert set(ours) == set(state) and all(np.array_equal(ours[k], state[k]) for k in state)
    assert set(back) == set(published) and all(np.array_equal(back[k], published[k]) for k in published)
    keys.check_bijection(list(state), [v.shape for v in state.values()])
    assert module.build(config).config == model.config


def pieces(sound: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return iter([sound[:, i : i + size] for i in range(0, sound.shape[1], size)])


@pytest.mark.parametrize("name", ["encodec", *DACS])
@pytest.mark.parametrize("length", [1, 19, 40, 799, 801, 2_003])
def test_pieces_give_what_the_whole_sound_does(name: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module, model, _ = loaded(name)
    monkeypatch.setattr(module, "PIECE", 1)
    sound = np.random.default_rng(length).standard_normal((1, length)).astype(np.float32)
    count = model.config.books
    with nyala.no_grad():
        parts = list(model.encode_pieces(codec.Stretches(pieces(sound, 170)), count))
        codes = np.concatenate([part for part, _ in parts], 1)
        heard = np.concatenate(list(model.decode_pieces([(codes, None)])), 1)
        if name == "encodec":
            whole = model.encode(nyala.from_numpy(sound[None]), quantizers=count).audio_codes[0]
            expected = model.decode(whole[None])[0]
        else:
            padded = np.pad(sound, ((0, 0), (0, -length % model.config.hop)))
            whole = model.encode(nyala.from_numpy(padded[None])).audio_codes
            expected = model.decode(audio_codes=whole)
    assert len(parts) == -(-length // (model.config.frame_rate * model.config.hop))
    assert np.array_equal(codes, whole.numpy()[0])
    assert heard.shape == expected.shape and relative(heard, expected.numpy()) < 1e-5


@pytest.mark.parametrize("length", [1, 199, 201, 427, 560])
def test_chunks_give_what_the_whole_sound_does(length: int) -> None:
    _, model, _ = loaded("encodec_stereo")
    sound = np.random.default_rng(length).standard_normal((2, length)).astype(np.float32)
    with nyala.no_grad():
        parts = list(model.encode_pieces(codec.Stretches(pieces(sound, 170)), 2))
        found = model.encode(nyala.from_numpy(sound[None]), quantizers=2)
        heard = np.concatenate(list(model.decode_pieces(parts)), 1)
        expected = model.decode(found.audio_codes, found.audio_scales, found.last_frame_pad_length)
    whole = [found.audio_codes[i].numpy()[0] for i in range(len(parts))]
    assert len(parts) == found.audio_codes.shape[0] and model.chunked
    assert all(np.array_equal(codes, one[:, : codes.shape[1]]) for (codes, _), one in zip(parts, whole, strict=True))
    assert relative(heard[:, :length], expected.numpy()[0, :, :length]) < 1e-5


def test_what_is_behind_a_mask_is_not_heard() -> None:
    _, model, frozen = loaded("encodec")
    sound = samples_of(frozen)
    mask = nyala.cat([nyala.ones(2, 400), nyala.zeros(2, 27)], 1)
    silent = nyala.cat([sound[..., :400], nyala.zeros(2, 1, 27)], 2)
    assert np.array_equal(model.encode(sound, mask).audio_codes.numpy(), model.encode(silent).audio_codes.numpy())


def test_the_published_sizes() -> None:
    with nyala.nn.init.skip_random():
        mono = encodec.build({})
        stereo = encodec.Config.from_dict(
            {"sampling_rate": 48_000, "target_bandwidths": [3.0, 6.0, 12.0, 24.0], "chunk_length_s": 1.0, "overlap": 0.01}
        )
        dacs = dac.build({"n_codebooks": 12})
    assert (mono.config.books, mono.config.hop, mono.config.frame_rate) == (32, 320, 75)
    assert mono.num_parameters() == 14_851_810  # facebook/encodec_24khz
    assert (stereo.books, stereo.chunk_length, stereo.chunk_stride) == (16, 48_000, 47_520)
    assert (dacs.config.hidden_size, dacs.config.hop, dacs.config.frame_rate) == (1024, 512, 32)


def test_bandwidths_choose_codebooks() -> None:
    published = encodec.Config()
    with nyala.nn.init.skip_random():
        small = encodec.build({"num_filters": 1, "hidden_size": 2})
        other = dac.build({"encoder_hidden_size": 1, "decoder_hidden_size": 16, "sampling_rate": 44_100, "n_codebooks": 9})
    assert [small.count(b) for b in published.target_bandwidths] == [2, 4, 8, 16, 32]
    assert (small.count(), other.count(), other.count(bandwidth=4.0), other.count(quantizers=3)) == (2, 9, 4, 3)
    with pytest.raises(ArgumentError, match="use 1\\.5, 3, 6, 12, 24"):
        small.count(bandwidth=5.0)
    with pytest.raises(ArgumentError, match="one codebook takes more"):
        other.count(bandwidth=0.1)
    with pytest.raises(ArgumentError, match="has 9 codebooks"):
        other.count(quantizers=10)
    with pytest.raises(ArgumentError, match="say one"):
        other.count(bandwidth=4.0, quantizers=3)


def test_training_hears_some_sounds_through_fewer_codebooks() -> None:
    _, whole, frozen = loaded("dac")
    model = dac.build({**dac.export_config(whole), "quantizer_dropout": 0.5}).train()
    model.load_state_dict(whole.state_dict())
    sound = nyala.cat([samples_of(frozen)] * 8, 0)

    def heard(seed: int) -> np.ndarray:
        nyala.manual_seed(seed)
        return model.encode(sound).quantized_representation.detach().numpy()

    drawn = heard(1)
    full = whole.encode(sound).quantized_representation.detach().numpy()
    assert np.array_equal(drawn, heard(1)) and not np.array_equal(drawn, heard(2))
    assert np.array_equal(drawn[8:], full[8:]) and not np.array_equal(drawn[:8], full[:8])


def test_bad_input_is_named() -> None:
    _, model, _ = loaded("encodec")
    _, other, _ = loaded("dac")
    with pytest.raises(ShapeError, match="samples of shape"):
        model.encode(nyala.zeros(1, 2, 80))
    with pytest.raises(ShapeError, match="at least 1"):
        other(nyala.zeros(1, 1, 0))
    with pytest.raises(ShapeError, match="a frame takes 40"):
        other(nyala.zeros(1, 1, 39))
    with pytest.raises(DataError, match="code 16"):
        model.decode(nyala.full((1, 1, 2, 3), 16, dtype="int64"))
    with pytest.raises(DataError, match="3 codebooks"):
        other.decode(audio_codes=nyala.zeros(1, 4, 3, dtype="int64"))
    with pytest.raises(ArgumentError, match="pass one"):
        other.decode()
    with pytest.raises(ShapeError, match="2 chunks"):
        model.decode(nyala.zeros(2, 1, 1, 3, dtype="int64"))
    for wrong, message in (
        ({"norm_type": "none"}, "norm_type"), ({"audio_channels": 3}, "audio_channels"), ({"codebook_size": 15}, "power of two"),
        ({"codebook_dim": 5}, "codebook_dim"), ({"use_causal_conv": False, "trim_right_ratio": 0.5}, "trim_right"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            encodec.build(wrong)
    with pytest.raises(ArgumentError, match="no option 'width'"):
        dac.build({}, width=3)
    with pytest.raises(ArgumentError, match="halved 4 times"):
        dac.build({"decoder_hidden_size": 20})
