"""The pool of threads behind the CPU kernels: every tile once, whoever calls, and no way to hang, crash or burn time."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from nyala.core.kernels import CPU
from nyala.core.kernels.cpu.running import parallel
from nyala.core.kernels.cpu.running.compiled import njit
from nyala.core.kernels.cpu.running.parallel import parallel_for

posix = pytest.mark.skipif(os.name != "posix", reason="the pool needs POSIX threads")


@njit(nogil=True)
def _count(tile: Any, counts: Any, value: Any) -> None:
    counts[tile] += value


@njit(nogil=True)
def count(counts: Any, value: Any) -> None:
    """Add to each count, one tile each."""
    parallel_for(_count, counts.size, (counts, value))


@njit(nogil=True)
def launches(counts: Any, jobs: Any) -> Any:
    """The number of jobs after which some tile had not been done exactly once."""
    wrong = 0
    for job in range(jobs):
        parallel_for(_count, counts.size, (counts, 1))
        for i in range(counts.size):
            wrong += counts[i] != job + 1
    return wrong


@njit(nogil=True)
def _row(tile: Any, counts: Any) -> None:
    parallel_for(_count, counts.shape[1], (counts[tile], 1))


@njit(nogil=True)
def nested(counts: Any) -> None:
    """A job whose tiles are jobs."""
    parallel_for(_row, counts.shape[0], (counts,))


@njit(nogil=True)
def _fail(tile: Any, counts: Any, bad: Any) -> None:
    if tile == bad:
        raise ValueError
    counts[tile] += 1


@njit(nogil=True)
def failing(counts: Any, bad: Any) -> None:
    parallel_for(_fail, counts.size, (counts, bad))


@njit(nogil=True)
def _failing_row(tile: Any, counts: Any, bad: Any) -> None:
    parallel_for(_fail, counts.shape[1], (counts[tile], bad))


@njit(nogil=True)
def failing_inside(counts: Any, bad: Any) -> None:
    parallel_for(_failing_row, counts.shape[0], (counts, bad))


@pytest.fixture(autouse=True)
def pool() -> Iterator[Callable[[int], None]]:
    """``start``; afterwards the pool is as it was."""
    before = parallel.workers() + 1
    parallel.start(4)  # more than cores, too: threads are then interrupted anywhere
    yield parallel.start
    parallel.start(before)


@pytest.mark.parametrize("tiles", [0, 1, 2, 3, 1000, 1_000_000])
def test_every_tile_runs_once(tiles: int) -> None:
    counts = np.zeros(tiles, np.int64)
    count(counts, 3)
    assert (counts == 3).all()


def test_no_tile_is_lost_in_many_small_jobs() -> None:
    for tiles in (2, 3, 5):
        assert launches(np.zeros(tiles, np.int64), 30_000) == 0


def test_no_tile_is_lost_when_the_threads_have_gone_to_sleep() -> None:
    counts = np.zeros(7, np.int64)
    for job in range(150):
        count(counts, 1)
        if job % 3:
            time.sleep(0.0002 * (job % 7))  # around the time after which a thread goes to sleep
    assert (counts == 150).all()


def test_arguments_reach_the_body_whatever_they_are() -> None:
    counts = np.zeros(9)
    count(counts, 0.5)
    assert (counts == 0.5).all()
    strided = np.zeros((9, 2), np.int64)
    count(strided[:, 1], 4)
    assert (strided == [0, 4]).all()


def test_a_job_inside_a_job_runs() -> None:
    counts = np.zeros((50, 40), np.int64)
    nested(counts)
    assert (counts == 1).all()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_tile_that_fails_is_not_passed_over(threads: int, pool: Callable[[int], None]) -> None:
    """No body raises, but one may find no memory for what it allocates."""
    pool(threads)
    for bad in (0, 7, 29):
        counts = np.zeros(30, np.int64)
        with pytest.raises(MemoryError, match="no memory was left for a part of a kernel"):
            failing(counts, bad)
        assert counts.sum() == 29
        with pytest.raises(MemoryError):
            failing_inside(np.zeros((5, 30), np.int64), bad)
    failing(counts, -1)
    assert launches(np.zeros(5, np.int64), 100) == 0


def test_eight_python_threads_at_once() -> None:
    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(lambda tiles: launches(np.zeros(tiles, np.int64), 4000), [2, 3, 4, 5, 6, 7, 30, 100])) == 0


@posix
def test_threads_start_and_stop_while_others_compute(pool: Callable[[int], None]) -> None:
    done, wrong = threading.Event(), []

    def compute() -> None:
        while not done.is_set():
            wrong.append(launches(np.zeros(5, np.int64), 200))

    callers = [threading.Thread(target=compute) for _ in range(3)]
    for caller in callers:
        caller.start()
    for threads in [1, 2, 3, 4] * 15:
        pool(threads)
        assert parallel.workers() == threads - 1
    parallel.stop()
    assert parallel.workers() == 0
    done.set()
    for caller in callers:
        caller.join()
    assert wrong and not any(wrong)


@posix
def test_threads_that_are_just_going_to_sleep_are_stopped_too(pool: Callable[[int], None]) -> None:
    """A stop must reach a thread wherever it is on its way to sleep; one that is missed would never be joined."""
    for turn in range(300):
        pool(6)
        time.sleep(1e-6 * (turn * 7 % 120))
        parallel.stop()


@posix
def test_several_threads_may_start_the_pool() -> None:
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(parallel.start, [1, 2, 3, 4] * 6))
    assert sum(t.name.startswith("nyala-kernel") for t in threading.enumerate()) == parallel.workers()
    assert launches(np.zeros(5, np.int64), 100) == 0


@posix
def test_a_thread_that_the_system_refuses_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start, limit = threading.Thread.start, iter([True, False])

    def start_one(thread: threading.Thread) -> None:
        if not next(limit):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start_one)
        parallel.start(4)
    assert parallel.workers() == 1
    assert "kernels run on 2 threads instead of 4: can't start new thread" in caplog.text
    assert launches(np.zeros(5, np.int64), 100) == 0


@posix
def test_idle_threads_take_no_time() -> None:
    count(np.zeros(100, np.int64), 1)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1


@posix
def test_a_launch_wakes_no_more_threads_than_it_has_tiles_for() -> None:
    """With two tiles one sleeper is woken; the other two go on sleeping, and still take part in the next large job."""
    counts = np.zeros(2, np.int64)
    for _ in range(20):
        time.sleep(0.002)
        count(counts, 1)
    assert (counts == 20).all()
    assert launches(np.zeros(500, np.int64), 20) == 0


# ---- fork


def products(seed: int = 0) -> bytes:
    """A product large enough for several tiles."""
    rng = np.random.default_rng(seed)
    a, b = (rng.standard_normal(s, dtype=np.float32) for s in ((300, 70), (70, 600)))
    return CPU.matmul(a, b).tobytes()


def _product_in_child(_: int) -> tuple[int, bytes]:
    return parallel.workers(), products()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_computes_on_threads_of_its_own() -> None:
    expected = products()
    with multiprocessing.get_context("fork").Pool(2) as children:
        assert children.map(_product_in_child, range(4)) == [(3, expected)] * 4
    assert products() == expected


def _exit_status(pid: int) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_in_the_middle_of_another_threads_job() -> None:
    expected, done = products(), threading.Event()
    count(np.zeros(3, np.int64), 1)  # compiled before: a child would do it again each time

    def compute() -> None:
        while not done.is_set():
            launches(np.zeros(5, np.int64), 100)
            products()

    others = [threading.Thread(target=compute) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(15):
            pid = os.fork()
            if not pid:
                right = products() == expected and launches(np.zeros(5, np.int64), 100) == 0
                os._exit(0 if right else 1)
            assert _exit_status(pid) == 0
    finally:
        done.set()
        for other in others:
            other.join()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_while_another_thread_compiles() -> None:
    """The lock of the compiler must not be held in the child by a thread that is not there."""

    @njit(nogil=True)
    def slow_to_compile(x: Any) -> Any:
        for i in range(x.size):
            x[i] = np.sin(x[i]) + np.cos(x[i]) ** 3 if x[i] > 1 else np.exp(x[i])
        return np.sort(x)[::-1]

    other = threading.Thread(target=slow_to_compile, args=(np.ones(3),))
    other.start()
    time.sleep(0.02)
    pid = os.fork()
    if not pid:
        os._exit(0 if njit()(lambda x: x + 1)(1) == 2 else 1)
    assert _exit_status(pid) == 0
    other.join()


# ---- whole processes

START = """
import os, signal, sys, threading, time
import numpy as np
from nyala.core.kernels import CPU
a = np.ones((400, 300), np.float32)
expected = CPU.matmul(a, a.T)
"""


def run(script: str, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """``script`` after ``before`` and ``START`` in a new process."""
    env = {**os.environ, "NYALA_NUM_THREADS": "3", **environment}
    return subprocess.run([sys.executable, "-c", before + START + script], capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.parametrize("daemon", [True, False])
def test_the_interpreter_ends_while_a_thread_computes(daemon: bool) -> None:
    done = run(f"""
