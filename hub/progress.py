"""How far a download is: bytes, rate and time left, on standard error.

On a terminal a bar; where a command runs without one (a log, a job), a line every ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from ..core.progress import progress_enabled, set_progress, tell
from .quota import in_words

__all__ = ["Meter", "Show", "download_bar", "progress_enabled", "set_progress", "status_line"]

_SMALL = 1_000_000  # bytes; such a file is here before a bar could be read
_LINE_SECONDS = 10.0


class Show(Protocol):
    """What a download calls as it goes on."""

    def __call__(self, done: int, *, label: str = "") -> None:
        """``done`` bytes are there by now; ``label`` replaces the earlier one where given."""


@contextmanager
def download_bar(label: str, total: int | None, start: int = 0) -> Iterator[Show]:
    """Shows a download while the block runs.

    Args:
        label: what is downloaded.
        total: bytes; None where unknown.
        start: bytes that are already there: they do not count for the rate.

    Yields:
        a function to call with the number of bytes that are there by now.
    """
    if total is not None and total < _SMALL:
        yield _nothing
    elif not progress_enabled():
        yield _Lines(label, total, start)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(label, total=total, completed=start)

            def show(done: int, *, label: str = "") -> None:
                progress.update(task, completed=done, description=label or None)

            yield show


class Meter:
    """One bar over the files of a model.

    Args:
        show: what :func:`download_bar` yields.
        arrived: file -> bytes that are here before the download begins.

    Example:
        >>> meter = Meter(lambda done, **_: print(done), {"a": 100, "b": 0})
        >>> meter.file("b")(50)
        150
    """

    def __init__(self, show: Show, arrived: Mapping[str, int]) -> None:
        self._show, self._arrived = show, dict(arrived)

    def file(self, name: str) -> Show:
        """What the download of one of the files calls."""

        def show(done: int, *, label: str = "") -> None:
            self._arrived[name] = done
            self._show(sum(self._arrived.values()), label=label or name)

        return show


def _nothing(done: int, *, label: str = "") -> None:
    """Shows nothing."""


class _Lines:
    """A line every ten seconds."""

    def __init__(self, label: str, total: int | None, start: int) -> None:
        self.label, self.total, self.start = label, total, start
        self.began = self.said = time.monotonic()

    def __call__(self, done: int, *, label: str = "") -> None:
        self.label = label or self.label
        now = time.monotonic()
        if now - self.said >= _LINE_SECONDS:
            self.said = now
            tell(status_line(self.label, done, self.total, (done - self.start) / (now - self.began)))


def status_line(label: str, done: int, total: int | None, rate: float) -> str:
    """A line that says how far a download is.

    Args:
        label: what is downloaded.
        done, total: bytes; ``total`` is None where unknown.
        rate: bytes a second.

    Example:
        >>> status_line("model.safetensors", 45_000_000, 90_000_000, 4_500_000)
        'model.safetensors: 45.0 MB of 90.0 MB (50 %), 4.5 MB/s, 10 s left'
        >>> status_line("m.whl", 45_000_000, None, 0)
        'm.whl: 45.0 MB, waiting'
    """
    line = f"{label}: {in_words(done)}"
    if total:
        line += f" of {in_words(total)} ({100 * done // total} %)"
    if rate <= 0:
        return f"{line}, waiting"
    line += f", {in_words(round(rate))}/s"
    return f"{line}, {_duration((total - done) / rate)} left" if total else line


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole / 3600:.1f} h"
