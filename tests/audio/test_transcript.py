"""Transcripts: the formats that players and programs read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from nyala.audio.pipelines.sketch import Sketch
from nyala.audio.transcript import Segment, Transcript, Transcripts, Word
from nyala.errors import ArgumentError

SAID = Transcript((Segment(0.0, 1.25, "One --> two.", (1, 2)), Segment(3599.9996, 3601.5, "Ein\nFluß.")), "de", 3700.0, "a.wav")


def test_subtitles():
    assert SAID.format("srt") == (
        "1\n00:00:00,000 --> 00:00:01,250\nOne -> two.\n\n2\n01:00:00,000 --> 01:00:01,500\nEin Fluß.\n"
    )
    assert SAID.format("vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nOne -> two.\n\n01:00:00.000 --> 01:00:01.500\nEin Fluß.\n"
    )
    assert Transcript((), "en", 0.0).format("vtt") == "WEBVTT\n"


def test_text_and_json(tmp_path):
    assert SAID.format("txt") == "One --> two.\nEin\nFluß.\n"
    SAID.save(tmp_path / "a.json")
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert read == SAID.to_dict() and read["segments"][0]["tokens"] == [1, 2] and read["language"] == "de"
    with pytest.raises(ArgumentError, match=r"\.txt, \.srt, \.vtt, \.json"):
        SAID.save(tmp_path / "a.doc")
    with pytest.raises(ArgumentError, match="'doc'"):
        SAID.format("doc")


def test_several_print_as_a_table():
    both = Transcripts([SAID, Transcript((), "en", 1.0, "b.wav")])
    assert len(both) == 2 and both[0] is SAID and [t.name for t in both] == ["a.wav", "b.wav"]
    assert "3700.0 s  One --> two. Ein Fluß." in repr(both) and "(empty)" in repr(both)


def test_words_are_drawn_where_they_are_said(tmp_path):
    sketch = Sketch(16_000)
    sketch.add(np.random.default_rng(0).standard_normal(32_000).astype(np.float32))
    words = tuple(Word(0.1 * i, 0.1 * i + 0.1, f"word{i}") for i in range(20))
    said = Transcript((Segment(0.0, 2.0, "twenty words", words=words),), "en", 2.0, "a.wav", sketch)
    bare = replace(said, segments=())
    assert said == replace(said, sketch=None)  # what was said is the same
    assert said.draw().height > bare.draw().height
    panel = [np.asarray(one.draw())[-140:-34] for one in (said, replace(said, segments=(replace(said.segments[0], words=()),)))]
    assert (panel[0] < 80).all(-1).sum() > 2 * (panel[1] < 80).all(-1).sum() > 0  # ink of twenty words, of one text
    said.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert Transcripts([said, bare]).draw().height == said.draw().height + bare.draw().height
    with pytest.raises(ArgumentError, match="without its sound"):
        SAID.draw()
