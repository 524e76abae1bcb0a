"""The model hub as a source, through the real client, against a local hub with faults."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

WEIGHTS = bytes(range(256)) * 400  # 102,400 bytes: stored as a big file
CONFIG = b'{"model_type": "bert", "hidden_size": 32}'
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "README.md": b"# m", "onnx/model.onnx": b"x" * 2000}
FETCH = "answer(fetch('org/m'))"
NO_WAIT = "import time; time.sleep = lambda seconds: None; "


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def repo(hub):
    hub.first = hub.commit("org/m", FILES)
    return hub


def left_in(folder) -> list[str]:
    """Names of regular files below a folder, lock files and the client's bookkeeping aside."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(
        path.name for path in found if path.suffix != ".lock" and path.name != "CACHEDIR.TAG" and "refs" not in path.parts
    )


def part_of(folder) -> Path:
    """The one file that is still arriving."""
    (part,) = folder.rglob("*.incomplete")
    return part


def assert_right(got: dict, weights: bytes = WEIGHTS) -> None:
    assert "error" not in got, got
    with open(got["paths"]["model.safetensors"], "rb") as file:
        assert file.read() == weights
    assert got["hashes"]["model.safetensors"] == sha(weights)


def test_fetch_takes_what_a_loader_needs_and_nothing_else(repo, client):
    got = client(repo.url, FETCH)
    assert_right(got)
    assert sorted(got["paths"]) == ["config.json", "model.safetensors"]
    assert got["revision"] == repo.first
    assert got["origin"] == "model hub org/m"
    assert not repo.requests("harness|telemetry"), "the client called home"


def test_a_cached_name_makes_no_request(repo, client):
    client(repo.url, FETCH)
    repo.log.clear()
    assert_right(client(repo.url, FETCH))
    assert repo.log == []


def test_a_pinned_commit_is_what_is_fetched_and_cached(repo, client):
    repo.commit("org/m", {**FILES, "model.safetensors": WEIGHTS[::-1]})
    first, again = client(repo.url, f"answer([fetch('org/m@{repo.first}'), fetch('org/m', revision='{repo.first}')])")
    assert_right(first)
    assert_right(again)
    assert len(repo.requests("/api/models")) == 1


def test_a_moved_branch_changes_nothing_until_an_update(repo, client):
    client(repo.url, FETCH)
    second = repo.commit("org/m", {**FILES, "model.safetensors": WEIGHTS[::-1]})
    repo.log.clear()
    got = client(repo.url, FETCH)
    assert_right(got)
    assert (got["revision"], repo.log) == (repo.first, [])
    updated = client(repo.url, "answer(fetch('org/m', update=True))")
    assert_right(updated, WEIGHTS[::-1])
    assert updated["revision"] == second


def test_branches_with_a_slash_work(repo, client):
    commit = repo.commit("org/m", FILES, branch="refs/pr/7")
    got = client(repo.url, "answer(fetch('org/m@refs/pr/7'))")
    assert_right(got)
    assert got["revision"] == commit


def test_offline_works_after_a_fetch_and_says_so_before(repo, client):
    before, _, after = client(repo.url, "answer([fetch('org/m', offline=True), fetch('org/m'), fetch('org/m', offline=True)])")
    assert_right(after)
    assert before["error"] == "NetworkError"
    assert "not cached" in before["text"]
    assert "nyala pull org/m" in before["text"]
    repo.log.clear()
    assert_right(client(repo.url, FETCH, NYALA_OFFLINE="1"))
    assert repo.log == []


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


# -- wrong bytes


def test_corrupt_once_is_healed(repo, client):
    repo.fault("corrupt", match="/lfs/", at=5)
    assert_right(client(repo.url, FETCH))
    assert len(repo.requests("/lfs/")) == 2


def test_corrupt_small_file_is_healed(repo, client):
    repo.fault("corrupt", match="config.json", at=5)
    got = client(repo.url, FETCH)
    assert got["hashes"]["config.json"] == sha(CONFIG)


