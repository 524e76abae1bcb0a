"""Pitch: frames, paths and frequencies, and the pipeline on sounds of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.models.crepe import PITCHES
from nyala.audio.pipelines import pitch
from nyala.audio.pipelines.pitch import CENTS, Frames, Line, Pitch, PitchTracking, hertz, note, smooth_path
from nyala.audio.pipelines.several import Several
from nyala.audio.pipelines.sketch import Sketch
from nyala.errors import ArgumentError, DataError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"


@pytest.fixture(scope="module")
def pipe() -> PitchTracking:
    return nyala.load(GOLDENS / "crepe")  # type: ignore[return-value]


def noise(count: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(count).standard_normal(count).astype(np.float32)


def test_frames_stand_around_every_hop() -> None:
    sound = noise(4000)
    frames, loud = Frames()(np.pad(sound, 512))
    middle = np.pad(sound, 512)[3 * 160 : 3 * 160 + 1024]
    np.testing.assert_allclose(frames[3], (middle - middle.mean()) / middle.std(ddof=1), rtol=1e-4, atol=1e-5)
    assert len(frames) == 4000 // 160 + 1 and loud[3] == pytest.approx(np.sqrt((middle**2).mean()))


@pytest.mark.parametrize("count", [0, 1, 159, 160, 256 * 160, 256 * 160 + 1, 100_003])
def test_pieces_give_what_the_whole_gives(pipe: PitchTracking, count: int) -> None:
    sound = noise(count)
    rows = pipe.salience(sound)
    assert rows.shape == (count // 160 + 1, PITCHES)
    frames, _ = Frames()(np.pad(sound, 512))
    with nyala.no_grad():
        whole = pipe.model(nyala.from_numpy(frames)).numpy()
    np.testing.assert_allclose(rows, whole, rtol=1e-5, atol=1e-6)


def best_path(salience: np.ndarray) -> np.ndarray:
    """The plain dynamic programme over all pairs of pitches."""
    a, b = np.meshgrid(np.arange(PITCHES), np.arange(PITCHES), indexing="ij")
    moves = np.maximum(12 - abs(a - b), 0).astype(float)
    moves = np.log(moves / moves.sum(1, keepdims=True) + 1e-300)
    shares = np.log(salience.astype(np.float64) + 1e-12)
    score, steps = shares[0], []
    for row in shares[1:]:
        ways = score[:, None] + moves
        steps.append(ways.argmax(0))
        score = ways.max(0) + row
    path = [int(score.argmax())]
    for step in reversed(steps):
        path.append(int(step[path[-1]]))
    return np.array(path[::-1])


def test_the_path_is_the_likeliest() -> None:
    salience = np.random.default_rng(2).random((25, PITCHES)).astype(np.float32) ** 8
    assert np.array_equal(smooth_path(salience), best_path(salience))
    assert smooth_path(np.zeros((0, PITCHES), np.float32)).shape == (0,)


def test_a_line_is_decided_as_frames_come_and_waits_no_longer_for_longer_sounds() -> None:
    rng = np.random.default_rng(4)
    salience = rng.random((1500, PITCHES)).astype(np.float32) ** 4
    salience[400:900] = 0.01  # one pitch is plain: every way goes through it
    salience[400:900, 77] = 0.5
    line, parts, waiting = Line(), [], []
    for start in range(0, len(salience), 60):
        parts.append(line.feed(salience[start : start + 60]))
        waiting.append(line.waiting)
    parts.append(line.finish())
    rows, path = (np.concatenate(found) for found in zip(*parts, strict=True))
    assert np.array_equal(rows, salience) and np.array_equal(path, smooth_path(salience))
    assert np.array_equal(path[:300], best_path(salience[:330])[:300])
    assert waiting[14] < 60 and max(waiting[7:15]) < 500 and max(waiting) < 700 and line.waiting == 0


def test_a_line_that_never_meets_is_decided_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pitch, "_LONGEST", 50)
    line, alike = Line(), np.full((40, PITCHES), 0.5, np.float32)
    counts = [len(line.feed(alike)[1]) for _ in range(4)]
    assert counts == [0, 80, 0, 80] and line.waiting == 0


def test_frequencies_lie_between_the_pitches() -> None:
    salience = np.zeros((3, PITCHES), np.float32)
    salience[0, 100], salience[1, 100:102], salience[2, 359] = 1, 0.5, 1
    found = hertz(salience, salience.argmax(1))
    wanted = [CENTS[100], (CENTS[100] + CENTS[101]) / 2, CENTS[359]]
    np.testing.assert_allclose(found, 10 * 2 ** (np.array(wanted) / 1200), rtol=1e-6)
    assert note(float(10 * 2 ** (CENTS[228] / 1200))) == "A4"


def made(frequencies: list[float], confidence: list[float]) -> Pitch:
    times = (0.01 * np.arange(len(frequencies))).astype(np.float32)
    both = np.array(frequencies, np.float32), np.array(confidence, np.float32)
    return Pitch(times, *both, 0.5, 0.01 * len(frequencies), "a.wav", Sketch(16_000))


def test_notes_are_stretches_of_one_pitch() -> None:
    found = made([440.0] * 10 + [100.0] * 5 + [880.0] * 8 + [440.0] * 2, [0.9] * 10 + [0.1] * 5 + [0.8] * 10)
    assert found.notes() == [(0.0, 0.1, "A4", 440.0), (0.15, 0.23, "A5", 880.0)]
    assert np.isnan(found.line[12]) and found.to_dict()["hz"][12] is None and found.to_dict()["hz"][0] == 440.0
    assert "A4" in repr(found) and "80% of" in repr(found)
    assert found.csv().splitlines()[:2] == ["time,hz,confidence", "0.000,440.000,0.9000"]
    assert found.draw().size[0] == 1200
    assert "no pitch in" in repr(made([440.0], [0.1]))


def test_what_is_too_soft_has_no_pitch(pipe: PitchTracking) -> None:
    found = pipe([np.concatenate([noise(8000), np.zeros(8000, np.float32)]), noise(3000)], threshold=1e-6, smooth=False)
    assert isinstance(found, Several)
    assert found[0].voiced[:40].all() and not found[0].voiced[60:].any()


def test_bad_use_is_named(pipe: PitchTracking) -> None:
    with pytest.raises(ArgumentError, match="threshold=2"):
        pipe(noise(100), threshold=2)
    with pytest.raises(DataError, match="no sound"):
        pipe([])


@pytest.mark.weights
def test_the_published_weights_hear_tones() -> None:
    real, time = nyala.load("crepe-tiny"), np.arange(8000) / 16_000
    for frequency in (110, 220, 440, 880):
        found = real((0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32))
        assert np.nanmedian(found.line) == pytest.approx(frequency, rel=0.006)
        assert found.confidence[10:-10].min() > 0.7
