"""``nyala lock`` and what it is for: against a hub whose branches move, whose files change, and that goes away."""

from __future__ import annotations

import hashlib
import json

import pytest
from nyala.errors import ArgumentError, IntegrityError, UnknownNameError
from nyala.hub import lockfile, locking
from nyala.hub.cards import Card
from nyala.hub.client import Resolved, fetch_resolved

WEIGHTS = bytes(range(256)) * 40
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": WEIGHTS, "README.md": b"not needed"}
MOVED = {**FILES, "model.safetensors": WEIGHTS[::-1]}


def lock(client, url, path, *names, **options):
    """``nyala lock`` in a process of its own; the states by name, or the error."""
    settings = {key: str(options.pop(key)) for key in list(options) if key.isupper()}
    return client(
        url,
        f"""
        from nyala.hub import locking
        answer(attempt(lambda: {{c.name: c.state for c in locking.lock({list(names)!r}, {str(path)!r}, **{options!r})}}))
        """,
        **settings,
    )


def pull(client, url, name, path, **settings):
    return client(url, f"answer(fetch({name!r}, lock={str(path)!r}))", **settings)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.lock.toml"


def test_a_lock_holds_commit_hashes_sizes_and_licence(hub, client, path):
    commit = hub.commit("org/m", FILES)
    hub.repos["org/m"].tags = ["license:mit", "bert"]
    assert lock(client, hub.url, path, "org/m") == {"org/m": "new"}
    entry = lockfile.read(path)["org/m"]
    assert (entry.license, entry.source.commit, entry.source.revision) == ("mit", commit, "main")
    assert {n: (f.sha256, f.size) for n, f in entry.source.files.items()} == {
        name: (sha(FILES[name]), len(FILES[name])) for name in ("config.json", "model.safetensors")
    }


def test_a_moved_branch_changes_nothing_until_an_update_is_asked_for(hub, client, path, tmp_path):
    first = hub.commit("org/m", FILES)
    lock(client, hub.url, path, "org/m")
    before = path.read_bytes()
    second = hub.commit("org/m", MOVED)
    place = {"NYALA_CACHE": str(tmp_path / "a"), "HF_HOME": str(tmp_path / "a-hf")}  # a machine that has never seen it
    got = pull(client, hub.url, "org/m", path, **place)
    assert (got["revision"], got["hashes"]["model.safetensors"]) == (first, sha(WEIGHTS))
    assert lock(client, hub.url, path, "org/m", **place) == {"org/m": "unchanged"}
    assert path.read_bytes() == before
    assert client(hub.url, "answer(fetch('org/m', lock=''))", NYALA_CACHE=str(tmp_path / "c"))["revision"] == second
    assert lock(client, hub.url, path, update=True) == {"org/m": "changed"}
    assert lockfile.read(path)["org/m"].source.commit == second


def test_a_locked_name_that_is_cached_makes_no_network_call(hub, client, path, nowhere):
    hub.commit("org/m", FILES)
    lock(client, hub.url, path, "org/m")
    first = pull(client, hub.url, "org/m", path)
    asked = len(hub.log)
    assert pull(client, hub.url, "org/m", path) == first
    assert len(hub.log) == asked
    assert pull(client, nowhere, "org/m", path, NYALA_OFFLINE="1")["hashes"] == first["hashes"]


def test_pull_requests_can_be_locked_and_fetched(hub, client, path, tmp_path):
    hub.commit("org/m", FILES)
    proposed = hub.commit("org/m", MOVED, branch="refs/pr/3")
    assert lock(client, hub.url, path, "org/m@refs/pr/3") == {"org/m@refs/pr/3": "new"}
    hub.commit("org/m", FILES, branch="refs/pr/3")
    place = {"NYALA_CACHE": str(tmp_path / "x"), "HF_HOME": str(tmp_path / "x-hf")}
    got = pull(client, hub.url, "org/m@refs/pr/3", path, **place)
    assert (got["revision"], got["hashes"]["model.safetensors"]) == (proposed, sha(WEIGHTS[::-1]))


def test_bytes_that_are_not_the_locked_ones_are_an_error_that_names_the_lock_file(hub, client, path, tmp_path):
    hub.commit("org/m", FILES)
    lock(client, hub.url, path, "org/m")
    path.write_text(path.read_text().replace(sha(WEIGHTS), "0" * 64))
    got = pull(client, hub.url, "org/m", path, NYALA_CACHE=str(tmp_path / "new"), HF_HOME=str(tmp_path / "hf2"))
    assert (got["error"], got["code"]) == ("IntegrityError", 1)
    assert f"has sha256 {sha(WEIGHTS)}" in got["text"] and f"weights.lock.toml says {'0' * 64}" in got["text"]


def test_a_locked_commit_that_is_gone_is_an_error(hub, client, path, tmp_path):
    commit = hub.commit("org/m", FILES)
    lock(client, hub.url, path, "org/m")
    hub.commit("org/m", MOVED)
    del hub.repos["org/m"].commits[commit]
    got = pull(client, hub.url, "org/m", path, NYALA_CACHE=str(tmp_path / "new"), HF_HOME=str(tmp_path / "hf2"))
    assert got["error"] == "UnknownNameError" and commit in got["text"]


