"""Pushing a run to a model hub: what goes, what never goes, and every way it can fail, through the real client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TINY = {
    "architecture": "resnet18",
    "num_classes": 3,
    "label_names": ["blue", "green", "red"],
    "model_args": {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8], "stem_channels": 4},
    "pretrained_cfg": {
        "input_size": [3, 16, 16],
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    },
}
RECIPE = """schema = 1
seed = 11
description = "a tiny network on three colours"

[data]
name = "colours"
batch_size = 8

[model]
name = "resnet18"

[optim]
type = "adamw"
lr = 0.01

[train]
epochs = 2
"""
FINAL = {"kind": "final", "step": 6, "weights_step": 6, "samples": 20, "loss": 0.25, "accuracy": 0.95, "macro_f1": 0.949}
OURS = ["README.md", "config.json", "model.safetensors", "nyala/manifest.json", "nyala/recipe.resolved.toml"]


def write_model(folder: Path, seed: int = 5) -> None:
    """A residual network of random weights in timm's layout."""
    import nyala
    from nyala import checkpoint
    from nyala.vision.models import resnet

    nyala.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save_file({name: t.numpy() for name, t in resnet.build(TINY).state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TINY))


def seal(run: Path) -> None:
    """The manifest as a run that came to its end leaves it."""
    outputs = {f"model/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((run / "model").iterdir())}
    manifest = {"format": 1, "recipe": {"name": "colours", "sha256": "ab" * 32}, "outputs": outputs}
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, with things beside it that must never be published."""
    run = tmp_path_factory.mktemp("runs") / "colours-1"
    write_model(run / "model")
    (run / "recipe.resolved.toml").write_text(RECIPE)
    (run / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 1, "loss": 2.0}) + "\n" + json.dumps(FINAL) + "\n")
    seal(run)
    (run / "report.html").write_text("<p>pictures of customers</p>")
    (run / "predictions.jsonl").write_text("{}\n")
    (run / ".env").write_text("HF_TOKEN=hf_" + "a" * 34)
    (run / "checkpoints" / "step-6").mkdir(parents=True)
    (run / "checkpoints" / "step-6" / "state.safetensors").write_bytes(b"optimizer")
    return run


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, to spoil."""
    return shutil.copytree(finished, tmp_path / "colours-1")


CODE = """
import os, time
from nyala.hub import push
naps = []
time.sleep = naps.append          # waiting is not what is tested

def go(*arguments, **options):
    def call():
        done = push(*arguments, **options)
        return {**done.to_dict(), "text": str(done.plan), "naps": len(naps)}
    return attempt(call)
"""


@pytest.fixture
def go(hub, client):
    """Pushes in a process of its own; ``go(run, repo, **options)`` returns the plan as a dictionary, or the error."""

    def call(folder, repo="me/colours", *, before="", token=hub.token, env=(), **options):
        code = CODE + before + f"\nanswer(go({str(folder)!r}, {repo!r}, **{options!r}))"
        if "confirm" in before:
            code = code.replace("**{", "confirm=confirm, **{")
        given = {"HF_TOKEN": token} if token else {}
        done = client(hub.url, code, **given, **dict(env))
        assert hub.token not in json.dumps(done) + client.stderr, "the token was shown"
        return done

    return call


def head(hub, repo="me/colours", branch="main"):
    """The files of a branch."""
    found = hub.repos[repo]
    return {path: blob.data for path, blob in found.commits[found.refs[branch]].items()}


def written(hub):
    """What changed something on the hub."""
    return [e["path"] for e in hub.log if e["method"] in ("POST", "PUT") and "validate-yaml" not in e["path"]]


# ---- what goes


def test_a_run_is_pushed_as_one_commit_and_loads_from_the_hub_bit_for_bit(hub, client, go, run):
    done = go(run)
    files = head(hub)
    assert sorted(files) == [".gitattributes", *OURS]
    for name in ("config.json", "model.safetensors"):
        assert files[name] == (run / "model" / name).read_bytes()
    assert files["nyala/manifest.json"] == (run / "manifest.json").read_bytes()
    assert files["nyala/recipe.resolved.toml"] == (run / "recipe.resolved.toml").read_bytes()
    assert done["commit"] == hub.repos["me/colours"].refs["main"]
    assert list(hub.repos["me/colours"].messages.values()) == ["Upload colours (accuracy 0.9500)"]
    assert len(hub.requests("/commit/", "POST")) == 1 and not hub.repos["me/colours"].private
    assert b"pictures of customers" not in b"".join(files.values())
    code = """
    import nyala, numpy as np
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    here, there = nyala.load({run!r}), nyala.load("me/colours")
    answer([here.logits([picture]).tolist(), there.logits([picture]).tolist(), list(there.labels)])
    """
    here, there, labels = client(hub.url, code.format(run=str(run)))
    assert here == there and np.any(here) and labels == ["blue", "green", "red"]


def test_the_model_card_says_what_hubs_read(hub, go, run):
    go(run)
    from huggingface_hub import ModelCard

    text = head(hub)["README.md"].decode()
    data = ModelCard(text).data
    assert (data.license, data.base_model, data.library_name) == ("apache-2.0", ["timm/resnet18.a1_in1k"], "timm")
    assert data.pipeline_tag == "image-classification" and set(data.tags) >= {"nyala", "resnet18"}
    assert data.metrics == ["accuracy", "f1"]
    found = {r.metric_type: r.metric_value for r in data.eval_results}
    assert found == {"accuracy": 0.95, "f1": 0.949, "loss": 0.25}
    for shown in (
        'timm.create_model("hf-hub:me/colours"',
        'nyala.load("me/colours")',
        "`blue`",
        "| macro F1 | 0.9490 |",
        "2 epochs",
    ):
        assert shown in text


def test_nothing_is_uploaded_twice(hub, go, run):
    first = go(run)
    hub.log.clear()
    again = go(run)
    assert again["commit"] == first["commit"] and not any(f["upload"] for f in again["files"])
    assert written(hub) == []
    write_model(run / "model", seed=6)
    seal(run)
    third = go(run)
    assert [f["name"] for f in third["files"] if f["upload"]] == ["model.safetensors", "nyala/manifest.json"]
    assert len(hub.requests("/upload/", "PUT")) == 1 and third["parent"] == first["commit"]


def test_files_that_the_repository_holds_beside_stay(hub, go, run):
    hub.commit("me/colours", {"notes.txt": b"mine", "config.json": b"{}"})
    done = go(run)
    assert done["staying"] == ["notes.txt"] and head(hub)["notes.txt"] == b"mine" and head(hub)["config.json"] != b"{}"


def test_a_dry_run_shows_everything_and_writes_nothing(hub, go, run):
    hub.commit("me/colours", {"config.json": (run / "model" / "config.json").read_bytes(), "old.txt": b"x"})
    (run / "model" / "notes.txt").write_text("stray")
    done = go(run, token="", dry_run=True)
    assert done["commit"] == "" and done["dry_run"] and written(hub) == []
    assert {f["name"]: f["upload"] for f in done["files"]} == {name: name != "config.json" for name in OURS}
    assert done["left_out"] == {"notes.txt": "no file that a loader reads"} and done["staying"] == ["old.txt"]
    for shown in ("config.json", "is there already", "left out: notes.txt", "stays as it is: old.txt", "a push needs one"):
        assert shown in done["text"]
    offline = go(run, token="", dry_run=True, env={"NYALA_OFFLINE": "1"}.items())
    assert all(f["upload"] for f in offline["files"]) and "not compared" in offline["text"]
    refused = go(run, env={"NYALA_OFFLINE": "1"}.items())
    assert refused["code"] == 2 and "a push needs the network" in refused["text"]


def test_private_and_branches(hub, go, run):
    done = go(run, private=True, revision="trials/second", message="Second try")
    assert hub.repos["me/colours"].private and done["new_repository"]
    assert sorted(head(hub, branch="trials/second")) == [".gitattributes", *OURS]
    assert list(head(hub)) == [".gitattributes"] and "Second try" in hub.repos["me/colours"].messages.values()
    hub.repos["me/colours"].refs["refs/pr/1"] = hub.repos["me/colours"].refs["main"]
    assert go(run, revision="refs/pr/1")["commit"] == hub.repos["me/colours"].refs["refs/pr/1"]


def test_a_folder_of_a_model_is_pushed_with_its_own_card_and_claims_no_run(hub, go, run):
    (run / "model" / "README.md").write_text("---\nlicense: mit\n---\n\n# Mine\n")
    go(run / "model")
    files = head(hub)
    assert sorted(files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    assert files["README.md"].endswith(b"# Mine\n")


def test_the_licence_of_a_base_outside_the_catalogue_is_asked_for(hub, go, run):
    hub.commit("they/base", {"config.json": b"{}"})
    hub.repos["they/base"].license = "cc-by-4.0"
    (run / "recipe.resolved.toml").write_text(RECIPE.replace('"resnet18"', '"they/base@v1"'))
    go(run)
    card = head(hub)["README.md"].decode()
    assert 'license: "cc-by-4.0"' in card and '- "they/base"' in card
    hub.repos["they/base"].license = ""
    unknown = go(run, dry_run=True)
    assert "the licence of the base is not known" in unknown["text"]
    assert "not known" not in go(run, dry_run=True, license="mit")["text"]


# ---- what must not go, and who may not push


def spoil_unfinished(run, _hub, _repo):
    (run / "manifest.json").write_text(json.dumps({"format": 1, "recipe": {"name": "colours"}}))


def spoil_no_manifest(run, _hub, _repo):
    (run / "manifest.json").unlink()


def spoil_weights(run, _hub, _repo):
    write_model(run / "model", seed=7)


def spoil_missing(run, _hub, _repo):
    (run / "model" / "config.json").unlink()


def spoil_damaged(run, _hub, _repo):
    data = (run / "model" / "model.safetensors").read_bytes()
    (run / "model" / "model.safetensors").write_bytes(data[:-4])
    seal(run)


def spoil_pickle(run, _hub, _repo):
    (run / "model" / "model.safetensors").rename(run / "model" / "pytorch_model.bin")
    seal(run)


def spoil_secret(run, _hub, _repo):
    (run / "model" / "config.json").write_text(json.dumps({**TINY, "note": "hf_" + "q" * 34}))
    seal(run)


def spoil_token(run, hub, _repo):
    (run / "recipe.resolved.toml").write_text(RECIPE + f"\n# {hub.token}\n")


def spoil_header(run, _hub, _repo):
    from nyala import checkpoint

    arrays = checkpoint.load_file(run / "model" / "model.safetensors")
    checkpoint.save_file(arrays, run / "model" / "model.safetensors", metadata={"by": "AKIA" + "Q" * 16})
    seal(run)


def spoil_link(run, _hub, _repo):
    outside = run.parent / "secret.json"
    outside.write_text("{}")
    (run / "model" / "vocab.json").symlink_to(outside)


def spoil_dataset(_run, hub, repo):
    hub.commit(repo, {"data.csv": b""})
    hub.repos[repo].kind = "dataset"


def spoil_public(_run, hub, repo):
    hub.commit(repo, {"a.txt": b""})


def spoil_architecture(run, _hub, _repo):
    (run / "model" / "config.json").write_text("{}")
    seal(run)


def spoil_nothing(_run, _hub, _repo):
    """Only the options are wrong."""


WRONG = {
    "unfinished run": (spoil_unfinished, {}, "MissingFileError", 2, "is not finished"),
    "run without a manifest": (spoil_no_manifest, {}, "MissingFileError", 2, "nyala resume"),
    "weights changed after the run": (spoil_weights, {}, "IntegrityError", 1, "was changed after the run had ended"),
    "a file of the run is missing": (spoil_missing, {}, "IntegrityError", 1, "config.json is missing"),
    "damaged weights": (spoil_damaged, {}, "CheckpointError", 1, "download or copy the file again"),
    "weights that are a pickle": (spoil_pickle, {}, "UnsafeFileError", 1, "nyala publishes none"),
    "a secret": (spoil_secret, {}, "DataError", 2, "config.json holds what looks like a model hub token, in line 1"),
    "the token itself": (spoil_token, {}, "DataError", 2, "a secret of this machine's environment, in line 19"),
    "a secret in the weights' header": (spoil_header, {}, "DataError", 2, "model.safetensors holds what looks like an AWS key"),
    "a link out of the folder": (spoil_link, {}, "DataError", 2, "is a link to a file outside"),
    "no known layout": (spoil_architecture, {}, "DataError", 2, "names no architecture"),
    "a dataset of that name": (spoil_dataset, {}, "ArgumentError", 2, "is a dataset, not a model"),
    "public where private was asked for": (spoil_public, {"private": True}, "ArgumentError", 2, "exists and is public"),
    "no owner": (spoil_nothing, {"repo": "colours"}, "ArgumentError", 2, "write org/name, e.g. your-name/colours"),
    "a path for a name": (spoil_nothing, {"repo": "../me/x"}, "ArgumentError", 2, "is no name for a repository"),
    "a commit for a branch": (spoil_nothing, {"revision": "a" * 40}, "ArgumentError", 2, "commits never change"),
    "a pull request of no repository": (spoil_nothing, {"revision": "refs/pr/1"}, "ArgumentError", 2, "so it has no refs/pr/1"),
    "a pull request that is not there": (spoil_public, {"revision": "refs/pr/9"}, "UnknownNameError", 2, "has no revision"),
    "a bad branch": (spoil_nothing, {"revision": "../x"}, "ArgumentError", 2, "is no name for a branch"),
    "no token": (spoil_nothing, {"token": ""}, "AccessError", 2, "there is no token to push with"),
    "an unknown token": (spoil_nothing, {"token": "hf_wrongwrong"}, "AccessError", 2, "does not know the token"),
    "a token that may only read": (spoil_nothing, {"token": "hf_localreadonlytoken"}, "AccessError", 2, "may only read"),
    "an organisation of others": (spoil_nothing, {"repo": "they/colours"}, "AccessError", 2, "the token of me may not"),
}  # fmt: skip


def test_what_cannot_be_pushed_says_why_and_writes_nothing(hub, client, finished, tmp_path):
    """All cases in one process: each has a run and, unless it says otherwise, a repository of its own."""
    calls = []
    for number, (spoil, options, *_) in enumerate(WRONG.values()):
        run = shutil.copytree(finished, tmp_path / f"case-{number}" / "colours-1")
        repo = f"me/colours-{number}"
        spoil(run, hub, repo)
        calls.append(
            [str(run), options.get("repo", repo), {"token": hub.token} | {k: v for k, v in options.items() if k != "repo"}]
        )
    before = {name: dict(repo.refs) for name, repo in hub.repos.items()}
    told = client(hub.url, CODE + f"\nanswer([go(run, repo, **options) for run, repo, options in {calls!r}])")
    for (case, (_, options, error, code, shown)), done in zip(WRONG.items(), told, strict=True):
        assert (done.get("error"), done.get("code")) == (error, code), f"{case}: {done}"
        assert shown in done["text"] and "Remedy: " in done["text"], f"{case}: {done['text']}"
        assert "q" * 34 not in done["text"] and (options.get("token") or "-") not in done["text"].split(), case
    assert {name: dict(repo.refs) for name, repo in hub.repos.items()} == before
    assert [path for path in written(hub) if path != "/api/repos/create"] == []  # the others' organisation refuses that one
    assert hub.token not in json.dumps(told) + client.stderr


def test_no_such_folder(go, tmp_path):
    done = go(tmp_path / "nowhere")
    assert done["code"] == 2 and "there is no folder" in done["text"]
    (tmp_path / "nowhere-1").mkdir()
    assert "did you mean 'nowhere-1'" in go(tmp_path / "nowhere")["text"]
    assert "is a published model, not a folder" in go("tf_efficientnet_lite0")["text"]


# ---- what goes wrong on the way


def test_a_change_by_somebody_else_is_never_overwritten(hub, go, run):
    hub.commit("me/colours", {"README.md": b"old"})
    before = """
def confirm(plan):
    from huggingface_hub import CommitOperationAdd, HfApi
    HfApi().create_commit("me/colours", [CommitOperationAdd("README.md", b"theirs")], commit_message="theirs")
    return True
"""
    done = go(run, before=before)
    assert (done["error"], done["code"]) == ("ConflictError", 1) and "nothing was committed" in done["text"]
    assert head(hub) == {"README.md": b"theirs"}
    assert go(run)["commit"]


def test_a_refusal_at_the_question_uploads_nothing(hub, go, run):
    done = go(run, before="\ndef confirm(plan):\n    return False\n")
    assert done["commit"] == "" and written(hub) == []


def test_a_connection_cut_in_the_upload_is_tried_again(hub, go, run):
    hub.fault("cut", method="PUT", at=700)
    done = go(run)
    assert done["commit"] and head(hub)["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()


def test_a_connection_cut_for_ever_commits_nothing_and_what_arrived_is_kept(hub, go, run):
    (run / "model" / "vocab.txt").write_text("\n".join(map(str, range(1000))))
    seal(run)
    weights = hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()
    hub.fault("cut", method="PUT", match=weights, at=100, times=100)
    done = go(run)
    assert (done["error"], done["code"]) == ("NetworkError", 1) and "the connection was cut" in done["text"]
    assert list(head(hub)) == [".gitattributes"]
    hub.faults.clear()
    hub.log.clear()
    assert go(run)["commit"]
    assert [e["path"] for e in hub.requests("/upload/", "PUT")] == [f"/upload/{weights}"]


def test_a_commit_whose_answer_is_lost_is_recognised(hub, go, run):
    hub.fault("lost", method="POST", match="/commit/main")
    done = go(run)
    assert done["commit"] == hub.repos["me/colours"].refs["main"] and len(hub.requests("/commit/", "POST")) == 1


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ({"kind": "status", "method": "POST", "match": "/commit/", "status": 503}, "HTTP 503"),
        ({"kind": "cut", "method": "POST", "match": "/commit/", "at": 50}, "the connection was cut"),
        ({"kind": "status", "method": "POST", "match": "/commit/", "status": 413}, "no room"),
        ({"kind": "status", "method": "POST", "match": "preupload", "status": 500, "times": 99}, "HTTP 500"),
        ({"kind": "status", "method": "POST", "match": "objects/batch", "status": 429, "times": 99}, "too many requests"),
        ({"kind": "status", "method": "PUT", "match": "upload", "status": 403, "times": 99}, "HTTP 403"),
    ],
)
def test_a_failing_server_leaves_the_branch_as_it_was(hub, go, run, fault, shown):
    hub.commit("me/colours", {"README.md": b"old"})
    hub.fault(fault.pop("kind"), **fault)
    done = go(run)
    assert done.get("code") in (1, 2) and shown in done["text"] and head(hub) == {"README.md": b"old"}


def test_a_server_that_stops_answering_is_not_waited_for_endlessly(hub, go, run):
    hub.commit("me/colours", {"README.md": b"old"})
    hub.fault("stall", method="POST", match="/commit/")
    done = go(run, env={"NYALA_HUB_TIMEOUT": "0.1"}.items())
    assert done["error"] == "NetworkError" and "does not answer" in done["text"] and head(hub) == {"README.md": b"old"}


def test_a_file_that_changes_while_it_is_pushed_is_noticed(go, run):
    before = f"""
def confirm(plan):
    with open({str(run / "model" / "config.json")!r}, "a") as file:
        file.write(" ")
    return True
"""
    done = go(run, before=before)
    assert (done["error"], done["code"]) == ("IntegrityError", 1) and "does not hold what was sent: config.json" in done["text"]


# ---- the token


def test_the_token_goes_to_the_hub_alone(hub, go, run):
    hub.verify_origin = hub.cdn  # a hub that sends the client elsewhere to confirm an upload
    go(run)
    elsewhere = [entry for entry in hub.log if entry["server"] == "CdnHandler"]
    assert {e["method"] for e in elsewhere} == {"PUT", "POST"} and not any(e["auth"] for e in elsewhere)
    assert all(e["auth"] == f"Bearer {hub.token}" for e in hub.log if e["server"] == "HubHandler")


def test_the_token_is_in_no_log_and_no_traceback(hub, client, run):
    hub.fault("status", method="POST", match="/commit/", status=500)
    code = (
        CODE
        + f"""
import traceback
logging.getLogger().setLevel(logging.DEBUG)
try:
    push({str(run)!r}, "me/colours")
except NyalaError as error:
    answer(["".join(traceback.format_exception(error)), repr(error), repr(vars(error))])
"""
    )
    told = client(hub.url, code, HF_TOKEN=hub.token, HF_DEBUG="1")
    assert "HTTP 500" in told[0] and len(client.stderr) > 500
    assert hub.token not in "".join(told) + client.stderr


# ---- the command


def nyala(hub, tmp_path, *arguments, token=True):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "NYALA_"))}
    env = {**clean, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), **({"HF_TOKEN": hub.token} if token else {})}
    command = [sys.executable, "-m", "nyala.recipes", "push", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def test_the_command_shows_asks_and_pushes(hub, tmp_path, run):
    unasked = nyala(hub, tmp_path, run, "me/colours")
    assert unasked.returncode == 2 and "add --yes" in unasked.stderr and not hub.log
    dry = nyala(hub, tmp_path, run, "me/colours", "--dry-run", token=False)
    assert dry.returncode == 0 and "5 of 5 files to upload" in dry.stdout and "dry run" in dry.stdout
    done = nyala(hub, tmp_path, run, "me/colours", "--yes", "--json", "--private")
    assert done.returncode == 0 and json.loads(done.stdout)["commit"] == hub.repos["me/colours"].refs["main"]
    again = nyala(hub, tmp_path, run, "me/colours", "--yes")
    assert "the repository holds all of it already" in again.stdout and 'nyala.load("me/colours")' in again.stdout
    denied = nyala(hub, tmp_path, run, "they/colours", "--yes")
    assert denied.returncode == 2 and denied.stderr.startswith("nyala push: ") and hub.token not in denied.stderr
