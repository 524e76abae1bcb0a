"""SpecAugment: how much is covered, by what, and that what fills a sound up stays."""

from __future__ import annotations

import numpy as np
from nyala.audio.augment import spec_augment
from nyala.core import random

FRAMES = np.random.default_rng(2).normal(size=(50, 20)).astype(np.float32)


def key(seed: int = 1):
    return random.key(seed, "test")


def test_stretches_are_covered_by_the_mean_of_the_sound() -> None:
    widths: dict[int, set[int]] = {0: set(), 1: set()}
    for seed in range(60):
        for axis, (time, bands) in enumerate((((1, 0.2), (0, 0.0)), ((0, 0.0), (1, 0.5)))):
            found = spec_augment(FRAMES, 50, time, bands, key(seed))
            changed = found != FRAMES
            lines = changed.all(1 - axis)
            assert (changed == (lines[:, None] if axis == 0 else lines[None])).all()
            np.testing.assert_allclose(found[changed], FRAMES.mean(dtype=np.float64), rtol=1e-6)
            if lines.any():
                where = np.flatnonzero(lines)
                assert len(where) == where[-1] - where[0] + 1
            widths[axis].add(int(lines.sum()))
    assert widths[0] == set(range(11)) and widths[1] == set(range(11))  # 0.2 of 50, 0.5 of 20


def test_what_fills_up_stays_and_a_key_decides() -> None:
    filled = FRAMES.copy()
    filled[30:] = -7.0
    found = spec_augment(filled, 30, (2, 0.5), (2, 0.5), key())
    assert (found[30:] == -7.0).all() and (found[:30] != filled[:30]).any()
    np.testing.assert_array_equal(found, spec_augment(filled, 30, (2, 0.5), (2, 0.5), key()))
    assert not np.array_equal(found, spec_augment(filled, 30, (2, 0.5), (2, 0.5), key(2)))


def test_no_masks_change_nothing() -> None:
    np.testing.assert_array_equal(spec_augment(FRAMES, 50, (0, 0.5), (0, 0.5), key()), FRAMES)
    np.testing.assert_array_equal(spec_augment(FRAMES, 50, (3, 0.0), (3, 0.0), key()), FRAMES)
