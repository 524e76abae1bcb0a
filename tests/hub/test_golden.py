"""Golden answers: what counts as the same, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import nyala
import pytest
from nyala.errors import DataError
from nyala.hub.golden import SENTENCE, SOUND, answer, check, chirp, record, waves


@pytest.fixture
def pictures(tiny_folder):
    return nyala.load(tiny_folder)


@pytest.fixture
def texts(text_folder):
    return nyala.load(text_folder)


def test_the_waves_are_what_the_cards_say():
    array = waves(3, 5, 4)
    assert array.shape == (1, 3, 5, 4) and array.dtype == np.float32
    assert array[0, 2, 3, 1] == np.float32(np.sin(0.1 * 3 * 3) * np.cos(0.07 * 3 * 1))


def test_what_was_recorded_is_right_and_another_model_is_not(pictures, texts, tiny_folder):
    for pipe, source in ((pictures, "waves 3x32x32"), (texts, SENTENCE)):
        golden = record(pipe)
        found = check(pipe, golden)
        assert golden.input == source and found.right and found.worst < 1e-7 and "largest difference" in str(found)
    golden = record(pictures)
    assert golden.argmax == int(answer(pictures, golden.input).argmax()) and len(golden.output) == 5
    other = nyala.load(tiny_folder, random_init=True)
    assert not check(other, golden).right


def test_the_text_golden_is_what_the_pipeline_says(texts):
    assert np.array_equal(answer(texts, SENTENCE).astype(np.float32), texts(SENTENCE))
    assert record(texts).argmax is None


@pytest.mark.parametrize(
    "change",
    [
        {"atol": 1e-4, "output": [0.001]},
        {"argmax": 9},
        {"output": [0.0] * 100},
    ],
)
def test_each_part_of_a_golden_counts(pictures, change):
    golden = record(pictures)
    if "output" in change:
        change = {**change, "output": [golden.output[0] + change["output"][0], *golden.output[1:], *change["output"][1:]]}
    assert not check(pictures, msgspec.structs.replace(golden, **change)).right


def test_an_answer_that_is_not_finite_is_wrong_and_not_recorded(pictures):
    golden = record(pictures)
    with nyala.no_grad():
        pictures.model.fc.bias.fill_(float("nan"))
    found = check(pictures, golden)
    assert not found.right and found.worst == float("inf")
    with pytest.raises(DataError, match="not finite"):
        record(pictures)


@pytest.mark.parametrize(("folder", "argmax"), [("bert_classifier", int), ("bert_tagger", type(None)), ("bert", type(None))])
def test_every_kind_of_text_model_has_an_answer(text_folder, folder, argmax):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(Path(__file__).parents[1] / "goldens" / "text" / folder / name, text_folder)
    pipe = nyala.load(text_folder)
    golden = record(pipe)
    assert len(golden.output) >= 2 and check(pipe, golden).right and type(golden.argmax) is argmax


@pytest.mark.parametrize("source", ["waves 3x0x4", "waves 3x99999999x99999999"])
def test_an_input_that_no_memory_holds_is_refused(pictures, source):
    with pytest.raises(DataError, match="no size of a picture"):
        answer(pictures, source)


def test_an_input_of_another_kind_is_told(pictures):
    with pytest.raises(DataError, match="takes no text"):
        answer(pictures, SENTENCE)


def test_a_model_of_sounds_has_an_answer():
    tone = chirp(2)
    assert tone.shape == (32_000,) and tone.dtype == np.float32 and np.abs(tone).max() < 0.31
    assert tone[4_000] == np.float32(0.3 * np.sin(2 * np.pi * (200 * 0.25 + 200 * 0.0625)) * np.sin(2 * np.pi * 0.25) ** 2)


@pytest.mark.weights
def test_a_recognizer_answers_a_chirp():
    pipe = nyala.load("whisper-tiny.en")
    golden = record(pipe)
    assert golden.input == SOUND and golden.argmax == pipe.card.golden.argmax
    assert check(pipe, golden).right and check(pipe, pipe.card.golden).right
    with pytest.raises(DataError, match="no length of a sound"):
        answer(pipe, "chirp 9999")
