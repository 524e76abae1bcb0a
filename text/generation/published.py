"""How texts are generated, as a ``generation_config.json`` says it (or an old ``config.json``), in this package's settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, DataError
from .config import GenerationConfig
from .processors import Processor, Scores
from .rows import Row

USUAL = 128  # new tokens at most, where nothing is published
_SAME = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "repetition_penalty")
_DRAWN = ("temperature", "top_k", "top_p", "min_p")


def settings_of(published: Mapping[str, Any], origin: str = "generation_config.json") -> dict[str, Any]:
    """The settings of :class:`~.config.GenerationConfig` that were published for an encoder-decoder.

    ``max_length`` and ``min_length`` count the token that the decoder begins with. Tokens are drawn where ``do_sample`` says so
    and there are no beams.

    Args:
        published: content of the file.
        origin: where it comes from, for messages.

    Raises:
        DataError: a value out of its range.

    Example:
        >>> settings_of({"max_length": 142, "min_length": 56, "num_beams": 4, "top_k": 50})
        {'num_beams': 4, 'max_new_tokens': 141, 'min_new_tokens': 55}
    """
    told = {name: value for name, value in published.items() if value is not None}
    found = {name: told[name] for name in _SAME if name in told}
    try:
        found["max_new_tokens"] = told.get("max_new_tokens", told["max_length"] - 1 if "max_length" in told else USUAL)
        least = told.get("min_new_tokens", max(0, told.get("min_length", 0) - 1))
        banned = [*(told.get("suppress_tokens") or ()), *(words[0] for words in _banned(told) if len(words) == 1)]
        if told.get("do_sample") and told.get("num_beams", 1) == 1:
            found |= {"temperature": 1.0, **{name: told[name] for name in _DRAWN if name in told}}
        found |= {"min_new_tokens": least} if least else {}
        found |= {"suppress_tokens": tuple(banned)} if banned else {}
        GenerationConfig.of({**found, "top_k": found.get("top_k") or None})
    except (ArgumentError, TypeError, IndexError) as error:
        raise DataError(
            f"{origin}: how to generate is not said well: {error}", fix="correct its generation_config.json"
        ) from error
    return {**found, "top_k": found["top_k"] or None} if "top_k" in found else found


def _banned(told: Mapping[str, Any]) -> list[list[int]]:
    return list(told.get("bad_words_ids") or ())


_FORCED = ("forced_bos_token_id", "forced_eos_token_id", "bad_words_ids")


def published_of(
    settings: Mapping[str, Any], old: Mapping[str, Any], *, start: int, ends: Sequence[int], pad: int | None
) -> dict[str, Any]:
    """The content of a ``generation_config.json`` that says these settings; what is forced and forbidden stays as it was.

    Example:
        >>> published_of({"max_new_tokens": 20, "num_beams": 4}, {}, start=0, ends=(1,), pad=0)
        {'decoder_start_token_id': 0, 'eos_token_id': 1, 'pad_token_id': 0, 'max_new_tokens': 20, 'num_beams': 4}
    """
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    if settings.get("temperature"):
        told["do_sample"] = True
    end = ends[0] if len(ends) == 1 else list(ends)
    tokens = {"decoder_start_token_id": start, "eos_token_id": end, "pad_token_id": pad}
    return {**{name: old[name] for name in _FORCED if name in old}, **tokens, **told}


def processors_of(published: Mapping[str, Any]) -> Iterator[Processor]:
    """What is forced and forbidden beside the settings: the first token, the last where a text grows too long, and sequences."""
    first, last = (_tokens(published.get(f"forced_{end}_token_id")) for end in ("bos", "eos"))
    if first:
        yield force(first, at_first=True)
    if last:
        yield force(last, at_first=False)
    words = [tuple(w) for w in _banned(published) if len(w) > 1]
    if words:
        yield forbid(words)


def _tokens(value: Any) -> list[int]:
    return [] if value is None else [int(value)] if isinstance(value, int) else [int(v) for v in value]


def force(tokens: Collection[int], at_first: bool) -> Processor:
    """One of these tokens is the first new one, or the last that there is room for."""
    allowed = np.array(sorted(tokens), np.int64)

    def apply(rows: Sequence[Row], scores: Scores) -> Scores:
        found = scores.copy()
        for row, values in zip(rows, found, strict=True):
            if len(row.new) == (0 if at_first else row.limit - 1):
                values[:] = -np.inf
                values[allowed] = 0
        return found

    return apply


def forbid(sequences: Sequence[Sequence[int]]) -> Processor:
    """None of these sequences of tokens is written."""

    def apply(rows: Sequence[Row], scores: Scores) -> Scores:
        found = scores.copy()
        for row, values in zip(rows, found, strict=True):
            for *before, last in sequences:
                if row.new[len(row.new) - len(before) :] == list(before) and len(row.new) >= len(before):
                    values[last] = -np.inf
        return found

    return apply
