"""``nyala decode``: files of codes -> sounds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .encode import MODEL
from .shared import console, sounds

NAME = "decode"
HELP = "make sounds of files of codes, which nyala encode wrote"
EXAMPLES = """  nyala decode talk.safetensors -o talk.wav
  nyala decode song.safetensors -o song.flac --model facebook/encodec_48khz
  nyala decode codes/*.safetensors -o sounds --model descript/dac_44khz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="FILE", help="files of codes; - for standard input")
    parser.add_argument("--model", default=MODEL, metavar="NAME", help=f"the codec they were made by ({MODEL})")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE|FOLDER",
        help="write FILE.wav, .flac, ...; or FILE.wav for each, into a folder",
    )


def execute(args: argparse.Namespace) -> int:
    from ...audio.io import FORMATS
    from ...audio.pipelines.codec import Codes
    from ...hub.load import load

    sounds.look(args, Codes.load)
    targets = sounds.targets(args.output, args.inputs, (".wav", *(e for e in FORMATS if e != ".wav")))
    pipeline: Any = sounds.checked(load(args.model, device=args.device), "audio-codec", args.model)
    places = iter(targets)
    found, failed = sounds.each(args, lambda source, progress: _write(pipeline, source, next(places), progress))
    if args.json:
        console.emit({"model": pipeline.name, "results": [result for result in found if result is not None]})
    return failed


def _write(pipeline: Any, source: Any, target: Path | None, progress: Any) -> dict[str, Any]:
    from ...audio import io
    from ...audio.pipelines.codec import Codes

    codes = Codes.load(source)
    facts = codes.facts
    io.write_blocks(str(target), pipeline.decode_pieces(codes, progress), facts.sampling_rate, facts.channels)
    console.say(f"wrote {target}: {codes.duration:.2f} s, {facts.channels} channel(s) at {facts.sampling_rate} Hz")
    return {"input": str(source), "output": str(target), "duration": codes.duration}
