"""From what Whisper's encoder heard to tokens: which ones may be written, and how the next one is chosen.

The rules are those of the paper's own code (Radford et al., arXiv:2212.04356, section 4.5): times come in pairs, never go back,
and are written when they are likelier together than any text.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core import random
from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError
from ...core.tensor import Tensor
from .beams import search
from .tokens import STEP, Tokens

Row = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.float32]]  # (N, vocabulary)
_LATEST_START = round(1.0 / STEP)  # the first words begin within a second


@dataclass(frozen=True)
class Rules:
    """Which tokens may come next.

    Attributes:
        tokens: the model's.
        timed: whether times are written.
        never: token numbers that are never written: sounds that are no speech, and marks.
        not_first: token numbers that no text begins with.
    """

    tokens: Tokens
    timed: bool
    never: np.ndarray[Any, Any]
    not_first: np.ndarray[Any, Any]

    @staticmethod
    def of(tokens: Tokens, timed: bool, suppress: Collection[int], at_begin: Collection[int], vocabulary: int) -> Rules:
        """From the lists that are published with the weights; numbers out of the vocabulary are left out."""
        never = sorted({int(i) for i in (*suppress, *tokens.marks) if 0 <= i < vocabulary and i != tokens.end})
        first = sorted({int(i) for i in at_begin if 0 <= i < vocabulary})
        return Rules(tokens, timed, np.array(never, np.int64), np.array(first, np.int64))

    def apply(self, logits: Row, written: Sequence[int]) -> Row:
        """The logits (vocabulary,) with -inf for what may not follow ``written``."""
        found = logits.astype(np.float32, copy=True)
        found[self.never] = -np.inf
        if not written:
            found[self.not_first] = -np.inf
        if self.timed:
            self._apply_times(found, written)
        return found

    def _apply_times(self, found: Row, written: Sequence[int]) -> None:
        first = self.tokens.first_time
        times = [t for t in written if t >= first]
        after_time = bool(written) and written[-1] >= first
        if after_time and (len(written) < 2 or written[-2] >= first):
            found[first:] = -np.inf  # a pair is complete: text follows
        elif after_time:
            found[: self.tokens.end] = -np.inf  # the end of a segment: its twin, or the end of all, follows
        if times:
            unpaired = after_time and len(written) > 1 and written[-2] < first
            found[first : times[-1] + (0 if unpaired else 1)] = -np.inf
        if not written:
            found[:first] = -np.inf
            found[first + _LATEST_START + 1 :] = -np.inf
        if _log_sum(found[first:]) > found[:first].max(initial=-np.inf):
            found[:first] = -np.inf


def _log_sum(values: Row) -> float:
    highest = float(values.max(initial=-np.inf))
    return highest if highest == -np.inf else highest + float(np.log(np.exp(values - highest).sum()))


@dataclass(frozen=True)
class Decoded:
    """What was written for one window.

    Attributes:
        tokens: without the prompt and the end.
        text: without times.
        avg_logprob: mean natural logarithm of the tokens' probabilities, the end included.
        no_speech_prob: probability that nothing was said.
        temperature: the one it was written with.
    """

    tokens: tuple[int, ...]
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float

    @property
    def compression_ratio(self) -> float:
        """How well the text can be compressed: above 2.4 it goes round in circles."""
        raw = self.text.encode()
        return len(raw) / len(zlib.compress(raw)) if raw else 0.0


@dataclass(frozen=True)
class Limits:
    """When a window is written again, with more chance, or counts as silent.

    Attributes:
        temperatures: tried in turn; 0 takes the likeliest token always.
        compression_ratio: a text that compresses better is no text.
        logprob: a text that is less likely is a guess.
        no_speech: where silence is likelier, and the text a guess, nothing was said.
        max_new_tokens: of a window; None for half the decoder's positions.
        seed: what draws are keyed by.
        beams: texts that are followed at once where the temperature is 0; 1 takes the likeliest token always.
        patience, length_penalty: of the beam search; see :func:`~nyala.audio.whisper.beams.search`.
    """

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    compression_ratio: float = 2.4
    logprob: float = -1.0
    no_speech: float = 0.6
    max_new_tokens: int | None = None
    seed: int = 0
    beams: int = 1
    patience: float = 1.0
    length_penalty: float | None = None

    def __post_init__(self) -> None:
        if not self.temperatures or min(self.temperatures) < 0:
            raise ArgumentError(f"temperatures={self.temperatures}", fix="give at least one, none below 0")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ArgumentError(f"max_new_tokens={self.max_new_tokens}", fix="use 1 or more")
        if self.beams < 1 or self.patience <= 0:
            raise ArgumentError(
                f"beams={self.beams}, patience={self.patience}", fix="use 1 or more beams, and a patience above 0"
            )

    def silent(self, found: Decoded) -> bool:
        """Whether nothing was said."""
        return found.no_speech_prob > self.no_speech and found.avg_logprob <= self.logprob

    def fine(self, found: Decoded) -> bool:
        """Whether the text can stay."""
        good = found.compression_ratio <= self.compression_ratio and found.avg_logprob >= self.logprob
        return good or found.no_speech_prob > self.no_speech


def write(model: Any, sound: Tensor, prompt: Sequence[int], rules: Rules, limits: Limits, window: int = 0) -> Decoded:
    """The tokens of one window, at the first temperature whose text can stay, else at the last.

    Args:
        model: a Whisper with a head, in eval mode.
        sound: the encoder's vectors, (1, S, D).
        prompt: what the decoder is told, the start mark in it.
        rules: which tokens may come.
        limits: when to try again.
        window: which one it is, for the draws.
    """
    for temperature in limits.temperatures:
        found = _once(model, sound, prompt, rules, limits, temperature, window)
        if limits.fine(found):
            break
    return found


def _once(
    model: Any, sound: Tensor, prompt: Sequence[int], rules: Rules, limits: Limits, temperature: float, window: int
) -> Decoded:
    if limits.beams > 1 and not temperature:
        return _beams(model, sound, prompt, rules, limits)
    return _rows(model, sound, [prompt], rules, limits, temperature, [window])[0]


def _beams(model: Any, sound: Tensor, prompt: Sequence[int], rules: Rules, limits: Limits) -> Decoded:
    """The text of one window by beam search."""
    tokens, caches = rules.tokens, model.new_caches()
    logits, silence = _first(model, sound, [prompt], tokens, caches)
    sounds = sound

    def step(origins: Sequence[int], chosen: Sequence[int]) -> Rows:
        nonlocal sounds
        if sounds.shape[0] != len(origins):  # the sound is the same for all
            sounds = sound[[0] * len(origins)]
            caches.select(origins)
        else:
            caches.select(origins, own_alone=True)
        return _next(model, sounds, chosen, caches)

    most = _most(model, prompt, limits)
    shape = limits.beams, limits.patience, limits.length_penalty
    written, total = search(logits[0], step, rules.apply, tokens.end, most, *shape)
    return Decoded(tuple(written), tokens.decode(written).strip(), total / (len(written) + 1), silence[0], 0.0)


def _most(model: Any, prompt: Sequence[int], limits: Limits) -> int:
    """Tokens that may be written."""
    positions = int(model.config.max_target_positions)
    return min(limits.max_new_tokens or positions // 2, positions - len(prompt))


def write_all(
    model: Any, sounds: Tensor, prompts: Sequence[Sequence[int]], rules: Rules, limits: Limits | None = None
) -> list[Decoded]:
    """The likeliest tokens of several windows at once, one after the other; nothing is tried again.

    Args:
        model: a Whisper with a head, in eval mode.
        sounds: the encoder's vectors, (N, S, D).
        prompts: what the decoder is told of each, all of the same length.
        rules: as in :func:`write`.
        limits: how many tokens may be written at most; the temperature is 0.
    """
    return _rows(model, sounds, prompts, rules, limits or Limits(), 0.0, range(sounds.shape[0]))


def _rows(
    model: Any,
    sounds: Tensor,
    prompts: Sequence[Sequence[int]],
    rules: Rules,
    limits: Limits,
    temperature: float,
    windows: Sequence[int],
) -> list[Decoded]:
    """A text for each row of ``sounds``; rows that have ended wait for the others."""
    tokens, caches = rules.tokens, model.new_caches()
    most = _most(model, prompts[0], limits)
    logits, silence = _first(model, sounds, prompts, tokens, caches)
    count = len(windows)
    written: list[list[int]] = [[] for _ in range(count)]
    total, ended = [0.0] * count, [False] * count
    for step in range(most):
        chosen = [tokens.end] * count
        for row in [i for i in range(count) if not ended[i]]:
            allowed = rules.apply(logits[row], written[row])
            token = _choose(allowed, temperature, (limits.seed, windows[row], step, round(100 * temperature)))
            total[row] += float(allowed[token]) - _log_sum(allowed)
            chosen[row], ended[row] = token, token == tokens.end
            if not ended[row]:
                written[row].append(token)
        if all(ended):
            break
        if step + 1 < most:
            logits = _next(model, sounds, chosen, caches)
    return [
        Decoded(tuple(row), tokens.decode(row).strip(), total[i] / (len(row) + 1), silence[i], temperature)
        for i, row in enumerate(written)
    ]


def _first(model: Any, sounds: Tensor, prompts: Sequence[Sequence[int]], tokens: Tokens, caches: Any) -> tuple[Rows, list[float]]:
    """The logits behind the prompts, and the probabilities that nothing is said, which the start mark tells."""
    with inference_mode():
        ids = from_numpy(np.array(prompts, np.int64)).to(sounds.device)
        hidden = model.forward_features(None, ids, None, sounds, caches)
        place = list(prompts[0]).index(tokens.start)
        rows = model.forward_head(hidden[:, [place, len(prompts[0]) - 1]]).float().cpu().numpy()
    silent = tokens.no_speech
    return rows[:, 1], [0.0 if silent is None else float(np.exp(row[silent] - _log_sum(row))) for row in rows[:, 0]]


def _next(model: Any, sounds: Tensor, chosen: Sequence[int], caches: Any) -> Rows:
    with inference_mode():
        ids = from_numpy(np.array(chosen, np.int64)[:, None]).to(sounds.device)
        found = model(decoder_input_ids=ids, encoder_outputs=sounds, caches=caches, last=True)
    return np.asarray(found.float().cpu().numpy()[:, -1])


def _choose(logits: Row, temperature: float, counters: tuple[int, ...]) -> int:
    if not temperature:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / temperature
    shares = np.cumsum(np.exp(scaled - scaled.max()))
    seed, *rest = counters
    draw = float(random.key(seed, "generation", *rest).uniform((1,))[0]) * shares[-1]
    return int(np.searchsorted(shares, draw, side="right"))


def language_of(model: Any, sound: Tensor, tokens: Tokens) -> dict[str, float]:
    """How likely each language is that the model knows, the likeliest first; English alone for a model of English.

    Args:
        model, sound: as in :func:`write`.
        tokens: the model's.
    """
    if not tokens.languages:
        return {"en": 1.0}
    with inference_mode():
        ids = from_numpy(np.array([[tokens.start]], np.int64)).to(sound.device)
        logits = model(decoder_input_ids=ids, encoder_outputs=sound, last=True).float().cpu().numpy()[0, -1]
    scores = logits[list(tokens.languages.values())].astype(np.float64)
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")
    names = list(tokens.languages)
    return {names[i]: float(shares[i]) for i in order}
