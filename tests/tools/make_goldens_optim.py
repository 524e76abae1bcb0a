"""Goldens of optimizers, learning-rate schedules and gradient clipping, from torch.optim and timm.optim.

``optim.safetensors`` has one metadata entry, ``cases``: {"optimizers": [...], "clip": [...]}. An optimizer's case is

    {"name": "adamw_default", "optimizer": "AdamW", "dtype": "float64",
     "groups": [{"params": ["w", "b"], "lr": 0.01}],      # parameter groups; what they say overrides kwargs
     "kwargs": {"weight_decay": 0.1}}

The start of parameter w is stored as "start.w", and its values after each of the ten steps as "NAME/w" (10, *shape).
Before step t = 0..9 the gradient is set to   0.3 * p + cos(0.7 * i + 0.3 + t)   (p the parameter as it stands, i counting
its elements in row-major order).

torch's Muon orthogonalises in bfloat16; here that one cast is replaced by float64, so that the golden says what the
algorithm means.

A case of clipping is {"name", "function", "args", "norm"}; gradients are stored as "NAME/before.K" and "NAME/after.K".

``schedules.json``: a list of {"name", "scheduler", "kwargs", "optimizer", "optimizer_kwargs", "metrics", "lr", "momentum"}.
``lr`` has 21 rows (the start, and after each of 20 steps), one number a parameter group; ``momentum`` is the same of
momentum, or of beta1. The second group starts at lr 0.05. A scheduler inside another is {"scheduler", "kwargs"};
"lr_lambda" names functions of LAMBDAS.
"""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import torch
import torchvision_shim  # noqa: F401 - must come before timm, which imports torchvision
from golden_recorder import GOLDENS, cotangent, narrow
from safetensors.torch import save_file
from timm.optim import Lamb, Lion
from torch import optim
from torch.optim import lr_scheduler

OPTIMIZERS = {
    "Lion": Lion,
    "LAMB": Lamb,
    **{name: getattr(optim, name) for name in ("SGD", "Adam", "AdamW", "Adafactor", "Muon")},
}
SHAPES = {"w": (3, 4), "b": (4,), "tall": (5, 2), "wide": (2, 6)}
LAMBDAS = {"decay": lambda epoch: 0.9**epoch, "halve": lambda epoch: 1 / (1 + epoch)}
BOTH = [{"params": ["w", "b"]}]
TWO_GROUPS = [{"params": ["w"], "lr": 0.05, "weight_decay": 0.2}, {"params": ["b"]}]
MATRICES = [{"params": ["w", "tall", "wide"]}]


def case(
    name: str, optimizer: str, groups: list[dict[str, Any]] | None = None, dtype: str = "float64", **kwargs: Any
) -> dict[str, Any]:
    return {"name": name, "optimizer": optimizer, "dtype": dtype, "groups": groups or BOTH, "kwargs": kwargs}


CASES = [
    case("sgd", "SGD", lr=0.1),
    case("sgd_default", "SGD"),
    case("sgd_momentum", "SGD", lr=0.1, momentum=0.9),
    case("sgd_nesterov", "SGD", lr=0.1, momentum=0.9, nesterov=True),
    case("sgd_dampening", "SGD", lr=0.1, momentum=0.8, dampening=0.3),
    case("sgd_decay", "SGD", lr=0.1, momentum=0.9, weight_decay=0.1),
    case("sgd_maximize", "SGD", lr=0.02, momentum=0.5, weight_decay=0.1, maximize=True),
    case("sgd_groups", "SGD", TWO_GROUPS, lr=0.1, momentum=0.9),
    case("adam_default", "Adam"),
    case("adam", "Adam", lr=0.05, betas=[0.8, 0.95], eps=1e-3),
    case("adam_decay", "Adam", lr=0.05, weight_decay=0.1),
    case("adam_amsgrad", "Adam", lr=0.05, amsgrad=True, betas=[0.7, 0.8]),
    case("adam_maximize", "Adam", lr=0.05, maximize=True),
    case("adam_groups", "Adam", TWO_GROUPS, lr=0.01),
    case("adamw_default", "AdamW"),
    case("adamw", "AdamW", lr=0.05, weight_decay=0.3, betas=[0.8, 0.95]),
    case("adamw_amsgrad", "AdamW", lr=0.05, amsgrad=True, betas=[0.7, 0.8]),
    case("adamw_maximize", "AdamW", lr=0.05, maximize=True, weight_decay=0.1),
    case("adamw_groups", "AdamW", TWO_GROUPS, lr=0.01),
    case("lion_default", "Lion"),
    case("lion", "Lion", lr=0.01, betas=[0.8, 0.95], weight_decay=0.2),
    case("lion_groups", "Lion", TWO_GROUPS, lr=0.01),
    case("lamb_default", "LAMB"),
    case("lamb", "LAMB", lr=0.02, betas=[0.8, 0.95], weight_decay=0.2),
    case("lamb_groups", "LAMB", TWO_GROUPS, lr=0.02),
    case("adafactor_default", "Adafactor", dtype="float32"),
    case("adafactor", "Adafactor", lr=0.1, eps=[1e-8, 1e-2], weight_decay=0.1, d=1.5, beta2_decay=-0.7),
    case("adafactor_matrices", "Adafactor", MATRICES, lr=0.05, eps=[1e-30, 1e-3]),
    case("adafactor_maximize", "Adafactor", lr=0.05, eps=[1e-30, 1e-3], maximize=True),
    case("muon_default", "Muon", MATRICES),
    case("muon", "Muon", MATRICES, lr=0.02, weight_decay=0.2, momentum=0.8, nesterov=False, ns_steps=3),
    case("muon_match_rms", "Muon", MATRICES, lr=0.01, adjust_lr_fn="match_rms_adamw"),
]


