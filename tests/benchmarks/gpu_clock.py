"""Time on a GPU. ``cuda`` is ``nyala.cuda`` or ``torch.cuda``: what is used of them has the same names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

SHORT = 20e-3  # seconds: quicker calls are timed between events, in groups of about this length
FEWEST = 5  # calls timed one by one, whatever time that takes


def measure(cuda: Any, call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds a call, in about ``seconds`` altogether, at least twice.

    Nothing waits between the calls of a group, as in a program's own loop: whichever is slower counts, the GPU or the
    Python that feeds it. Long calls are timed by the clock, with the GPU idle before each and done after it.
    """
    until = time.perf_counter() + seconds
    times = [_by_the_clock(cuda, call)]
    group = int(SHORT / max(times[0], 1e-9)) if times[0] < SHORT else 0
    times = [] if group else times
    while len(times) < 2 or time.perf_counter() < until:
        times.append(_between_events(cuda, call, group) if group else _by_the_clock(cuda, call))
    return times


def alone(cuda: Any, call: Callable[[], Any], empty_the_cache: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds that the GPU takes for a call with nothing in its cache.

    ``empty_the_cache`` keeps the GPU busy while the launches that follow are prepared, so that no wait for Python is timed.
    """
    until, times = time.perf_counter() + seconds, []
    call()
    while len(times) < FEWEST or time.perf_counter() < until:
        empty_the_cache()
        times.append(_between_events(cuda, call, 1))
    return times


def _by_the_clock(cuda: Any, call: Callable[[], Any]) -> float:
    cuda.synchronize()
    start = time.perf_counter()
    call()
    cuda.synchronize()
    return time.perf_counter() - start


def _between_events(cuda: Any, call: Callable[[], Any], count: int) -> float:
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) * 1e-3 / count
