"""Tokens hidden at random: how many, which, and by what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nyala.core import random
from nyala.errors import DataError
from nyala.hub.files import folder_files
from nyala.text.pipelines.tagging import NO_TAG
from nyala.text.tokenizers.masking import Masker
from nyala.text.tokenizers.tokenizer import Tokenizer

FOLDER = Path(__file__).parents[2] / "goldens" / "text" / "tokenizers"


def masker(name: str = "bert", **options: Any) -> Masker:
    return Masker(Tokenizer.from_files(folder_files(FOLDER / name)).replace(max_length=5000), **options)


def ids_of(m: Masker, text: str = "Antelopes of southern Africa graze at dawn and hide in thickets. " * 40) -> np.ndarray:
    return np.array(m.tokenizer.ids(text))


def test_shares_of_hidden_kept_and_other_tokens() -> None:
    m = masker(probability=0.2, random=0.3, keep=0.25)
    ids = np.tile(ids_of(m), 20)
    hidden, told = m(ids, random.key(1, "masking"))
    chosen = told != NO_TAG
    special = np.isin(ids, [2, 3])
    assert not (chosen & special).any() and np.array_equal(hidden[~chosen], ids[~chosen])
    assert np.array_equal(told[chosen], ids[chosen])
    assert chosen[~special].mean() == pytest.approx(0.2, abs=0.01)
    masked, same = hidden[chosen] == m.tokenizer.mask_id, hidden[chosen] == ids[chosen]
    assert masked.mean() == pytest.approx(0.45, abs=0.03) and same.mean() == pytest.approx(0.25 + 0.3 / 115, abs=0.03)


def test_the_same_key_hides_the_same_and_another_key_others() -> None:
    m = masker()
    ids = ids_of(m)
    one, again, other = (m(ids, random.key(seed, "masking")) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[1], other[1])


def test_something_is_always_hidden_but_of_nothing() -> None:
    m = masker(probability=0.001)
    ids = ids_of(m, "The cat")
    for seed in range(20):
        assert (m(ids, random.key(seed, "masking"))[1] != NO_TAG).sum() == 1
    empty, told = m(ids_of(m, ""), random.key(0, "masking"))
    assert empty.tolist() == [2, 3] and (told == NO_TAG).all()


@pytest.mark.parametrize("name", ["bert", "roberta", "unigram"])
def test_whole_words_are_hidden_together(name: str) -> None:
    m = masker(name, probability=0.3, whole_words=True, random=0.0, keep=0.0)
    text = "southern antelopes hide reasons thickets " * 60
    ids = ids_of(m, text)
    _, told = m(ids, random.key(3, "masking"))
    words = m.tokenizer.encode_words([text.split()])[0]
    if name != "bert":  # where words are told apart by the spaces before them
        words = words._replace(ids=ids.tolist(), pieces=spaced(m, ids))
    assert len(words.ids) == len(ids)
    by_word = {w: {bool(told[i] != NO_TAG) for i, p in enumerate(words.pieces) if p == w} for w in set(words.pieces) - {-1}}
    assert len(by_word) > 200 and all(len(fates) == 1 for fates in by_word.values())
    assert len({next(iter(fates)) for fates in by_word.values()}) == 2


def spaced(m: Masker, ids: np.ndarray) -> list[int]:
    """The word of each token, by the spaces that tokens begin with."""
    found, word = [], 0
    for token in map(m.tokenizer.token, ids):
        word += token[:1] in ("Ġ", "▁")
        found.append(-1 if token in ("<s>", "</s>") else word)
    return found


def test_a_tokenizer_without_a_mask() -> None:
    with pytest.raises(DataError, match="this tokenizer has no mask"):
        masker("gpt2")
