"""Generation equals transformers' ``generate``: the same ids, and the same probabilities of draws."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.text.generation import GenerationConfig, generate
from nyala.text.generation.sampling import shares

GOLDENS = Path(__file__).parents[2] / "goldens"
FROZEN = json.loads((GOLDENS / "text" / "generation.json").read_text())


@cache
def model_of(name: str) -> Any:
    return nyala.load(str(GOLDENS / "text" / name)).model


def sources(inputs: list[list[int]]) -> tuple[nyala.Tensor, nyala.Tensor]:
    longest = max(map(len, inputs))
    ids = np.array([row + [0] * (longest - len(row)) for row in inputs])
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in inputs])
    return nyala.tensor(ids), nyala.tensor(mask)


def named(case: dict[str, Any]) -> str:
    return case["model"] + "".join(f"-{name}={value}" for name, value in case["settings"].items())


@pytest.mark.parametrize("case", FROZEN["cases"], ids=named)
def test_the_ids_are_transformers(case: dict[str, Any]) -> None:
    model = model_of(case["model"])
    config = GenerationConfig(max_new_tokens=12, **case["settings"])
    if "start" in case:
        ids, mask = sources(case["inputs"])
        with nyala.no_grad():
            heard = model.encode(ids, mask)
        prompts = [[case["start"]] for _ in case["inputs"]]
        found = generate(model, prompts, config, case["ends"], encoder_outputs=heard, attention_mask=mask)
    else:
        found = generate(model, case["inputs"], config, case["ends"])
    assert [g.tokens for g in found] == case["ids"]


@pytest.mark.parametrize("case", FROZEN["filters"]["cases"], ids=lambda case: str(case["settings"]))
def test_draws_have_transformers_probabilities(case: dict[str, Any]) -> None:
    logits = np.array(FROZEN["filters"]["logits"], np.float32)
    tokens, found = shares(logits, GenerationConfig(**case["settings"]))
    expected = np.array(case["probabilities"])
    assert set(tokens.tolist()) == set(np.flatnonzero(expected).tolist())
    np.testing.assert_allclose(found, expected[tokens], rtol=1e-5)


@pytest.mark.weights
def test_the_published_chat_model_writes_what_transformers_writes() -> None:
    pipe = nyala.load("smollm2")
    for case in json.loads((GOLDENS / "real" / "smollm2.json").read_text())["generation"]:
        found = pipe.continuations([case["prompt"]], **case["settings"]).details[0]
        assert list(found.tokens) == case["ids"], case["prompt"]
        assert found.text == case["text"]
