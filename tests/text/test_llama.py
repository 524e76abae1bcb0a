"""Llama: parity with transformers on tiny random models, caches, GGUF files, and generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.errors import ArgumentError, DataError, IndexRangeError, ShapeError
from nyala.text.generation import Sampling, generate
from nyala.text.models import llama

GOLDENS = Path(__file__).parents[1] / "goldens" / "text"
FOLDERS = ("llama", "llama_3")
TINY = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


@pytest.fixture(params=FOLDERS)
def golden(request: pytest.FixtureRequest) -> tuple[Any, dict[str, np.ndarray]]:
    folder = GOLDENS / request.param
    return nyala.load(str(folder)).model, checkpoint.load_file(folder / "goldens.safetensors")


def test_logits_equal_transformers(golden) -> None:
    model, frozen = golden
    ids, mask = (nyala.from_numpy(np.array(frozen[k])) for k in ("input_ids", "attention_mask"))
    with nyala.no_grad():
        assert relative(model(ids), frozen["plain.logits"]) < 1e-5
        masked = model(ids, mask).numpy() * np.asarray(frozen["attention_mask"])[..., None]
    assert relative(masked, frozen["logits"]) < 1e-5


def test_gradients_equal_transformers(golden) -> None:
    model, frozen = golden
    logits = model(nyala.from_numpy(np.array(frozen["input_ids"])))
    weights = np.cos(0.7 * np.arange(logits.numel(), dtype=np.float64) + 0.3).reshape(logits.shape)
    (logits * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = dict(model.named_parameters())
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    assert set(names) == set(parameters)
    largest = max(np.abs(frozen[f"grad.{n}"]).max() for n in names)
    for name in names:
        expected, found = frozen[f"grad.{name}"], np.asarray(parameters[name].grad)
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(found, expected) < 1e-4 or np.abs(found - expected).max() < 1e-6 * largest, name


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_file_comes_back(name: str) -> None:
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    model = nyala.load(str(GOLDENS / name)).model
    config = llama.export_config(model)
    keys = llama.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in published.items()}
    assert all(np.array_equal(back[k], published[k].astype(np.float32)) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    assert llama.build(config).config == model.config


def test_caches_change_nothing(golden) -> None:
    model, frozen = golden
    ids = nyala.from_numpy(np.array(frozen["input_ids"])[:1])
    with nyala.inference_mode():
        whole, caches = model(ids).numpy(), model.new_caches()
        parts = [model(ids[:, :4], caches=caches).numpy()]
        parts += [model(ids[:, i : i + 1], caches=caches, last=True).numpy() for i in range(4, 9)]
    assert relative(np.concatenate(parts, 1), whole) < 1e-5


def test_both_spellings_of_the_angles_are_read() -> None:
    numbers = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    old = llama.Config.from_dict({**TINY, "rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", **numbers}})
    new = llama.Config.from_dict({**TINY, "rope_parameters": {"rope_type": "llama3", "rope_theta": 500.0, **numbers}})
    np.testing.assert_array_equal(llama._frequencies(old), llama._frequencies(new))
    plain = llama.Config.from_dict({**TINY, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})
    assert plain.rope_scaling is None and plain.rope_theta == 500.0
    with pytest.raises(DataError, match="'yarn'"):
        llama.Config.from_dict({**TINY, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}})


def test_bad_input_is_named() -> None:
    model = llama.build({**TINY, "architectures": ["LlamaForCausalLM"]}).eval()
    with pytest.raises(IndexRangeError, match="token id 40 in sample 1, the vocabulary has 40"):
        model(nyala.tensor([[1, 2], [3, 40]]))
    with pytest.raises(ShapeError, match=r"\(N, T\)"):
        model(nyala.tensor([1, 2]))
    with pytest.raises(ShapeError, match=r"attention_mask \(1, 3\)"):
        model(nyala.tensor([[1, 2]]), nyala.tensor([[1, 1, 1]]))
    with pytest.raises(ArgumentError, match="no option 'widht'"):
        llama.build(TINY, widht=3)
    with pytest.raises(ArgumentError, match="4 heads of queries, 3 of keys"):
        llama.build(TINY, num_key_value_heads=3)
    with pytest.raises(DataError, match="LlamaForTokenClassification"):
        llama.build({**TINY, "architectures": ["LlamaForTokenClassification"]})


# ---- generation


@pytest.fixture(scope="module")
def model() -> Any:
    nyala.manual_seed(3)
    made = llama.build({**TINY, "initializer_range": 0.5, "max_position_embeddings": 24, "tie_word_embeddings": True})
    return made.eval()


def test_greedy_takes_the_likeliest_each_time(model) -> None:
    found = list(generate(model, [1, 2, 3], Sampling(max_new_tokens=6)))
    ids = [1, 2, 3]
    for token in found:
        with nyala.no_grad():
            assert int(model(nyala.tensor([ids]))[0, -1].argmax().item()) == token
        ids.append(token)
    assert len(found) == 6
    assert list(generate(model, [1, 2, 3], Sampling(max_new_tokens=6), ends=(found[3],))) == found[: found.index(found[3])]


def test_draws_follow_the_seed_and_the_limits(model) -> None:
    def draw(**options: Any) -> list[int]:
        return list(generate(model, [5], Sampling(max_new_tokens=12, **options)))

    assert draw(temperature=1.0, seed=4) == draw(temperature=1.0, seed=4) != draw(temperature=1.0, seed=5)
    assert draw(temperature=1.0, top_k=1, seed=9) == draw() == draw(temperature=1.0, top_p=1e-6, seed=9)


def test_shares_of_draws_are_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    counts = np.bincount([Sampling(temperature=1.0).choose(logits, step) for step in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.15, 0.05], atol=0.03)
    cut = [Sampling(temperature=1.0, top_p=0.7).choose(logits, step) for step in range(200)]
    assert set(cut) == {0, 1}


def test_it_ends_where_the_model_has_no_more_positions(model) -> None:
    assert len(list(generate(model, list(range(20)), Sampling(max_new_tokens=99)))) == 4
    with pytest.raises(ShapeError, match="24 token"):
        next(generate(model, [1] * 24, Sampling()))
    with pytest.raises(ShapeError, match="at least one token"):
        next(generate(model, [], Sampling()))
    with pytest.raises(ArgumentError, match="top_p=2"):
        Sampling(top_p=2)


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
