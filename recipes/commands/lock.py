"""``nyala lock``: writes the exact bytes behind names into a lock file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .shared import console

if TYPE_CHECKING:
    from ...hub.locking import Change

NAME = "lock"
HELP = "write commit, sha256, size and licence of a model's files into weights.lock.toml"
EXAMPLES = """  nyala lock all-MiniLM-L6-v2 tf_efficientnet_lite0
  nyala lock org/name@refs/pr/3 --file models.lock.toml    a branch, tag, commit or pull request
  nyala lock --update                                      look whether the branches of all names have moved
  nyala pull --locked                                      elsewhere: exactly these bytes, or an error
  NYALA_LOCK=weights.lock.toml nyala run my-recipe.toml    every name means what the file says"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", default=[], metavar="NAME", help="catalogue names, hub ids or recipes; default: all in the file"
    )
    parser.add_argument("--file", metavar="FILE", help="the lock file (default: $NYALA_LOCK, else weights.lock.toml here)")
    parser.add_argument("--update", action="store_true", help="ask the hub whether branches have moved, and follow them")


def execute(args: argparse.Namespace) -> int:
    from ...hub import lockfile, locking
    from ...hub.results import table
    from .. import catalog
    from ..language import config

    path = args.file or lockfile.default_file()
    names = [config.load(name).recipe.model.name if name in catalog.names() else name for name in args.names]
    changes = locking.lock(names, path, update=args.update)
    if args.json:
        console.emit({"file": str(path), "entries": [_as_json(change) for change in changes]})
        return 0
    print(table(["name", "state", "from", "pinned to", "files", "bytes", "licence"], [_row(change) for change in changes]))
    console.say(f"{path}: {len(changes)} name{'' if len(changes) == 1 else 's'} locked")
    return 0


def _row(change: Change) -> list[object]:
    entry, now = change.entry, change.entry.pin[:12]
    moved = change.before is not None and change.before.pin != entry.pin
    pin = f"{change.before.pin[:12]} -> {now}" if moved and change.before else now
    return [change.name, change.state, entry.source.label, pin, len(entry.source.files), f"{entry.size:,}", entry.license or "?"]


def _as_json(change: Change) -> dict[str, Any]:
    import msgspec

    source = msgspec.to_builtins(change.entry.source)
    kept = ("kind", "repo", "commit", "revision", "package", "version", "wheel", "wheel_sha256", "wheel_size")
    files = {name: {"sha256": file.sha256, "size": file.size} for name, file in change.entry.source.files.items()}
    described = {key: source[key] for key in kept if source[key]}
    return {"name": change.name, "state": change.state, "license": change.entry.license, **described, "files": files}
