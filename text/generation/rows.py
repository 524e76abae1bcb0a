"""A text while it is generated, and what is told of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Row:
    """A text while it is generated.

    Attributes:
        prompt: the tokens it goes on from.
        limit: how many new tokens it may get at most.
        source: which of the inputs it belongs to.
        sample: which of the texts for that input it is.
        new: the tokens so far, without the one that ends it.
        logprobs: their log-probabilities by the model itself, before penalties and temperature.
        alternatives: for each, the likeliest tokens in its place with their log-probabilities.
        finish: why it ended: "end" (a token that ends texts), "stop" (a string), "length"; "" while it goes on.
    """

    prompt: list[int]
    limit: int
    source: int = 0
    sample: int = 0
    new: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    finish: str = ""

    @property
    def ids(self) -> list[int]:
        """Prompt and new tokens."""
        return self.prompt + self.new


@dataclass(frozen=True)
class Generated:
    """What was generated for one text.

    Attributes:
        tokens: the new ones, without the one that ended the text.
        finish: why it ended: "end", "stop" or "length".
        logprobs: of the tokens, by the model itself, before penalties and temperature; empty unless asked for.
        alternatives: for each token, the likeliest ones in its place with their log-probabilities.
        score: of beam search: the sum of log-probabilities over the length to the power of ``length_penalty``; else None.
    """

    tokens: list[int]
    finish: str
    logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[tuple[int, float]]] = field(default_factory=list)
    score: float | None = None
