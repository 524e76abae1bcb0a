"""Everything that goes wrong between a hub and a cache, case by case, through the real client.

Each case ends in the right files or in the right error, and in every case nothing bad is left in the cache: a finished
file has the bytes its name says, a link leads to the file of its commit, and no token is written anywhere. Where the
network was at fault, the same fetch succeeds once it is mended.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nyala.core.errors import NyalaError
from nyala.hub import storage
from nyala.hub.sources import huggingface, transfer

World = Any  # of conftest.py

WEIGHTS = bytes(range(256)) * 400  # 102,400 bytes: stored as a big file
CONFIG = b'{"model_type": "bert", "hidden_size": 32}'
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
SHA = hashlib.sha256(WEIGHTS).hexdigest()
SHARDS = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]


# -- what is right


def blob_name_is_true(path: Path) -> bool:
    data = path.read_bytes()
    git_id = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return path.name in (hashlib.sha256(data).hexdigest(), git_id)


def nothing_bad_is_left(world: World) -> None:
    commits = {commit: tree for repo in world.hub.repos.values() for commit, tree in repo.commits.items()}
    for path in world.hf.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.parent.name == "blobs":
            assert path.suffix == ".incomplete" or blob_name_is_true(path), f"{path} holds other bytes"
        elif path.is_file() and "snapshots" in path.parts:
            place = path.parts.index("snapshots")
            commit, name = path.parts[place + 1], "/".join(path.parts[place + 2 :])
            assert path.read_bytes() == commits[commit][name].data, f"{path} is not what {commit} holds"
    for path in [*world.hf.rglob("*"), *world.cache.rglob("*")]:
        assert ".nyala-tmp-" not in path.name, f"{path} is half-written"
        assert not path.is_file() or world.hub.token.encode() not in path.read_bytes(), f"{path} holds the token"
    allowed = {world.hf, world.cache}
    assert set(world.outside.iterdir()) <= allowed, "something was written elsewhere"


def assert_right(files, weights: bytes = WEIGHTS) -> None:
    assert files["model.safetensors"].read_bytes() == weights
    assert files["config.json"].read_bytes() == CONFIG
    assert files.hashes["model.safetensors"] == hashlib.sha256(weights).hexdigest()


# -- the table


def no_more(world: World) -> None:
    """Nothing else."""


@dataclasses.dataclass
class Case:
    """A fault and its end.

    ``faults``: of the server, as ``LocalHub.fault`` takes them. ``before``: what happens first. ``ends``: an error's class
    name; empty where the right files come. ``says``: what the message holds. ``gets``: answers with weights that were asked
    for. ``waits``: the pauses between tries. ``then``: what else must hold.
    """

    id: str
    faults: list[dict] = dataclasses.field(default_factory=list)
    before: Callable[[World], object] = no_more
    ask: str = "org/m"  # {commit} stands for the first commit's id
    options: dict = dataclasses.field(default_factory=dict)
    ends: str = ""
    says: tuple[str, ...] = ()
    gets: int | None = None
    waits: list[float] | None = None
    heals: bool = True
    then: Callable[[World], object] = no_more


def lfs(kind: str, times: int = 1, **settings) -> dict:
    return {"kind": kind, "match": "/lfs/", "times": times, **settings}


def api(kind: str, times: int = 1, **settings) -> dict:
    return {"kind": kind, "match": "/api/models", "times": times, **settings}


def small(kind: str, times: int = 1, **settings) -> dict:
    return {"kind": kind, "match": "config.json", "times": times, **settings}


def resumed_at(*starts: int) -> Callable[[World], None]:
    def check(world: World) -> None:
        assert world.ranges() == [f"bytes={start}-" if start else None for start in starts]

    return check


def part_of(data: bytes) -> Callable[[World], object]:
    return lambda world: world.part(SHA).write_bytes(data)


def another_host(age: float) -> Callable[[World], None]:
    """A process of another host has signed the lock, and wrote to the part file ``age`` seconds ago."""

    def prepare(world: World) -> None:
        note = world.hf / ".locks" / "models--org--m" / f"{SHA}.lock.owner"
        note.parent.mkdir(parents=True)
        note.write_text(json.dumps({"pid": 7, "host": "another-host", "born": "1"}))
        world.part(SHA).write_bytes(HEAD_OF_WEIGHTS)
        os.utime(world.part(SHA), (time.time() - age, time.time() - age))

    return prepare


def left_to_the_other(world: World) -> None:
    resumed_at(0)(world)
    assert world.part(SHA).read_bytes() == HEAD_OF_WEIGHTS
    assert len(list(world.hf.rglob("*.incomplete"))) == 1


def no_request(world: World) -> None:
    assert world.hub.log == []


def lie(name: str, **entry) -> Callable[[World], None]:
    return lambda world: world.hub.lies.update({name: entry})


def env(name: str, value: str) -> Callable[[World], None]:
    return lambda world: world.monkeypatch.setenv(name, value)


def soon(world: World) -> None:
    world.give_up_soon()


def no_crawling(world: World) -> None:
    world.monkeypatch.setattr(transfer, "_WINDOW", 0.3)
    world.monkeypatch.setattr(transfer, "_CRAWL", 100)


def cached(*more: Callable[[World], object]) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.fetch()
        world.hub.log.clear()
        for step in more:
            step(world)

    return prepare


def both(*steps: Callable[[World], object]) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        for step in steps:
            step(world)

    return prepare


def damage(world: World) -> None:
    with open(world.path(), "rb+") as file:
        file.write(b"tampered")


def other(name: str, files: dict | None = None, **settings) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.hub.commit(name, files or FILES)
        for key, value in settings.items():
            setattr(world.hub.repos[name], key, value)

    return prepare


def disk_free(size: int) -> Callable[[World], None]:
    usage = shutil._ntuple_diskusage(10**9, 10**9 - size, size)
    return lambda world: world.monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: usage)


def tokens_stay_home(world: World) -> None:
    assert any(entry["auth"] for entry in world.hub.log if entry["server"] == "HubHandler")
    assert all(entry["auth"] is None for entry in world.hub.log if entry["server"] == "CdnHandler")


def index_of(*names: str) -> bytes:
    return json.dumps({"weight_map": {f"w{n}": name for n, name in enumerate(names)}}).encode()


def redirect(to: str) -> dict:
    return {"kind": "status", "match": "/resolve/.*safetensors", "times": 99, "status": 302, "headers": {"Location": to}}


AGAIN = [1.0, 2.0, 4.0, 8.0]
HEAD_OF_WEIGHTS = WEIGHTS[:30_000]

BODY = [
    Case("cut before the first byte", [lfs("cut", at=0)], gets=2, waits=[1.0]),
    Case(
        "cut before the first byte, always", [lfs("cut", 99, at=0)], ends="NetworkError", says=("was cut",), gets=5, waits=AGAIN
    ),
    Case("cut in the middle", [lfs("cut", at=50_000)], gets=2, then=resumed_at(0, 50_000)),
    Case("cut twice", [lfs("cut", at=50_000), lfs("cut", at=20_000)], then=resumed_at(0, 50_000, 70_000)),
    Case("cut always", [lfs("cut", 99, at=100)], ends="NetworkError", says=("was cut",), then=resumed_at(0, 100, 200, 300, 400)),
    Case("ends early", [lfs("short", at=1000)], then=resumed_at(0, 1000)),
    Case(
        "ends early, always", [lfs("short", 99, at=1000)], ends="NetworkError", says=("ended before", "5,000 of 102,400"), gets=5
    ),
    Case("empty answer, always", [lfs("short", 99, at=0)], ends="NetworkError", says=("ended before",), gets=5),
    Case("stalls", [lfs("stall")], before=soon, gets=2),
    Case("stalls always", [lfs("stall", 99)], before=soon, ends="NetworkError", says=("does not answer",), gets=5),
    Case("stalls in the middle", [lfs("freeze", at=60_000)], before=soon, then=resumed_at(0, 60_000)),
    Case("crawls", [lfs("crawl", at=60_000)], before=no_crawling, gets=2, waits=[1.0]),
    Case("one bit is wrong", [lfs("corrupt", at=5)], then=resumed_at(0, 0)),
    Case("one bit is wrong, always", [lfs("corrupt", 99, at=5)], ends="IntegrityError", says=(SHA, "nothing was kept"), gets=2),
    Case("one bit of a small file is wrong", [small("corrupt", at=5)]),
    Case("one bit of a small file, always", [small("corrupt", 99, at=5)], ends="IntegrityError", says=("git id",), gets=0),
    Case("too long", [lfs("long", at=7)], then=resumed_at(0, 0)),
    Case("too long, always", [lfs("long", 99, at=7)], ends="IntegrityError", says=("longer than the 102,400 bytes",), gets=2),
    Case("packed though not asked", [lfs("packed", 99)], gets=1),
    Case("cut, then packed", [lfs("cut", at=70_000), lfs("packed", 99)], then=resumed_at(0, 70_000, 0)),
    Case("a login page instead of the file", [lfs("page", 99)], ends="NetworkError", says=("ended before",)),
    Case("a login page once", [small("page")]),
]
RESUME = [
    Case("goes on from an earlier process", before=part_of(HEAD_OF_WEIGHTS), then=resumed_at(30_000)),
    Case("an earlier process had it all", before=part_of(WEIGHTS), gets=0),
    Case("an earlier process had other bytes", before=part_of(b"x" * 30_000), then=resumed_at(30_000, 0)),
    Case("an earlier process had too much", before=part_of(b"x" * 200_000), then=resumed_at(0)),
    Case("another host may be at work", before=another_host(1.0), then=left_to_the_other),
    Case("another host was at work long ago", before=another_host(100.0), then=resumed_at(30_000)),
    Case("the range is ignored", [lfs("whole")], before=part_of(HEAD_OF_WEIGHTS), then=resumed_at(30_000)),
    Case("another range comes", [lfs("elsewhere")], before=part_of(HEAD_OF_WEIGHTS), then=resumed_at(30_000, 30_000)),
    Case("the range is refused", [lfs("status", status=416)], before=part_of(HEAD_OF_WEIGHTS), then=resumed_at(30_000, 0)),
    Case("503 while going on", [lfs("status")], before=part_of(HEAD_OF_WEIGHTS), then=resumed_at(30_000, 30_000)),
]
STATUS = [
    *[Case(f"HTTP {n} on a file", [lfs("status", status=n)], gets=2, waits=[1.0]) for n in (408, 429, 500, 502, 503, 504)],
    *[Case(f"HTTP {n} on a listing", [api("status", status=n)], waits=[1.0]) for n in (429, 500, 503)],
    Case("HTTP 503 always", [api("status", 99)], ends="NetworkError", says=("HTTP 503", "some minutes"), waits=AGAIN),
    Case("HTTP 501", [lfs("status", status=501)], ends="NetworkError", says=("HTTP 501",), gets=1, waits=[]),
    Case("HTTP 404 from the storage", [lfs("status", status=404)], ends="NetworkError", says=("HTTP 404",), gets=1),
    Case("HTTP 403 from the storage", [lfs("status", status=403)], ends="AccessError", says=("HTTP 403", "settings/tokens")),
    Case("429 with seconds", [lfs("status", status=429, headers={"Retry-After": "7"})], waits=[7.0]),
    Case(
        "429 for long",
        [api("status", 9, status=429, headers={"Retry-After": "3600"})],
        ends="NetworkError",
        says=("HTTP 429", "60 minutes"),
        waits=[],
    ),
    Case("429 with nonsense", [lfs("status", status=429, headers={"Retry-After": "soon"})], waits=[1.0]),
    Case("a login page instead of a listing", [api("page", 9)], ends="NetworkError", says=("not a model hub's", "login page")),
    Case(
        "a listing without a commit", [api("status", status=200)], ends="NetworkError", says=("not a model hub's", "HF_ENDPOINT")
    ),
    Case(
        "a listing that stalls",
        [api("stall", 9)],
        before=lambda w: w.monkeypatch.setenv("NYALA_HUB_TIMEOUT", "0.4"),
        ends="NetworkError",
        says=("does not answer",),
        then=lambda w: w.monkeypatch.delenv("NYALA_HUB_TIMEOUT"),
    ),
]
PLACES = [
    Case("redirected in a circle", [redirect("/org/m/resolve/main/model.safetensors")], ends="NetworkError", says=("redirects",)),
    Case("redirected to a file", [redirect("file:///etc/passwd")], ends="NetworkError", says=("redirects to nowhere",)),
    Case(
        "redirected to a closed port",
        [redirect("http://127.0.0.1:9/x")],
        ends="NetworkError",
        says=("no connection",),
        waits=AGAIN,
    ),
    Case(
        "the token stays with its origin",
        before=both(other("org/g", gated=True), env("HF_TOKEN", "hf_localtesttoken")),
        ask="org/g",
        then=tokens_stay_home,
    ),
    Case(
        "a hub that is not there",
        before=lambda w: w.monkeypatch.setattr(huggingface.client().constants, "ENDPOINT", "http://127.0.0.1:9"),
        ends="NetworkError",
        says=("no connection",),
        waits=[],
        heals=False,
    ),
]
RIGHTS = [
    Case("no such repository", ask="org/nothing", ends="UnknownNameError", says=("no org/nothing", "HF_TOKEN"), heals=False),
    Case(
        "no such repository, logged in",
        before=env("HF_TOKEN", "hf_localtesttoken"),
        ask="org/nothing",
        ends="UnknownNameError",
        says=("no org/nothing",),
        heals=False,
    ),
    Case(
        "private", before=other("org/p", private=True), ask="org/p", ends="UnknownNameError", says=("not logged in",), heals=False
    ),
    Case(
        "gated",
        before=other("org/g", gated=True),
        ask="org/g",
        ends="AccessError",
        says=("licence at", "/org/g", "hf auth login"),
        heals=False,
    ),
    Case(
        "gated, not granted",
        before=both(other("org/g", gated=True), env("HF_TOKEN", "hf_other")),
        ask="org/g",
        ends="AccessError",
        says=("may not read it yet", "/org/g"),
        heals=False,
    ),
    Case("no such revision", ask="org/m@v9", ends="UnknownNameError", says=("no revision 'v9'",), heals=False),
    Case(
        "no weights",
        before=other("org/w", {"config.json": CONFIG, "notes.md": b""}),
        ask="org/w",
        ends="MissingFileError",
        says=("no weights that nyala reads", "notes.md"),
        heals=False,
    ),
]
REVISIONS = [
    Case(
        "a moved branch changes nothing",
        before=cached(other("org/m", {**FILES, "model.safetensors": WEIGHTS[::-1]})),
        then=no_request,
    ),
    Case("a pull request", before=lambda w: w.hub.commit("org/m", FILES, branch="refs/pr/7"), ask="org/m@refs/pr/7", gets=1),
    Case(
        "a commit of a branch that has moved",
        before=other("org/m", {**FILES, "model.safetensors": WEIGHTS[::-1]}),
        ask="org/m@{commit}",
        gets=1,
    ),
    Case("a pinned name is not asked about", before=cached(), then=no_request),
]
LIES = [
    Case(
        "a path out of the folder",
        before=other("org/e", {**FILES, "../../vocab.txt": b"x", "/etc/vocab.txt": b"x"}),
        ask="org/e",
        then=lambda w: assert_no(w.hub.requests("vocab")),
    ),
    Case(
        "an index out of the folder",
        before=other(
            "org/e", {"config.json": CONFIG, "model.safetensors.index.json": index_of("../../x-00001-of-00001.safetensors")}
        ),
        ask="org/e",
        ends="CheckpointError",
        says=("not a shard's name",),
        heals=False,
    ),
    Case(
        "an index of shards that are not there",
        before=other("org/e", {"config.json": CONFIG, "model.safetensors.index.json": index_of(*SHARDS)}),
        ask="org/e",
        ends="MissingFileError",
        says=tuple(SHARDS),
        heals=False,
    ),
    Case(
        "a hash that is a path",
        before=lie("model.safetensors", lfs={"sha256": "../../../x", "size": 9, "pointerSize": 1}),
        ends="IntegrityError",
        says=("../../../x",),
    ),
    Case(
        "a wrong hash",
        before=lie("model.safetensors", lfs={"sha256": "0" * 64, "size": len(WEIGHTS), "pointerSize": 1}),
        ends="IntegrityError",
        says=("the hub says 000000",),
        gets=2,
    ),
    Case("a wrong id of a small file", before=lie("config.json", blobId="0" * 40), ends="IntegrityError", says=("git id 00000",)),
    Case("a size too small", before=lie("model.safetensors", size=5), ends="IntegrityError", says=("longer than the 5 bytes",)),
    Case("a size too large", before=lie("model.safetensors", size=10**6), ends="NetworkError", says=("102,400 of 1,000,000",)),
    Case("no size", before=lie("model.safetensors", size=None), gets=1),
    Case("no hash at all", before=lie("model.safetensors", lfs=None, blobId=None), gets=1),
]
CACHE = [
    Case(
        "not cached, offline",
        options={"offline": True},
        ends="NetworkError",
        says=("not cached", "nyala pull org/m"),
        then=no_request,
    ),
    Case(
        "not cached, NYALA_OFFLINE",
        before=env("NYALA_OFFLINE", "1"),
        ends="NetworkError",
        says=("not cached",),
        then=no_request,
        heals=False,
    ),
    Case("cached, offline", before=cached(), options={"offline": True}, then=no_request),
    Case("cached, NYALA_OFFLINE", before=cached(env("NYALA_OFFLINE", "1")), then=no_request),
    Case("a cached file was changed", before=cached(damage), gets=1),
    Case("a cached file was cut", before=cached(lambda w: os.truncate(w.path(), 100)), gets=1),
    Case("a cached file was emptied", before=cached(lambda w: os.truncate(w.path(), 0)), gets=1),
    Case("a cached file was deleted", before=cached(lambda w: w.path().resolve().unlink()), gets=1),
    Case("a cached link was deleted", before=cached(lambda w: w.path().unlink()), gets=0),
    Case(
        "a cached file was changed, offline",
        before=cached(damage),
        options={"offline": True},
        ends="NetworkError",
        says=("not cached",),
        then=lambda w: assert_no(w.path().exists()),
    ),
    Case("the record is damaged", before=cached(lambda w: (w.cache / "hub/org--m/main.json").write_text("{")), gets=0),
    Case(
        "the memory of hashes is damaged",
        before=cached(lambda w: (w.cache / "hub/org--m/verified.json").write_text("[")),
        then=no_request,
    ),
    Case(
        "another revision has the same bytes",
        before=cached(lambda w: w.hub.commit("org/m", FILES, branch="v2")),
        ask="org/m@v2",
        gets=0,
    ),
]
DISK = [
    Case("too little room", before=disk_free(50_000), ends="StorageError", says=("50.0 kB free", "HF_HOME"), gets=0, heals=False),
    Case(
        "over the quota",
        before=env("NYALA_QUOTA", "90kB"),
        ends="StorageError",
        says=("NYALA_QUOTA=90kB", "102.4 kB"),
        gets=0,
        heals=False,
    ),
    Case("within the quota", before=env("NYALA_QUOTA", "1MB"), gets=1),
    Case(
        "a quota that is no size",
        before=env("NYALA_QUOTA", "much"),
        ends="ArgumentError",
        says=("NYALA_QUOTA 'much'",),
        heals=False,
    ),
    Case(
        "a timeout that is no number",
        before=env("NYALA_HUB_TIMEOUT", "soon"),
        ends="ArgumentError",
        says=("NYALA_HUB_TIMEOUT",),
        heals=False,
    ),
    Case(
        "an address that is none",
        before=lambda w: w.monkeypatch.setattr(huggingface.client().constants, "ENDPOINT", "hub.example"),
        ends="ArgumentError",
        says=("HF_ENDPOINT='hub.example' is no web address",),
        heals=False,
    ),
    Case(
        "a file where the cache should be",
        before=lambda w: w.cache.write_text(""),
        ends="StorageError",
        says=("NYALA_CACHE",),
        heals=False,
    ),
    Case("links cannot be made", before=lambda w: w.monkeypatch.setattr(os, "symlink", refuse_links), gets=1),
]
TABLE = [*BODY, *RESUME, *STATUS, *PLACES, *RIGHTS, *REVISIONS, *LIES, *CACHE, *DISK]


def assert_no(thing: object) -> None:
    assert not thing


def refuse_links(*_: object) -> None:
    raise PermissionError(1, "A required privilege is not held by the client")


@pytest.fixture
def ready(world: World) -> World:
    world.first = world.hub.commit("org/m", FILES)
    return world


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.id)
def test_a_fault(case: Case, ready: World, caplog: pytest.LogCaptureFixture) -> None:
    world = ready
    case.before(world)
    for fault in case.faults:
        world.hub.fault(**fault)
    before = len(world.hub.requests("/lfs/"))
    message, name = "", case.ask.format(commit=world.first)
    try:
        files = world.fetch(name, **case.options)
    except NyalaError as error:
        assert type(error).__name__ == case.ends, error
        assert error.fix, "an error says what to do"
        message = str(error)
    else:
        assert not case.ends, f"no {case.ends} was raised"
        assert_right(files)
    for words in case.says:
        assert words in message
    assert world.hub.token not in message + caplog.text
    if case.gets is not None:
        assert len(world.hub.requests("/lfs/")) - before == case.gets
    if case.waits is not None:
        assert world.waits == case.waits
    case.then(world)
    nothing_bad_is_left(world)
    if case.ends and case.heals:
        world.hub.faults.clear()
        world.hub.lies.clear()
        assert_right(world.fetch(name))
        nothing_bad_is_left(world)


def test_the_table_is_long_enough() -> None:
    assert len({case.id for case in TABLE}) == len(TABLE) >= 40
