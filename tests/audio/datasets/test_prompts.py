"""Telephone prompts: which recordings are in which part, from folders as Debian's packages install them; and the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nyala.audio import io as sound
from nyala.audio.datasets import SpokenNumbers, Voices, prompts, voice_folder
from nyala.errors import ArgumentError, DataError

SENTENCES = [f"said-{i}" for i in range(20)]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every voice says every number and twenty sentences; one of them is short, and there is silence."""
    monkeypatch.setattr(prompts, "_INSTALLED", tmp_path)
    for voice in prompts.VOICES.values():
        lengths = dict.fromkeys([*(f"digits/{n}" for n in prompts.NUMBERS), *SENTENCES], 0.5)
        for name, seconds in (lengths | {"said-3": 0.4, "silence/1": 1.0}).items():
            path = tmp_path / voice.folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sound.write(path, np.zeros(round(8_000 * seconds), np.float32), 8_000)
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_voices_are_split_by_prompt() -> None:
    train, test = Voices("train"), Voices("test")
    assert train.classes == test.classes == tuple(prompts.VOICES)
    said = [{name.partition("/")[2] for name in part.names} for part in (train, test)]
    assert not said[0] & said[1] and len(said[0] | said[1]) == 28 + 19  # without the short one and silence
    assert np.bincount(train.labels).tolist() == [len(said[0])] * 6 and np.bincount(test.labels).tolist() == [len(said[1])] * 6
    path, label = train[0]
    assert path.parts[-len(Path(train.names[0]).parts) :][-1] == Path(train.names[0]).name and label == 0


def test_numbers_are_tested_on_another_voice(installed: Path) -> None:
    train, test = SpokenNumbers("train"), SpokenNumbers("test")
    assert (len(train), len(test)) == (5 * 28, 28) and train.classes[:3] == ("0", "1", "2") and train.classes[-1] == "90"
    assert {name.partition("/")[0] for name in test.names} == {"menardi-it"}
    assert "menardi-it" not in {name.partition("/")[0] for name in train.names}
    assert all(train.files[i].stem == train.classes[train.labels[i]] for i in range(len(train)))
    (installed / "it_IT_f_Menardi" / "digits" / "7.wav").unlink()
    with pytest.raises(DataError, match=r"there is no .*7\.wav"):
        SpokenNumbers("test")


@pytest.mark.usefixtures("installed")
def test_what_there_is_not_is_told() -> None:
    for read in (Voices, SpokenNumbers):
        with pytest.raises(ArgumentError, match="no split 'dev'"):
            read("dev")
    with pytest.raises(ArgumentError, match=r"no voice 'alison-en'\. Remedy: did you mean 'allison-en'"):
        voice_folder("alison-en")


@pytest.mark.weights
def test_the_real_recordings() -> None:
    train, test = Voices("train"), Voices("test")
    assert np.bincount([*train.labels, *test.labels]).tolist() == [552, 503, 538, 519, 529, 507]
    assert (len(train), len(test)) == (2_593, 555) and len(SpokenNumbers("test")) == 28
