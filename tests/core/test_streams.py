"""Streams, events, pinned memory and batches that are copied ahead, against the stand-in for CuPy."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import nyala
import pytest
from nyala.core import devices
from nyala.data import DataLoader, pinned, prefetched, to_device
from nyala.errors import ArgumentError, DeviceError


def log() -> list[tuple[Any, ...]]:
    """What the streams of the stand-in were told since the last time."""
    from_stand_in = sys.modules["cupy"].cuda.Stream.wait_event.__globals__["LOG"]
    said = list(from_stand_in)
    from_stand_in.clear()
    return said


@pytest.fixture
def stand_in(cuda: str, request: pytest.FixtureRequest) -> str:
    if "cupy" in request.node.name.rpartition("[")[2]:
        pytest.skip("looks into the stand-in")
    log()
    return cuda


def test_work_goes_to_the_stream_inside_its_block(cuda: str) -> None:
    side, before = nyala.cuda.Stream(), nyala.cuda.current_stream()
    assert side != before and side.device == cuda and hash(side) != hash(before)
    with nyala.cuda.stream(side):
        assert nyala.cuda.current_stream() == side
        with nyala.cuda.stream(None):
            assert nyala.cuda.current_stream() == side
    assert nyala.cuda.current_stream() == before
    side.synchronize()
    assert side.query() and "cuda_stream=0x" in repr(side)


def test_a_stream_waits_for_another(stand_in: str) -> None:
    one, two = nyala.cuda.Stream(), nyala.cuda.Stream(device=stand_in, priority=-1)
    two.wait_stream(one)
    event = two.record_event()
    one.wait_event(event)
    nyala.cuda.Event().wait(one)  # never recorded: nothing to wait for
    assert log() == [("wait", two.cuda_stream, one.cuda_stream), ("wait", one.cuda_stream, two.cuda_stream)]


@pytest.mark.usefixtures("cuda")
def test_events_keep_time_where_they_are_asked_to() -> None:
    start, end = nyala.cuda.Event(enable_timing=True), nyala.cuda.Event(enable_timing=True)
    with pytest.raises(ArgumentError, match="not recorded"):
        start.elapsed_time(end)
    start.record()
    end.record()
    end.synchronize()
    assert start.elapsed_time(end) >= 0 and end.query()
    with pytest.raises(ArgumentError, match="keeps no time"):
        start.elapsed_time(nyala.cuda.Event())


def test_pinned_memory_is_copied_without_waiting(cuda: str) -> None:
    x = nyala.tensor([[1.0, 2.0], [3.0, 4.0]])
    held = x.pin_memory()
    assert held.is_pinned() and not x.is_pinned() and held.pin_memory() is held
    there = held.to(cuda, non_blocking=True)
    assert there.tolist() == x.tolist() and there.device == cuda and not there.is_pinned()
    assert held.bfloat16().pin_memory().to(cuda, non_blocking=True).dtype == nyala.bfloat16
    assert x.to(cuda, non_blocking=True).tolist() == x.tolist()  # not pinned: copied as ever
    assert nyala.zeros(0).pin_memory().shape == (0,)
    with pytest.raises(DeviceError, match="on the CPU"):
        there.pin_memory()


def test_what_is_being_copied_stays_until_it_has_been(stand_in: str) -> None:
    devices._copying.clear()
    held = nyala.ones(3).pin_memory()
    held.to(stand_in, non_blocking=True)
    assert [array is held.array for _, array in devices._copying] == [True]
    devices._copying[0][0].done = True
    nyala.ones(2).pin_memory().to(stand_in, non_blocking=True)
    assert [len(array) for _, array in devices._copying] == [2]


class Pair(NamedTuple):
    x: Any
    y: Any


def test_batches_of_any_structure_are_moved(cuda: str) -> None:
    batch = {"a": nyala.ones(2), "b": [nyala.ones(1), "text"], "c": Pair(nyala.ones(1), (nyala.ones(1), 3))}
    there = to_device(pinned(batch), cuda)
    assert there["a"].device == there["b"][0].device == there["c"].x.device == there["c"].y[0].device == cuda
    assert there["b"][1] == "text" and there["c"].y[1] == 3 and isinstance(there["c"], Pair)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_and_a_step_ahead(stand_in: str, workers: int) -> None:
    loader = DataLoader(nyala.arange(7).float(), batch_size=2, num_workers=workers)
    found = []
    for batch in prefetched(loader, stand_in):
        assert batch.device == stand_in
        found.append((batch.tolist(), sum(entry[0] == "copy" for entry in log())))
    assert [values for values, _ in found] == [[0, 1], [2, 3], [4, 5], [6]]
    assert [copies for _, copies in found] == [2, 1, 1, 0]  # the second is on its way when the first is handed out


def test_a_copy_waits_for_work_on_memory_it_may_get_and_the_work_for_it(stand_in: str) -> None:
    list(prefetched([nyala.ones(1)], stand_in))
    said = log()
    side = next(entry[1] for entry in said if entry[0] == "copy")
    assert side != 0 and said == [("wait", side, 0), ("copy", side), ("wait", 0, side), ("synchronize event", side)]


def test_a_loader_pins_its_batches(cuda: str) -> None:
    assert cuda
    assert all(batch.is_pinned() for batch in DataLoader(nyala.arange(4), batch_size=2, pin_memory=True))


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    devices.cupy.cache_clear()
    for ask in (nyala.cuda.Stream, nyala.cuda.Event, nyala.ones(1).pin_memory, nyala.cuda.memory_summary):
        with pytest.raises(DeviceError, match="CuPy"):
            ask()
    with pytest.raises(DeviceError, match="CuPy"):
        DataLoader([1], pin_memory=True)
    with pytest.raises(DeviceError, match="CuPy"):
        next(prefetched([nyala.ones(1)], "cuda"))
