"""Models of sounds that no classifier is made for say so, rather than that they lack an option."""

from __future__ import annotations

from pathlib import Path

import nyala
import pytest
from nyala.errors import ArgumentError

GOLDENS = Path(__file__).parents[1] / "goldens" / "audio"


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("silero_vad", "voice-activity-detection"),
        ("crepe", "pitch"),
        ("vits", "text-to-speech"),
        ("encodec", "audio-codec"),
        ("dac", "audio-codec"),
        ("ge2e", "sound-embedding"),
    ],
)
def test_it_is_said_in_words(name: str, task: str) -> None:
    with pytest.raises(ArgumentError, match=f"a model for {task} with a new head for 3 classes.*nyala list --task audio-class"):
        nyala.load(str(GOLDENS / name), num_classes=3)
