"""Files and folders that appear whole or not at all.

A file is written under a temporary name in its own folder, flushed to the disk, renamed, and the folder is flushed
too: whoever looks, after a crash or a power cut as well, sees the old content or the new, never a part. On any error
the temporary is removed. Failures of the disk become :class:`StorageError`, with the path and a remedy.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import NyalaError, StorageError

Data = bytes | bytearray | memoryview | str | Callable[[BinaryIO], object]

_TEMPORARY = ".nyala-tmp-"

_REMEDIES = {
    errno.ENOSPC: "free some space on this disk, or write to another one",
    errno.EDQUOT: "your disk quota is used up: free some space, or write elsewhere",
    errno.EFBIG: "this disk or account does not allow a file of that size: write elsewhere",
    errno.EROFS: "the disk is mounted read-only: write to another folder",
    errno.EACCES: "check the permissions of the folder, or write to another one",
    errno.EPERM: "check the permissions of the folder, or write to another one",
    errno.ENOENT: "create the parent folder first, or correct the path",
    errno.EEXIST: "a file already has this name: choose another name",
    errno.ENOTDIR: "a part of the path is a file, not a folder: correct the path",
    errno.EISDIR: "a folder already has this name: choose another name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk reports a hardware or network fault: check it, or write elsewhere",
}


_WRITING = ("write", "write to", "create", "lock")


@contextmanager
def storage_errors(path: str | os.PathLike[str], action: str = "write") -> Iterator[None]:
    """Turn a failure of the disk inside the block into a :class:`StorageError` that names ``path``.

    Errors of nyala itself and of the network pass unchanged.

    Raises:
        StorageError: for any ``OSError`` the operating system raised; ``errno`` and ``filename`` are kept.

    Example:
        >>> try:
        ...     with storage_errors("no/such/folder"):
        ...         os.stat("no/such/folder")
        ... except StorageError as error:
        ...     print(error.what)
        could not write no/such/folder
    """
    try:
        yield
    except (NyalaError, ConnectionError, TimeoutError):
        raise
    except OSError as error:
        if error.errno not in errno.errorcode:  # not from the operating system: a name lookup, a library's own
            raise
        raise _storage_error(error, path, action) from error


def _storage_error(error: OSError, path: str | os.PathLike[str], action: str) -> StorageError:
    reading = {errno.EACCES: "check its permissions", errno.EPERM: "check its permissions"}
    remedies = _REMEDIES if action in _WRITING else reading
    fix = remedies.get(error.errno or 0, "check the path and the disk, then try again")
    made = StorageError(f"could not {action} {os.fspath(path)}", why=os.strerror(error.errno or 0), fix=fix)
    made.errno, made.filename = error.errno, os.fspath(path)
    return made


def fsync_folder(folder: str | os.PathLike[str]) -> None:
    """Make the names in ``folder`` durable: without it a rename may be lost in a power cut."""
    if os.name == "nt":  # Windows cannot open a folder, and journals renames by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks have no such call
            raise
    finally:
        os.close(handle)


def atomic_write(path: str | os.PathLike[str], data: Data) -> None:
    """Write a file whole or not at all; an existing file is replaced.

    Args:
        path: the file. Its folder must exist. A symbolic link is replaced, not written through.
        data: bytes, text (stored as UTF-8), or a function that is given the open binary file and writes to it.

    Raises:
        StorageError: full disk, read-only folder, missing folder, ``path`` is a folder. Nothing is left behind.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> atomic_write(Path(folder.name, "note.txt"), "whole")
        >>> [(p.name, p.read_text()) for p in Path(folder.name).iterdir()]
        [('note.txt', 'whole')]
    """
    path = Path(path)
    temporary = _temporary_beside(path)
    with storage_errors(path):
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
            with os.fdopen(handle, "wb") as file:
                _write(file, data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)  # already renamed away after a success
        fsync_folder(path.parent)


def _write(file: BinaryIO, data: Data) -> None:
    if callable(data):
        data(file)
    else:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[Path]:
    """A folder that gets its name only once it is whole.

    Yields a new empty folder beside ``path`` to write into. When the block ends well, every file in it is flushed to
    the disk and it is renamed to ``path``; when the block raises, it is removed and ``path`` is as it was.

    Args:
        path: the final folder. Its parent must exist.
        replace: allow ``path`` to exist. The old folder is first renamed aside and removed at the end, so a process
            killed between the two renames leaves the old content under a ``.nyala-tmp-*`` name.

    Raises:
        StorageError: ``path`` exists and ``replace`` is not set, full disk, read-only folder, missing parent.

    Example:
        >>> import tempfile
        >>> root = tempfile.TemporaryDirectory()
        >>> with atomic_folder(Path(root.name, "step-1")) as folder:
        ...     _ = (folder / "a.txt").write_text("a")
        >>> sorted(p.name for p in Path(root.name).rglob("*"))
        ['a.txt', 'step-1']
    """
    path = Path(path)
    temporary = _temporary_beside(path)
    with storage_errors(path):
        if os.path.lexists(path) and not replace:
            raise StorageError(f"{path} already exists", fix="choose another name, or remove it first")
        temporary.mkdir()
        try:
            yield temporary
            _fsync_tree(temporary)
            _swap(temporary, path)
        except StorageError as error:  # of a file in it: people know the folder by its own name
            error.what = error.what.replace(str(temporary), str(path))
            raise
        finally:
            if temporary.exists():
                shutil.rmtree(temporary)
        fsync_folder(path.parent)


def _swap(new: Path, path: Path) -> None:
    """Give ``new`` the name ``path``; whatever had that name is put back if that fails, and removed if not."""
    if not os.path.lexists(path):
        os.rename(new, path)
        return
    aside = _temporary_beside(path)
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(aside, path)
        raise
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink()


def _fsync_tree(folder: Path) -> None:
    for root, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(root, name), "rb+") as file:
                os.fsync(file.fileno())
        fsync_folder(root)


def _temporary_beside(path: Path) -> Path:
    # Not made from the name of `path`: that may already be as long as the file system allows.
    return path.parent / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Remove what killed processes left half-written in ``folder``; returns the names removed.

    Only for a folder that no other process is writing to now, such as a run folder that is being resumed.

    Raises:
        StorageError: the folder cannot be read or changed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, ".nyala-tmp-1-00").write_text("half")
        ...     remove_leftovers(folder)
        ['.nyala-tmp-1-00']
    """
    with storage_errors(folder, "clean"):
        found = sorted(entry.name for entry in Path(folder).iterdir() if entry.name.startswith(_TEMPORARY))
        for name in found:
            leftover = Path(folder, name)
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
    return found
