"""How far a download is: on a terminal a bar (see test_storage), elsewhere a line every ten seconds."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from nyala.core import progress as core_progress
from nyala.hub import progress
from nyala.hub.progress import status_line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("m", 5_000_000, 20_000_000, 1_000_000), "m: 5.0 MB of 20.0 MB (25 %), 1.0 MB/s, 15 s left"),
        (("m", 5_000_000, 2_000_000_000, 1_000_000), "m: 5.0 MB of 2.0 GB (0 %), 1.0 MB/s, 33 min left"),
        (("m", 0, 10**12, 10**6), "m: 0 bytes of 1.0 TB (0 %), 1.0 MB/s, 277.8 h left"),
        (("m", 5, None, 2), "m: 5 bytes, 2 bytes/s"),
        (("m", 5, 10, 0), "m: 5 bytes of 10 bytes (50 %), waiting"),
    ],
)
def test_a_line(arguments, line):
    assert status_line(*arguments) == line


def test_a_command_without_a_terminal_tells_every_ten_seconds(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    core_progress.tell_through(told.append)
    try:
        with progress.download_bar("org/m", 100_000_000, 40_000_000) as show:
            meter = progress.Meter(show, {"a": 40_000_000, "b": 0})
            for second in range(26):
                now[0] = float(second)
                meter.file("b" if second > 15 else "a")((second if second > 15 else 40 + second) * 1_000_000)
    finally:
        core_progress.tell_through(None)
    assert told == [
        "a: 50.0 MB of 100.0 MB (50 %), 1.0 MB/s, 50 s left",
        "b: 75.0 MB of 100.0 MB (75 %), 1.8 MB/s, 14 s left",
    ]


def test_nothing_is_told_where_nobody_asked_or_it_is_switched_off(monkeypatch):
    told = []
    core_progress.tell("to nobody")
    core_progress.tell_through(told.append)
    try:
        core_progress.set_progress(False)
        core_progress.tell("switched off")
        core_progress.set_progress(None)
        monkeypatch.setenv("NYALA_PROGRESS", "0")
        core_progress.tell("switched off")
        monkeypatch.delenv("NYALA_PROGRESS")
        core_progress.tell("wanted")
    finally:
        core_progress.set_progress(None)
        core_progress.tell_through(None)
    assert told == ["wanted"]
