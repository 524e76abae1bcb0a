"""Parameters in half precision with float32 masters: bitwise a float32 optimizer on the masters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import nn, optim
from nyala.checkpoint import load_file, save_file

MAKERS: dict[str, Callable[..., optim.Optimizer]] = {
    "SGD": lambda p, **k: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, **k),
    "Adam": lambda p, **k: optim.Adam(p, lr=0.01, amsgrad=True, **k),
    "AdamW": lambda p, **k: optim.AdamW(p, lr=0.01, **k),
    "Lion": lambda p, **k: optim.Lion(p, lr=0.001, weight_decay=0.1, **k),
    "LAMB": lambda p, **k: optim.LAMB(p, lr=0.01, **k),
    "Adafactor": lambda p, **k: optim.Adafactor(p, lr=0.01, **k),
    "Muon": lambda p, **k: optim.Muon(p, lr=0.01, **k),
}


def start(dtype: Any, device: str = "cpu") -> list[nn.Parameter]:
    rng = np.random.default_rng(5)
    rounded = [rng.normal(size=shape).astype(dtype) for shape in ((7, 5), (5, 9))]
    return [nn.Parameter(nyala.tensor(a, device=device)) for a in rounded]


def gradients(step: int, dtype: Any) -> list[np.ndarray]:
    rng = np.random.default_rng([step, 6])
    return [rng.normal(size=shape).astype(dtype) for shape in ((7, 5), (5, 9))]


def step(optimizer: optim.Optimizer, params: list[nn.Parameter], number: int, dtype: Any) -> None:
    for p, g in zip(params, gradients(number, dtype), strict=True):
        p.grad = nyala.tensor(g.astype(p.dtype), device=p.device)
    optimizer.step()


def bits(tensors: list[Any]) -> list[bytes]:
    return [nyala.as_tensor(t).detach().cpu().numpy().tobytes() for t in tensors]


@pytest.mark.parametrize("dtype", [nyala.bfloat16, nyala.float16], ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_steps_are_those_of_float32_weights(name: str, dtype: Any) -> None:
    halves = start(dtype)
    exact = [nn.Parameter(p.detach().float()) for p in halves]
    mine, theirs = MAKERS[name](halves, master_weights=True), MAKERS[name](exact)
    for number in range(5):
        step(mine, halves, number, dtype)
        step(theirs, exact, number, dtype)
        assert bits([mine.state[p]["master"] for p in halves]) == bits(exact)
        assert bits(halves) == bits([p.detach().to(dtype) for p in exact])
    assert all(p.dtype == dtype for p in halves)


def test_small_updates_add_up_only_with_masters() -> None:
    def after(**settings: Any) -> float:
        w = nn.Parameter(nyala.ones(1, dtype=nyala.bfloat16))
        optimizer = optim.SGD([w], lr=1e-3, **settings)
        for _ in range(20):
            w.grad = nyala.ones(1, dtype=nyala.bfloat16)
            optimizer.step()
        return float(w.item())

    assert after() == 1.0  # a step of 0.001 is lost in bfloat16's 8 bits
    assert after(master_weights=True) == pytest.approx(0.98, abs=0.004)


def test_float32_parameters_have_none() -> None:
    params = start(nyala.float32)
    optimizer = optim.AdamW(params, master_weights=True)
    step(optimizer, params, 0, nyala.float32)
    assert all("master" not in optimizer.state[p] for p in params)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adafactor"])
def test_a_saved_state_goes_on_with_the_same_bits(name: str, tmp_path: Any) -> None:
    def run(stop: int | None, how: str = "") -> list[bytes]:
        params = start(nyala.bfloat16)
        optimizer = MAKERS[name](params, master_weights=True)
        for number in range(6):
            if number == stop:
                params = [nn.Parameter(p.detach().clone()) for p in params]
                other = MAKERS[name](params, master_weights=True)
                if how == "dict":
                    other.load_state_dict(optimizer.state_dict())
                else:
                    save_file(optimizer.named_state(), tmp_path / "state.safetensors")
                    other.load_named_state(load_file(tmp_path / "state.safetensors"))
                optimizer = other
            step(optimizer, params, number, nyala.bfloat16)
        return bits(params)

    assert run(3, "dict") == run(None) == run(3, "named")


def test_a_state_without_masters_begins_from_the_parameters() -> None:
    params = start(nyala.bfloat16)
    plain = optim.AdamW(params, lr=0.01)
    step(plain, params, 0, nyala.bfloat16)
    with_masters = optim.AdamW(params, lr=0.01, master_weights=True)
    with_masters.load_state_dict({**plain.state_dict(), "param_groups": with_masters.state_dict()["param_groups"]})
    assert bits([with_masters.state[p]["master"] for p in params]) == bits([p.detach().float() for p in params])
    step(with_masters, params, 1, nyala.bfloat16)


def test_what_is_written_to_a_parameter_in_between_is_taken_over() -> None:
    params = start(nyala.bfloat16)
    optimizer = optim.SGD(params, lr=1e-4, master_weights=True)
    step(optimizer, params, 0, nyala.bfloat16)
    exact = optimizer.state[params[0]]["master"].array.copy()
    with nyala.no_grad():
        params[0][0, 0] = 3.0
    for p in params:
        p.grad = nyala.zeros(*p.shape, dtype=nyala.bfloat16)
    optimizer.step()
    master = optimizer.state[params[0]]["master"].array
    assert master[0, 0] == 3.0 and (master.reshape(-1)[1:] == exact.reshape(-1)[1:]).all()


def test_on_a_gpu_the_steps_are_the_same(cuda: str) -> None:
    found = []
    for device in ("cpu", cuda):
        params = start(nyala.bfloat16, device)
        optimizer = optim.SGD(params, lr=0.1, momentum=0.9, master_weights=True)
        for number in range(3):
            step(optimizer, params, number, nyala.bfloat16)
        found.append([p.detach().cpu().float().array for p in params])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-2)
