"""The commands on models, lock files and bundles, as a user sees them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from nyala.recipes import cli
from nyala.recipes.commands.verify import is_model


def _fixtures_of_the_hub():
    path = Path(__file__).parents[1] / "hub" / "conftest.py"
    spec = importlib.util.spec_from_file_location("nyala_tests_hub_conftest", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_HUB = _fixtures_of_the_hub()
localhub_module, hub, client = _HUB.localhub_module, _HUB.hub, _HUB.client
tiny_folder, tiny_card = _HUB.tiny_folder, _HUB.tiny_card
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": bytes(range(256)) * 40}


@pytest.fixture
def nyala_(capsys, tmp_path, monkeypatch):
    """Runs a command: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str):
        try:
            code = cli.main(argv)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def in_process(client, url: str, folder, *argv: str, **settings: str):
    """The same in a process of its own, which may talk to the local hub."""
    code = f"""
    import contextlib, io, os
    from nyala.recipes import cli
    os.chdir({str(folder)!r})
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main({list(argv)!r})
    answer([code, out.getvalue(), err.getvalue()])
    """
    return client(url, code, **settings)


# -- lock and pull


def test_lock_and_pull_locked(hub, client, tmp_path, nowhere_):
    first = hub.commit("org/m", FILES)
    hub.repos["org/m"].tags = ["license:mit"]
    code, out, err = in_process(client, hub.url, tmp_path, "lock", "org/m")
    assert code == 0 and "org/m  new    model hub org/m" in out and "mit" in out and "weights.lock.toml: 1 name locked" in err
    second = hub.commit("org/m", {**FILES, "model.safetensors": FILES["model.safetensors"][::-1]})
    fresh = {"NYALA_CACHE": str(tmp_path / "c"), "HF_HOME": str(tmp_path / "h")}
    code, out, err = in_process(client, hub.url, tmp_path, "pull", "--locked", **fresh)
    assert code == 0 and first[:12] in out
    code, out, err = in_process(client, hub.url, tmp_path, "lock", "--update", "--json")
    entry = json.loads(out)["entries"][0]
    assert (entry["state"], entry["commit"], entry["license"]) == ("changed", second, "mit")
    code, out, err = in_process(client, nowhere_, tmp_path, "pull", "org/other", "--locked")
    assert code == 2 and "weights.lock.toml has no org/other" in err
    code, out, err = in_process(client, nowhere_, tmp_path, "verify", "org/m", "--locked", "--hashes-only")
    assert code == 0 and "hashes from weights.lock.toml" in out


@pytest.fixture
def nowhere_():
    return "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["pull"], "no name was given"),
        (["pull", "minilm", "--file", "x"], "says nothing without --locked"),
        (["pull", "--locked"], "there is no lock file weights.lock.toml"),
        (["pull", "--locked", "--update"], "--update follows a branch"),
        (["pull", "minilm", "--locked", "--file", "mine.toml"], "there is no lock file mine.toml"),
        (["lock"], "there is no lock file weights.lock.toml"),
        (["lock", "resnet81"], "did you mean 'resnet18'"),
        (["lock", "."], "lies on this machine"),
        (["bundle", "minilm", "-o", "x.zip"], "does not end in .nyala"),
        (["bundle", "minilm", "-o", "no/such/x.nyala"], "there is no folder no/such"),
        (["bundle", "minilm", "-o", "x.nyala", "--file", "y"], "says nothing without --locked"),
        (["verify", "minilm", "--file", "y"], "says nothing without --locked"),
        (["verify", "minilm", "--steps", "3"], "--steps 3 is for runs"),
        (["verify", "vision/fashion-lite0"], "is a recipe"),
        (["verify", "./run-1"], "is not a run folder"),
        (["verify", "x.nyala"], "there is no bundle x.nyala"),
        (["predict", "x.nyala", "a"], "there is no bundle x.nyala"),
        (["show", "x.nyala"], "there is no bundle x.nyala"),
        (["audit", "resnet81"], "did you mean 'resnet18'"),
    ],
)
def test_the_users_mistakes_are_told(nyala_, argv, said):
    code, _, err = nyala_(*argv)
    assert code == 2 or (code == 1 and "no folder" in said)
    assert said in err


