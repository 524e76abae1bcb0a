"""``nyala pull``: fetches a model's files into the cache, so that everything later works offline."""

from __future__ import annotations

import argparse

from . import console

NAME = "pull"
HELP = "fetch a model's files into the cache and check their hashes"
EXAMPLES = """  nyala pull tf_efficientnet_lite0
  nyala pull vision/fashion-lite0          what a recipe needs
  nyala pull all-MiniLM-L6-v2 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="models (catalogue names or hub ids) or recipes")


def execute(args: argparse.Namespace) -> int:
    from ...hub.client import fetch
    from ...hub.results import table
    from .. import catalog, config

    fetched = []
    for name in args.names:
        model = config.load(name).recipe.model.name if name in catalog.names() else name
        files = fetch(model)
        fetched += [
            {"model": model, "file": file, "path": str(files[file]), "bytes": files[file].stat().st_size} for file in files
        ]
    if args.json:
        console.emit({"files": fetched})
    else:
        print(table(["model", "file", "bytes", "path"], [[f["model"], f["file"], f["bytes"], f["path"]] for f in fetched]))
    return 0
