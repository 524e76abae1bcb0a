"""Who holds memory, and what an operation says that finds none."""

from __future__ import annotations

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core import cuda as cuda_module
from nyala.core import memory
from nyala.core.kernels import CPU
from nyala.errors import ArgumentError, OutOfMemoryError


def test_the_largest_are_named_once_for_each_piece_of_memory() -> None:
    before = memory.allocated()
    kept = [nyala.zeros(700, 301) for _ in range(3)]
    views = [t[1:] for t in kept] + [t.reshape(301, 700) for t in kept]
    found = {use.what: use for use in memory.consumers(count=1000)}
    assert found["tensor (700, 301) float32"].number == 3 == len(views) / 2
    assert found["tensor (700, 301) float32"].nbytes == 3 * 700 * 301 * 4
    assert "tensor (699, 301) float32" not in found
    assert memory.allocated() - before >= 3 * 700 * 301 * 4
    layer = nn.Linear(77, 33)
    result = layer(nyala.zeros(11, 77))
    found = {use.what: use for use in memory.consumers(count=1000)}
    assert found["parameter (33, 77) float32"].number == 1
    assert found["result in a graph (11, 33) float32"].nbytes == result.nbytes


def test_an_operation_without_memory_names_itself_and_the_largest() -> None:
    kept = nyala.zeros(1500, 1000)
    column = nyala.zeros(10**7, 1)
    with pytest.raises(OutOfMemoryError, match="ran out of memory on cpu") as raised:
        column @ nyala.zeros(1, 10**8)
    text = str(raised.value)
    assert text.startswith("Matmul of (10000000, 1) and (1, 100000000)") and "Remedy: use a smaller batch" in text
    assert "1 x tensor (1500, 1000) float32" in text and kept.shape == (1500, 1000)
    assert isinstance(raised.value, MemoryError)


def test_the_module_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(CPU, "gelu", full, raising=False)
    with pytest.raises(OutOfMemoryError, match=r"at 1 \(GELU\).*Unable to allocate 9 TiB"):
        nn.Sequential(nn.Linear(2, 2), nn.GELU())(nyala.ones(1, 2))


def test_questions_about_a_gpus_memory(cuda: str) -> None:
    kept = nyala.zeros(50, 40, device=cuda)
    stats = nyala.cuda.memory_stats()
    assert set(stats) == {"allocated_bytes.all.current", "allocated_bytes.all.peak", "reserved_bytes.all.current"}
    free, total = nyala.cuda.mem_get_info()
    assert 0 < free < total and nyala.cuda.memory_reserved() >= 0
    text = nyala.cuda.memory_summary()
    assert "tensor (50, 40) float32" in text and "7.8 KiB" in text and kept.sum().item() == 0


def test_the_peak_is_the_most_since_it_was_reset(cuda: str, request: pytest.FixtureRequest) -> None:
    if "stand-in" not in request.node.name:
        kept = nyala.zeros(2**20, device=cuda)
        nyala.cuda.reset_peak_memory_stats()
        before = nyala.cuda.max_memory_allocated()
        (kept + kept).sum().item()
        assert before + 2**22 <= nyala.cuda.max_memory_allocated() < before + 2**24
        return
    cuda_module._peaks.cache_clear()
    assert nyala.cuda.max_memory_allocated() == 0
    hook = cuda_module._peaks()
    hook.malloc_postprocess(device_id=0, size=90, mem_size=100, mem_ptr=1, pmem_id=1)
    hook.malloc_postprocess(device_id=1, size=90, mem_size=999, mem_ptr=1, pmem_id=1)
    hook.free_postprocess(device_id=0, mem_size=100, mem_ptr=1, pmem_id=1)
    hook.malloc_postprocess(device_id=0, size=50, mem_size=60, mem_ptr=1, pmem_id=1)
    assert nyala.cuda.max_memory_allocated() == 100
    nyala.cuda.reset_peak_memory_stats()
    assert nyala.cuda.max_memory_allocated() == 0
    cuda_module._peaks.cache_clear()


def test_float32_products_are_exact_unless_asked_and_convolutions_are_not() -> None:
    assert nyala.get_float32_matmul_precision() == "highest"
    assert not nyala.backends.cuda.matmul.allow_tf32 and nyala.backends.cudnn.allow_tf32
    try:
        nyala.set_float32_matmul_precision("medium")
        assert nyala.backends.cuda.matmul.allow_tf32
        nyala.backends.cuda.matmul.allow_tf32 = False
        assert nyala.get_float32_matmul_precision() == "highest"
        nyala.backends.cuda.matmul.allow_tf32 = True
        assert nyala.get_float32_matmul_precision() == "high"
        with pytest.raises(ArgumentError, match="'exact'"):
            nyala.set_float32_matmul_precision("exact")
    finally:
        nyala.set_float32_matmul_precision("highest")
    x = nyala.tensor(np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32))
    assert (x @ x).dtype == nyala.float32
