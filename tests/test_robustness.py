"""Kernels where the world is unkind: many threads at once, forked children, no place for the cache, arrays of every kind."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import nn

ROOT = Path(nyala.__file__).parent
Op = Callable[..., nyala.Tensor]


def normal(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


# ---- models in many threads and processes


def convolutional() -> tuple[nn.Module, Any]:
    """Plain, strided, depthwise and 1 x 1 convolutions with batch norm; and a batch for it."""
    body = [
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU6(),
        nn.Conv2d(16, 32, 1), nn.BatchNorm2d(32), nn.SiLU(), nn.MaxPool2d(2), nn.Conv2d(32, 40, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10),
    ]  # fmt: skip
    return nn.Sequential(*body), normal(6, 3, 32, 32)


def transformer() -> tuple[nn.Module, Any]:
    return nn.TransformerEncoderLayer(64, 4, 128, activation="gelu", batch_first=True, dropout=0.0), normal(4, 37, 64)


MODELS = {"convolutional": convolutional, "transformer": transformer}


def step(name: str) -> bytes:
    """Forward, backward, and an update; the bits of the result, the gradients and the new weights."""
    nyala.manual_seed(0)
    model, x = MODELS[name]()
    for i, p in enumerate(model.parameters()):  # the same weights in every thread and process
        p.data = nyala.tensor(normal(*p.shape, seed=i + 1) * 0.1)
    optimizer = nyala.optim.AdamW(model.parameters(), lr=0.01)
    out = model(nyala.from_numpy(x))
    F.cross_entropy(out.reshape(len(x), -1), nyala.zeros(len(x), dtype=nyala.int64)).backward()
    grads = [p.grad.numpy().tobytes() for p in model.parameters()]
    optimizer.step()
    return b"".join([out.detach().numpy().tobytes(), *grads, *[p.detach().numpy().tobytes() for p in model.parameters()]])


@pytest.mark.parametrize("name", MODELS)
def test_training_steps_in_eight_threads_have_the_bits_they_have_alone(name: str) -> None:
    expected = step(name)
    with ThreadPoolExecutor(8) as callers:
        assert set(callers.map(step, [name] * 24)) == {expected}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_training_steps_in_forked_children() -> None:
    names = [*MODELS] * 4
    expected = [step(name) for name in names]
    with multiprocessing.get_context("fork").Pool(3) as children:
        found = children.map_async(step, names, chunksize=1).get(timeout=120)
    assert found == expected
    assert [step(name) for name in MODELS] == expected[: len(MODELS)]


# ---- no place for compiled code

COMPUTE = """
import resource, sys
if int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
import numpy as np, nyala
x = nyala.from_numpy(np.linspace(-3, 3, 100_000, dtype=np.float32))
print(nyala.__file__, float(nyala.nn.functional.relu(x).numpy().sum()))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of nyala in whose folders nothing can be kept (not by root either): a file stands where the folder would."""
    shutil.copytree(ROOT / "core", tmp_path / "nyala" / "core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "py.typed"):
        shutil.copy(ROOT / name, tmp_path / "nyala" / name)
    for room in (tmp_path / "nyala" / "core" / "kernels" / "cpu").iterdir():
        if room.is_dir():
            (room / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    return tmp_path


def compute(installed: Path, limit: int = 0, **environment: str) -> tuple[str, str]:
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    command = [sys.executable, "-c", COMPUTE, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=installed, timeout=240)
    assert done.returncode == 0, done.stderr
    file, total = done.stdout.split()
    assert file.startswith(str(installed))
    np.testing.assert_allclose(float(total), np.maximum(np.linspace(-3, 3, 100_000), 0).sum(), rtol=1e-5)
    return total, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="resource limits and /proc")
def test_kernels_run_where_nothing_can_be_kept(installed: Path) -> None:
    nowhere = str(installed / "file" / "x")
    total, said = compute(installed, HOME=nowhere, XDG_CACHE_HOME=nowhere, NUMBA_CACHE_DIR="/proc/nyala")
    assert said.count("compiled kernels cannot be kept") == 1 and "set NUMBA_CACHE_DIR" in said
    cache = installed / "new" / "cache"
    assert compute(installed, limit=3000, NUMBA_CACHE_DIR=str(cache))[0] == total  # the disk is full
    assert not list(cache.rglob("*.nbc"))
    kept, said = compute(installed, NUMBA_CACHE_DIR=str(cache))  # a folder that is not there is made
    assert kept == total and "cannot be kept" not in said and list(cache.rglob("*.nbc"))
    for file in cache.rglob("*.nb?"):
        file.chmod(0o400)
    for folder in [cache, *(f for f in cache.rglob("*") if f.is_dir())]:
        folder.chmod(0o500)
    assert compute(installed, NUMBA_CACHE_DIR=str(cache))[0] == total  # read-only: what is kept is used
    for folder in [cache, *(f for f in cache.rglob("*") if f.is_dir())]:
        folder.chmod(0o700)


# ---- arrays of every kind


def views(x: Any) -> Iterator[tuple[str, Any]]:
    """The values of x in memory of every kind."""
    yield "Fortran order", np.asfortranarray(x)
    yield "channels last", np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, -1, *range(1, x.ndim - 1))
    yield "every second element", np.repeat(x, 2, axis=-1)[..., ::2]
    yield "backwards", np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1]
    for offset in (1, 2, 3):
        off = np.zeros(x.nbytes + 4, np.uint8)[offset : offset + x.nbytes].view(x.dtype).reshape(x.shape)
        off[:] = x
        yield f"{offset} bytes off", off
    frozen = x.copy()
    frozen.setflags(write=False)
    yield "read-only", frozen


def conv(shape: tuple[int, ...], **options: Any) -> Op:
    w, b = normal(*shape), normal(shape[0], seed=1)
    return lambda x: F.conv2d(x, nyala.tensor(w.astype(x.dtype)), nyala.tensor(b.astype(x.dtype)), **options)


def linear(x: nyala.Tensor) -> nyala.Tensor:
    return F.linear(x, nyala.tensor(normal(11, x.shape[-1]).astype(x.dtype)), nyala.tensor(normal(11).astype(x.dtype)))


def layer_norm(x: nyala.Tensor) -> nyala.Tensor:
    return F.layer_norm(x, x.shape[-1:])


IMAGE, SEQUENCE = (3, 8, 9, 10), (3, 2, 40, 16)
OPS: dict[str, tuple[Op, tuple[int, ...]]] = {
    "linear": (linear, SEQUENCE),
    "matmul": (lambda x: x @ x.transpose(-1, -2), SEQUENCE),
    "conv2d 3x3": (conv((12, 8, 3, 3), padding=1), IMAGE),
    "conv2d 1x1": (conv((12, 8, 1, 1)), IMAGE),
    "conv2d strided": (conv((12, 8, 3, 3), stride=2), IMAGE),
    "conv2d depthwise": (conv((8, 1, 3, 3), padding=1, groups=8), IMAGE),
    "softmax": (lambda x: F.softmax(x, -1), SEQUENCE),
    "softmax over channels": (lambda x: F.softmax(x, 1), IMAGE),
    "log_softmax": (lambda x: F.log_softmax(x, -1), SEQUENCE),
    "layer_norm": (layer_norm, SEQUENCE),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), IMAGE),
    "group_norm": (lambda x: F.group_norm(x, 4), IMAGE),
    "gelu": (F.gelu, IMAGE),
    "silu": (F.silu, IMAGE),
    "relu": (F.relu, IMAGE),
    "tanh": (lambda x: x.tanh(), IMAGE),
    "add": (lambda x: x + x * 0.5, IMAGE),
    "sum": (lambda x: x.sum(1), IMAGE),
    "mean": (lambda x: x.mean((2, 3)), IMAGE),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), SEQUENCE),
    "causal attention": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), SEQUENCE),
    "max_pool2d": (lambda x: F.max_pool2d(x, 3, 2, 1), IMAGE),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), IMAGE),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), IMAGE),
}


def both(op: Op, x: Any) -> tuple[Any, Any]:
    """The result and the gradient of its weighted sum."""
    leaf = nyala.from_numpy(x).requires_grad_()
    out = op(leaf)
    (out * nyala.tensor(np.cos(np.arange(out.numel())).reshape(out.shape).astype(out.dtype))).sum().backward()
    return out.detach().numpy(), leaf.grad.numpy()


@pytest.mark.parametrize("name", OPS)
def test_every_kind_of_memory(name: str) -> None:
    op, shape = OPS[name]
    x = normal(*shape)
    exact = both(op, x.astype(np.float64))
    for kind, same in views(x):
        for got, expected in zip(both(op, same), exact, strict=True):
            assert got.shape == expected.shape and got.dtype == np.float32
            np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * max(1, np.abs(expected).max()), err_msg=kind)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_come_through_where_float64_has_them(name: str, value: float) -> None:
    op, shape = OPS[name]
    x = normal(*shape)
    if "attention" in name and np.isinf(value):  # in a key it makes scores of -inf, and 0 * inf of a value that is infinite too
        keys, causal = normal(*shape, seed=1), "causal" in name

        def op(v: nyala.Tensor) -> nyala.Tensor:
            k = nyala.from_numpy(keys.astype(v.dtype))
            return F.scaled_dot_product_attention(k, k, v, is_causal=causal)

    x[1, 1, 3, 4] = value
    with np.errstate(all="ignore"), nyala.no_grad():
        got = op(nyala.from_numpy(x)).numpy()
        exact = op(nyala.from_numpy(x.astype(np.float64))).numpy()
    if name == "conv2d 3x3":  # Winograd's sums span a tile of 4 x 4 results: there what is not finite becomes NaN
        lost = ~np.isfinite(exact)
        assert not np.isfinite(got[lost]).any()
        reach = np.zeros(got.shape, bool)
        reach[1, :, :8, :8] = True
        got, exact = np.where(reach, 0, got), np.where(reach, 0, exact)
    np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("name", OPS)
def test_an_empty_batch(name: str) -> None:
    op, shape = OPS[name]
    one = op(nyala.from_numpy(normal(1, *shape[1:])))
    try:
        out = op(nyala.from_numpy(normal(0, *shape[1:])).requires_grad_())
    except nyala.errors.NyalaError as error:  # batch norm: no statistics of nothing
        assert "empty" in str(error) or "more than" in str(error) or "at least" in str(error), error
        return
    assert out.shape == (0, *one.shape[1:])
    out.sum().backward()


@pytest.mark.parametrize("name", OPS)
def test_numbers_beyond_the_usual_range(name: str) -> None:
    """The greatest and the smallest numbers: infinities where float64 leaves float32's range, never garbage."""
    op, shape = OPS[name]
    for scale in (1e-40, 1e-30, 1e18):
        x = normal(*shape) * np.float32(scale)
        with np.errstate(all="ignore"), nyala.no_grad():
            got = op(nyala.from_numpy(x)).numpy()
            exact = op(nyala.from_numpy(x.astype(np.float64))).numpy()
        if np.abs(exact).max() < 1e36:
            np.testing.assert_allclose(got, exact, rtol=1e-3, atol=1e-4 * np.abs(exact).max() + 1e-42, err_msg=str(scale))
        else:
            assert not np.isnan(got).all()


