"""Power spectra on the CPU: against the reference in float64, and what their bits may depend on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import reference
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.threads import thread_count
from nyala.core.kernels.cpu.signal import spectrum

# all radices on their own and together; 34 and 62 go by the definition; 74, 15 and 9 by the reference
SIZES = (16, 18, 20, 22, 24, 30, 34, 50, 60, 62, 64, 74, 98, 150, 242, 256, 400, 512, 15, 9)


def signal(*shape: int) -> Any:
    return np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_equals_float64(size):
    x, window = signal(2, 3 * size + 40), np.hanning(size + 2)[1:-1].astype(np.float32)
    found = spectrum.power_spectrum(x, window, 7)
    exact = reference.KERNELS["power_spectrum"](x.astype(np.float64), window.astype(np.float64), 7)
    assert found.dtype == np.float32 and found.shape == exact.shape
    np.testing.assert_allclose(found, exact, rtol=2e-7, atol=1e-12)


@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17, 33])
def test_any_number_of_frames(frames):
    x, window = signal(3, 400 + 160 * (frames - 1) + 5), np.hanning(400).astype(np.float32)
    found = spectrum.power_spectrum(x, window, 160)
    assert found.shape == (3, 201, frames)
    for f in range(frames):  # a frame's bits are its own: neither its place nor its neighbours count
        alone = spectrum.power_spectrum(x[1:2, 160 * f : 160 * f + 400], window, 160)
        assert np.array_equal(found[1, :, f], alone[0, :, 0])


def test_a_quiet_bin_beside_a_loud_one_is_exact():
    time = np.arange(400)
    x = (np.sin(2 * np.pi * 40 * time / 400) + 1e-6 * np.sin(2 * np.pi * 90 * time / 400)).astype(np.float32)[None]
    window = np.ones(400, np.float32)
    exact = reference.KERNELS["power_spectrum"](x.astype(np.float64), window.astype(np.float64), 400)
    np.testing.assert_allclose(spectrum.power_spectrum(x, window, 400)[0, 90], exact[0, 90], rtol=1e-6)


def test_same_bits_with_one_thread():
    x, window = signal(2, 20_000), np.hanning(400).astype(np.float32)
    both = spectrum.power_spectrum(x, window, 160)
    parallel.start(1)
    try:
        assert np.array_equal(both, spectrum.power_spectrum(x, window, 160))
    finally:
        parallel.start(thread_count())


@pytest.mark.parametrize("turn", [lambda x: x[:, ::2], lambda x: x.T.copy().T, lambda x: np.flip(x, 1)])
def test_any_layout(turn):
    x, window = turn(signal(4, 900)), np.hanning(64).astype(np.float32)
    assert np.array_equal(spectrum.power_spectrum(x, window, 16), spectrum.power_spectrum(np.ascontiguousarray(x), window, 16))


def test_read_only_misaligned_nan_and_empty():
    window = np.hanning(32).astype(np.float32)
    raw = np.zeros(4 * 300 + 1, np.uint8)[1:].view(np.float32)[None]
    raw[:] = signal(1, 300)
    aligned = np.array(raw)
    raw.flags.writeable = False
    assert np.array_equal(spectrum.power_spectrum(raw, window, 8), spectrum.power_spectrum(aligned, window, 8))
    aligned[0, 40] = np.nan
    found = spectrum.power_spectrum(aligned, window, 32)
    assert np.isnan(found[0, :, 1]).all() and not np.isnan(found[0, :, 0]).any()
    assert spectrum.power_spectrum(np.zeros((0, 300), np.float32), window, 8).shape == (0, 17, 34)
