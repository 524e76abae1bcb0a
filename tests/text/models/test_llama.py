"""Llama: its angles, generation, and the published chat model; parity is tested in ``test_decoders.py``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala import nn
from nyala.errors import ArgumentError, DataError
from nyala.text.models import llama
from nyala.text.models.shared.rope import rope_frequencies

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
TINY = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_both_spellings_of_the_angles_are_read() -> None:
    numbers = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    old = llama.Config.from_dict({**TINY, "rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", **numbers}})
    new = llama.Config.from_dict({**TINY, "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **numbers}})
    assert old == new
    np.testing.assert_array_equal(*(rope_frequencies(c.width, c.rope_theta, c.rope_scaling) for c in (old, new)))
    plain = llama.Config.from_dict({**TINY, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})
    assert plain.rope_scaling is None and plain.rope_theta == 500.0
    with pytest.raises(DataError, match=r"'proportional'.* 'yarn'"):
        llama.Config.from_dict({**TINY, "rope_scaling": {"rope_type": "proportional", "factor": 2.0}})
    with pytest.raises(DataError, match="'linear' without factor"):
        llama.Config.from_dict({**TINY, "rope_scaling": {"type": "linear"}})
    short = {"type": "su", "short_factor": [1.0], "long_factor": [1.0], "original_max_position_embeddings": 8}
    with pytest.raises(DataError, match=r"'longrope' needs [0-9]+ positive numbers as short_factor"):
        llama.Config.from_dict({**TINY, "rope_scaling": short})


def test_stretched_angles_reach_further() -> None:
    def tokens(**scaling: object) -> int:
        return llama.Config.from_dict({**TINY, "max_position_embeddings": 64, "rope_scaling": scaling}).max_tokens

    assert tokens(type="yarn", factor=4.0, original_max_position_embeddings=32) == 128
    assert tokens(type="yarn", factor=4.0) == tokens(type="dynamic", factor=4.0) == 256
    assert tokens(type="linear", factor=4.0) == 64  # what such files say is the whole already


def test_heads_that_do_not_fit_are_told() -> None:
    with pytest.raises(ArgumentError, match="4 heads of queries, 3 of keys"):
        llama.build(TINY, num_key_value_heads=3)


# ---- the real model


@pytest.mark.weights
def test_the_published_chat_model_speaks() -> None:
    pipe = nyala.load("SmolLM2-135M-Instruct-Q4_1")
    assert pipe("The capital of France is", max_new_tokens=2) == " Paris."
    frozen = json.loads((GOLDENS.parent / "real" / "smollm2.json").read_text())
    for text, ids in frozen["ids"].items():
        assert pipe.preprocess.ids(text) == ids
        assert pipe.preprocess.decode(ids) == text
    assert pipe(frozen["prompt"], max_new_tokens=24) == frozen["greedy"]


@pytest.mark.weights
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_it_says_the_same_with_weights_in_few_bits(dtype: str) -> None:
    pipe, text = nyala.load("SmolLM2-135M-Instruct-Q4_1"), "The three primary colours are"
    expected = pipe(text, max_new_tokens=12)
    nn.quantize(pipe.model, dtype)
    assert pipe(text, max_new_tokens=12) == expected
