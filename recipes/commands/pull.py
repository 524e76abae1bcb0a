"""``nyala pull``: fetches a model's files into the cache, so that everything later works offline."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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

    fetched: list[dict[str, Any]] = []
    for name in args.names:
        model = config.load(name).recipe.model.name if name in catalog.names() else name
        files = fetch(model)
        sizes = {file: files[file].stat().st_size for file in files}
        if not args.json:
            print(f"{model} from {files.origin}, in {_common_folder(files)}")
            print(table(["file", "bytes"], [[file, f"{size:,}"] for file, size in sizes.items()]))
        fetched += [{"model": model, "file": file, "path": str(files[file]), "bytes": size} for file, size in sizes.items()]
    if args.json:
        console.emit({"files": fetched})
    return 0


def _common_folder(files: Mapping[str, Path]) -> str:
    return os.path.commonpath([path.parent for path in files.values()])
