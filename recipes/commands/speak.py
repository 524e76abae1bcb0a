"""``nyala speak``: a text -> a sound file of somebody who says it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ...core.errors import ArgumentError, DataError
from ...hub.results import PICTURES
from .shared import console, sounds

NAME = "speak"
HELP = "say a text: write it as a sound file"
EXAMPLES = """  nyala speak "Good morning." -o morning.wav
  nyala speak "Guten Morgen." -o morgen.flac --model facebook/mms-tts-deu
  nyala speak "Good morning." -o slow.wav --rate 0.8 --seed 3
  nyala speak "Good morning." -o morning.png           waveform and spectrum
  nyala speak - -o chapter.ogg < chapter.txt"""
_MODEL = "facebook/mms-tts-eng"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", metavar="TEXT", help="what is to be said; - for standard input")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="WAV, FLAC, OGG, MP3, ... or a picture, by its ending"
    )
    parser.add_argument("--model", default=_MODEL, metavar="NAME", help=f"a model that speaks ({_MODEL})")
    parser.add_argument("--rate", type=float, default=1.0, metavar="X", help="how fast: 2 takes half the time (1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another number speaks a little otherwise (0)")
    parser.add_argument("--speaker", type=int, metavar="N", help="whose voice, where the model has several (0)")
    parser.add_argument("--pause", type=float, default=0.25, metavar="SECONDS", help="between sentences (0.25)")
    parser.add_argument("--phonemes", action="store_true", help="the text is written in sounds (IPA), for models that read these")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")


def execute(args: argparse.Namespace) -> int:
    from ...hub.load import load

    _check_target(args.output)
    text = _text(args.text)
    pipeline: Any = sounds.checked(load(args.model, device=args.device), "text-to-speech", args.model)
    told = {"rate": args.rate, "seed": args.seed, "speaker": args.speaker, "pause": args.pause, "phonemes": args.phonemes}
    spoken = pipeline(text, **told)
    spoken.save(args.output)
    console.say(f"wrote {args.output}")
    if args.json:
        console.emit({"model": pipeline.name, "output": args.output, **spoken.to_dict()})
    else:
        print(spoken)
    return 0


def _check_target(output: str) -> None:
    """Whether it can be written, before the work."""
    from ...audio.io import FORMATS

    if Path(output).suffix.lower() not in (*FORMATS, *PICTURES):
        raise ArgumentError(f"-o {output}: nothing is written so", fix=f"use {', '.join(FORMATS)} or {', '.join(PICTURES)}")
    sounds.file_target(output)


def _text(given: str) -> str:
    if given != "-":
        if not given.strip():
            raise ArgumentError("no text to say", fix='pass one: nyala speak "Good morning." -o morning.wav')
        return given
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8: {error.reason}", fix="pass text in UTF-8") from error
