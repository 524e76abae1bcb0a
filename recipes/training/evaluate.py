"""Runs a model over a dataset without a graph: probabilities, loss and scores. The model's modes are put back afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.autograd import no_grad
from ...core.nn import Module
from ..data.batches import Batch
from . import scores


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        labels: true classes, int64 (N,).
        log_probabilities: float64 (N, K); the exponentials of a row sum to 1.
        loss: mean cross-entropy in nats.
        matrix: counts of (true, predicted), (K, K).
    """

    labels: np.ndarray
    log_probabilities: np.ndarray
    loss: float
    matrix: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """float64 (N, K), rows sum to 1."""
        return np.exp(self.log_probabilities)

    def record(self) -> dict[str, float]:
        """The scores as they go into the metrics."""
        return {"loss": self.loss, "accuracy": scores.accuracy(self.matrix), "macro_f1": scores.macro_f1(self.matrix)}

    @property
    def samples(self) -> int:
        """How many samples were looked at."""
        return len(self.labels)

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each sample its label, the prediction, and the probability of both."""
        for i, (label, row) in enumerate(zip(self.labels, self.probabilities, strict=True)):
            k = int(row.argmax())
            yield {"index": i, "label": int(label), "predicted": k, "probability": float(row[k]), "of_label": float(row[label])}


def evaluate(model: Module, batches: Iterable[Batch], classes: int) -> Evaluation:
    """Evaluates ``model`` on every batch.

    Args:
        model: any model whose output is logits, or has them as ``.logits``.
        batches: of the part to evaluate, unshuffled.
        classes: K.
    """
    labels, logits = [], []
    with eval_mode(model), no_grad():
        for batch in batches:
            labels.append(batch.labels)
            logits.append(np.asarray(logits_of(apply(model, batch.inputs)).numpy(), np.float64))
    truth, raw = np.concatenate(labels), np.concatenate(logits)
    log_probabilities = log_softmax(raw)
    loss = float(-log_probabilities[np.arange(len(truth)), truth].mean())
    matrix = scores.confusion(truth, raw.argmax(1), classes)
    return Evaluation(truth, log_probabilities, loss, matrix)


def apply(model: Module, inputs: Any) -> Any:
    """Calls the model on a Tensor, or on named ones."""
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


def logits_of(output: Any) -> Any:
    """A model returns its logits, or a dataclass that has them."""
    return getattr(output, "logits", output)


def log_softmax(raw: np.ndarray) -> np.ndarray:
    """Logits (N, K) -> the logarithms of probabilities."""
    shifted = raw - raw.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


@contextmanager
def eval_mode(model: Module) -> Iterator[None]:
    """``eval()`` for the block; then each module has the mode it had, frozen batch norms included."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
