"""What only a GPU can show; ``tests/tools/gpu_check.sh`` runs this file, and with it every test on ``cuda`` on the real CuPy."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn, optim
from nyala.core import devices, random
from nyala.testing import assert_close

if not devices.cuda_is_available():
    pytest.skip("no CUDA device, or no CuPy", allow_module_level=True)

pytestmark = pytest.mark.gpu


def wave(*shape: int) -> np.ndarray:
    return np.sin(np.arange(float(np.prod(shape))) * 0.37).reshape(shape)


def trained(device: str, steps: int = 5) -> dict[str, Any]:
    """A small network with every kind of sum that could depend on the order of threads."""
    nyala.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Dropout(0.2),
        nn.Flatten(), nn.LayerNorm(1024), nn.Linear(1024, 32), nn.GELU(),
    ).to(device)  # fmt: skip
    table = nn.Embedding(50, 32).to(device)
    optimizer = optim.AdamW([*net.parameters(), *table.parameters()], lr=1e-2)
    x, ids = nyala.tensor(wave(8, 3, 16, 16), dtype="float32", device=device), nyala.arange(64, device=device).reshape(8, 8) % 7
    for _ in range(steps):
        optimizer.zero_grad()
        logits = net(x) @ table(ids).mean(1).transpose(0, 1)
        F.cross_entropy(logits, nyala.arange(8, device=device)).backward()
        optim.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return {k: v.numpy() for k, v in (*net.state_dict().items(), *table.state_dict().items())}


def test_training_twice_gives_the_same_bits() -> None:
    first, second = trained("cuda"), trained("cuda")
    assert {k for k in first if first[k].tobytes() != second[k].tobytes()} == set()


def test_training_stays_near_the_cpu() -> None:
    assert_close(trained("cuda", 1), trained("cpu", 1), 1e-3, 1e-4)


@pytest.mark.parametrize("count", [1, 1000, 1 << 20])
def test_random_bits_are_the_cpus(count: int) -> None:
    key = random.key(123456789012345, "dropout", 3)
    np.testing.assert_array_equal(devices.move(key.bits(count, devices.cupy()), "cpu"), key.bits(count))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_products_are_as_exact_as_the_dtype(dtype: str) -> None:
    a, b = (nyala.tensor(wave(*s)).to(dtype) for s in ((4, 96, 200), (4, 200, 64)))
    expected = a.double() @ b.double()
    step = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-20, "float64": 2**-48}[dtype]
    size = float(expected.abs().max())
    assert_close((a.cuda() @ b.cuda()).cpu().double(), expected, step, step * size)


def test_a_large_sum_over_few_rows_is_exact_to_the_dtype() -> None:
    ids = nyala.tensor(np.arange(200_000) % 3)
    weight = nyala.ones(4, 8, device="cuda", requires_grad=True)
    F.embedding(ids.cuda(), weight).sum().backward()
    expected = np.bincount(np.arange(200_000) % 3, minlength=4)[:, None] * np.ones((1, 8))
    np.testing.assert_array_equal(weight.grad.numpy(), expected)


def test_memory_comes_back_after_a_step() -> None:
    def step() -> None:
        x = nyala.tensor(wave(64, 256), dtype="float32", device="cuda")
        w = nyala.ones(256, 256, device="cuda", requires_grad=True)
        for _ in range(10):
            x = (x @ w).tanh()
        x.sum().backward()

    step()
    gc.collect()
    before = nyala.cuda.memory_allocated()
    gc.disable()  # what only the collector would free would show
    try:
        for _ in range(3):
            step()
        assert nyala.cuda.memory_allocated() == before
    finally:
        gc.enable()


def test_memory_in_use_is_counted() -> None:
    before = nyala.cuda.memory_allocated()
    kept = nyala.zeros(1 << 20, device="cuda")
    assert nyala.cuda.memory_allocated() - before >= kept.nbytes


def test_arrays_are_shared_with_cupy_both_ways() -> None:
    cupy = devices.cupy()
    array = cupy.arange(4, dtype=np.float32)
    t = nyala.from_dlpack(array)
    t += 1
    assert array.tolist() == [1.0, 2.0, 3.0, 4.0] == cupy.from_dlpack(t).tolist() == nyala.as_tensor(array).tolist()


@pytest.mark.skipif(devices.cupy().cuda.runtime.getDeviceCount() < 2, reason="one CUDA device")
def test_a_second_gpu_computes_there() -> None:
    x = nyala.tensor(wave(4, 4), device="cuda:1", requires_grad=True)
    y = (x @ x).softmax(-1)
    y.sum().backward()
    assert y.device == x.grad.device == "cuda:1"
