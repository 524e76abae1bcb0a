"""``nyala vad``: when somebody speaks in sound files -> a table, a picture, subtitles' times, or JSON."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ...core.atomic import atomic_write
from ...hub.results import PICTURES
from .shared import console, sounds

NAME = "vad"
HELP = "find out when somebody speaks in sound files"
EXAMPLES = """  nyala vad meeting.mp3
  nyala vad meeting.mp3 --output meeting.png           waveform, spectrum, probabilities and segments
  nyala vad meeting.mp3 --output meeting.csv           start, end and probability of each segment
  nyala vad *.wav --output pictures                    a picture for each
  nyala vad call.wav --threshold 0.7 --min-silence 0.5 --json
  cat call.wav | nyala vad -"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sounds.add_sounds(parser, "silero-vad", "a model for voice activity detection")
    parser.add_argument("--output", metavar="FILE|FOLDER", help="write FILE.png or FILE.csv; or FILE.png for each, into a folder")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="P", help="speech begins at this probability (0.5)")
    parser.add_argument("--min-speech", type=float, default=0.25, metavar="SECONDS", help="leave out what is shorter (0.25)")
    parser.add_argument("--min-silence", type=float, default=0.1, metavar="SECONDS", help="what ends a segment (0.1)")
    parser.add_argument("--pad", type=float, default=0.03, metavar="SECONDS", help="added on either side (0.03)")
    parser.add_argument("--max-speech", type=float, default=float("inf"), metavar="SECONDS", help="cut what is longer")


def execute(args: argparse.Namespace) -> int:
    from ...hub.load import load

    sounds.look(args)
    targets = sounds.targets(args.output, args.inputs, (".png", ".csv", *PICTURES[1:]))
    pipeline: Any = sounds.checked(load(args.model, device=args.device), "voice-activity-detection", args.model)
    names = ("threshold", "min_speech", "min_silence", "pad", "max_speech")
    rules = {name: getattr(args, name) for name in names}
    found, failed = sounds.each(args, lambda sound, progress: pipeline(sound, progress=progress, **rules))
    for result, target in zip(found, targets, strict=True):
        if result is None:
            continue
        if target is not None:
            _write(result, target)
        if not args.json:
            print(result)
    if args.json:
        console.emit({"model": pipeline.name, "results": [result.to_dict() for result in found if result is not None]})
    return failed


def _write(result: Any, target: Path) -> None:
    if target.suffix == ".csv":
        rows = "".join(f"{s.start:.3f},{s.end:.3f},{s.score:.4f}\n" for s in result.segments)
        atomic_write(target, f"start,end,probability\n{rows}".encode())
    else:
        result.save(target)
    console.say(f"wrote {target}")
