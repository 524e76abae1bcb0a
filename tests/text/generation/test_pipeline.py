"""The pipeline that continues texts and answers, on a tiny chat model: settings, limits, and what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
import tiny_chat
from nyala.errors import ArgumentError, DataError, IndexRangeError, MissingFileError
from nyala.text.generation import Continuations, PrefixCache, TextGeneration


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return nyala.load(tiny_chat.write(tmp_path_factory.mktemp("chat")))


def test_texts_and_lists(pipe) -> None:
    assert isinstance(pipe, TextGeneration)
    one = pipe("A cat", max_new_tokens=8)
    found = pipe(["A cat", "Über 猫"], max_new_tokens=8)
    assert isinstance(one, str) and isinstance(found, Continuations)
    assert found[0] == one and list(found) == [d.text for d in found.details] and found[:1] == [one]
    assert "goes on" in repr(found) and found.draw().size[0] > 100
    told = found.to_dict()
    assert told[0]["input"] == "A cat" and told[0]["finish"] in ("end", "length") and "score" not in told[0]


def test_many_texts_go_in_batches_and_come_back_in_order(pipe) -> None:
    texts = ["a" * (1 + i * 7 % 11) for i in range(20)]
    assert list(pipe(texts, max_new_tokens=5)) == [pipe(text, max_new_tokens=5) for text in texts]


def test_several_texts_for_each(pipe) -> None:
    found = pipe(["x", "y"], num_return_sequences=3, temperature=1.0, max_new_tokens=6)
    assert len(found) == 6 and found.prompts == ("x",) * 3 + ("y",) * 3
    beams = pipe("x", num_beams=3, num_return_sequences=2, max_new_tokens=6)
    assert len(beams) == 2 and beams.details[0].score >= beams.details[1].score


def test_a_stream_is_the_text(pipe) -> None:
    for settings in ({}, {"temperature": 1.3, "seed": 5}, {"stop": "e"}, {"draft": "lookup"}, {"draft": pipe}):
        assert "".join(pipe.stream("A cat", max_new_tokens=20, **settings)) == pipe("A cat", max_new_tokens=20, **settings)


def test_a_string_ends_the_text_and_is_left_out(pipe) -> None:
    whole = pipe("A cat", max_new_tokens=20, temperature=1.0, seed=1)
    stop = next(c for c in whole[3:] if c not in whole[:3] and c != "\ufffd")
    found = pipe.continuations(["A cat"], max_new_tokens=20, temperature=1.0, seed=1, stop=stop).details[0]
    assert found.text == whole[: whole.index(stop)] and found.finish == "stop"


def test_probabilities_are_told(pipe) -> None:
    found = pipe.continuations(["A cat"], max_new_tokens=4, logprobs=2).details[0]
    assert len(found.told) == len(found.tokens) and all(len(t.alternatives) == 2 for t in found.told)
    assert found.told[0].alternatives[0] == (found.told[0].text, found.told[0].logprob)
    scores = pipe.logits(["A cat"])[0].astype(np.float64)
    assert found.told[0].logprob == pytest.approx(float(scores.max() - np.log(np.exp(scores).sum())), abs=1e-4)
    assert json.loads(json.dumps(found.to_dict()))["tokens"][0]["logprob"] == found.told[0].logprob


def test_what_is_asked_for_comes_out(pipe) -> None:
    for seed in range(3):
        draws = {"temperature": 1.0, "seed": seed, "max_new_tokens": 30}
        assert re.fullmatch(r"\d{3}-[a-z]+", pipe("Number: ", regex=r"\d{3}-[a-z]+", **draws))
        found = json.loads(
            "".join(pipe.stream("{}", json_schema={"required": ["a"], "properties": {"a": {"type": "null"}}}, **draws))
        )
        assert found == {"a": None}


def test_conversations(pipe) -> None:
    answer = pipe.chat("Hello", max_new_tokens=8)
    assert pipe.chat([{"role": "user", "content": "Hello"}], max_new_tokens=8) == answer
    ids = pipe.chat_ids([{"role": "system", "content": "S"}, {"role": "user", "content": "<|end|>"}])
    names = [pipe.preprocess.token(i) for i in ids]
    assert names == ["<|system|>", "S", "<|end|>", "<|user|>", "<|end|>", "<|end|>", "<|bot|>"]
    prefix = PrefixCache()
    talk = [{"role": "user", "content": "Hello"}]
    talk += [
        {"role": "assistant", "content": pipe.chat(talk, prefix=prefix, max_new_tokens=8)},
        {"role": "user", "content": "More"},
    ]
    assert pipe.chat(talk, prefix=prefix, max_new_tokens=8) == pipe.chat(talk, max_new_tokens=8)
    assert prefix.saved >= 7


def test_bytes_that_are_no_text_change_nothing_else(pipe) -> None:
    assert pipe.chat_ids("a\udcff") == pipe.chat_ids("a?")
    assert pipe("a\udcff", max_new_tokens=3) == pipe("a?", max_new_tokens=3)


def test_another_template(pipe, tmp_path: Path) -> None:
    other = dataclasses.replace(pipe, chat_template="{{ eos_token }}{{ messages[-1].content }}")
    assert [other.preprocess.token(i) for i in other.chat_ids("ab")] == ["<|end|>", "a", "b"]
    bare = nyala.load(tiny_chat.write(tmp_path, template=None))
    with pytest.raises(MissingFileError, match=r"has no chat template.*use `nyala generate`"):
        bare.chat("Hello")
    assert dataclasses.replace(bare, chat_template="x").chat_ids("y") == bare.preprocess.ids("x")


def test_an_empty_text_begins_somewhere(pipe) -> None:
    assert isinstance(pipe("", max_new_tokens=4), str)
    assert pipe([], max_new_tokens=4).to_dict() == []


def test_texts_that_are_too_long(pipe) -> None:
    with pytest.raises(DataError, match=r"a text of 100 tokens: the model reads 64.*too_long='cut'"):
        pipe("a" * 100)
    with pytest.warns(UserWarning, match="reads the last 60 of them"):
        found = pipe("b" * 40 + "a" * 60, too_long="cut", max_new_tokens=4)
    assert found == pipe("a" * 60, max_new_tokens=4)
    with pytest.raises(ArgumentError, match="too_long='chop'"):
        pipe("a", too_long="chop")


def test_wrong_input_is_told(pipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an int"):
        pipe([5])
    with pytest.raises(ArgumentError, match="did you mean 'max_new_tokens'"):
        pipe("a", max_new_token=5)
    with pytest.raises(ArgumentError, match="'lookup', or the pipeline"):
        pipe("a", draft="gpt2")
    folder = tiny_chat.write(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    small = nyala.load(folder, random_init=True, vocab_size=config["vocab_size"] - 3)
    with pytest.raises(ArgumentError, match=r"a draft model of 258 tokens for one of 261"):
        pipe("a", draft=small)
    with pytest.raises(IndexRangeError, match="this tokenizer belongs to another one"):
        small.chat("a")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(MissingFileError, match="tokenizer"):
        nyala.load(folder)("a")
