"""Options of the commands that write text, and what they mean to a pipeline."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....core.errors import ArgumentError, DataError, MissingFileError

# Option -> (type, metavar, help); the setting has the option's name.
_NUMBERS: dict[str, tuple[type, str, str]] = {
    "temperature": (float, "T", "draw tokens; higher is bolder; 0 takes the likeliest each time (0)"),
    "top_k": (int, "K", "draw from the K likeliest tokens alone"),
    "top_p": (float, "P", "draw from the likeliest that together have this probability"),
    "min_p": (float, "P", "draw from those at least P times as likely as the likeliest"),
    "repetition_penalty": (float, "X", "make tokens of the text so far less likely; 1.1 is a little"),
    "frequency_penalty": (float, "X", "take X off a token for each time it was written"),
    "presence_penalty": (float, "X", "take X off a token that was written"),
    "no_repeat_ngram_size": (int, "N", "no sequence of N tokens twice"),
    "seed": (int, "N", "of the draws: the same seed gives the same text (0)"),
}


def add_options(parser: argparse.ArgumentParser, tokens: int) -> None:
    """The options on how text is written; ``tokens`` is what is told of its length."""
    parser.add_argument("--max-new-tokens", type=int, metavar="N", help=f"tokens at most ({tokens}, or as published)")
    for name, (kind, metavar, said) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=said)
    parser.add_argument("--stop", action="append", metavar="TEXT", help="end before this text; \\n is a new line; repeatable")
    parser.add_argument("--regex", metavar="PATTERN", help="what is written matches this regular expression")
    parser.add_argument(
        "--json-schema", metavar="FILE", help="what is written is JSON, valid by this schema; a file, or its text"
    )
    parser.add_argument("--draft", metavar="NAME", help="a smaller model that guesses ahead, or 'lookup': the same text, sooner")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="of the weights (float32)")
    parser.add_argument(
        "--quantize", choices=("int8", "int4", "bfloat16"),
        help="round the weights of linear layers: text comes sooner; int8 costs little, int4 costs small models much",
    )  # fmt: skip
    parser.add_argument("--compile", action="store_true", help="on a GPU, run each token's step as one CUDA graph: the same text")
    parser.add_argument("--quiet", action="store_true", help="no progress, and nothing about how long it took")


def loaded(args: argparse.Namespace) -> Any:
    """The pipeline, which must be one that writes text.

    Raises:
        ArgumentError: it is not.
    """
    pipeline = _load(args.name, args)
    if not hasattr(pipeline, "stream") or not hasattr(pipeline, "ends"):
        raise ArgumentError(
            f"{args.name} does not write text", fix="nyala list --task text-generation shows what does, such as smollm2"
        )
    return _compiled(_rounded(pipeline, args), args)


def _load(name: str, args: argparse.Namespace) -> Any:
    from ....hub.load import load

    return load(name, device=args.device, dtype=args.dtype)


def _rounded(pipeline: Any, args: argparse.Namespace) -> Any:
    if args.quantize is not None:
        from ....core.nn import quantize

        quantize(pipeline.model, args.quantize)
    return pipeline


def _compiled(pipeline: Any, args: argparse.Namespace) -> Any:
    if not args.compile:
        return pipeline
    from ....core.compile import compile

    return replace(pipeline, model=compile(pipeline.model))


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What was said on the command line, in the pipeline's settings; what was not said is left to it."""
    found: dict[str, Any] = {} if args.max_new_tokens is None else {"max_new_tokens": args.max_new_tokens}
    found |= {name: value for name in _NUMBERS if (value := getattr(args, name)) is not None}
    if args.stop:
        found["stop"] = tuple(text.replace("\\n", "\n").replace("\\t", "\t") for text in args.stop)
    if args.regex is not None:
        found["regex"] = args.regex
    if args.json_schema is not None:
        found["json_schema"] = _schema(args.json_schema)
    if args.draft is not None:
        found["draft"] = _draft(args)
    return found


def _schema(given: str) -> str:
    """The text of a schema, from a file or as it stands."""
    if given.lstrip().startswith(("{", "true")):
        return given
    return text_of(given, "name a file with a JSON schema, or write the schema: '{...}'")


def text_of(name: str, fix: str = "check the path") -> str:
    """What a file of text holds.

    Raises:
        DataError: it is not UTF-8.
        MissingFileError: it is not there; ``fix`` says what to do.
    """
    path = Path(name)
    if not path.is_file():
        raise MissingFileError(f"there is no file {name}", fix=fix)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8 at byte {error.start}", fix="save it as UTF-8") from error


def _draft(args: argparse.Namespace) -> Any:
    return args.draft if args.draft == "lookup" else _rounded(_load(args.draft, args), args)


class Clock:
    """How quickly a text came."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def said(self, tokens: int) -> str:
        """``42 tokens in 2.1 s, 20.0 a second``."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        return f"({tokens} token{'s' * (tokens != 1)} in {seconds:.1f} s, {tokens / seconds:.1f} a second)"


def count(pipeline: Any, text: str) -> int:
    """The tokens of a text that was written."""
    return len(pipeline.preprocess.backend.encode(text, add_special_tokens=False).ids)
