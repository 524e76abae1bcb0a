"""Cross-entropy of where an answer begins and ends, and how often the answer that is found is right."""

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
from ....core.ops.shape import stack
from ....core.tensor import Tensor
from ....text.pipelines.answering import Answer, likeliest
from ....text.scores.answers import judged
from ...data.asking import ASKED, USABLE, Asked
from ...data.batches import Batch
from ..evaluate import eval_mode
from .base import Objective

_NEVER = -1e9  # the logit of a token that cannot be an end: those of the question, and padding


@dataclass(frozen=True)
class Answers(Objective):
    """The answer's first and last token are each told from all tokens of the window; the first token of a window without an
    answer stands for both (Devlin et al., section 4.3). All windows count alike.

    Attributes:
        no_answer: "no answer" is an answer too.
    """

    metrics: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    no_answer: bool = False
    classes: int = 0

    def outputs(self, model: Module, inputs: Any) -> Tensor:
        """The logits of being the first and the last token, (windows, 2, T)."""
        given = {name: value for name, value in inputs.items() if name not in (ASKED, USABLE)}
        found = model(**given)
        both = stack([found.start_logits, found.end_logits], 1).float()
        return both.masked_fill(~inputs[USABLE].to(both.device).unsqueeze(1), _NEVER)

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (windows, 2, T).
            targets: int64 (windows, 2), the first and the last token.
            reduction: "sum" or "none".
        """
        targets = targets.to(outputs.device)
        each = F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), reduction=reduction) / 2
        return each if reduction == "sum" else each.reshape(-1, 2).sum(1)

    def count(self, targets: Tensor) -> float:
        return float(targets.shape[0])

    def correct(self, outputs: Tensor, labels: np.ndarray) -> int:
        """Windows with both ends right."""
        return int((outputs.detach().numpy().argmax(-1) == labels).all(-1).sum())

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> AnswerResult:
        losses: list[float] = []
        found: list[Answer] = []
        asked: list[Asked] = []
        with eval_mode(model), no_grad():
            for batch in batches:
                questions = batch.inputs[ASKED]
                logits = self._by_parts(model, batch.inputs, len(batch))
                each = iter(self.loss(from_numpy(logits), from_numpy(batch.labels), "none").numpy().astype(np.float64))
                rows = iter(logits)
                for one in questions:
                    losses.append(float(np.mean([next(each) for _ in one.windows])))
                    ends = [next(rows)[:, : len(window.ids)].astype(np.float64) for window in one.windows]
                    found.append(likeliest(one.question.context, one.windows, ends, self.no_answer))
                asked += questions
        return AnswerResult(np.array(losses), found, [[text for text, _ in one.question.answers] for one in asked])

    def _by_parts(self, model: Module, inputs: Any, size: int) -> np.ndarray:
        """The outputs of all windows, as many at once as there are questions: long texts take no more memory than short ones."""
        tensors = {name: value for name, value in inputs.items() if name != ASKED}
        count = len(tensors[USABLE])
        parts = [{name: value[i : i + size] for name, value in tensors.items()} for i in range(0, count, size)]
        return np.concatenate([self.outputs(model, part).numpy() for part in parts])


@dataclass(frozen=True)
class AnswerResult:
    """What an evaluation found.

    Attributes:
        losses: of each question, the mean over its windows, in nats, float64 (N,).
        found: the answers.
        right: for each question the answers that are right; none where its text has none.
    """

    losses: np.ndarray
    found: list[Answer]
    right: list[list[str]]

    @property
    def samples(self) -> int:
        return len(self.found)

    @cached_property
    def judged(self) -> np.ndarray:
        """(exact match, F1) of each question, float64 (N, 2)."""
        return np.array([judged(one.text, right) for one, right in zip(self.found, self.right, strict=True)]).reshape(-1, 2)

    def record(self) -> dict[str, float]:
        """Loss in nats an end, and the shares of exact matches and of words in common, as SQuAD counts them."""
        return self.resampled(np.ones(self.samples))

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the questions weighted by ``times``."""
        total = max(1.0, float(times.sum()))
        exact, f1 = (times @ self.judged) / total
        return {"loss": float(times @ self.losses) / total, "exact_match": float(exact), "f1": float(f1)}

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:
        """The surest wrong answers, then the surest right ones."""
        f1, sure = self.judged[:, 1], np.array([one.score for one in self.found])
        order = np.argsort(-sure, kind="stable")
        chosen = [*order[f1[order] < 1][:count], *order[f1[order] == 1][:count]]
        return [
            {
                "index": int(i),
                "label": self.right[i][0] if self.right[i] else _NONE,
                "predicted": (self.right[i] or [_NONE])[0] if f1[i] == 1 else self.found[i].text or _NONE,
                "probability": self.found[i].score,
                "text": f"{inputs[i].question}\n{inputs[i].context}",
            }
            for i in chosen
        ]

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each question its answer, the right ones, and the scores."""
        for i, (one, right, (exact, f1)) in enumerate(zip(self.found, self.right, self.judged, strict=True)):
            yield {"index": i, **vars(one), "answers": right, "exact_match": float(exact), "f1": float(f1)}


_NONE = "(no answer)"
