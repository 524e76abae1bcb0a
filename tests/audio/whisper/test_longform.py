"""Several windows at once, sound that is still coming in, and words that are given to their segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transcript import Segment, Word
from nyala.audio.whisper.longform import quietest, spread
from nyala.errors import ArgumentError

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 56_000).astype(np.float32)
FREE = {"temperatures": (0.0,), "logprob": -99.0, "no_speech": 1.0, "compression_ratio": 99.0}


@pytest.fixture
def pipe(whisper_folder: Path):
    return nyala.load(str(whisper_folder))


def test_how_many_windows_are_written_at_once_changes_nothing(pipe) -> None:
    found = {n: pipe(NOISE, batch_size=n, language="en", timestamps=True, **FREE) for n in (2, 3, 8)}
    spans = [[(s.start, s.end, s.text) for s in said.segments] for said in found.values()]
    assert spans[0] == spans[1] == spans[2] and len(spans[0]) > 1
    assert all(0 <= start < end <= 3.5 for start, end, _ in spans[0]) and found[2].duration == 3.5


def test_windows_are_cut_where_it_is_quiet_and_silence_is_not_looked_at(pipe, monkeypatch) -> None:
    sound = NOISE.copy()
    sound[12_000:14_400] = 0.0
    seen = []
    encode = type(pipe).encode
    monkeypatch.setattr(type(pipe), "encode", lambda self, windows: seen.extend(windows) or encode(self, windows))
    pipe(np.concatenate([sound, np.zeros(40_000, np.float32)]), batch_size=4, language="en", timestamps=True, **FREE)
    assert 12_000 < len(seen[0]) < 14_400 and all(len(w) <= 16_000 and np.abs(w).max() > 0 for w in seen)
    assert np.array_equal(np.concatenate(seen)[:56_000], sound[: sum(map(len, seen))][:56_000])


def test_a_window_without_a_quiet_place_is_cut_somewhere_near_its_end() -> None:
    assert len(NOISE[:16_000]) // 2 <= quietest(NOISE[:16_000]) <= 16_000
    assert quietest(NOISE[:2_000]) == 2_000


def test_live_sound_is_given_out_once_it_is_settled(scripted, time) -> None:
    lines = [
        [time(0), 0, time(30), time(30), 1, time(60)],  # half a second in: all may still change
        [time(0), 0, time(30), time(30), 1, time(95)],
        [time(0), 1, time(50)],
    ]
    pipe = scripted(*lines)
    waiting: list[str] = []
    blocks = (NOISE[i : i + 4_000] for i in range(0, 28_000, 4_000))
    found = list(pipe.stream(blocks, every=0.5, language="en", partial=waiting.append))
    texts = [s.text for s in found]
    assert texts and set("".join(texts)) <= {"a", "b"} and "ab" not in texts
    assert waiting[0] == "a b"  # nothing was settled yet
    starts = [s.start for s in found]
    assert starts == sorted(starts) and found[-1].end <= 28_000 / 16_000 + 1e-6


def test_live_sound_at_another_rate_and_none(pipe) -> None:
    assert list(pipe.stream(iter([]))) == []
    assert list(pipe.stream([np.zeros(8_000, np.float32)], 8_000)) == []
    with pytest.raises(ArgumentError, match="every=0"):
        pipe.stream([], every=0)
    with pytest.raises(ArgumentError, match="no option speed"):
        pipe.stream([], speed=2)
    with pytest.raises(ArgumentError, match="batch_size=0"):
        pipe(NOISE, batch_size=0)


def test_words_go_to_the_segments_that_hold_their_letters(pipe) -> None:
    cut = [Segment(0.0, 1.0, "ab a", (0, 1, 11)), Segment(1.0, 2.0, "bc", (12, 2))]
    words = [Word(0.1, 0.4, "ab"), Word(0.4, 0.9, " a"), Word(1.2, 3.9, " bc")]
    found = spread(cut, words, 10.0, pipe.tokens)
    assert [[w.text for w in s.words] for s in found] == [["ab", "a"], ["bc"]]
    assert (found[0].start, found[0].end) == (10.1, 10.9)
    far = spread([Segment(11.0, 12.0, "bc", (12, 2))], [Word(1.2, 3.9, " bc")], 10.0, pipe.tokens)[0]
    assert far.words[0].end == far.end == 12.0  # it reaches far into a pause: the segment's end is believed


def test_words_are_asked_for(pipe) -> None:
    said = pipe(NOISE[:14_000], words=True, language="en", **FREE)
    words = [w for s in said.segments for w in s.words]
    assert " ".join(w.text for w in words) == said.text
    assert all(0 <= w.start <= w.end <= 1.0 for w in words)
    assert all("words" not in s for s in pipe(NOISE[:14_000], language="en", **FREE).to_dict()["segments"])