def schedule(name: str, scheduler: str, optimizer: str = "SGD", momentum: float = 0.0, **kwargs: Any) -> dict[str, Any]:
    settings = {"lr": 0.2, "momentum": momentum} if optimizer == "SGD" else {"lr": 0.2}
    return {"name": name, "scheduler": scheduler, "kwargs": kwargs, "optimizer": optimizer, "optimizer_kwargs": settings}


def inner(scheduler: str, **kwargs: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "kwargs": kwargs}


WARMUP = inner("LinearLR", start_factor=0.1, total_iters=4)
THREE = [WARMUP, inner("ConstantLR", factor=1.0), inner("StepLR", step_size=3)]
METRICS = [1.0, 0.9, 0.91, 0.92, 0.905, 0.9, 0.8, 0.8, 0.81, 0.82, 0.83, 0.7999, 0.79, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 0.5]
SCHEDULES = [
    schedule("step", "StepLR", step_size=6, gamma=0.3),
    schedule("step_default", "StepLR", step_size=7),
    schedule("multi_step", "MultiStepLR", milestones=[3, 8, 8, 15], gamma=0.5),
    schedule("constant", "ConstantLR", factor=0.25, total_iters=7),
    schedule("constant_default", "ConstantLR"),
    schedule("linear", "LinearLR", start_factor=0.1, end_factor=0.8, total_iters=8),
    schedule("linear_default", "LinearLR"),
    schedule("exponential", "ExponentialLR", gamma=0.8),
    schedule("cosine", "CosineAnnealingLR", T_max=20, eta_min=0.01),
    schedule("cosine_past_the_end", "CosineAnnealingLR", T_max=7),
    schedule("restarts", "CosineAnnealingWarmRestarts", T_0=5, eta_min=0.02),
    schedule("restarts_growing", "CosineAnnealingWarmRestarts", T_0=3, T_mult=2),
    schedule("polynomial", "PolynomialLR", total_iters=12, power=2.0),
    schedule("polynomial_default", "PolynomialLR"),
    schedule("one_cycle", "OneCycleLR", momentum=0.9, max_lr=0.5, total_steps=21),
    schedule("one_cycle_adam", "OneCycleLR", "AdamW", max_lr=[0.5, 0.1], total_steps=21, pct_start=0.2, div_factor=10.0),
    schedule(
        "one_cycle_linear", "OneCycleLR", momentum=0.9, max_lr=0.5, total_steps=25, anneal_strategy="linear", final_div_factor=50
    ),
    schedule("one_cycle_three", "OneCycleLR", momentum=0.9, max_lr=0.5, epochs=3, steps_per_epoch=7, three_phase=True),
    schedule("one_cycle_lr_only", "OneCycleLR", momentum=0.9, max_lr=0.5, total_steps=21, cycle_momentum=False),
    schedule("lambda", "LambdaLR", lr_lambda="decay"),
    schedule("lambda_each_group", "LambdaLR", lr_lambda=["decay", "halve"]),
    schedule("sequential", "SequentialLR", schedulers=[WARMUP, inner("CosineAnnealingLR", T_max=12)], milestones=[4]),
    schedule("sequential_three", "SequentialLR", schedulers=THREE, milestones=[4, 9]),
    schedule("chained", "ChainedScheduler", schedulers=[WARMUP, inner("ExponentialLR", gamma=0.9)]),
    schedule("plateau", "ReduceLROnPlateau", patience=2, factor=0.5),
    schedule(
        "plateau_max", "ReduceLROnPlateau", mode="max", patience=3, threshold=0.01, threshold_mode="abs", cooldown=2, min_lr=0.004
    ),
]


