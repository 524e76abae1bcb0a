"""Text models and their pipelines on ``device="cuda"``: the CPU's results, and training that goes the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import nyala
import nyala.nn.functional as F
import pytest
from nyala import checkpoint, optim
from nyala.errors import DeviceError
from nyala.hub.load import load
from nyala.testing import assert_close

GOLDENS = Path(__file__).parents[2] / "goldens" / "text"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat", "##s", "dog", ".", ",", "on", "the", "mat"]
TEXTS = ["a cat sat on the mat.", "dogs", "the dog, the cat", "a"]

pytestmark = pytest.mark.usefixtures("cuda")


def inputs(frozen: dict[str, Any], device: str) -> dict[str, nyala.Tensor]:
    return {k: nyala.tensor(frozen[k], device=device) for k in ("input_ids", "attention_mask", "token_type_ids") if k in frozen}


ENCODERS = ["bert_classifier", "bert_masked_lm", *(f"{n}_classifier" for n in ("roberta", "distilbert", "mpnet", "modernbert"))]
ENCODERS += [f"{name}_classifier" for name in ("deberta", "electra", "albert")]


@pytest.mark.parametrize("name", ENCODERS)
def test_logits_equal_transformers(name: str, cuda: str) -> None:
    frozen = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    model = load(str(GOLDENS / name), device="cuda", task="feature-extraction").model
    assert {t.device for t in (*model.parameters(), *model.buffers())} == {cuda}
    with nyala.no_grad():
        logits = model(**inputs(frozen, "cuda")).numpy()
    rows = frozen["attention_mask"].astype(bool) if logits.ndim == 3 else slice(None)
    assert np.abs(logits - frozen["logits"])[rows].max() < 1e-5 * np.abs(frozen["logits"]).max()


def test_training_with_dropout_goes_the_same_way() -> None:
    frozen, states = checkpoint.load_file(GOLDENS / "bert_classifier" / "goldens.safetensors"), []
    for device in ("cpu", "cuda"):
        nyala.manual_seed(0)
        folder = str(GOLDENS / "bert_classifier")
        model = load(folder, device=device, dtype="float64", task="feature-extraction", hidden_dropout_prob=0.2).model.train()
        optimizer = optim.AdamW(model.param_groups(layer_decay=0.8), lr=1e-3)
        given = inputs(frozen, device)
        labels = nyala.arange(len(given["input_ids"]), device=device) % 2
        for _ in range(2):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(**given), labels)
            loss.backward()
            optimizer.step()
        states.append({"loss": loss.detach().cpu(), **{k: v.cpu() for k, v in model.state_dict().items()}})
    assert_close(states[1], states[0], 1e-7, 1e-7)


@pytest.mark.parametrize(("name", "task"), [("bert", "feature-extraction"), ("bert_classifier", "text-classification")])
def test_the_pipelines_take_texts_there_and_results_back(name: str, task: str, tmp_path: Path) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((GOLDENS / name / file).read_bytes())
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    here, there = (load(str(tmp_path), device=device, task=task) for device in ("cpu", "cuda"))
    if task == "feature-extraction":
        assert np.allclose(there(TEXTS).array, here(TEXTS).array, rtol=1e-4, atol=1e-5)
    else:
        assert np.allclose(there.logits(TEXTS), here.logits(TEXTS), rtol=1e-4, atol=1e-5)
        assert there(TEXTS[0]).labels == here(TEXTS[0]).labels


def test_tokens_left_behind_are_named_with_their_layer() -> None:
    model = load(str(GOLDENS / "bert_classifier"), device="cuda", task="feature-extraction").model
    frozen = checkpoint.load_file(GOLDENS / "bert_classifier" / "goldens.safetensors")
    with pytest.raises(
        DeviceError, match=r"at .*embeddings.*: embedding: input of shape .* is on cpu, weight .*\.to\('cuda:0'\)"
    ):
        model(**inputs(frozen, "cpu"))


@pytest.mark.parametrize("name", ["bert_classifier", "deberta_classifier", "t5_encoder"])
def test_texts_of_many_lengths_share_a_few_graphs(name: str, cuda: str) -> None:
    model = load(str(GOLDENS / name), device="cuda", task="feature-extraction").model.eval()
    run, draw = nyala.compile(model, buckets=(1, (4, 8))), np.random.default_rng(0)
    with nyala.no_grad():
        for length in (3, 4, 2, 3, 4, 5, 8, 7, 6, 8):
            ids = nyala.tensor(draw.integers(1, 20, (2, length)), device=cuda)
            mask = nyala.tensor(np.arange(length) < np.array([[length], [length - 1]]), device=cuda).long()
            got, expected = (getattr(t, "last_hidden_state", t) for t in (run(ids, mask), model(ids, mask)))
            assert got.shape == expected.shape
            seen = mask.bool().cpu() if got.ndim == 3 else slice(None)
            assert_close(got.cpu()[seen], expected.cpu()[seen], 1e-5, 1e-5)
    assert run.runs == 4 and "2 signature(s)" in run.explain(), run.explain()


@pytest.mark.parametrize("name", [*ENCODERS, "gpt2", "llama", "qwen3"])
def test_a_call_is_captured_as_a_graph(name: str) -> None:
    frozen = checkpoint.load_file(GOLDENS / name / "goldens.safetensors")
    model = load(str(GOLDENS / name), device="cuda", task="feature-extraction").model.eval()
    run, given = nyala.compile(model), inputs(frozen, "cuda")
    with nyala.no_grad():
        expected = model(**given)
        for _ in range(4):
            got = run(**given)
    assert run.runs == 1, run.explain()
    got, expected = (getattr(t, "last_hidden_state", t) for t in (got, expected))
    assert_close(got.cpu(), expected.cpu(), 1e-6, 1e-6)
