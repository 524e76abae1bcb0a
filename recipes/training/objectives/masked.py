"""Cross-entropy of hidden tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.create import from_numpy, zeros
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ....text.pipelines.tagging import NO_TAG
from ...data.batches import Batch
from ..evaluate import eval_mode
from .base import Objective


@dataclass(frozen=True)
class HiddenTokens(Objective):
    """Each hidden token is guessed from all around it; all count alike. The head looks at hidden places alone.

    Attributes:
        smoothing: share of each target that is spread over the vocabulary.
    """

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    smoothing: float = 0.0
    classes: int = 0

    def outputs(self, model: Any, inputs: Any) -> Tensor:
        """The logits of the hidden tokens of all samples, (M, vocabulary)."""
        given = dict(inputs)
        places = given.pop("places")
        hidden = model.forward_features(**given)
        chosen = hidden.reshape(-1, hidden.shape[-1])[places]
        return model.forward_head(chosen.unsqueeze(0))[0]

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (M, vocabulary).
            targets: int64 (N, T), ``NO_TAG`` where nothing is hidden; M others.
            reduction: "sum" or "none".
        """
        told = targets.numpy()
        hidden = from_numpy(told[told != NO_TAG]).to(outputs.device)
        found = F.cross_entropy(outputs, hidden, label_smoothing=self.smoothing, reduction=reduction)
        if reduction == "sum":
            return found
        rows = from_numpy(np.nonzero(told != NO_TAG)[0]).to(outputs.device)
        return zeros(told.shape[0], dtype=found.dtype, device=found.device).scatter_add(0, rows, found)

    def count(self, targets: Tensor) -> float:
        return float((targets.numpy() != NO_TAG).sum())

    def answers(self, labels: np.ndarray) -> int:
        return int((labels != NO_TAG).sum())

    def correct(self, outputs: Tensor, labels: np.ndarray) -> int:
        return int((outputs.detach().numpy().argmax(-1) == labels[labels != NO_TAG]).sum())

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> HiddenResult:
        losses, hits, counts = [], [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                outputs = self.outputs(model, batch.inputs)
                each = HiddenTokens().loss(outputs, from_numpy(batch.labels), "none").numpy().astype(np.float64)
                rows, columns = np.nonzero(batch.labels != NO_TAG)
                right = outputs.numpy().argmax(-1) == batch.labels[rows, columns]
                losses.append(each)
                hits.append(np.bincount(rows, right, len(each)))
                counts.append(np.bincount(rows, minlength=len(each)))
        return HiddenResult(np.concatenate(losses), np.concatenate(hits), np.concatenate(counts))


@dataclass(frozen=True)
class HiddenResult:
    """What an evaluation found.

    Attributes:
        losses: of each sample, summed over its hidden tokens, in nats, float64 (N,).
        hits: how many of them were the likeliest, float64 (N,).
        counts: how many tokens were hidden, int64 (N,).
    """

    losses: np.ndarray
    hits: np.ndarray
    counts: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.losses)

    def record(self) -> dict[str, float]:
        """Loss in nats a hidden token, its exponential, and the share of hidden tokens that were the likeliest."""
        return self.resampled(np.ones(self.samples))

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the samples weighted by ``times``."""
        told = max(1.0, float(times @ self.counts))
        loss = float(times @ self.losses) / told
        return {"loss": loss, "accuracy": float(times @ self.hits) / told, "perplexity": math.exp(min(loss, 700.0))}

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:  # noqa: ARG002 - rows of tokens show nothing
        return []

    def predictions(self) -> Iterator[dict[str, Any]]:
        """The loss of each sample, and how much was hidden."""
        for i, (loss, count) in enumerate(zip(self.losses, self.counts, strict=True)):
            yield {"index": i, "loss": float(loss) / max(1, int(count)), "hidden": int(count)}
