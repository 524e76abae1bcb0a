"""A model behind one face: tokens in, scores of the next one out, with the keys and values of earlier ones kept.

Two kinds of models generate text. Their parts here are all that search, speculation and streaming know of them:

* a decoder offers ``new_caches()`` and ``forward(input_ids, attention_mask, caches=, last=)``; the mask, (N, T) of all tokens so
  far, also tells it where texts begin that are padded on the left;
* an encoder-decoder offers ``encode(...) -> (N, S, D)``, ``new_caches()`` and ``forward(decoder_input_ids=, encoder_outputs=,
  caches=, last=)``, and takes ``attention_mask`` (N, S) where its sources are padded. Its decoder's prompts have one length.

``new_caches()`` gives a sequence of caches, one a layer, or an object whose attributes are such sequences.

Either may be ``nyala.compile(model)``: on a GPU a step of one token is then one CUDA graph, and a decoder's mask of a step tells
of tokens to come too, so that it need not change with each.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.compile.compiled import Compiled
from ...core.create import from_numpy
from ...core.errors import ArgumentError, NumericError, ShapeError
from ...core.tensor import Tensor

Array = np.ndarray[Any, Any]
_ROOM = 2048


def each_cache(caches: Any) -> Iterator[Any]:
    """All caches of what ``new_caches()`` gave."""
    parts = [caches] if isinstance(caches, Sequence) else [p for p in vars(caches).values() if isinstance(p, Sequence)]
    for part in parts:
        yield from part


def reserve(caches: Any, length: int) -> None:
    """Let caches make room for ``length`` steps at once, rather than for more and more of them; not for thousands."""
    for cache in caches if isinstance(caches, Sequence) else caches.own:
        cache.max_length = max(cache.max_length, min(length, _ROOM))


class DecoderSteps:
    """Steps of a decoder.

    Args:
        model: in eval mode.
        caches: of tokens that were read before, for one text.
        known: how many these are.

    Attributes:
        longest: positions that the model has.
    """

    def __init__(self, model: Any, caches: Any = None, known: int = 0) -> None:
        self.model, self.known = model, known
        self.caches = model.new_caches() if caches is None else caches
        self.device = next(model.parameters()).device
        self.longest = positions_of(model.config)
        self._mask: Array | None = None
        self._ahead: Tensor | None = None  # the same with tokens to come

    def start(self, prompts: Sequence[Sequence[int]]) -> Array:
        """Read prompts, padded on the left where they differ in length: scores of the next tokens, (N, vocabulary)."""
        fresh = [list(prompt)[self.known :] for prompt in prompts]
        length = max(map(len, fresh))
        ids, mask = np.zeros((len(fresh), length), np.int64), np.zeros((len(fresh), length), bool)
        for i, row in enumerate(fresh):
            ids[i, length - len(row) :], mask[i, length - len(row) :] = row, True
        self._mask, self._ahead = None if mask.all() else mask, None
        return self._run(ids, last=True)[:, -1]

    def step(self, tokens: Sequence[int]) -> Array:
        """Read one token a text: scores of the next ones, (N, vocabulary)."""
        return self.read(np.array(tokens, np.int64)[:, None], last=True)[:, -1]

    def read(self, ids: Array, last: bool = False) -> Array:
        """Read tokens (N, T) of texts that go on: scores behind each, (N, T, vocabulary), or behind the last alone."""
        if self._mask is not None:
            self._mask = np.concatenate([self._mask, np.ones(ids.shape, bool)], 1)
        return self._run(ids, last)

    def _run(self, ids: Array, last: bool) -> Array:
        told: dict[str, Any] = {}
        if self._mask is not None:
            told["attention_mask"] = self._told(self._mask, ids.shape[1])
        with inference_mode():
            found = self.model(from_numpy(ids).to(self.device), caches=self.caches, last=last, **told)
        return as_scores(found)

    def _told(self, mask: Array, fresh: int) -> Tensor:
        """The mask for a model that reads ``fresh`` tokens; a compiled one gets one that stays the same for many steps."""
        length = mask.shape[1]
        if length == fresh or not isinstance(self.model, Compiled):
            return from_numpy(mask.astype(np.int64)).to(self.device)
        if self._ahead is None or self._ahead.shape[1] < length:
            more = (1 << length.bit_length()) - length
            self._ahead = from_numpy(np.pad(mask.astype(np.int64), ((0, 0), (0, more)), constant_values=1)).to(self.device)
        return self._ahead

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these texts, in this order; one may be taken several times."""
        for cache in each_cache(self.caches):
            cache.select(rows)
        self._mask, self._ahead = None if self._mask is None else self._mask[list(rows)], None

    def crop(self, length: int) -> None:
        """Forget all tokens but the first ``length``."""
        for cache in each_cache(self.caches):
            cache.crop(length)
        self._mask, self._ahead = None if self._mask is None else self._mask[:, :length], None


