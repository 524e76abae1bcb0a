"""The codec's pipeline: sounds to codes, files of codes, and back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.audio.pipelines.codec import Codec, Codes
from nyala.core import checkpoint
from nyala.errors import ArgumentError, CheckpointError, DataError, MissingFileError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
NAMES = ("encodec", "encodec_music", "encodec_stereo", "dac")


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    return nyala.load(str(GOLDENS / request.param))


@pytest.fixture
def mono() -> Codec:
    return nyala.load(str(GOLDENS / "encodec"))


def noise(channels: int, length: int, seed: int = 1) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal((channels, length))).astype(np.float32)


def test_a_sound_comes_back_as_long_as_it_was(codec: Codec, tmp_path: Path) -> None:
    channels = codec.model.config.channels
    sound.write(tmp_path / "a.wav", noise(channels, 1_234), 800, floating=True)
    codes = codec(str(tmp_path / "a.wav"))
    heard = codec.decode(codes)
    assert heard.shape == (channels, 1_234) and codes.facts.samples == 1_234 and codes.name.endswith("a.wav")
    codes.save(tmp_path / "a.safetensors")
    again = Codes.load(tmp_path / "a.safetensors")
    assert again.facts == codes.facts and again.codes.dtype == np.int16 and repr(again) == repr(codes)
    assert np.array_equal(codec.decode(tmp_path / "a.safetensors").numpy(), heard.numpy())


def test_codes_are_the_models(codec: Codec) -> None:
    samples = noise(codec.model.config.channels, 700)
    codes = codec(samples, quantizers=codec.model.config.books)
    with nyala.no_grad():
        if codes.facts.model_type == "dac":
            padded = nyala.from_numpy(np.pad(samples, ((0, 0), (0, -700 % 40)))[None])
            expected, heard = codec.model.encode(padded).audio_codes.numpy(), codec.model(padded).audio_values
        else:
            found = codec.model.encode(nyala.from_numpy(samples[None]), quantizers=codec.model.config.books)
            expected = found.audio_codes.numpy()[:, 0]
            heard = codec.model.decode(found.audio_codes, found.audio_scales, found.last_frame_pad_length)[0]
    assert np.array_equal(codes.codes, expected)
    known = min(700, heard.shape[-1])
    np.testing.assert_allclose(codec.decode(codes).numpy()[:, :known], heard.numpy()[:, :known], rtol=1e-4, atol=1e-5)


def test_any_rate_and_any_channels(codec: Codec, tmp_path: Path) -> None:
    channels = codec.model.config.channels
    for i, (rate, given) in enumerate(((192_000, 2), (8_000, 1), (44_100, 6))):
        sound.write(tmp_path / f"{i}.wav", noise(given, rate // 4), rate, bits=24)
        codes = codec(str(tmp_path / f"{i}.wav"))
        assert codes.facts.samples == 200 and codec.decode(codes).shape == (channels, 200)
    pair = codec((noise(2, 2_000), 8_000))
    assert pair.facts.samples == 200 and codec.decode(pair).shape[0] == channels


def test_both_sides_are_heard() -> None:
    codec = nyala.load(str(GOLDENS / "encodec_stereo"))
    sides = noise(2, 600)
    swapped = codec(sides[::-1].copy())
    assert not np.array_equal(codec(sides).codes, swapped.codes)
    assert np.array_equal(codec(sides[0]).codes, codec(np.stack([sides[0]] * 2)).codes)


def test_empty_silent_and_short_sounds(codec: Codec) -> None:
    channels = codec.model.config.channels
    for length in (0, 1, 39):
        codes = codec(np.zeros(length, np.float32))
        heard = codec.decode(codes)
        assert heard.shape == (channels, length) and np.isfinite(heard.numpy()).all()
        assert codes.draw().size[0] == 1200


def test_memory_holds_a_window_of_the_file(mono: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    monkeypatch.setattr(sound, "BLOCK", 4_000)  # as many as a window

    peaks = []
    for seconds in (30, 150):
        sound.write(tmp_path / "long.wav", noise(1, 800 * seconds), 800)
        tracemalloc.start()
        codes = mono(str(tmp_path / "long.wav"))
        sound.write_blocks(tmp_path / "back.wav", mono.decode_pieces(codes), 800, 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sound.info(tmp_path / "back.wav").frames == 120_000
    assert peaks[1] < peaks[0] + 200_000  # the samples alone, as float32, would take 384 kB more


def test_bandwidth_progress_and_several(mono: Codec, tmp_path: Path) -> None:
    sound.write(tmp_path / "a.wav", noise(1, 16_000), 800)
    told: list[tuple[float, float]] = []
    low, high = mono(str(tmp_path / "a.wav"), progress=lambda *at: told.append(at)), mono(noise(1, 500), bandwidth=0.64)
    assert told[-1] == (20.0, 20.0) and len(told) == 4
    assert low.codes.shape == (1, 1, 800) and high.codes.shape[1] == 4 and high.facts.kbps == 0.64
    assert len(mono([noise(1, 50), noise(1, 60)])) == 2
    assert "20.00 s, 1 channel at 800 Hz, as 800 frames of 1 code (0.16 kbit/s, 0.4 kB, 1/80 of" in repr(low)
    assert low.to_dict()["shape"] == [1, 1, 800]


def test_bad_input_is_named(mono: Codec, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        mono(str(tmp_path / "none.wav"))
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(DataError, match="cannot be read as sound"):
        mono(str(tmp_path / "text.wav"))
    with pytest.raises(DataError, match="finite"):
        mono(np.full(100, np.nan, np.float32))
    with pytest.raises(DataError, match="finite"):
        nyala.load(str(GOLDENS / "encodec_stereo"))(np.full((2, 100), np.inf, np.float32))
    with pytest.raises(DataError, match="a sound is"):
        mono(3)
    with pytest.raises(DataError, match="at least one"):
        mono([])
    with pytest.raises(ArgumentError, match=r"0\.16, 0\.64"):
        mono(noise(1, 50), bandwidth=1.0)


def test_files_that_hold_no_codes_are_refused(mono: Codec, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match="there is no file"):
        Codes.load(path)
    path.write_bytes(b"no safetensors file")
    with pytest.raises(CheckpointError):
        Codes.load(path)
    with pytest.raises(DataError, match="holds no codes"):
        Codes.load(GOLDENS / "encodec" / "model.safetensors")
    codes = mono(noise(1, 400))
    codes.save(path)
    arrays, metadata = checkpoint.load_file(path), checkpoint.safetensors.read_header(path).metadata
    for facts in ("{", "{}", metadata["facts"].replace("800", "-8"), metadata["facts"].replace("0.16", '"x"')):
        checkpoint.save_file(arrays, path, {**metadata, "facts": facts})
        with pytest.raises(DataError):
            mono.decode(path)
    checkpoint.save_file(
        arrays, path, {**metadata, "facts": metadata["facts"].replace('"samples": 400', '"samples": 4000000000')}
    )
    with pytest.raises(DataError, match="states 4000000000"):
        mono.decode(path)
    checkpoint.save_file({"codes": arrays["codes"] + np.int16(900)}, path, metadata)
    with pytest.raises(DataError, match="codes are 0 to 15"):
        mono.decode(path)
    checkpoint.save_file({"codes": np.concatenate([arrays["codes"]] * 2)}, path, metadata)
    with pytest.raises(DataError, match="2 chunks"):
        mono.decode(path)
    checkpoint.save_file({"codes": arrays["codes"][0]}, path, metadata)
    with pytest.raises(DataError, match="encode again"):
        mono.decode(path)


def test_another_models_codes_are_refused(mono: Codec) -> None:
    other = nyala.load(str(GOLDENS / "dac"))
    with pytest.raises(DataError, match=r"codes of dac of 800 Hz.*is encodec of 800 Hz"):
        mono.decode(other(noise(1, 400)))


def test_an_open_file_is_read(mono: Codec) -> None:
    file: Any = io.BytesIO()
    sound.write(file, noise(1, 400), 800, format="FLAC")
    file.seek(0)
    assert mono(file).codes.shape == (1, 1, 20)
