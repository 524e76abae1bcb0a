"""``generate``: texts that go on, by any search, from any model that offers the steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from ...core.errors import ArgumentError, kind_of
from ...core.tensor import Tensor
from .beam import beam_search
from .caches import PrefixCache
from .config import GenerationConfig
from .processors import Processor, penalties
from .rows import Generated, Row
from .search import Rules, Search
from .speculative import Draft, Speculation
from .steps import Steps, reserve, steps_of


def generate(
    model: Any,
    input_ids: Sequence[Sequence[int]],
    config: GenerationConfig | None = None,
    ends: Collection[int] = (),
    *,
    encoder_outputs: Tensor | None = None,
    attention_mask: Tensor | None = None,
    processors: Sequence[Processor] = (),
    stop: Callable[[Sequence[int]], bool] | None = None,
    prefix: PrefixCache | None = None,
    draft: Draft | None = None,
) -> list[Generated]:
    """How texts go on: ``num_return_sequences`` for each input, in the order of the inputs.

    Args:
        model: a decoder or an encoder-decoder with a head, in eval mode; what it must offer stands in ``steps``. On a GPU
            ``nyala.compile(model)`` writes the same, sooner: keep what it gives for further calls.
        input_ids: tokens to go on from, one list a text; of an encoder-decoder, what its decoder is told first (often the one
            ``decoder_start_token_id``).
        config: how; greedy and 64 tokens unless given.
        ends: tokens that end a text; they are not part of it.
        encoder_outputs: (N, S, D), of an encoder-decoder: what ``model.encode`` made of the sources.
        attention_mask: (N, S), 0 for padding of the sources.
        processors: further changes of the scores, behind those of ``config``, such as a
            :class:`~nyala.text.generation.constraints.Constraint`.
        stop: says of new tokens whether the text ends with them, such as :func:`~.stopping.stops_at` gives.
        prefix: what earlier texts left behind; for one text at a time.
        draft: guesses tokens that the model then checks several at a time: the same text, sooner; for one text at a time.

    Raises:
        ArgumentError: a model that does not generate, or settings that do not go together.
        ShapeError: no token to begin with, or more than the model has positions.
        NumericError: the model's scores are NaN.

    Example:
        >>> import nyala
        >>> from nyala.text.models import llama
        >>> nyala.manual_seed(0)
        >>> tiny = llama.build({"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2})
        >>> len(generate(tiny.eval(), [[1, 2, 3]], GenerationConfig(max_new_tokens=4))[0].tokens)
        4
    """
    config = config or GenerationConfig()
    rules = _rules(config, ends, processors, stop)
    prompts = _lists(input_ids)
    if not prompts:
        return []
    steps = _steps(model, prompts, encoder_outputs, attention_mask, prefix)
    rows = [Row(ids, min(config.max_new_tokens, steps.longest - len(ids)), source) for source, ids in enumerate(prompts)]
    _check_single(rows, config, prefix, draft)
    reserve(steps.caches, max(len(row.prompt) + row.limit for row in rows))
    if config.num_beams > 1:
        return [text for texts in beam_search(steps, rows, rules) for text in texts]
    rows = _repeated(rows, config.num_return_sequences)
    for _ in _walk(model, steps, rows, rules, prefix, draft):
        pass
    return [Generated(row.new, row.finish, row.logprobs, row.alternatives) for row in rows]


def stream(
    model: Any,
    ids: Sequence[int],
    config: GenerationConfig | None = None,
    ends: Collection[int] = (),
    *,
    encoder_outputs: Tensor | None = None,
    attention_mask: Tensor | None = None,
    processors: Sequence[Processor] = (),
    stop: Callable[[Sequence[int]], bool] | None = None,
    prefix: PrefixCache | None = None,
    draft: Draft | None = None,
) -> Iterator[int]:
    """The new tokens of one text, each as soon as it is chosen; arguments and errors are those of :func:`generate`.

    Raises:
        ArgumentError: beams, or several texts: these are known in the end only.
    """
    config = config or GenerationConfig()
    if config.num_beams > 1 or config.num_return_sequences > 1:
        raise ArgumentError(
            f"a stream with num_beams={config.num_beams}, num_return_sequences={config.num_return_sequences}",
            why="which text is the best is known in the end only",
            fix="leave them out, or use generate",
        )
    rules = _rules(config, ends, processors, stop)
    (prompt,) = _lists([ids])
    steps = _steps(model, [prompt], encoder_outputs, attention_mask, prefix)
    row = Row(prompt, min(config.max_new_tokens, steps.longest - len(prompt)))
    reserve(steps.caches, len(row.prompt) + row.limit)
    for _, token in _walk(model, steps, [row], rules, prefix, draft):
        yield token


def _lists(input_ids: Any) -> list[list[int]]:
    """Prompts as lists of numbers; tensors and arrays are taken too.

    Raises:
        ArgumentError: something else, such as the tokens of one text that are in no list of texts.
    """
    rows = [row.tolist() if hasattr(row, "tolist") else row for row in input_ids]
    for i, row in enumerate(rows):
        if isinstance(row, (str, int)) or not all(isinstance(token, (int, np.integer)) for token in row):
            raise ArgumentError(
                f"input_ids[{i}] is {kind_of(row)}, not the tokens of a text",
                fix="pass a list of texts, each a list of token numbers: [[1, 2, 3]]",
            )
    return [[int(token) for token in row] for row in rows]


def _rules(config: GenerationConfig, ends: Collection[int], processors: Sequence[Processor], stop: Any) -> Rules:
    return Rules(config, frozenset(map(int, ends)), [*penalties(config, ends), *processors], stop)


def _steps(model: Any, input_ids: Any, outputs: Tensor | None, mask: Tensor | None, prefix: PrefixCache | None) -> Steps:
    caches = prefix.take(model, input_ids[0]) if prefix is not None and len(input_ids) == 1 and outputs is None else None
    return steps_of(model, input_ids, outputs, mask, caches)


def _check_single(rows: Sequence[Row], config: GenerationConfig, prefix: Any, draft: Any) -> None:
    texts = len(rows) * max(config.num_beams, config.num_return_sequences)
    if texts > 1 and (prefix is not None or draft is not None):
        raise ArgumentError(
            f"{'prefix' if prefix is not None else 'draft'}= with {texts} texts at once",
            why="it works on one text at a time",
            fix="generate them one by one, or leave it out",
        )


def _repeated(rows: Sequence[Row], count: int) -> list[Row]:
    return [Row(row.prompt, row.limit, row.source, sample) for row in rows for sample in range(count)]


def _walk(
    model: Any, steps: Steps, rows: list[Row], rules: Rules, prefix: PrefixCache | None, draft: Draft | None
) -> Iterator[tuple[Row, int]]:
    """The tokens as they are chosen; what was read is left to ``prefix``, also where nobody wants the rest."""
    search = Search(steps, rows, rules) if draft is None else Speculation(steps, rows[0], rules, draft)
    try:
        yield from search
    finally:
        if prefix is not None and search.read:
            prefix.keep(model, search.read, steps.caches)
