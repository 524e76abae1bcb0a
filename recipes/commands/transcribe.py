"""``nyala transcribe``: speech in sound files -> text, subtitles or JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import ArgumentError, NyalaError
from . import console, sounds

NAME = "transcribe"
HELP = "write down what is said in sound files"
EXAMPLES = """  nyala transcribe meeting.mp3
  nyala transcribe *.wav --format srt --output subtitles
  nyala transcribe talk.flac --timestamps
  nyala transcribe talk.flac --format vtt > talk.vtt
  nyala transcribe rede.ogg --model openai/whisper-small --language de
  cat call.wav | nyala transcribe -"""
FORMATS = ("txt", "srt", "vtt", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="sound files: WAV, FLAC, OGG, MP3, AIFF, ...; - for standard input"
    )
    parser.add_argument("--model", default="whisper-tiny.en", metavar="NAME", help="a speech recognition model (whisper-tiny.en)")
    parser.add_argument("--format", choices=FORMATS, help="lines of text, subtitles, or everything (txt)")
    parser.add_argument("--output", metavar="FOLDER", help="write FILE.FORMAT into this folder, made if needed")
    parser.add_argument("--timestamps", action="store_true", help="say when each stretch begins and ends")
    parser.add_argument("--language", metavar="CODE", help="what is spoken, e.g. de; found out where it is not given")
    parser.add_argument("--translate", action="store_true", help="write it down in English")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="words that help, such as names that occur")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...hub.load import load

    targets = _targets(args)
    pipeline: Any = load(args.model, device=args.device)
    options = _options(args, pipeline)
    found, failed = [], 0
    for source, target in zip(args.inputs, targets, strict=True):
        try:
            with sounds.bar(source, args.quiet) as progress, sounds.opened(source) as sound:
                said = pipeline(sound, progress=progress, **options)
        except NyalaError as error:
            if len(args.inputs) == 1:
                raise
            console.complain(f"nyala transcribe: {error}")
            failed = max(failed, error.exit_code)
            continue
        found.append(said)
        _give(said, args, target)
    if args.json:
        console.emit({"model": pipeline.name, "results": [said.to_dict() for said in found]})
    return failed


def _targets(args: argparse.Namespace) -> list[Path | None]:
    """Where each transcript is written; no two to one file."""
    if not args.output:
        return [None] * len(args.inputs)
    folder, ending = Path(args.output), args.format or "txt"
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"--output {folder} is a file", fix="name a folder")
    targets = [folder / f"{'stdin' if name == '-' else Path(name).stem}.{ending}" for name in args.inputs]
    twice = next((t for t in targets if targets.count(t) > 1), None)
    if twice:
        raise ArgumentError(
            f"two inputs would be written to {twice}", fix="transcribe them one after the other, into two folders"
        )
    folder.mkdir(parents=True, exist_ok=True)
    return list(targets)


def _options(args: argparse.Namespace, pipeline: Any) -> dict[str, Any]:
    from ...audio.ctc_recognition import CTCRecognition
    from ...audio.recognition import SpeechRecognition

    if not isinstance(pipeline, SpeechRecognition | CTCRecognition):
        raise ArgumentError(
            f"{args.model} does no speech recognition", fix="nyala list --task speech-recognition shows what does"
        )
    timed = args.timestamps or args.format in ("srt", "vtt") or None
    task = "translate" if args.translate else "transcribe"
    return {"timestamps": timed, "language": args.language, "task": task, "prompt": args.prompt}


def _give(said: Any, args: argparse.Namespace, target: Path | None) -> None:
    """Writes a transcript to its file, or to standard output."""
    if target is not None:
        said.save(target)
        console.say(f"wrote {target}")
    elif args.json:
        return
    elif args.format and args.format != "txt":
        print(said.format(args.format), end="")
    else:
        if len(args.inputs) > 1:
            print(f"{said.name}:")
        for line in _lines(said, args.timestamps):
            print(line)
    sys.stdout.flush()


def _lines(said: Any, timed: bool) -> Iterator[str]:
    from ...audio.transcript import clock

    if not said.segments:
        console.say(f"{said.name}: nobody speaks")
    for segment in said.segments:
        yield f"[{clock(segment.start)} - {clock(segment.end)}] {segment.text}" if timed else segment.text
