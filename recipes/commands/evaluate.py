"""``nyala evaluate``: what a model is worth on labelled data."""

from __future__ import annotations

import argparse

from .shared import console
from .shared.device import add_device, check_device

NAME = "evaluate"
HELP = "judge a model on labelled data: scores with intervals, classes, calibration, the worst mistakes"
EXAMPLES = """  nyala evaluate tf_efficientnet_lite0 --data pictures         one subfolder a class, named as the model's labels
  nyala evaluate tf_efficientnet_lite0 --data pictures --map 'kitty=tabby, tabby cat' --map 'junk=-'
  nyala evaluate runs/spam-minilm-1                            on its own test part
  nyala evaluate runs/spam-minilm-1 --data mails.csv --target kind --output report.html
  nyala evaluate runs/fashion-lite0-1 --data more-pictures --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a catalogue name, a hub id, a folder, or a run folder")
    parser.add_argument(
        "--data", metavar="DATA", help="a folder, a .csv, .tsv, .jsonl or .parquet file, a dataset's name, or a hub dataset"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column of the class, where its name does not say it")
    parser.add_argument("--text", action="append", default=[], metavar="COLUMN", help="the column of the text; again for more")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="DATA=MODEL",
        help="a class of the data is the model's class MODEL ('-': leave it out); again for more, or a .json file of such pairs",
    )
    parser.add_argument("--only-given", action="store_true", help="the model chooses among the classes of the data alone")
    parser.add_argument("--limit", type=_positive, metavar="N", help="at most N samples, drawn at random, the same each time")
    parser.add_argument(
        "--batch-size", type=_positive, default=32, metavar="N", help="samples at once (32); less takes less memory"
    )
    parser.add_argument("--output", metavar="FILE.html", help="write a page with diagrams and the samples themselves")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from .. import progress
    from ..judging import judge, matching

    if args.output:
        judge.html_path(args.output)  # before the work, not after it
    check_device(args)
    mapping = matching.read_mapping(args.map)
    with progress.choose(quiet=args.quiet) as show:
        found = judge.evaluate(
            args.name,
            args.data,
            mapping=mapping,
            only_given=args.only_given,
            target=args.target,
            text=args.text,
            limit=args.limit,
            batch_size=args.batch_size,
            device=args.device,
            progress=show,
        )
    if args.output:
        found.save(args.output)
        console.say(f"wrote {args.output}")
    if args.json:
        console.emit(found.as_json())
    else:
        print(found)
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
