"""Fine-tuning in one line: the recipe it leaves is the run, to the bit; the user's word holds; mistakes come first."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nyala
import pytest
from nyala.errors import ArgumentError, DataError, RecipeError, StorageError
from nyala.recipes import cli
from nyala.recipes.finetune import propose, tune
from nyala.recipes.finetune.tune import seconds_of
from nyala.recipes.folder import lock
from nyala.recipes.folder import run as runs
from nyala.recipes.language import config
from nyala.recipes.plan import memory
from nyala.recipes.training import trainer


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*argv: str) -> int:
    """``main`` in this process; argparse's own exits become codes."""
    try:
        return cli.main(["finetune", *argv])
    except SystemExit as stop:
        return int(stop.code or 0)


def outputs(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())["outputs"]


def test_the_recipe_that_is_left_gives_the_same_bits(tiny_model: Path, tiny_data: Path) -> None:
    done = nyala.finetune(tiny_model, tiny_data, epochs=2, overrides=["data.workers=0"])
    assert done.folder.parent.name == "runs" and done.recipe.parent == done.folder
    assert 0 <= done.metrics["accuracy"] <= 1 and (done.folder / "report.html").is_file()
    again = runs.create(config.load(done.recipe), "again")
    trainer.train(again)
    assert outputs(again.folder) == outputs(done.folder)


def test_the_result_predicts(tiny_model: Path, tiny_data: Path) -> None:
    done = nyala.finetune(tiny_model, tiny_data, epochs=1, overrides={"data.workers": 0, "optim.lr": 0.01}, folder="here")
    assert done.folder.name == "here" and "here" in repr(done)
    assert done.pipeline(tiny_data / "red" / "00.png").label in ("blue", "green", "red")
    assert done.proposal.loaded.recipe.optim.lr == 0.01


def test_texts_from_a_csv_file(tiny_bert: Path, moods: Path) -> None:
    done = nyala.finetune(tiny_bert, moods, target="mood", epochs=1, overrides=["data.columns.text=['words']", "data.workers=0"])
    recipe = done.proposal.loaded.recipe
    assert recipe.model.max_length == 16 and recipe.data.columns.label == "mood"
    assert done.pipeline("sun joy").label in ("good", "bad")


def test_each_choice_has_its_reason_in_the_recipe(tiny_model: Path, tiny_data: Path) -> None:
    given = propose(tiny_model, tiny_data, overrides=["optim.lr=0.02"])
    lines = given.toml.splitlines()
    for key, value, reason in given.choices():
        name = key.rpartition(".")[2]
        if name == "type":
            assert f"{name} = {value}" in lines
            continue
        above = lines[lines.index(f"{name} = {value}") - 1]
        assert above.startswith("# ") and reason.startswith(above[2:20])
    assert "# as you said\nlr = 0.02\n" in given.toml and "14 samples a class" in given.toml


def test_a_dry_run_prints_the_recipe_and_trains_nothing(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tiny_model), "--data", str(tiny_data), "--dry-run", "--recipe", "mine.toml", "train.epochs=3") == 0
    out = capsys.readouterr()
    assert (tmp_path / "mine.toml").read_text() == out.out and "epochs = 3" in out.out
    assert "samples a class" in out.err and "dry run" in out.err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.toml"]
    assert config.load("mine.toml").recipe.train.epochs == 3
    assert run(str(tiny_model), "--data", str(tiny_data), "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"].startswith("# Written by") and {"key", "value", "reason"} == set(found["choices"][0])


