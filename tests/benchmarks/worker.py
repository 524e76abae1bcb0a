"""Times rows on request: reads JSON lines on standard input, answers on standard output.

``python worker.py LIBRARY`` with LIBRARY "nyala" or "torch". A request is ``{"row": NAME, "seconds": S}``; the answer
``{"times": [seconds per call, ...], "memory": peak bytes of the process}`` or ``{"missing": REASON}``.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measure(call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds per call, in about ``seconds`` altogether; quick calls are timed in groups."""
    call()
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    group = max(1, int(2e-3 / max(once, 1e-9)))
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(group):
            call()
        times.append((time.perf_counter() - start) / group)
    return times


def main() -> None:
    """Answer requests until standard input ends."""
    sys.path.insert(0, str(Path(__file__).parent))
    rows = importlib.import_module(f"rows_{sys.argv[1]}").ROWS
    built: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["row"]
        if name not in rows:
            answer: dict[str, Any] = {"missing": f"{sys.argv[1]} has no row {name}"}
        else:
            if name not in built:
                built.clear()  # one row's arrays at a time
                built[name] = rows[name]()
            times = measure(built[name], request["seconds"])
            answer = {"times": times, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
