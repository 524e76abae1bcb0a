"""What the pipeline returns for several texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...hub.results import Results, shortened, table

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Told:
    """A token that was generated, and how likely it was.

    Attributes:
        text: what it is written as.
        logprob: natural logarithm of its probability by the model itself, before penalties and temperature.
        alternatives: the likeliest tokens in its place, with theirs.
    """

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Continuation:
    """How one text goes on.

    Attributes:
        text: what was generated.
        finish: why it ended: "end" (the model ended it), "stop" (a string), "length" (``max_new_tokens``, or no more positions).
        tokens: the token numbers.
        told: each token with its log-probability; empty unless ``logprobs`` was asked for.
        score: of beam search; else None.
    """

    text: str
    finish: str
    tokens: tuple[int, ...]
    told: tuple[Told, ...] = ()
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what was not asked for is left out."""
        found: dict[str, Any] = {"generated": self.text, "finish": self.finish}
        if self.score is not None:
            found["score"] = self.score
        if self.told:
            found["tokens"] = [
                {"text": t.text, "logprob": t.logprob, "alternatives": [list(a) for a in t.alternatives]} for t in self.told
            ]
        return found


class Continuations(Results, Sequence[str]):
    """How each text goes on. As a sequence it holds strings; prints as a table.

    Attributes:
        details: a :class:`Continuation` for each.
        prompts: the text that each goes on from.

    Example:
        >>> Continuations([Continuation(" Paris.", "end", (7042, 30))], ["The capital of France is"])
        text                      goes on
        ------------------------  -------
        The capital of France is  Paris.
    """

    def __init__(self, details: Sequence[Continuation], prompts: Sequence[str]) -> None:
        self.details, self.prompts = tuple(details), tuple(prompts)

    def __len__(self) -> int:
        return len(self.details)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [found.text for found in self.details[index]]
        return self.details[index].text

    def __repr__(self) -> str:
        return table(["text", "goes on"], [[shortened(p, 40), shortened(d.text, 400)] for p, d in self._pairs()], 110)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each text how it goes on."""
        return [{"input": p, **d.to_dict()} for p, d in self._pairs()]

    def _pairs(self) -> Iterator[tuple[str, Continuation]]:
        return zip(self.prompts, self.details, strict=True)

    def draw(self) -> Image:
        """Each text with what was made up in colour."""
        from ..pipelines.drawing import marked

        rows = [(p + d.text, [(len(p), len(p + d.text), "generated")] if d.text else []) for p, d in self._pairs()]
        return marked(rows)