def test_corrupt_always_is_an_error_and_nothing_bad_is_kept(repo, client):
    repo.fault("corrupt", match="/lfs/", at=5, times=99)
    got = client(repo.url, FETCH)
    assert (got["error"], got["code"]) == ("IntegrityError", 1)
    assert sha(WEIGHTS) in got["text"]
    assert left_in(client.hf) == [hashlib.sha1(b"blob %d\0" % len(CONFIG) + CONFIG).hexdigest()]
    assert len(repo.requests("/lfs/")) == 2
    repo.faults.clear()
    assert_right(client(repo.url, FETCH))


TAMPER = """
import os
path = fetch('org/m')["paths"]["model.safetensors"]
with open(path, "r+b") as file:
    file.write(b"tampered")
"""


def test_a_tampered_cache_is_healed(repo, client):
    assert_right(client(repo.url, TAMPER + FETCH))
    assert "deleting it" in client.stderr


def test_a_truncated_cache_is_healed(repo, client):
    assert_right(client(repo.url, "import os; os.truncate(fetch('org/m')['paths']['model.safetensors'], 100); " + FETCH))


def test_a_tampered_cache_is_never_served_offline(repo, client):
    got, there = client(repo.url, TAMPER + "answer([fetch('org/m', offline=True), os.path.exists(path)])")
    assert got["error"] == "NetworkError"
    assert not there


def test_a_damaged_record_means_looking_again(repo, client):
    record = client.cache / "hub" / "org--m" / "main.json"
    assert_right(client(repo.url, f"fetch('org/m'); Path({str(record)!r}).write_text('{{'); " + FETCH))
    assert "damaged" in client.stderr


def test_a_record_whose_files_are_gone_means_fetching_again(repo, client):
    got = client(repo.url, f"import shutil; fetch('org/m'); shutil.rmtree({str(client.hf)!r}); " + FETCH)
    assert_right(got)
    assert len(repo.requests("/lfs/")) == 2


def test_a_commit_that_is_none_is_refused(repo, client):
    repo.repos["org/m"].commits["../../x"] = repo.repos["org/m"].commits[repo.first]
    repo.repos["org/m"].refs["main"] = "../../x"
    got = client(repo.url, FETCH)
    assert got["error"] == "NetworkError"
    assert "names no commit" in got["text"]


def test_the_cards_hash_overrules_the_hub(repo, client):
    code = """
    from nyala.hub.cards import FileSpec, SourceSpec
    from nyala.hub.sources import open_source
    from nyala.hub.storage import cache_folder
    spec = SourceSpec(kind="hub", repo="org/m", files={"model.safetensors": FileSpec(sha256="0" * 64)})
    answer(attempt(lambda: open_source(spec, cache_folder()).fetch(patient=True)))
    """
    got = client(repo.url, code)
    assert got["error"] == "IntegrityError"
    assert "the card says " + "0" * 64 in got["text"]
    assert left_in(client.hf) == []


# -- a bad network


def test_short_answer_once_is_fetched_again(repo, client):
    repo.fault("short", match="/lfs/", at=1000)
    assert_right(client(repo.url, FETCH))


def test_short_answers_always_are_an_error(repo, client):
    repo.fault("short", match="/lfs/", at=1000, times=99)
    got = client(repo.url, NO_WAIT + FETCH)
    assert (got["error"], got["code"]) == ("NetworkError", 1)
    assert "ended before" in got["text"]
    assert [part_of(client.hf).stat().st_size] == [5000], "five answers of 1000 bytes, joined"
    repo.faults.clear()
    assert_right(client(repo.url, FETCH))
    assert repo.requests("/lfs/")[-1]["range"] == "bytes=5000-"


def test_a_cut_connection_is_resumed(repo, client):
    repo.fault("cut", match="/lfs/", at=50_000)
    assert_right(client(repo.url, FETCH))


