"""Classes, learnt from labels and from another model's answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....core.nn import functional as F
from ....core.ops.shape import cat
from ....core.tensor import Tensor
from .classes import Classes


@dataclass(frozen=True)
class Distilled(Classes):
    """Cross-entropy of the labels, and how far the model's probabilities are from the teacher's (Hinton, Vinyals, Dean,
    "Distilling the knowledge in a neural network", arXiv:1503.02531): ``(1 - share) CE + share T^2 KL(teacher || model)``.

    Attributes:
        teacher: prepared inputs -> logits (N, K); no graph is recorded.
        share: of the loss, the teacher's part.
        temperature: T, by which both models' logits are divided.
    """

    teacher: Callable[[Any], Tensor] | None = None
    share: float = 0.7
    temperature: float = 4.0

    def outputs(self, model: Any, inputs: Any) -> Tensor:
        """The model's logits (N, K), and in training the teacher's beside them, (N, 2 K)."""
        logits = super().outputs(model, inputs)
        if not model.training or self.teacher is None:
            return logits
        with no_grad():
            taught = self.teacher(inputs)
        return cat([logits, taught.to(logits.dtype)], 1)

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base; ``outputs`` may have the teacher's logits behind the model's."""
        if outputs.shape[1] == self.classes:
            return super().loss(outputs, targets, reduction)
        logits, taught = outputs[:, : self.classes], outputs[:, self.classes :].detach()
        hard = super().loss(logits, targets, "none")
        told = F.log_softmax(taught / self.temperature, 1)
        soft = (told.exp() * (told - F.log_softmax(logits / self.temperature, 1))).sum(1) * self.temperature**2
        if self.weights is not None and targets.ndim == 1:  # samples count as much here as there
            soft = soft * from_numpy(self.weights[targets.numpy()]).to(soft.device)
        total = hard * (1 - self.share) + soft * self.share
        return total.sum() if reduction == "sum" else total

    def correct(self, outputs: Tensor, labels: Any) -> int:
        return super().correct(outputs[:, : self.classes], labels)
