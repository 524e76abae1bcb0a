"""When each word of a Whisper's text is said, by what its decoder listened to while it wrote (cross-attention).

The method is that of the paper's own code (Radford et al., ``whisper/timing.py``): the attention of some heads, smoothed and
normalised, is laid out as tokens by frames, and the cheapest way through it says where each token lies.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.autograd import inference_mode
from ...core.create import from_numpy
from ...core.errors import ArgumentError
from ...core.tensor import Tensor
from ..transcript import Word
from .tokens import STEP, Tokens

Rows = np.ndarray[Any, np.dtype[np.float64]]
_SMOOTH = 7  # frames of the median filter
_UNSPACED = {"zh", "ja", "th", "lo", "my", "yue"}  # written without spaces
_BEFORE, _BEHIND = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
_ENDS = ".。!！?？"  # noqa: RUF001
_LONGEST = 0.7  # seconds: no median word lasts longer; one of twice the median begins too early or ends too late


def heads_of(config: Mapping[str, Any], layers: int, heads: int) -> list[tuple[int, int]]:
    """The heads that follow the sound, as (layer, head): those that are published, else all of the upper half of the layers.

    Raises:
        ArgumentError: a published one that the model has not.

    Example:
        >>> heads_of({}, 4, 2)
        [(2, 0), (2, 1), (3, 0), (3, 1)]
    """
    given = config.get("alignment_heads")
    if not given:
        return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
    found = [(int(layer), int(head)) for layer, head in given]
    bad = next((pair for pair in found if not (0 <= pair[0] < layers and 0 <= pair[1] < heads)), None)
    if bad is not None:
        raise ArgumentError(
            f"alignment_heads names head {bad[1]} of layer {bad[0]}",
            why=f"the decoder has {layers} layers of {heads} heads",
            fix="correct the generation_config.json",
        )
    return found


def listened(model: Any, sound: Tensor, ids: Sequence[int], heads: Sequence[tuple[int, int]], frames: int) -> tuple[Rows, Rows]:
    """What the decoder says of each next token, and how much each head listens to each frame.

    Args:
        model: a Whisper with a head, in eval mode.
        sound: the encoder's vectors, (1, S, D).
        ids: prompt, text and end.
        heads: as :func:`heads_of` gives them.
        frames: of S, those that are of the sound.

    Returns:
        Logits (T, vocabulary), and weights (heads, T, frames) that sum to 1 over the frames; float64.
    """
    names = [f"model.decoder.layers.{layer}.encoder_attn.{role}_proj" for layer in {h[0] for h in heads} for role in "qk"]
    with inference_mode():
        row = from_numpy(np.array([list(ids)], np.int64)).to(sound.device)
        logits, found = model.forward_intermediates(decoder_input_ids=row, encoder_outputs=sound, names=names)
    count = int(model.config.decoder_attention_heads)
    weights = []
    for layer, head in heads:
        query, key = (_head(found[f"model.decoder.layers.{layer}.encoder_attn.{role}_proj"], head, count) for role in "qk")
        weights.append(_softmax(query @ key[:frames].T / np.sqrt(query.shape[1])))
    return logits.float().cpu().numpy()[0].astype(np.float64), np.stack(weights)


def _head(projected: Tensor, head: int, count: int) -> Rows:
    array = projected.float().cpu().numpy()[0].astype(np.float64)
    width = array.shape[1] // count
    return array[:, head * width : (head + 1) * width]


def _softmax(scores: Rows) -> Rows:
    found = np.exp(scores - scores.max(-1, keepdims=True))
    return found / found.sum(-1, keepdims=True)


def median_filter(rows: Rows, width: int = _SMOOTH) -> Rows:
    """The median of ``width`` neighbours along the last axis, mirrored at the ends.

    Example:
        >>> median_filter(np.array([[1.0, 9.0, 2.0, 3.0, 8.0]]), 3).tolist()
        [[9.0, 2.0, 3.0, 3.0, 3.0]]
    """
    half = width // 2
    if rows.shape[-1] <= half:
        return rows
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(half, half)], mode="reflect")
    return np.asarray(np.sort(np.lib.stride_tricks.sliding_window_view(padded, width, axis=-1), axis=-1)[..., half])


def cheapest_way(cost: Rows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The way from the first to the last cell that costs least, by steps down, right, or both (dynamic time warping).

    Args:
        cost: (N, M).

    Returns:
        Rows and columns of the cells on it, int64.

    Example:
        >>> cheapest_way(np.array([[0.0, 0.0, 5.0], [5.0, 5.0, 0.0]]))
        (array([0, 0, 1]), array([0, 1, 2]))
    """
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    steps = np.zeros((n + 1, m + 1), np.int8)
    for diagonal in range(2, n + m + 1):  # cells of one diagonal do not depend on each other
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        both, down, right = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        chosen = np.where((both < down) & (both < right), 0, np.where((down < both) & (down < right), 1, 2))
        total[i, j] = cost[i - 1, j - 1] + np.choose(chosen, [both, down, right])
        steps[i, j] = chosen
    steps[0, :], steps[:, 0] = 2, 1
    i, j, rows, columns = n, m, [], []
    while i > 0 or j > 0:
        rows.append(i - 1)
        columns.append(j - 1)
        step = steps[i, j]
        i, j = i - (step != 2), j - (step != 1)
    return np.array(rows[::-1]), np.array(columns[::-1])


