"""The loss of a decoder that is told what it has to write so far."""

from __future__ import annotations

import numpy as np

from ....core.nn import functional as F
from ....core.tensor import Tensor
from ...data.speech import UNTOLD
from .base import Objective


class ToldTokens(Objective):
    """Each token is told from what is read and the tokens before it; all count alike.

    Attributes:
        smoothing: share of each target that is spread over the vocabulary.
    """

    smoothing: float = 0.0

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (N, T, vocabulary).
            targets: int64 (N, T), the token that follows at each place, or ``UNTOLD``.
            reduction: "sum" or "none".
        """
        targets = targets.to(outputs.device)
        found = F.cross_entropy(
            outputs.reshape(-1, outputs.shape[-1]),
            targets.reshape(-1),
            ignore_index=UNTOLD,
            label_smoothing=self.smoothing,
            reduction=reduction,
        )
        return found if reduction == "sum" else found.reshape(targets.shape).sum(1)

    def count(self, targets: Tensor) -> float:
        """The tokens, with the end of each text."""
        return float(self.answers(targets.numpy()))

    def answers(self, labels: np.ndarray) -> int:
        return int((labels != UNTOLD).sum())
