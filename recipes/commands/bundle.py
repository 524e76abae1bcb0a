"""``nyala bundle``: packs models into one file for a machine without a network."""

from __future__ import annotations

import argparse

from .shared import console

NAME = "bundle"
HELP = "pack models with all they need into one file, for a machine without a network"
EXAMPLES = """  nyala bundle all-MiniLM-L6-v2 tf_efficientnet_lite0 -o models.nyala
  nyala bundle runs/fashion-lite0-1 -o shoes.nyala           the result of a run
  nyala bundle all-MiniLM-L6-v2 --locked -o minilm.nyala     the bytes that weights.lock.toml says
then, there:
  nyala verify models.nyala                                  hashes and golden answers
  nyala predict shoes.nyala shoe.png
  nyala predict models.nyala#all-MiniLM-L6-v2 "a text"       one of several models"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="catalogue names, hub ids, folders, run folders, or recipes (the weights they begin with)",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FILE.nyala", help="the bundle; replaced where it is there")
    parser.add_argument("--locked", action="store_true", help="pack the bytes that the lock file says")
    parser.add_argument("--file", metavar="FILE", help="the lock file (default: $NYALA_LOCK, else weights.lock.toml here)")


def execute(args: argparse.Namespace) -> int:
    from ...core.errors import ArgumentError
    from ...hub.bundling import bundle
    from ...hub.lockfile import default_file
    from ...hub.results import table
    from .. import catalog
    from ..language import config

    if args.file and not args.locked:
        raise ArgumentError(f"--file {args.file} says nothing without --locked", fix="add --locked")
    names = [config.load(name).recipe.model.name if name in catalog.names() else name for name in args.names]
    made = bundle(names, args.output, lock=args.file or default_file() if args.locked else None)
    if args.json:
        models = {
            name: {"files": files, "bytes": size, "license": licence} for name, (files, size, licence) in made.models.items()
        }
        console.emit({"path": str(made.path), "sha256": made.sha256, "bytes": made.size, "models": models})
        return 0
    rows = [[name, files, f"{size:,}", licence or "?"] for name, (files, size, licence) in made.models.items()]
    print(table(["model", "files", "bytes", "licence"], rows))
    print(f"{made.path}: {made.size:,} bytes, sha256 {made.sha256}")
    return 0
