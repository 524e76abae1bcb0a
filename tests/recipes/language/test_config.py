"""Reading recipes: extends, overrides, origins, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from nyala.errors import RecipeError, UnknownNameError
from nyala.recipes import catalog
from nyala.recipes.language import config, resolved, schema

BASE = """schema = 1
seed = 3

[data]
name = "fashion-mnist-sample"
batch_size = 8

[model]
name = "some/model"

[optim]
type = "adamw"
lr = 0.003
betas = [0.8, 0.9]

[train]
epochs = 2
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.toml"
    path.write_text(BASE)
    return path


def child(base: Path, text: str, name: str = "child.toml") -> Path:
    path = base.parent / name
    path.write_text(f'extends = "{base.name}"\n{text}')
    return path


def mistakes(source: Path, *overrides: str) -> list[str]:
    """The lines of the report."""
    with pytest.raises(config.RecipeMistakesError) as caught:
        config.load(source, overrides)
    assert caught.value.exit_code == 2 and len(caught.value.problems) == len(caught.value.lines)
    assert all(f"\n  {line}\n" in str(caught.value) for line in caught.value.lines)
    return caught.value.lines


@pytest.mark.parametrize("name", catalog.names())
def test_built_in_recipes_are_short_and_without_mistakes(name: str) -> None:
    assert config.load(name).name == name
    assert len((catalog.ROOT / f"{name}.toml").read_text().splitlines()) < 60


def test_extends_merges_key_by_key(base: Path) -> None:
    loaded = config.load(child(base, "[data]\nworkers = 5\n[optim]\nlr = 0.1\n"))
    assert (loaded.recipe.data.batch_size, loaded.recipe.data.workers) == (8, 5)
    assert loaded.recipe.optim == schema.AdamW(lr=0.1, betas=(0.8, 0.9))


def test_another_type_replaces_the_whole_table(base: Path) -> None:
    assert config.load(child(base, '[optim]\ntype = "sgd"\n')).recipe.optim == schema.Sgd()
    assert config.load(base, ["optim.type=lion", "optim.lr=1e-5"]).recipe.optim == schema.Lion(lr=1e-5)
    assert config.load(base, ["optim.lr=1e-5", "optim.type=lion"]).recipe.optim == schema.Lion(lr=1e-5)


def test_a_chain_of_three_files_takes_the_nearest_value(base: Path) -> None:
    middle = child(base, "seed = 4\n[train]\nclip_norm = 1.0\n", "middle.toml")
    loaded = config.load(child(middle, "seed = 5\n", "leaf.toml"))
    assert (loaded.recipe.seed, loaded.recipe.train.clip_norm, loaded.recipe.train.epochs) == (5, 1.0, 2)
    assert [loaded.origin(p) for p in ("seed", "train.clip_norm", "train.epochs")] == [
        "leaf.toml:2",
        "middle.toml:4",
        "base.toml:17",
    ]


def test_a_built_in_recipe_can_be_extended(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('extends = "vision/fashion-lite0"\nseed = 9\n')
    loaded = config.load(path)
    assert (loaded.recipe.seed, loaded.recipe.data.name, loaded.name) == (9, "fashion-mnist-sample", "mine")


def test_circles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"')
    (tmp_path / "b.toml").write_text('extends = "c.toml"')
    (tmp_path / "c.toml").write_text('extends = "b.toml"')
    with pytest.raises(RecipeError, match=r"circle: b\.toml -> c\.toml -> b\.toml"):
        config.load(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("optim.lr=0.01", "optim.lr", 0.01),
        ("seed=12", "seed", 12),
        ("model.name=org/name", "model.name", "org/name"),
        ('model.name="org/name"', "model.name", "org/name"),
        ("description=a=b=c", "description", "a=b=c"),
        ("description=two words", "description", "two words"),
        ("model.freeze=['*.bias', 'stem']", "model.freeze", ["*.bias", "stem"]),
        ("model.new_head=false", "model.new_head", False),
        ("optim.betas=[0.5, 0.6]", "optim.betas", (0.5, 0.6)),
        ('optim.lr_scale."@head"=10', "optim.lr_scale", {"@head": 10.0}),
        ("train.early_stop.patience=4", "train.early_stop", schema.EarlyStop(patience=4)),
        (" train.clip_norm = 2 ", "train.clip_norm", 2.0),
    ],
)
def test_overrides_are_toml_values_and_bare_words_are_strings(base: Path, override: str, path: str, value: object) -> None:
    found: object = config.load(base, [override]).recipe
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_none_takes_a_key_away(base: Path) -> None:
    train = config.load(base, ["train.epochs=none", "train.steps=7"]).recipe.train
    assert (train.epochs, train.steps) == (None, 7)


def test_each_value_knows_where_it_came_from(base: Path) -> None:
    loaded = config.load(child(base, "[optim]\nlr = 0.1\n"), ["data.workers=0", "train.early_stop={patience=2}"])
    origins = {
        p: loaded.origin(p) for p in ("optim.lr", "optim.type", "data.workers", "train.early_stop.patience", "train.ema", "seed")
    }
    assert origins == {
        "optim.lr": "child.toml:3",
        "optim.type": "base.toml:12",
        "data.workers": "override",
        "train.early_stop.patience": "override",
        "train.ema": "default",
        "seed": "base.toml:2",
    }