def test_the_lock_file_of_the_environment_is_used(nyala_, monkeypatch, tmp_path):
    monkeypatch.setenv("NYALA_LOCK", str(tmp_path / "mine.toml"))
    for argv in (["pull", "--locked"], ["predict", "minilm", "a cat"], ["verify", "minilm"]):
        code, _, err = nyala_(*argv)
        assert code == 2 and "mine.toml" in err


# -- verify, bundle, show, predict


def test_a_model_is_verified_and_a_damaged_one_fails(nyala_, tiny_card, tiny_folder):
    code, out, _ = nyala_("verify", tiny_card.name)
    assert code == 0 and out.rstrip().endswith("right: 2 files, and the golden answer")
    code, out, _ = nyala_("verify", "tiny", "--json", "--hashes-only")
    assert code == 0 and json.loads(out)["golden"] is None and json.loads(out)["right"]
    (tiny_folder / "config.json").write_text("{}")
    code, out, _ = nyala_("verify", "tiny")
    assert code == 1 and "DAMAGED" in out


def test_bundle_show_verify_predict(nyala_, tiny_card, tiny_folder, tmp_path):
    from PIL import Image

    code, out, _ = nyala_("bundle", tiny_card.name, str(tiny_folder), "-o", "zoo.nyala")
    assert code == 0 and "sha256" in out and "MIT" in out
    code, out, _ = nyala_("show", "zoo.nyala")
    assert code == 0 and "tiny" in out and "folder m" in out
    assert nyala_("show", "zoo.nyala#tiny")[1].startswith("tiny: Tiny")
    assert json.loads(nyala_("show", "zoo.nyala", "--json")[1])["models"]["tiny"]["license"] == "MIT"
    code, out, _ = nyala_("verify", "zoo.nyala")
    assert code == 0 and out.count("golden answer equal") == 2
    assert json.loads(nyala_("verify", "zoo.nyala", "--json")[1])["right"]
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "black.png")
    code, _, err = nyala_("predict", "zoo.nyala", "black.png")
    assert code == 2 and "name one: zoo.nyala#m" in err
    code, out, _ = nyala_("predict", "zoo.nyala#tiny", "black.png", "--json")
    assert code == 0 and json.loads(out)["results"]


def test_a_recipe_may_name_a_model_of_a_bundle(nyala_, tiny_card, tmp_path):
    from nyala.recipes.language import config

    assert nyala_("bundle", tiny_card.name, "-o", "zoo.nyala")[0] == 0
    for name in ("zoo.nyala", "zoo.nyala#tiny"):
        recipe = config.load("vision/fashion-lite0", [f"model.name={name}"]).recipe
        assert recipe.model.name == f"{tmp_path}/{name}"  # a run goes on from anywhere
    code, _, err = nyala_("run", "vision/fashion-lite0", "model.name=none.nyala#tiny")
    assert code == 2 and "none.nyala#tiny" in err


def test_what_verify_takes_for_a_model_and_what_for_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "recipe.resolved.toml").write_text("")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "config.json").write_text("{}")
    models = ["minilm", "org/m@main", "weights", "./zoo.nyala", "some/where/zoo.nyala#m"]
    runs = ["runs/one", "./runs/one", "runs/two", "/no/where", ".", str(tmp_path / "runs" / "one")]
    assert [is_model(name) for name in models + runs] == [True] * len(models) + [False] * len(runs)


# -- audit


def test_audit_without_a_network(nyala_, monkeypatch):
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    code, out, err = nyala_("audit")
    assert (code, out) == (1, "") and "no network may be used" in err


def test_audit_against_a_hub_that_has_none_of_them(hub, client, tmp_path):
    hub.commit("timm/resnet18.a1_in1k", FILES)
    code, out, _ = in_process(client, hub.url, tmp_path, "audit", "resnet18", "resnet50")
    assert code == 1 and "WRONG" in out and "2 sources: 2 wrong" in out
    code, out, _ = in_process(client, hub.url, tmp_path, "audit", "resnet18", "--json")
    assert code == 1 and json.loads(out)["sources"][0]["state"] == "WRONG"
