"""What tests of CUDA kernels share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["forward", "random-1", "skew-1", "skew-2"])
def schedule(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The order in which the threads of a CUDA kernel run on the CPU, and the seed of an order that is drawn."""
    order, _, seed = request.param.partition("-")
    monkeypatch.setenv("CUDA_ON_CPU_ORDER", order)
    monkeypatch.setenv("CUDA_ON_CPU_SEED", seed or "0")
    return request.param
