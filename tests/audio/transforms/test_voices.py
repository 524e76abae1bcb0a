"""The front end of the speaker encoder, against the same frames of transformers' audio_utils."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala import checkpoint
from nyala.audio.models.ge2e import Config
from nyala.audio.transforms.voices import VoiceMel
from nyala.errors import DataError

FROZEN = checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "ge2e" / "goldens.safetensors")


def test_pieces_are_cut_from_the_reference_frames() -> None:
    found = VoiceMel()(np.array(FROZEN["samples"])).numpy()
    assert found.shape == (2, 160, 40)
    for piece, start in zip(found, (0, 77), strict=True):
        np.testing.assert_allclose(piece, FROZEN["mel"][start : start + 160], rtol=1e-5, atol=1e-7)


def test_a_last_piece_that_is_mostly_silence_is_left_out() -> None:
    front = VoiceMel()
    lengths = [400, 25_600, 27_000, 32_000, 16_000 * 10]
    assert [len(front.one(np.ones(n, np.float32))) for n in lengths] == [1, 1, 1, 2, 12]


def test_quiet_sounds_are_made_louder_and_loud_ones_left() -> None:
    noise, front = np.random.default_rng(0).standard_normal(30_000).astype(np.float32), VoiceMel()
    np.testing.assert_allclose(front.one(1e-3 * noise), front.one(1e-5 * noise), rtol=1e-4)
    np.testing.assert_allclose(front.one(0.1 * noise), 0.25 * front.one(0.2 * noise), rtol=1e-4)
    assert not front.one(np.zeros(30_000, np.float32)).any()


def test_no_more_is_heard_than_was_said() -> None:
    short = VoiceMel.from_config({"max_seconds": 2}, Config())
    assert short == VoiceMel(seconds=2.0) and len(short(np.ones(160_000, np.float32))) == 2
    assert VoiceMel.from_config(short.to_preprocessor(), Config()) == short


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="has 3 sample"):
        VoiceMel()(np.zeros(3, np.float32))
    with pytest.raises(DataError, match="2 sounds at once"):
        VoiceMel()([np.zeros(800, np.float32)] * 2)
    with pytest.raises(DataError, match="max_seconds='all'"):
        VoiceMel.from_config({"max_seconds": "all"}, Config())
