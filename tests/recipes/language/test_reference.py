"""The documentation of recipes is made from the schema: nothing in it can be undocumented, and what it says is so."""

from __future__ import annotations

import msgspec
import pytest
from nyala.errors import UnknownNameError
from nyala.recipes import catalog
from nyala.recipes.language import config, reference, schema
from nyala.recipes.language.reference import sections


@pytest.mark.parametrize("section", sections(), ids=lambda s: f"{s.path}-{s.tag}")
def test_every_table_and_every_key_is_explained(section: reference.Section) -> None:
    assert section.doc.endswith("."), f"give {section.title} a docstring"
    for key in section.keys:
        assert key.doc, f"{section.title} {key.name}: write a string below the field in recipes/language/schema.py"
        assert key.doc[-1] in ".`", f"{section.title} {key.name}: end with a full stop"
        assert "``" not in key.doc and "\n" not in key.doc


def test_no_field_of_the_schema_is_left_out() -> None:
    tables = [t for t in vars(schema).values() if isinstance(t, type) and issubclass(t, schema.Table)]
    bases = {schema.Table, schema.Optimizer, schema.Schedule}
    documented = {frozenset(k.name for k in s.keys if k.name != "extends") for s in sections()}
    for table in set(tables) - bases:
        assert frozenset(table.__struct_fields__) in documented, f"{table.__name__} is in no table of a recipe"


def test_defaults_and_bounds_are_those_of_the_schema() -> None:
    keys = {(s.path, s.tag, k.name): k for s in sections() for k in s.keys}
    assert keys["optim", "sgd", "lr"].default == "0.01" and keys["optim", "adamw", "lr"].default == "0.001"
    assert keys["optim", "sgd", "lr"].bounds == "above 0"
    assert keys["train", "", "label_smoothing"].bounds == "at least 0 and below 1"
    assert keys["data", "", "name"].required and keys["data", "", "test"].default == "none"
    assert keys["data.augment[]", "random_crop", "padding"].default == "8"
    assert keys["data.augment[]", "random_resized_crop", "scale"].type == "[number, number]"
    assert keys["train.best", "", "use"].type == '"best" | "last"'


def test_each_default_is_accepted_by_the_checker() -> None:
    for section in sections():
        given = [k for k in section.keys if not k.required and k.default not in ("none", "{}") and k.name != "extends"]
        if section.path.endswith("[]") or section.path in ("run", ""):
            continue
        optional = section.tag or section.path == "train.distill"
        if optional and any(k.required for k in section.keys):  # says nothing by its defaults alone
            continue
        overrides = [f"{section.path}.{k.name}={k.default}" for k in given]
        overrides += [f"{section.path}.type={section.tag}"] if section.tag else []
        config.load("vision/fashion-lite0", overrides)


@pytest.mark.parametrize(
    ("wanted", "heads"),
    [
        ("train.best", ["[train.best]"]),
        ("optim.momentum", ['[optim]  type = "sgd"', '[optim]  type = "muon"']),
        ("random_crop", ['[[data.augment]]  type = "random_crop"']),
        ("seed", ["(top of the file)"]),
    ],
)
def test_one_table_or_one_key(wanted: str, heads: list[str]) -> None:
    lines = reference.as_text(wanted).splitlines()
    assert [line for line in lines if line[:1] in ("[", "(")] == heads


def test_an_unknown_key_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no 'optim\.lrr'.*did you mean 'optim\.lr'"):
        reference.as_text("optim.lrr")


def test_the_text_keeps_to_its_width() -> None:
    long = [line for line in reference.as_text(width=80).splitlines() if line.startswith("      ") and len(line) > 80]
    assert long == []


def test_json_schema_describes_every_property() -> None:
    found = reference.json_schema()
    assert found["$ref"] == "#/$defs/Recipe"
    for name, entry in found["$defs"].items():
        assert entry["description"] and entry["additionalProperties"] is False
        for key, value in entry["properties"].items():
            assert value.get("description") or key == "type", f"{name}.{key}"
    assert "required" not in found["$defs"]["Data"] and "extends" in found["$defs"]["Recipe"]["properties"]


def test_json_schema_agrees_with_the_shipped_recipes() -> None:
    defs = reference.json_schema()["$defs"]
    for name in catalog.names():
        tree = msgspec.to_builtins(config.load(name).recipe)
        assert set(tree) <= set(defs["Recipe"]["properties"]) and set(tree["train"]) == set(defs["Train"]["properties"])
