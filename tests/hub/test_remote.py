"""Repositories without a card: what is shown of them, from this machine or from the hub, and names that are nearly right."""

from __future__ import annotations

import hashlib
import json

import pytest
from nyala.errors import NyalaError
from nyala.hub.client import resolve
from nyala.hub.remote import look_up
from nyala.recipes.cli import main

WEIGHTS = bytes(range(256)) * 400
SHA = hashlib.sha256(WEIGHTS).hexdigest()
CONFIG = b'{"model_type": "bert"}'
FILES = {"config.json": CONFIG, "tokenizer.json": b"{}", "model.safetensors": WEIGHTS, "notes.md": b""}


@pytest.fixture
def repo(world):
    world.first = world.hub.commit("org/m", FILES)
    world.hub.repos["org/m"].tags.append("license:mit")
    return world


def test_what_the_hub_says(repo):
    found = look_up(resolve("org/m"))
    assert (found.commit, found.revision, found.license, found.cached) == (repo.first, "main", "mit", False)
    assert found.files["model.safetensors"] == {"size": len(WEIGHTS), "sha256": SHA}
    assert found.files["config.json"] == {"size": len(CONFIG), "sha256": ""}
    assert "notes.md" not in found.files
    assert not repo.hub.requests("/lfs/|/resolve/"), "nothing is fetched"
    text = str(found)
    for words in (repo.first, "mit", "102.4 kB, not fetched yet", SHA, f"{repo.hub.url}/org/m", "preprocessing"):
        assert words in text


def test_what_is_here_is_not_asked_for(repo):
    repo.fetch()
    repo.hub.log.clear()
    found = look_up(resolve("org/m"), offline=True)
    assert (found.commit, found.architecture, found.cached) == (repo.first, "transformers:bert", True)
    assert found.files["config.json"]["sha256"] == hashlib.sha256(CONFIG).hexdigest()
    assert "on this machine" in str(found)
    assert repo.hub.log == []


@pytest.mark.parametrize(
    ("config", "says"),
    [(b'{"model_type": "bret"}', "transformers:bret, which nyala does not build"), (b"{}", ""), (b"[", "")],
)
def test_an_architecture_that_nyala_does_not_build(world, config, says):
    world.hub.commit("org/m", {**FILES, "config.json": config})
    world.fetch()
    assert look_up(resolve("org/m")).architecture == says


def test_gated_and_without_a_licence(world):
    world.hub.commit("org/g", FILES)
    world.hub.lies["*"] = {"gated": "manual"}
    text = str(look_up(resolve("org/g")))
    assert "none stated: ask before you use it" in text
    assert f"accept the licence at {world.hub.url}/org/g" in text


def test_offline_and_unknown(repo):
    with pytest.raises(NyalaError, match=r"not cached, and no network may be used.*nyala show org/m"):
        look_up(resolve("org/m"), offline=True)
    assert repo.hub.log == []


@pytest.mark.parametrize("call", [look_up, lambda resolved: resolved and main(["pull", resolved.name])])
@pytest.mark.usefixtures("world")
def test_a_repository_that_is_nearly_right(call, capsys):
    resolved = resolve("timm/resnet18.a1_in1")
    try:
        assert call(resolved) == 2
        text = capsys.readouterr().err
    except NyalaError as error:
        text = str(error)
    assert "has no timm/resnet18.a1_in1 that you may see" in text
    assert "did you mean 'timm/resnet18.a1_in1k'" in text
    assert "HF_TOKEN" in text


def test_a_revision_that_is_nearly_right(repo):
    repo.hub.commit("org/m", FILES, branch="v1.0-rc")
    with pytest.raises(NyalaError) as caught:
        repo.fetch("org/m@v1.0rc")
    assert "no revision 'v1.0rc'. Remedy: did you mean 'v1.0-rc'?" in str(caught.value)
    repo.hub.fault("status", match="/refs$", times=9)
    with pytest.raises(NyalaError) as caught:
        repo.fetch("org/m@v1.0rc")
    assert "Remedy: see its branches" in str(caught.value)


# -- on the command line


def test_show_and_pull(repo, capsys):
    assert main(["show", "org/m"]) == 0
    assert "not fetched yet" in capsys.readouterr().out
    assert main(["pull", "org/m"]) == 0
    out = capsys.readouterr().out
    assert f"org/m from model hub org/m at {repo.first[:12]}" in out
    assert SHA[:16] in out
    repo.hub.log.clear()
    assert main(["pull", "org/m", "--json"]) == 0
    [weights] = [f for f in json.loads(capsys.readouterr().out)["files"] if f["file"] == "model.safetensors"]
    assert (weights["sha256"], weights["bytes"], weights["revision"]) == (SHA, len(WEIGHTS), repo.first)
    assert main(["show", "org/m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cached"] is True
    assert repo.hub.log == []


def test_pull_update_follows_the_branch(repo, capsys):
    assert main(["pull", "org/m"]) == 0
    second = repo.hub.commit("org/m", {**FILES, "model.safetensors": WEIGHTS[::-1]})
    assert main(["pull", "org/m", "--json"]) == 0
    assert main(["pull", "org/m", "--update", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    revisions = [{f["revision"] for f in json.loads(line)["files"]} for line in lines if line.startswith("{")]
    assert revisions == [{repo.first}, {second}]
    assert len(repo.hub.requests("config.json")) == 1, "what has not changed is not fetched again"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["show", "vision/fashion-lite"], "did you mean 'vision/fashion-lite0'"),
        (
            ["pull", "vision/fashion-lite"],
            "no recipe is called 'vision/fashion-lite'. Remedy: did you mean 'vision/fashion-lite0'",
        ),
        (["show", "org/m", "seed=1"], "org/m is no recipe: seed=1 is for recipes"),
        (["show", "resnt18"], "did you mean 'resnet18'"),
        (["pull", "resnt18"], "did you mean 'resnet18'"),
    ],
)
def test_slips_of_the_pen_ask_no_hub(repo, argv, words, capsys):
    assert main(argv) == 2
    assert words in capsys.readouterr().err
    assert repo.hub.log == []


@pytest.mark.usefixtures("world")
def test_an_interrupted_pull_says_what_it_keeps(monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nyala.hub.client.fetch", interrupted)
    assert main(["pull", "org/m"]) == 130
    assert "what has arrived is kept: the same command goes on from it" in capsys.readouterr().err
