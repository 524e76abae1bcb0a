"""``nyala pitch``: how high a voice or an instrument sounds -> notes, a picture, a table of numbers, or JSON."""

from __future__ import annotations

import argparse
from typing import Any

from ...core.atomic import atomic_write
from ...hub.results import PICTURES
from .shared import console, sounds

NAME = "pitch"
HELP = "find out how high a voice or an instrument sounds"
EXAMPLES = """  nyala pitch song.wav
  nyala pitch song.wav --output song.png               the pitch over the spectrum
  nyala pitch song.wav --output song.csv               seconds, Hz and confidence, a hundred times a second
  nyala pitch flute.flac --model crepe-full --threshold 0.7
  nyala pitch *.wav --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sounds.add_sounds(parser, "crepe-tiny", "a model for pitch")
    parser.add_argument("--output", metavar="FILE|FOLDER", help="write FILE.png or FILE.csv; or FILE.png for each, into a folder")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="P", help="no pitch below this confidence (0.5)")
    parser.add_argument("--no-smooth", action="store_true", help="each frame's own best, leaps and all")


def execute(args: argparse.Namespace) -> int:
    from ...hub.load import load

    sounds.look(args)
    targets = sounds.targets(args.output, args.inputs, (".png", ".csv", *PICTURES[1:]))
    pipeline: Any = sounds.checked(load(args.model, device=args.device), "pitch", args.model)
    options = {"threshold": args.threshold, "smooth": not args.no_smooth}
    found, failed = sounds.each(args, lambda sound, progress: pipeline(sound, progress=progress, **options))
    for result, target in zip(found, targets, strict=True):
        if result is None:
            continue
        if target is not None:
            if target.suffix == ".csv":
                atomic_write(target, result.csv().encode())
            else:
                result.save(target)
            console.say(f"wrote {target}")
        if not args.json:
            print(result)
    if args.json:
        console.emit({"model": pipeline.name, "results": [result.to_dict() for result in found if result is not None]})
    return failed