class EncoderDecoderSteps:
    """Steps of the decoder of an encoder-decoder.

    Args:
        model: in eval mode.
        encoder_outputs: (N, S, D), what the encoder made of the sources.
        attention_mask: (N, S), 0 for padding of the sources; None where there is none.
    """

    def __init__(self, model: Any, encoder_outputs: Tensor, attention_mask: Tensor | None = None) -> None:
        self.model, self.caches = model, model.new_caches()
        self.device = next(model.parameters()).device
        self.longest = positions_of(model.config)
        self.told = {"encoder_outputs": encoder_outputs}
        if attention_mask is not None:
            self.told["attention_mask"] = attention_mask

    def start(self, prompts: Sequence[Sequence[int]]) -> Array:
        """Read what the decoder is told first: scores of the next tokens, (N, vocabulary)."""
        if len(set(map(len, prompts))) > 1:
            raise ShapeError("prompts of different lengths for a decoder behind an encoder", fix="generate them one by one")
        return self.read(np.array(prompts, np.int64), last=True)[:, -1]

    def step(self, tokens: Sequence[int]) -> Array:
        """As of :class:`DecoderSteps`."""
        return self.read(np.array(tokens, np.int64)[:, None], last=True)[:, -1]

    def read(self, ids: Array, last: bool = False) -> Array:
        """As of :class:`DecoderSteps`."""
        with inference_mode():
            found = self.model(decoder_input_ids=from_numpy(ids).to(self.device), caches=self.caches, last=last, **self.told)
        return as_scores(found)

    def select(self, rows: Sequence[int]) -> None:
        """As of :class:`DecoderSteps`."""
        for cache in each_cache(self.caches):
            cache.select(rows)
        self.told = {name: tensor[list(rows)] for name, tensor in self.told.items()}

    def crop(self, length: int) -> None:
        """As of :class:`DecoderSteps`; what was seen of the source stays."""
        for cache in self.caches.own:
            cache.crop(length)


Steps = DecoderSteps | EncoderDecoderSteps


def as_scores(logits: Any) -> Array:
    """Logits as float32 in main memory.

    Raises:
        NumericError: none of a place's is a number: the weights are broken, or their dtype is too narrow.
    """
    found: Array = logits.float().cpu().numpy()
    if np.isnan(found).any():
        raise NumericError(
            "the model's scores for the next token are NaN",
            why="the weights hold NaN, or overflow in this dtype",
            fix="load the model in float32, and check the weights with `nyala verify NAME`",
        )
    return found


_POSITIONS = ("max_target_positions", "max_tokens", "max_position_embeddings", "n_positions")


def positions_of(config: Any) -> int:
    """How many tokens a model reads at most; a large number for one that knows distances alone (T5)."""
    for name in _POSITIONS:
        value = getattr(config, name, None)
        if value is not None:
            return int(value)
    return 1 << 30


def steps_of(
    model: Any,
    prompts: Sequence[Sequence[int]],
    encoder_outputs: Tensor | None = None,
    attention_mask: Tensor | None = None,
    caches: tuple[Any, int] | None = None,
) -> Steps:
    """The steps of a model, of either kind.

    Raises:
        ArgumentError: a model that does not generate, or one that needs a source and has none.
        ShapeError: nothing to begin with, or more than the model has positions.
    """
    if not hasattr(model, "new_caches") or "last" not in inspect.signature(model.forward).parameters:
        raise ArgumentError(
            f"{type(model).__name__} does not generate text",
            why="it has no head that says which token comes next, or keeps nothing of earlier tokens",
            fix="choose a model for text generation, or summarisation, or translation: `nyala list`",
        )
    both = hasattr(model, "encode")
    if both and encoder_outputs is None:
        raise ArgumentError(f"{type(model).__name__} without encoder_outputs", fix="pass what model.encode(...) gives")
    steps: Steps = (
        EncoderDecoderSteps(model, encoder_outputs, attention_mask)  # type: ignore[arg-type]
        if both
        else DecoderSteps(model, *(caches or ()))
    )
    for prompt in prompts:
        if not 0 < len(prompt) < steps.longest:
            raise ShapeError(
                f"{len(prompt)} token(s) to go on from, the model reads 1 to {steps.longest - 1}",
                fix="shorten the text" if len(prompt) else "begin with at least one token",
            )
    return steps
