"""How a run shows itself: a live bar on a terminal, plain lines in a log file, nothing where nothing is wanted.

Everything goes to standard error; standard output belongs to the result.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any


class Progress:
    """Shows nothing; the base of the others, and what library callers get by default."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the display."""

    def start(self, total: int, done: int) -> None:
        """A run of ``total`` steps begins, ``done`` of them behind it."""

    def phase(self, text: str) -> None:
        """Something that takes a while begins."""

    def step(self, record: Mapping[str, Any]) -> None:
        """A step is done."""

    def evaluated(self, record: Mapping[str, Any]) -> None:
        """An evaluation is done."""

    def note(self, text: str) -> None:
        """Something worth saying happened."""


class Plain(Progress):
    """A line every few seconds, without control characters."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every
        self._next = 0.0
        self._total = 0

    def start(self, total: int, done: int) -> None:
        self._total = total
        self._next = time.monotonic()
        self.note(f"{total} step{'' if total == 1 else 's'}" + (f", {done} of them done before" if done else ""))

    def step(self, record: Mapping[str, Any]) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.every
            self.note(f"step {record['step']}/{self._total}  loss {float(record['loss']):.4f}  lr {record['lr']:.3g}")

    def evaluated(self, record: Mapping[str, Any]) -> None:
        self.note(_evaluation(record))

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Live(Progress):
    """A bar with loss, rate and time left, by rich."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        ]
        self._bar = Bar(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Live:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def start(self, total: int, done: int) -> None:
        self._bar.update(self._task, total=total, completed=done, description="training")

    def phase(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def step(self, record: Mapping[str, Any]) -> None:
        self._bar.update(self._task, completed=record["step"], description=f"loss {float(record['loss']):.4f}")

    def evaluated(self, record: Mapping[str, Any]) -> None:
        self.note(_evaluation(record))

    def note(self, text: str) -> None:
        self._bar.console.print(text, highlight=False, markup=False)


def _evaluation(record: Mapping[str, Any]) -> str:
    loss, accuracy = float(record["loss"]), record["accuracy"]
    return f"step {record['step']}: {record['part']} accuracy {accuracy:.4f}, macro F1 {record['macro_f1']:.4f}, loss {loss:.4f}"


def choose(quiet: bool = False) -> Progress:
    """The display that fits: nothing, a live bar on a terminal, or plain lines."""
    if quiet:
        return Progress()
    return Live() if sys.stderr.isatty() else Plain()
