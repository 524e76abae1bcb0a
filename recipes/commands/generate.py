"""``nyala generate``: how texts go on, written as it is made."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from typing import Any

from ...core.errors import ArgumentError, DataError
from .shared import console, decoding

NAME = "generate"
HELP = "let a language model continue texts"
EXAMPLES = """  nyala generate smollm2 "The capital of France is"
  nyala generate smollm2 "Once upon a time" --temperature 0.8 --top-p 0.9 --seed 3 --max-new-tokens 200
  nyala generate smollm2 "Three colours:" --count 3 --temperature 1
  nyala generate smollm2 "The sea is" --num-beams 4
  nyala generate smollm2 "Is the sky green? Answer: " --regex "yes|no"
  nyala generate smollm2 "A person: " --json-schema person.json
  nyala generate smollm2 "Dear reader," --quantize int8   sooner, in less memory
  nyala generate smollm2 --file prompts.txt --json     a text a line
  cat story.txt | nyala generate smollm2 -"""
_LENGTH = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a model for text generation: a catalogue name, a hub id, a folder, a run folder, a bundle")
    parser.add_argument("inputs", nargs="*", metavar="TEXT", help="texts to go on from; - for standard input")
    parser.add_argument("--file", metavar="FILE", help="texts to go on from, one a line")
    parser.add_argument("--count", type=int, metavar="N", help="texts for each input, drawn or the best of --num-beams")
    parser.add_argument("--num-beams", type=int, metavar="N", help="follow N hypotheses at once, and take the best")
    parser.add_argument("--length-penalty", type=float, metavar="X", help="with --num-beams: above 0 favours longer texts (1)")
    parser.add_argument("--logprobs", type=int, metavar="N", help="tell each token's probability, and N alternatives")
    parser.add_argument("--cut", action="store_true", help="leave out the beginning of texts that are too long")
    decoding.add_options(parser, _LENGTH)


def execute(args: argparse.Namespace) -> int:
    texts = _texts(args)
    settings = {**decoding.settings(args), **_search(args)}
    pipeline = decoding.loaded(args)
    if hasattr(pipeline, "chat_stream"):  # what rewrites texts was published with lengths of its own
        settings.setdefault("max_new_tokens", _LENGTH)
    elif strange := [name for name in ("regex", "json_schema", "draft", "too_long") if name in settings]:
        raise ArgumentError(
            f"--{strange[0].replace('_', '-').replace('too-long', 'cut')} with {args.name}",
            why="it rewrites texts, and this is for models that continue them",
            fix="leave it out, or choose a model such as smollm2",
        )
    several = len(texts) > 1 or any(name in settings for name in ("num_return_sequences", "num_beams", "logprobs"))
    clock = decoding.Clock()
    if several or args.json:
        found = pipeline(texts, **settings)
        tokens = sum(len(detail.tokens) for detail in found.details)
        if args.json:
            console.emit({"model": pipeline.name, "results": found.to_dict()})
        else:
            _print_all(found, len(texts))
    else:
        tokens = decoding.count(pipeline, _print_as_made(pipeline.stream(texts[0], **settings)))
    if not args.quiet:
        console.say(clock.said(tokens))
    return 0


def _search(args: argparse.Namespace) -> dict[str, Any]:
    given = {
        "num_return_sequences": args.count,
        "num_beams": args.num_beams,
        "length_penalty": args.length_penalty,
        "logprobs": args.logprobs,
        "too_long": "cut" if args.cut else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _texts(args: argparse.Namespace) -> list[str]:
    """The texts to go on from.

    Raises:
        ArgumentError: none.
        DataError: a file that is not UTF-8.
        MissingFileError: no such file.
    """
    texts = [_from_stdin() if text == "-" else text for text in args.inputs]
    if args.file:
        texts += [line for line in decoding.text_of(args.file).splitlines() if line.strip()]
    if not texts:
        raise ArgumentError(
            "no text to go on from", fix='write one behind the model\'s name: nyala generate smollm2 "The sea is"'
        )
    return texts


def _from_stdin() -> str:
    try:
        return sys.stdin.read().rstrip("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8 at byte {error.start}", fix="convert it") from error


def _print_as_made(pieces: Iterable[str]) -> str:
    made = []
    for piece in pieces:
        made.append(piece)
        print(piece, end="", flush=True)
    print(flush=True)
    return "".join(made)


def _print_all(found: Any, inputs: int) -> None:
    """Each text below what it goes on from; with the probabilities of its tokens, where they were asked for."""
    each = len(found.details) // inputs
    for i, (prompt, detail) in enumerate(zip(found.prompts, found.details, strict=True)):
        if inputs > 1 and i % each == 0:
            print(f"{chr(10) * (i > 0)}> {prompt}")
        mark = f"[{i % each + 1}] " if each > 1 else ""
        score = "" if detail.score is None else f"   (score {detail.score:.4f})"
        print(f"{mark}{detail.text.strip(chr(10)) if inputs > 1 or each > 1 else detail.text}{score}")
        for token in detail.told:
            others = "  ".join(f"{text!r} {_share(p)}" for text, p in token.alternatives)
            print(f"  {token.text!r:<16} {_share(token.logprob)}   {others}".rstrip())


def _share(logprob: float) -> str:
    return f"{100 * math.exp(logprob):5.1f} %"
