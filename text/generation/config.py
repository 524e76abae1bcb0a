"""How a text goes on: how long, how the next token is chosen, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ...core.errors import ArgumentError, did_you_mean

# What others call it -> what to write here.
_ELSEWHERE = {
    "do_sample": "set temperature=1.0 to draw tokens, and leave it out to take the likeliest",
    "max_length": "set max_new_tokens, which does not count the input",
    "max_tokens": "set max_new_tokens",
    "min_length": "set min_new_tokens, which does not count the input",
    "stop_strings": "set stop",
    "best_of": "set num_return_sequences with a temperature",
    "eos_token_id": "the pipeline has ends; generate takes them as an argument",
    "bad_words_ids": "set suppress_tokens, or pass a processor of nyala.text.generation.published.forbid",
    "top_logprobs": "set logprobs",
}


@dataclass(frozen=True)
class GenerationConfig:
    """How texts are generated; names and meanings are those of transformers where it has them.

    Attributes:
        max_new_tokens: after so many it ends.
        min_new_tokens: no token that ends a text before so many.
        temperature: logits are divided by it; 0 takes the likeliest token always.
        top_k: only so many of the likeliest may be drawn.
        top_p: only the likeliest that together have this probability (Holtzman et al., arXiv:1904.09751).
        min_p: only tokens at least this share as likely as the likeliest (Nguyen et al., arXiv:2407.01082).
        repetition_penalty: logits of tokens seen before, in the prompt too, are divided by it, or multiplied where they are
            negative (Keskar et al., arXiv:1909.05858).
        frequency_penalty: taken off a token's logit for each time that it was generated.
        presence_penalty: taken off the logit of each token that was generated.
        no_repeat_ngram_size: no sequence of so many tokens twice.
        suppress_tokens: tokens that are never written.
        num_beams: hypotheses that are followed at once (beam search); 1 follows the one.
        length_penalty: exponent of the length that a hypothesis' log-probability is divided by; above 0 favours long ones.
        early_stopping: True ends when ``num_beams`` hypotheses have ended; False when none that goes on is likely to be better;
            "never" when none can be.
        num_return_sequences: how many texts for each input: draws, or the best hypotheses.
        stop: strings that end a text, and are left out of it.
        logprobs: how many alternatives are told with the log-probability of each token; None for none at all.
        seed: what draws are keyed by: the same seed gives the same text, alone or in any batch, on any device.

    Raises:
        ArgumentError: a number out of its range, or settings that contradict each other.

    Example:
        >>> GenerationConfig(temperature=0.7, top_p=0.9).samples
        True
    """

    max_new_tokens: int = 64
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    suppress_tokens: tuple[int, ...] = ()
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        object.__setattr__(self, "stop", tuple(self.stop))
        object.__setattr__(self, "suppress_tokens", tuple(self.suppress_tokens))
        for name, (fine, said) in self._ranges().items():
            if not fine:
                raise ArgumentError(f"{name}={getattr(self, name)!r}", fix=f"{name} is {said}")
        self._check_together()

    def _ranges(self) -> dict[str, tuple[bool, str]]:
        return {
            "max_new_tokens": (_whole(self.max_new_tokens, 1), "a whole number, 1 or more"),
            "min_new_tokens": (_whole(self.min_new_tokens, 0), "a whole number, 0 or more"),
            "temperature": (_number(self.temperature) and 0 <= self.temperature < float("inf"), "a number, 0 or more"),
            "top_k": (self.top_k is None or _whole(self.top_k, 1), "a whole number, 1 or more"),
            "top_p": (self.top_p is None or (_number(self.top_p) and 0 < self.top_p <= 1), "above 0, and 1 at most"),
            "min_p": (self.min_p is None or (_number(self.min_p) and 0 <= self.min_p <= 1), "between 0 and 1"),
            "repetition_penalty": (
                _number(self.repetition_penalty) and self.repetition_penalty > 0,
                "above 0; 1 for none",
            ),
            "frequency_penalty": (_number(self.frequency_penalty), "a number; 0 changes nothing"),
            "presence_penalty": (_number(self.presence_penalty), "a number; 0 changes nothing"),
            "no_repeat_ngram_size": (_whole(self.no_repeat_ngram_size, 0), "a whole number; 0 changes nothing"),
            "suppress_tokens": (all(_whole(t, 0) for t in self.suppress_tokens), "token numbers"),
            "num_beams": (_whole(self.num_beams, 1), "a whole number, 1 or more"),
            "length_penalty": (_number(self.length_penalty), "a number"),
            "early_stopping": (self.early_stopping in (True, False, "never"), "True, False or 'never'"),
            "num_return_sequences": (_whole(self.num_return_sequences, 1), "a whole number, 1 or more"),
            "stop": (all(isinstance(s, str) and s for s in self.stop), "strings, none of them empty"),
            "logprobs": (self.logprobs is None or _whole(self.logprobs, 0), "a whole number, 0 or more"),
            "seed": (isinstance(self.seed, int), "a whole number"),
        }

    def _check_together(self) -> None:
        if self.num_beams > 1 and self.samples:
            raise ArgumentError(
                f"num_beams={self.num_beams} with temperature={self.temperature}",
                why="beam search follows the likeliest texts and draws nothing",
                fix="leave one of them out",
            )
        if self.num_beams == 1 and not self.samples and self.num_return_sequences > 1:
            raise ArgumentError(
                f"num_return_sequences={self.num_return_sequences} without draws or beams",
                why="the likeliest token each time gives one text",
                fix="set a temperature, or num_beams",
            )
        if 1 < self.num_beams < self.num_return_sequences:
            raise ArgumentError(
                f"num_return_sequences={self.num_return_sequences} of num_beams={self.num_beams}", fix="raise num_beams"
            )

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn."""
        return self.temperature > 0

    @staticmethod
    def of(settings: dict[str, Any]) -> GenerationConfig:
        """From settings by name.

        Raises:
            ArgumentError: a name that is none of the settings.

        Example:
            >>> GenerationConfig.of({"top_k": 5}).top_k
            5
        """
        known = [f.name for f in fields(GenerationConfig)]
        for name in settings:
            if name not in known:
                near = _ELSEWHERE.get(name) or did_you_mean(name, known) or f"settings: {', '.join(known)}"
                raise ArgumentError(f"generation has no setting {name!r}", fix=near)
        return GenerationConfig(**settings)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
