"""Whole runs on tagged texts and on pairs of texts: a tiny BERT, data of a rule, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import DataError, RecipeError
from nyala.recipes.data import datasets
from nyala.recipes.folder import metrics
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import setup, steps, trainer
from nyala.recipes.training.objectives.pairs import PairResult
from nyala.recipes.training.objectives.tags import TagResult

GOOD = ["sun", "joy", "warm", "kind", "bright"]
BAD = ["rain", "grief", "cold", "harsh", "dark"]
SHARED = ["the", "a", "of", "and", "to", "in"]


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """90 texts in which good words are marked, in runs."""
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(90):
        words = [*rng.choice(SHARED, 3), *rng.choice(GOOD, int(rng.integers(1, 3))), *rng.choice([*SHARED, *BAD], 3)]
        tags = ["O" if w not in GOOD else "I-GOOD" if i and words[i - 1] in GOOD else "B-GOOD" for i, w in enumerate(words)]
        rows.append({"tokens": [str(w) for w in words], "tags": tags})
    return written(tmp_path / "tagged.jsonl", rows)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """72 pairs that share their good and bad word."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(72):
        key = f"{GOOD[i % 5]} {BAD[i // 5 % 5]}"
        rows.append({"anchor": f"{key} {rng.choice(SHARED)}", "positive": f"{rng.choice(SHARED)} {key}"})
    return written(tmp_path / "pairs.jsonl", rows)


def recipe(tmp_path: Path, data: Path, model: Path, *overrides: str) -> config.Loaded:
    path = tmp_path / f"{data.stem}.toml"
    path.write_text(
        f"""schema = 1
[data]
name = "{data}"
batch_size = 8
workers = 0
[model]
name = "{model}"
max_length = 12
[optim]
type = "adamw"
lr = 0.01
[train]
epochs = 3
checkpoint = {{ every = 4 }}
"""
    )
    return config.load(path, overrides)


@pytest.mark.parametrize(("kind", "score"), [("tagged", "f1"), ("pairs", "mrr")])
def test_it_learns_stops_goes_on_and_loads(request, kind, score, tmp_path, tiny_bert) -> None:
    import nyala

    loaded = recipe(tmp_path, request.getfixturevalue(kind), tiny_bert, f"train.best.metric={score}")
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    found = trainer.train(whole)
    evals = [r[score] for r in metrics.read(whole.folder / "metrics.jsonl") if r["kind"] == "eval"]
    assert found[score] >= 0.6 and max(evals) >= evals[0]
    trainer.train(stopped, stop_after=6)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipeline = nyala.load(str(whole.folder))
    if kind == "tagged":
        assert pipeline.labels == ("O", "B-GOOD", "I-GOOD")
        assert [(m.label, m.text) for m in pipeline("the a of sun joy to in rain")] == [("GOOD", "sun joy")]
    else:
        assert pipeline.pooling.mode == "mean"
        near = pipeline(["sun rain of", "the sun rain", "a kind dark"]).similarity()
        assert near[0, 1] > near[0, 2]
    page = (whole.folder / "report.html").read_text()
    assert "<blockquote>" in page and "NaN" not in page


