"""Files and folders appear whole or not at all, and a failing disk says what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from nyala.core.atomic import atomic_folder, atomic_write, fsync_folder, remove_leftovers, storage_errors
from nyala.core.errors import CheckpointError, NetworkError, StorageError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), "abc", lambda file: file.write(b"abc")])
def test_every_kind_of_data_is_written(tmp_path, data):
    atomic_write(tmp_path / "f", data)
    assert (tmp_path / "f").read_bytes() == b"abc"
    assert names(tmp_path) == ["f"]


def test_text_is_utf8(tmp_path):
    atomic_write(str(tmp_path / "f"), "größe")
    assert (tmp_path / "f").read_bytes() == "größe".encode()


def test_the_umask_decides_the_mode(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "f", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


def test_the_longest_allowed_name_works(tmp_path):
    atomic_write(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("failure", [ValueError("a bug"), KeyboardInterrupt(), CheckpointError("bad"), NetworkError("gone")])
def test_an_error_while_writing_leaves_the_old_file_and_passes_unchanged(tmp_path, failure):
    (tmp_path / "f").write_bytes(b"old")

    def write(file):
        file.write(b"half")
        file.flush()
        raise failure

    with pytest.raises(type(failure)) as caught:
        atomic_write(tmp_path / "f", write)
    assert caught.value is failure
    assert (tmp_path / "f").read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path):
    full = Path("/dev/full")  # the kernel's own always-full disk: a real ENOSPC
    if not full.exists():
        pytest.skip("this system has no /dev/full")

    def write(file):
        file.write(b"half")
        with open(full, "wb", buffering=0) as disk:
            disk.write(b"x")

    with pytest.raises(StorageError, match=r"No space left on device. Remedy: free some space") as caught:
        atomic_write(tmp_path / "f", write)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "f")
    assert caught.value.exit_code == 1
    assert names(tmp_path) == []


def test_a_file_over_the_size_limit_is_reported_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"could not write .*big: File too large"):
            atomic_write(tmp_path / "big", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "text"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "read-only"), (errno.EIO, "fault")]
)
def test_a_late_failure_of_the_disk_leaves_nothing(tmp_path, monkeypatch, call, number, text):
    def fail(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=text):
        atomic_write(tmp_path / "f", b"x")
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_a_folder_that_may_not_be_written_says_so(tmp_path, monkeypatch):
    def fail(*_args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match=r"could not write .*f: Permission denied. Remedy: check the permissions"):
        atomic_write(tmp_path / "f", b"x")


def test_a_missing_folder_a_file_as_folder_and_a_folder_as_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="create the parent folder"):
        atomic_write(tmp_path / "none" / "f", b"x")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        atomic_write(tmp_path / "file" / "f", b"x")
    with pytest.raises(StorageError, match="a folder already has this name"):
        atomic_write(tmp_path / "folder", b"x")
    assert names(tmp_path) == ["file", "folder"]


def test_file_content_is_flushed_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *pair: (calls.append("replace"), replace(*pair)))
    atomic_write(tmp_path / "f", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_disk_without_folder_flush_is_accepted(tmp_path, monkeypatch):
    def unsupported(_handle):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    fsync_folder(tmp_path)


def test_network_and_foreign_errors_are_not_called_storage_errors():
    for error in (
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(errno.ETIMEDOUT, "late"),
        OSError("a library's own"),
    ):
        with pytest.raises(type(error)) as caught, storage_errors("x"):
            raise error
        assert caught.value is error


def test_a_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_bytes(b"a")
        assert not (tmp_path / "run").exists()
        assert folder.parent == tmp_path
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / "sub" / "a").read_bytes() == b"a"


@pytest.mark.parametrize("replace", [False, True])
def test_a_failing_folder_leaves_what_was_there(tmp_path, replace):
    if replace:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "old").write_bytes(b"old")
    before = [str(p) for p in sorted(tmp_path.rglob("*"))]
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "run", replace=replace) as folder:
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert [str(p) for p in sorted(tmp_path.rglob("*"))] == before


def test_an_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "run").mkdir()
    worked = False
    with pytest.raises(StorageError, match=r"run already exists. Remedy: choose another name"), atomic_folder(tmp_path / "run"):
        worked = True
    assert not worked
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_replace_swaps_whatever_was_there(tmp_path, kind):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_bytes(b"kept")
    if kind == "folder":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "old").write_bytes(b"old")
    elif kind == "file":
        (tmp_path / "run").write_bytes(b"old")
    else:
        (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with atomic_folder(tmp_path / "run", replace=True) as folder:
        (folder / "new").write_bytes(b"new")
    assert names(tmp_path) == ["elsewhere", "run"]
    assert names(tmp_path / "run") == ["new"]
    assert names(tmp_path / "elsewhere") == ["kept"]


def test_the_old_folder_comes_back_when_the_swap_fails(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_bytes(b"old")
    rename, calls = os.rename, []

    def fail_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_second)
    with pytest.raises(StorageError, match="free some space"), atomic_folder(tmp_path / "run", replace=True) as folder:
        (folder / "new").write_bytes(b"new")
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["old"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".nyala-tmp-9-aa").write_bytes(b"half")
    (tmp_path / ".nyala-tmp-9-bb").mkdir()
    (tmp_path / ".nyala-tmp-9-bb" / "x").write_bytes(b"half")
    (tmp_path / ".hidden").write_bytes(b"kept")
    assert remove_leftovers(tmp_path) == [".nyala-tmp-9-aa", ".nyala-tmp-9-bb"]
    assert names(tmp_path) == [".hidden"]
    with pytest.raises(StorageError, match="could not clean"):
        remove_leftovers(tmp_path / "none")
