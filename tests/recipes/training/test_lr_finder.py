"""The learning-rate finder: the sweep, the rule it suggests by, the picture, and that it leaves nothing else behind."""

from __future__ import annotations

import json
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from nyala.errors import ArgumentError
from nyala.recipes import cli
from nyala.recipes.language import config
from nyala.recipes.training import lr_curve, lr_finder
from nyala.recipes.training.lr_finder import Curve, Point


def curve(*smoothed: float) -> list[Point]:
    """A point for each decade from 1e-6."""
    return [Point(10.0 ** (i - 6), loss, loss) for i, loss in enumerate(smoothed)]


def test_the_rule_takes_the_steepest_fall() -> None:
    # from 1e-5 to 1e-3 it falls most around 1e-4, and the minimum is far away
    assert lr_finder.suggest(curve(2.0, 1.9, 1.2, 0.4, 0.35, 0.3, 5.0)) == (pytest.approx(1e-1), pytest.approx(1e-4))


def test_the_rule_keeps_a_tenth_away_from_the_minimum() -> None:
    assert lr_finder.suggest(curve(2.0, 2.0, 2.0, 1.9, 0.1, 9.0)) == (pytest.approx(1e-2), pytest.approx(1e-3))


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    assert lr_finder.suggest(curve(1.0, 1.0, 0.99, 1.5, 4.0))[1] is None
    assert lr_finder.suggest(curve(1.0, 0.5)) == (None, None)


def test_rates_grow_by_one_factor_and_losses_are_those_of_the_recipes_updates(recipe_file: Path) -> None:
    """At a rate too small to matter each loss is that of the untouched model on the run's own batches."""
    recipe = config.load(recipe_file, ["data.augment=[]", "train.accumulate=2"]).recipe
    found = lr_finder.sweep(recipe, count=10, low=1e-12, high=1e-10)
    ratios = [b.lr / a.lr for a, b in zip(found.points, found.points[1:], strict=False)]
    assert ratios == pytest.approx([100 ** (1 / 9)] * 9) and found.points[-1].lr == pytest.approx(1e-10)
    assert found.suggestion is None and "the last rate" in found.ended
    mean = 0.0
    for step, point in enumerate(found.points):
        mean = 0.9 * mean + 0.1 * point.loss
        assert point.smoothed == pytest.approx(mean / (1 - 0.9 ** (step + 1)))
    from nyala.recipes.training import setup

    made = setup.prepare(recipe)
    groups = lr_finder.groups(made, recipe)
    losses = [lr_finder.one_step(made, recipe, next(groups), step, 1e-12) for step in range(4)]
    assert losses == pytest.approx([p.loss for p in found.points[:4]], rel=1e-5)


def test_the_same_recipe_gives_the_same_curve(recipe_file: Path) -> None:
    recipe = config.load(recipe_file).recipe
    assert lr_finder.sweep(recipe, count=12) == lr_finder.sweep(recipe, count=12)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_an_exploding_loss_ends_the_sweep(recipe_file: Path) -> None:
    recipe = config.load(recipe_file, ["optim={type='sgd', momentum=0.0}"]).recipe
    found = lr_finder.sweep(recipe, count=40, low=1e-4, high=1e12)
    assert len(found.points) < 40
    assert "times its minimum" in found.ended or "is nan" in found.ended or "is inf" in found.ended or "finite" in found.ended


def test_layer_decay_and_scales_hold_at_every_rate(recipe_file: Path) -> None:
    from nyala.recipes.training import setup

    recipe = config.load(recipe_file, ["optim.layer_decay=0.5", "optim.lr_scale={'@head'=4.0}"]).recipe
    made = setup.prepare(recipe)
    lr_finder.one_step(made, recipe, next(lr_finder.groups(made, recipe)), 0, 1.0)
    rates = {id(p): g["lr"] for o in made.optimizers for g in o.param_groups for p in g["params"]}
    named = dict(made.model.named_parameters())
    assert rates[id(named["fc.weight"])] == pytest.approx(4.0)
    assert rates[id(named["conv1.weight"])] == pytest.approx(0.5**5)


@pytest.mark.parametrize(("count", "low", "high"), [(9, 1e-7, 1.0), (20, 0.0, 1.0), (20, 1.0, 1e-3), (20, 1e-3, float("inf"))])
def test_bad_sweeps_are_refused(recipe_file: Path, count: int, low: float, high: float) -> None:
    with pytest.raises(ArgumentError, match="use at least 10 steps, and rates with 0 < low < high"):
        lr_finder.sweep(config.load(recipe_file).recipe, count=count, low=low, high=high)


def test_the_picture_is_well_formed_and_marks_the_suggestion() -> None:
    points = curve(2.0, 1.9, 1.2, 0.4, 0.35, 0.3, 5.0)
    root = ET.fromstring(lr_curve.svg(Curve(points, 1e-4, 1e-1, "-"), "a < b & c"))
    texts = [t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b & c" in texts and "suggested 0.0001" in texts and {"1e-6", "1e-3", "1e0"} <= set(texts)
    lines = [p.get("points", "").split() for p in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [len(points)] * 2
    places = [tuple(map(float, pair.split(","))) for line in lines for pair in line]
    assert all(0 <= x <= lr_curve.WIDTH and 0 <= y <= lr_curve.HEIGHT for x, y in places)
    assert "suggested" not in lr_curve.svg(Curve(points, None, None, "-"), "t")


def test_a_flat_curve_can_be_drawn() -> None:
    ET.fromstring(lr_curve.svg(Curve(curve(1.0, 1.0, 1.0)), "flat"))


# ---- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_and_leaves_only_its_picture(
    recipe_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = set(tmp_path.rglob("*"))
    argv = ["lr", str(recipe_file), "optim={type='adam', lr=0.01}", "--steps", "24", "--low", "1e-5", "--quiet"]
    assert cli.main(argv) == 0
    said = capsys.readouterr().out
    assert said.startswith("rate      loss      smoothed") and "suggested" in said and "tiny-lr.svg" in said
    assert "nyala run" not in said or shlex.split(said.partition("nyala run ")[2])[:2] == argv[1:3]
    assert set(tmp_path.rglob("*")) - before == {recipe_file.with_name("tiny-lr.svg")}


def test_the_command_keeps_figures_where_asked_and_speaks_json(
    recipe_file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["lr", str(recipe_file), "optim.type=sgd", "--steps", "12", "--folder", str(tmp_path / "kept"), "--json", "--quiet"]
    assert cli.main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["points"]) <= 12 and said["rule"] == lr_finder.RULE
    assert {p.name for p in (tmp_path / "kept").iterdir()} == {"recipe.resolved.toml", "lr.jsonl", "tiny-lr.svg"}
    lines = [json.loads(line) for line in (tmp_path / "kept" / "lr.jsonl").read_text().splitlines()]
    assert lines == said["points"] and 'type = "sgd"' in (tmp_path / "kept" / "recipe.resolved.toml").read_text()


@pytest.mark.parametrize(("out", "message"), [("curve.png", "ends in .svg"), ("nowhere/curve.svg", "there is no folder nowhere")])
def test_a_bad_place_for_the_picture_costs_no_training(
    recipe_file: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    assert cli.main(["lr", str(recipe_file), "--out", out]) == 2
    assert message in capsys.readouterr().err
