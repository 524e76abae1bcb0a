"""What a run leaves for others: the model folder in the base's layout, and what a push would make of the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from nyala.hub import push
from nyala.hub.pushing import Pushed
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.training import trainer


@pytest.fixture
def plan(monkeypatch):
    """``plan(folder)``: what a push would do, found out without any hub."""

    def offline(folder: Path) -> Pushed:
        monkeypatch.setenv("NYALA_OFFLINE", "1")
        return push(folder, "me/result", dry_run=True)

    return offline


def run_on_text(recipe: Path, tmp_path: Path, tiny_bert: Path, *overrides: str) -> Path:
    """A short run from a base whose tokenizer says that it takes 512 tokens."""
    base = tmp_path / "base"
    shutil.copytree(tiny_bert, base)
    (base / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 512}))
    (base / "training_args.bin").write_bytes(b"\x80\x02.")
    made = runs.create(
        config.load(recipe, [f"model.name={base}", "train.steps=2", "train.epochs=none", *overrides]), tmp_path / "run"
    )
    trainer.train(made)
    return made.folder


def test_the_length_that_texts_were_cut_to_is_where_each_loader_looks(text_recipe_file, tmp_path, tiny_bert):
    folder = run_on_text(text_recipe_file, tmp_path, tiny_bert) / "model"
    kept = json.loads((folder / "tokenizer_config.json").read_text())
    assert kept == {"tokenizer_class": "BertTokenizer", "model_max_length": 12}
    assert json.loads((folder / "sentence_bert_config.json").read_text()) == {"max_seq_length": 12}


def test_a_run_on_text_would_be_pushed_with_tokenizer_card_and_proof(text_recipe_file, tmp_path, tiny_bert, plan):
    found = plan(run_on_text(text_recipe_file, tmp_path, tiny_bert)).plan
    names = {f.name for f in found.files} - {"tokenizer.json"}  # as the base has one or not
    assert names == {
        "README.md",
        "config.json",
        "model.safetensors",
        "nyala/manifest.json",
        "nyala/recipe.resolved.toml",
        "sentence_bert_config.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    card = next(f.content for f in found.files if f.name == "README.md").decode()
    assert 'pipeline_tag: "text-classification"' in card and 'pipeline("text-classification", model="me/result")' in card
    assert "`bad`, `good`" in card and "base_model" not in card, "a folder of this machine is no base that others could get"
    assert str(tmp_path) not in card
    assert any(str(tmp_path / "moods.jsonl") in note for note in found.notes), "paths that the recipe names are pointed out"


def test_a_run_on_pictures_would_be_pushed_with_its_scores(trained, plan):
    run = trained("run")
    found = plan(run.folder).plan
    assert {f.name for f in found.files} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "nyala/manifest.json",
        "nyala/recipe.resolved.toml",
    }
    card = next(f.content for f in found.files if f.name == "README.md").decode()
    final = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()][-1]
    assert f"| accuracy | {final['accuracy']:.4f} |" in card and 'library_name: "timm"' in card
    manifest = json.loads((run.folder / "manifest.json").read_text())
    assert manifest["recipe"]["sha256"] in card
    sent = {f.name: f.sha256 for f in found.files}
    assert sent["model.safetensors"] == manifest["outputs"]["model/model.safetensors"]


def test_an_unfinished_run_is_refused_and_says_how_to_finish_it(recipe_file, tmp_path, plan):
    from nyala.errors import MissingFileError

    run = runs.create(config.load(recipe_file), tmp_path / "run")
    trainer.train(run, stop_after=4)
    with pytest.raises(MissingFileError, match=r"is not finished.*nyala resume"):
        plan(run.folder)
    with pytest.raises(MissingFileError, match="is not finished"):
        plan(runs.create(config.load(recipe_file), tmp_path / "new").folder)


def test_no_token_of_the_environment_is_written_into_a_run(trained, monkeypatch, capfd):
    secrets = {name: f"{name.lower()}-correct-horse-battery" for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD")}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    folder = trained("run").folder
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    said = "".join(capfd.readouterr()).encode()
    assert len(written) > 10_000
    for value in secrets.values():
        assert value.encode() not in written + said
