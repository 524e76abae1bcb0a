"""Numbers on their way to a graph: each in a place of its own, whatever their count, and none overwritten before it was read."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.core import devices
from nyala.core.compile.settings import Settings


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("counts", [[1] * 1024 + [2], [3] * 700, [1000, 24, 1, 1023, 7]])
def test_every_number_arrives(counts: list[int]) -> None:
    settings, stream = Settings(), devices.cupy().cuda.Stream(non_blocking=True)
    places = [settings.place(count) for count in counts]
    key, words = settings.words()
    for launch in range(6):  # more than there are buffers
        values = [tuple(1000.0 * i + launch + np.arange(count)) for i, count in enumerate(counts)]
        sent = [(number, value) for (number, _), value in zip(places, values, strict=True)]
        with stream:
            settings.send(stream, [*sent, (key, np.array([launch, 2**32 - 1], np.uint32))])
        stream.synchronize()
        assert all(tuple(devices.move(array, "cpu")) == value for (_, array), value in zip(places, values, strict=True))
        assert devices.move(words, "cpu").tolist() == [launch, 2**32 - 1]
