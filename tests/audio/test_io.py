"""Sound files: every kind of number and container, in pieces, and what is no sound."""

from __future__ import annotations

import io
import struct

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.errors import ArgumentError, DataError, DtypeError, MissingFileError, ShapeError

STEPS = {8: 2**-7, 16: 2**-15, 24: 2**-23, 32: 2**-23}  # float32 holds 24 bits


@pytest.fixture
def samples() -> np.ndarray:
    return (np.random.default_rng(1).uniform(-1, 1, (2, 5_000))).astype(np.float32)


def written(samples: np.ndarray, rate: int = 16_000, **options) -> bytes:
    file = io.BytesIO()
    sound.write(file, samples, rate, **{"format": "WAV", **options})
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "bits"), [("WAV", 8), ("WAV", 16), ("WAV", 24), ("WAV", 32), ("FLAC", 16), ("FLAC", 24), ("AIFF", 16)]
)
def test_what_is_written_comes_back(samples, kind, bits):
    found, rate = sound.read(io.BytesIO(written(samples, 44_100, format=kind, bits=bits)))
    assert rate == 44_100 and found.dtype == nyala.float32
    np.testing.assert_allclose(found.numpy(), np.clip(samples, -1, 1 - STEPS[bits]), atol=STEPS[bits])


def test_floats_come_back_bit_for_bit(samples):
    found, _ = sound.read(io.BytesIO(written(3 * samples, floating=True)))
    np.testing.assert_array_equal(found.numpy(), 3 * samples)


def test_whole_numbers_are_clipped_not_wrapped(samples):
    found, _ = sound.read(io.BytesIO(written(3 * samples)))
    np.testing.assert_allclose(found.numpy(), np.clip(3 * samples, -1, 1 - STEPS[16]), atol=STEPS[16])


@pytest.mark.parametrize("kind", ["OGG", "MP3"])
def test_lossy_kinds_sound_alike(kind):
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    found, _ = sound.read(io.BytesIO(written(tone, format=kind)))
    assert found.shape == (1, 16_000)
    assert np.corrcoef(found.numpy()[0], tone)[0, 1] > 0.99


def test_a_path_and_its_facts(samples, tmp_path):
    path = tmp_path / "a.flac"
    sound.write(path, nyala.from_numpy(samples), 192_000, bits=24)
    facts = sound.info(path)
    assert (facts.sample_rate, facts.channels, facts.frames, facts.format, facts.subtype) == (192_000, 2, 5_000, "FLAC", "PCM_24")
    assert facts.duration == 5_000 / 192_000
    assert [p.name for p in tmp_path.iterdir()] == ["a.flac"]


def test_channels_are_averaged_and_rates_changed(samples):
    raw = written(samples, 48_000, floating=True)
    mono, rate = sound.read(io.BytesIO(raw), 16_000, mono=True)
    plain = sound.read(io.BytesIO(raw))[0].numpy().mean(0, keepdims=True)
    expected = nyala.audio.transforms.resample(nyala.from_numpy(plain), 48_000, 16_000)
    assert rate == 16_000 and mono.shape == (1, 1667)
    np.testing.assert_allclose(mono.numpy(), expected.numpy(), atol=1e-6)


def test_pieces_are_bounded_and_together_the_whole():
    long = np.random.default_rng(2).uniform(-1, 1, 3 * sound.BLOCK + 17).astype(np.float32)
    raw = written(long, floating=True)
    with sound.SoundReader(io.BytesIO(raw)) as reader:
        pieces = list(reader)
    assert max(p.shape[1] for p in pieces) <= sound.BLOCK
    np.testing.assert_array_equal(np.concatenate(pieces, 1)[0], long)
    with sound.SoundReader(io.BytesIO(raw)) as reader:
        reader.seek(1.0)
        assert sum(p.shape[1] for p in reader) == len(long) - 16_000
        with pytest.raises(ArgumentError, match="it lasts"):
            reader.seek(99)


def test_no_samples_are_a_sound_of_no_length():
    raw = written(np.zeros((1, 0), np.float32))
    assert sound.read(io.BytesIO(raw))[0].shape == (1, 0)
    assert sound.read(io.BytesIO(raw), 8_000)[0].shape == (1, 0)


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "MP3", "OGG"])
def test_a_file_that_is_cut_off_is_an_error(samples, kind):
    raw = written(samples, format=kind)
    with pytest.raises(DataError, match=r"cut off|cannot be read as sound"):
        sound.read(io.BytesIO(raw[: len(raw) // 2]))


def test_a_wav_from_a_pipe_states_no_size_and_is_whole(samples):
    raw = bytearray(written(samples))
    raw[4:8] = raw[40:44] = struct.pack("<I", 0xFFFFFFFF)
    assert sound.read(io.BytesIO(bytes(raw)))[0].shape == (2, 5_000)


def test_samples_that_are_not_finite_are_named(samples):
    raw = bytearray(written(samples, floating=True))
    raw[-8:-4] = struct.pack("<f", float("nan"))
    with pytest.raises(DataError, match=r"sample 4999 \(0\.312 s\) is not a finite number"):
        sound.read(io.BytesIO(bytes(raw)))


def test_what_is_no_sound_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be read as sound"):
        sound.read(io.BytesIO(b"this is a text, and quite long enough for a header " * 9))
    (tmp_path / "empty.wav").touch()
    with pytest.raises(DataError, match="is empty"):
        sound.read(tmp_path / "empty.wav")
    with pytest.raises(DataError, match="is a folder"):
        sound.read(tmp_path)
    with pytest.raises(MissingFileError, match="there is no file"):
        sound.read(tmp_path / "none.wav")
    with pytest.raises(ArgumentError, match="an int"):
        sound.read(3)


def test_bad_writing_is_told(tmp_path):
    with pytest.raises(DtypeError, match="32768"):
        sound.write(tmp_path / "a.wav", np.zeros(3, np.int16), 8_000)
    with pytest.raises(ShapeError, match="transpose"):
        sound.write(tmp_path / "a.wav", np.zeros((5_000, 2)), 8_000)
    with pytest.raises(DataError, match="not finite"):
        sound.write(tmp_path / "a.wav", np.full(3, np.inf), 8_000)
    with pytest.raises(ArgumentError, match="no sound format"):
        sound.write(tmp_path / "a.txt", np.zeros(3), 8_000)
    with pytest.raises(ArgumentError, match="FLAC PCM_32"):
        sound.write(tmp_path / "a.flac", np.zeros(3), 8_000, bits=32)
    with pytest.raises(ArgumentError, match="0 Hz"):
        sound.write(tmp_path / "a.wav", np.zeros(3), 0)
    assert list(tmp_path.iterdir()) == []
