"""Text from tokens as it grows: whole characters, and nothing of a string that ends it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nyala.text.generation import TextStream
from nyala.text.generation.stopping import stops_at


def of_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def of_words(ids: Sequence[int]) -> str:
    """As SentencePiece decodes: the first word loses its space."""
    return "".join([" a", "b", " c", "END"][i] for i in ids).removeprefix(" ")


@settings(max_examples=200, deadline=None)
@given(st.text("ab é猫😀\n.", max_size=30), st.lists(st.text("ab.\n", min_size=1, max_size=3), max_size=2))
def test_the_pieces_are_the_text_up_to_the_stop(text: str, stop: list[str]) -> None:
    stream = TextStream(of_bytes, stop)
    pieces = []
    for byte in text.encode():
        pieces.append(stream.add(byte))
        if stream.stopped:
            break
    pieces.append(stream.close())
    first = min((place for s in stop if (place := text.find(s)) >= 0), default=len(text))
    whole = text[:first]
    assert stream.stopped == (first < len(text))
    # of two strings that come at once the one that began first counts; one that ends sooner ends the text
    assert "".join(pieces) == stream.text
    assert stream.text == whole or any(stream.text + s == text[: len(stream.text) + len(s)] for s in stop)


def test_a_character_comes_when_it_is_whole() -> None:
    stream = TextStream(of_bytes)
    assert [stream.add(b) for b in "é猫".encode()] == ["", "é", "", "", "猫"]
    assert [stream.add(0xC3), stream.close()] == ["", "\ufffd"]


def test_words_keep_the_space_between_them() -> None:
    stream = TextStream(of_words)
    assert "".join([*(stream.add(i) for i in [0, 1, 2] * 9), stream.close()]) == "ab c" + " ab c" * 8


def test_a_long_text_is_not_decoded_again_and_again() -> None:
    longest = 0

    def decode(ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return of_bytes(ids)

    stream = TextStream(decode, ("zz",))
    for _ in range(500):
        stream.add(ord("a"))
    assert longest < 20 and stream.text == "a" * 500


@pytest.mark.parametrize(("text", "expected"), [("xxENDyy", 5), ("xx", None), ("END", 3)])
def test_the_token_with_which_a_string_is_there(text: str, expected: int | None) -> None:
    stop = stops_at(of_bytes, ["END"])
    assert stop is not None
    raw = list(text.encode())
    assert next((i for i in range(1, len(raw) + 1) if stop(raw[:i])), None) == expected
    assert stops_at(of_bytes, []) is None
