"""What a run shows: plain lines in a file, a bar on a terminal, all of it on standard error."""

from __future__ import annotations

import sys

import pytest
from nyala.recipes import cli, progress

STEP = {"kind": "step", "step": 3, "loss": 0.5, "lr": 0.01}
EVAL = {"kind": "eval", "step": 3, "part": "validation", "loss": 0.4, "accuracy": 0.75, "macro_f1": 0.7}


def show(display: progress.Progress) -> None:
    with display:
        display.start(10, 2)
        display.step(STEP)
        display.evaluated(EVAL)
        display.note("a note with [brackets]")


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show(progress.Plain(every=0))
    out = capsys.readouterr()
    assert out.out == "" and out.err.splitlines()[1].startswith("step 3/10  loss 0.5000  lr 0.01")
    assert out.err.splitlines() == [
        "10 steps, 2 of them done before",
        out.err.splitlines()[1],
        "step 3: validation accuracy 0.7500, macro F1 0.7000, loss 0.4000",
        "a note with [brackets]",
    ]


def test_plain_lines_come_at_most_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.Plain(every=1000)
    display.start(10, 0)
    for _ in range(5):
        display.step(STEP)
    assert capsys.readouterr().err.count("loss") == 1


def test_the_bar_keeps_notes_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(progress.Live())
    out = capsys.readouterr()
    assert out.out == "" and "a note with [brackets]" in out.err and "accuracy 0.7500" in out.err


def test_the_display_fits_where_it_goes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert type(progress.choose(quiet=True)) is progress.Progress
    assert type(progress.choose()) is progress.Plain
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert type(progress.choose()) is progress.Live
    show(progress.Progress())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("options", [["--quiet"], []])
def test_quiet_silences_downloads_too(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from nyala.hub.progress import progress_enabled
    from nyala.recipes.commands import run

    monkeypatch.delenv("NYALA_PROGRESS", raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    seen = []
    monkeypatch.setattr(run, "execute", lambda _: seen.append(progress_enabled()))
    assert cli.main(["run", "vision/fashion-lite0", *options]) == 0
    assert seen == [not options] and progress_enabled()
