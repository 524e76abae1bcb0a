"""What a sound looks like, in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.audio.pipelines import sketch as module
from nyala.audio.pipelines.sketch import BANDS, CELL, FINE, Sketch


def drawn(cells: int, piece: int) -> Sketch:
    """Of noise that grows louder, given in pieces."""
    count = cells * CELL
    sound = (np.random.default_rng(0).uniform(-1, 1, count) * np.linspace(0, 1, count)).astype(np.float32)
    sketch = Sketch(16_000)
    for first in range(0, count, piece):
        sketch.add(sound[first : first + piece])
    return sketch


@pytest.mark.parametrize("piece", [300, 5_000, 1 << 20])
@pytest.mark.parametrize("cells", [10, 64, 65, 100, 127, 128, 129, 1000])
def test_long_sounds_keep_their_extremes_in_fewer_cells(cells: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drawn(cells, piece)
    monkeypatch.setattr(module, "MOST", 64)
    short = drawn(cells, piece)
    kept = len(short.spectrum)
    assert kept <= 128 + 64 and short.extremes.shape == (FINE * kept, 2) and short.duration == whole.duration
    each = -(-cells // kept)
    assert each & (each - 1) == 0 and kept == -(-cells // each)
    for i in range(kept):
        np.testing.assert_array_equal(short.spectrum[i], whole.spectrum[each * i : each * (i + 1)].max(0))
    fine = FINE * each
    for i in range(kept):
        ours, all_of_it = short.extremes[FINE * i : FINE * (i + 1)], whole.extremes[fine * i : fine * (i + 1)]
        assert ours[:, 0].min() == all_of_it[:, 0].min() and ours[:, 1].max() == all_of_it[:, 1].max()


def test_nothing_was_heard() -> None:
    assert Sketch(16_000).spectrum.shape == (0, BANDS) and Sketch(16_000).extremes.shape == (0, 2)
