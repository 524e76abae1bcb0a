"""How many threads kernels take: what they are told, what the process may use, what its container grants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from nyala.core.errors import ArgumentError
from nyala.core.kernels.cpu.running import threads


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Eight cores, and a container without a limit."""
    monkeypatch.delenv("NYALA_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_CONTAINER", f"{tmp_path}/")
    return tmp_path


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "3200000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_a_container_s_share_of_the_cores(files: dict[str, str], expected: int, machine: Path) -> None:
    for name, text in files.items():
        (machine / name).parent.mkdir(exist_ok=True)
        (machine / name).write_text(text)
    assert threads.thread_count() == expected


def test_the_variable_says_more(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    (machine / "cpu.max").write_text("100000 100000")
    monkeypatch.setenv("NYALA_NUM_THREADS", "5")
    assert threads.thread_count() == 5
    monkeypatch.setenv("NYALA_NUM_THREADS", "1.5")
    with pytest.raises(ArgumentError, match="whole number from 1"):
        threads.thread_count()


def test_without_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads.thread_count() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert threads.thread_count() == 6
