"""Run the type checker over the package.

The repository root is the package, so mypy is shown a folder in which it goes by its import name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("__init__.py", "core", "hub", "vision", "audio", "text", "recipes")


def main() -> int:
    """mypy's exit status on the packages of this checkout."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "nyala"
        package.mkdir()
        for part in PARTS:
            os.symlink(ROOT / part, package / part)
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(ROOT / ".mypy_cache"),
        ]
        return subprocess.run([*command, "-p", "nyala", *sys.argv[1:]], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
