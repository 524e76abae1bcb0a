"""``nyala pull``: fetches a model's files into the cache, so that everything later works offline."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import console

if TYPE_CHECKING:
    from ...hub.files import Files

NAME = "pull"
HELP = "fetch a model's files into the cache and check their hashes"
EXAMPLES = """  nyala pull tf_efficientnet_lite0
  nyala pull vision/fashion-lite0          what a recipe needs
  nyala pull all-MiniLM-L6-v2 --json
  nyala pull --locked                      every name of weights.lock.toml, exactly those bytes
  nyala pull minilm --locked --file models.lock.toml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="models (catalogue names or hub ids) or recipes")
    parser.add_argument(
        "--locked", action="store_true", help="fetch the bytes that the lock file says, or fail; without NAME all of it"
    )
    parser.add_argument("--file", metavar="FILE", help="the lock file (default: $NYALA_LOCK, else weights.lock.toml here)")


def execute(args: argparse.Namespace) -> int:
    from ...hub.client import fetch
    from ...hub.results import table
    from .. import catalog, config

    fetched: list[dict[str, Any]] = []
    lock = _lock_file(args)
    for name in args.names or _locked_names(lock):
        model = config.load(name).recipe.model.name if name in catalog.names() else name
        files = fetch(model, lock=lock)
        sizes = {file: files[file].stat().st_size for file in files}
        if not args.json:
            print(f"{model} from {files.origin}, in {_common_folder(files)}")
            print(table(["file", "bytes"], [[file, f"{size:,}"] for file, size in sizes.items()]))
        fetched += [{"model": model, "file": file, "path": str(files[file]), "bytes": size} for file, size in sizes.items()]
    if args.json:
        console.emit({"files": fetched})
    return 0


def _lock_file(args: argparse.Namespace) -> Path | None:
    """The lock file, where one is asked for; ``$NYALA_LOCK`` counts without being asked for."""
    from ...core.errors import ArgumentError
    from ...hub import lockfile

    if args.locked:
        return Path(args.file) if args.file else lockfile.default_file()
    if args.file:
        raise ArgumentError(f"--file {args.file} says nothing without --locked", fix="add --locked")
    if not args.names:
        raise ArgumentError("no name was given", fix="name a model (`nyala list`), or use --locked for all of a lock file")
    return None


def _locked_names(lock: Path | None) -> list[str]:
    from ...hub import lockfile

    return sorted(lockfile.read(lock)) if lock is not None else []


def _common_folder(files: Files) -> str:
    return os.path.commonpath([path.parent for path in files.values()])
