"""A data file from plain web servers: mirrors, retries, going on, and answers that are not the file."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest
from nyala.errors import ArgumentError, IntegrityError, NetworkError, NyalaError, StorageError
from nyala.hub import download as downloads
from nyala.hub.download import Download, content_sha256, fetch

CONTENT = b"the right content" * 5000
PACKED = gzip.compress(hashlib.shake_256(b"data").digest(60_000))
SHA = hashlib.sha256(gzip.decompress(PACKED)).hexdigest()


@pytest.fixture
def mirror(world, localhub_module):
    """The storage server of the local hub as a plain web server: ``mirror(name, bytes)`` gives the address."""

    def serve(name: str, data: bytes) -> str:
        world.hub.blobs[name] = localhub_module.Blob(data)
        return f"{world.hub.cdn}/lfs/{name}"

    serve.world = world
    serve.ranges = lambda: [(e["path"].rpartition("/")[2], e["range"]) for e in world.hub.requests("/lfs/")]
    return serve


def wanted(*urls: str, **settings) -> Download:
    return Download(**{"name": "d.gz", "urls": urls, "content_sha256": SHA, "folder": "datasets/d", **settings})


def left(world) -> list[str]:
    return sorted(p.name for p in world.cache.rglob("*") if p.is_file() and not p.name.endswith(".lock"))


def test_the_second_mirror_is_used_and_the_file_is_cached(mirror):
    good = mirror("good.gz", PACKED)
    path = fetch(wanted(good.replace("good", "nothing"), good))
    assert path.read_bytes() == PACKED
    mirror.world.hub.log.clear()
    assert fetch(wanted(good)) == path
    assert mirror.ranges() == []
    assert left(mirror.world) == ["d.gz"]


def test_mirrors_may_pack_differently(mirror):
    other = gzip.compress(gzip.decompress(PACKED), compresslevel=1, mtime=7)
    mirror.world.hub.fault("cut", match="one.gz", at=1000, times=9)
    path = fetch(wanted(mirror("one.gz", PACKED), mirror("two.gz", other)))
    assert path.read_bytes() == other
    assert mirror.ranges() == [("one.gz", None), ("one.gz", "bytes=1000-"), ("two.gz", None)]


@pytest.mark.parametrize(
    ("fault", "ranges"),
    [
        ({"kind": "cut", "at": 20_000}, [None, "bytes=20000-"]),
        ({"kind": "cut", "at": 0}, [None, None]),
        ({"kind": "status", "status": 503}, [None, None]),
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "5"}}, [None, None]),
        ({"kind": "stall"}, [None, None]),
        ({"kind": "freeze", "at": 7}, [None, "bytes=7-"]),
    ],
    ids=lambda value: f"{value['kind']}-{value.get('status', value.get('at'))}" if isinstance(value, dict) else "",
)
def test_what_passes_is_tried_again(mirror, monkeypatch, fault, ranges):
    if fault["kind"] in ("stall", "freeze"):
        monkeypatch.setattr(downloads, "_TIMEOUT", 0.4)
    mirror.world.hub.fault(**fault, match="/lfs/")
    assert fetch(wanted(mirror("d.gz", PACKED))).read_bytes() == PACKED
    assert [asked for _, asked in mirror.ranges()] == ranges
    assert mirror.world.waits == [float(fault.get("headers", {}).get("Retry-After", 1.0))]


@pytest.mark.parametrize(
    ("data", "fault", "kind", "words"),
    [
        (gzip.compress(b"other"), None, IntegrityError, "another sha256"),
        (b"no gzip at all", None, IntegrityError, "another sha256"),
        (PACKED[:-9], None, IntegrityError, "another sha256"),
        (PACKED + b"x" * 90_000, None, NetworkError, "larger than"),
        (PACKED, {"kind": "status", "status": 403}, NetworkError, "HTTP 403"),
        (PACKED, {"kind": "status", "status": 500}, NetworkError, "HTTP 500"),
        (PACKED, {"kind": "cut", "at": 0}, NetworkError, "0 of "),
        (PACKED, {"kind": "status", "status": 302, "headers": {"Location": "file:///etc/passwd"}}, NetworkError, "HTTP 302"),
    ],
)
def test_what_does_not_pass_is_told_and_nothing_is_left(mirror, data, fault, kind, words):
    if fault:
        mirror.world.hub.fault(**fault, match="/lfs/", times=99)
    with pytest.raises(kind, match=words) as caught:
        fetch(wanted(mirror("d.gz", data), max_bytes=90_000))
    assert "put the file into" in caught.value.fix
    assert [name for name in left(mirror.world) if "incomplete" not in name] == []
    assert sum(path.stat().st_size for path in mirror.world.cache.rglob("*.gz")) == 0


def part_of(mirror, url: str):
    folder = mirror.world.cache / "datasets/d"
    folder.mkdir(parents=True)
    return folder / f".{hashlib.sha256(url.encode()).hexdigest()[:12]}.incomplete.gz"


@pytest.mark.parametrize(
    ("before", "ranges"),
    [
        (PACKED[:30_000], ["bytes=30000-"]),
        (PACKED, []),
        (b"x" * 30_000, ["bytes=30000-", None]),
        (PACKED + b"x", [f"bytes={len(PACKED) + 1}-", None]),
    ],
)
def test_it_goes_on_from_an_earlier_process(mirror, before, ranges):
    url = mirror("d.gz", PACKED)
    part_of(mirror, url).write_bytes(before)
    assert fetch(wanted(url)).read_bytes() == PACKED
    assert [asked for _, asked in mirror.ranges()] == ranges
    assert left(mirror.world) == ["d.gz"]


def test_a_server_that_knows_no_ranges(mirror):
    url = mirror("d.gz", PACKED)
    part_of(mirror, url).write_bytes(PACKED[:30_000])
    mirror.world.hub.fault("whole", match="/lfs/")
    assert fetch(wanted(url)).read_bytes() == PACKED


def test_a_process_that_is_killed_in_the_middle(mirror):
    url = mirror("d.gz", PACKED)
    mirror.world.hub.fault("freeze", match="/lfs/", at=25_000)
    code = f"from nyala.hub.download import *; fetch(Download('d.gz', ({url!r},), {SHA!r}, 'datasets/d'))"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        end = time.monotonic() + 60
        while not (found := list(mirror.world.cache.rglob("*.incomplete.gz"))) or found[0].stat().st_size < 25_000:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert fetch(wanted(url)).read_bytes() == PACKED
    assert [asked for _, asked in mirror.ranges()] == [None, "bytes=25000-"]


def test_a_damaged_cached_file_is_fetched_again(mirror):
    url = mirror("d.gz", PACKED)
    path = fetch(wanted(url))
    os.truncate(path, 100)
    assert content_sha256(fetch(wanted(url))) == SHA


def test_a_file_that_is_not_packed(mirror):
    url = mirror("d.csv", CONTENT)
    plain = wanted(url, name="d.csv", content_sha256=hashlib.sha256(CONTENT).hexdigest())
    assert fetch(plain).read_bytes() == CONTENT


def test_the_users_and_the_disks_mistakes_are_not_the_mirrors(mirror, monkeypatch):
    url = mirror("d.gz", PACKED)
    monkeypatch.setenv("NYALA_QUOTA", "1kB")
    with pytest.raises(StorageError, match="NYALA_QUOTA=1kB"):
        fetch(wanted(url, url))
    monkeypatch.setenv("NYALA_QUOTA", "some")
    with pytest.raises(ArgumentError, match="is no size"):
        fetch(wanted(url, url))


def test_offline_says_so(mirror, monkeypatch):
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    with pytest.raises(NyalaError, match="the network is forbidden"):
        fetch(wanted("http://127.0.0.1:9/x"))
    assert mirror.ranges() == []


@pytest.mark.usefixtures("world")
def test_a_mirror_that_is_not_there():
    with pytest.raises(NetworkError, match="Connection refused"):
        fetch(wanted("http://127.0.0.1:9/x"))


def test_a_hash_of_the_packed_bytes(mirror):
    own = hashlib.sha256(PACKED).hexdigest()
    other = gzip.compress(gzip.decompress(PACKED), compresslevel=1, mtime=7)
    settings = {"content_sha256": "", "sha256": own, "verified": False}
    assert fetch(wanted(mirror("one.gz", other), mirror("two.gz", PACKED), **settings)).read_bytes() == PACKED
    with pytest.raises(IntegrityError, match=f"pinned {own[:12]}.*the pinned hash is one that others publish"):
        fetch(wanted(mirror("one.gz", other), **settings, name="e.gz"))


def test_where_no_hash_is_known_the_first_one_holds(mirror, caplog):
    download = wanted(mirror("d.gz", PACKED), content_sha256="", verified=False)
    mirror.world.hub.fault("cut", match="d.gz", at=1000)
    path = fetch(download)
    assert path.read_bytes() == PACKED, "a part is not taken for the file"
    assert "no sha256 is known for d.gz" in caplog.text
    assert fetch(download) == path
    path.write_bytes(CONTENT)  # changed on the disk
    assert fetch(download).read_bytes() == PACKED
