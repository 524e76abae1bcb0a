"""What may follow what: the rules of times, and the lists."""

from __future__ import annotations

import numpy as np
import pytest
from nyala.audio.whisper.decoding import Decoded, Limits, Rules
from nyala.audio.whisper.tokens import Tokens
from nyala.errors import ArgumentError, DataError, MissingFileError
from nyala.hub.files import Files, folder_files

FIRST, COUNT, END = 23, 74, 13


@pytest.fixture
def rules(whisper_folder) -> Rules:
    tokens = Tokens.from_files(folder_files(whisper_folder), COUNT)
    return Rules.of(tokens, True, [3], [9, END], COUNT)


def allowed(rules: Rules, written: list[int], favourite: int = 0) -> set[int]:
    logits = np.zeros(COUNT, np.float32)
    logits[favourite] = 20
    return set(np.flatnonzero(rules.apply(logits, written) > -np.inf).tolist())


TEXT = {0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12}


def test_a_text_begins_with_a_time(rules):
    assert allowed(rules, []) == set(range(FIRST, FIRST + 51))


def test_behind_a_pair_or_the_first_time_stands_text(rules):
    assert allowed(rules, [FIRST]) == TEXT | {END}
    assert allowed(rules, [FIRST, 0, FIRST + 5, FIRST + 5]) == TEXT | {END}


def test_behind_the_end_of_a_segment_stands_its_twin_or_the_end(rules):
    assert allowed(rules, [FIRST, 0, FIRST + 5], END) == {END, *range(FIRST + 5, COUNT)}


def test_times_never_go_back_and_segments_are_not_empty(rules):
    assert allowed(rules, [FIRST + 4, 0]) == TEXT | {END} | set(range(FIRST + 5, COUNT))


def test_times_win_where_together_they_are_likelier_than_any_text(rules):
    logits = np.zeros(COUNT, np.float32)
    logits[0] = 3.0  # of 46 times each with 0: together ln 46 = 3.8
    assert rules.apply(logits, [FIRST + 4, 0])[0] == -np.inf
    logits[0] = 4.0
    assert rules.apply(logits, [FIRST + 4, 0])[0] == 4.0


def test_marks_are_never_written_and_the_input_stays(rules):
    logits = np.zeros(COUNT, np.float32)
    plain = Rules(rules.tokens, False, rules.never, rules.not_first).apply(logits, [])
    assert set(np.flatnonzero(plain == -np.inf)) == {3, 9, END, *range(END + 1, FIRST)}
    assert not logits.any()


def test_limits() -> None:
    good = Decoded((0,), "a text", -0.5, 0.1, 0.0)
    assert Limits().fine(good) and not Limits().silent(good)
    assert not Limits().fine(Decoded((0,), "on and on " * 40, -0.5, 0.1, 0.0))
    guess = Decoded((0,), "a", -1.5, 0.1, 0.0)
    assert not Limits().fine(guess) and not Limits().silent(guess)
    assert Limits().silent(Decoded((0,), "a", -1.5, 0.9, 0.0))
    with pytest.raises(ArgumentError, match="temperatures"):
        Limits(temperatures=(-1.0,))
    with pytest.raises(ArgumentError, match="max_new_tokens=0"):
        Limits(max_new_tokens=0)


def test_tokens_of_a_model_for_english_alone_have_no_languages(whisper_folder) -> None:
    files = folder_files(whisper_folder)
    assert Tokens.from_files(files, COUNT).languages == {"en": 15, "de": 16}
    english = Tokens.from_files(files, 51_864)
    assert english.languages == {} and english.prompt(None, "transcribe", False) == [14, 22]


def test_a_tokenizer_of_another_model_is_refused(whisper_folder, text_tokenizer) -> None:
    (whisper_folder / "tokenizer.json").write_text(text_tokenizer)
    with pytest.raises(DataError, match="not the tokenizer of a Whisper"):
        Tokens.from_files(folder_files(whisper_folder), COUNT)
    (whisper_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is not a tokenizer"):
        Tokens.from_files(folder_files(whisper_folder), COUNT)
    with pytest.raises(MissingFileError):
        Tokens.from_files(Files({}, origin="nowhere"), COUNT)


@pytest.fixture
def text_tokenizer() -> str:
    import tokenizers

    return tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, [])).to_str()