def test_a_cut_answer_of_the_api_is_asked_again(repo, client):
    repo.fault("status", match="/api/models", status=502)
    assert_right(client(repo.url, FETCH))
    assert len(repo.requests("/api/models")) == 2


def test_503_on_a_file_is_asked_again(repo, client):
    repo.fault("status", match="/lfs/", status=503)
    assert_right(client(repo.url, FETCH))


def test_503_always_is_an_error(repo, client):
    repo.fault("status", match="/api/models", status=503, times=99)
    got = client(repo.url, NO_WAIT + FETCH)
    assert (got["error"], got["code"]) == ("NetworkError", 1)
    assert "HTTP 503" in got["text"]
    assert len(repo.requests("/api/models")) == 5


def test_429_is_waited_for(repo, client):
    repo.fault("status", match="/api/models", status=429, headers={"Retry-After": "1"})
    assert_right(client(repo.url, FETCH))


def test_429_for_an_hour_is_an_error_at_once(repo, client):
    repo.fault("status", match="/api/models", status=429, headers={"Retry-After": "3600"}, times=99)
    got = client(repo.url, FETCH)
    assert got["error"] == "NetworkError"
    assert "too many requests" in got["text"]
    assert len(repo.requests("/api/models")) == 1


def test_a_hub_that_never_answers_is_given_up(repo, client):
    repo.fault("stall", match="/api/models", times=99)
    got = client(repo.url, FETCH, NYALA_HUB_TIMEOUT="1")
    assert got["error"] == "NetworkError"
    assert "does not answer" in got["text"]


def test_a_stalled_download_is_resumed(repo, client):
    repo.fault("stall", match="/lfs/")
    assert_right(client(repo.url, FETCH, HF_HUB_DOWNLOAD_TIMEOUT="1"))


def test_a_refused_connection_is_one_clear_error(client, nowhere):
    got = client(nowhere, FETCH)
    assert (got["error"], got["code"]) == ("NetworkError", 1)
    assert "no connection" in got["text"]


def test_a_wrong_server_is_one_clear_error(hub, client):
    """Another web server under the hub's address: every route is unknown."""
    got = client(hub.cdn, FETCH)
    assert got["code"] in (1, 2)
    assert "org/m" in got["text"]


# -- names and rights


def test_each_refusal_says_what_to_do(repo, client):
    repo.commit("org/gated", FILES)
    repo.repos["org/gated"].gated = True
    repo.commit("org/private", FILES)
    repo.repos["org/private"].private = True
    repo.commit("org/noweights", {"config.json": CONFIG, "README.md": b"x"})
    code = "answer([fetch(n) for n in ('org/nothing', 'org/gated', 'org/private', 'org/m@v9', 'org/noweights')])"
    missing, gated, private, revision, weights = client(repo.url, code)
    assert (missing["error"], missing["code"]) == ("UnknownNameError", 2)
    assert "HF_TOKEN" in missing["text"]
    assert (gated["error"], gated["code"]) == ("AccessError", 2)
    assert f"{repo.url}/org/gated" in gated["text"]
    assert "licence" in gated["text"]
    assert private["error"] == "UnknownNameError"
    assert revision["error"] == "UnknownNameError"
    assert "'v9'" in revision["text"]
    assert weights["error"] == "MissingFileError"
    assert "README.md" in weights["text"]


def test_a_token_opens_and_never_leaves_its_origin(repo, client):
    repo.commit("org/gated", FILES)
    repo.repos["org/gated"].gated = True
    assert_right(client(repo.url, "answer(fetch('org/gated'))", HF_TOKEN=repo.token))
    assert all(entry["auth"] is None for entry in repo.log if entry["server"] == "CdnHandler")
    refused = client(repo.url, "answer(fetch('org/private-or-not'))", HF_TOKEN=repo.token)
    assert repo.token not in json.dumps(refused) + client.stderr


