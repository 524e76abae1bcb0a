"""Cross-entropy of the tags of words, and how well whole stretches are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ....text.pipelines.tagging import NO_TAG
from ....text.scores import tags
from ...data.batches import Batch
from .. import scores
from ..evaluate import eval_mode, log_softmax
from .base import Objective


@dataclass(frozen=True)
class Tags(Objective):
    """Each word has one tag; its first token carries it, and every word counts alike.

    Attributes:
        labels: the tags.
        smoothing: share of each target that is spread over all tags.
        weights: float32 (K,), or None where every tag counts alike.
    """

    metrics: ClassVar[tuple[str, ...]] = ("f1", "accuracy", "macro_f1")
    labels: tuple[str, ...]
    smoothing: float = 0.0
    weights: np.ndarray | None = None

    @property
    def classes(self) -> int:  # type: ignore[override]
        """How many tags there are."""
        return len(self.labels)

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (N, T, K).
            targets: int64 (N, T), ``NO_TAG`` where a token carries none.
            reduction: "sum" or "none".
        """
        targets = targets.to(outputs.device)
        weights = None if self.weights is None else from_numpy(self.weights).to(outputs.device)
        found = F.cross_entropy(
            outputs.reshape(-1, self.classes), targets.reshape(-1), weights,
            ignore_index=NO_TAG, label_smoothing=self.smoothing, reduction=reduction,
        )  # fmt: skip
        return found if reduction == "sum" else found.reshape(targets.shape).sum(1)

    def count(self, targets: Tensor) -> float:
        """The words, or the weights of their tags."""
        labels = targets.numpy()
        told = labels[labels != NO_TAG]
        return float(len(told)) if self.weights is None else float(self.weights[told].sum(dtype=np.float64))

    def answers(self, labels: np.ndarray) -> int:
        return int((labels != NO_TAG).sum())

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> TagResult:
        truth, guesses, found = [], [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                logits = np.asarray(self.outputs(model, batch.inputs).numpy(), np.float64)
                for labels, row in zip(batch.labels, logits, strict=True):
                    told = labels != NO_TAG
                    truth.append(labels[told])
                    found.append(log_softmax(row[told]))
                    guesses.append(row[told].argmax(1))
        return TagResult(self.labels, truth, guesses, np.concatenate(found))


@dataclass(frozen=True)
class TagResult:
    """What an evaluation of tags found.

    Attributes:
        tags: names by number.
        truth, guesses: for each text the tags of its words, int64.
        log_probabilities: float64 (words, K), text after text.
    """

    tags: tuple[str, ...]
    truth: list[np.ndarray]
    guesses: list[np.ndarray]
    log_probabilities: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.truth)

    def record(self) -> dict[str, float]:
        """Loss and accuracy over words, F1 over the tags, and precision, recall and F1 of whole stretches."""
        words, guessed = np.concatenate(self.truth), np.concatenate(self.guesses)
        matrix = scores.confusion(words, guessed, len(self.tags))
        loss = float(-self.log_probabilities[np.arange(len(words)), words].mean())
        spans = tags.span_f1(self.named(self.truth), self.named(self.guesses))
        return {"loss": loss, "accuracy": scores.accuracy(matrix), "macro_f1": scores.macro_f1(matrix), **spans}

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the texts weighted by ``times``: words of one text are not independent of each other."""
        loss, spans, confusions = self._each
        matrix = (times @ confusions).reshape(len(self.tags), len(self.tags))
        true, guessed, both = times @ spans
        found = tags.scores_of(true, guessed, both)
        words = max(1, matrix.sum())
        return {
            "loss": float(times @ loss / words), "accuracy": scores.accuracy(matrix), "macro_f1": scores.macro_f1(matrix), **found
        }  # fmt: skip

    @cached_property
    def _each(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each text: its summed loss (N,), stretches that are there, guessed and right (N, 3), confusions (N, K * K)."""
        right, guess, k = self.named(self.truth), self.named(self.guesses), len(self.tags)
        marked = [(set(tags.spans(a)), set(tags.spans(b))) for a, b in zip(right, guess, strict=True)]
        words = np.concatenate(self.truth)
        losses = np.cumsum(np.append(0.0, -self.log_probabilities[np.arange(len(words)), words]))
        ends = np.cumsum([0, *(len(text) for text in self.truth)])
        confusions = [scores.confusion(a, b, k).ravel() for a, b in zip(self.truth, self.guesses, strict=True)]
        return (
            np.diff(losses[ends]),
            np.array([(len(a), len(b), len(a & b)) for a, b in marked], np.int64).reshape(-1, 3),
            np.array(confusions, np.int64).reshape(-1, k * k),
        )

    def named(self, numbers: list[np.ndarray]) -> list[list[str]]:
        """Tags by name."""
        return [[self.tags[k] for k in text] for text in numbers]

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:
        """Texts with missed or invented stretches, the most first; then texts where all were found."""
        right, guess = self.named(self.truth), self.named(self.guesses)
        wrong = np.array([len(set(tags.spans(a)) ^ set(tags.spans(b))) for a, b in zip(right, guess, strict=True)])
        marked = np.array([bool(tags.spans(a)) for a in right])
        bad = [i for i in np.argsort(-wrong, kind="stable") if wrong[i]][:count]
        good = [int(i) for i in np.flatnonzero((wrong == 0) & marked)][:count]
        ends = np.cumsum([len(text) for text in self.truth])
        best = self.log_probabilities.max(1)
        return [
            {
                "index": int(i),
                "label": _told(inputs[i].words, right[i]),
                "predicted": _told(inputs[i].words, guess[i]),
                "probability": float(np.exp(best[ends[i] - len(right[i]) : ends[i]].mean())),
                "text": " ".join(inputs[i].words),
            }
            for i in (*bad, *good)
        ]

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each text its tags and the predicted ones; words behind the longest input have none."""
        for i, (right, guess) in enumerate(zip(self.named(self.truth), self.named(self.guesses), strict=True)):
            yield {"index": i, "tags": right, "predicted_tags": guess}


def _told(words: Sequence[str], named: Sequence[str]) -> str:
    """The stretches of a text in words.

    Example:
        >>> _told(["Ada", "slept", "in", "Oslo"], ["B-PER", "O", "O", "B-LOC"])
        'Ada: PER, Oslo: LOC'
    """
    return ", ".join(f"{' '.join(words[a:b])}: {kind}" for kind, a, b in tags.spans(named)) or "nothing"