def test_three_mistakes_are_three_lines(base: Path) -> None:
    lines = mistakes(base, "optim.lrr=1", "train.epochs=-1", "data.name=fashon-mnist")
    assert len(lines) == 3
    assert "optim.lrr: unknown key (did you mean 'lr'?) [override]" in lines
    assert "train.epochs: -1 is out of range (must be at least 1) [override]" in lines
    assert any(line.startswith("data.name: unknown name 'fashon-mnist' (did you mean 'fashion-mnist'") for line in lines)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nokey", "nokey: is not an override (write key=value, e.g. optim.lr=0.01)"),
        ("=1", "=1: is not an override"),
        ("optim.lr=-1", "optim.lr: -1 is out of range (must be above 0)"),
        ("optim.lr=nan", "optim.lr: expected a number, got the number nan"),
        ("optim.lr=fast", "optim.lr: expected a number, got the string 'fast'"),
        ("seed=true", "seed: expected a whole number, got True"),
        ("data.batch_size=3.5", "data.batch_size: expected a whole number, got the number 3.5"),
        ("optim.type=adamv", "optim.type: unknown type 'adamv' (did you mean 'adam' or 'adamw'"),
        ("optim.betas=[0.9]", "optim.betas: expected a list of 2, got a list [0.9]"),
        ("optim.betas=[0.9, 1.5]", "optim.betas[1]: 1.5 is out of range (must be at least 0 and below 1)"),
        ("optim=3", "optim: expected a table with a type, got the number 3"),
        ("model.freeze=stem", "model.freeze: expected a list, got the string 'stem' (write ['stem'])"),
        (
            "train.best.metric=acuracy",
            "train.best.metric: 'acuracy' is none of accuracy, cer, exact_match,",
        ),
        ("data.augment=[{type='flip'}]", "data.augment[0].type: unknown type 'flip'"),
        ("data.augment=[{p=1}]", "data.augment[0].type: missing"),
        (
            "data.augment=[{type='random_erasing', scale=[0.5, 0.1]}]",
            "data.augment[0].scale: the lower bound 0.5 is above the upper bound 0.1",
        ),
        ("train.steps=5", "train.steps: epochs and steps are both given"),
        ("train.epochs=none", "train: neither epochs nor steps is given"),
        ("data.validation_fraction=0", "train.best.use: there is no validation part to choose the best weights on"),
        ("model.unfreeze=['fc']", "model.unfreeze: nothing is frozen"),
        ("schema=2", "schema: 2 is none of 1"),
        ("model.name=mobilenet", "model.name: unknown name 'mobilenet'"),
        ("seed.deep=1", "seed.deep: a part of this key is a value, not a table"),
        ("trains.steps=1", "trains: unknown key (did you mean 'train'"),
        ("model.dropout={head=1.0}", "model.dropout.head: 1.0 is out of range (must be at least 0 and below 1)"),
    ],
)
def test_each_mistake_has_its_key_cause_and_hint(base: Path, override: str, message: str) -> None:
    assert mistakes(base, override)[0].startswith(message)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("schema = 1\n[data]\n[train]\nepochs = 1\n")
    assert mistakes(tmp_path / "x.toml") == ["data.name: missing (add this key)", "model: missing (add this table)"]


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("a = = 1")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    (tmp_path / "chain.toml").write_text("extends = 3")
    for name, message in {
        "bad": "not valid TOML",
        "latin": "not UTF-8",
        "chain": "extends is 3",
        "gone": "there is no file",
    }.items():
        with pytest.raises(RecipeError, match=message):
            config.load(tmp_path / f"{name}.toml")
    with pytest.raises(RecipeError, match="is a folder"):
        config.load(tmp_path)


def test_an_unknown_recipe_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vision/fashion-lite0'"):
        config.load("vision/fashion-lite")


def test_paths_in_a_recipe_count_from_its_folder(base: Path) -> None:
    (base.parent / "pictures").mkdir()
    loaded = config.load(child(base, '[data]\nname = "./pictures"\n'))
    assert loaded.recipe.data.name == str(base.parent / "pictures")


def test_the_resolved_recipe_is_the_same_recipe(base: Path) -> None:
    overrides = [
        "optim.lr_scale={'@head'=10.0, 'blocks.0'=0.5}",
        'description="say \\"hi\\""',
        "data.augment=[{type='random_crop', padding=3}]",
    ]
    loaded = config.load(base, [*overrides, "train.early_stop.patience=2"])
    text = resolved.to_toml(loaded)
    (base.parent / "again.toml").write_text(text)
    again = config.load(base.parent / "again.toml")
    assert again.recipe == loaded.recipe
    assert "lr = 0.003  # base.toml:13" in text and "epochs = 2  # base.toml:17" in text
    assert "batch_size = 8  # base.toml:6" in text and "workers = 2  # default" in text


def test_identity_leaves_out_what_cannot_change_a_result(base: Path) -> None:
    same = ["data.workers=7", "run.folder=elsewhere", "run.name=x", "description=other"]
    assert {schema.digest(config.load(base, [o]).recipe) for o in same} == {schema.digest(config.load(base).recipe)}
    other = ["seed=4", "optim.lr=1", "data.eval_batch_size=3", "train.ema=0.9"]
    assert len({schema.digest(config.load(base, [o]).recipe) for o in other}) == 4


def test_recipes_are_frozen(base: Path) -> None:
    with pytest.raises(AttributeError):
        config.load(base).recipe.seed = 1  # type: ignore[misc]


def test_msgspec_agrees_with_the_walk(base: Path) -> None:
    """Whatever the walk lets through, msgspec accepts too: nothing is refused later with a worse message."""
    loaded = config.load(base, ["train.ema=0.5", "schedule={type='one_cycle', pct_start=0.2}"])
    assert msgspec.convert(msgspec.to_builtins(loaded.recipe), schema.Recipe) == loaded.recipe
