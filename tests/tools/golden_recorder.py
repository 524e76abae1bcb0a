"""Runs an operation of the reference library and keeps what went in, what came out, and the gradients.

The schema of an operations file (``tests/goldens/ops_*.safetensors``): its metadata has one entry, ``cases``, a JSON list of

    {"name": "conv2d_same",              # tensors of this case are stored as "conv2d_same/..."
     "op": "nn.functional.conv2d",       # path below `torch`, and below `nyala`
     "args": ["$a0", "$a1", null, 2],    # "$a0" stands for the tensor "conv2d_same/a0"; everything else is itself; lists nest
     "kwargs": {"padding": "same"},
     "through": {"a0": ["nn.functional.log_softmax", {"dim": -1}]},   # apply to that input first (absent if empty)
     "complex": ["a0"],                  # inputs stored as real pairs (..., 2) (absent if none)
     "complex_outputs": true,            # the same for outputs (absent if false)
     "outputs": ["out0", "out1"],        # in the order the operation returns them
     "grads": ["a0", "a1"]}              # gradient of input a0 is stored as "conv2d_same/grad.a0"

Inputs are float32; the reference computes in float64 and its results are rounded to float32 when stored.
The gradients are those of  sum over outputs k and elements i of  out_k[i] * cos(0.7 * i + 0.3 + k),  i counting the elements
in row-major order (of the real pairs, where an output is complex); outputs of whole numbers are left out of the sum.

A case of ``modules.safetensors`` has in place of "op":

    "module": "LSTM",                    # torch.nn.LSTM, nyala.nn.LSTM
    "init": {"input_size": 3, ...},      # its arguments; its state dict is stored as "NAME/state.KEY"
    "train": true,                       # the mode it runs in
    "steps": false,                      # true: called on each of args in turn, one output each
    "buffers": ["running_mean"]          # stored as "NAME/after0.running_mean" after call 0, and so on

Parameters stand in "grads" as "state.KEY".
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"


@dataclass(frozen=True)
class Draw:
    """A tensor to be drawn from the case's own generator, so that adding a case changes no other."""

    kind: str
    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        if self.kind == "normal":
            return torch.randn(self.shape, generator=generator)
        if self.kind == "complex":
            return torch.randn(self.shape, generator=generator, dtype=torch.complex64)
        if self.kind == "integer":
            return torch.randint(int(self.low), int(self.high), self.shape, generator=generator)
        drawn = torch.rand(self.shape, generator=generator)
        return drawn < self.high if self.kind == "bool" else self.low + (self.high - self.low) * drawn


def normal(*shape: int) -> Draw:
    return Draw("normal", shape)


def complex_normal(*shape: int) -> Draw:
    return Draw("complex", shape)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Draw:
    return Draw("uniform", shape, low, high)


def integers(*shape: int, low: int = 0, high: int) -> Draw:
    return Draw("integer", shape, low, high)


def mask(*shape: int, share: float = 0.7) -> Draw:
    return Draw("bool", shape, 0.0, share)


def cotangent(shape: torch.Size, k: int = 0) -> torch.Tensor:
    return torch.cos(0.7 * torch.arange(math.prod(shape), dtype=torch.float64) + 0.3 + k).reshape(shape)


def find(path: str) -> Any:
    return reduce(getattr, path.split("."), torch)


