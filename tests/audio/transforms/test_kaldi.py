"""Kaldi's filter banks against transformers' feature extractor of AST."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transforms import kaldi_fbank
from nyala.errors import ArgumentError, DtypeError, ShapeError

GOLDENS = nyala.checkpoint.load_file(Path(__file__).parents[2] / "goldens" / "audio" / "kaldi.safetensors")
WAVE = nyala.from_numpy(np.array(GOLDENS["wave"]))


@pytest.mark.parametrize("bands", [40, 128])
def test_equals_the_reference(bands):
    found, golden = kaldi_fbank(WAVE, bands).numpy(), GOLDENS[f"fbank.{bands}"]
    assert found.shape == golden.shape and found.dtype == np.float32
    np.testing.assert_allclose(found, golden, rtol=1e-5, atol=1e-5)


def test_a_row_alone_has_the_same_bits():
    np.testing.assert_array_equal(kaldi_fbank(WAVE[1]).numpy(), kaldi_fbank(WAVE).numpy()[1])


def test_gradient_reaches_the_samples():
    wave = nyala.from_numpy(GOLDENS["wave"][0, :800].astype(np.float64)).requires_grad_()
    kaldi_fbank(wave, 20).sum().backward()
    step, place, ends = 1e-7, 300, []
    for sign in (1, -1):
        moved = wave.detach().numpy().copy()
        moved[place] += sign * step
        ends.append(float(kaldi_fbank(nyala.from_numpy(moved), 20).sum().item()))
    np.testing.assert_allclose(wave.grad.numpy()[place], (ends[0] - ends[1]) / (2 * step), rtol=1e-4)


def test_bad_input_is_named():
    with pytest.raises(ArgumentError, match=r"nyala\.from_numpy"):
        kaldi_fbank(np.zeros(1000, np.float32))
    with pytest.raises(DtypeError, match="32768"):
        kaldi_fbank(nyala.zeros(1000, dtype=nyala.int32))
    with pytest.raises(ShapeError, match="mix the channels"):
        kaldi_fbank(nyala.zeros(1, 2, 1000))
    with pytest.raises(ShapeError, match="a frame needs 400"):
        kaldi_fbank(nyala.zeros(399))
    with pytest.raises(ArgumentError, match="0 mel bands"):
        kaldi_fbank(nyala.zeros(400), 0)
