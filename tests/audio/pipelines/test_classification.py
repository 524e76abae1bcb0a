"""Sound classification: transformers' preprocessing, labels, batches, bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.audio.transforms.frontends import Fbank
from nyala.errors import DataError, MissingFileError

GOLDENS = Path(__file__).parents[2] / "goldens" / "audio"
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(GOLDENS / "ast" / name, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    names = ("bell", "dog", "rain", "car", "voice")
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": {str(i): n for i, n in enumerate(names)}}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"mean": -4.0, "std": 2.0, "sampling_rate": 16_000}))
    return tmp_path


def test_sounds_of_every_kind_get_the_same_classes(folder, tmp_path):
    pipe = nyala.load(folder)
    sound.write(tmp_path / "a.wav", NOISE, 16_000, floating=True)
    single = pipe(NOISE)
    assert set(single.labels) == {"bell", "dog", "rain", "car", "voice"} and abs(sum(single.scores) - 1) < 1e-6
    found = pipe([tmp_path / "a.wav", NOISE, (NOISE, 16_000), nyala.from_numpy(NOISE)])
    assert [p.labels for p in found] == [single.labels] * 4
    assert "a.wav" in repr(found) and "sound 1" in repr(found)
    assert found.to_dict()[0]["input"].endswith("a.wav")
    found.save(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 1000


def test_frames_are_normalised_filled_up_and_cut():
    golden = nyala.checkpoint.load_file(GOLDENS / "kaldi.safetensors")
    wave, expected = np.array(golden["wave"][0]), (golden["fbank.128"][0] + 4.2677393) / (2 * 4.5689974)
    np.testing.assert_allclose(Fbank(58)(wave)[0].numpy(), expected, atol=2e-5)
    longer = Fbank(70)(wave)[0].numpy()
    np.testing.assert_allclose(longer[:58], expected, atol=2e-5)
    np.testing.assert_allclose(longer[58:], 4.2677393 / (2 * 4.5689974), rtol=1e-6)
    np.testing.assert_array_equal(Fbank(20)(wave)[0].numpy(), Fbank(58)(wave)[0].numpy()[:20])
    plain = Fbank.from_config({"do_normalize": False}, 58, 128)(wave)[0].numpy()
    np.testing.assert_allclose(plain, golden["fbank.128"][0], rtol=1e-5, atol=1e-5)


def test_batches_change_nothing(folder):
    pipe = nyala.load(folder)
    sounds = [NOISE[i * 400 :] for i in range(5)]
    together = pipe.logits(sounds)
    alone = np.concatenate([pipe.logits([s]) for s in sounds])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_a_new_head(folder):
    pipe = nyala.load(folder, num_classes=3)
    assert pipe.labels == ("class 0", "class 1", "class 2") and len(pipe(NOISE).labels) == 3


def test_bad_input_is_told(folder):
    pipe = nyala.load(folder)
    with pytest.raises(DataError, match=r"sound 0 has 300 sample\(s\).*25 ms"):
        pipe(NOISE[:300])
    with pytest.raises(DataError, match="no sound"):
        pipe([])
    with pytest.raises(DataError, match="32768"):
        pipe(np.zeros(900, np.int16))
    with pytest.raises(MissingFileError):
        pipe("none.wav")
    with pytest.raises(DataError, match="std=0"):
        Fbank.from_config({"std": 0}, 58, 128)


def test_a_drawn_table_keeps_its_columns() -> None:
    from nyala.audio.pipelines.drawing import text

    def left_edges(shown: str) -> list[int]:
        """Where the ink of each line's last column begins, behind the widest gap."""
        pixels = np.asarray(text(shown).convert("L")) < 128
        found = []
        for row in range(shown.count("\n") + 1):
            columns = np.flatnonzero(pixels[12 + 18 * row : 30 + 18 * row].any(axis=0))
            found.append(int(columns[np.diff(columns).argmax() + 1]))
        return found

    assert np.ptp(left_edges("WWWWWWWW.wav      1\niiiiiiii.wav      1")) <= 1
