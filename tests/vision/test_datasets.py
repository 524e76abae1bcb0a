"""Fashion-MNIST: the shipped sample, local copies, and downloads that go wrong."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from nyala.errors import ArgumentError, DataError, IntegrityError, NetworkError
from nyala.hub.download import Download, content_sha256, fetch
from nyala.vision.datasets import FashionMNIST, ImageFolder
from nyala.vision.datasets.idx import read_idx


def test_the_sample_is_balanced_and_small() -> None:
    train, test = FashionMNIST("train", sample=True), FashionMNIST("test", sample=True)
    assert train.images.shape == (2000, 28, 28) and train.images.dtype == np.uint8
    assert np.bincount(train.labels).tolist() == [200] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    files = [f for split in ("train", "test") for f in FashionMNIST.files(split, sample=True)]
    assert sum(f.stat().st_size for f in files) <= 2_000_000
    assert (files[0].parent / "LICENSE").is_file()


def test_a_local_copy_is_read(tmp_path: Path) -> None:
    for f in FashionMNIST.files("test", sample=True):
        (tmp_path / f.name).write_bytes(f.read_bytes())
    assert len(FashionMNIST("test", folder=tmp_path)) == 1000
    with pytest.raises(DataError, match=r"there is no file .*train-images"):
        FashionMNIST("train", folder=tmp_path)


def test_unknown_split() -> None:
    with pytest.raises(ArgumentError, match="no split 'valid'"):
        FashionMNIST("valid", sample=True)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00\x00", "ends inside its header"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05ab", "holds 2 bytes"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x01ab", "holds 2 bytes or more"),
        (b"\x00\x00\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", "claims to hold"),
    ],
)
def test_malformed_files(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "x-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        read_idx(path)


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x-ubyte.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x05abcde")[:-9])
    with pytest.raises(DataError, match="damaged"):
        read_idx(path)


CONTENT = b"the right content" * 50


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web server on this machine: path -> answer; a path that starts with /short promises more than it sends."""
    pages: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in pages:
                self.send_error(404)
                return
            body = pages[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + (7 if self.path.startswith("/short") else 0)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}", pages
    running.shutdown()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NYALA_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


def _wanted(base: str, *paths: str, max_bytes: int = 1 << 20) -> Download:
    import hashlib

    return Download("d.gz", tuple(base + p for p in paths), hashlib.sha256(CONTENT).hexdigest(), "datasets/d", max_bytes)


def _left(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file() and not p.name.endswith(".lock"))


@pytest.mark.usefixtures("cache")
def test_the_second_mirror_is_used_and_the_file_is_cached(server: tuple[str, dict[str, bytes]]) -> None:
    base, pages = server
    pages["/good"] = gzip.compress(CONTENT)
    path = fetch(_wanted(base, "/missing", "/good"))
    assert content_sha256(path) == _wanted(base).content_sha256
    pages.clear()
    assert fetch(_wanted(base, "/good")) == path, "a cached file needs no network"


@pytest.mark.parametrize(
    ("page", "body", "kind", "text"),
    [
        ("/wrong", gzip.compress(b"other"), IntegrityError, "another sha256"),
        ("/noise", b"no gzip at all", IntegrityError, "another sha256"),
        ("/short", gzip.compress(CONTENT), NetworkError, "connection ended|IncompleteRead"),
        ("/huge", gzip.compress(CONTENT) + b"x" * 4000, NetworkError, "larger than"),
    ],
)
def test_bad_answers_leave_nothing(
    server: tuple[str, dict[str, bytes]], cache: Path, page: str, body: bytes, kind: type[Exception], text: str
) -> None:
    base, pages = server
    pages[page] = body
    with pytest.raises(kind, match=text):
        fetch(_wanted(base, page, max_bytes=2000))
    assert _left(cache) == []


@pytest.mark.usefixtures("cache")
def test_a_damaged_cached_file_is_fetched_again(server: tuple[str, dict[str, bytes]]) -> None:
    base, pages = server
    pages["/good"] = gzip.compress(CONTENT)
    path = fetch(_wanted(base, "/good"))
    path.write_bytes(path.read_bytes()[:-4])
    assert content_sha256(fetch(_wanted(base, "/good"))) == _wanted(base).content_sha256


@pytest.mark.usefixtures("cache")
def test_offline_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    with pytest.raises(NetworkError, match="the network is forbidden"):
        fetch(_wanted("http://127.0.0.1:9", "/x"))


def test_a_folder_of_classes(tmp_path: Path) -> None:
    for name in ("dog/b.PNG", "cat/a.jpg", "cat/deep/c.webp", "cat/notes.txt", ".git/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    data = ImageFolder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert [(p.name, label) for p, label in data.samples] == [("a.jpg", 0), ("c.webp", 0), ("b.PNG", 1)]
    assert [label for _, label in ImageFolder(tmp_path, ("bird", "cat", "dog"))] == [1, 1, 2]
    for classes, text in ((("cat",), "has class 'dog'.*the classes are cat"),):
        with pytest.raises(DataError, match=text):
            ImageFolder(tmp_path, classes)
    (tmp_path / "fox").mkdir()
    with pytest.raises(DataError, match="fox holds no pictures"):
        ImageFolder(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(DataError, match="has no subfolders"):
        ImageFolder(tmp_path / "fox")