@dataclass(frozen=True)
class Piece:
    """A word as the tokenizer cuts it: its text with the space before it, and its tokens."""

    text: str
    tokens: tuple[int, ...]


def pieces(tokens: Tokens, ids: Sequence[int], language: str) -> list[Piece]:
    """Tokens of a text as words; marks stand alone until :func:`join_marks`."""
    found: list[Piece] = []
    for part in _whole_letters(tokens, ids):
        text = part.text
        begins = text.startswith(" ") or text.strip() in string.punctuation or language in _UNSPACED
        if begins or not found:
            found.append(part)
        else:
            found[-1] = Piece(found[-1].text + text, found[-1].tokens + part.tokens)
    return found


def _whole_letters(tokens: Tokens, ids: Sequence[int]) -> list[Piece]:
    """The shortest runs of tokens that spell whole letters: one letter may take several."""
    found, held = [], []
    for number in ids:
        held.append(int(number))
        text = tokens.decode(held)
        if "\ufffd" not in text:
            found.append(Piece(text, tuple(held)))
            held = []
    return [*found, Piece(tokens.decode(held), tuple(held))] if held else found


def join_marks(words: Sequence[Word]) -> list[Word]:
    """Opening marks go to the word behind them, all others to the word before.

    Example:
        >>> said = [Word(0.0, 0.1, " ("), Word(0.1, 0.5, "yes"), Word(0.5, 0.6, ","), Word(0.6, 0.9, " no")]
        >>> [w.text for w in join_marks(said)]
        [' (yes,', ' no']
    """
    found = list(words)
    for i in range(len(found) - 2, -1, -1):
        if found[i].text.startswith(" ") and found[i].text.strip() in _BEFORE:
            after = found.pop(i + 1)
            found[i] = Word(found[i].start, after.end, found[i].text + after.text, after.score)
    i = 0
    while i + 1 < len(found):
        if not found[i].text.endswith(" ") and found[i + 1].text in _BEHIND:
            after = found.pop(i + 1)
            found[i] = Word(found[i].start, found[i].end, found[i].text + after.text, found[i].score)
        else:
            i += 1
    return found


def align(
    model: Any, sound: Tensor, tokens: Tokens, prompt: Sequence[int], text: Sequence[int], language: str,
    heads: Sequence[tuple[int, int]], seconds: float,
) -> list[Word]:  # fmt: skip
    """The words of a text and when they are said.

    Args:
        model: a Whisper with a head, in eval mode.
        sound: the encoder's vectors of a window, (1, S, D).
        tokens: the model's.
        prompt: what the decoder is told before the text, without times.
        text: the text's tokens, without times and end.
        language: of the text: some are written without spaces.
        heads: as :func:`heads_of` gives them.
        seconds: length of the sound in the window.

    Returns:
        Words with times from the window's beginning; their texts joined are the text.
    """
    if not text:
        return []
    frames = max(1, min(sound.shape[1], round(seconds / STEP)))
    ids = [*prompt, *text, tokens.end]
    logits, weights = listened(model, sound, ids, heads, frames)
    deviation = weights.std(-2, keepdims=True)
    normal = (weights - weights.mean(-2, keepdims=True)) / np.maximum(deviation, 1e-12)
    # what listens for a token is the one before it: the prompt's last for the text's first, and the text's last for the end
    matrix = median_filter(normal).mean(0)[len(prompt) - 1 : -1]
    rows, columns = cheapest_way(-matrix)
    starts = columns[np.flatnonzero(np.diff(rows, prepend=-1))] * STEP
    chances = _softmax(logits[len(prompt) - 1 : -2, : tokens.end])[np.arange(len(text)), list(text)]
    found, at = [], 0
    for piece in pieces(tokens, text, language):
        end = at + len(piece.tokens)
        found.append(Word(float(starts[at]), float(starts[end]), piece.text, float(chances[at:end].mean())))
        at = end
    return [_rounded(word) for word in join_marks(_sober(found))]


def _sober(words: Sequence[Word]) -> list[Word]:
    """Words beside a pause are not as long as the pause: at most twice the median."""
    lasting = [w.end - w.start for w in words if w.end > w.start]
    if not lasting:
        return list(words)
    most = 2 * min(_LONGEST, float(np.median(lasting)))
    found = list(words)
    for i, word in enumerate(found):
        if word.end - word.start <= most:
            continue
        if word.text.strip() in _ENDS:
            found[i] = Word(word.start, word.start + most, word.text, word.score)
        elif i == 0 or found[i - 1].text.strip() in _ENDS:
            found[i] = Word(word.end - most, word.end, word.text, word.score)
    return found


def _rounded(word: Word) -> Word:
    return Word(round(word.start, 3), round(word.end, 3), word.text, round(word.score, 4))