def compute(times):
    for _ in range(times):
        CPU.matmul(a, a.T)
for _ in range(3):
    threading.Thread(target=compute, args=({"10**9" if daemon else "50"},), daemon={daemon}).start()
time.sleep(0.1)
print("end")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


@posix
def test_an_interrupt_ends_the_computation_and_the_process_goes_on() -> None:
    done = run("""
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs begin with the signal ignored
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    while True:
        CPU.matmul(a, a.T)
except KeyboardInterrupt:
    assert (CPU.matmul(a, a.T) == expected).all()
    print("interrupted")
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


WITHOUT_POSIX = """
import ctypes
real = ctypes.CDLL
ctypes.CDLL = lambda name=None, *rest, **more: object() if name is None else real(name, *rest, **more)
"""
SAY = """
import zlib
from nyala.core.kernels.cpu.running import parallel
b = np.random.default_rng(0).standard_normal((300, 200), dtype=np.float32)
print(parallel.workers(), parallel._POSIX, zlib.crc32(CPU.matmul(b, b.T).tobytes()))
"""


def test_one_thread_and_no_posix_threads_give_the_same_bits() -> None:
    three = run(SAY).stdout.split()
    assert three[:2] == (["2", "True"] if os.name == "posix" else ["0", "False"])
    assert run(SAY, NYALA_NUM_THREADS="1").stdout.split() == ["0", three[1], three[2]]
    without = run(SAY, before=WITHOUT_POSIX)
    assert without.stdout.split() == ["0", "False", three[2]], without.stderr


@pytest.mark.parametrize("given", ["many", "0", "-1"])
def test_a_wrong_number_of_threads_is_refused(given: str) -> None:
    done = run("", NYALA_NUM_THREADS=given)
    assert done.returncode == 1 and f"ArgumentError: NYALA_NUM_THREADS={given}. Remedy: " in done.stderr
    assert "a whole number from 1" in done.stderr
