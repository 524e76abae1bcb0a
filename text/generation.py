"""Text that goes on: one token after the other, with the keys and values of earlier ones kept; and the pipeline of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import random
from ..core.autograd import inference_mode
from ..core.create import from_numpy
from ..core.errors import ArgumentError, DataError, ShapeError, kind_of
from ..hub.pipeline import Pipeline, Unavailable
from ..hub.results import Results, shortened, table
from .pipelines import as_is, tokenizer_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        max_new_tokens: after so many it ends.
        temperature: logits are divided by it; 0 takes the likeliest token always.
        top_k: only so many of the likeliest may be drawn.
        top_p: only the likeliest that together have this probability (Holtzman et al., arXiv:1904.09751).
        seed: what draws are keyed by: the same seed gives the same text.

    Raises:
        ArgumentError: a number out of its range.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "max_new_tokens": self.max_new_tokens >= 1,
            "temperature": self.temperature >= 0,
            "top_k": self.top_k is None or self.top_k >= 1,
            "top_p": self.top_p is None or 0 < self.top_p <= 1,
        }
        for name, fine in ranges.items():
            if not fine:
                raise ArgumentError(f"{name}={getattr(self, name)}", fix="see the ranges in nyala.text.generation.Sampling")

    def choose(self, logits: np.ndarray[Any, Any], step: int) -> int:
        """The next token from the logits (vocabulary,); ``step`` keys the draw.

        Example:
            >>> Sampling().choose(np.array([0.0, 2.0, 1.0]), 0)
            1
        """
        if not self.temperature:
            return int(logits.argmax())
        order = np.argsort(-logits, kind="stable")[: self.top_k]
        scaled = logits[order].astype(np.float64) / self.temperature
        shares = np.exp(scaled - scaled[0])
        shares /= shares.sum()
        if self.top_p is not None:
            kept = int(np.searchsorted(np.cumsum(shares), self.top_p)) + 1
            order, shares = order[:kept], shares[:kept] / shares[:kept].sum()
        draw = random.key(self.seed, "generation", step).uniform((1,))[0]
        return int(order[min(int(np.searchsorted(np.cumsum(shares), draw, side="right")), len(order) - 1)])


def generate(model: Any, ids: Sequence[int], sampling: Sampling, ends: Sequence[int] = ()) -> Iterator[int]:
    """New tokens behind ``ids``, one by one, without those in ``ends``, which end it.

    Args:
        model: a decoder with ``new_caches()`` and ``forward(input_ids, caches=, last=)``, in eval mode.
        ids: of the tokens so far, one at least.
        sampling: how tokens are chosen, and how many at most.
        ends: tokens that end a text.

    Raises:
        ShapeError: no token to begin with, or more than the model has positions.
    """
    longest = int(model.config.max_position_embeddings)
    if not 0 < len(ids) < longest:
        raise ShapeError(
            f"{len(ids)} token(s) to go on from, the model reads 1 to {longest - 1}",
            fix="shorten the text" if ids else "begin with at least one token",
        )
    device, caches = next(model.parameters()).device, model.new_caches()
    fresh = list(ids)
    for step in range(min(sampling.max_new_tokens, longest - len(ids))):
        with inference_mode():
            logits = model(from_numpy(np.array([fresh])).to(device), caches=caches, last=True)
        token = sampling.choose(logits.float().cpu().numpy()[0, -1], step)
        if token in ends:
            return
        yield token
        fresh = [token]


class Continuations(Results, Sequence[str]):
    """How each text goes on. Prints as a table."""

    def __init__(self, found: Sequence[str], prompts: Sequence[str]) -> None:
        self.found, self.prompts = tuple(found), tuple(prompts)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def __repr__(self) -> str:
        return table(["text", "goes on"], [[shortened(p, 40), shortened(t, 400)] for p, t in self._pairs()], 110)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each text how it goes on."""
        return [{"input": p, "generated": t} for p, t in self._pairs()]

    def _pairs(self) -> Iterator[tuple[str, str]]:
        return zip(self.prompts, self.found, strict=True)

    def draw(self) -> Image:
        """Each text with what was made up in colour."""
        from .drawing import marked

        return marked([(p + t, [(len(p), len(p + t), "generated")] if t else []) for p, t in self._pairs()])


@dataclass(frozen=True, eq=False, repr=False)
class TextGeneration(Pipeline):
    """Texts -> how they go on. Call it on one text (a string comes back) or a list (:class:`Continuations`).

    Attributes:
        ends: tokens that end a text.
    """

    preprocess: Any
    ends: tuple[int, ...] = ()

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> TextGeneration:
        """Tokenizer from the files, the ending tokens from the configuration."""
        ends = config.get("eos_token_id")
        told = () if ends is None else (int(ends),) if isinstance(ends, int) else tuple(map(int, ends))
        tokenizer = tokenizer_of(files, int(model.config.max_position_embeddings))
        return cls(model, tokenizer, as_is, card, files, config, ends=told)

    def __call__(self, inputs: Any, **sampling: Any) -> Any:
        """One text -> how it goes on; a list -> :class:`Continuations`.

        Args:
            inputs: texts.
            **sampling: see :class:`Sampling`: ``max_new_tokens``, ``temperature``, ``top_k``, ``top_p``, ``seed``.

        Raises:
            DataError: something that is not a text.
            MissingFileError: the model came without a tokenizer.
        """
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        found = ["".join(self.stream(text, **sampling)) for text in texts]
        return found[0] if isinstance(inputs, str) else Continuations(found, texts)

    def logits(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """(N, vocabulary) float32: what the model says of the token that comes next."""
        device, rows = next(self.model.parameters()).device, [self.preprocess.ids(text) for text in texts]
        with inference_mode():
            found = [self.model(from_numpy(np.array([ids])).to(device), last=True).float().cpu().numpy()[0, -1] for ids in rows]
        return np.stack(found)

    def stream(self, text: str, **sampling: Any) -> Iterator[str]:
        """The continuation of one text, piece by piece as it is made."""
        if isinstance(self.preprocess, Unavailable):
            self.preprocess(text)
        if not isinstance(text, str):
            raise DataError(f"a text to go on from is {kind_of(text)}", fix="pass a string")
        made: list[int] = []
        told = ""
        for token in generate(self.model, self.preprocess.ids(text) or list(self.ends[:1]), Sampling(**sampling), self.ends):
            made.append(token)
            whole = self.preprocess.decode(made)
            if not whole.endswith("\ufffd"):  # a character may need several tokens
                yield whole[len(told) :]
                told = whole
        rest = self.preprocess.decode(made)[len(told) :]
        if rest:
            yield rest
