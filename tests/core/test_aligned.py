"""New arrays begin on a cache line, and are in every other way as NumPy makes them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from nyala.core.kernels.cpu.running.aligned import ALIGNMENT, align_new_arrays

pytestmark = pytest.mark.skipif(not align_new_arrays(), reason="NumPy keeps its own allocator here")


@pytest.mark.parametrize("count", [0, 1, 3, 100, 10_001, 3_000_000])
def test_new_arrays_begin_on_a_cache_line(count: int) -> None:
    for make in (np.empty, np.zeros, np.ones):
        assert make(count, np.float32).ctypes.data % ALIGNMENT == 0
    assert not np.zeros(count, np.float32).any()
    assert (np.arange(count) + 1).ctypes.data % ALIGNMENT == 0


def test_arrays_that_grow_and_shrink_keep_what_they_hold() -> None:
    for sizes in ((10, 1000, 5), (1, 100_000, 99_999), (7, 0, 7)):
        x, expected = np.arange(3.0), np.arange(3.0)
        for size in sizes:
            x.resize(size, refcheck=False)
            expected = np.concatenate([expected, np.zeros(size)])[:size]
            np.testing.assert_array_equal(x, expected)
            assert x.ctypes.data % ALIGNMENT == 0
    np.testing.assert_array_equal(np.fromiter(iter(range(10_000)), np.int64), np.arange(10_000))


def test_arrays_go_from_thread_to_thread() -> None:
    made: list[np.ndarray] = []

    def work() -> None:
        made.extend(np.full(n, n, np.int32) for n in range(1, 2000))  # by NumPy's own allocator, or by this one

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all((a == a.size).all() for a in made)
    made.clear()


def test_too_much_memory_is_still_an_error() -> None:
    with pytest.raises(MemoryError):
        np.empty(2**60, np.uint8)
    with pytest.raises(MemoryError):
        np.zeros(2**60, np.uint8)


CODE = """
import os, numpy as np
from nyala.core.kernels.cpu.running.aligned import align_new_arrays
late = [np.ones(n) for n in (1, 1000)]
print(align_new_arrays(), np._core.multiarray.get_handler_name())
late += [np.ones(n) for n in (1, 1000, 10**6)]
"""


def test_a_process_ends_well_and_may_keep_numpys_own() -> None:
    for keep, expected in (("1", "True nyala"), ("0", "False default_allocator")):
        done = subprocess.run(
            [sys.executable, "-c", CODE], env={**os.environ, "NYALA_KEEP_MEMORY": keep}, capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stdout.split("\n")[0] == expected, done.stderr
