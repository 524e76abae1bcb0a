"""Kernels for CUDA. What is not listed runs as the reference does, on CuPy arrays."""

from __future__ import annotations

KERNELS: dict[str, str] = {
    "group_norm": ".norm:group_norm",
    "group_norm_backward": ".norm:group_norm_backward",
    "layer_norm": ".norm:layer_norm",
    "layer_norm_backward": ".norm:layer_norm_backward",
    "rms_norm": ".norm:rms_norm",
    "rms_norm_backward": ".norm:rms_norm_backward",
    "log_softmax": ".softmax:log_softmax",
    "log_softmax_backward": ".softmax:log_softmax_backward",
    "softmax": ".softmax:softmax",
    "softmax_backward": ".softmax:softmax_backward",
}
