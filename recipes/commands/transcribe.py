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
  nyala transcribe call.wav --model facebook/wav2vec2-base-960h --language-model words.arpa
  nyala transcribe answers.wav --model facebook/wav2vec2-base-960h --words yes-no.txt
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
    spelled = parser.add_argument_group("models that spell (CTC)")
    spelled.add_argument("--beam", type=int, metavar="N", help="follow the N likeliest texts (50 with one of the next two)")
    spelled.add_argument("--language-model", metavar="FILE", help="n-grams of words: an ARPA file, or one packed as .gz")
    spelled.add_argument("--words", metavar="FILE", help="the only words that may be said, in a text file")
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
    options = {"timestamps": timed, "language": args.language, "task": task, "prompt": args.prompt}
    return options | ({"beam": beam} if (beam := _beam(args, pipeline)) else {})


def _beam(args: argparse.Namespace, pipeline: Any) -> Any:
    """How a model that spells searches, where that is asked for."""
    from ...audio.ctc_beam import Beam
    from ...audio.ngram import NGram, Vocabulary

    asked = [name for name in ("beam", "language_model", "words") if getattr(args, name) is not None]
    if not asked:
        return None
    if not hasattr(pipeline, "letters"):
        raise ArgumentError(
            f"--{asked[0].replace('_', '-')} for {args.model}",
            why="it does not spell what it hears",
            fix="leave it out, or use a CTC model",
        )
    model = NGram.read(args.language_model) if args.language_model else None
    words = Vocabulary.lines(args.words) if args.words else None
    return Beam(width=50 if args.beam is None else args.beam, language_model=model, words=words)


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