def _free_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except OSError:
        return 0


HUGE: dict[str, tuple[Op, tuple[int, ...]]] = {
    "relu": (F.relu, (2**29 + 3,)),
    "gelu": (F.gelu, (2**29 + 3,)),
    "sum": (lambda x: x.sum(1), (2**15 + 1, 2**14)),
    "softmax": (lambda x: F.softmax(x, -1), (2**15 + 1, 2**14)),
    "layer_norm": (layer_norm, (2**15 + 1, 2**14)),
    "linear": (linear, (2**15 + 1, 2**14)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), (1, 129, 2**11, 2**11)),
    "conv2d": (lambda x: F.conv2d(x, nyala.tensor(normal(2, 129, 1, 1))), (1, 129, 2**11, 2**11)),
    "batch_norm": (lambda x: F.batch_norm(x, nyala.zeros(129), nyala.ones(129)), (1, 129, 2**11, 2**11)),
}


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("NYALA_SLOW_TESTS"), reason="takes minutes: set NYALA_SLOW_TESTS=1")
@pytest.mark.parametrize("name", HUGE)
def test_arrays_of_more_than_two_gigabytes(name: str) -> None:
    """The end of the result equals the result of the end."""
    op, shape = HUGE[name]
    gigabytes = 3 * 4 * int(np.prod(shape)) >> 30
    if _free_memory() >> 30 < gigabytes:
        pytest.skip(f"needs {gigabytes} GiB of memory")
    end: Any = {1: np.s_[-64:], 2: np.s_[-1:], 4: np.s_[..., -2:, :]}[len(shape)]
    x = np.ones(shape, np.float32)
    x.reshape(-1)[-2:] = 3, -2
    with nyala.no_grad():
        got = op(nyala.from_numpy(x)).numpy()
        expected = op(nyala.from_numpy(np.ascontiguousarray(x[end]))).numpy()
    place: Any = np.s_[..., -expected.shape[-2] :, :] if len(shape) == 4 else end
    np.testing.assert_allclose(got[place], expected, rtol=1e-6, atol=1e-6)
