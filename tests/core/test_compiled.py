"""Compiled kernels on a disk that is full, read-only, or not there: slower to start, and otherwise the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """
import importlib.util, resource, sys
spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
module = importlib.util.module_from_spec(spec)
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
spec.loader.exec_module(module)
print(module.triple(2))
"""
SOURCE = "from nyala.core.kernels.cpu.compiled import njit\n\n\n@njit(cache=True)\ndef triple(x):\n    return {factor} * x\n"


def answer(source: Path, limit: int = 0, **environment: str) -> tuple[str, str]:
    """What the kernel gives in a new process, and what is said."""
    command = [sys.executable, "-c", KERNEL, str(source), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.skipif(os.name == "nt", reason="no limit on the size of files there")
def test_a_full_disk_costs_no_result_and_leaves_no_index_without_its_data(tmp_path: Path) -> None:
    source, cache = tmp_path / "kernel.py", tmp_path / "cache"
    source.write_text(SOURCE.format(factor=3))
    assert answer(source, NUMBA_CACHE_DIR=str(cache)) == ("6", "")
    assert len(list(cache.rglob("*.nbc"))) == len(list(cache.rglob("*.nbi"))) == 1
    source.write_text(SOURCE.format(factor=5))
    os.utime(source, (1, 1))  # another source than the cached one, whatever the clock's resolution
    said, why = answer(source, limit=800, NUMBA_CACHE_DIR=str(cache))
    assert said == "10" and why.count("\n") == 0 and "File too large" in why and "NUMBA_CACHE_DIR" in why
    assert not list(cache.rglob("*.tmp.*")) and not list(cache.rglob("*.nbi"))
    assert answer(source, NUMBA_CACHE_DIR=str(cache)) == ("10", "")


def test_without_any_folder_for_the_cache_everything_is_compiled_at_the_start(tmp_path: Path) -> None:
    source = tmp_path / "kernel.py"
    source.write_text(SOURCE.format(factor=3))
    (tmp_path / "__pycache__").write_text("a file in the place of each folder Numba would use")
    (tmp_path / "home").write_text("")
    nowhere = str(tmp_path / "home" / "x")
    said, why = answer(source, NUMBA_CACHE_DIR=nowhere, HOME=nowhere, XDG_CACHE_HOME=nowhere)
    assert said == "6" and "no locator available" in why and "Remedy: free some space, or set NUMBA_CACHE_DIR" in why
