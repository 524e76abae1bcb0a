"""Live sound in blocks: at another rate without seams, and what is no block of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio.pipelines.sounds import resampled
from nyala.audio.transforms import resample
from nyala.errors import DataError


@pytest.mark.parametrize("rates", [(8_000, 16_000), (44_100, 16_000), (16_000, 16_000)])
@pytest.mark.parametrize("size", [1, 160, 4_096])
def test_blocks_have_no_seams(rates: tuple[int, int], size: int) -> None:
    count = 400 if size == 1 else 6_000
    wave = np.random.default_rng(size).uniform(-1, 1, count).astype(np.float32)
    found = np.concatenate(list(resampled((wave[i : i + size] for i in range(0, count, size)), *rates)))
    np.testing.assert_allclose(found, resample(nyala.from_numpy(wave), *rates).numpy(), atol=1e-6)


def test_nothing_and_tensors() -> None:
    assert list(resampled([], 8_000, 16_000)) == []
    assert [len(b) for b in resampled([nyala.zeros(1, 5), np.zeros((5, 1))], 16_000, 16_000)] == [5, 5]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros(4, np.int16), "32768"),
        (np.zeros((2, 4)), r"shape \(2, 4\)"),
        ("noise", "of live sound"),
        (np.array([0.0, np.nan]), "sample 4 of live sound is not a finite"),
    ],
)
def test_what_is_no_block_is_named(block: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(resampled([np.zeros(3), block], 8_000, 16_000))
