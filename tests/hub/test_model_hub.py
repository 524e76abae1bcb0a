"""The model hub as a source, through the real client: what is fetched, what stays what it is, and disks that refuse.

``test_faults.py`` holds what goes wrong on the way, ``test_resume.py`` several processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from nyala.errors import IntegrityError, MissingFileError, NetworkError, NyalaError
from nyala.hub.cards import FileSpec, SourceSpec
from nyala.hub.sources import huggingface, open_source
from nyala.hub.storage import cache_folder

WEIGHTS = bytes(range(256)) * 400  # 102,400 bytes: stored as a big file
CONFIG = b'{"model_type": "bert", "hidden_size": 32}'
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "README.md": b"# m", "onnx/model.onnx": b"x" * 2000}
OTHER = {**FILES, "model.safetensors": WEIGHTS[::-1]}
FETCH = "answer(fetch('org/m'))"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def repo(hub):
    hub.first = hub.commit("org/m", FILES)
    return hub


@pytest.fixture
def here(world):
    """The same repository, with this process as the client."""
    world.first = world.hub.commit("org/m", FILES)
    return world


def part_of(folder) -> Path:
    """The one file that is still arriving."""
    (part,) = folder.rglob("*.incomplete")
    return part


def assert_right(got: dict, weights: bytes = WEIGHTS) -> None:
    assert "error" not in got, got
    assert Path(got["paths"]["model.safetensors"]).read_bytes() == weights
    assert got["hashes"]["model.safetensors"] == sha(weights)


def source(**files: FileSpec):
    return open_source(SourceSpec(kind="hub", repo="org/m", files=files), cache_folder())


# -- what is fetched, and what stays what it is


def test_fetch_takes_what_a_loader_needs_and_nothing_else(repo, client):
    got = client(repo.url, FETCH)
    assert_right(got)
    assert sorted(got["paths"]) == ["config.json", "model.safetensors"]
    assert got["revision"] == repo.first
    assert got["origin"] == "model hub org/m"
    assert not repo.requests("harness|telemetry"), "the client called home"
    repo.log.clear()
    assert_right(client(repo.url, FETCH))
    assert repo.log == [], "a cached name makes no request, in a new process either"
    assert_right(client("http://127.0.0.1:9", FETCH, NYALA_OFFLINE="1"))


def test_a_pinned_commit_is_what_is_fetched_and_cached(here):
    here.hub.commit("org/m", OTHER)
    assert here.fetch(f"org/m@{here.first}")["model.safetensors"].read_bytes() == WEIGHTS
    assert here.fetch("org/m", revision=here.first).revision == here.first
    assert len(here.hub.requests("/api/models")) == 1


def test_a_moved_branch_changes_nothing_until_an_update(here):
    here.fetch()
    second = here.hub.commit("org/m", OTHER)
    here.hub.log.clear()
    assert here.fetch().revision == here.first
    assert here.hub.log == []
    updated = here.fetch(update=True)
    assert updated.revision == second
    assert updated["model.safetensors"].read_bytes() == WEIGHTS[::-1]
    assert not here.hub.requests("config.json"), "the same bytes are there under their hash"
    here.hub.log.clear()
    assert here.fetch(update=True, offline=True).revision == here.fetch().revision == second
    assert here.hub.log == []
    assert here.fetch(update=True).revision == second
    assert [entry["path"].partition("?")[0] for entry in here.hub.log] == ["/api/models/org/m/revision/main"]


def test_a_commit_that_is_none_is_refused(here):
    here.hub.repos["org/m"].commits["../../x"] = here.hub.repos["org/m"].commits[here.first]
    here.hub.repos["org/m"].refs["main"] = "../../x"
    with pytest.raises(NetworkError, match="names no commit"):
        here.fetch()


def test_a_record_whose_files_are_gone_means_fetching_again(here):
    here.fetch()
    shutil.rmtree(here.hf)
    assert here.fetch()["model.safetensors"].read_bytes() == WEIGHTS
    assert len(here.hub.requests("/lfs/")) == 2


def test_the_cards_hash_overrules_the_hub(here):
    with pytest.raises(IntegrityError, match=f"has sha256 {sha(WEIGHTS)} on the hub, the card says {'0' * 64}"):
        source(**{"model.safetensors": FileSpec(sha256="0" * 64)}).fetch(patient=True)
    assert not here.hub.requests("/lfs/"), "nothing is fetched that cannot be right"
    with pytest.raises(IntegrityError, match=f"the card says {'0' * 64}"):
        source(**{"config.json": FileSpec(sha256="0" * 64)}).fetch(patient=True)
    assert not list(here.hf.rglob("config.json"))
    right = source(**{"config.json": FileSpec(sha256=sha(CONFIG))}).fetch(patient=True)
    assert right["config.json"].read_bytes() == CONFIG


@pytest.mark.usefixtures("here")
def test_a_file_of_the_card_that_the_commit_lacks():
    with pytest.raises(MissingFileError, match=r"has no tokenizer\.json"):
        source(**{"tokenizer.json": FileSpec()}).fetch(patient=True)


def test_a_wrong_server_is_one_clear_error(here, monkeypatch):
    """Another web server under the hub's address: every route is unknown."""
    monkeypatch.setattr(huggingface.client().constants, "ENDPOINT", here.hub.cdn)
    with pytest.raises(NyalaError, match="org/m"):
        here.fetch()


