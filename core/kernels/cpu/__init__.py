"""Kernels for the CPU: NumPy's own loops where they are good, Numba where they are not."""

from __future__ import annotations

from .running.memory import keep_freed_memory

_UFUNCS = [
    "log2", "log10", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sinh", "cosh", "floor", "ceil",
    "trunc",
]  # fmt: skip

# Kernel -> "module:function"; a module with a leading dot is one of these rooms.
KERNELS: dict[str, str] = {name: f"numpy:{name}" for name in _UFUNCS}
KERNELS |= {
    "matmul": ".matrix.matmul:matmul",
    "linear": ".matrix.matmul:linear",
    "power_spectrum": ".signal.spectrum:power_spectrum",
    "layer_norm": ".norm.layer_norm:layer_norm",
    "layer_norm_backward": ".norm.layer_norm:layer_norm_backward",
    "rms_norm": ".norm.layer_norm:rms_norm",
    "rms_norm_backward": ".norm.layer_norm:rms_norm_backward",
    "batch_norm": ".norm.batch_norm:batch_norm",
    "batch_norm_backward": ".norm.batch_norm:batch_norm_backward",
    "batch_norm_scale": ".norm.batch_norm:batch_norm_scale",
    "batch_norm_eval": ".norm.batch_norm:batch_norm_eval",
    "batch_norm_eval_backward": ".norm.batch_norm:batch_norm_eval_backward",
    "group_norm": ".norm.group_norm:group_norm",
    "group_norm_backward": ".norm.group_norm:group_norm_backward",
    "softmax": ".norm.softmax:softmax",
    "softmax_backward": ".norm.softmax:softmax_backward",
    "log_softmax": ".norm.softmax:log_softmax",
    "log_softmax_backward": ".norm.softmax:log_softmax_backward",
    "cross_entropy": ".norm.cross_entropy:cross_entropy",
    "cross_entropy_backward": ".norm.cross_entropy:cross_entropy_backward",
    "ctc_loss_backward": ".norm.ctc:ctc_loss_backward",
    "attention": ".attention.attention:attention",
    "attention_backward": ".attention.backward:attention_backward",
    "gated_step": ".decoding.gated:gated_step",
    "rotate": ".attention.positions:rotate",
    "linear_bf16": ".matrix.quantized:linear_bf16",
    "linear_bf16_both": ".matrix.quantized:linear_bf16_both",
    "linear_int4": ".matrix.quantized:linear_int4",
    "linear_int8": ".matrix.quantized:linear_int8",
    "linear_int8_both": ".matrix.quantized:linear_int8_both",
    "attention_weights": ".norm.softmax:attention_weights",
    "attention_weights_backward": ".norm.softmax:attention_weights_backward",
    "philox": ".elementwise.philox:philox",
    "dropout": ".elementwise.philox:dropout",
    "add_rows": ".elementwise.index:add_rows",
    "take_rows": ".elementwise.index:take_rows",
    "adamw_steps": ".optim.optim:adamw_steps",
    "sgd_steps": ".optim.optim:sgd_steps",
    "lion_steps": ".optim.optim:lion_steps",
    "lamb_step": ".optim.optim:lamb_step",
    "muon_step": ".optim.optim:muon_step",
    "adafactor_step": ".optim.optim:adafactor_step",
    "ema_steps": ".optim.optim:ema_steps",
    "scale_steps": ".optim.optim:scale_steps",
    "sums_of_squares": ".optim.optim:sums_of_squares",
    "conv_forward": ".conv.conv:conv_forward",
    "conv_input_grad": ".conv.conv:conv_input_grad",
    "conv_weight_grad": ".conv.conv:conv_weight_grad",
    "max_pool": ".signal.pool:max_pool",
    "scatter_planes": ".signal.pool:scatter_planes",
    "resample": ".signal.resample:resample",
    "look_up_planes": ".signal.look_up_planes:look_up_planes",
    "filter_taps": ".signal.filter_taps:filter_taps",
    "resample_bytes": ".signal.resample_bytes:resample_bytes",
    "warp_bytes": ".signal.warp_bytes:warp_bytes",
}

_ELEMENTWISE = {
    "cast": ("cast",),
    "extremes": ("amax", "amin", "argmax", "argmin"),
    "reduce": ("mean", "sum", "var"),
    "arithmetic": ("add", "maximum", "minimum", "multiply", "power_number", "subtract", "true_divide"),
    "elementwise": (
        "erf", "exp", "expm1", "log", "log1p", "rsqrt", "sigmoid", "sigmoid_backward", "sqrt", "tanh", "tanh_backward",
    ),
    "gelu": ("gelu", "gelu_backward", "mish", "mish_backward", "silu", "silu_backward", "softplus", "softplus_backward"),
    "gates": (
        "clip", "elu", "elu_backward", "hardsigmoid", "hardsigmoid_backward", "hardswish", "hardswish_backward",
        "hardtanh_backward", "leaky_relu", "leaky_relu_backward", "prelu", "prelu_backward", "relu", "relu_backward",
    ),
}  # fmt: skip
KERNELS |= {name: f".elementwise.{file}:{name}" for file, names in _ELEMENTWISE.items() for name in names}

keep_freed_memory()  # before the first large array: what is freed until then went back to the system
