"""Times one row of one library, in a process of its own.

``python worker.py LIBRARY ROW VARIANT FOLDER [DEVICE]`` prepares the row and answers ``{"ready": seconds}``: the first call, in
which things are compiled and buffers made, is behind it. Then each line on standard input is the seconds of a turn, answered with
``{"times": [seconds a call, ...]}``. At the end of the input it answers ``{"memory": peak bytes}`` and ends. On a GPU the memory
is what the library holds there.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SHORTEST = 2e-3  # seconds: quicker calls are timed in groups
LONG = 0.2  # seconds: to calls of this length it does not matter what lies in the processor's caches at their start
WARM, ENOUGH = 4, 2.0  # calls before the first turn, and on a processor seconds after the first of them


def measure(call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds a call, in about ``seconds`` altogether; at least two calls, or one that takes longer than that."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    times = [first] if first > LONG else []
    group = max(1, int(SHORTEST / max(first, 1e-9)))
    while not times or (len(times) < 2 and first < seconds) or time.perf_counter() < start + seconds:
        begin = time.perf_counter()
        for _ in range(group):
            call()
        times.append((time.perf_counter() - begin) / group)
    return times


def peak_memory(children: bool) -> int:
    """Most bytes that this process held at any time, or the largest of its children did."""
    status = Path("/proc/self/status")
    if not children and status.exists():  # getrusage would count what the process that forked us held
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def prepare(library: str, row: Any, variant: str, folder: Path, device: str = "cpu") -> Callable[[], Any]:
    """The call to be timed."""
    if device != "cpu":
        how = importlib.import_module("benchmarks.variant").Variant.parse(variant)
        return getattr(importlib.import_module(f"benchmarks.gpu_{library}"), row.make)(how, *row.arguments)
    arguments = [*([folder] if row.files else []), *row.arguments]
    if row.process:
        return getattr(importlib.import_module("benchmarks.processes"), row.make)(library, *arguments)
    rows = importlib.import_module(f"benchmarks.rows_{library}")
    if library == "torch":
        arguments.insert(0, importlib.import_module("benchmarks.variant").Variant.parse(variant))
    return getattr(rows, row.make)(*arguments)


def _row(name: str, device: str) -> Any:
    module, rows = ("table", "ROWS") if device == "cpu" else ("gpu_table", "GPU_ROWS")
    return next(r for r in getattr(importlib.import_module(f"benchmarks.{module}"), rows) if r.name == name)


def _clock(library: str, row: Any, device: str) -> tuple[Callable[..., list[float]], Callable[[], int]]:
    """What times calls, and what says how much memory there is of it."""
    if device == "cpu":
        return measure, functools.partial(peak_memory, children=row.process)
    cuda = importlib.import_module(f"benchmarks.gpu_{library}").cuda
    return functools.partial(importlib.import_module("benchmarks.gpu_clock").measure, cuda), cuda.memory_reserved


def main(library: str, name: str, variant: str, folder: str, device: str = "cpu") -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    sys.path[0] = str(HERE.parent)  # the folder of this package, not the package: its modules' names are common words
    row = _row(name, device)

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    start = time.perf_counter()
    call = prepare(library, row, variant, Path(folder), device)
    call()
    warm = time.perf_counter()
    for _ in range(0 if row.process else WARM - 1):
        if time.perf_counter() - warm < ENOUGH or device != "cpu":
            call()
    answer(ready=time.perf_counter() - start)
    timed, memory = _clock(library, row, device)
    for line in sys.stdin:
        answer(times=timed(call, float(line)))
    answer(memory=memory())


if __name__ == "__main__":
    main(*sys.argv[1:])
