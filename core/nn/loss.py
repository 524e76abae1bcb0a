"""Losses as modules. ``reduction`` is "mean", "sum" or "none"."""

from __future__ import annotations

from typing import Any, ClassVar

from ..tensor import Tensor
from . import functional as F
from .module import Module


class _Loss(Module):
    """A loss of an input and a target with settings by keyword."""

    function: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        settings = {name: getattr(self, name) for name in self.settings}
        return getattr(F, self.function)(input, target, reduction=self.reduction, **settings)

    def extra_repr(self) -> str:
        return ", ".join(
            [f"reduction={self.reduction!r}", *(f"{n}={getattr(self, n)}" for n in self.settings if n not in self._buffers)]
        )


class _WeightedLoss(_Loss):
    """A loss with a weight for each class or element, which moves with the module."""

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class L1Loss(_Loss):
    """abs(input - target)."""

    function = "l1_loss"


class MSELoss(_Loss):
    """(input - target) squared."""

    function = "mse_loss"


class SmoothL1Loss(_Loss):
    """Squared below ``beta``, absolute above (Girshick, arXiv:1504.08083)."""

    function, settings = "smooth_l1_loss", ("beta",)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta


class HuberLoss(_Loss):
    """Squared below ``delta``, linear above (Huber, 1964)."""

    function, settings = "huber_loss", ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta


class CrossEntropyLoss(_WeightedLoss):
    """-log softmax(input)[target], from scores and class numbers or class probabilities.

    Shape: input (N, C, ...), target (N, ...) of class numbers or (N, C, ...) of probabilities.

    Args:
        weight: (C,), a factor for each class.
        ignore_index: a class number that does not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: share of the target spread over all classes.

    Raises:
        IndexRangeError: a class number outside 0..C-1; names the sample.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.CrossEntropyLoss()(nyala.zeros(2, 4), nyala.tensor([0, 3]))
        tensor(1.3863)
    """

    function, settings = "cross_entropy", ("weight", "ignore_index", "label_smoothing")

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(weight, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing


class DiceLoss(_Loss):
    """How little the probabilities of each class overlap with its mask; see ``F.dice_loss``.

    Shape: input (N, C, ...), before softmax; target (N, ...) of class numbers.
    """

    function = "dice_loss"
    settings = (
        "include_background", "squared_pred", "jaccard", "smooth_nr", "smooth_dr", "batch", "ignore_index",
    )  # fmt: skip

    def __init__(
        self, include_background: bool = True, squared_pred: bool = False, jaccard: bool = False, reduction: str = "mean",
        smooth_nr: float = 1e-5, smooth_dr: float = 1e-5, batch: bool = False, ignore_index: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(reduction)
        self.include_background, self.squared_pred, self.jaccard = include_background, squared_pred, jaccard
        self.smooth_nr, self.smooth_dr, self.batch, self.ignore_index = smooth_nr, smooth_dr, batch, ignore_index


class FocalLoss(_WeightedLoss):
    """Cross entropy that looks away from what is easy; see ``F.focal_loss``.

    Shape: input (N, C, ...), before softmax; target (N, ...) of class numbers.
    """

    function, settings = "focal_loss", ("gamma", "weight", "ignore_index")

    def __init__(
        self, gamma: float = 2.0, weight: Tensor | None = None, ignore_index: int | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        self.gamma, self.ignore_index = gamma, ignore_index


class NLLLoss(_WeightedLoss):
    """-input[target], from log-probabilities and class numbers."""

    function, settings = "nll_loss", ("weight", "ignore_index")

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities."""

    function, settings = "binary_cross_entropy", ("weight",)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of scores; ``pos_weight`` is a factor for each positive class."""

    function, settings = "binary_cross_entropy_with_logits", ("weight", "pos_weight")

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)


class KLDivLoss(_Loss):
    """target * (log target - input), from log-probabilities; "batchmean" divides by the samples."""

    function, settings = "kl_div", ("log_target",)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target


class PoissonNLLLoss(_Loss):
    """-log of the Poisson distribution with the input as (log) rate."""

    function, settings = "poisson_nll_loss", ("log_input", "full", "eps")

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps


class HingeEmbeddingLoss(_Loss):
    """The input where the target is 1, max(0, margin - input) where it is -1."""

    function, settings = "hinge_embedding_loss", ("margin",)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target * input))."""

    function = "soft_margin_loss"


class MultiMarginLoss(_WeightedLoss):
    """How far other classes come within ``margin`` of the right one."""

    function, settings = "multi_margin_loss", ("p", "margin", "weight")

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.p, self.margin = p, margin


class GaussianNLLLoss(_Loss):
    """-log of the normal distribution with the input as mean and ``var`` as variance."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Any) -> Tensor:  # type: ignore[override]  # a loss of three
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class CosineEmbeddingLoss(_Loss):
    """1 - cosine where the target is 1, max(0, cosine - margin) where it is -1."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]  # a loss of three
        return F.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class MarginRankingLoss(_Loss):
    """max(0, -target * (input1 - input2) + margin)."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]  # a loss of three
        return F.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) with p-norms for d."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:  # type: ignore[override]  # a loss of three
        return F.triplet_margin_loss(anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction)


class CTCLoss(_Loss):
    """-log probability of all alignments of the targets to the frames (Graves et al., 2006); see ``F.ctc_loss``.

    Shape: log_probs (T, N, C), targets (N, S), lengths (N,).
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:  # type: ignore[override]
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity)


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along ``dim``."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
