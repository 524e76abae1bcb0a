"""How much room fetched files may take: sizes in words, the room they take now, and the limit the user has set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import ArgumentError, StorageError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)


def parse_size(text: str, what: str = "the size") -> int:
    """Bytes that ``text`` stands for.

    Args:
        text: e.g. ``"20GB"``, ``"1.5 TB"``, ``"512 MiB"``, ``"1000"``.
        what: what a message calls it.

    Raises:
        ArgumentError: it is no size.

    Example:
        >>> parse_size("20GB"), parse_size("1.5k"), parse_size("512 MiB")
        (20000000000, 1500, 536870912)
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ArgumentError(f"{what} {text!r} is no size", fix="write a number and a unit, e.g. 500MB or 20GB")
    return round(float(match[1]) * _UNITS[(match[2] or "").lower()])


def in_words(size: int) -> str:
    """``size`` bytes for people.

    Example:
        >>> in_words(190), in_words(18_826_032), in_words(2_500_000_000)
        ('190 bytes', '18.8 MB', '2.5 GB')
    """
    if size < 1000:
        return f"{size} byte{'' if size == 1 else 's'}"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def quota() -> int | None:
    """Bytes that ``NYALA_QUOTA`` allows; None where there is no limit."""
    given = os.environ.get("NYALA_QUOTA", "").strip()
    return parse_size(given, "NYALA_QUOTA") if given else None


def bytes_below(folder: Path) -> int:
    """Bytes of the regular files below ``folder``; links are not followed, and a file with two names counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                stat = os.lstat(os.path.join(root, name))
            except FileNotFoundError:  # another process has just finished with it
                continue
            if (stat.st_dev, stat.st_ino) not in seen and not os.path.islink(os.path.join(root, name)):
                seen.add((stat.st_dev, stat.st_ino))
                total += stat.st_size
    return total


def require_quota(folders: Iterable[Path], size: int, what: str) -> None:
    """Refuse a download that would take more room than ``NYALA_QUOTA`` allows.

    Args:
        folders: those that count.
        size: bytes it adds.
        what: what is to be downloaded.

    Raises:
        StorageError: it does not fit; the message names the largest folders.
    """
    limit = quota()
    if limit is None:
        return
    used = {folder: bytes_below(folder) for folder in folders}
    total = sum(used.values())
    if total + size <= limit:
        return
    largest = sorted(((used[f], f) for f in used if used[f]), reverse=True)[:3]
    there = "; the largest: " + ", ".join(f"{folder} ({in_words(n)})" for n, folder in largest) if largest else ""
    raise StorageError(
        f"{what} needs {in_words(size)}, but NYALA_QUOTA={os.environ['NYALA_QUOTA']} leaves {in_words(max(0, limit - total))}",
        why=f"fetched files take {in_words(total)}{there}",
        fix="delete what you no longer use, or raise NYALA_QUOTA",
    )
