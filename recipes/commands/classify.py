"""``nyala classify``: what kind of sound each file is -> a table, a picture of it, CSV, or JSON."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from ...core.atomic import atomic_write
from ...core.errors import ArgumentError
from ...hub.results import PICTURES
from .shared import console, sounds

NAME = "classify"
HELP = "find out what kind of sound files are"
EXAMPLES = """  nyala classify yes.wav no.wav
  nyala classify *.wav --model MIT/ast-finetuned-audioset-10-10-0.4593 --top 3
  nyala classify *.wav --model runs/voices-ast-1 --output voices.csv
  nyala classify call.wav --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sounds.add_sounds(parser, "ast-speech-commands", "a classifier of sounds")
    parser.add_argument("--output", metavar="FILE", help="write FILE.csv, or the table as FILE.png")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to show of each (5)")


def execute(args: argparse.Namespace) -> int:
    from ...audio.pipelines.classification import SoundClasses
    from ...hub.load import load

    if args.top < 1:
        raise ArgumentError(f"--top {args.top}", fix="use at least 1")
    sounds.look(args)
    target = sounds.target(args.output, (".csv", *PICTURES))
    pipeline: Any = sounds.checked(load(args.model, device=args.device), "audio-classification", args.model)
    pipeline = replace(pipeline, top_k=args.top)
    found, failed = sounds.each(args, lambda sound, progress: pipeline(sound))  # noqa: ARG005 - heard at once
    heard = [(name, result) for name, result in zip(args.inputs, found, strict=True) if result is not None]
    results = SoundClasses([result for _, result in heard], [name for name, _ in heard])
    if target is not None:
        if target.suffix.lower() == ".csv":
            rows = [(name, *pair) for name, p in heard for pair in zip(p.labels, p.scores, strict=True)]
            atomic_write(target, sounds.csv(("sound", "label", "score"), rows))
        else:
            results.save(target)
        console.say(f"wrote {target}")
    if args.json:
        console.emit({"model": pipeline.name, "results": results.to_dict()})
    else:
        print(results)
    return failed
