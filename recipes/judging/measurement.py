"""What an evaluation that is no classification of whole samples is worth: tags of words, pairs of texts. Every score has its
interval, and the worst samples can be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.scores.intervals import Estimate, of_record
from ...hub.results import shortened, table
from ..training import scores
from ..training.objectives import Result

SHOWN = 18  # samples of each kind


@dataclass(frozen=True)
class Measurement:
    """Scores of N samples, and some of the samples.

    Attributes:
        samples: N.
        found: score by name, ``loss`` among them.
        shown: the worst samples, then some good ones: ``index``, ``label``, ``predicted``, ``probability``, and ``text``.
    """

    samples: int
    found: dict[str, Estimate]
    shown: list[dict[str, Any]]

    def __len__(self) -> int:
        return self.samples

    @staticmethod
    def of(result: Result, inputs: Sequence[Any], seed: int = 0) -> Measurement:
        """Measures a result.

        Args:
            result: of an objective's evaluation.
            inputs: the raw samples, by number.
            seed: what the bootstrap is drawn by.
        """
        found = of_record(result.record(), result.resampled, result.samples, seed)
        return Measurement(result.samples, found, result.shown(inputs, SHOWN))

    def summary(self) -> Iterator[tuple[str, str, Estimate]]:
        """(key, name, estimate) of every score, the loss last."""
        for key in sorted(self.found, key=lambda k: k == "loss"):
            yield key, scores.title(key), self.found[key]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {"samples": self.samples, "scores": {k: e.as_json() for k, _, e in self.summary()}, "shown": self.shown}

    @staticmethod
    def from_json(tree: dict[str, Any]) -> Measurement:
        """What ``as_json`` made."""
        found = {k: Estimate(**e) for k, e in tree["scores"].items() if e is not None}
        return Measurement(int(tree["samples"]), found, list(tree["shown"]))

    def mistakes(self) -> list[dict[str, Any]]:
        """The shown samples that are not right."""
        return [one for one in self.shown if one["label"] != one["predicted"]]

    def __str__(self) -> str:
        rows = [[name, f"{e.value:.4f}", f"{e.low:.4f} to {e.high:.4f}"] for _, name, e in self.summary()]
        text = table(["score", "value", "95 % interval"], rows)
        mistakes = self.mistakes()[:8]
        read = any("text" in one for one in mistakes)  # sounds have none: they are called by their number
        worst = [
            [
                shortened(one.get("text", ""), 44) if read else str(one["index"]),
                *(shortened(one[key], 36) for key in ("label", "predicted")),
            ]
            for one in mistakes
        ]
        return f"{text}\n\nthe worst samples\n{table(['sample', 'is', 'taken for'], worst)}" if worst else text
