"""torch's counterparts of ``kernel_cases.py``: the list on standard input, seconds of each on standard output."""

from __future__ import annotations

import functools
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


def _pool(dtype: torch.dtype, n: int, c: int, side: int) -> Call:
    x = _array(n, c, side, side, dtype=dtype)
    return lambda: F.max_pool2d(x, 3, 2, 1)


def _resample(dtype: torch.dtype, n: int, c: int, side: int) -> Call:
    x = _array(n, c, side, side, dtype=dtype)
    return lambda: F.interpolate(x, scale_factor=2, mode="bilinear")


def _group_norm(dtype: torch.dtype, n: int, c: int, side: int) -> Call:
    x, weight, bias = _array(n, c, side, side, dtype=dtype), _array(c, dtype=dtype), _array(c, dtype=dtype)
    return lambda: F.group_norm(x, min(32, c), weight, bias)


def _power_spectrum(dtype: torch.dtype, n: int, hops: int) -> Call:
    x, window = _array(n, 400 + 160 * hops, dtype=dtype), _array(400, dtype=dtype)
    return lambda: torch.stft(x, 400, 160, window=window, center=False, return_complex=True).abs() ** 2


def _product(dtype: torch.dtype, rows: int, wide: int, n: int) -> Call:
    x, weight = _array(rows, n, dtype=dtype), _array(wide, n, dtype=dtype)
    return lambda: F.linear(x, weight)


def _matmul(dtype: torch.dtype, batch: int, m: int, k: int, n: int) -> Call:
    a, b = _array(batch, m, k, dtype=dtype), _array(batch, k, n, dtype=dtype)
    return lambda: a @ b


def _attention(dtype: torch.dtype, *shape: int) -> Call:
    q, k, v = (_array(*shape, dtype=dtype) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _attention_backward(dtype: torch.dtype, *shape: int) -> Call:
    q, k, v = (_array(*shape, dtype=dtype) for _ in range(3))
    return _backward(lambda q: F.scaled_dot_product_attention(q, k.requires_grad_(), v.requires_grad_(), is_causal=True), q, k, v)


def _one_query(dtype: torch.dtype, n: int, heads: int, shared: int, length: int, width: int) -> Call:
    q, k, v = _array(n, heads, 1, width, dtype=dtype), *(_array(n, shared, length, width, dtype=dtype) for _ in range(2))
    return lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _conv(dtype: torch.dtype, n: int, c: int, side: int, groups: int = 1) -> Call:
    x, weight = (a.contiguous(memory_format=torch.channels_last) for a in _convolved(dtype, n, c, side, groups))
    return lambda: F.conv2d(x, weight, padding=1, groups=groups)


def _convolved(dtype: torch.dtype, n: int, c: int, side: int, groups: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return _array(n, c, side, side, dtype=dtype), _array(c, c // groups, 3, 3, dtype=dtype)


def _conv_grad(of: str, dtype: torch.dtype, n: int, c: int, side: int) -> Call:
    x, weight = (a.contiguous(memory_format=torch.channels_last) for a in _convolved(dtype, n, c, side))
    leaf = (x if of == "input" else weight).requires_grad_()
    out = F.conv2d(x, weight, padding=1)
    grad = torch.ones_like(out)
    return lambda: torch.autograd.grad(out, leaf, grad, retain_graph=True)


def counterpart(kernel: str, sizes: tuple[int, ...], dtype: torch.dtype) -> Call | None:
    """The call, or None where torch has none of one kernel."""
    own: dict[str, Callable[..., Call | None]] = {
        "adamw_steps": _adamw, "cross_entropy_step": _cross_entropy_step, "add_rows": _rows, "linear_bf16": _linear,
        "max_pool": _pool, "resample": _resample, "group_norm": _group_norm, "power_spectrum": _power_spectrum,
        "linear": _product, "matmul": _matmul, "attention": _attention, "attention_backward": _attention_backward,
        "attention_of_one_query": _one_query, "conv_forward": _conv,
        "conv_input_grad": functools.partial(_conv_grad, "input"), "conv_weight_grad": functools.partial(_conv_grad, "weight"),
        "depthwise_conv": lambda dtype, n, c, side: _conv(dtype, n, c, side, groups=c),
    }  # fmt: skip
    if kernel in own:
        return own[kernel](dtype, *sizes)
    plain: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "softmax": lambda x: F.softmax(x, -1),
        "log_softmax": lambda x: F.log_softmax(x, -1),
        "gelu": F.gelu,
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
