"""Naming devices, and the one error of a machine where ``"cuda"`` does not work: what, why, and how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.core import devices
from nyala.errors import DeviceError, DtypeError

RESNET = str(Path(__file__).parents[1] / "goldens" / "vision" / "resnet_basic")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    devices.cupy.cache_clear()
    yield
    devices.cupy.cache_clear()


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


WAYS: dict[str, Callable[[], Any]] = {
    "tensor": lambda: nyala.tensor([1.0], device="cuda"),
    "as_tensor": lambda: nyala.as_tensor(np.ones(1), device="cuda"),
    "zeros": lambda: nyala.zeros(2, device="cuda"),
    "full": lambda: nyala.full((2,), 1.0, device="cuda:0"),
    "arange": lambda: nyala.arange(2, device="cuda"),
    "eye": lambda: nyala.eye(2, device="cuda"),
    "zeros_like": lambda: nyala.zeros_like(nyala.ones(1), device="cuda"),
    "rand": lambda: nyala.rand(2, device="cuda"),
    "randint": lambda: nyala.randint(0, 2, (2,), device="cuda"),
    "randperm": lambda: nyala.randperm(2, device="cuda"),
    "hann_window": lambda: nyala.hann_window(4, device="cuda"),
    "Tensor.to": lambda: nyala.ones(1).to("cuda"),
    "Tensor.to number": lambda: nyala.ones(1).to(0),
    "Tensor.to device=": lambda: nyala.ones(1).to(device="cuda:1"),
    "Tensor.cuda": lambda: nyala.ones(1).cuda(),
    "Module.to": lambda: nn.Linear(1, 1).to("cuda"),
    "Module.to device=": lambda: nn.Linear(1, 1).to(device="cuda"),
    "Module.cuda": lambda: nn.Linear(1, 1).cuda(),
    "Module.cuda number": lambda: nn.Linear(1, 1).cuda(1),
    "load": lambda: nyala.load(RESNET, device="cuda"),
    "load of what is not there": lambda: nyala.load("no/such-model", device="cuda"),
}


@pytest.mark.usefixtures("no_cupy")
@pytest.mark.parametrize("way", WAYS)
def test_without_cupy_every_way_to_a_gpu_says_what_to_install(way: str) -> None:
    with pytest.raises(DeviceError) as caught:
        WAYS[way]()
    assert str(caught.value) == (
        "device 'cuda' was asked for, but CuPy is not installed: nyala computes on NVIDIA GPUs through CuPy. "
        "Remedy: install it with `pip install 'nyala[cuda13]'` (driver 580 or newer) or `'nyala[cuda12]'`, "
        "or use device='cpu'. [E103]"
    )
    assert caught.value.exit_code == 2


def test_without_a_gpu_the_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(is_available=lambda: False))
    with pytest.raises(DeviceError, match=r"finds no CUDA device: .*driver.* Remedy: .*nvidia-smi"):
        nyala.ones(1).cuda()
    assert not nyala.cuda_is_available()


def test_a_cupy_that_does_not_load_is_told_apart_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> Any:
        raise ImportError("libcublas.so.13: cannot open\nshared object file")

    monkeypatch.setattr(devices.importlib, "import_module", broken)
    with pytest.raises(DeviceError, match=r"does not load: libcublas\.so\.13: cannot open shared object file\. Remedy: .*cuda13"):
        devices.cupy()


@pytest.mark.usefixtures("no_cupy")
def test_asking_whether_there_is_one_is_no_error() -> None:
    assert not nyala.cuda_is_available()


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:", "cuda:x", "cuda0", "CPU:0", "cpu:0", ""])
def test_a_name_that_is_no_device(name: str) -> None:
    with pytest.raises(DeviceError, match=r"unknown device .* Remedy: use 'cpu', 'cuda' or 'cuda:N'"):
        nyala.ones(1, device=name)


def test_to_tells_devices_from_dtypes() -> None:
    x = nyala.ones(2)
    assert x.to("cpu") is x and x.to("float64").dtype == nyala.float64
    for to in (x.to, nn.Linear(1, 1).to):
        with pytest.raises(DeviceError, match="unknown device 'mps'"):
            to("mps")
        with pytest.raises(DtypeError, match="float6"):
            to("float6")


@pytest.mark.usefixtures("cuda")
def test_a_gpu_that_is_not_there_is_counted() -> None:
    with pytest.raises(DeviceError, match=r"device 'cuda:99' does not exist: \d+ CUDA device\(s\) found"):
        nyala.ones(1, device="cuda:99")


def test_every_way_works_where_there_is_one(cuda: str) -> None:
    for name, way in WAYS.items():
        if "not there" not in name and "device=" not in name.removeprefix("Module") and name != "Module.cuda number":
            made = way()
            made = getattr(made, "model", made)
            tensor = made if isinstance(made, nyala.Tensor) else next(made.parameters())
            assert tensor.device == cuda, name
    assert nyala.cuda_is_available()


@pytest.mark.usefixtures("no_cupy")
def test_questions_about_gpus_where_there_are_none() -> None:
    assert not nyala.cuda.is_available() and nyala.cuda.device_count() == 0
    for ask in (nyala.cuda.synchronize, nyala.cuda.current_device, nyala.cuda.memory_allocated, nyala.cuda.empty_cache):
        with pytest.raises(DeviceError, match="CuPy is not installed"):
            ask()


@pytest.mark.usefixtures("cuda")
def test_questions_about_the_gpus_there_are() -> None:
    assert nyala.cuda.is_available() and nyala.cuda.device_count() >= 1
    assert nyala.cuda.current_device() == 0 and isinstance(nyala.cuda.get_device_name(0), str)
    kept = nyala.ones(100, device="cuda")
    nyala.cuda.synchronize()
    nyala.cuda.empty_cache()
    assert nyala.cuda.memory_allocated() >= 0 and kept.sum().item() == 100.0
    with pytest.raises(DeviceError, match="'cpu' is no CUDA device"):
        nyala.cuda.synchronize("cpu")
