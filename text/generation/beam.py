"""Beam search: several hypotheses of each text at once, and the best of those that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .rows import Generated, Row
from .search import Rules, log_softmax, tell
from .steps import Steps

_NEVER = -1.0e9  # so bad that no hypothesis is worse


@dataclass
class _Beam:
    """The hypotheses of one text. Lists of rows are sorted, the best first.

    Attributes:
        prompt: what they go on from.
        limit: new tokens at most.
        running, sums: hypotheses that go on, and their log-probabilities.
        ended, scores: those that have ended, and what they are ranked by.
        hopeful: whether one that goes on may still be better than the worst that has ended.
    """

    prompt: list[int]
    limit: int
    running: list[Row]
    sums: np.ndarray[Any, Any]
    ended: list[Row] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    hopeful: bool = True
    over: bool = False


def beam_search(steps: Steps, prompts: Sequence[Row], rules: Rules) -> list[list[Generated]]:
    """The best texts for each prompt, the best first.

    Hypotheses, their order and the rules of ending are those of transformers.

    Args:
        steps: of the model; it has read nothing yet.
        prompts: the texts.
        rules: what is kept to; ``num_beams`` hypotheses each, of which ``num_return_sequences`` come back.
    """
    count = rules.config.num_beams
    beams = [_beam(row, count) for row in prompts]
    scores = steps.start([row.prompt for row in prompts])
    steps.select([i for i in range(len(prompts)) for _ in range(count)])
    scores = np.repeat(scores, count, axis=0)
    alive = list(beams)
    while True:
        rows = [row for beam in alive for row in beam.running]
        changed = rules.scored(rows, log_softmax(scores.astype(np.float32)))
        places, tokens, kept = [], [], []
        for i, beam in enumerate(alive):
            own = slice(i * count, (i + 1) * count)
            origins = _advance(beam, changed[own], scores[own], rules)
            if not beam.over:
                kept.append(beam)
                places += [i * count + origin for origin in origins]
                tokens += [row.new[-1] for row in beam.running]
        if not kept:
            break
        alive = kept
        steps.select(places)
        scores = steps.step(tokens)
    return [_best(beam, rules.config.num_return_sequences) for beam in beams]


def _beam(row: Row, count: int) -> _Beam:
    running = [Row(row.prompt, row.limit, row.source, i) for i in range(count)]
    sums = np.full(count, _NEVER, np.float32)  # at first all are alike: only one of them is followed
    sums[0] = 0
    return _Beam(row.prompt, row.limit, running, sums)


def _advance(beam: _Beam, changed: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], rules: Rules) -> list[int]:
    """One more token for each hypothesis; gives which one each of the new ones came from."""
    config, vocabulary = rules.config, changed.shape[-1]
    total = (changed + beam.sums[:, None]).reshape(-1)
    wanted = min(max(2, 1 + len(rules.ends)) * config.num_beams, total.size)
    best = np.argpartition(-total, wanted - 1)[:wanted]
    best = best[np.lexsort((best, -total[best]))]
    found = []
    for place in best:
        origin, token = divmod(int(place), vocabulary)
        row = _longer(beam.running[origin], token, scores[origin], rules)
        if token in rules.ends:
            row.finish = "end"
        elif rules.stop is not None and rules.stop(row.new):
            row.finish = "stop"
        elif len(row.new) >= beam.limit:
            row.finish = "length"
        found.append((origin, row, np.float32(total[place])))
    length = len(beam.running[0].new) + 1
    _keep_ended(beam, found, length, rules)
    going = [(o, r, s) for o, r, s in found if not r.finish] + [(o, r, s + np.float32(_NEVER)) for o, r, s in found if r.finish]
    going = going[: config.num_beams]
    beam.running, beam.sums = [r for _, r, _ in going], np.array([s for _, _, s in going], np.float32)
    _judge(beam, length, all(r.finish for _, r, _ in found), rules)
    return [o for o, _, _ in going]


def _longer(row: Row, token: int, scores: np.ndarray[Any, Any], rules: Rules) -> Row:
    """A hypothesis with one more token."""
    found = Row(row.prompt, row.limit, row.source, row.sample, [*row.new, token], [*row.logprobs], [*row.alternatives])
    if rules.config.logprobs is not None and token not in rules.ends:
        tell(found, scores, token, rules.config.logprobs)
    return found


def _keep_ended(beam: _Beam, found: Sequence[tuple[int, Row, Any]], length: int, rules: Rules) -> None:
    """Add what has ended among the best ``num_beams``, and keep the best of all that have."""
    config = rules.config
    full = len(beam.ended) == config.num_beams and config.early_stopping is True
    if full or not beam.hopeful:
        return
    for _, row, total in found[: config.num_beams]:
        score = float(total / np.float32(length**config.length_penalty))
        if row.finish and score > _NEVER:
            beam.ended.append(row)
            beam.scores.append(score)
    order = sorted(range(len(beam.ended)), key=lambda i: -beam.scores[i])[: config.num_beams]
    beam.ended, beam.scores = [beam.ended[i] for i in order], [beam.scores[i] for i in order]


def _judge(beam: _Beam, length: int, stuck: bool, rules: Rules) -> None:
    """Whether to go on: see :class:`GenerationConfig` on ``early_stopping``."""
    config = rules.config
    full = len(beam.ended) == config.num_beams
    longest = beam.limit if config.early_stopping == "never" and config.length_penalty > 0 else length
    best_possible = beam.sums[0] / longest**config.length_penalty
    beam.hopeful = beam.hopeful and (not full or best_possible > min(beam.scores))
    beam.over = not beam.hopeful or (full and config.early_stopping is True) or stuck


def _best(beam: _Beam, count: int) -> list[Generated]:
    texts = []
    for row, score in list(zip(beam.ended, beam.scores, strict=True))[:count]:
        tokens = row.new[:-1] if row.finish == "end" else row.new
        texts.append(Generated(tokens, row.finish, row.logprobs, row.alternatives, score))
    return texts
