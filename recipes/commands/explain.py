"""``nyala explain``: where a model looks in pictures -> a picture."""

from __future__ import annotations

import argparse
from typing import Any

from .shared import console
from .shared.pictures import add_allow_url, addresses

NAME = "explain"
HELP = "show where in pictures a model looks"
EXAMPLES = """  nyala explain tf_efficientnet_lite0 coffee.jpg --output where.png           what speaks for the likeliest class
  nyala explain tf_efficientnet_lite0 coffee.jpg --label cup --output cup.png    what speaks for another
  nyala explain dinov2-small-focus cat.jpg --output cat.png                      what the last attention looks at
  nyala explain dinov2-small-focus *.jpg --method components --size 448 --output parts.png
  nyala explain runs/fashion-lite0-1 shoe.png --layer blocks.4 --output finer.png   an earlier, finer layer"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a catalogue name, a hub id, a folder, a run folder, or a bundle")
    parser.add_argument("inputs", nargs="+", metavar="PICTURE", help="picture files")
    parser.add_argument("--output", required=True, metavar="FILE.png", help="draw into this picture")
    parser.add_argument(
        "--method", metavar="NAME", help="grad-cam, attention, rollout or components; the one that shows most of the model"
    )
    parser.add_argument("--label", metavar="CLASS", help="with grad-cam: the class, by name or number (each picture's likeliest)")
    parser.add_argument("--layer", metavar="NAME", help="with grad-cam or components: the layer whose result is used (the last)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="show the model larger pictures: a finer grid")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    add_allow_url(parser)


def execute(args: argparse.Namespace) -> int:
    from ...hub.results import picture_path

    picture_path(args.output)  # before the work, not after it
    with addresses(args):
        return _draw(args)


def _draw(args: argparse.Namespace) -> int:
    from ...hub.load import load

    pipeline: Any = load(args.name, task="image-explanation", device=args.device)
    if args.size is not None:
        pipeline = pipeline.resized(args.size)
    found = pipeline(args.inputs, method=args.method, label=args.label, layer=args.layer)
    found.save(args.output)
    console.say(f"drew {args.output}")
    if args.json:
        console.emit({"model": pipeline.name, "inputs": args.inputs, "results": found.to_dict()})
    else:
        print(found)
    return 0
