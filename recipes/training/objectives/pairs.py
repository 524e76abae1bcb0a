"""Texts that belong together are brought close and all others apart, and measured by finding each text's own partner.

The loss is that of van den Oord et al. (2018, InfoNCE) with the other texts of the batch as negatives, as sentence-transformers'
``MultipleNegativesRankingLoss`` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ....hub.results import shortened
from ...data.batches import Batch
from ..evaluate import eval_mode, log_softmax
from .base import Objective

_ROWS = 512  # anchors compared with all partners at once


@dataclass(frozen=True)
class Pairs(Objective):
    """Each anchor's partner is to be the nearest of the batch.

    Batches that are accumulated are no larger batch here: each has only its own texts as negatives.

    Attributes:
        pooling: (N, T, D) vectors of tokens and their mask -> (N, D).
        scale: what cosines are multiplied by, the inverse of a temperature.
    """

    metrics: ClassVar[tuple[str, ...]] = ("mrr", "accuracy", "recall_at_10")
    pooling: Callable[[Tensor, Tensor], Tensor]
    scale: float = 20.0
    classes: int = 0

    def embed(self, model: Module, tokens: dict[str, Tensor]) -> Tensor:
        """Vectors of length 1, (N, D)."""
        hidden = model(**tokens).last_hidden_state
        return F.normalize(self.pooling(hidden, tokens["attention_mask"]), dim=-1)

    def outputs(self, model: Module, inputs: Any) -> Tensor:
        """Scaled cosines of all anchors with all partners: (N, N)."""
        return self.embed(model, inputs["anchor"]) @ self.embed(model, inputs["positive"]).T * self.scale

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: (N, N), anchors by partners.
            targets: int64 (N,), which partner is each anchor's own.
            reduction: "sum" or "none".
        """
        return F.cross_entropy(outputs, targets.to(outputs.device), reduction=reduction)

    def count(self, targets: Tensor) -> float:
        return float(targets.shape[0])

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> PairResult:
        anchors, partners = [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                anchors.append(self.embed(model, batch.inputs["anchor"]).numpy().copy())
                partners.append(self.embed(model, batch.inputs["positive"]).numpy().copy())
        return PairResult.of(np.concatenate(anchors), np.concatenate(partners), self.scale)


@dataclass(frozen=True)
class PairResult:
    """What an evaluation of pairs found: each anchor looks for its partner among those of all samples.

    Attributes:
        ranks: how many other partners are nearer to the anchor than its own, int64 (N,); of equally near ones those before it.
        nearest: the partner it takes for its own, int64 (N,).
        cosines: with its own, float64 (N,).
        losses: of each anchor among all, float64 (N,).
    """

    ranks: np.ndarray
    nearest: np.ndarray
    cosines: np.ndarray
    losses: np.ndarray

    @staticmethod
    def of(anchors: np.ndarray, partners: np.ndarray, scale: float) -> PairResult:
        """Compares all with all.

        Args:
            anchors, partners: vectors of length 1, float32 (N, D); row i belongs to row i.
            scale: what cosines are multiplied by in the loss.
        """
        every = partners.astype(np.float64).T
        ranks, nearest, cosines, losses = [], [], [], []
        for start in range(0, len(anchors), _ROWS):
            found = anchors[start : start + _ROWS].astype(np.float64) @ every
            rows = np.arange(len(found))
            own = found[rows, start + rows]
            before = (found == own[:, None]) & (np.arange(found.shape[1]) < (start + rows)[:, None])
            ranks.append((found > own[:, None]).sum(1) + before.sum(1))
            nearest.append(found.argmax(1))
            cosines.append(own)
            losses.append(-log_softmax(found * scale)[rows, start + rows])
        return PairResult(*map(np.concatenate, (ranks, nearest, cosines, losses)))

    @property
    def samples(self) -> int:
        return len(self.ranks)

    def record(self) -> dict[str, float]:
        """Loss; share of partners found first and among the first ten; mean of 1 / place (over the first ten, as MRR@10)."""
        return {name: float(values.mean()) for name, values in self._each().items()}

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the anchors weighted by ``times``; what each is compared with stays all partners."""
        return {name: float(times @ values / times.sum()) for name, values in self._each().items()}

    def _each(self) -> dict[str, np.ndarray]:
        places = self.ranks + 1
        return {
            "loss": self.losses,
            "accuracy": places == 1,
            "mrr": np.where(places <= 10, 1 / places, 0.0),
            "recall_at_10": places <= 10,
        }

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:
        """The anchors whose partners were found last, then some that were found at once."""
        worst = [i for i in np.argsort(-self.ranks, kind="stable") if self.ranks[i]][:count]
        found = np.flatnonzero(self.ranks == 0)
        best = found[np.argsort(self.cosines[found], kind="stable")][:count]
        shares = np.exp(-self.losses)
        return [
            {
                "index": int(i),
                "label": shortened(inputs[i].positive, 160),
                "predicted": shortened(inputs[self.nearest[i]].positive, 160),
                "probability": float(shares[i]),
                "text": inputs[i].anchor[:600],
            }
            for i in (*worst, *best)
        ]

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each anchor the place of its partner, the nearest, and the cosine."""
        for i, (rank, nearest, cosine) in enumerate(zip(self.ranks, self.nearest, self.cosines, strict=True)):
            yield {"index": i, "place": int(rank) + 1, "nearest": int(nearest), "cosine": float(cosine)}
