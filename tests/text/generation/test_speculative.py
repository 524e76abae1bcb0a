"""Guesses change nothing but the number of steps: the same tokens, greedy and drawn, with penalties and ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nyala
import pytest
from nyala.errors import ArgumentError
from nyala.text.generation import GenerationConfig, LookupDraft, ModelDraft, PrefixCache, generate, stream
from nyala.text.models import llama

TINY = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


def made(seed: int) -> Any:
    nyala.manual_seed(seed)
    return llama.build({**TINY, "initializer_range": 0.5, "max_position_embeddings": 48}).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return made(1)


class Everything:
    """Guesses what the model really says, and sometimes something else."""

    def __init__(self, truth: list[int], wrong: int) -> None:
        self.truth, self.wrong, self.calls = truth, wrong, 0

    def propose(self, ids: Any) -> list[int]:
        self.calls += 1
        found = self.truth[len(ids) - 3 : len(ids) + 2]
        return [(t + 1) % 30 if (len(ids) + i) % self.wrong == 0 else t for i, t in enumerate(found)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 1.0, "seed": 3},
        {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
        {"temperature": 0.8, "top_k": 5, "frequency_penalty": 0.5, "logprobs": 1},
    ],
)
def test_the_tokens_are_those_without_guesses(model, settings: dict[str, Any]) -> None:
    config = GenerationConfig(max_new_tokens=30, **settings)
    plain = generate(model, [[1, 2, 3]], config, ends=(9,))[0]
    drafts = [LookupDraft(), ModelDraft(model), ModelDraft(made(2), 3)]
    drafts += [Everything(plain.tokens, wrong) for wrong in (2, 3, 100)]
    for draft in drafts:
        found = generate(model, [[1, 2, 3]], config, ends=(9,), draft=draft)[0]
        assert (found.tokens, found.finish) == (plain.tokens, plain.finish)
        assert found.logprobs == plain.logprobs  # to the bit: a row of a product does not depend on the others
        assert list(stream(model, [1, 2, 3], config, ends=(9,), draft=draft)) == plain.tokens


def test_good_guesses_save_steps(model) -> None:
    config = GenerationConfig(max_new_tokens=30)
    plain = generate(model, [[1, 2, 3]], config)[0].tokens
    draft = Everything(plain, 1000)
    assert generate(model, [[1, 2, 3]], config, draft=draft)[0].tokens == plain
    assert draft.calls <= 6


def test_it_ends_with_the_positions_and_with_a_string(model) -> None:
    whole = generate(model, [[1, 2, 3]], GenerationConfig(max_new_tokens=99))[0]
    assert len(whole.tokens) == 45
    for draft in (ModelDraft(model), LookupDraft()):
        assert generate(model, [[1, 2, 3]], GenerationConfig(max_new_tokens=99), draft=draft)[0].tokens == whole.tokens
        stopped = generate(model, [[1, 2, 3]], GenerationConfig(max_new_tokens=99), stop=lambda new: len(new) == 7, draft=draft)[
            0
        ]
        assert stopped.tokens == whole.tokens[:7] and stopped.finish == "stop"


def test_what_was_read_of_wrong_guesses_is_not_kept(model) -> None:
    prefix, config = PrefixCache(), GenerationConfig(max_new_tokens=12)
    first = generate(model, [[1, 2, 3]], config, prefix=prefix, draft=ModelDraft(made(2)))[0].tokens
    longer = [1, 2, 3, *first, 4, 5]
    again = generate(model, [longer], config, prefix=prefix, draft=ModelDraft(made(2)))[0].tokens
    assert again == generate(model, [longer], config)[0].tokens
    assert prefix.saved >= 10


def test_a_draft_guesses_for_one_text_after_the_other(model) -> None:
    draft, config = ModelDraft(made(2)), GenerationConfig(max_new_tokens=10)
    for ids in ([1, 2, 3], [1, 2], [7, 8, 9, 10], [1, 2, 3]):
        assert generate(model, [ids], config, draft=draft)[0].tokens == generate(model, [ids], config)[0].tokens


def test_wrong_use_is_told(model) -> None:
    with pytest.raises(ArgumentError, match="count=0"):
        LookupDraft(0)
    with pytest.raises(ArgumentError, match="2 texts at once"):
        generate(model, [[1], [2]], draft=LookupDraft())
    with pytest.raises(ArgumentError, match="3 texts at once"):
        generate(model, [[1]], GenerationConfig(num_beams=3), draft=LookupDraft())


@pytest.mark.weights
def test_the_published_chat_model_says_the_same_with_guesses() -> None:
    pipe = nyala.load("smollm2")
    prompt = "The quick brown fox jumps over the lazy dog. The quick brown fox"
    plain = pipe(prompt, max_new_tokens=16)
    assert pipe(prompt, max_new_tokens=16, draft="lookup") == plain
    assert pipe(prompt, max_new_tokens=16, draft=pipe) == plain


def test_windows_let_go_what_must_be_read_again() -> None:
    folder = Path(__file__).parents[2] / "goldens" / "text" / "qwen2_sliding"
    model = nyala.load(str(folder)).model
    draft, prefix, config = ModelDraft(model), PrefixCache(), GenerationConfig(max_new_tokens=20)
    long = generate(model, [[5, 6, 7]], config)[0].tokens
    for ids in ([5, 6, 7], [5, 6, 7, *long], [5, 6, 7, *long[:18], 9], [5, 6, 8], [5, 6, 7]):
        plain = generate(model, [ids], config)[0].tokens
        assert generate(model, [ids], config, prefix=prefix)[0].tokens == plain
        assert generate(model, [ids], config, draft=draft)[0].tokens == plain
        assert generate(model, [ids], config, draft=LookupDraft(count=6))[0].tokens == plain
    assert prefix.saved > 20