def as_pairs(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def narrow(tensor: torch.Tensor) -> torch.Tensor:
    """What is stored: contiguous, float32 in place of float64, pairs in place of complex numbers."""
    real = as_pairs(tensor.detach())
    return (real.float() if real.is_floating_point() else real).contiguous().clone()


def widen(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def objective(outputs: list[torch.Tensor]) -> torch.Tensor:
    """The number that is differentiated: every output against its fixed cotangent."""
    real = [(k, as_pairs(out)) for k, out in enumerate(outputs) if out.is_floating_point() or out.is_complex()]
    return sum(((out * cotangent(out.shape, k)).sum() for k, out in real), torch.zeros((), dtype=torch.float64))


def flatten(result: Any) -> list[torch.Tensor]:
    """The tensors of nested tuples, in order; what is None is no output."""
    if isinstance(result, torch.Tensor):
        return [result]
    return [] if result is None else [tensor for part in result for tensor in flatten(part)]


class _Inputs:
    """The tensors given to one case, drawn and widened."""

    def __init__(self, name: str, differentiable: Callable[[str], bool], through: dict[str, Any]) -> None:
        self.generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        self.differentiable = differentiable
        self.through = through
        self.tensors: dict[str, torch.Tensor] = {}
        self.stored: dict[str, torch.Tensor] = {}  # as given: an operation may write on its input, as batch_norm does

    def take(self, value: Any, key: str) -> tuple[Any, Any]:
        """(what the JSON says, what the operation gets)"""
        if isinstance(value, Draw):
            value = value.sample(self.generator)
        if isinstance(value, torch.Tensor):
            self.stored[key] = narrow(value)
            tensor = widen(value)
            wanted = self.differentiable(key) and (tensor.is_floating_point() or tensor.is_complex())
            self.tensors[key] = tensor.requires_grad_(wanted)
            if key in self.through:
                op, kwargs = self.through[key]
                return f"${key}", find(op)(tensor, **kwargs)
            return f"${key}", tensor
        if isinstance(value, (list, tuple)):
            pairs = [self.take(item, f"{key}_{i}") for i, item in enumerate(value)]
            return [p[0] for p in pairs], type(value)(p[1] for p in pairs)
        return value, value

    def take_all(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
        """(the case's JSON, positional arguments, keyword arguments)"""
        taken = [self.take(value, f"a{i}") for i, value in enumerate(args)]
        named = {key: self.take(value, key) for key, value in kwargs.items()}
        case: dict[str, Any] = {"args": [t[0] for t in taken], "kwargs": {key: t[0] for key, t in named.items()}}
        if self.through:
            case["through"] = self.through
        if pairs := [key for key, tensor in self.tensors.items() if tensor.is_complex()]:
            case["complex"] = pairs
        return case, [t[1] for t in taken], {key: t[1] for key, t in named.items()}


class Recorder:
    """Collects cases and writes them as one file."""

    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []
        self.tensors: dict[str, torch.Tensor] = {}

    def add(
        self,
        name: str,
        op: str,
        *args: Any,
        grad: bool = True,
        fixed: tuple[str, ...] = (),
        through: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Run ``op`` in float64. ``fixed`` names inputs that get no gradient; ``grad=False`` asks for none at all."""
        inputs = _Inputs(name, lambda key: grad and key not in fixed, through or {})
        case, positional, named = inputs.take_all(args, kwargs)
        outputs = flatten(find(op)(*positional, **named))
        if any(out.is_complex() for out in outputs):
            case["complex_outputs"] = True
        self.keep({"name": name, "op": op, **case}, inputs.stored, inputs.tensors, outputs)

    def add_module(
        self,
        name: str,
        kind: str,
        *args: Any,
        init: dict[str, Any] | None = None,
        steps: bool = False,
        train: bool = True,
        **kwargs: Any,
    ) -> None:
        """Run the module ``torch.nn.KIND(**init)``; with ``steps`` it is called on each of ``args`` in turn."""
        inputs = _Inputs(name, lambda _: True, {})
        module = getattr(torch.nn, kind)(**(init or {})).double().train(train)
        for parameter in module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=inputs.generator).mul(0.5).double()
        state = {f"state.{key}": value.detach().clone() for key, value in module.state_dict().items()}
        case, positional, named = inputs.take_all(args, kwargs)
        calls = [[x] for x in positional] if steps else [positional]
        outputs = []
        for k, call in enumerate(calls):
            outputs += flatten(module(*call, **named))
            self.tensors |= {f"{name}/after{k}.{key}": narrow(value) for key, value in module.named_buffers()}
        leaves = {**inputs.tensors, **{f"state.{key}": value for key, value in module.named_parameters()}}
        extra = {"steps": steps, "train": train, "buffers": [key for key, _ in module.named_buffers()]}
        case = {"name": name, "module": kind, "init": init or {}, **case, **extra}
        self.keep(case, {**inputs.stored, **state}, leaves, outputs)

    def keep(
        self, case: dict[str, Any], stored: dict[str, torch.Tensor], leaves: dict[str, torch.Tensor], outputs: list[torch.Tensor]
    ) -> None:
        """Store a case's tensors, and the gradients of its outputs by those of ``leaves`` that ask for one."""
        name = case["name"]
        assert all(other["name"] != name for other in self.cases), name
        self.tensors |= {f"{name}/{key}": narrow(tensor) for key, tensor in stored.items()}
        self.tensors |= {f"{name}/out{k}": narrow(out) for k, out in enumerate(outputs)}
        wanted = {key: tensor for key, tensor in leaves.items() if tensor.requires_grad}
        goal = objective(outputs)
        if not goal.requires_grad:  # nothing to differentiate, as for argmax
            wanted = {}
        for key, gradient in zip(wanted, torch.autograd.grad(goal, list(wanted.values())) if wanted else (), strict=True):
            self.tensors[f"{name}/grad.{key}"] = narrow(gradient)
        self.cases.append({**case, "outputs": [f"out{k}" for k in range(len(outputs))], "grads": list(wanted)})

    def write(self, file: str) -> None:
        GOLDENS.mkdir(exist_ok=True)
        for key, tensor in self.tensors.items():
            assert not tensor.isnan().any(), f"{key} holds NaN"
        save_file(self.tensors, GOLDENS / file, {"cases": json.dumps(self.cases)})
        (GOLDENS / file).chmod(0o644)
        print(f"{file}: {len(self.cases)} cases, {(GOLDENS / file).stat().st_size / 1e3:.0f} kB")
