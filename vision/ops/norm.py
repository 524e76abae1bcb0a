"""Batch norms that are part of the weights: detectors keep the statistics that their backbone was trained with."""

from __future__ import annotations

from ...core import nn
from ...core.create import ones, zeros
from ...core.nn import functional as F
from ...core.tensor import Tensor


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics, weight and bias: all four are buffers, in training too.

    Shape: (N, num_features, H, W). Called with ``activation="relu"`` it also applies that.

    Example:
        >>> import nyala
        >>> layer = FrozenBatchNorm2d(3)
        >>> layer(nyala.randn(2, 3, 4, 4)).shape, sorted(layer.state_dict()), list(layer.parameters())
        ((2, 3, 4, 4), ['bias', 'running_mean', 'running_var', 'weight'], [])
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps
        for name, made in (("weight", ones), ("bias", zeros), ("running_mean", zeros), ("running_var", ones)):
            self.register_buffer(name, made(num_features))

    def forward(self, input: Tensor, activation: str = "none") -> Tensor:
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps, activation)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


def freeze_batch_norms(module: nn.Module) -> nn.Module:
    """Put a :class:`FrozenBatchNorm2d` with the same numbers in the place of every ``BatchNorm2d`` in ``module``; returns it.

    Example:
        >>> from nyala import nn
        >>> freeze_batch_norms(nn.Sequential(nn.BatchNorm2d(3)))[0]
        FrozenBatchNorm2d(3, eps=1e-05)
    """
    for name, child in list(module.named_modules()):
        if isinstance(child, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(child.num_features, child.eps)
            frozen.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            module.set_submodule(name, frozen)
    return module
