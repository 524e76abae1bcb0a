"""torch's counterparts of ``kernel_cases.py``: the list on standard input, seconds of each on standard output."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from . import gpu_clock

DEVICE = "cuda"
Call = Callable[[], Any]


def _array(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, device=DEVICE).to(dtype)


def _backward(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, *weights: torch.Tensor) -> Call:
    leaves = [leaf.requires_grad_() for leaf in (x, *weights)]
    out = function(x)
    grad = torch.ones_like(out)
    return lambda: torch.autograd.grad(out, leaves, grad, retain_graph=True)


def _adamw(dtype: torch.dtype, tensors: int, size: int) -> Call:
    params = [_array(size, dtype=dtype) for _ in range(tensors)]
    for p in params:
        p.grad = torch.randn_like(p)
    return torch.optim.AdamW(params, lr=1e-4, fused=True).step


def _cross_entropy_step(dtype: torch.dtype, rows: int, classes: int) -> Call:
    x, target = _array(rows, classes, dtype=dtype).requires_grad_(), torch.randint(classes, (rows,), device=DEVICE)
    return lambda: torch.autograd.grad(F.cross_entropy(x, target), x)


def _rows(dtype: torch.dtype, words: int, rows: int, n: int) -> Call:
    ids = torch.randint(words, (rows,), device=DEVICE)
    return _backward(lambda table: F.embedding(ids, table), _array(words, n, dtype=dtype))


def _linear(dtype: torch.dtype, rows: int, wide: int, n: int) -> Call | None:
    if dtype != torch.bfloat16:  # torch multiplies one dtype alone
        return None
    x, weight = _array(rows, n, dtype=dtype), _array(wide, n, dtype=dtype)
    return lambda: F.linear(x, weight)


def counterpart(kernel: str, sizes: tuple[int, ...], dtype: torch.dtype) -> Call | None:
    """The call, or None where torch has none of one kernel."""
    own: dict[str, Callable[..., Call | None]] = {
        "adamw_steps": _adamw, "cross_entropy_step": _cross_entropy_step, "add_rows": _rows, "linear_bf16": _linear,
    }  # fmt: skip
    if kernel in own:
        return own[kernel](dtype, *sizes)
    plain: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "softmax": lambda x: F.softmax(x, -1),
        "dropout": lambda x: F.dropout(x, 0.1),
        "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:], weight, bias),
        "rms_norm": lambda x: F.rms_norm(x, x.shape[-1:], weight),
    }
    name = kernel.removesuffix("_backward")
    if name not in plain:
        return None
    x, weight, bias = (_array(*shape, dtype=dtype) for shape in (sizes, sizes[-1:], sizes[-1:]))
    if name == kernel:
        return lambda: plain[name](x)
    return _backward(plain[name], x, *{"layer_norm": (weight, bias), "rms_norm": (weight,)}.get(name, ()))


def main(seconds: float, cache: int) -> None:
    """Times what is asked for, one after the other."""
    found: list[float | None] = []
    flush = torch.zeros(cache // 4, device=DEVICE)
    for kernel, sizes, dtype in json.load(sys.stdin):
        call = counterpart(kernel, tuple(sizes), getattr(torch, dtype))
        found.append(None if call is None else statistics.median(gpu_clock.alone(torch.cuda, call, flush.zero_, seconds)))
    print(json.dumps(found))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
