"""Layers with a low-rank addition to their weight: what ``nn.lora.attach`` turns Linear, Conv and Embedding layers into.

A layer is changed where it stands: it keeps its identity, its hooks, and the names ``weight`` and ``bias``, so weights are
loaded, saved and chosen by pattern as before. What is added has PEFT's names: ``lora_A``, ``lora_B``,
``lora_magnitude_vector``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from .. import dtypes, random
from ..autograd import no_grad
from ..errors import ArgumentError, GradError
from ..graph import state
from ..ops.elementwise import sqrt
from ..ops.reduce import sum as sum_
from ..tensor import Tensor
from . import functional as F
from . import init
from .conv import Conv1d, Conv2d, Conv3d
from .dropout import Dropout
from .embedding import Embedding
from .linear import Linear, new_parameter
from .module import Module
from .parameter import Parameter

# Mixed into a layer class, whose forward ``super()`` then means; the base is there for the type checker alone.
_Layer: Any = Module if TYPE_CHECKING else object


class Adapted(_Layer):
    """What all adapted layers share.

    y = W x + scaling * B A x (Hu et al., arXiv:2106.09685). With ``lora_magnitude_vector`` m (DoRA, Liu et al.,
    arXiv:2402.09353) the weight is m * V / |V|, V = W + scaling * B A, where the norms over each output's weights count as
    constants in the backward pass, as in the paper's section 4.3.

    Attributes:
        lora_rank: rows of A.
        lora_alpha: the numerator of the scaling.
        lora_rslora: the scaling is alpha / sqrt(rank) (Kalajdzievski, arXiv:2312.03732) and not alpha / rank.
        lora_kept: while merged, the array that the weight had before; else None.
    """

    parts: ClassVar[tuple[str, ...]] = ("lora_A", "lora_B", "lora_dropout", "lora_magnitude_vector")
    plain: ClassVar[type[Module]]
    lora_rank: int
    lora_alpha: float
    lora_rslora: bool
    lora_kept: Any

    @property
    def lora_scaling(self) -> float:
        """What B A is multiplied by."""
        return self.lora_alpha / (math.sqrt(self.lora_rank) if self.lora_rslora else self.lora_rank)

    def lora_delta(self) -> Tensor:
        """scaling * B A in the weight's shape."""
        raise NotImplementedError

    def lora_low(self, input: Tensor) -> Tensor:
        """scaling * B A x, by way of the few values A x."""
        raise NotImplementedError

    def lora_weighted(self, input: Tensor) -> Tensor:
        """W x, without the bias."""
        raise NotImplementedError

    def lora_norm(self, weight: Tensor) -> Tensor:
        """The length of each output's weights, in the shape of ``lora_magnitude_vector``."""
        raise NotImplementedError

    def lora_along(self, factor: Tensor) -> Tensor:
        """One factor an output, in the shape that multiplies the output."""
        return factor

    def lora_across(self, factor: Tensor) -> Tensor:
        """One factor an output, in the shape that multiplies the weight."""
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        if self.lora_kept is not None:
            return self._merged_forward(input)
        if self.lora_magnitude_vector is None:
            result = super().forward(input)
            return result + self.lora_low(self.lora_dropout(input))
        factor = self.lora_along(self._factor())
        dropped = self.lora_dropout(input)
        if dropped is input:
            result = factor * (self.lora_weighted(input) + self.lora_low(input))
            bias = getattr(self, "bias", None)
            return result if bias is None else result + self.lora_along(bias)
        # the weight itself sees the whole input, what the adapter changes sees what dropout leaves
        return super().forward(input) + (factor - 1) * self.lora_weighted(dropped) + factor * self.lora_low(dropped)

    def _merged_forward(self, input: Tensor) -> Tensor:
        if self.training and state.grad:
            raise GradError(
                f"{type(self).__name__} in training mode while its adapter is merged",
                why="no gradient would reach the adapter",
                fix="call unmerge() before training goes on",
            )
        return super().forward(input)

    def _factor(self) -> Tensor:
        """m / |V|."""
        with no_grad():
            norm = self.lora_norm(self.weight + self.lora_delta())
        return self.lora_magnitude_vector / norm

    def lora_merged(self) -> Tensor:
        """The weight with the adapter in it."""
        with no_grad():
            merged = self.weight + self.lora_delta()
            return merged if self.lora_magnitude_vector is None else self.lora_across(self._factor()) * merged


