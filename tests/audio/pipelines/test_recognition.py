"""Speech recognition: windows, times, prompts, chance, silence; and the published model on real recordings."""

from __future__ import annotations

import io
import json
import wave
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio import io as sound
from nyala.errors import ArgumentError, DataError, MissingFileError, UnknownNameError

GOLDENS = Path(__file__).parents[2] / "goldens"
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000).astype(np.float32)
EN, DE, TRANSLATE, TRANSCRIBE, PREVIOUS, UNTIMED = 15, 16, 17, 18, 20, 22
START, END = 14, 13


def spans(said):
    return [(s.start, s.end, s.text) for s in said.segments]


def test_a_short_sound_is_one_segment_without_times(scripted):
    pipe = scripted([0, 1, 2])
    said = pipe(NOISE[:12_000], language="en")
    assert spans(said) == [(0.0, 0.75, "abc")] and said.text == str(said) == "abc"
    assert (said.language, said.duration) == ("en", 0.75)
    assert pipe.model.prompts == [[START, EN, TRANSCRIBE, UNTIMED]]


def test_times_are_asked_for_and_cut_the_text(scripted, time):
    pipe = scripted([time(0), 0, 1, time(30), time(40), 2, time(60), time(60), 4, time(70)])
    said = pipe(NOISE[:12_000], timestamps=True, language="de", task="translate")
    assert spans(said) == [(0.0, 0.3, "ab"), (0.4, 0.6, "c"), (0.6, 0.7, "e")]
    assert pipe.model.prompts == [[START, DE, TRANSLATE]]


def test_an_unfinished_segment_begins_the_next_window(scripted, time):
    first = [time(0), 0, time(30), time(40), 1]  # the end of b is not in the window
    pipe = scripted(first, [time(0), 1, time(50), time(50)], [time(0), 2, time(20)])
    heard = []
    said = pipe(NOISE[:20_000], language="en", progress=lambda done, total: heard.append((round(done, 2), total)))
    assert spans(said) == [(0.0, 0.3, "a"), (0.3, 0.8, "b"), (0.8, 1.0, "c")]
    assert heard == [(0.0, 1.25), (0.3, 1.25), (0.8, 1.25), (1.25, 1.25)]


def test_what_was_said_is_told_to_the_next_window(scripted, time):
    pipe = scripted([time(0), 0, time(80)], [time(0), 1, time(20)])
    pipe(NOISE[:20_000], language="en", prompt="a b")
    assert pipe.model.prompts[0] == [PREVIOUS, 11, 12, START, EN, TRANSCRIBE]
    assert pipe.model.prompts[1] == [PREVIOUS, 11, 12, time(0), 0, time(80), START, EN, TRANSCRIBE]
    pipe = scripted([time(0), 0, time(80)], [time(0), 1, time(20)])
    pipe(NOISE[:20_000], language="en", previous=False)
    assert PREVIOUS not in pipe.model.prompts[1]


def test_the_language_is_found_out(scripted):
    pipe = scripted([0])
    assert pipe(NOISE[:9_000]).language == "de"
    assert pipe.model.prompts == [[START, DE, TRANSCRIBE, UNTIMED]]
    with pytest.raises(UnknownNameError, match="no language 'ed'"):
        pipe(NOISE[:9_000], language="ed")


def test_tokens_that_are_never_written_are_not(scripted):
    pipe = scripted([9, 3, 0])  # no text begins with 9; 3 is never written: the row of others is flat, so 0 follows
    said = pipe(NOISE[:9_000], language="en", temperatures=(0.0,), max_new_tokens=3)
    assert said.segments[0].tokens == (0, 0, 0)


def test_a_sound_in_which_nobody_speaks(scripted):
    assert scripted([0], silent=True)(NOISE[:9_000], language="en").segments == ()
    pipe = scripted([0])
    said = pipe(np.zeros(40_000, np.float32), language="en")
    assert said.segments == () and said.duration == 2.5 and pipe.model.prompts == []
    assert pipe(np.zeros(0, np.float32)).to_dict()["segments"] == []


