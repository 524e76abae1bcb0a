"""The operations behind the layers, under the names of ``torch.nn.functional``.

Example:
    >>> import nyala
    >>> import nyala.nn.functional as F
    >>> F.relu(nyala.tensor([-1.0, 2.0]))
    tensor([0., 2.])
"""

from __future__ import annotations

from collections.abc import Callable

from ..autocast import in_widest_precision
from ..errors import ShapeError
from ..ops import activation, elementwise
from ..ops.activation import gelu, hardshrink, prelu, relu_squared, softplus, softshrink, softsign, tanhshrink
from ..ops.attention import scaled_dot_product_attention
from ..ops.conv import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from ..ops.ctc import ctc_loss
from ..ops.distance import (
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    pairwise_distance,
    soft_margin_loss,
    triplet_margin_loss,
)
from ..ops.dropout import alpha_dropout, drop_path, dropout, dropout1d, dropout2d, dropout3d
from ..ops.elementwise import sigmoid, tanh
from ..ops.grid import affine_grid, grid_sample
from ..ops.index import embedding, one_hot
from ..ops.linalg import linear
from ..ops.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)
from ..ops.norm import batch_norm, group_norm, instance_norm, layer_norm, local_response_norm, normalize, rms_norm
from ..ops.overlap import dice_loss, focal_loss, sigmoid_focal_loss
from ..ops.pad import fold, pad, unfold
from ..ops.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from ..ops.resample import interpolate, pixel_shuffle, pixel_unshuffle
from ..ops.softmax import glu, gumbel_softmax, log_softmax, softmax, softmin
from ..ops.softmax import log_sigmoid as logsigmoid
from ..tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "affine_grid", "alpha_dropout", "avg_pool1d", "avg_pool2d", "avg_pool3d", "batch_norm", "bilinear",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "celu", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "ctc_loss",
    "dice_loss", "drop_path", "dropout", "dropout1d", "dropout2d", "dropout3d", "elu", "embedding", "focal_loss", "fold",
    "gaussian_nll_loss", "gelu",
    "glu", "grid_sample", "group_norm", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "hinge_embedding_loss",
    "huber_loss", "instance_norm", "interpolate", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear",
    "local_response_norm", "log_softmax", "logsigmoid", "lp_pool1d", "lp_pool2d", "margin_ranking_loss", "max_pool1d",
    "max_pool2d", "max_pool3d", "mish", "mse_loss", "multi_margin_loss", "nll_loss", "normalize", "one_hot", "pad",
    "pairwise_distance", "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu6", "relu_squared",
    "rms_norm", "rrelu", "scaled_dot_product_attention", "selu", "sigmoid", "sigmoid_focal_loss", "silu",
    "smooth_l1_loss", "soft_margin_loss",
    "softmax", "softmin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold", "triplet_margin_loss",
    "unfold", "upsample",
]  # fmt: skip

upsample = interpolate


def _written(input: Tensor, inplace: bool, name: str, compute: Callable[[Tensor], Tensor]) -> Tensor:
    """``compute(input)``, put into the input's own memory where ``inplace``."""
    return input._write(f"{name}_", compute) if inplace else compute(input)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return _written(input, inplace, "relu", elementwise.relu)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """clip(x, 0, 6)."""
    return _written(input, inplace, "relu6", activation.relu6)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x), also called swish."""
    return _written(input, inplace, "silu", elementwise.silu)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x)) (Misra, arXiv:1908.08681)."""
    return _written(input, inplace, "mish", activation.mish)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * clip(x + 3, 0, 6) / 6 (Howard et al., arXiv:1905.02244)."""
    return _written(input, inplace, "hardswish", elementwise.hardswish)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """clip(x + 3, 0, 6) / 6."""
    return _written(input, inplace, "hardsigmoid", elementwise.hardsigmoid)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """The self-normalising activation of Klambauer et al. (arXiv:1706.02515)."""
    return _written(input, inplace, "selu", activation.selu)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where positive, ``negative_slope * x`` elsewhere."""
    return _written(input, inplace, "leaky_relu", lambda t: activation.leaky_relu(t, negative_slope))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al., arXiv:1511.07289)."""
    return _written(input, inplace, "elu", lambda t: activation.elu(t, alpha))


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1)) (Barron, arXiv:1704.07483)."""
    return _written(input, inplace, "celu", lambda t: activation.celu(t, alpha))


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """clip(x, min_val, max_val); no gradient at or beyond the ends."""
    return _written(input, inplace, "hardtanh", lambda t: activation.hardtanh(t, min_val, max_val))


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else ``value``."""
    return _written(input, inplace, "threshold", lambda t: activation.threshold(t, threshold, value))


def rrelu(input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False) -> Tensor:
    """x where positive; elsewhere x times a slope: random in [lower, upper] when training, their mean otherwise."""
    return _written(input, inplace, "rrelu", lambda t: activation.rrelu(t, lower, upper, training))


@in_widest_precision
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[o] @ input2 + bias[o] for each output o.

    Shape: (..., in1) and (..., in2) with weight (out, in1, in2), bias (out,) -> (..., out).

    Raises:
        ShapeError: the inputs do not fit the weight or each other.
    """
    if weight.ndim != 3 or input1.shape[:-1] != input2.shape[:-1] or (input1.shape[-1], input2.shape[-1]) != weight.shape[1:]:
        raise ShapeError(
            f"bilinear: inputs {input1.shape} and {input2.shape}, weight (out, in1, in2) = {weight.shape}",
            why="the inputs must agree but for their last dimensions, which are in1 and in2",
            fix="check the widths of the layers before",
        )
    out, in1, in2 = weight.shape
    first, second = input1.reshape(-1, in1), input2.reshape(-1, in2)
    mixed = (first @ weight.permute(1, 0, 2).reshape(in1, out * in2)).reshape(-1, out, in2)  # (N, out, in2)
    result = (mixed @ second.unsqueeze(-1)).reshape(*input1.shape[:-1], out)
    return result if bias is None else result + bias
