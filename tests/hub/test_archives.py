"""Archives: what may be in one, and what ends in an error that names it; folders of the user's; unpacked once."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nyala.errors import DataError, IntegrityError, NetworkError, UnsafeFileError
from nyala.hub import archives
from nyala.hub.archives import place, unpack
from nyala.hub.download import Download


def tar(path: Path, members: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as out:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change is not None:
                change(info)
            out.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            out.writestr(info, content)
    return path


GOOD = {"data/a.txt": b"a", "data/deep/b.bin": bytes(3000), "./c": b""}
MAKERS = [("x.tar", tar), ("x.tar.gz", tar), ("x.tgz", tar), ("x.zip", zipped)]


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_every_kind_is_unpacked(name: str, make: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert unpack(make(tmp_path / name, GOOD), out) == 3
    assert files(out) == {"c": b"", "data/a.txt": b"a", "data/deep/b.bin": bytes(3000)}


@pytest.mark.parametrize("bad", ["../x", "/etc/x", "a/../../x", "C:\\x", "..\\x", "a\nb", "./"])
@pytest.mark.parametrize(("name", "make"), MAKERS[1::2])
def test_nothing_is_written_outside(name: str, make: Any, bad: str, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    if name == "x.zip" and bad == "./":
        return  # that is a folder
    with pytest.raises(UnsafeFileError, match=r"x\.\S+ was not unpacked: its member .* would lie outside"):
        unpack(make(tmp_path / name, {"good": b"1", bad: b"2"}), out)
    assert files(out) == {"good": b"1"} and sorted(p.name for p in tmp_path.iterdir()) == ["deep", name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = kind, "/etc/passwd"

    with pytest.raises(UnsafeFileError, match="its member 'x' is a link or a device"):
        unpack(tar(tmp_path / "x.tar", {"x": b""}, change), tmp_path)


def test_links_and_secrets_in_zip_files_are_refused(tmp_path: Path) -> None:
    def link(info: zipfile.ZipInfo) -> None:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(UnsafeFileError, match="its member 'x' is no plain file"):
        unpack(zipped(tmp_path / "x.zip", {"x": b"/etc/passwd"}, link), tmp_path)
    content = bytearray(zipped(tmp_path / "x.zip", {"x": b"1"}).read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the directory says that it is encrypted
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(UnsafeFileError, match="its member 'x' is encrypted"):
        unpack(tmp_path / "x.zip", tmp_path)


@pytest.mark.parametrize(("name", "make"), MAKERS[1::2])
def test_bombs_are_stopped_by_what_comes_out(name: str, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make(tmp_path / name, {"x": bytes(40 << 20)})
    assert bomb.stat().st_size < 100_000
    monkeypatch.setattr(archives, "_ALLOWED", 1 << 20)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UnsafeFileError, match="far more bytes"):
        unpack(bomb, out)
    assert sum(len(v) for v in files(out).values()) <= 2 << 20
    assert unpack(bomb, out, limit=40 << 20) == 1
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    with pytest.raises(UnsafeFileError, match="more than 2 files"):
        unpack(make(tmp_path / name, GOOD), out)


def test_a_header_that_would_fill_the_memory_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def long_name(info: tarfile.TarInfo) -> None:
        info.type = tarfile.GNUTYPE_LONGNAME

    monkeypatch.setattr(archives, "_ALLOWED", 1 << 20)
    bomb = tar(tmp_path / "x.tar.gz", {"x": bytes(80 << 20)}, long_name)
    assert bomb.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(UnsafeFileError, match="far more bytes"):
            unpack(bomb, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_damage_is_an_error(name: str, make: Any, tmp_path: Path) -> None:
    path = make(tmp_path / name, {"x": hashlib.shake_256(b"x").digest(50_000), "y": b"1"})
    whole = path.read_bytes()
    for content in (whole[:20_000], b"", b"nothing of the kind" * 100):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match="is damaged"):
            unpack(path, tmp_path)
    if name != "x.tar":  # a plain tar file has no sum of its content: the pinned sha256 stands for it
        path.write_bytes(whole[:20_000] + b"\x00\x01" + whole[20_002:])
        with pytest.raises(IntegrityError, match="is damaged"):
            unpack(path, tmp_path)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Download:
    """An archive that lies in a folder of the user's, and a cache of its own."""
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    (tmp_path / "mine").mkdir()
    path = tar(tmp_path / "mine" / "x.tar.gz", GOOD)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    return Download("x.tar.gz", ("http://127.0.0.1:9/x.tar.gz",), folder="datasets/x", sha256=sha)


