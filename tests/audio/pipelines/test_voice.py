"""When somebody speaks: segments from probabilities, and the pipeline on sounds of any length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.audio.pipelines.several import Several
from nyala.audio.pipelines.voice import Rules, VoiceActivity, stretches
from nyala.errors import ArgumentError, DataError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
CASES = json.loads((GOLDENS / "stretches.json").read_text())
NAMES = {
    "threshold": ("threshold", 1), "neg_threshold": ("leave", 1), "min_silence_duration_ms": ("min_silence", 1e-3),
    "min_speech_duration_ms": ("min_speech", 1e-3), "speech_pad_ms": ("pad", 1e-3), "max_speech_duration_s": ("max_speech", 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_segments_equal_the_packages(case: dict[str, Any]) -> None:
    rules = Rules(**{NAMES[k][0]: v * NAMES[k][1] for k, v in case["told"].items()})
    found = stretches(case["shares"], 512, case["total"], 16_000, rules)
    assert [list(stretch) for stretch in found] == case["found"]


def test_silence_and_nothing() -> None:
    assert stretches([0.1] * 9, 512, 4608, 16_000, Rules()) == [] == stretches([], 512, 0, 16_000, Rules())


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 0.0}, {"threshold": 1.5}, {"leave": -1.0}, {"pad": -0.1}, {"min_speech": np.nan}, {"max_speech": 0}],
)
def test_rules_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError):
        Rules(**wrong)


@pytest.fixture(scope="module")
def pipe() -> VoiceActivity:
    """Random weights: it hears something, whatever it is."""
    return nyala.load(GOLDENS / "silero_vad")  # type: ignore[return-value]


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal(count).astype(np.float32)


def test_pieces_give_what_the_whole_gives(pipe: VoiceActivity) -> None:
    sound = noise(64 * 2500 + 17)  # more than two pieces of 1024 chunks
    found = pipe(sound)
    assert found.probabilities.shape == (2501,) and found.duration == len(sound) / 16_000
    with nyala.no_grad():
        whole, _ = pipe.model(nyala.from_numpy(np.pad(sound, (0, 64 - 17))[None]))
    np.testing.assert_allclose(found.probabilities, whole.numpy()[0], rtol=1e-5, atol=1e-6)


def test_what_comes_back_prints_draws_and_is_data(pipe: VoiceActivity) -> None:
    middle = float(np.median(pipe(noise(20_000)).probabilities))
    found = pipe([noise(20_000), noise(9_000)], threshold=middle, leave=middle / 2, min_speech=0.0)
    assert isinstance(found, Several) and len(found) == 2
    first = found[0]
    assert first.segments and 0 < first.share <= 1 and "speech in" in repr(first)
    told = found.to_dict()[0]
    assert told["step"] == 0.004 and told["segments"][0]["end"] <= told["duration"]
    picture = first.draw()
    assert picture.size[0] == 1200 and found.draw().size[1] == 2 * picture.size[1]


def test_nobody_speaks_in_no_sound(pipe: VoiceActivity) -> None:
    found = pipe(np.zeros(0, np.float32))
    assert found.segments == () and found.share == 0 and "nobody speaks" in repr(found) and found.draw().size[0] == 1200


def test_bad_use_is_named(pipe: VoiceActivity) -> None:
    with pytest.raises(ArgumentError, match="no option volume"):
        pipe(noise(100), volume=3)
    with pytest.raises(DataError, match="no sound"):
        pipe([])
    with pytest.raises(DataError, match="not all finite"):
        pipe(np.array([np.inf], np.float32))


@pytest.mark.weights
def test_the_published_weights_hear_speech_and_not_a_tone() -> None:
    real = nyala.load("silero-vad")
    prompts = GOLDENS / "prompts"
    said = real(str(prompts / "demo-congrats.flac"))
    assert len(said.segments) == 4 and 0.9 < said.share < 1
    assert real(0.3 * np.sin(np.arange(48_000) * 0.2).astype(np.float32)).segments == ()
