"""CUDA kernels as a whole: every source compiles for the GPUs nyala names, and what runs them on the CPU finds mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_cpu import building
from nyala.core.kernels import cuda, interface, reference
from nyala.core.kernels.cuda.running import compiler, launching, sources, teams

needs_shim = pytest.mark.skipif(not building.available(), reason="needs g++ and CUDA's headers")


@pytest.mark.parametrize("name", sorted(cuda.KERNELS))
def test_a_kernel_has_the_references_parameters(name: str) -> None:
    own = interface.Kernels("cuda")._resolve(name)
    assert interface.parameters(own) == interface.parameters(reference.KERNELS[name])


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", sources.names())
def test_every_source_compiles(name: str, architecture: str) -> None:
    pytest.importorskip("cupy.cuda")
    assert compiler.compiled(sources.read(name), name, architecture)[:4] == b"\x7fELF"


def test_headers_without_sources_are_not_kept() -> None:
    texts = "".join(map(sources.read, sources.names())) + "".join(sources.headers().values())
    assert [name for name in sources.headers() if f'#include "{name}"' not in texts] == []


RACE = """
#include "reduce.cuh"
extern "C" __global__ void mean(const float* x, float* y, int n) {
  __shared__ float part[32];
  float v = warp_reduce(threadIdx.x < n ? x[blockIdx.x * n + threadIdx.x] : 0.f, Sum());
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  BARRIER
  v = warp_reduce(threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : 0.f, Sum());
  if (threadIdx.x == 0) y[blockIdx.x] = v / n;
}
"""


def mean_of(rows: np.ndarray, barrier: str) -> np.ndarray:
    library = building.Library(building.compiled(RACE.replace("BARRIER", barrier), "race", sources.headers()))
    y = np.full(len(rows), np.nan, np.float32)
    library.kernel("mean")((len(rows),), (256,), [rows, y, np.int32(rows.shape[1])])
    return y


@needs_shim
def test_a_missing_barrier_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((8, 256)).astype(np.float32)
    monkeypatch.setenv("CUDA_ON_CPU_ORDER", "skew")
    assert np.abs(mean_of(rows, "__syncthreads();") - rows.mean(1)).max() < 1e-6
    assert not np.abs(mean_of(rows, "") - rows.mean(1)).max() < 1e-3


@needs_shim
def test_arguments_are_checked_against_the_kernels_parameters() -> None:
    library = building.Library(building.compiled(RACE.replace("BARRIER", "__syncthreads();"), "race", sources.headers()))
    kernel, x, y = library.kernel("mean"), np.ones((1, 4), np.float32), np.ones(1, np.float32)
    with pytest.raises(TypeError, match=r"argument 0 \(float\*\): an array of float64 was given"):
        kernel((1,), (32,), [x.astype(float), y, np.int32(4)])
    with pytest.raises(TypeError, match=r"argument 2 \(int\)"):
        kernel((1,), (32,), [x, y, np.int64(4)])
    with pytest.raises(TypeError, match="takes 3 arguments"):
        kernel((1,), (32,), [x, y])
    with pytest.raises(ValueError, match="CUDA takes no grid"):
        kernel((1,), (2048,), [x, y, np.int32(4)])


def test_what_is_kept_on_the_disk_is_checked(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy.cuda")
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path))
    text = 'extern "C" __global__ void nothing(int n) {}'
    code = compiler.code_of(text, "nothing", "sm_90")
    (path,) = (tmp_path / "cuda").iterdir()  # type: ignore[operator]
    calls: list[str] = []
    monkeypatch.setattr(compiler, "compiled", lambda *_: calls.append("compiled") or code)
    assert compiler.code_of(text, "nothing", "sm_90") == code and calls == []
    path.write_bytes(path.read_bytes()[:-1])
    assert compiler.code_of(text, "nothing", "sm_90") == code and calls == ["compiled"]
    assert compiler.code_of(text + " ", "nothing", "sm_90") == code and calls == ["compiled"] * 2


def test_a_source_that_does_not_compile_says_where() -> None:
    pytest.importorskip("cupy.cuda")
    with pytest.raises(compiler.DeviceError, match=r"broken\.cu.*does not compile|do not compile for sm_90") as caught:
        compiler.compiled('extern "C" __global__ void f() { nonsense; }', "broken", "sm_90")
    assert "broken.cu(1)" in str(caught.value)


def test_names_of_dtypes_and_teams() -> None:
    assert launching.suffix(np.ones(1, np.float16), np.ones(1, np.float32)) is None
    assert launching.suffix(np.ones(1, np.int32)) is None
    assert teams.of_rows(5, 1024)[0] == "warp" and teams.of_rows(5, 1025) == ("block", 5, 256)
