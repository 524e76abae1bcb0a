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


def test_the_live_display_shows_what_matters(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(progress, "memory", lambda: 512 << 20)
    clock = iter(range(100))
    monkeypatch.setattr(progress, "Rate", lambda: RATE(clock=lambda: float(next(clock))))
    display = progress.Live()
    with display:
        display.phase("loading data")
        display.start(10, 0)
        for step in range(1, 5):
            display.step({**STEP, "step": step, "epoch": 1, "loss": 5.0 - step, "samples": 8})
        display.evaluated(EVAL)
    _, facts = display._render().renderables
    assert "loading data" in capsys.readouterr().err
    shown = facts.plain
    for text in ("loss 1.0000 █▆▃▁", "lr 0.01", "8.0 samples/s", "512 MB", "validation accuracy 0.7500 at step 3"):
        assert text in shown
    task = display._bar.tasks[0]
    assert (task.description, task.completed, task.total, task.fields["left"]) == ("epoch 2", 4, 10, "6 s left")


RATE = progress.Rate


def test_counting_shows_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    display = progress.Plain(every=0)
    display.count(0, 200, "evaluating")
    display.count(100, 200, "evaluating")
    display.count(200, 200, "evaluating")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "evaluating 0/200" and lines[1].startswith("evaluating 100/200") and lines[2] == "evaluating 200/200"


def test_the_rate_forgets_what_is_long_ago() -> None:
    times = iter([0.0, 1.0, 100.0, 101.0])
    rate = progress.Rate(clock=lambda: next(times))
    for done in (0, 50, 51, 52):
        rate.add(done, 8)
    assert rate.samples == 8.0 and rate.left(54) == "2 s left" and rate.left(52) == ""
    assert progress.Rate().left(5) == "" and progress.Rate().samples == 0.0


def test_memory_is_that_of_this_process() -> None:
    import numpy as np

    before = progress.memory()
    held = np.ones(64 << 17)  # 64 MB
    assert before == 0 or progress.memory() - before > 32 << 20
    assert held[0] == 1


def test_sparklines_of_anything() -> None:
    assert progress.sparkline([1.0, float("nan"), 2.0, float("inf")], 8) == "▁█"
    assert len(progress.sparkline([float(i) for i in range(1000)], 12)) == 12


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
