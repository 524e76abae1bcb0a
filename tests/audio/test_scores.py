"""Word error rates."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.audio.scores import distance, word_error_rate, words
from nyala.errors import ArgumentError


def slow(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    table[:, 0], table[0] = range(len(a) + 1), range(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a[i - 1] != b[j - 1]))
    return table[-1, -1]


def test_distance_is_the_textbooks():
    random = np.random.default_rng(0)
    for _ in range(200):
        a, b = (random.integers(0, 4, random.integers(0, 9)).tolist() for _ in range(2))
        assert distance(a, b) == slow(a, b)


def test_words_without_marks():
    assert words("  HELLO, world\u2014it\u2019s 7:30! ") == ["hello", "world", "it's", "7", "30"]
    assert words("?!") == []


def test_rates_count_all_words_alike():
    assert word_error_rate(["a b c", "d"], ["a b c", ""]) == 0.25
    assert word_error_rate(["a"], ["a b c"]) == 2.0
    with pytest.raises(ArgumentError, match="1 references for 2"):
        word_error_rate(["a"], ["a", "b"])
    with pytest.raises(ArgumentError, match="no words"):
        word_error_rate(["?"], ["a"])
