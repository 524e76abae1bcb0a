"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import create, dtypes
from ..errors import ArgumentError, ShapeError
from ..graph import state
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module
from .parameter import Parameter


class _NormBase(Module):
    """What batch and instance norms share: affine parameters and running statistics."""

    ranks: ClassVar[tuple[int, ...]]  # of the inputs
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def _setup(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        made = {"device": device, "dtype": dtype}
        self.register_parameter("weight", new_parameter(num_features, **made) if affine else None)
        self.register_parameter("bias", new_parameter(num_features, **made) if affine else None)
        self.register_buffer("running_mean", create.zeros(num_features, **made) if track_running_stats else None)
        self.register_buffer("running_var", create.ones(num_features, **made) if track_running_stats else None)
        counter = create.zeros((), dtype=dtypes.int64, device=device)
        self.register_buffer("num_batches_tracked", counter if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1, no batches."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and no statistics."""
        self.reset_running_stats()
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {input.shape}",
                why=f"it takes {' or '.join(str(r) for r in self.ranks)} dimensions",
                fix="add or remove the batch dimension, or use the layer of the right dimensions",
            )

    def _count_batch(self) -> float:
        """The share of the new statistics, after counting this batch."""
        if self.num_batches_tracked is None or not self.training or state.recomputing:
            return 0.0 if self.momentum is None else self.momentum
        self.num_batches_tracked.array += 1
        self.num_batches_tracked._bump()
        return 1.0 / int(self.num_batches_tracked.array) if self.momentum is None else self.momentum

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._setup(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input: Tensor, activation: str = "none") -> Tensor:
        self._check(input)
        share = self._count_batch()
        batch = self.training or self.running_mean is None
        # in eval mode without statistics the batch's own are used and nothing is written
        tracked = not self.training or (self.track_running_stats and not state.recomputing)
        mean, var = (self.running_mean, self.running_var) if tracked else (None, None)
        return F.batch_norm(input, mean, var, self.weight, self.bias, batch, share, self.eps, activation)


class BatchNorm1d(_BatchNorm):
    """Each feature normalised over the batch (Ioffe and Szegedy, arXiv:1502.03167).

    Shape: (N, C) or (N, C, L). ``momentum`` is the share of the new statistics; None averages over all batches.

    Raises:
        ShapeError: another count of dimensions or features, or a batch of one value to train on.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Each channel normalised over the batch (Ioffe and Szegedy, arXiv:1502.03167).

    Shape: (N, C, H, W). ``momentum`` is the share of the new statistics; None averages over all batches. Called with
    ``activation="relu"`` or ``"relu6"`` it also applies that: the numbers are the same, and training reads and writes less.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> layer = nn.BatchNorm2d(3)
        >>> layer(nyala.randn(2, 3, 4, 4)).shape, int(layer.num_batches_tracked)
        ((2, 3, 4, 4), 1)
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Each channel normalised over the batch: (N, C, D, H, W)."""

    ranks = (5,)


class _InstanceNorm(_NormBase):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._setup(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        single = input.ndim == min(self.ranks)
        x = input.unsqueeze(0) if single else input
        own = self.training or not self.track_running_stats
        share = 0.0 if self.momentum is None else self.momentum
        mean, var = (None, None) if own and state.recomputing else (self.running_mean, self.running_var)
        out = F.instance_norm(x, mean, var, self.weight, self.bias, own, share, self.eps)
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample normalised over its places (Ulyanov et al., arXiv:1607.08022): (N, C, L) or (C, L)."""

    ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample normalised over its places: (N, C, H, W) or (C, H, W)."""

    ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each sample normalised over its places: (N, C, D, H, W) or (C, D, H, W)."""

    ranks = (4, 5)


class LayerNorm(Module):
    """The last dimensions normalised, times weight plus bias (Ba et al., arXiv:1607.06450).

    Args:
        normalized_shape: the lengths of the last dimensions, one number or several.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias, of ``normalized_shape``.
        bias: whether there is a bias besides the weight.

    Raises:
        ShapeError: the input does not end in ``normalized_shape``.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.LayerNorm(4)(nyala.tensor([[1.0, 2.0, 3.0, 4.0]]))
        tensor([[-1.3416, -0.4472,  0.4472,  1.3416]], grad_fn=<LayerNormBackward>)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        made = {"device": device, "dtype": dtype}
        self.register_parameter("weight", new_parameter(*self.normalized_shape, **made) if elementwise_affine else None)
        self.register_parameter("bias", new_parameter(*self.normalized_shape, **made) if elementwise_affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """The last dimensions divided by their root mean square, times weight (Zhang and Sennrich, arXiv:1910.07467).

    ``eps`` is the dtype's own where it is None.
    """

    weight: Parameter | None

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        weight = new_parameter(*self.normalized_shape, device=device, dtype=dtype) if elementwise_affine else None
        self.register_parameter("weight", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Groups of channels of each sample normalised together (Wu and He, arXiv:1803.08494): (N, C, ...).

    Raises:
        ArgumentError: ``num_groups`` does not divide ``num_channels``.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels in {num_groups} groups", fix="choose a divisor")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.register_parameter("weight", new_parameter(num_channels, device=device, dtype=dtype) if affine else None)
        self.register_parameter("bias", new_parameter(num_channels, device=device, dtype=dtype) if affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LocalResponseNorm(Module):
    """Each channel divided by a power of the energy of its neighbours (Krizhevsky et al., 2012): (N, C, ...)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