def test_a_text_in_circles_is_written_again_with_chance(scripted):
    pipe = scripted([0] * 12)
    said = pipe(NOISE[:9_000], language="en", compression_ratio=0.5, temperatures=(0.0, 0.2, 0.4))
    assert len(pipe.model.prompts) == 3 and said.segments[0].temperature == 0.4
    pipe = scripted([0, 1])
    pipe(NOISE[:9_000], language="en")
    assert len(pipe.model.prompts) == 1


def test_a_window_moves_on_whatever_is_written(scripted, time):
    pipe = scripted([time(0)])  # a time, and the end at once
    said = pipe(NOISE[:18_000], language="en")
    assert said.segments == () and said.duration == 1.125


# ---- random weights: the whole path


def test_sounds_of_every_kind_are_heard_alike(whisper_folder, tmp_path):
    pipe = nyala.load(whisper_folder)
    options = {"language": "en", "max_new_tokens": 5, "temperatures": (0.0,), "no_speech": 1.0}
    expected = pipe(NOISE[:14_000], **options).to_dict()
    file = io.BytesIO()
    sound.write(file, NOISE[:14_000], 16_000, format="WAV", floating=True)
    (tmp_path / "a.wav").write_bytes(file.getvalue())
    file.seek(0)
    found = [pipe(source, **options) for source in (nyala.from_numpy(NOISE[:14_000]), (NOISE[:14_000], 16_000), file)]
    found += pipe([tmp_path / "a.wav", str(tmp_path / "a.wav")], **options)
    for each in found:
        assert {**each.to_dict(), "input": "samples"} == expected
    assert pipe((np.stack([NOISE[:14_000]] * 2), 16_000), **options).to_dict() == expected


def test_a_draw_is_the_same_again(whisper_folder):
    pipe = nyala.load(whisper_folder)
    options = {"language": "en", "temperatures": (1.0,), "logprob": -99.0}
    first, again, other = (pipe(NOISE[:40_000], seed=s, **options).text for s in (1, 1, 2))
    assert first == again != other


def test_memory_is_bounded_by_the_window():
    """Ten minutes are read in pieces: never much more than a window is held."""
    from nyala.audio.pipelines.windows import Windows

    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8_000)
        out.writeframes(bytes(2 * 8_000 * 600))
    file.seek(0)
    with Windows(file, 16_000, 16_000) as heard:
        most = 0
        for first in range(0, 600 * 16_000, 16_000):
            assert len(heard.at(first)) == 16_000
            most = max(most, len(heard._held))
        assert most <= 16_000 + 2 * sound.BLOCK + 4096 and not heard.more(600 * 16_000)


def test_bad_input_is_told(whisper_folder):
    pipe = nyala.load(whisper_folder)
    with pytest.raises(DataError, match="32768"):
        pipe(np.zeros(3, np.int16))
    with pytest.raises(DataError, match="not all finite"):
        pipe(np.full(300, np.nan, np.float32))
    with pytest.raises(DataError, match="an int"):
        pipe(3)
    with pytest.raises(DataError, match="no sound"):
        pipe([])
    with pytest.raises(MissingFileError, match="there is no file"):
        pipe("none.wav")
    with pytest.raises(ArgumentError, match="no option langage"):
        pipe(NOISE, langage="en")
    with pytest.raises(ArgumentError, match="task='sing'"):
        pipe(NOISE, task="sing")
    with pytest.raises(ArgumentError, match="temperatures"):
        pipe(NOISE, temperatures=())
    (whisper_folder / "tokenizer.json").unlink()
    with pytest.raises(MissingFileError, match=r"tokenizer\.json"):
        nyala.load(whisper_folder)(NOISE)


# ---- the published model


@pytest.mark.weights
def test_real_recordings_are_heard_word_for_word_as_by_the_reference():
    frozen = json.loads((GOLDENS / "real" / "whisper.json").read_text())
    pipe = nyala.load("whisper-tiny.en")
    for name, expected in frozen["prompts"].items():
        said = pipe(GOLDENS / "audio" / "prompts" / name)
        assert said.text == expected, name
        assert all(s.temperature == 0 for s in said.segments)
    assert frozen["prompts"]["vm-goodbye.flac"] == "Goodbye."
    assert frozen["prompts"]["queue-thankyou.flac"] == "Thank you for your patience."
