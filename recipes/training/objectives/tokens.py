"""Cross-entropy of the next token, over windows of a corpus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ...data.batches import Batch
from ..evaluate import eval_mode
from .base import Objective


@dataclass(frozen=True)
class NextTokens(Objective):
    """Each token is told from those before it; all count alike.

    Attributes:
        smoothing: share of each target that is spread over the vocabulary.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    smoothing: float = 0.0
    classes: int = 0

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (N, T, vocabulary).
            targets: the tokens themselves, int64 (N, T): place t is told the token at t + 1.
            reduction: "sum" or "none".
        """
        logits, after = outputs[:, :-1], targets.to(outputs.device)[:, 1:]
        found = F.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), after.reshape(-1), label_smoothing=self.smoothing, reduction=reduction
        )
        return found if reduction == "sum" else found.reshape(after.shape).sum(1)

    def count(self, targets: Tensor) -> float:
        return float(targets.shape[0] * (targets.shape[1] - 1))

    def answers(self, labels: np.ndarray) -> int:
        return int(labels.shape[0] * (labels.shape[1] - 1))

    def correct(self, outputs: Tensor, labels: np.ndarray) -> int:
        return int((outputs.detach().numpy()[:, :-1].argmax(-1) == labels[:, 1:]).sum())

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> TokenResult:
        losses, hits = [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                outputs = self.outputs(model, batch.inputs)
                each = NextTokens().loss(outputs, from_numpy(batch.labels), "none").numpy().astype(np.float64)
                told = batch.labels.shape[1] - 1
                losses.append(each / told)
                hits.append((outputs.numpy()[:, :-1].argmax(-1) == batch.labels[:, 1:]).sum(1) / told)
        return TokenResult(np.concatenate(losses), np.concatenate(hits))


@dataclass(frozen=True)
class TokenResult:
    """What an evaluation of a corpus found.

    Attributes:
        losses: of each window, in nats a token, float64 (N,); windows are equally long.
        hits: share of each window's tokens that were the likeliest, float64 (N,).
    """

    losses: np.ndarray
    hits: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.losses)

    def record(self) -> dict[str, float]:
        """Loss in nats a token, its exponential, and the share of tokens that were the likeliest."""
        return self.resampled(np.ones(self.samples))

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the windows weighted by ``times``."""
        loss, hits = (float(times @ values / times.sum()) for values in (self.losses, self.hits))
        return {"loss": loss, "accuracy": hits, "perplexity": math.exp(min(loss, 700.0))}

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:  # noqa: ARG002 - windows have nothing to show
        return []

    def predictions(self) -> Iterator[dict[str, Any]]:
        """The loss of each window."""
        for i, loss in enumerate(self.losses):
            yield {"index": i, "loss": float(loss)}
