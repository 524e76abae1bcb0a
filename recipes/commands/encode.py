"""``nyala encode``: sounds -> small files of codes, by a neural codec."""

from __future__ import annotations

import argparse
from typing import Any

from ...hub.results import PICTURES
from .shared import console, sounds

NAME = "encode"
HELP = "turn sounds into small files of codes; nyala decode makes sounds of them"
MODEL = "facebook/encodec_24khz"
EXAMPLES = """  nyala encode talk.wav -o talk.safetensors
  nyala encode talk.wav -o talk.safetensors --bandwidth 6
  nyala encode song.flac -o song.safetensors --model facebook/encodec_48khz
  nyala encode talk.wav -o talk.png                    a picture of the codes
  nyala encode *.wav -o codes --model descript/dac_44khz --quantizers 4"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sounds.add_sounds(parser, MODEL, "a codec")
    written = "write FILE.safetensors; or one for each, into a folder"
    parser.add_argument("-o", "--output", required=True, metavar="FILE|FOLDER", help=written)
    parser.add_argument(
        "--bandwidth", type=float, metavar="KBPS", help="thousands of bits a second (EnCodec's lowest, all of DAC's)"
    )
    parser.add_argument("--quantizers", type=int, metavar="N", help="the number of codebooks instead")


def execute(args: argparse.Namespace) -> int:
    from ...hub.load import load

    sounds.look(args)
    targets = sounds.targets(args.output, args.inputs, (".safetensors", *PICTURES))
    pipeline: Any = sounds.checked(load(args.model, device=args.device), "audio-codec", args.model)
    options = {"bandwidth": args.bandwidth, "quantizers": args.quantizers}
    found, failed = sounds.each(args, lambda sound, progress: pipeline(sound, progress=progress, **options))
    for result, target in zip(found, targets, strict=True):
        if result is None:
            continue
        result.save(target)
        console.say(f"wrote {target}")
        if not args.json:
            print(result)
    if args.json:
        console.emit({"model": pipeline.name, "results": [result.to_dict() for result in found if result is not None]})
    return failed
