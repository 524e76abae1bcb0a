"""How a run shows itself: a live display on a terminal, plain lines in a log file, nothing where nothing is wanted.

Everything goes to standard error; standard output belongs to the result.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from .training.scores import title

_BLOCKS = "▁▂▃▄▅▆▇█"
_RECENT = 30  # seconds that the rate is taken over


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

    def count(self, done: int, total: int, text: str) -> None:
        """``done`` of ``total`` samples of what ``text`` says are behind us."""

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
        self._rate = Rate()

    def start(self, total: int, done: int) -> None:
        self._total = total
        self._next = time.monotonic()
        self._rate = Rate()
        self.note(f"{total} step{'' if total == 1 else 's'}" + (f", {done} of them done before" if done else ""))

    def count(self, done: int, total: int, text: str) -> None:
        if done == 0:
            self._rate, self._next = Rate(), time.monotonic() + self.every
        self._rate.add(done, 0)
        if self._due():
            self.note(f"{text} {done}/{total}{_in_brackets(self._rate.left(total))}")

    def step(self, record: Mapping[str, Any]) -> None:
        self._rate.add(record["step"], record.get("samples", 0))
        if self._due():
            said = f"step {record['step']}/{self._total}  loss {float(record['loss']):.4f}  lr {record['lr']:.3g}"
            speed = f"  {self._rate.samples:.1f} samples/s" if self._rate.samples else ""
            self.note(said + speed + _in_brackets(self._rate.left(self._total)))

    def evaluated(self, record: Mapping[str, Any]) -> None:
        self.note(evaluation(record))

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self.every
        return True


class Live(Progress):
    """A bar with rate and time left, and below it loss, learning rate, memory and the last evaluation; by rich.

    It appears with the first step or count: until then weights may be fetched, with a bar of their own.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as Display
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = [
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        ]
        console = Console(stderr=True)
        self._bar = Bar(*columns, console=console, expand=True)
        self._task = self._bar.add_task("", total=None, left="")
        self._rate = Rate()
        self._total = 0
        self._losses: deque[float] = deque(maxlen=4096)
        self._record: Mapping[str, Any] = {}
        self._last = ""
        self._display = Display(get_renderable=self._render, console=console, refresh_per_second=4)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._display.stop()

    def start(self, total: int, done: int) -> None:
        self._total, self._rate = total, Rate()
        self._losses.clear()
        self._rate.add(done, 0)
        self._bar.reset(self._task, total=total, completed=done, description="training", left="")
        self._display.start()

    def phase(self, text: str) -> None:
        if self._display.is_started:
            self._bar.update(self._task, description=text)
        else:
            self.note(text)

    def count(self, done: int, total: int, text: str) -> None:
        if done == 0:
            self._rate = Rate()
            self._bar.reset(self._task, total=total, completed=0, left="")
            self._display.start()
        self._rate.add(done, 0)
        self._bar.update(self._task, completed=done, description=text, left=self._rate.left(total))

    def step(self, record: Mapping[str, Any]) -> None:
        self._record = record
        self._rate.add(record["step"], record.get("samples", 0))
        self._losses.append(float(record["loss"]))
        what = f"epoch {record['epoch'] + 1}" if "epoch" in record else "training"
        self._bar.update(self._task, completed=record["step"], description=what, left=self._rate.left(self._total))

    def evaluated(self, record: Mapping[str, Any]) -> None:
        self._last = f"{record['part']} {_headline(record)} at step {record['step']}"
        self.note(evaluation(record))

    def note(self, text: str) -> None:
        self._display.console.print(text, highlight=False, markup=False)

    def _render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        if not self._record:
            return self._bar.get_renderable()
        return Group(self._bar.get_renderable(), Text(self._facts(), overflow="ellipsis", no_wrap=True))

    def _facts(self) -> str:
        width = max(8, min(32, self._display.console.width // 4))
        parts = [f"loss {self._losses[-1]:.4f} {sparkline(list(self._losses), width)}", f"lr {self._record['lr']:.3g}"]
        if self._rate.samples:
            parts.append(f"{self._rate.samples:.1f} samples/s")
        used = memory()
        if used:
            parts.append(f"{used / 2**20:,.0f} MB")
        return "  ".join([*parts, *([self._last] if self._last else [])])


class Rate:
    """Steps and samples a second over the last half minute, and the time that is left.

    Example:
        >>> rate = Rate(clock=iter([0.0, 2.0]).__next__)
        >>> rate.add(0, 0); rate.add(4, 32)
        >>> rate.samples, rate.left(10)
        (16.0, '3 s left')
    """

    def __init__(self, clock: Any = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int, int]] = deque()
        self._samples = 0

    def add(self, done: int, samples: int) -> None:
        """``done`` steps are behind us, the last of them with ``samples`` samples."""
        now = self._clock()
        self._samples += samples
        self._seen.append((now, done, self._samples))
        while len(self._seen) > 2 and self._seen[0][0] < now - _RECENT:
            self._seen.popleft()

    @property
    def samples(self) -> float:
        """Samples a second; 0 before there is anything to tell."""
        return self._per_second(2)

    def left(self, total: int) -> str:
        """The time until ``total`` steps are done, in words; empty before there is anything to tell."""
        pace = self._per_second(1)
        if not pace or self._seen[-1][1] >= total:
            return ""
        return f"{duration((total - self._seen[-1][1]) / pace)} left"

    def _per_second(self, which: int) -> float:
        if len(self._seen) < 2:
            return 0.0
        first, last = self._seen[0], self._seen[-1]
        seconds = last[0] - first[0]
        return (last[which] - first[which]) / seconds if seconds > 0 else 0.0


def duration(seconds: float) -> str:
    """A time in words, to two figures.

    Example:
        >>> duration(42), duration(200), duration(7500), duration(200_000)
        ('42 s', '3 min', '2 h 05 min', '2 d 7 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def sparkline(values: Sequence[float], width: int) -> str:
    """Numbers as a row of blocks, ``width`` of them at most: each is the mean of its share of the values.

    Example:
        >>> sparkline([4.0, 3.0, 2.0, 1.0], 8), sparkline([1.0, 1.0], 8), sparkline([], 8)
        ('█▆▃▁', '▁▁', '')
    """
    finite = [v for v in values if math.isfinite(v)]
    count = min(width, len(finite))
    means = [_mean(finite[i * len(finite) // count : (i + 1) * len(finite) // count]) for i in range(count)]
    low, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    return "".join(_BLOCKS[round((v - low) / span * (len(_BLOCKS) - 1))] if span else _BLOCKS[0] for v in means)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def memory() -> int:
    """Bytes of memory that this process holds now (on Linux), or held at most; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def evaluation(record: Mapping[str, Any]) -> str:
    """An evaluation in words.

    Example:
        >>> evaluation({"step": 8, "part": "validation", "accuracy": 0.75, "macro_f1": 0.7, "loss": 0.4})
        'step 8: validation accuracy 0.7500, macro F1 0.7000, loss 0.4000'
    """
    others = [
        k
        for k, v in record.items()
        if k not in ("kind", "step", "epoch", "part", "accuracy", "macro_f1", "loss") and isinstance(v, float)
    ]
    scores = [(title(k), record[k]) for k in ("accuracy", "macro_f1", *others, "loss") if k in record]
    return f"step {record['step']}: {record['part']} " + ", ".join(f"{name} {float(value):.4f}" for name, value in scores)


def _headline(record: Mapping[str, Any]) -> str:
    """The first score of an evaluation."""
    return evaluation(record).partition(f"{record['part']} ")[2].partition(",")[0]


def _in_brackets(text: str) -> str:
    return f"  ({text})" if text else ""


def choose(quiet: bool = False) -> Progress:
    """The display that fits: nothing, a live one on a terminal, or plain lines."""
    if quiet:
        return Progress()
    return Live() if sys.stderr.isatty() else Plain()
