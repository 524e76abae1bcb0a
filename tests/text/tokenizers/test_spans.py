"""Stretches that are cut out of texts, tokenizers of one's own texts, and what written texts have in common with references."""

from __future__ import annotations

import numpy as np
import pytest
from nyala import random
from nyala.errors import ArgumentError, DataError
from nyala.text.scores.rouge import rouge
from nyala.text.tokenizers.spans import SpanCorruption, lengths
from nyala.text.tokenizers.training import train_tokenizer

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 3
T5 = {"pad_token_id": 0, "eos_token_id": 1}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 310, T5, sentinels=12)


def test_what_is_read_and_what_is_written_make_the_text_again(tokenizer) -> None:
    corrupt = SpanCorruption(tokenizer, 1, density=0.3, mean_length=2.0)
    ids = np.arange(20, 80)
    for i in range(20):
        read, told = corrupt(ids, random.key(0, "spans", i))
        pieces = dict.fromkeys(corrupt.sentinels, ())
        current = None
        for token in told[:-1].tolist():
            if token in pieces:
                current = token
            else:
                pieces[current] = (*pieces[current], token)
        whole = [t for token in read[:-1].tolist() for t in pieces.get(token, (token,))]
        assert whole == ids.tolist()
        assert read[-1] == told[-1] == 1 and len(told) <= corrupt.longest(len(ids))
        assert sum(map(len, pieces.values())) == 18 and sum(map(bool, pieces.values())) == 9


def test_the_same_key_cuts_the_same_and_others_cut_elsewhere(tokenizer) -> None:
    corrupt = SpanCorruption(tokenizer, 1, density=0.3)
    ids = np.arange(20, 80)
    first, again, other = (corrupt(ids, random.key(seed, "spans"))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_short_rows_keep_and_lose_a_token(tokenizer, count: int) -> None:
    read, told = SpanCorruption(tokenizer, 1)(np.arange(20, 20 + count), random.key(0, "x"))
    assert len(told) >= 3 and len(read) >= 2 and (count == 1 or read[0] == 20)


def test_there_are_no_more_stretches_than_sentinels(tokenizer) -> None:
    read, _ = SpanCorruption(tokenizer, 1, density=0.5, mean_length=1.0)(np.arange(20, 120), random.key(0, "x"))
    assert np.isin(read, SpanCorruption(tokenizer, 1).sentinels).sum() == 12


def test_lengths_are_all_sums_alike() -> None:
    found = np.array([lengths(random.key(0, "l", i), 5, 3) for i in range(600)])
    assert (found.sum(1) == 5).all() and (found >= 1).all()
    assert len({tuple(row) for row in found.tolist()}) == 6
    np.testing.assert_allclose(found.mean(0), 5 / 3, atol=0.1)


def test_a_tokenizer_without_sentinels_is_refused() -> None:
    with pytest.raises(DataError, match="no sentinels"):
        SpanCorruption(train_tokenizer(TEXTS, 300, T5), 1)


def test_a_new_tokenizer_has_the_models_numbers_and_gives_texts_back(tokenizer) -> None:
    backend = tokenizer.backend
    assert [backend.token_to_id(t) for t in ("<pad>", "</s>", "<extra_id_0>", "<extra_id_11>")] == [
        0,
        1,
        tokenizer.vocab_size - 1,
        tokenizer.vocab_size - 12,
    ]
    for text in ("the cat", "  two  spaces ", "\u65e5\u672c\n\U0001f98c"):
        assert tokenizer.decode(tokenizer.ids(text)) == text and tokenizer.ids(text)[-1] == 1
    assert backend.to_str() == train_tokenizer(TEXTS, 310, T5, sentinels=12).backend.to_str()
    bart = train_tokenizer(TEXTS, 300, {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2})
    assert bart.ids("the")[0] == 0 and bart.ids("the")[-1] == 2 and bart.pad_id == 1


def test_what_makes_no_tokenizer_is_refused() -> None:
    with pytest.raises(ArgumentError, match="a tokenizer of 260 tokens"):
        train_tokenizer(TEXTS, 260, T5, sentinels=8)
    with pytest.raises(ArgumentError, match="do not stand at the beginning"):
        train_tokenizer(TEXTS, 300, {"pad_token_id": 58100, "eos_token_id": 0})
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(["", " "], 300, T5)


@pytest.mark.parametrize(
    ("written", "reference", "expected"),
    [
        ("the cat sat on a mat", "the cat was on the mat", (2 / 3, 2 / 3)),
        ("police kill the gunman", "police killed the gunman", (0.75, 0.75)),
        ("the gunman kill police", "police killed the gunman", (0.75, 0.5)),  # Lin 2004, section 3
        ("a a a", "a", (0.5, 0.5)),
        ("", "a", (0.0, 0.0)),
        ("?!", "", (1.0, 1.0)),
    ],
)
def test_rouge(written: str, reference: str, expected: tuple[float, float]) -> None:
    assert rouge(written, reference) == pytest.approx(expected)