class LoraLinear(Adapted, Linear):
    """A Linear with an adapter: lora_A (rank, in_features), lora_B (out_features, rank), magnitude (out_features,)."""

    plain = Linear

    def lora_fill(self, rank: int, key: random.Key | None) -> None:
        made = {"device": self.weight.device, "dtype": self.weight.dtype}
        with init.skip_random():
            self.lora_A = Linear(self.in_features, rank, bias=False, **made)
            self.lora_B = Linear(rank, self.out_features, bias=False, **made)
        init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5), generator=key)
        init.zeros_(self.lora_B.weight)

    def lora_delta(self) -> Tensor:
        return (self.lora_B.weight @ self.lora_A.weight) * self.lora_scaling

    def lora_low(self, input: Tensor) -> Tensor:
        return self.lora_B(self.lora_A(input)) * self.lora_scaling

    def lora_weighted(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight)

    def lora_norm(self, weight: Tensor) -> Tensor:
        return sqrt(sum_(weight * weight, 1))

    def lora_across(self, factor: Tensor) -> Tensor:
        return factor.reshape(-1, 1)


class _LoraConv(Adapted):
    """A convolution with an adapter: lora_A has the layer's kernel and ``rank`` outputs, lora_B is 1 wide."""

    function: ClassVar[Callable[..., Tensor]]

    def lora_fill(self, rank: int, key: random.Key | None) -> None:
        made = {"bias": False, "device": self.weight.device, "dtype": self.weight.dtype}
        with init.skip_random():
            self.lora_A = self.plain(
                self.in_channels, rank, self.kernel_size, self.stride, self.padding, self.dilation,
                padding_mode=self.padding_mode, **made,
            )  # type: ignore[call-arg] # fmt: skip
            self.lora_B = self.plain(rank, self.out_channels, 1, **made)  # type: ignore[call-arg]
        init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5), generator=key)
        init.zeros_(self.lora_B.weight)

    def lora_delta(self) -> Tensor:
        a, b = self.lora_A.weight, self.lora_B.weight
        flat = b.reshape(b.shape[0], -1) @ a.reshape(a.shape[0], -1)
        return flat.reshape(self.weight.shape) * self.lora_scaling

    def lora_low(self, input: Tensor) -> Tensor:
        return self.lora_B(self.lora_A(input)) * self.lora_scaling

    def lora_weighted(self, input: Tensor) -> Tensor:
        return self._convolve(self.function, input, biased=False)

    def lora_norm(self, weight: Tensor) -> Tensor:
        return sqrt(sum_(weight * weight, tuple(range(1, weight.ndim)), keepdim=True)).transpose(0, 1)

    def lora_along(self, factor: Tensor) -> Tensor:
        return factor.reshape(-1, *(1,) * (self.weight.ndim - 2))

    def lora_across(self, factor: Tensor) -> Tensor:
        return factor.transpose(0, 1)


class LoraConv1d(_LoraConv, Conv1d):
    """A Conv1d with an adapter."""

    plain = Conv1d
    function = staticmethod(F.conv1d)


class LoraConv2d(_LoraConv, Conv2d):
    """A Conv2d with an adapter: lora_A (rank, in, kH, kW), lora_B (out, rank, 1, 1), magnitude (1, out, 1, 1)."""

    plain = Conv2d
    function = staticmethod(F.conv2d)


class LoraConv3d(_LoraConv, Conv3d):
    """A Conv3d with an adapter."""

    plain = Conv3d
    function = staticmethod(F.conv3d)