def test_a_wrong_token_on_a_gated_repository(repo, client):
    repo.commit("org/gated", FILES)
    repo.repos["org/gated"].gated = True
    got = client(repo.url, "answer(fetch('org/gated'))", HF_TOKEN="hf_wrong")
    assert got["error"] == "AccessError"


def test_a_file_of_the_card_that_the_commit_lacks(repo, client):
    code = """
    from nyala.hub.cards import FileSpec, SourceSpec
    from nyala.hub.sources import open_source
    from nyala.hub.storage import cache_folder
    spec = SourceSpec(kind="hub", repo="org/m", files={"tokenizer.json": FileSpec()})
    answer(attempt(lambda: open_source(spec, cache_folder()).fetch(patient=True)))
    """
    got = client(repo.url, code)
    assert got["error"] == "MissingFileError"
    assert "tokenizer.json" in got["text"]


# -- names that lead elsewhere


def test_path_escapes_in_a_listing_are_not_fetched(hub, client, tmp_path):
    hub.commit("org/evil", {**FILES, "../../vocab.txt": b"evil", "/etc/vocab.txt": b"evil", "..\\vocab.txt": b"evil"})
    got = client(hub.url, "answer(fetch('org/evil'))")
    assert_right(got)
    assert sorted(got["paths"]) == ["config.json", "model.safetensors"]
    assert not hub.requests("vocab")
    assert not list(tmp_path.rglob("vocab.txt"))


def test_path_escapes_in_an_index_are_refused(hub, client, tmp_path):
    index = json.dumps({"weight_map": {"a": "../../../evil-00001-of-00001.safetensors"}}).encode()
    hub.commit("org/evil", {"config.json": CONFIG, "model.safetensors.index.json": index})
    got = client(hub.url, "answer(fetch('org/evil'))")
    assert got["error"] == "CheckpointError"
    assert "not a shard's name" in got["text"]
    assert not list(tmp_path.rglob("evil*"))


def test_shards_come_with_their_index(hub, client):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"metadata": {}, "weight_map": {"a": names[0], "b": names[1]}}).encode()
    files = {"config.json": CONFIG, "model.safetensors.index.json": index, names[0]: WEIGHTS, names[1]: WEIGHTS[::-1]}
    hub.commit("org/big", files)
    got = client(hub.url, "answer(fetch('org/big'))")
    assert sorted(got["paths"]) == ["config.json", *names, "model.safetensors.index.json"]
    assert got["hashes"][names[1]] == sha(WEIGHTS[::-1])


def test_a_missing_shard_is_named(hub, client):
    index = json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}).encode()
    hub.commit("org/big", {"config.json": CONFIG, "model.safetensors.index.json": index})
    got = client(hub.url, "answer(fetch('org/big'))")
    assert got["error"] == "MissingFileError"
    assert "model-00001-of-00001.safetensors" in got["text"]


# -- the disk


def test_two_processes_download_once(repo, client):
    processes = [client.start(repo.url, FETCH) for _ in range(2)]
    for got in [client.finish(process) for process in processes]:
        assert_right(got)
    assert len(repo.requests("/lfs/")) == 1


def test_a_full_disk_is_a_clear_error_and_keeps_what_has_arrived(repo, client):
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); " + FETCH
    got = client(repo.url, code)
    assert (got["error"], got["code"]) == ("StorageError", 1)
    assert "goes on from them" in got["text"]
    assert part_of(client.hf).stat().st_size == 20_000
    assert_right(client(repo.url, FETCH))
    assert repo.requests("/lfs/")[-1]["range"] == "bytes=20000-"


def test_too_little_space_is_said_before_the_download(repo, client):
    code = """
    import shutil
    shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10, 10, 50_000)
    answer(fetch('org/m'))
    """
    got = client(repo.url, code)
    assert got["error"] == "StorageError"
    assert "50.0 kB free" in got["text"]
    assert not repo.requests("/lfs/")


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
