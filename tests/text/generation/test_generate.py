"""Generation from a tiny decoder: greedy, drawn, in batches, streamed, and where it ends."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, IndexRangeError, NumericError, ShapeError
from nyala.text.generation import GenerationConfig, PrefixCache, generate, stream
from nyala.text.generation.sampling import choose
from nyala.text.models import llama

TINY = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
PROMPTS = [[1, 2, 3], [5, 6, 7, 8, 9, 10], [4]]


@pytest.fixture(scope="module")
def model() -> Any:
    nyala.manual_seed(3)
    made = llama.build({**TINY, "initializer_range": 0.5, "max_position_embeddings": 24, "tie_word_embeddings": True})
    return made.eval()


def tokens(model: Any, ids: list[int], ends: tuple[int, ...] = (), **settings: Any) -> list[int]:
    return generate(model, [ids], GenerationConfig(**settings), ends)[0].tokens


def test_greedy_takes_the_likeliest_each_time(model) -> None:
    found = tokens(model, [1, 2, 3], max_new_tokens=6)
    ids = [1, 2, 3]
    for token in found:
        with nyala.no_grad():
            assert int(model(nyala.tensor([ids]))[0, -1].argmax().item()) == token
        ids.append(token)
    assert len(found) == 6
    assert tokens(model, [1, 2, 3], (found[3],), max_new_tokens=6) == found[: found.index(found[3])]


def test_a_stream_is_what_generate_gives(model) -> None:
    for settings in ({}, {"temperature": 1.0, "seed": 3}):
        config = GenerationConfig(max_new_tokens=6, **settings)
        assert list(stream(model, [1, 2], config)) == generate(model, [[1, 2]], config)[0].tokens
    with pytest.raises(ArgumentError, match="known in the end"):
        next(stream(model, [1], GenerationConfig(num_beams=2)))


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 2}, {"num_beams": 3}, {"repetition_penalty": 1.4}])
def test_a_text_in_a_batch_is_the_text_alone(model, settings) -> None:
    config = GenerationConfig(max_new_tokens=7, **settings)
    alone = [generate(model, [prompt], config, ends=(11,))[0] for prompt in PROMPTS]
    together = generate(model, PROMPTS, config, ends=(11,))
    assert [g.tokens for g in together] == [g.tokens for g in alone]
    assert [g.finish for g in together] == [g.finish for g in alone]


def test_draws_follow_the_seed_and_the_limits(model) -> None:
    def draw(**options: Any) -> list[int]:
        return tokens(model, [5], max_new_tokens=12, **options)

    assert draw(temperature=1.0, seed=4) == draw(temperature=1.0, seed=4) != draw(temperature=1.0, seed=5)
    assert draw(temperature=1.0, top_k=1, seed=9) == draw() == draw(temperature=1.0, top_p=1e-6, seed=9)
    assert draw(temperature=1.0, min_p=1.0, seed=9) == draw()


def test_several_draws_of_one_text_differ_and_the_first_is_the_one_alone(model) -> None:
    config = GenerationConfig(max_new_tokens=8, temperature=1.0, num_return_sequences=3, seed=1)
    found = [g.tokens for g in generate(model, PROMPTS, config)]
    assert len(found) == 9 and len({tuple(t) for t in found}) == 9
    assert found[3] == tokens(model, PROMPTS[1], max_new_tokens=8, temperature=1.0, seed=1)


def test_shares_of_draws_are_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))

    def draws(count: int, **settings: Any) -> list[int]:
        config = GenerationConfig(temperature=1.0, **settings)
        return [choose(logits, config, step) for step in range(count)]

    counts = np.bincount(draws(4000), minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.15, 0.05], atol=0.03)
    assert set(draws(200, top_p=0.7)) == {0, 1}
    assert set(draws(200, min_p=0.25)) == {0, 1, 2}
    assert set(draws(200, top_k=3)) == {0, 1, 2}


def test_it_ends_where_the_model_has_no_more_positions(model) -> None:
    assert len(tokens(model, list(range(20)), max_new_tokens=99)) == 4
    with pytest.raises(ShapeError, match="24 token"):
        tokens(model, [1] * 24)
    with pytest.raises(ShapeError, match="at least one token"):
        tokens(model, [])
    assert generate(model, []) == []


def test_why_a_text_ended_is_told(model) -> None:
    whole = tokens(model, [1, 2, 3], max_new_tokens=6)
    assert generate(model, [[1, 2, 3]], GenerationConfig(max_new_tokens=6))[0].finish == "length"
    ended = generate(model, [[1, 2, 3]], GenerationConfig(max_new_tokens=6), ends=(whole[2],))[0]
    assert ended.finish == "end" and whole[2] not in ended.tokens
    stopped = generate(model, [[1, 2, 3]], GenerationConfig(max_new_tokens=6), stop=lambda new: len(new) == 2)[0]
    assert stopped.finish == "stop" and stopped.tokens == whole[:2]


def test_log_probabilities_are_the_models_own(model) -> None:
    settings = GenerationConfig(max_new_tokens=4, logprobs=2, temperature=0.5, repetition_penalty=2.0)
    found = generate(model, [[1, 2, 3]], settings)[0]
    ids = [1, 2, 3]
    for token, logprob, others in zip(found.tokens, found.logprobs, found.alternatives, strict=True):
        with nyala.no_grad():
            expected = nyala.nn.functional.log_softmax(model(nyala.tensor([ids]))[0, -1], -1).numpy()
        assert logprob == pytest.approx(float(expected[token]), abs=1e-5)
        assert [t for t, _ in others] == np.argsort(-expected)[:2].tolist()
        ids.append(token)


def test_what_was_read_is_not_read_again(model) -> None:
    prefix = PrefixCache(size=2)
    config = GenerationConfig(max_new_tokens=4)
    first = generate(model, [[1, 2, 3]], config, prefix=prefix)[0].tokens
    longer = [1, 2, 3, *first, 7]
    assert generate(model, [longer], config, prefix=prefix)[0].tokens == generate(model, [longer], config)[0].tokens
    assert prefix.saved == 6  # the last token of the first text was chosen, not read
    other = [1, 2, 9, 9]
    assert generate(model, [other], config, prefix=prefix)[0].tokens == generate(model, [other], config)[0].tokens
    assert prefix.saved == 8
    with pytest.raises(ArgumentError, match="2 texts at once"):
        generate(model, [[1], [2]], config, prefix=prefix)


def test_prompts_may_be_tensors_and_nothing_else(model) -> None:
    config = GenerationConfig(max_new_tokens=3)
    expected = generate(model, [[1, 2], [3, 4]], config)
    for given in (nyala.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]), [np.array([1, 2]), (3, 4)]):
        assert generate(model, given, config) == expected
    for wrong, said in (([1, 2], "an int"), (["ab"], "a str"), ([[1.5]], "a list"), (np.array([1, 2]), "an int")):
        with pytest.raises(ArgumentError, match=rf"input_ids\[0\] is {said}, not the tokens of a text"):
            generate(model, wrong, config)
    with pytest.raises(IndexRangeError, match=r"token id 40 .*the vocabulary has 40 tokens"):
        generate(model, [[1, 40]], config)


def test_broken_weights_are_told() -> None:
    broken = llama.build({**TINY, "max_position_embeddings": 24}).eval()
    with nyala.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    with pytest.raises(NumericError, match="NaN"):
        tokens(broken, [1, 2])
    with pytest.raises(ArgumentError, match="does not generate"):
        generate(broken.model, [[1]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_p": 2}, "top_p=2"),
        ({"temperature": -1}, "temperature=-1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"num_beams": 0}, "num_beams=0"),
        ({"stop": ("",)}, "none of them empty"),
        ({"early_stopping": "always"}, "'never'"),
        ({"num_beams": 2, "temperature": 0.7}, "draws nothing"),
        ({"num_return_sequences": 2}, "one text"),
        ({"num_beams": 2, "num_return_sequences": 3}, "raise num_beams"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        GenerationConfig(**settings)


def test_an_unknown_setting_gets_the_nearest() -> None:
    with pytest.raises(ArgumentError, match=r"'temprature'.*did you mean 'temperature'"):
        GenerationConfig.of({"temprature": 1.0})
    with pytest.raises(ArgumentError, match="set temperature"):
        GenerationConfig.of({"do_sample": True})


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 7}, {"num_beams": 3}])
def test_a_seed_gives_the_same_text_on_another_device(cuda, model, settings) -> None:
    config = GenerationConfig(max_new_tokens=8, **settings)
    expected = [g.tokens for g in generate(model, PROMPTS, config)]
    there = copy.deepcopy(model).to(cuda)
    assert [g.tokens for g in generate(there, PROMPTS, config)] == expected
    assert next(there.parameters()).device == cuda