def test_other_entries_stay_as_they_are_and_a_failure_leaves_the_file_alone(hub, client, path):
    for name in ("org/a", "org/b"):
        hub.commit(name, FILES)
    lock(client, hub.url, path, "org/b")
    b = path.read_text().partition("[models.")[2]
    assert lock(client, hub.url, path, "org/a") == {"org/a": "new"}
    assert path.read_text().endswith(b) and list(lockfile.read(path)) == ["org/a", "org/b"]
    before = path.read_bytes()
    got = lock(client, hub.url, path, "org/a", "org/none", update=True)
    assert got["error"] == "UnknownNameError" and path.read_bytes() == before
    assert sorted(p.name for p in path.parent.glob("*lock*")) == [path.name]  # nothing is left beside it


def test_two_processes_locking_into_one_file_lose_nothing(hub, client, path):
    for name in ("org/a", "org/b"):
        hub.commit(name, FILES)
    code = "from nyala.hub import locking\nanswer(attempt(lambda: len(locking.lock([{!r}], {!r}))))"
    running = [client.start(hub.url, code.format(name, str(path))) for name in ("org/a", "org/b")]
    assert [client.finish(process) for process in running] == [1, 1]
    assert list(lockfile.read(path)) == ["org/a", "org/b"]


def test_the_licence_stays_where_the_hub_cannot_be_asked(hub, client, path, nowhere):
    hub.commit("org/m", FILES)
    hub.repos["org/m"].tags = ["license:mit"]
    lock(client, hub.url, path, "org/m")
    assert lock(client, nowhere, path, "org/m", offline=True) == {"org/m": "unchanged"}


def test_locking_again_asks_nothing(hub, client, path):
    hub.commit("org/m", FILES)
    lock(client, hub.url, path, "org/m")
    hub.repos["org/m"].tags = ["license:other"]
    asked = len(hub.log)
    assert lock(client, hub.url, path, "org/m") == {"org/m": "unchanged"} and len(hub.log) == asked
    assert lock(client, hub.url, path, "org/m", update=True) == {"org/m": "changed"}
    assert lockfile.read(path)["org/m"].license == "other"


def test_sharded_weights_are_locked_whole(hub, client, path, tmp_path):
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = json.dumps({"weight_map": {"a": shards[0], "b": shards[1]}}).encode()
    hub.commit(
        "org/s", {"config.json": b"{}", "model.safetensors.index.json": index, shards[0]: WEIGHTS, shards[1]: WEIGHTS[::-1]}
    )
    lock(client, hub.url, path, "org/s")
    assert set(lockfile.read(path)["org/s"].source.files) == {"config.json", "model.safetensors.index.json", *shards}
    got = pull(client, hub.url, "org/s", path, NYALA_CACHE=str(tmp_path / "new"), HF_HOME=str(tmp_path / "hf2"))
    assert got["hashes"][shards[1]] == sha(WEIGHTS[::-1])


# -- packages and folders


@pytest.fixture
def tiny(index, monkeypatch):
    """The name "tiny" means the test's package; its cache is the test's."""
    monkeypatch.setenv("NYALA_CACHE", str(index.cache))
    resolved = Resolved("tiny", None, [index.spec], key="tiny")
    monkeypatch.setattr(locking, "resolve", lambda name, lock=None: resolved)  # noqa: ARG005
    return resolved


def test_a_package_is_locked_with_its_wheel(tiny, path):
    (change,) = locking.lock(["tiny"], path)
    source = lockfile.read(path)["tiny"].source
    assert (change.state, source.wheel_sha256, source.files) == ("new", tiny.sources[0].wheel_sha256, tiny.sources[0].files)


def test_a_wrong_lock_file_does_not_delete_a_good_file_from_the_cache(tiny, path):
    locking.lock(["tiny"], path)
    good = fetch_resolved(tiny)
    digest = good.hashes["model.safetensors"]
    path.write_text(path.read_text().replace(digest, "0" * 64))
    wrong = Resolved("tiny", None, [lockfile.read(path)["tiny"].source])
    with pytest.raises(IntegrityError, match=r"weights\.lock\.toml says 000"):
        fetch_resolved(wrong)
    assert good["model.safetensors"].is_file() and fetch_resolved(tiny).hashes["model.safetensors"] == digest


def test_a_file_that_changed_unseen_is_not_locked(tiny):
    files = fetch_resolved(tiny)
    files.hashes["config.json"] = "0" * 64  # what the memory of hashes would say of a file that rotted on the disk
    with pytest.raises(IntegrityError, match=r"it was fetched with 000"):
        locking.entry_of(tiny, files)


def test_a_folder_and_an_unknown_name_cannot_be_locked(path, tmp_path):
    with pytest.raises(ArgumentError, match="lies on this machine"):
        locking.lock([str(tmp_path)], path)
    with pytest.raises(UnknownNameError, match="resnet18"):
        locking.lock(["resnet81"], path)
    assert not path.exists()


def test_the_cards_licence_is_the_locks(tiny):
    fields = dict.fromkeys(("title", "summary", "citation", "architecture"), "")
    card = Card(name="tiny", domain="text", task="t", license="MIT", params=1, preprocessing={}, sources=tiny.sources, **fields)
    entry = locking.entry_of(Resolved("tiny", card, tiny.sources), fetch_resolved(tiny))
    assert entry.license == "MIT"
