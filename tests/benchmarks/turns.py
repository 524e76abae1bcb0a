"""Takes turns: a process for each library and variant of a row, timed one after the other, round by round."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .table import Row
from .variant import Variant

WORKER = Path(__file__).with_name("worker.py")
REST = 0.05  # seconds between turns, in which the other library's threads stop waiting for more work


class WorkerError(Exception):
    """A worker ended early; the message is the last line it said."""


@dataclass
class Timed:
    """One library and variant on one row.

    Attributes:
        turns: seconds a call, by turn.
        memory: most bytes its process held.
        variant: how torch ran; None for nyala.
        failure: why there is nothing of it.
    """

    turns: list[list[float]] = field(default_factory=list)
    memory: int = 0
    variant: Variant | None = None
    failure: str | None = None


class Worker:
    """A process that times one row. See ``worker.py``."""

    def __init__(self, command: list[str]) -> None:
        self._said: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - stop() closes it
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, cwd=Path.home()
        )
        self.ready: float = self._answer()["ready"]

    def time(self, seconds: float) -> list[float]:
        """A turn: seconds a call."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: why, is said where its answer is missing
        return self._answer()["times"]

    def finish(self) -> int:
        """End it; the most bytes it held."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        memory = self._answer()["memory"]
        self._process.wait()
        return memory

    def stop(self) -> None:
        """End it at once, if it has not ended."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                stream.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._said.seek(0)
        lines = [text.strip() for text in self._said if text.strip()]
        self.stop()
        raise WorkerError(lines[-1] if lines else f"it ended with status {status} and said nothing")


class Contest:
    """Times rows in both libraries.

    Args:
        nyala: the interpreter with nyala.
        torch: the interpreter with torch; None times nyala alone.
        seconds: for each row and variant, all turns together.
        turns: how many there are.
        folder: for the files that rows need.
        compiled: time ``torch.compile`` too.
        device: "cpu", or "cuda", where ``nyala.compile`` has a column of its own.
        tuning: the mode of ``torch.compile``.
    """

    def __init__(
        self, nyala: str, torch: str | None, *, seconds: float, turns: int, folder: Path, compiled: bool = True,
        device: str = "cpu", tuning: str = "",
    ) -> None:  # fmt: skip
        self.nyala, self.torch, self.seconds, self.turns, self.folder = nyala, torch, seconds, turns, folder
        self.compiled, self.device, self.tuning = compiled, device, tuning

    def run(self, row: Row) -> dict[str, Timed]:
        """By column: "nyala", on a GPU "nyala_compile", and with torch "eager" and "compile" where the row has that."""
        found = {"nyala": Timed()}
        if self.device != "cpu" and self.compiled:
            found["nyala_compile"] = Timed()
        if self.torch:
            found |= {"eager": Timed()} | ({"compile": Timed()} if row.compiles and self.compiled else {})
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for column, timed in found.items():
                try:
                    workers[column] = stack.enter_context(self._open(row, column, timed))
                except WorkerError as failure:
                    timed.failure = str(failure)
            self._alternate(workers, found)
        return found

    def _alternate(self, workers: dict[str, Worker], found: dict[str, Timed]) -> None:
        order = list(workers)
        for number in range(self.turns):
            for column in order[number % len(order) :] + order[: number % len(order)] if order else []:
                if found[column].failure is None:
                    time.sleep(REST)
                    self._turn(workers[column], found[column])
        for column, worker in workers.items():
            if found[column].failure is None:
                found[column].memory = worker.finish()

    def _turn(self, worker: Worker, timed: Timed) -> None:
        try:
            timed.turns.append(worker.time(self.seconds / self.turns))
        except WorkerError as failure:
            timed.failure = str(failure)

    @contextmanager
    def _open(self, row: Row, column: str, timed: Timed) -> Iterator[Worker]:
        if column.startswith("nyala"):
            how = None if self.device == "cpu" else Variant(column == "nyala_compile")
            if column == "nyala":
                self._start("nyala", row, how).stop()  # kernels that no cache holds are compiled there: it takes memory, once
            worker = self._start("nyala", row, how)
        else:
            worker, timed.variant = self._best(row, compiled=column == "compile")
        try:
            yield worker
        finally:
            worker.stop()

    def _best(self, row: Row, compiled: bool) -> tuple[Worker, Variant]:
        """torch in the faster of the layouts that the row has, by one turn each."""
        layouts = (False, True) if row.pictures else (False,)
        best: tuple[float, Worker, Variant] | None = None
        for channels_last in layouts:
            variant = Variant(compiled, channels_last, self.tuning if compiled else "")
            worker = self._start("torch", row, variant)
            quickest = min(worker.time(self.seconds / self.turns)) if len(layouts) > 1 else 0.0
            if best is None or quickest < best[0]:
                best, worker = (quickest, worker, variant), best[1] if best else None  # type: ignore[assignment]
            if worker is not None:
                worker.stop()
        assert best is not None
        return best[1], best[2]

    def _start(self, library: str, row: Row, variant: Variant | None) -> Worker:
        python = self.nyala if library == "nyala" else str(self.torch)
        return Worker([python, str(WORKER), library, row.name, str(variant or ""), str(self.folder), self.device])
