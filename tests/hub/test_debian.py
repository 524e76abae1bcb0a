"""Data out of packages of Debian: small archives made here, with an apt that is a script."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path, PurePosixPath

import pytest
from nyala.errors import IntegrityError, NetworkError
from nyala.hub import debian
from nyala.hub.debian import DebianPackage, unpack, unpacked

FILES = {"./usr/share/sounds/a.wav": b"RIFF a", "./usr/share/sounds/b/c.wav": b"RIFF c", "./usr/share/doc/x/copyright": b"CC"}


def package_of(files: dict[str, bytes], data: str = "data.tar.xz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", data: packed.getvalue()}
    found = b"!<arch>\n"
    for name, content in members.items():
        found += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
        )
    return found


def sounds(path: PurePosixPath) -> PurePosixPath | None:
    return path.relative_to("usr/share/sounds") if path.suffix == ".wav" else None


def described(content: bytes) -> DebianPackage:
    return DebianPackage("tiny-sounds", "1:2.0-1", "pool/main/t/tiny/", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """apt(content) plays an apt that gives ``content``; apt(None) one that has no such package."""
    monkeypatch.setenv("NYALA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    calls = tmp_path / "calls"

    def play(content: bytes | None) -> Path:
        (tmp_path / "given").write_bytes(content or b"")
        act = f"cp {tmp_path}/given tiny-sounds_1%3a2.0-1_all.deb" if content is not None else "echo 'E: no such' >&2; exit 100"
        (tmp_path / "apt-get").write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{act}\n')
        (tmp_path / "apt-get").chmod(0o755)
        return calls

    return play


def test_the_wanted_files_are_unpacked_once(apt):
    content = package_of(FILES)
    calls = apt(content)
    folder = unpacked(described(content), sounds)
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")} == {
        "a.wav": b"RIFF a",
        "b/c.wav": b"RIFF c",
    }
    assert unpacked(described(content), sounds) == folder
    assert calls.read_text().splitlines() == ["download -q tiny-sounds=1:2.0-1"]
    left = {p.name for p in folder.parent.iterdir() if not p.name.endswith(".lock")}
    assert left == {"tiny-sounds_1.2.0-1"}


@pytest.mark.parametrize("given", [None, b"other bytes"])
def test_servers_are_asked_where_apt_has_not_these_bytes(apt, given, monkeypatch, tmp_path):
    content, asked = package_of(FILES), []
    apt(given)

    def fetch(download):
        asked.append(download)
        (tmp_path / "fetched").write_bytes(content)
        return tmp_path / "fetched"

    monkeypatch.setattr(debian, "fetch", fetch)
    assert (unpacked(described(content), sounds) / "a.wav").read_bytes() == b"RIFF a"
    assert asked[0].urls[0].endswith("/pool/main/t/tiny/tiny-sounds_2.0-1_all.deb")
    assert asked[0].content_sha256 == hashlib.sha256(content).hexdigest()


def test_offline_says_how_to_get_it(apt, monkeypatch):
    apt(None)
    monkeypatch.setenv("NYALA_OFFLINE", "1")
    with pytest.raises(NetworkError, match="apt install tiny-sounds"):
        unpacked(described(b""), sounds)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: b"", "is no Debian package"),
        (lambda b: b"PK" + b[2:], "is no Debian package"),
        (lambda b: b[:100], "has no data.tar.xz"),
        (lambda b: b[:320], "is damaged"),
        (lambda b: b.replace(b"data.tar.xz ", b"data.tar.zst"), r"has no data\.tar\.xz"),
    ],
)
def test_damaged_archives_are_refused(damage, message, tmp_path):
    (tmp_path / "a.deb").write_bytes(damage(package_of(FILES)))
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match=message):
        unpack(tmp_path / "a.deb", tmp_path / "out", sounds)


def test_nothing_is_written_outside(tmp_path):
    hostile = {"./../evil.wav": b"x", "/abs.wav": b"y", "./usr/share/sounds/../../../../up.wav": b"z", **FILES}
    (tmp_path / "a.deb").write_bytes(package_of(hostile))
    (tmp_path / "out").mkdir()
    keep = lambda path: path if path.suffix == ".wav" else None  # noqa: E731 - whatever a caller wants
    unpack(tmp_path / "a.deb", tmp_path / "out", keep)
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.wav")}
    assert written == {"out/usr/share/sounds/a.wav", "out/usr/share/sounds/b/c.wav"} and not Path("/abs.wav").exists()
