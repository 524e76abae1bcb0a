"""Kernels for CUDA. What is not listed runs as the reference does, on CuPy arrays."""

from __future__ import annotations

KERNELS: dict[str, str] = {
    "adamw_steps": ".optim:adamw_steps",
    "add_dropout": ".dropout:add_dropout",
    "dropout": ".dropout:dropout",
    "ema_steps": ".optim:ema_steps",
    "group_norm": ".norm:group_norm",
    "group_norm_backward": ".norm:group_norm_backward",
    "layer_norm": ".norm:layer_norm",
    "layer_norm_backward": ".norm:layer_norm_backward",
    "linear": ".matmul:linear",
    "lion_steps": ".optim:lion_steps",
    "log_softmax": ".softmax:log_softmax",
    "log_softmax_backward": ".softmax:log_softmax_backward",
    "matmul": ".matmul:matmul",
    "philox": ".random:philox",
    "rms_norm": ".norm:rms_norm",
    "rms_norm_backward": ".norm:rms_norm_backward",
    "scale_steps": ".optim:scale_steps",
    "sgd_steps": ".optim:sgd_steps",
    "softmax": ".softmax:softmax",
    "softmax_backward": ".softmax:softmax_backward",
    "sums_of_squares": ".optim:sums_of_squares",
}
