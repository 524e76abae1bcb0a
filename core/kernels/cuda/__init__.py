"""Kernels for CUDA. What is not listed runs as the reference does, on CuPy arrays."""

from __future__ import annotations

KERNELS: dict[str, str] = {
    "log_softmax": ".softmax:log_softmax",
    "log_softmax_backward": ".softmax:log_softmax_backward",
    "softmax": ".softmax:softmax",
    "softmax_backward": ".softmax:softmax_backward",
}