def starts() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {key: torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}


def in_float64(tensor: torch.Tensor) -> torch.Tensor:
    """A copy, as the cast to bfloat16 makes one: what follows it writes in place."""
    return tensor.to(torch.float64, copy=True)


def trajectory(spec: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    dtype = getattr(torch, spec["dtype"])
    named = {
        key: tensors[f"start.{key}"].to(dtype, copy=True).requires_grad_() for group in spec["groups"] for key in group["params"]
    }
    groups = [{**group, "params": [named[key] for key in group["params"]]} for group in spec["groups"]]
    optimizer = OPTIMIZERS[spec["optimizer"]](groups, **spec["kwargs"])
    seen: dict[str, list[torch.Tensor]] = {key: [] for key in named}
    for step in range(10):
        for p in named.values():
            p.grad = 0.3 * p.detach() + cotangent(p.shape, step).to(dtype)
        with mock.patch.object(torch.Tensor, "bfloat16", in_float64):
            optimizer.step()
        for key, p in named.items():
            seen[key].append(narrow(p))
    return {f"{spec['name']}/{key}": torch.stack(values) for key, values in seen.items()}


def clipping(tensors: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    calls = {
        "clip_norm": ("clip_grad_norm_", [1.5]),
        "clip_norm_loose": ("clip_grad_norm_", [1000.0]),
        "clip_norm_one": ("clip_grad_norm_", [1.5, 1.0]),
        "clip_norm_inf": ("clip_grad_norm_", [0.7, float("inf")]),
        "clip_value": ("clip_grad_value_", [0.4]),
    }
    cases = []
    for k, (name, (function, args)) in enumerate(calls.items()):
        parameters = [torch.zeros(SHAPES[key], dtype=torch.float64, requires_grad=True) for key in ("w", "b")]
        for j, p in enumerate(parameters):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * k + j)).double()
            tensors[f"{name}/before.{j}"] = narrow(p.grad)
        norm = getattr(torch.nn.utils, function)(parameters, *args)
        tensors |= {f"{name}/after.{j}": narrow(p.grad) for j, p in enumerate(parameters)}
        cases.append({"name": name, "function": function, "args": args, "norm": None if norm is None else norm.item()})
    return cases


def build(optimizer: optim.Optimizer, scheduler: str, kwargs: dict[str, Any]) -> Any:
    kwargs = dict(kwargs)
    if "schedulers" in kwargs:
        kwargs["schedulers"] = [build(optimizer, part["scheduler"], part["kwargs"]) for part in kwargs["schedulers"]]
        if scheduler == "ChainedScheduler":
            return lr_scheduler.ChainedScheduler(kwargs["schedulers"])
    if "lr_lambda" in kwargs:
        names = kwargs["lr_lambda"]
        kwargs["lr_lambda"] = LAMBDAS[names] if isinstance(names, str) else [LAMBDAS[name] for name in names]
    return getattr(lr_scheduler, scheduler)(optimizer, **kwargs)


def rates(spec: dict[str, Any]) -> dict[str, Any]:
    groups = [{"params": [torch.zeros(2, requires_grad=True)]}, {"params": [torch.zeros(2, requires_grad=True)], "lr": 0.05}]
    optimizer = OPTIMIZERS[spec["optimizer"]](groups, **spec["optimizer_kwargs"])
    scheduler = build(optimizer, spec["scheduler"], spec["kwargs"])
    plateau = spec["scheduler"] == "ReduceLROnPlateau"
    lrs, momenta = [], []
    for step in range(21):
        lrs.append([float(group["lr"]) for group in optimizer.param_groups])
        momenta.append([float(group["betas"][0] if "betas" in group else group["momentum"]) for group in optimizer.param_groups])
        if step < 20:
            optimizer.step()
            scheduler.step(*([METRICS[step]] if plateau else []))
    return {**spec, "metrics": METRICS if plateau else None, "lr": lrs, "momentum": momenta}


def main() -> None:
    tensors = {f"start.{key}": value for key, value in starts().items()}
    for spec in CASES:
        tensors |= trajectory(spec, tensors)
    metadata = {"cases": json.dumps({"optimizers": CASES, "clip": clipping(tensors)})}
    path = GOLDENS / "optim.safetensors"
    save_file(tensors, path, metadata)
    path.chmod(0o644)
    lines = [json.dumps(rates(spec)) for spec in SCHEDULES]
    (GOLDENS / "schedules.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(CASES)} optimizers, {path.stat().st_size / 1e3:.0f} kB; {len(SCHEDULES)} schedules")


if __name__ == "__main__":
    main()
