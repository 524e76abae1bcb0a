"""``nyala predict``: a model, or a finished run, on your own inputs."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...core.errors import ArgumentError
from . import console

NAME = "predict"
HELP = "use a model or a finished run on pictures or text"
EXAMPLES = """  nyala predict tf_efficientnet_lite0 cat.jpg
  nyala predict runs/fashion-lite0-1 shoe.png bag.png --output out.png
  nyala predict runs/spam-minilm-1 "You have won a prize" --json
  nyala predict models.nyala#minilm "a text"       one model of a bundle"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a catalogue name, a hub id, a folder, a run folder, or a bundle")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture files, or texts")
    parser.add_argument("--output", metavar="FILE.png", help="draw the results into this picture")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...hub.bundled import is_bundle_name
    from ...hub.load import load
    from ...hub.results import picture_path
    from .. import catalog

    if args.output:
        picture_path(args.output)  # before the work, not after it
    if args.name in catalog.names():
        raise ArgumentError(
            f"{args.name} is a recipe, not a model", fix=f"nyala run {args.name}, then predict with the run folder it prints"
        )
    if Path(args.name).is_file() and not is_bundle_name(args.name):
        raise ArgumentError(f"{args.name} is a file, not a model", fix="name the model first, then the inputs")
    pipeline = load(args.name)
    results = pipeline(args.inputs)
    if args.output:
        results.save(args.output)
        console.say(f"drew {args.output}")
    if args.json:
        console.emit({"model": pipeline.name, "inputs": args.inputs, "results": results.to_dict()})
    else:
        print(results)
    return 0
