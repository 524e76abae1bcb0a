"""Speech recognition: the loss of a decoder that is told the text so far, and word error rates of what it writes by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ....audio.ctc.letters import Letters
from ....audio.ctc.paths import greedy
from ....audio.scores import distance, words
from ....audio.whisper.decoding import Limits, Rules, write_all
from ....core.autograd import no_grad
from ....core.create import from_numpy
from ....core.nn import Module
from ....core.nn import functional as F
from ....core.tensor import Tensor
from ...data.batches import Batch
from ...data.speech import UNTOLD
from ..evaluate import eval_mode
from .base import Objective
from .told import ToldTokens

SPEECH_METRICS = ("wer", "cer", "accuracy")
_UNKNOWN = "\u0294"  # a letter that no alphabet here has
_LONGER = 16  # tokens that may be written beyond the longest text of a batch, before it is said to go round in circles


@dataclass(frozen=True)
class Dictated(ToldTokens):
    """Whisper: each token is told from the sound and the tokens before it; all count alike.

    Attributes:
        tokens: the model's; see :class:`~nyala.audio.whisper.tokens.Tokens`.
        rules: which tokens it may write.
    """

    metrics: ClassVar[tuple[str, ...]] = SPEECH_METRICS
    tokens: Any
    rules: Rules
    classes: int = 0

    def evaluate(self, model: Any, batches: Iterable[Batch]) -> SpeechResult:
        said, found, losses, counts = [], [], [], []
        prompt = len(self.tokens.prompt(None, "transcribe", False))
        with eval_mode(model), no_grad():
            for batch in batches:
                ids = batch.inputs["decoder_input_ids"]
                sounds = model.encode(batch.inputs["input_features"])
                logits = model(decoder_input_ids=ids, encoder_outputs=sounds)
                losses.append(self.loss(logits, from_numpy(batch.labels), "none").numpy().astype(np.float64))
                counts.append((batch.labels != UNTOLD).sum(1))
                limits = Limits(max_new_tokens=batch.labels.shape[1] + _LONGER)
                written = write_all(model, sounds, ids.numpy()[:, :prompt].tolist(), self.rules, limits)
                found += [one.text for one in written]
                said += [self.tokens.decode(row[row != UNTOLD]).strip() for row in batch.labels]
        return SpeechResult(said, found, np.concatenate(losses), np.concatenate(counts))


@dataclass(frozen=True)
class Spelled(Objective):
    """A letter or the blank for each frame, whatever the alignment (Graves et al. 2006); all letters count alike.

    Attributes:
        letters: the alphabet.
    """

    metrics: ClassVar[tuple[str, ...]] = SPEECH_METRICS
    letters: Letters
    classes: int = 0

    def loss(self, outputs: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
        """As the base.

        Args:
            outputs: logits (N, frames, letters).
            targets: int64 (N, 1 + S): of each sound its frames, then its letters, then ``UNTOLD``.
            reduction: "sum" or "none".
        """
        told = targets.numpy()
        lengths = (told[:, 1:] != UNTOLD).sum(1)
        rows = from_numpy(np.where(told[:, 1:] == UNTOLD, self.letters.blank, told[:, 1:])).to(outputs.device)
        log_probs = F.log_softmax(outputs, -1).transpose(0, 1)
        return F.ctc_loss(log_probs, rows, told[:, 0], lengths, blank=self.letters.blank, reduction=reduction)

    def count(self, targets: Tensor) -> float:
        return float(max(1, (targets.numpy()[:, 1:] != UNTOLD).sum()))

    def answers(self, labels: np.ndarray) -> int:
        return len(labels)

    def correct(self, outputs: Tensor, labels: np.ndarray) -> int:
        """Sounds that are spelled without a mistake."""
        numbers = [[one.number for one in row] for row in self._greedy(outputs, labels)]
        return sum(row == list(told[1:][told[1:] != UNTOLD]) for row, told in zip(numbers, labels, strict=True))

    def evaluate(self, model: Module, batches: Iterable[Batch]) -> SpeechResult:
        said, found, losses, counts = [], [], [], []
        with eval_mode(model), no_grad():
            for batch in batches:
                outputs = self.outputs(model, batch.inputs)
                losses.append(self.loss(outputs, from_numpy(batch.labels), "none").numpy().astype(np.float64))
                counts.append((batch.labels[:, 1:] != UNTOLD).sum(1))
                found += [self.letters.decode([one.number for one in row]) for row in self._greedy(outputs, batch.labels)]
                said += [self._text(row[1:][row[1:] != UNTOLD]) for row in batch.labels]
        return SpeechResult(said, found, np.concatenate(losses), np.concatenate(counts))

    def _greedy(self, outputs: Tensor, labels: np.ndarray) -> list[list[Any]]:
        rows = outputs.detach().numpy().astype(np.float32)
        return [greedy(row[: told[0]], self.letters.blank) for row, told in zip(rows, labels, strict=True)]

    def _text(self, numbers: np.ndarray) -> str:
        """A transcript; a letter that the alphabet lacks is one that nothing can spell, and so a mistake."""
        parts = (
            np.split(numbers, np.flatnonzero(numbers == self.letters.unknown)) if self.letters.unknown is not None else [numbers]
        )
        return _UNKNOWN.join(self.letters.decode(part.tolist()) for part in parts)


@dataclass(frozen=True)
class SpeechResult:
    """What an evaluation of speech recognition found.

    Attributes:
        said, heard: the transcript of each sound, and what the model wrote.
        losses: summed over each sound, float64 (N,).
        counts: what each loss is a sum of (tokens, or letters), (N,).
    """

    said: list[str]
    heard: list[str]
    losses: np.ndarray
    counts: np.ndarray

    @property
    def samples(self) -> int:
        return len(self.said)

    @cached_property
    def _errors(self) -> np.ndarray:
        """For each sound: wrong words, words, wrong letters, letters, and whether all is right; (N, 5)."""
        rows = []
        for said, heard in zip(self.said, self.heard, strict=True):
            a, b = words(said), words(heard)
            letters = " ".join(a)
            rows.append((distance(a, b), len(a), distance(letters, " ".join(b)), len(letters), a == b))
        return np.array(rows, np.float64).reshape(-1, 5)

    def record(self) -> dict[str, float]:
        """Loss a token; word and character error rate without regard to capitals and marks; sounds without any mistake."""
        return self.resampled(np.ones(self.samples))

    def resampled(self, times: np.ndarray) -> dict[str, float]:
        """As ``record``, of the sounds weighted by ``times``."""
        wrong, total, letters, all_letters, right = times @ self._errors
        return {
            "loss": float(times @ self.losses / max(1.0, times @ self.counts)),
            "wer": float(wrong / max(1.0, total)),
            "cer": float(letters / max(1.0, all_letters)),
            "accuracy": float(right / times.sum()),
        }

    def shown(self, inputs: Sequence[Any], count: int) -> list[dict[str, Any]]:  # noqa: ARG002 - the sounds are shown beside
        """The sounds with the largest share of wrong letters, then some that are right."""
        errors = self._errors
        share = errors[:, 2] / np.maximum(1.0, errors[:, 3])
        bad = [i for i in np.argsort(-share, kind="stable") if not errors[i, 4]][:count]
        good = [int(i) for i in np.flatnonzero(errors[:, 4])][:count]
        chance = np.exp(-self.losses / np.maximum(1, self.counts))
        return [
            {
                "index": int(i),
                "label": self.said[i],
                "predicted": self.said[i] if errors[i, 4] else self.heard[i],  # marks and capitals are no mistakes
                "probability": float(chance[i]),
            }
            for i in (*bad, *good)
        ]

    def predictions(self) -> Iterator[dict[str, Any]]:
        """For each sound its transcript, what the model wrote, and the wrong words."""
        for i, (said, heard) in enumerate(zip(self.said, self.heard, strict=True)):
            yield {"index": i, "text": said, "predicted_text": heard, "errors": int(self._errors[i, 0])}


def dictated(pipeline: Any) -> Dictated:
    """The objective of a Whisper's pipeline."""
    vocabulary = int(pipeline.model.config.vocab_size)
    rules = Rules.of(pipeline.tokens, False, pipeline.suppress, pipeline.suppress_first, vocabulary)
    return Dictated(pipeline.tokens, rules)