def test_shards_come_with_their_index(here):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"metadata": {}, "weight_map": {"a": names[0], "b": names[1]}}).encode()
    here.hub.commit(
        "org/big", {"config.json": CONFIG, "model.safetensors.index.json": index, names[0]: WEIGHTS, names[1]: WEIGHTS[::-1]}
    )
    files = here.fetch("org/big")
    assert sorted(files) == ["config.json", *names, "model.safetensors.index.json"]
    assert files.hashes[names[1]] == sha(WEIGHTS[::-1])
    assert len(here.hub.requests("/resolve/.*index.json")) == 1


# -- beside other programs


ADOPT = """
from huggingface_hub import hf_hub_download
for name in ("config.json", "model.safetensors"):
    path = hf_hub_download("org/m", name)
from nyala.hub.cards import FileSpec, SourceSpec
from nyala.hub.sources import open_source
from nyala.hub.storage import cache_folder
def cached(**files):
    names = files or ("config.json", "model.safetensors")
    spec = SourceSpec(kind="hub", repo="org/m", files={name: FileSpec() for name in names})
    files = open_source(spec, cache_folder()).cached()
    return files and {"paths": {k: str(v) for k, v in files.items()}, "hashes": files.hashes}
"""


def test_what_another_program_has_fetched_is_used(repo, client):
    got, more = client(repo.url, ADOPT + "answer([cached(), cached(**{'config.json': 0, 'tokenizer.json': 0})])")
    assert_right(got)
    assert more is None, "a file of the card is missing there"
    assert not repo.requests("/api/models")


def test_wrong_bytes_that_another_program_has_fetched_are_not_used(repo, client):
    repo.fault("corrupt", match="/lfs/", at=5)  # the client alone does not notice
    assert client(repo.url, ADOPT + "answer(cached())") is None


# -- the disk


def test_a_full_disk_is_a_clear_error_and_keeps_what_has_arrived(repo, client):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); " + FETCH
    got = client(repo.url, code)
    assert (got["error"], got["code"]) == ("StorageError", 1)
    assert "goes on from them" in got["text"]
    assert part_of(client.hf).stat().st_size == 20_000
    assert_right(client(repo.url, FETCH))
    assert repo.requests("/lfs/")[-1]["range"] == "bytes=20000-"


TAMPER = """
path = fetch('org/m')["paths"]["model.safetensors"]
with open(path, "r+b") as file:
    file.write(b"tampered")
"""


def test_a_read_only_cache_still_serves_what_it_has(repo, client):
    memory = client.cache / "hub" / "org--m" / "verified.json"
    before = f"fetch('org/m'); Path({str(memory)!r}).unlink(); "  # so that there is something to remember
    assert_right(client(repo.url, before + f"read_only({str(client.cache)!r}, {str(client.hf)!r}); " + FETCH))
    assert len(repo.requests("/api/models")) == 1


@pytest.mark.parametrize("folder", ["cache", "hf"])
def test_a_read_only_cache_is_a_clear_error(repo, client, folder):
    for place in (client.cache, client.hf):
        place.mkdir()
    where = getattr(client, folder)
    got = client(repo.url, f"read_only({str(where)!r}); " + FETCH)
    assert (got["error"], got["code"]) == ("StorageError", 1)
    assert str(where) in got["text"]
    assert "read-only" in got["text"].lower()


def test_a_damaged_file_in_a_read_only_cache_is_refused(repo, client):
    got = client(repo.url, TAMPER + f"read_only({str(client.cache)!r}, {str(client.hf)!r}); " + FETCH)
    assert got["error"] == "StorageError"
    assert "damaged" in got["text"]
