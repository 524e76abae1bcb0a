"""Tables and names of results: they line up whatever the texts hold, and broken lines stay in their column."""

from __future__ import annotations

import pytest
from nyala.errors import ArgumentError
from nyala.hub.results import cells_wide, picture_path, shortened, table


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    text = table(["name", "size", "score"], [["a", "11.7 M", 0.5], ["bc", "4.7 M", 0.25]])
    assert text.splitlines() == [
        "name    size   score",
        "----  ------  ------",
        "a     11.7 M  0.5000",
        "bc     4.7 M  0.2500",
    ]


def test_wide_characters_and_accents_line_up() -> None:
    text = table(["text", "label"], [["日本語", "x"], ["cafe\u0301", "y"], ["plain", "z"]])
    assert [cells_wide(line[: line.index(c)]) for line, c in zip(text.splitlines()[2:], "xyz", strict=True)] == [8, 8, 8]


def test_a_long_last_column_goes_on_below_itself() -> None:
    text = table(["recipe", "what it does"], [["a/b", "one two three four five six seven eight"]], width=34)
    assert text.splitlines()[2:] == ["a/b     one two three four five", "        six seven eight"]
    assert max(map(len, text.splitlines())) <= 34


def test_short_texts_stay_and_long_ones_lose_their_end() -> None:
    assert shortened("a\tb\n c") == "a b c"
    assert shortened("") == shortened(" \n") == "(empty)"
    assert shortened("a" * 100, 20) == "a" * 17 + "..."
    assert cells_wide(shortened("語" * 100, 20)) <= 20
    assert shortened("abc\u202edef\x07") == "abcdef"  # neither turns the line around nor rings


def test_a_picture_that_could_not_be_written_is_refused_beforehand(tmp_path) -> None:
    assert picture_path(tmp_path / "a.PNG") == tmp_path / "a.PNG"
    with pytest.raises(ArgumentError, match=r"x\.gif is no picture file.*\.png, \.jpg"):
        picture_path("x.gif")
    with pytest.raises(ArgumentError, match=r"there is no folder .*nowhere.*make it first"):
        picture_path(tmp_path / "nowhere" / "a.png")
