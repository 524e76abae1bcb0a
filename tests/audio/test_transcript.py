"""Transcripts: the formats that players and programs read."""

from __future__ import annotations

import json

import pytest
from nyala.audio.transcript import Segment, Transcript, Transcripts
from nyala.errors import ArgumentError, ModuleError

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
    with pytest.raises(ModuleError, match="srt"):
        both.draw()
