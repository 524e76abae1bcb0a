"""Optimizers, schedules and clipping against torch and timm, frozen in ``goldens`` (see ``tools/make_goldens_optim.py``)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn
import nyala.optim
import pytest
from safetensors import safe_open

GOLDENS = Path(__file__).parents[1] / "goldens"
TOLERANCE = {"float32": 1e-5, "float64": 1e-6}  # of the values after each step, relative to the largest element
LAMBDAS = {"decay": lambda epoch: 0.9**epoch, "halve": lambda epoch: 1 / (1 + epoch)}

with safe_open(GOLDENS / "optim.safetensors", "numpy") as content:
    CASES = json.loads(content.metadata()["cases"])
    STORED = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 - it is no mapping
SCHEDULES = json.loads((GOLDENS / "schedules.json").read_text())


def parameters_of(case: dict[str, Any]) -> dict[str, nyala.nn.Parameter]:
    names = [key for group in case["groups"] for key in group["params"]]
    return {key: nyala.nn.Parameter(nyala.from_numpy(STORED[f"start.{key}"].astype(case["dtype"]))) for key in names}


def tuples(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in kwargs.items()}


@pytest.mark.parametrize("case", CASES["optimizers"], ids=lambda case: case["name"])
def test_trajectory_equals_the_reference(case: dict[str, Any]) -> None:
    parameters = parameters_of(case)
    groups = [{**group, "params": [parameters[key] for key in group["params"]]} for group in case["groups"]]
    optimizer = getattr(nyala.optim, case["optimizer"])(groups, **tuples(case["kwargs"]))
    for step in range(10):
        for p in parameters.values():
            wave = np.cos(0.7 * np.arange(math.prod(p.shape)) + 0.3 + step).reshape(p.shape)
            p.grad = nyala.from_numpy((0.3 * p.detach().numpy() + wave).astype(case["dtype"]))
        optimizer.step()
        for key, p in parameters.items():
            expected = STORED[f"{case['name']}/{key}"][step]
            error = np.abs(p.detach().numpy() - expected).max() / np.abs(expected).max()
            assert error <= TOLERANCE[case["dtype"]], f"{key} after step {step}: differs by {error:.1e} of the largest element"


@pytest.mark.parametrize("case", CASES["clip"], ids=lambda case: case["name"])
def test_clipping_equals_torch(case: dict[str, Any]) -> None:
    before = [STORED[f"{case['name']}/before.{k}"] for k in range(2)]
    parameters = [nyala.nn.Parameter(nyala.from_numpy(np.zeros_like(grad))) for grad in before]
    for p, grad in zip(parameters, before, strict=True):
        p.grad = nyala.from_numpy(grad.copy())
    norm = getattr(nyala.nn.utils, case["function"])(parameters, *case["args"])
    assert (norm is None) == (case["norm"] is None)
    if norm is not None:
        assert norm.item() == pytest.approx(case["norm"], rel=1e-6)
    for k, p in enumerate(parameters):
        assert p.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), STORED[f"{case['name']}/after.{k}"], rtol=1e-5, atol=1e-7)


def build(optimizer: nyala.optim.Optimizer, scheduler: str, kwargs: dict[str, Any]) -> Any:
    kwargs = dict(kwargs)
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [build(optimizer, part["scheduler"], part["kwargs"]) for part in kwargs["schedulers"]]
        if scheduler == "ChainedScheduler":
            return nyala.optim.lr_scheduler.ChainedScheduler(kwargs["schedulers"])
    if "lr_lambda" in kwargs:
        names = kwargs["lr_lambda"]
        kwargs["lr_lambda"] = LAMBDAS[names] if isinstance(names, str) else [LAMBDAS[name] for name in names]
    return getattr(nyala.optim.lr_scheduler, scheduler)(optimizer, **kwargs)


@pytest.mark.parametrize("case", SCHEDULES, ids=lambda case: case["name"])
def test_schedule_equals_torch(case: dict[str, Any]) -> None:
    groups = [{"params": [nyala.nn.Parameter(nyala.zeros(2))]}, {"params": [nyala.nn.Parameter(nyala.zeros(2))], "lr": 0.05}]
    optimizer = getattr(nyala.optim, case["optimizer"])(groups, **case["optimizer_kwargs"])
    scheduler = build(optimizer, case["scheduler"], case["kwargs"])
    for step in range(21):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx(case["lr"][step], rel=1e-9, abs=1e-15), f"learning rates after {step} steps"
        momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in optimizer.param_groups]
        assert momenta == pytest.approx(case["momentum"][step], rel=1e-9), f"momenta after {step} steps"
        if step < 20:
            optimizer.step()
            scheduler.step(*([case["metrics"][step]] if case["metrics"] else []))
