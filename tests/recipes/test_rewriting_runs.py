"""Whole runs of encoder-decoders: texts and what is to be written of them, and texts with stretches cut out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import nyala
import pytest
from nyala.errors import ArgumentError, DataError, RecipeError
from nyala.recipes.data import datasets, kinds
from nyala.recipes.data.rewriting import Rewriting
from nyala.recipes.finetune import rules
from nyala.recipes.folder import run as runs
from nyala.recipes.judging.judge import evaluate
from nyala.recipes.language import config
from nyala.recipes.language.schema import Data
from nyala.recipes.proof.verify import verify
from nyala.recipes.training import setup, trainer
from nyala.recipes.training.objectives import Rewritten
from nyala.text.pipelines.text2text import Text2Text

NAMES, FRUITS = ("ann", "bob", "eve", "joe", "kim", "lee"), ("apples", "cherries", "figs", "kiwis", "lemons", "plums")
RECIPE = """schema = 1
seed = 3
[data]
name = "likes.jsonl"
test_fraction = 0.2
validation_fraction = 0.1
batch_size = 8
eval_batch_size = 16
workers = 0
[model]
name = "t5-small"
random_init = true
max_length = 24
max_target_length = 8
tokenizer = { vocab_size = 330 }
dropout = { dropout_rate = 0.05 }
[model.sizes]
vocab_size = 330
d_model = 32
d_kv = 16
d_ff = 48
num_layers = 1
num_heads = 2
[optim]
type = "adamw"
lr = 1e-2
[schedule]
type = "cosine"
[train]
epochs = 8
clip_norm = 1.0
best = { metric = "rouge_l" }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = [{"article": f"{n} likes {f} very much", "summary": f"{n}: {f}"} for n in NAMES for f in FRUITS for _ in range(4)]
    (tmp_path / "likes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "likes.toml").write_text(RECIPE)
    return tmp_path / "likes.toml"


@pytest.fixture
def tuning(recipe: Path, base: Path) -> Path:
    """The same on weights that are there."""
    head, _, rest = RECIPE.partition("random_init")
    kept = "max_length = 24\nmax_target_length = 8\n" + rest[rest.index("[optim]") :]
    (recipe.parent / "tuned.toml").write_text(head.replace("t5-small", str(base)) + kept)
    return recipe.parent / "tuned.toml"


def test_it_learns_stops_goes_on_loads_and_is_repeated(recipe: Path, tmp_path: Path) -> None:
    loaded = config.load(recipe)
    whole, stopped = runs.create(loaded, tmp_path / "whole"), runs.create(loaded, tmp_path / "stopped")
    scores = trainer.train(whole)
    assert scores["rouge_l"] > 0.8 and scores["accuracy"] > 0.5
    trainer.train(stopped, stop_after=20)
    trainer.train(stopped)
    for name in ("metrics.jsonl", "predictions.jsonl", "model/model.safetensors", "model/tokenizer.json", "model/config.json"):
        assert (whole.folder / name).read_bytes() == (stopped.folder / name).read_bytes(), name
    pipe = nyala.load(str(whole.folder))
    assert isinstance(pipe, Text2Text) and pipe.settings == {"max_new_tokens": 8} and pipe.preprocess.max_length == 24
    written = pipe([f"{n} likes {f} very much" for n in NAMES[:3] for f in FRUITS[:3]])
    assert sum(w == f"{n}: {f}" for w, (n, f) in zip(written, [(n, f) for n in NAMES[:3] for f in FRUITS[:3]], strict=True)) > 4
    page = (whole.folder / "report.html").read_text()
    assert "likes" in page and "ROUGE-L" in page
    again = evaluate(whole.folder)
    assert again.assessment.found["rouge_l"].value == pytest.approx(scores["rouge_l"], abs=1e-6)
    judged = evaluate(whole.folder, tmp_path / "likes.jsonl", limit=10)
    assert judged.assessment.samples == 10 and "ROUGE-1" in str(judged)


def test_a_run_is_verified_bit_by_bit(recipe: Path, tmp_path: Path) -> None:
    run = runs.create(config.load(recipe, ["train.epochs=none", "train.steps=6"]), tmp_path / "run")
    trainer.train(run)
    assert "bitwise" in str(verify(run.folder)).lower()


def test_stretches_are_cut_out_anew_each_epoch_and_always_alike_in_tests(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text(
        "\n\n".join(f"{n} likes {f} and {g} today." for n in NAMES for f in FRUITS for g in FRUITS)
    )
    overrides = ["data.name=lines.txt", "data.spans={density=0.4}", "model.tokenizer.sentinels=8", "model.sizes.vocab_size=338"]
    more = ["model.tokenizer.vocab_size=338", "train.best.metric=loss", "train.epochs=2", f"data.name={tmp_path / 'lines.txt'}"]
    loaded = config.load(recipe, [*overrides, *more])
    run = runs.create(loaded, tmp_path / "run")
    scores = trainer.train(run)
    assert scores["loss"] < 4.5 and {"accuracy", "perplexity"} <= set(scores)
    made = setup.prepare(loaded.recipe)
    row = made.source.train.inputs[0]
    assert len(row) == 23
    first, second = (made.task.prepare(row, (), nyala.random.key(0, "augment", i)) for i in (0, 1))
    assert not np.array_equal(first[0], second[0])
    for (read, told), (again, _) in ((made.task.prepare(row), made.task.prepare(row)),):
        assert np.array_equal(read, again) and read[-1] == told[-1] == 1 and len(read) <= 24
    batch = made.task.collate([first, second], np.array([0, 1]))
    targets = made.task.targets([first, second], (), batch)
    before = batch["decoder_input_ids"].numpy()
    assert (before[:, 0] == 0).all() and np.array_equal(before[0, 1 : len(first[1])], targets[0, : len(first[1]) - 1])


def test_what_does_not_fit_is_refused(recipe: Path, tuning: Path, tiny_bert: Path) -> None:
    with pytest.raises(ArgumentError, match="BertModel is no encoder-decoder"):
        setup.prepare(config.load(tuning, [f"model.name={tiny_bert}"]).recipe)
    with pytest.raises(RecipeError, match=r"model.tokenizer.vocab_size is 400, the model has 330 tokens"):
        setup.prepare(config.load(recipe, ["model.tokenizer.vocab_size=400"]).recipe)
    with pytest.raises(RecipeError, match=r"model.tokenizer: a tokenizer of 258 tokens"):
        setup.prepare(config.load(recipe, ["model.tokenizer.vocab_size=258", "model.tokenizer.sentinels=4"]).recipe)
    with pytest.raises(RecipeError, match=r"data.spans: .* holds no plain texts"):
        setup.prepare(config.load(recipe, ["data.spans={}", "train.best.metric=loss"]).recipe)


def test_a_file_of_other_rows_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "news.jsonl"
    path.write_text('{"source": "a", "target": "b"}\n{"source": "a"}\n')
    with pytest.raises(DataError, match=r"news\.jsonl:2 has no two texts"):
        datasets.read(Data(name=str(path)))
    path.write_text('{"source": "a", "target": "b"}\n')
    raw = datasets.read(Data(name=str(path)))
    assert raw.kind == "seq2seq" and raw.train.inputs[0].target == "b"


# ---- weights that are there


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a T5 of random weights and a SentencePiece tokenizer."""
    import shutil

    from nyala.text.models import t5

    folder = tmp_path_factory.mktemp("base")
    nyala.manual_seed(1)
    shape = {"vocab_size": 400, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    model = t5.build({**shape, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False})
    (folder / "config.json").write_text(json.dumps(t5.export_config(model)))
    nyala.checkpoint.save_file({n: t.numpy() for n, t in model.state_dict().items()}, folder / "model.safetensors")
    shutil.copy(Path(__file__).parents[1] / "goldens" / "text" / "sentencepiece" / "t5" / "spiece.model", folder)
    (folder / "generation_config.json").write_text('{"num_beams": 2, "max_length": 40, "forced_eos_token_id": 1}')
    return folder


def test_fine_tuning_keeps_prefix_tokenizer_and_published_settings(tuning: Path, base: Path, tmp_path: Path) -> None:
    loaded = config.load(tuning, ["model.prefix='summarize: '", "train.epochs=none", "train.steps=2"])
    run = runs.create(loaded, tmp_path / "run")
    trainer.train(run)
    pipe = nyala.load(str(run.folder))
    assert pipe.prefixes["summarization"] == "summarize: " and pipe.settings == {"num_beams": 2, "max_new_tokens": 8}
    assert len(pipe.processors) == 1 and (run.folder / "model" / "spiece.model").is_file()
    assert pipe.preprocess.ids("call me") == nyala.load(str(base)).preprocess.ids("call me")
    task = Rewriting(replace(pipe, preprocess=pipe.preprocess.replace(too_long="cut")))
    read, told = task.prepare(datasets.read(Data(name=str(tuning.parent / "likes.jsonl"))).train.inputs[0])
    assert pipe.preprocess.decode(read).startswith("summar") and told[-1] == 1


def test_the_rules_choose_for_encoder_decoders(tuning: Path) -> None:
    from nyala.recipes.finetune import facts

    found, _, _ = facts.examine(config.load(tuning).recipe)
    plan = rules.decide(found, {})
    assert plan.get("optim.lr") == 3e-4 and plan.get("train.best.metric") == "rouge_l" and plan.method == rules.FULL


def test_losses_are_of_tokens_and_written_texts_are_greedy() -> None:
    pipe: Any = type("P", (), {"decode": lambda _, ids: " ".join(map(str, ids))})()
    objective = Rewritten(pipe, (0,), (1,))
    logits = nyala.tensor(np.log(np.array([[[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]]], np.float32)))
    labels = np.array([[2, -100]])
    assert float(objective.loss(logits, nyala.from_numpy(labels)).item()) == pytest.approx(-np.log(0.7), rel=1e-5)
    assert objective.count(nyala.from_numpy(labels)) == 1 and objective.correct(logits, labels) == 1
    assert kinds.of("seq2seq").metrics == ("rouge1", "rouge_l", "accuracy")
