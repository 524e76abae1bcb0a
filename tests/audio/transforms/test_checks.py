"""What transforms ask of samples."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala.audio.transforms.checks import check_waveform
from nyala.errors import ArgumentError, DtypeError, ShapeError


def test_what_is_asked():
    check_waveform("x", nyala.zeros(2, 3, 4))
    check_waveform("x", nyala.zeros(3, dtype=nyala.float16))
    check_waveform("x", nyala.zeros(2, 3), 2, half=False)
    with pytest.raises(ArgumentError, match=r"nyala\.from_numpy"):
        check_waveform("x", np.zeros(3))
    with pytest.raises(DtypeError, match="convert it"):
        check_waveform("x", nyala.zeros(3, dtype=nyala.float16), half=False)
    with pytest.raises(ShapeError, match="single number"):
        check_waveform("x", nyala.tensor(1.0))
    with pytest.raises(ShapeError, match="one by one"):
        check_waveform("x", nyala.zeros(1, 2, 3), 2)
