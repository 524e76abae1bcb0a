"""``nyala transcribe``: speech in sound files -> text, subtitles or JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import ArgumentError, NyalaError
from .shared import console, sounds

NAME = "transcribe"
HELP = "write down what is said in sound files"
EXAMPLES = """  nyala transcribe meeting.mp3
  nyala transcribe *.wav --format srt --output subtitles
  nyala transcribe talk.flac --timestamps
  nyala transcribe talk.flac --format vtt > talk.vtt
  nyala transcribe rede.ogg --model openai/whisper-small --language de
  nyala transcribe call.wav --model facebook/wav2vec2-base-960h --language-model words.arpa
  nyala transcribe answers.wav --model facebook/wav2vec2-base-960h --words yes-no.txt
  nyala transcribe film.mp3 --word-times --format vtt > words.vtt
  nyala transcribe talk.wav --word-times --format png --output pictures   waveform, spectrum, and words where they are said
  nyala transcribe day-long.mp3 --batch-size 4 --format srt --output subtitles
  cat call.wav | nyala transcribe -
  arecord -q -t raw -f S16_LE -r 16000 -c 1 | nyala transcribe --live -"""
FORMATS = ("txt", "srt", "vtt", "json", "png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="sound files: WAV, FLAC, OGG, MP3, AIFF, ...; - for standard input"
    )
    parser.add_argument("--model", default="whisper-tiny.en", metavar="NAME", help="a speech recognition model (whisper-tiny.en)")
    parser.add_argument("--format", choices=FORMATS, help="lines of text, subtitles, everything, or a picture (txt)")
    parser.add_argument("--output", metavar="FOLDER", help="write FILE.FORMAT into this folder, made if needed")
    parser.add_argument("--timestamps", action="store_true", help="say when each stretch begins and ends")
    parser.add_argument("--word-times", action="store_true", help="say when each word begins and ends")
    parser.add_argument("--language", metavar="CODE", help="what is spoken, e.g. de; found out where it is not given")
    parser.add_argument("--translate", action="store_true", help="write it down in English")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="words that help, such as names that occur")
    parser.add_argument("--beam", type=int, metavar="N", help="follow the N likeliest texts (5 is usual for Whisper)")
    written = parser.add_argument_group("models that write (Whisper)")
    written.add_argument("--batch-size", type=int, default=1, metavar="N", help="windows of 30 s at once: quicker on long sounds")
    written.add_argument("--live", action="store_true", help="listen to raw samples on standard input, and write as they come")
    written.add_argument("--rate", type=int, default=16_000, metavar="HZ", help="of --live, 16 bits, one channel (16000)")
    spelled = parser.add_argument_group("models that spell (CTC)")
    spelled.add_argument("--language-model", metavar="FILE", help="n-grams of words: an ARPA file, or one packed as .gz")
    spelled.add_argument("--words", metavar="FILE", help="the only words that may be said, in a text file")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...hub.load import load

    sounds.look(args)
    targets = _targets(args)
    pipeline: Any = load(args.model, device=args.device)
    options = _options(args, pipeline)
    if args.live:
        return _live(args, pipeline, options)
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
    if not args.output and args.format == "png":
        raise ArgumentError("--format png writes pictures", fix="name a folder for them with --output")
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
    sounds.folder_target(folder)
    return list(targets)


def _options(args: argparse.Namespace, pipeline: Any) -> dict[str, Any]:
    from ...audio.pipelines.recognition import SpeechRecognition
    from ...audio.pipelines.spelling import CTCRecognition

    if not isinstance(pipeline, SpeechRecognition | CTCRecognition):
        raise ArgumentError(
            f"{args.model} does no speech recognition", fix="nyala list --task speech-recognition shows what does"
        )
    timed = args.timestamps or args.format in ("srt", "vtt") or None
    task = "translate" if args.translate else "transcribe"
    options = {"timestamps": timed, "language": args.language, "task": task, "prompt": args.prompt}
    if not hasattr(pipeline, "letters"):
        options |= {"words": args.word_times, "batch_size": args.batch_size, "beams": args.beam or 1}
    elif args.live or args.batch_size > 1:
        raise ArgumentError(f"{'--live' if args.live else '--batch-size'} for {args.model}", fix="use a Whisper for this")
    return options | ({"beam": beam} if (beam := _beam(args, pipeline)) else {})


def _live(args: argparse.Namespace, pipeline: Any, options: dict[str, Any]) -> int:
    """Writes down what comes in, a line for each segment once it is settled."""
    from ...audio.transcript import Transcript

    if args.inputs != ["-"] or args.output or args.json or args.format not in (None, "txt"):
        raise ArgumentError(
            "--live writes lines of what comes on standard input", fix="give - as the only input, and no --format"
        )
    for segment in pipeline.stream(_blocks(sys.stdin.buffer), args.rate, **{**options, "batch_size": 1}):
        for line in _lines(Transcript((segment,), "", 0.0), args):
            print(line, flush=True)
    return 0


def _blocks(stream: Any) -> Iterator[Any]:
    """Samples from 16-bit ones, as they come."""
    import numpy as np

    held = b""
    while block := stream.read1(1 << 15):
        held += block
        whole = len(held) // 2 * 2
        yield np.frombuffer(held[:whole], "<i2").astype(np.float32) / 32_768
        held = held[whole:]


def _beam(args: argparse.Namespace, pipeline: Any) -> Any:
    """How a model that spells searches, where that is asked for."""
    from ...audio.ctc.beam import Beam
    from ...audio.ctc.ngram import NGram, Vocabulary

    spells = hasattr(pipeline, "letters")
    asked = [
        name for name in ("beam", "language_model", "words") if getattr(args, name) is not None and (spells or name != "beam")
    ]
    if not asked:
        return None
    if not spells:
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
    if args.word_times and args.format in ("srt", "vtt"):
        said = said.by_words()
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
        if not said.segments:
            console.say(f"{said.name}: nobody speaks")
        for line in _lines(said, args):
            print(line)
    sys.stdout.flush()


def _lines(said: Any, args: argparse.Namespace) -> Iterator[str]:
    """A line for each segment, or word."""
    from ...audio.transcript import clock

    for one in (said.by_words() if args.word_times else said).segments:
        timed = args.timestamps or args.word_times
        yield f"[{clock(one.start)} - {clock(one.end)}] {one.text}" if timed else one.text
