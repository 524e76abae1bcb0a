"""What the manifest says about the machine, and the examination of it."""

from __future__ import annotations

import json

import pytest
from nyala.recipes import doctor
from nyala.recipes.proof import environment


def test_the_environment_is_plain_json_and_names_the_blas() -> None:
    found = environment.describe()
    assert json.loads(json.dumps(found)) == found
    assert found["blas"] and found["packages"]["numpy"] == found["numpy"]


def test_only_what_decides_about_bits_counts_as_a_difference() -> None:
    old = environment.describe()
    assert environment.differences(old, {**old, "os": "Other", "python": "9.9"}) == []
    assert environment.differences(old, {**old, "blas": "other 1"}) == [f"blas: {old['blas']} -> other 1"]


def test_the_doctor_warns_where_the_cache_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_CACHE", "/proc/nyala")
    cache = next(c for c in doctor.examine() if c.name == "cache")
    assert cache.state == "warn" and "NYALA_CACHE" in cache.remedy


def test_the_doctor_says_when_the_network_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    network = next(c for c in doctor.examine() if c.name == "network")
    assert network.state == "warn" and "OFFLINE" in network.finding


@pytest.mark.parametrize(
    ("given", "state", "text"),
    [
        ("1", "ok", "kernels use 1,"),
        ("4096", "warn", "kernels use 4096,"),
        ("many", "warn", "NYALA_NUM_THREADS=many"),
        ("0", "warn", "NYALA_NUM_THREADS=0"),
    ],
)
def test_the_doctor_looks_at_the_number_of_threads(given: str, state: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_NUM_THREADS", given)
    threads = next(c for c in doctor.examine() if c.name == "threads")
    assert threads.state == state and text in threads.finding and bool(threads.remedy) == (state == "warn")
