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
    "linear_bf16": ".quantized:linear_bf16",
    "linear_bf16_both": ".quantized:linear_bf16_both",
    "linear_int8": ".quantized:linear_int8",
    "linear_int8_both": ".quantized:linear_int8_both",
    "lion_steps": ".optim:lion_steps",
    "log_softmax": ".softmax:log_softmax",
    "log_softmax_backward": ".softmax:log_softmax_backward",
    "matmul": ".matmul:matmul",
    "max_pool": ".pool:max_pool",
    "philox": ".random:philox",
    "rms_norm": ".norm:rms_norm",
    "rms_norm_backward": ".norm:rms_norm_backward",
    "scale_steps": ".optim:scale_steps",
    "scatter_planes": ".pool:scatter_planes",
    "sgd_steps": ".optim:sgd_steps",
    "softmax": ".softmax:softmax",
    "softmax_backward": ".softmax:softmax_backward",
    "sums_of_squares": ".optim:sums_of_squares",
}