def test_the_command_runs_and_says_what_next(tiny_model: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [str(tiny_model), "--data", str(tiny_data), "--epochs", "1", "--quiet", "data.workers=0", "--folder", "one"]
    assert run(*argv) == 0
    text = capsys.readouterr().out
    for what in ("accuracy 0.", "nyala predict", "nyala verify", "nyala push", "nyala run", "report.html"):
        assert what in text
    assert run(*argv[:-1], "two", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert Path(found["recipe"]).is_file() and found["metrics"]["accuracy"] >= 0
    assert outputs(Path("one")) == outputs(Path("two"))


def test_the_rules_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rules") == 0
    assert capsys.readouterr().out.startswith("| decision | where | choice |")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["resnet18"], "--data is missing"),
        ([], "a model is missing"),
        (["{model}", "--data", "nowhere"], "data.name: unknown name 'nowhere'"),
        (["vision/fashion-lite0", "--data", "{data}"], "vision/fashion-lite0 is a recipe, not a model"),
        (["{model}", "--data", "{data}/rde"], "rde (did you mean 'red'?)"),
        (
            ["{model}", "--data", "no/such/place.csv"],
            "no/such/place.csv (there is no folder no/such either)",
        ),
        (["{model}", "--data", "{data}", "--target", "kind"], "has no columns: its subfolders are the classes"),
        (["{model}", "--data", "{data}", "optim.lrr=1", "--epochs", "0"], "has 2 mistakes"),
        (["{model}", "--data", "{data}", "--time", "soon"], "'soon' is no time"),
        (["{model}", "--data", "{data}", "--target", "kind", "--test", "{data}/gone"], "data.test: there is no file or folder"),
        (["{bert}", "--data", "{data}"], "is for text and the data are pictures"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    argv: list[str],
    message: str,
    tiny_model: Path,
    tiny_bert: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [a.format(model=tiny_model, bert=tiny_bert, data=tiny_data) for a in argv]
    assert run(*filled) == 2
    assert message in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_bad_data_leave_no_run_behind(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("text,label\na,x\n,y\n")
    with pytest.raises(DataError, match=r"bad\.csv:3: no text"):
        nyala.finetune(tiny_bert, "bad.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.csv"]


def test_a_second_process_takes_nothing_away(tiny_model: Path, tiny_data: Path) -> None:
    """Who finds the folder locked leaves the recipe of the run in it where it is."""
    given = propose(tiny_model, tiny_data, epochs=1, overrides=["data.workers=0"])
    done = tune.carry_out(given, "here")
    with lock.hold(done.folder), pytest.raises(StorageError, match="another process"):
        tune.carry_out(given, "here")
    assert done.recipe.read_text() == given.toml


def test_a_time_limit_shortens_the_run(tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(epoch=12.0, steps_per_epoch=6, total_steps=40, total=90.0)  # 2 s an update, 10 s beside them
    monkeypatch.setattr(tune, "measured", lambda *_, **__: told)
    given = propose(tiny_model, tiny_data, time="50s")
    train = given.loaded.recipe.train
    assert (train.epochs, train.steps) == (None, 17)
    assert "fits into 50 s, at 2.00 s an update" in given.reasons["train.steps"]
    assert propose(tiny_model, tiny_data, time="9h").loaded.recipe.train.epochs is not None
    with pytest.raises(ArgumentError, match=r"1 s are not enough: one update takes 2\.0 s .*, loading and testing 10 s"):
        propose(tiny_model, tiny_data, time=1)


def test_time_is_really_measured(tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "_MEASURING", 0.1)
    assert propose(tiny_model, tiny_data, time="2h", overrides=["data.workers=0"]).loaded.recipe.train.epochs is not None


def test_a_batch_that_does_not_fit_is_cut_and_accumulated(
    tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 150_000)
    given = propose(tiny_model, tiny_data)
    data, train = given.loaded.recipe.data, given.loaded.recipe.train
    assert data.batch_size < 8 and data.batch_size * train.accumulate == 8
    assert "GB that are free" in given.reasons["data.batch_size"]


def test_the_users_length_wins(tiny_model: Path, tiny_data: Path) -> None:
    train = propose(tiny_model, tiny_data, overrides=["train.steps=7"]).loaded.recipe.train
    assert (train.steps, train.epochs) == (7, None)
    with pytest.raises(RecipeError, match="epochs and steps are both given"):
        propose(tiny_model, tiny_data, epochs=2, overrides=["train.steps=7"])


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200), (20, 20)])
def test_times(text: str | int, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_hidden_words_and_questions(tiny_bert: Path, tmp_path: Path) -> None:
    """A head that the weights have not is new, and each kind gets what its objective takes."""
    (tmp_path / "texts.txt").write_text("\n\n".join(f"the sun of {word} and joy" for word in ("rain", "warm", "kind") * 30))
    masked = propose(tiny_bert, tmp_path / "texts.txt", overrides={"data.masked": {}, "model.max_length": 16})
    chosen = masked.loaded.recipe
    assert masked.facts.kind == "masked" and masked.facts.fresh and chosen.train.best.metric == "loss"
    assert chosen.train.label_smoothing == 0 and list(chosen.optim.lr_scale.values()) == [10.0]
    rows = [{"question": "sun joy", "context": f"the {word} of joy", "answer": word} for word in ("sun", "warm", "kind") * 30]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = nyala.finetune(tiny_bert, tmp_path / "asked.jsonl", epochs=1, overrides={"data.workers": 0})
    assert set(done.metrics) >= {"f1", "exact_match", "loss"} and not done.pipeline.no_answer
    assert done.pipeline("sun joy", "the warm of joy").text


def test_pictures_with_masks(tiny_unet: Path, masks: Path) -> None:
    done = nyala.finetune(tiny_unet, masks, epochs=2, overrides={"data.workers": 0})
    facts, recipe = done.proposal.facts, done.proposal.loaded.recipe
    assert (facts.kind, facts.side, facts.head, facts.layer_norms) == ("masks", 16, ["model.2"], False)
    assert recipe.model.image_size == 32 and recipe.train.dice == 1.0 and recipe.optim.lr == 1e-3
    assert "pictures of 16 pixels" in done.proposal.toml and "3 classes: ground, red, blue" in done.proposal.toml
    assert {"mean_iou", "mean_dice"} <= set(done.metrics) and done.pipeline(masks / "images" / "00.png").mask.shape == (16, 20)


def test_pictures_with_boxes(coco: Path) -> None:
    sizes = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_layers": 1}
    sizes |= {"decoder_attention_heads": 2, "decoder_ffn_dim": 16, "num_queries": 5, "backbone_stem_channels": 8}
    lists = {"backbone_layers": [1, 1], "backbone_channels": [4, 8]}
    given = {f"model.sizes.{key}": value for key, value in {**sizes, **lists}.items()} | {"model.random_init": True}
    done = nyala.finetune("detr-resnet-50", coco, epochs=1, overrides={**given, "data.workers": 0})
    facts, recipe = done.proposal.facts, done.proposal.loaded.recipe
    assert (facts.kind, facts.side, facts.native, facts.slow) == ("boxes", 32, 800, ["model.backbone"])
    assert recipe.model.image_size == 32 and recipe.optim.lr == 1e-3 and recipe.train.best.metric == "map"
    assert {"map", "map_50"} <= set(done.metrics) and done.pipeline.labels == ("circle", "square", "triangle")
