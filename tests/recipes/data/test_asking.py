"""Questions: windows and where the answer stands in them, whole runs with a tiny BERT, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import nyala
import pytest
from nyala.errors import RecipeError
from nyala.random import key
from nyala.recipes.data import datasets, kinds
from nyala.recipes.data.asking import ASKED, USABLE, Asking
from nyala.recipes.data.batches import Prepared
from nyala.recipes.folder import run as runs
from nyala.recipes.judging.judge import evaluate
from nyala.recipes.language import config
from nyala.recipes.training import setup, trainer
from nyala.recipes.training.objectives import Answers
from nyala.text.datasets import Question

GOOD, BAD = ["sun", "joy", "warm", "kind", "bright"], ["rain", "grief", "cold", "harsh", "dark"]
SHARED = ["the", "a", "of", "and", "to", "in"]


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Texts with a bad word, which are asked for the good one; every fourth has none."""
    rng, rows = np.random.default_rng(6), []
    for i in range(150):
        words = [str(w) for w in rng.choice(SHARED, 4)]
        words[int(rng.integers(4))] = str(rng.choice(BAD))
        wanted = str(rng.choice(GOOD)) if i % 4 else ""
        if wanted:
            words.insert(int(rng.integers(5)), wanted)
        rows.append({"question": str(rng.choice(GOOD)), "context": " ".join(words), "answer": wanted})
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def recipe(tmp_path: Path, data: Path | str, model: Path | str, *overrides: str) -> config.Loaded:
    path = tmp_path / "asking.toml"
    path.write_text(
        f"""schema = 1
[data]
name = "{data}"
batch_size = 8
workers = 0
validation_fraction = 0.2
[model]
name = "{model}"
max_length = 16
[optim]
type = "adamw"
lr = 0.01
[train]
epochs = 6
checkpoint = {{ every = 20 }}
best = {{ metric = "f1" }}
"""
    )
    return config.load(path, overrides)


def test_it_learns_stops_goes_on_and_answers(asked: Path, tmp_path: Path, tiny_bert: Path) -> None:
    loaded = recipe(tmp_path, asked, tiny_bert)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    found = trainer.train(whole)
    assert found["f1"] >= found["exact_match"] >= 0.6
    trainer.train(stopped, stop_after=30)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipe = nyala.load(str(whole.folder))
    assert pipe.no_answer  # as the data had it
    rows = [json.loads(line) for line in (whole.folder / "predictions.jsonl").read_text().splitlines()]
    test = setup.prepare(loaded.recipe).source.test
    answers = pipe([(one.question, one.context) for one in test.inputs])
    assert [a.text for a in answers] == [row["text"] for row in rows]
    assert any(not a.text for a in answers) and all(a.text for a in pipe(list(answers.asked), no_answer=False))
    judged = evaluate(str(whole.folder)).assessment
    assert judged.found["f1"].value == pytest.approx(found["f1"])
    page = (whole.folder / "report.html").read_text()
    assert "<blockquote>" in page and "NaN" not in page


@pytest.fixture
def asking(tiny_bert: Path) -> Asking:
    pipe = nyala.load(str(tiny_bert), task="question-answering", new_head=["@head"])
    return Asking(replace(pipe, preprocess=pipe.preprocess.replace(max_length=12)))


def test_ends_are_those_of_the_answer_in_each_window(asking: Asking) -> None:
    words = [*SHARED * 3, "sun", *SHARED, "sun", "joy"]
    context = " ".join(words)
    start = context.index("sun")
    one = asking.prepare(Question("rain", context, (("sun", start), ("sun joy", context.rindex("sun")))))
    assert len(one.windows) > 2
    seen = set()
    for window, (first, last) in zip(one.windows, one.ends, strict=True):
        if first:
            a, b = window.offsets[first][0], window.offsets[last][1]
            seen.add(context[a:b])
        else:
            assert not last and not any(o and o[0] <= start < o[1] for o in window.offsets[:-2])
    assert seen == {"sun", "sun joy"}


def test_training_draws_one_window_by_the_key(asking: Asking) -> None:
    question = Question("rain", " ".join(SHARED * 6 + ["sun"]), (("sun", len(" ".join(SHARED * 6)) + 1),))
    whole = asking.prepare(question)
    drawn = [asking.prepare(question, (), key(3, "order", i)) for i in range(60)]
    assert all(len(one.windows) == 1 for one in drawn)
    with_answer = sum(int(one.ends[0, 0] > 0) for one in drawn)
    assert 15 < with_answer < 45  # half of them, of one window that answers and several that do not
    assert {tuple(one.windows[0].ids) for one in drawn} == {tuple(w.ids) for w in whole.windows}
    again = asking.prepare(question, (), key(3, "order", 7))
    assert again.windows == drawn[7].windows and (again.ends == drawn[7].ends).all()


def test_an_evaluation_does_not_depend_on_the_batch_and_losses_count_no_padding(asking: Asking) -> None:
    texts = [*(" ".join(words) for words in (SHARED * 6 + ["sun"], ["sun", "of"], [*SHARED, "joy", *SHARED]))]
    answers = ("sun", "sun", "joy")
    asked = [Question("rain", text, ((answer, text.index(answer)),)) for text, answer in zip(texts, answers, strict=True)]
    part = datasets.Part(asked, np.zeros(3, np.int64))
    prepared = Prepared(part, asking)
    together = prepared.collate([prepared[i] for i in range(3)])
    assert len(together) == 3 and len(together.labels) == together.inputs[USABLE].shape[0] > 5
    assert len(together.inputs[ASKED]) == 3
    model, objective = asking.pipeline.model, Answers()
    one = objective.evaluate(model, [together])
    each = objective.evaluate(model, [prepared.collate([prepared[i]]) for i in range(3)])
    np.testing.assert_allclose(one.losses, each.losses, rtol=1e-5)
    assert [a.text for a in one.found] == [a.text for a in each.found]
    outputs = objective.outputs(model, together.inputs).detach().numpy()
    assert (outputs[~np.repeat(together.inputs[USABLE].numpy()[:, None], 2, 1)] == -1e9).all()


def test_what_does_not_fit_is_said(asked: Path, tmp_path: Path, tiny_bert: Path, tiny_llama: Path) -> None:
    with pytest.raises(RecipeError, match="cannot answer questions"):
        setup.prepare(recipe(tmp_path, asked, tiny_llama).recipe)
    with pytest.raises(RecipeError, match="label_smoothing: questions have no classes"):
        setup.prepare(recipe(tmp_path, asked, tiny_bert, "train.label_smoothing=0.1").recipe)
    with pytest.raises(RecipeError, match="questions have f1, exact_match, loss, not mrr"):
        setup.prepare(recipe(tmp_path, asked, tiny_bert, "train.best.metric=mrr").recipe)
    assert kinds.of("questions").accepts(nyala.load(str(tiny_bert), task="question-answering", new_head=["@head"]))