def test_a_local_archive_is_checked_and_unpacked_once(published: Download, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    root = place(published, "data/a.txt", mine)
    assert root.is_relative_to(tmp_path / "cache") and (root / "data" / "a.txt").read_bytes() == b"a"
    assert (mine / "x.tar.gz").is_file()
    before = (root / "data" / "a.txt").stat().st_mtime_ns
    assert place(published, "data/a.txt") == root, "neither the archive nor a network is needed any more"
    assert (root / "data" / "a.txt").stat().st_mtime_ns == before
    assert [p.name for p in root.parent.iterdir() if not p.name.startswith(".")] == [root.name]


def test_an_unpacked_copy_is_taken_as_it_lies(published: Download, tmp_path: Path) -> None:
    copy = tmp_path / "somewhere" / "data"
    copy.mkdir(parents=True)
    (copy / "a.txt").write_bytes(b"mine")
    for given in (copy, copy.parent, tmp_path):
        assert place(published, "data/a.txt", given) == copy.parent
    assert not (tmp_path / "cache").exists()


def test_what_cannot_be_found(published: Download, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds neither data/a.txt nor x.tar.gz.*the folder in which data lies"):
        place(published, "data/a.txt", tmp_path / "empty")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        place(published, "data/a.txt", tmp_path / "nowhere")
    with pytest.raises(NetworkError, match=r"x\.tar\.gz is not in the cache"):
        place(published, "data/a.txt")
    with pytest.raises(IntegrityError, match=r"holds 3 files, and no data/z\.txt"):
        place(published, "data/z.txt", tmp_path / "mine")
    tar(tmp_path / "mine" / "x.tar.gz", {"other": b"1"})
    with pytest.raises(IntegrityError, match=r"x\.tar\.gz has another sha256 than the pinned"):
        place(published, "data/a.txt", tmp_path / "mine")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_dir() and p.name.startswith("x-")]


def test_an_archive_is_fetched_resumed_checked_and_unpacked(world, localhub_module, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    content = {"data/a.bin": hashlib.shake_256(b"a").digest(60_000), "data/b.txt": b"b"}
    path = tar(tmp_path / "x.tar.gz", content)
    world.hub.blobs["x.tar.gz"] = localhub_module.Blob(path.read_bytes())
    world.hub.blobs["other.tar.gz"] = localhub_module.Blob(b"something else")
    world.hub.fault("cut", match="/x.tar.gz", at=20_000)
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    urls = tuple(f"{world.hub.cdn}/lfs/{name}" for name in ("other.tar.gz", "x.tar.gz"))
    archive = Download("x.tar.gz", urls, folder="datasets/x", sha256=sha)
    root = place(archive, "data")
    assert files(root) == content
    asked = [(e["path"].rpartition("/")[2], e["range"]) for e in world.hub.requests("/lfs/")]
    assert asked == [("other.tar.gz", None), ("x.tar.gz", None), ("x.tar.gz", "bytes=20000-")]
    assert not archive.path.exists(), "what it held is there: the archive takes no room any more"
    world.hub.log.clear()
    assert place(archive, "data") == root and world.hub.requests("/lfs/") == []


def test_other_bytes_are_never_unpacked(world, localhub_module, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tar(tmp_path / "x.tar.gz", {"data/evil": b"1"})
    world.hub.blobs["x.tar.gz"] = localhub_module.Blob(path.read_bytes())
    archive = Download("x.tar.gz", (f"{world.hub.cdn}/lfs/x.tar.gz",), folder="datasets/x", sha256="0" * 64, verified=False)
    with pytest.raises(IntegrityError, match=r"another sha256 than the pinned 0000.*one that others publish"):
        place(archive, "data")
    assert not list(world.cache.rglob("evil"))