def test_accumulated_batches_are_one_batch(tagged, tmp_path, tiny_bert) -> None:
    """Texts of unequal length: an update divides by all its words, however it is cut."""
    still = "model.dropout={hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0}"
    after = []
    for size, times in ((8, 1), (2, 4)):
        loaded = recipe(tmp_path, tagged, tiny_bert, still, f"data.batch_size={size}", f"train.accumulate={times}")
        made = setup.prepare(loaded.recipe)
        run = runs.create(loaded, tmp_path / f"{size}x{times}")
        store = trainer.Training(run, made, None, None, None, None, None)
        group = next(trainer.updates(store))
        outcome = steps.update(made.model, made.optimizers, group, loaded.recipe.train, made.objective, (0, 0))
        after.append((outcome, {n: p.grad.numpy() for n, p in made.model.named_parameters() if p.grad is not None}))
    (one, gradients), (two, others) = after
    assert one.samples == two.samples > 8 and one.loss == pytest.approx(two.loss, rel=1e-6)
    for name, value in gradients.items():
        np.testing.assert_allclose(others[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_places_of_partners_are_counted() -> None:
    anchors = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], np.float32)
    partners = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], np.float32)
    found = PairResult.of(anchors, partners, 20.0)
    assert found.ranks.tolist() == [0, 1, 2]  # the second anchor is nearest to the third partner, the third to the second
    assert found.nearest.tolist() == [0, 2, 1]
    record = found.record()
    assert record["accuracy"] == pytest.approx(1 / 3) and record["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    same = PairResult.of(np.ones((3, 1), np.float32), np.ones((3, 1), np.float32), 20.0)
    assert same.ranks.tolist() == [0, 1, 2]  # vectors that all fell together find nothing


def test_scores_of_tags_count_words_and_stretches() -> None:
    truth, guesses = [np.array([0, 1, 2]), np.array([1])], [np.array([0, 1, 0]), np.array([1])]
    found = TagResult(("O", "B-X", "I-X"), truth, guesses, np.log(np.full((4, 3), 1 / 3)))
    record = found.record()
    assert record["accuracy"] == 0.75 and record["loss"] == pytest.approx(np.log(3))
    assert record["precision"] == record["recall"] == record["f1"] == 0.5
    assert [line["predicted_tags"] for line in found.predictions()] == [["O", "B-X", "O"], ["B-X"]]


def test_what_does_not_fit_is_said(tagged, pairs, tmp_path, tiny_bert, tiny_model) -> None:
    refused = [
        (pairs, tiny_bert, ["train.class_weights=balanced"], "train.class_weights: pairs of texts have no classes"),
        (pairs, tiny_bert, ["train.best.metric=f1"], "train.best.metric: pairs of texts have mrr, accuracy, .*loss, not f1"),
        (tagged, tiny_bert, ["data.sampling=balanced"], "data.sampling: tagged texts have no classes to balance"),
        (tagged, tiny_bert, ['data.augment=[{type="word_dropout"}]'], "word_dropout is not for tagged texts"),
        (tagged, tiny_model, [], "is for vision and the data are tagged texts"),
    ]
    for data, model, overrides, message in refused:
        with pytest.raises(RecipeError, match=f"(?s){message}"):
            setup.prepare(recipe(tmp_path, data, model, *overrides).recipe)


def test_files_that_do_not_belong_together_are_refused(tagged, pairs, tmp_path, tiny_bert) -> None:
    with pytest.raises(DataError, match=r"pairs\.jsonl does not hold tagged texts"):
        setup.prepare(recipe(tmp_path, tagged, tiny_bert, f"data.test={pairs}").recipe)
    strange = written(tmp_path / "strange.jsonl", [{"tokens": ["sun"], "tags": ["B-ODD"]}])
    with pytest.raises(DataError, match=r"text 0 of the test part has the tag 'B-ODD'.*O, B-GOOD, I-GOOD"):
        setup.prepare(recipe(tmp_path, tagged, tiny_bert, f"data.test={strange}").recipe)
    plain = written(tmp_path / "plain.jsonl", [{"tokens": ["sun"], "tags": ["O"]}])
    with pytest.raises(DataError, match="has 1 tag"):
        setup.prepare(recipe(tmp_path, plain, tiny_bert).recipe)


def test_mail_tasks_are_datasets_by_name(tmp_path) -> None:
    path = tmp_path / "r.toml"
    for name, kind, labels in (("mail-marks", "tags", 7), ("mail-subjects", "pairs", 0)):
        path.write_text(f'schema = 1\n[data]\nname = "{name}"\n[model]\nname = "all-MiniLM-L6-v2"\n[train]\nsteps = 1\n')
        source = datasets.load(config.load(path).recipe.data, 0)
        assert source.kind == kind and len(source.labels) == labels and set(source.hashes) == {"train", "test"}


# ---- corpora


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Texts in which each good word is followed by the bad one of its place."""
    rng = np.random.default_rng(6)
    texts = [" ".join(f"{GOOD[k]} {BAD[k]} {rng.choice(SHARED)}" for k in rng.integers(0, 5, 6)) for _ in range(60)]
    (tmp_path / "corpus.txt").write_text("\n\n".join(texts))
    return tmp_path / "corpus.txt"


@pytest.mark.parametrize("adapter", [False, True])
def test_a_corpus_is_learnt(adapter, corpus, tiny_llama, tmp_path) -> None:
    import nyala

    more = ['model.adapter={type="lora", rank=4, alpha=32}', "model.unfreeze=['lm_head.*', '*embed_tokens*']"] if adapter else []
    loaded = recipe(tmp_path, corpus, tiny_llama, "train.best.metric=loss", "train.epochs=6", *more)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    found = trainer.train(whole)
    assert found["accuracy"] > 0.3 and found["perplexity"] == pytest.approx(np.exp(found["loss"]))
    trainer.train(stopped, stop_after=6)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/tokenizer.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    assert nyala.load(str(whole.folder))("the sun", max_new_tokens=1).strip() == "rain"


def test_a_corpus_too_short_for_a_window_is_refused(tiny_llama, tiny_bert, tmp_path) -> None:
    (tmp_path / "short.txt").write_text("\n\n".join(["sun rain"] * 12))
    with pytest.raises(DataError, match="together shorter than one window of 30 tokens"):
        setup.prepare(recipe(tmp_path, tmp_path / "short.txt", tiny_llama, "model.max_length=30").recipe)
    with pytest.raises(RecipeError, match="text-generation"):
        setup.prepare(recipe(tmp_path, tmp_path / "short.txt", tiny_bert).recipe)


def test_a_folder_of_texts_is_a_corpus(tmp_path, tiny_llama) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i:02}.txt").write_text(" ".join(GOOD + BAD))
    source = datasets.load(recipe(tmp_path, folder, tiny_llama).recipe.data, 0)
    assert source.kind == "corpus" and len(source.train) + len(source.validation) + len(source.test) == 12
