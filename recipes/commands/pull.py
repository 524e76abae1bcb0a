"""``nyala pull``: fetches a model's files into the cache, so that everything later works offline."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import console

if TYPE_CHECKING:
    from ...hub.files import Files

NAME = "pull"
HELP = "fetch a model's files into the cache and check their hashes"
EXAMPLES = """  nyala pull tf_efficientnet_lite0
  nyala pull vision/fashion-lite0          what a recipe needs
  nyala pull all-MiniLM-L6-v2 --json
  nyala pull org/name@refs/pr/7            a branch, tag, commit or pull request of a hub's repository
  nyala pull org/name --update             what its branch holds now; without it a fetched name stays what it is
  nyala pull --locked                      every name of weights.lock.toml, exactly those bytes
  nyala pull minilm --locked --file models.lock.toml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="models (catalogue names or hub ids) or recipes")
    parser.add_argument(
        "--locked", action="store_true", help="fetch the bytes that the lock file says, or fail; without NAME all of it"
    )
    parser.add_argument(
        "--update", action="store_true", help="look whether a branch of a model hub has moved, and fetch what is new"
    )
    parser.add_argument("--file", metavar="FILE", help="the lock file (default: $NYALA_LOCK, else weights.lock.toml here)")


def execute(args: argparse.Namespace) -> int:
    from ...hub.client import fetch
    from ...hub.results import table
    from .. import catalog
    from ..language import config

    fetched: list[dict[str, Any]] = []
    lock = _lock_file(args)
    for name in args.names or _locked_names(lock):
        _require_no_mistyped_recipe(name)
        model = config.load(name).recipe.model.name if name in catalog.names() else name
        try:
            files = fetch(model, lock=lock, update=args.update)
        except KeyboardInterrupt:
            console.say("what has arrived is kept: the same command goes on from it")
            raise
        rows: list[dict[str, Any]] = [
            {
                "model": model,
                "file": file,
                "path": str(path),
                "bytes": path.stat().st_size,
                "sha256": files.hashes.get(file, ""),
                "revision": files.revision,
            }
            for file, path in files.items()
        ]
        if not args.json:
            at = f" at {files.revision[:12]}" if files.revision and files.revision not in files.origin else ""
            print(f"{model} from {files.origin}{at}, in {_common_folder(files)}")
            print(table(["file", "bytes", "sha256"], [[r["file"], f"{r['bytes']:,}", r["sha256"][:16]] for r in rows]))
        fetched += rows
    if args.json:
        console.emit({"files": fetched})
    return 0


def _require_no_mistyped_recipe(name: str) -> None:
    """A recipe's name has the form of a hub id: no hub need be asked for one that is mistyped."""
    from ...core.errors import UnknownNameError, did_you_mean
    from .. import catalog

    folder, _, rest = name.partition("/")
    if rest and name not in catalog.names() and folder in {known.partition("/")[0] for known in catalog.names()}:
        fix = did_you_mean(name, catalog.names()) or "`nyala list` shows models and recipes"
        raise UnknownNameError(f"no recipe is called {name!r}", fix=fix)


def _lock_file(args: argparse.Namespace) -> Path | None:
    """The lock file, where one is asked for; ``$NYALA_LOCK`` counts without being asked for."""
    from ...core.errors import ArgumentError
    from ...hub import lockfile

    if args.locked and args.update:
        raise ArgumentError("--update follows a branch, --locked does not", fix="nyala lock --update, then nyala pull --locked")
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