class LoraEmbedding(Adapted, Embedding):
    """An Embedding with an adapter: lora_embedding_A (rank, rows), lora_embedding_B (width, rank), magnitude (width,)."""

    parts = ("lora_embedding_A", "lora_embedding_B", "lora_dropout", "lora_magnitude_vector")
    plain = Embedding

    def lora_fill(self, rank: int, key: random.Key | None) -> None:
        made = {"device": self.weight.device, "dtype": self.weight.dtype}
        self.lora_embedding_A = new_parameter(rank, self.num_embeddings, **made)
        self.lora_embedding_B = new_parameter(self.embedding_dim, rank, **made)
        init.zeros_(self.lora_embedding_A)
        init.normal_(self.lora_embedding_B, generator=key)

    def lora_delta(self) -> Tensor:
        return (self.lora_embedding_B @ self.lora_embedding_A).transpose(0, 1) * self.lora_scaling

    def lora_low(self, input: Tensor) -> Tensor:
        rows = F.embedding(input, self.lora_embedding_A.transpose(0, 1), self.padding_idx)
        return (rows @ self.lora_embedding_B.transpose(0, 1)) * self.lora_scaling

    def forward(self, input: Tensor) -> Tensor:
        """Row numbers cannot be dropped, so dropout has no part here, as in PEFT."""
        if self.lora_kept is not None:
            return self._merged_forward(input)
        result = Embedding.forward(self, input) + self.lora_low(input)
        return result if self.lora_magnitude_vector is None else result * self._factor()

    def lora_norm(self, weight: Tensor) -> Tensor:
        return sqrt(sum_(weight * weight, 0))

    def lora_across(self, factor: Tensor) -> Tensor:
        return factor


KINDS: dict[Any, type[Adapted]] = {kind.plain: kind for kind in (LoraLinear, LoraConv1d, LoraConv2d, LoraConv3d, LoraEmbedding)}


def refusal(layer: Module) -> str:
    """Why ``layer`` can have no adapter; empty where it can.

    Example:
        >>> from nyala import nn
        >>> refusal(nn.Linear(2, 2)), refusal(nn.Conv2d(4, 4, 3, groups=4))
        ('', 'its 4 groups of channels have no common low-rank weight')
    """
    kind = KINDS.get(type(layer))
    if kind is None:
        adaptable = ", ".join(plain.__name__ for plain in KINDS)
        return f"{type(layer).__name__} is none of {adaptable}"
    groups = getattr(layer, "groups", 1)
    if groups != 1:
        return f"its {groups} groups of channels have no common low-rank weight"
    return "" if dtypes.is_floating_point(layer.weight.dtype) else f"its weight is {layer.weight.dtype}"


def adapt(
    layer: Module, rank: int, alpha: float, dropout: float, dora: bool, rslora: bool, key: random.Key | None
) -> Adapted:  # fmt: skip
    """Turn ``layer`` into its adapted kind where it stands; it computes what it did before, until the adapter learns.

    Raises:
        ArgumentError: a layer that can have no adapter; see ``refusal``.
    """
    why = refusal(layer)
    if why:
        raise ArgumentError("a layer cannot have an adapter", why=why, fix="leave it out of the targets")
    changed: Any = layer
    changed.__class__ = KINDS[type(layer)]
    changed.lora_rank, changed.lora_alpha, changed.lora_rslora, changed.lora_kept = rank, float(alpha), rslora, None
    changed.lora_dropout = Dropout(dropout).train(changed.training)
    changed.lora_fill(rank, key)
    changed.register_parameter("lora_magnitude_vector", None)
    if dora:
        with no_grad():
            start = changed.lora_norm(changed.weight + changed.lora_delta())
        changed.register_parameter("lora_magnitude_vector", Parameter(start.clone()))
    return changed


def restore(layer: Adapted) -> None:
    """Turn the layer back into what it was, with the weight as it is now."""
    changed: Any = layer
    for name in layer.parts:
        delattr(changed, name)
    for name in ("lora_rank", "lora_alpha", "lora_rslora", "lora_kept"):
        del changed.__dict__[name]
    changed.__class__ = layer.plain
