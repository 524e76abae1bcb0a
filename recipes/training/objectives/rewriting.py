"""Texts from texts: the loss of each token, and what the model writes by itself beside what it should have written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....text.generation import GenerationConfig, generate
from ....text.scores.rouge import rouge
from ...data.batches import Batch
from ...data.speech import UNTOLD
from ..evaluate import eval_mode
from .told import ToldTokens

_LONGER = 16  # tokens that may be written beyond the longest text of a batch


@dataclass(frozen=True)
class Rewritten(ToldTokens):
    """Encoder-decoders on texts and what is to be written of them; evaluated on what they write by themselves, greedily.

    Attributes:
        tokenizer: of what is written.
        start: what the decoder is told first.
        ends: tokens that end a text.
    """

    metrics: ClassVar[tuple[str, ...]] = ("rouge1", "rouge_l", "accuracy")
    tokenizer: Any
    start: tuple[int, ...]
    ends: tuple[int, ...]
    smoothing: float = 0.0
    classes: int = 0

    def evaluate(self, model: Any, batches: Iterable[Batch]) -> RewriteResult:
        wanted: list[str] = []
        written: list[str] = []
        losses, counts = [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                mask, ids = batch.inputs["attention_mask"], batch.inputs["decoder_input_ids"]
                read = {"encoder_outputs": model.encode(batch.inputs["input_ids"], mask), "attention_mask": mask}
                logits = model(decoder_input_ids=ids, **read)
                plain = Rewritten(self.tokenizer, self.start, self.ends)  # smoothing is for training
                losses.append(plain.loss(logits, from_numpy(batch.labels), "none").numpy().astype(np.float64))
                counts.append((batch.labels != UNTOLD).sum(1))
                config = GenerationConfig(max_new_tokens=batch.labels.shape[1] + _LONGER)
                found = generate(model, [self.start] * len(batch), config, self.ends, **read)
                written += [self.tokenizer.decode(one.tokens).strip() for one in found]
                wanted += [self.tokenizer.decode(row[row != UNTOLD]).strip() for row in batch.labels]
        return RewriteResult(wanted, written, np.concatenate(losses), np.concatenate(counts))


@dataclass(frozen=True)
class RewriteResult:
    """What an evaluation of texts from texts found.

    Attributes:
        wanted, written: what was to be written of each text, and what the model wrote.
        losses: summed over each text, float64 (N,).
        counts: tokens that each loss is a sum of, (N,).
    """

    wanted: list[str]
    written: list[str]
    losses: np.ndarray
    counts: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.wanted)

    @cached_property
    def _scores(self) -> np.ndarray:
        """ROUGE-1, ROUGE-L, and whether both are the same, of each text; (N, 3)."""
        rows = [(*rouge(a, b), a == b) for a, b in zip(self.written, self.wanted, strict=True)]
        return np.array(rows, np.float64).reshape(-1, 3)

    def record(self) -> dict[str, float]:
        """Loss a token, ROUGE-1 and ROUGE-L (F1), and the share of texts that are exactly what they should be."""
        return self.resampled(np.ones(self.samples))

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the texts weighted by ``times``."""
        first, order, same = times @ self._scores / times.sum()
        loss = float(times @ self.losses / max(1.0, times @ self.counts))
        return {"loss": loss, "rouge1": float(first), "rouge_l": float(order), "accuracy": float(same)}

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:
        """The texts with the lowest ROUGE-L, then those with the highest."""
        order = np.argsort(self._scores[:, 1], kind="stable")
        chance = np.exp(-self.losses / np.maximum(1, self.counts))
        best = [i for i in order[::-1][:count] if i not in order[:count]]
        return [
            {
                "index": int(i),
                "label": self.wanted[i],
                "predicted": self.written[i],
                "probability": float(chance[i]),
                "text": getattr(inputs[int(i)], "source", "")[:600],
            }
            for i in (*order[:count], *best)
        ]

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each text what was to be written, what was written, and ROUGE-L."""
        for i, (wanted, written) in enumerate(zip(self.wanted, self.written, strict=True)):
            yield {"index": i, "text": wanted, "predicted_text": written, "rouge_l": float(self._scores[i, 1])}


@dataclass(frozen=True)
class CutTokens(ToldTokens):
    """The tokens of stretches that were cut out; evaluated as they are told, without writing by itself."""

    metrics: ClassVar[tuple[str, ...]] = ("accuracy",)
    smoothing: float = 0.0
    classes: int = 0

    def evaluate(self, model: Any, batches: Iterable[Batch]) -> Any:
        from .masked import HiddenResult

        losses, hits, counts = [], [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                logits = self.outputs(model, batch.inputs)
                losses.append(CutTokens().loss(logits, from_numpy(batch.labels), "none").numpy().astype(np.float64))
                hits.append((logits.numpy().argmax(-1) == batch.labels).sum(1))
                counts.append((batch.labels != UNTOLD).sum(1))
        return HiddenResult(np.concatenate(losses), np.concatenate(hits), np.concatenate(counts))
