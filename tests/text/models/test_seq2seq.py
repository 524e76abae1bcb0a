"""Encoder-decoders on text: parity with transformers on tiny random models, caches, and the way back to the published file."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala import checkpoint
from nyala.hub import registry
from nyala.text.models.shared.seq2seq import shift_right

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
LANGUAGE = ("t5", "flan_t5", "bart", "marian", "marian_apart")
OTHERS = ("t5_encoder", "bart_bare", "bart_classifier")


def relative(actual: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - expected).max() / max(np.abs(expected).max(), 1e-12))


def frozen_of(name: str) -> dict[str, np.ndarray]:
    return checkpoint.load_file(GOLDENS / name / "goldens.safetensors")


def model_of(name: str) -> Any:
    return nyala.load(str(GOLDENS / name)).model


def given(frozen: dict[str, np.ndarray], *names: str) -> dict[str, Any]:
    return {k: nyala.from_numpy(np.array(frozen[k])) for k in names if k in frozen}


def architecture_of(name: str) -> Any:
    config = json.loads((GOLDENS / name / "config.json").read_text())
    return importlib.import_module(registry.import_path(registry.architecture_of(config)))


@pytest.mark.parametrize("name", LANGUAGE + OTHERS)
def test_outputs_equal_transformers(name: str) -> None:
    model, frozen = model_of(name), frozen_of(name)
    key = "logits" if "logits" in frozen else "last_hidden_state"
    with nyala.no_grad():
        found = model(**given(frozen, "input_ids", "attention_mask", "decoder_input_ids"))
        found = getattr(found, "last_hidden_state", found).numpy()
        if found.shape[:2] == frozen["attention_mask"].shape:
            found = found * frozen["attention_mask"][..., None]  # what stands at padding means nothing
        assert relative(found, frozen[key]) < 1e-5
        if "encoder" in frozen:
            encoder = model.encode(**given(frozen, "input_ids", "attention_mask")).numpy()
            assert relative(encoder * frozen["attention_mask"][..., None], frozen["encoder"]) < 1e-5
            plain = model(**given(frozen, "input_ids", "decoder_input_ids"))
            assert relative(getattr(plain, "last_hidden_state", plain).numpy(), frozen[f"plain.{key}"]) < 1e-5


@pytest.mark.parametrize("name", LANGUAGE + OTHERS)
def test_gradients_equal_transformers(name: str) -> None:
    model, frozen = model_of(name), frozen_of(name)
    masked = ("attention_mask",) if name == "bart_classifier" else ()
    out = model(**given(frozen, "input_ids", "decoder_input_ids", *masked))
    out = getattr(out, "last_hidden_state", out)
    weights = np.cos(0.7 * np.arange(out.numel(), dtype=np.float64) + 0.3).reshape(out.shape)
    (out * nyala.tensor(weights.astype(np.float32))).sum().backward()
    parameters = dict(model.named_parameters())
    names = [k.removeprefix("grad.") for k in frozen if k.startswith("grad.")]
    assert set(names) == set(parameters)
    largest = max(np.abs(frozen[f"grad.{n}"]).max() for n in names)
    for each in names:
        expected, found = frozen[f"grad.{each}"], np.asarray(parameters[each].grad)
        # a key's bias shifts all scores of a query alike: its gradient is rounding noise in both
        assert relative(found, expected) < 1e-4 or np.abs(found - expected).max() < 1e-6 * largest, each


@pytest.mark.parametrize("name", LANGUAGE + OTHERS)
def test_the_published_file_comes_back(name: str) -> None:
    published = checkpoint.load_file(GOLDENS / name / "model.safetensors")
    model, module = model_of(name), architecture_of(name)
    config = module.export_config(model)
    keys = module.key_map(config, list(published))
    back = keys.to_published({k: v.numpy() for k, v in model.state_dict().items()})
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in published.items()}
    assert all(np.array_equal(back[k], published[k].astype(np.float32)) for k in published)
    keys.check_bijection(list(model.state_dict()), [tuple(v.shape) for v in model.state_dict().values()])
    again = module.build(config)
    assert again.config == model.config and type(again) is type(model)


@pytest.mark.parametrize("name", LANGUAGE)
def test_caches_change_nothing(name: str) -> None:
    model, frozen = model_of(name), frozen_of(name)
    ids, mask = (nyala.from_numpy(np.array(frozen[k])) for k in ("decoder_input_ids", "attention_mask"))
    with nyala.inference_mode():
        read, caches = model.encode(**given(frozen, "input_ids", "attention_mask")), model.new_caches()
        told = {"encoder_outputs": read, "attention_mask": mask, "caches": caches}
        parts = [model(decoder_input_ids=ids[:, :4], **told).numpy()]
        parts += [model(decoder_input_ids=ids[:, i : i + 1], **told, last=True).numpy() for i in range(4, ids.shape[1])]
    assert caches.length == ids.shape[1]
    assert relative(np.concatenate(parts, 1), frozen["logits"]) < 1e-5


@pytest.mark.parametrize("name", LANGUAGE)
def test_layers_are_as_deep_as_they_lie(name: str) -> None:
    model = model_of(name)
    first, second = model.config.layers
    depths = {n: model.layer_of(n) for n, _ in model.named_parameters()}
    assert all(d == 0 for n, d in depths.items() if "embed" in n or "shared" in n)
    numbered = {n: int(next(p for p in n.split(".") if p.isdigit())) for n in depths if any(p.isdigit() for p in n.split("."))}
    for n, number in numbered.items():
        assert depths[n] == number + 1 + (first if "decoder." in n else 0), n
    rest = set(depths) - set(numbered) - {n for n in depths if "embed" in n or "shared" in n}
    assert all(depths[n] == (first if "encoder." in n else first + second + 1) for n in rest)


def test_the_decoder_reads_its_labels_one_later() -> None:
    labels = np.array([[5, 6, 1], [7, 1, -100]])
    np.testing.assert_array_equal(shift_right(labels, 0, 3), [[0, 5, 6], [0, 7, 1]])
    np.testing.assert_array_equal(shift_right(np.array([[-100, 4]]), 2, 3), [[2, 3]])
