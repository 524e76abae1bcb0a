"""When words are said: the cheapest way through a table, words from tokens, and marks that belong to them."""

from __future__ import annotations

import functools
from itertools import pairwise
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.audio.transcript import Word
from nyala.audio.whisper import alignment
from nyala.audio.whisper.alignment import cheapest_way, heads_of, join_marks, listened, median_filter, pieces
from nyala.errors import ArgumentError

PROMPTS = Path(__file__).parents[2] / "goldens" / "audio" / "prompts"


@pytest.mark.parametrize(("seed", "shape"), [(0, (1, 1)), (1, (4, 9)), (2, (9, 4)), (3, (6, 6))])
def test_no_way_is_cheaper(seed: int, shape: tuple[int, int]) -> None:
    cost = np.random.default_rng(seed).normal(size=shape)

    @functools.cache
    def least(i: int, j: int) -> float:
        before = [least(a, b) for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
        return float(cost[i, j]) + (min(before) if before else 0.0)

    rows, columns = cheapest_way(cost)
    steps = set(zip(np.diff(rows).tolist(), np.diff(columns).tolist(), strict=True))
    assert steps <= {(0, 1), (1, 0), (1, 1)}
    assert (rows[0], columns[0]) == (0, 0) and (rows[-1] + 1, columns[-1] + 1) == shape
    assert cost[rows, columns].sum() == pytest.approx(least(shape[0] - 1, shape[1] - 1))


def test_medians_by_hand() -> None:
    rows = np.random.default_rng(1).normal(size=(2, 20))
    padded = np.pad(rows, ((0, 0), (3, 3)), mode="reflect")
    expected = np.stack([np.median(padded[:, i : i + 7], axis=1) for i in range(20)], 1)
    assert np.array_equal(median_filter(rows, 7), expected)
    assert np.array_equal(median_filter(rows[:, :3], 7), rows[:, :3])  # too short for it


def test_heads_that_the_model_has_not() -> None:
    assert heads_of({"alignment_heads": [[1, 0]]}, 2, 2) == [(1, 0)]
    with pytest.raises(ArgumentError, match="head 2 of layer 1: the decoder has 2 layers of 2 heads"):
        heads_of({"alignment_heads": [[1, 2]]}, 2, 2)


def test_words_from_tokens(whisper_folder: Path) -> None:
    tokens = nyala.load(str(whisper_folder)).tokens
    ids = [0, 1, 11, 10, 12, 2]  # "ab", " a", ".", " b", "c"
    assert [p.text for p in pieces(tokens, ids, "en")] == ["ab", " a", ".", " bc"]
    assert [p.text for p in pieces(tokens, ids, "zh")] == ["a", "b", " a", ".", " b", "c"]
    assert sum((p.tokens for p in pieces(tokens, ids, "en")), ()) == tuple(ids)


def test_marks_join_the_words_they_belong_to() -> None:
    words = [Word(i, i + 1, text) for i, text in enumerate([" (", "so", ")", " it", " is", ".", '"'])]
    joined = join_marks(words)
    assert [w.text for w in joined] == [" (so)", " it", ' is."'] and (joined[0].start, joined[0].end) == (0, 2)


def test_what_heads_listen_to_is_their_attention(whisper_folder: Path) -> None:
    model = nyala.load(str(whisper_folder)).model.requires_grad_(False)
    sound = nyala.randn(1, 50, 8)
    _, weights = listened(model, sound, [14, 1, 2], [(0, 0), (0, 1)], 50)
    assert weights.shape == (2, 3, 50) and np.allclose(weights.sum(-1), 1)
    _, found = model.forward_intermediates(
        decoder_input_ids=nyala.tensor([[14, 1, 2]]),
        encoder_outputs=sound,
        names=["model.decoder.layers.0.encoder_attn.out_proj"],
    )
    attention = model.model.decoder.layers[0].encoder_attn
    values = sound @ attention.v_proj.weight.T + attention.v_proj.bias
    mixed = np.concatenate([weights[h] @ values.numpy()[0, :, 4 * h : 4 * h + 4] for h in range(2)], 1)
    expected = mixed @ attention.out_proj.weight.numpy().T + attention.out_proj.bias.numpy()
    assert np.allclose(found["model.decoder.layers.0.encoder_attn.out_proj"].numpy()[0], expected, atol=1e-5)


def test_words_beside_a_pause_are_no_longer_than_others() -> None:
    words = [Word(0.0, 5.0, " So"), Word(5.0, 5.4, " it"), Word(5.4, 5.8, " is"), Word(5.8, 9.0, ".")]
    found = alignment._sober(words)
    assert (found[0].start, found[0].end) == (3.6, 5.0) and found[3].end == pytest.approx(7.2) and found[1:3] == words[1:3]


@pytest.mark.weights
def test_the_published_model_hears_words_where_they_are() -> None:
    """After a pause a word begins where the sound goes on, within a fifth of a second; the pauses were measured."""
    said = nyala.load("whisper-tiny.en")(PROMPTS / "demo-congrats.flac", words=True, timestamps=True)
    words = [w for s in said.segments for w in s.words]
    assert " ".join(w.text for w in words) == said.text
    for quiet, loud in [(1.32, 1.56), (6.16, 6.32), (6.88, 7.36), (15.52, 15.88), (19.04, 19.56), (25.8, 26.12)]:
        assert min(abs(w.start - loud) for w in words) < 0.2, (quiet, loud)
        assert not any(quiet < w.start and w.end < loud for w in words)
    starts = {w.text: w.start for w in reversed(words)}
    assert abs(starts["You"] - 1.56) < 0.2 and abs(starts["PBX."] - 6.32) < 0.2
    assert all(a.end <= b.start + 1e-6 for a, b in pairwise(words)) and min(w.score for w in words) > 0.01


@pytest.mark.weights
def test_a_word_has_its_own_times_and_not_the_next_ones() -> None:
    """The recording is silent from 0.56 to 0.78 seconds, between its first word and the second."""
    said = nyala.load("whisper-tiny.en")(PROMPTS / "agent-loginok.flac", words=True)
    first, second = [w for s in said.segments for w in s.words][:2]
    assert (first.text, second.text) == ("Agent", "logged")
    assert first.start < 0.2 and 0.5 < first.end < 0.82 and 0.5 < second.start < 0.82
