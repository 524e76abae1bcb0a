"""``nyala finetune``: a pretrained model on data of one's own, in one line that leaves the recipe it ran."""

from __future__ import annotations

import argparse
import shlex
import shutil
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...core.errors import ArgumentError
from .shared import console
from .shared.device import add_device, with_device

if TYPE_CHECKING:
    from ..finetune import Finetuned, Proposal

NAME = "finetune"
HELP = "fine-tune a model on your own data: stated rules choose what you do not, and the recipe is written"
EXAMPLES = """  nyala finetune tf_efficientnet_lite0 --data pictures/            one subfolder a class, or train/ and test/
  nyala finetune detr-resnet-50 --data coco/                       boxes: pictures beside a JSON file in COCO's format
  nyala finetune nvidia/mit-b0 --data scenes/                      a class a pixel: folders images/ and masks/
  nyala finetune all-MiniLM-L6-v2 --data mails.csv --target kind   a CSV file; the class stands in the column kind
  nyala finetune whisper-tiny.en --data sounds/                    tell sounds apart: one subfolder a class
  nyala finetune all-MiniLM-L6-v2 --data mails.csv --time 10m      at most ten minutes
  nyala finetune all-MiniLM-L6-v2 --data train-v2.0.json           questions and texts that answer them, as SQuAD has them
  nyala finetune all-MiniLM-L6-v2 --data texts/ data.masked={}     learn the language of your texts by guessing hidden words
  nyala finetune tf_efficientnet_lite0 --data pictures/ --dry-run > mine.toml    only the recipe, with its reasons
  nyala finetune all-MiniLM-L6-v2 --data org/name optim.lr=5e-5    a dataset of the model hub; any value of a recipe
  nyala finetune --rules                                           the rules"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a catalogue name (`nyala list`), a hub id, a folder, or a run")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="any value of the recipe: optim.lr=1e-4")
    parser.add_argument("--data", help="a folder, a .csv, .tsv, .jsonl or .parquet file, a dataset's name, or a hub dataset")
    parser.add_argument("--target", metavar="COLUMN", help="the column of the class, where its name does not say it")
    parser.add_argument("--test", metavar="DATA", help="a second folder or file to test on")
    parser.add_argument("--epochs", type=int, help="passes over the training part")
    parser.add_argument("--time", help="at most this long, as measured on this machine: 90s, 10m, 2h")
    parser.add_argument("--seed", type=int, default=0, help="all random draws follow from it (default 0)")
    parser.add_argument("--folder", help="the run folder; by default runs/<model>-<data>-<n>")
    parser.add_argument("--recipe", metavar="FILE.toml", help="also write the recipe there")
    parser.add_argument("--dry-run", action="store_true", help="print the recipe and its reasons; train nothing")
    parser.add_argument("--rules", action="store_true", help="print the rules and end")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from .. import progress
    from ..finetune import propose, table
    from ..finetune.tune import carry_out

    if args.rules:
        print(table())
        return 0
    for given, what in ((args.name, "a model"), (args.data, "--data")):
        if not given:
            raise ArgumentError(
                f"{what} is missing", fix="e.g. nyala finetune tf_efficientnet_lite0 --data pictures/; `nyala list` shows models"
            )
    if not args.quiet:
        console.say(f"looking at {args.data} and {args.name}")
    proposal = propose(
        args.name,
        args.data,
        target=args.target,
        test=args.test,
        epochs=args.epochs,
        time=args.time,
        seed=args.seed,
        overrides=with_device(args),
    )
    if args.recipe:
        console.say(f"wrote {proposal.write(args.recipe)}")
    if not args.quiet:
        console.say(explain(proposal))
    if args.dry_run:
        return _dry(proposal, args.json)
    from ..folder import run as runs

    run = runs.create(proposal.loaded, args.folder)
    console.running(run.folder)
    with progress.choose(quiet=args.quiet) as show:
        done = carry_out(proposal, run.folder, show)
    return _done(done, args.json)


def explain(proposal: Proposal) -> str:
    """The facts, and each reason with what it led to, as people read them."""
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = [f"  {line}" for line in proposal.facts.lines()]
    lines += ["", *_wrapped(f"{proposal.method}: {proposal.because}", "", width)]
    for reason, chosen in groupby(proposal.choices(), key=lambda choice: choice[2]):
        if reason != "as you said":
            lines += _wrapped(reason, "  ", width) if reason != proposal.because else []
            lines += [f"      {key} = {value}" for key, value, _ in chosen]
    return "\n".join([*lines, ""])


def _wrapped(text: str, margin: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


def _dry(proposal: Proposal, as_json: bool) -> int:
    if as_json:
        console.emit({"recipe": proposal.toml, "choices": _choices(proposal)})
    else:
        print(proposal.toml, end="")
        console.say("nothing was trained: this was a dry run. Save the recipe, then: nyala run FILE.toml")
    return 0


def _choices(proposal: Proposal) -> list[dict[str, Any]]:
    return [{"key": key, "value": value, "reason": reason} for key, value, reason in proposal.choices()]


def _done(done: Finetuned, as_json: bool) -> int:
    folder, metrics = shlex.quote(str(done.folder)), done.metrics
    if as_json:
        found = {"run": str(done.folder), "recipe": str(done.recipe), "metrics": metrics}
        console.emit(found | {"choices": _choices(done.proposal)})
        return 0
    scores = sorted((name == "loss", name) for name, value in metrics.items() if isinstance(value, float))
    print("   ".join(f"{name.replace('_', ' ')} {metrics[name]:.4f}" for _, name in scores) + "   on the test part")
    print(f"run folder   {done.folder}")
    print(f"report       {done.folder / 'report.html'}")
    print(f"recipe       {done.recipe}")
    print(f"use it       nyala predict {folder} INPUT")
    print(f"check it     nyala verify {folder}")
    print(f"publish it   nyala push {folder} ORG/NAME")
    print(f"run again    nyala run {shlex.quote(str(done.recipe))}")
    return 0
