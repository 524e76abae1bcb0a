"""Several processes and one download: killed in the middle, at once, with other caches, beside the hub's own client."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from functools import partial
from pathlib import Path

import pytest

WEIGHTS = hashlib.shake_256(b"weights").digest(1_500_000)
SHA = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS}
FETCH = "answer(fetch('org/m'))"


@pytest.fixture
def repo(hub):
    hub.commit("org/m", FILES)
    return hub


def assert_right(got: dict) -> None:
    assert Path(got["paths"]["model.safetensors"]).read_bytes() == WEIGHTS
    assert got["hashes"]["model.safetensors"] == SHA


def part(client) -> Path:
    return client.hf / "hub" / "models--org--m" / "blobs" / f"{SHA}.nyala.incomplete"


def has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened for a minute"
        time.sleep(0.01)


def test_killed_three_times_in_the_middle_every_byte_comes_once(repo, client):
    starts = [0]
    for at in (700_001, 3, 500_000):
        repo.fault("freeze", match="/lfs/", at=at)
        process = client.start(repo.url, FETCH)
        wait_for(partial(has_size, part(client), starts[-1] + at))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        starts.append(starts[-1] + at)
    assert_right(client(repo.url, FETCH))
    assert [entry["range"] for entry in repo.requests("/lfs/")] == [f"bytes={n}-" if n else None for n in starts]
    assert not part(client).exists()
    assert not list(client.cache.rglob("*.owner")), "the note of the process that was killed is gone"


def test_killed_after_the_last_byte_nothing_is_fetched_again(repo, client):
    code = """
    import os
    from nyala.hub.sources import model_hub
    model_hub.sha256_file = lambda path: os._exit(9) if path.stat().st_size > 1000 else sha256_file(path)
    from nyala.hub.integrity import sha256_file
    fetch('org/m')
    """
    client.start(repo.url, code).communicate(timeout=60)
    assert part(client).stat().st_size == len(WEIGHTS)
    assert_right(client(repo.url, FETCH))
    assert len(repo.requests("/lfs/")) == 1


def test_a_part_with_a_wrong_bit_is_found_out_and_fetched_whole(repo, client):
    part(client).parent.mkdir(parents=True)
    part(client).write_bytes(b"x" + WEIGHTS[1:1_000_000])
    assert_right(client(repo.url, FETCH))
    assert [entry["range"] for entry in repo.requests("/lfs/")] == ["bytes=1000000-", None]


def test_four_processes_at_once_download_once_and_say_for_whom_they_wait(repo, client):
    repo.fault("freeze", match="/lfs/", at=1_000_000)  # the first is held up, gives up and goes on
    processes = [client.start(repo.url, FETCH, HF_HUB_DOWNLOAD_TIMEOUT="3") for _ in range(4)]
    said = []
    for process in processes:
        assert_right(client.finish(process))
        said.append(client.stderr)
    assert [entry["range"] for entry in repo.requests("/lfs/")] == [None, "bytes=1000000-"]
    assert len(repo.requests("/api/models")) == 1, "who has waited need not ask"
    pids = {str(process.pid) for process in processes}
    waiting = [line for text in said for line in text.splitlines() if "is fetching model hub org/m: waiting for it" in line]
    assert waiting and all(line.split()[1] in pids for line in waiting)


def test_processes_with_caches_of_their_own_share_the_hub_clients_files(repo, client, tmp_path):
    caches = [str(tmp_path / f"cache-{n}") for n in range(3)]
    processes = [client.start(repo.url, FETCH, NYALA_CACHE=cache) for cache in caches]
    for process in processes:
        assert_right(client.finish(process))
    assert len(repo.requests("/lfs/")) == 1


def test_beside_the_hubs_own_client(repo, client):
    theirs = """
    from huggingface_hub import hf_hub_download
    from nyala.hub.integrity import sha256_file
    answer(sha256_file(hf_hub_download("org/m", "model.safetensors")))
    """
    processes = [client.start(repo.url, code, HF_HUB_DISABLE_TELEMETRY="1") for code in (FETCH, theirs, FETCH)]
    ours, digest, again = [client.finish(process) for process in processes]
    assert_right(ours)
    assert_right(again)
    assert digest == SHA
    assert len(repo.requests("/lfs/")) == 1
    assert_right(client(repo.url, FETCH))


def test_the_hubs_own_client_finds_what_we_have_fetched(repo, client):
    assert_right(client(repo.url, FETCH))
    repo.log.clear()
    code = """
    from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache
    cache = scan_cache_dir()
    [info] = cache.repos
    [revision] = info.revisions
    path = try_to_load_from_cache("org/m", "model.safetensors", revision=revision.commit_hash)
    answer([info.repo_id, info.size_on_disk, sorted(f.file_name for f in revision.files), [str(w) for w in cache.warnings], path])
    """
    name, size, files, warnings, path = client(repo.url, code)
    assert (name, files, warnings) == ("org/m", ["config.json", "model.safetensors"], [])
    assert size == sum(map(len, FILES.values()))
    assert Path(path).read_bytes() == WEIGHTS
    assert repo.log == []


def test_a_part_counts_as_an_unfinished_download_for_the_hubs_own_tools(repo, client):
    part(client).parent.mkdir(parents=True)
    part(client).write_bytes(WEIGHTS[:1000])
    code = "from huggingface_hub import scan_cache_dir; answer([f.size_on_disk for f in scan_cache_dir().incomplete_files])"
    assert client(repo.url, code) == [1000]


def test_the_record_says_what_was_fetched(repo, client):
    commit = client(repo.url, FETCH)["revision"]
    record = json.loads((client.cache / "hub" / "org--m" / "main.json").read_text())
    assert (record["repo"], record["revision"], record["commit"]) == ("org/m", "main", commit)
    assert record["files"]["model.safetensors"] == {"sha256": SHA, "size": len(WEIGHTS)}
