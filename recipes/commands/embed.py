"""``nyala embed``: a file of texts, or sounds -> a file of vectors, or the texts nearest to a query."""

from __future__ import annotations

import argparse
import heapq
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...core.atomic import atomic_write
from ...core.errors import ArgumentError, DataError
from .shared import console, sound_vectors

NAME = "embed"
HELP = "turn texts or sounds into vectors, or find the texts nearest to a query"
EXAMPLES = """  nyala embed lines.txt --output vectors.npy          a line a text, a row a vector
  nyala embed mails.csv --column body --output mails.npy
  nyala embed lines.txt --query "how do I get my money back" --top 5
  nyala embed --text "a cat" --text "a kitten"        a few texts, and how near they are to each other
  cat lines.txt | nyala embed - --output vectors.npy
  nyala embed lines.txt --model nomic-ai/modernbert-embed-base --prompt-name search_document --output vectors.npy
  nyala embed lines.txt --model BAAI/bge-small-en-v1.5 --output vectors.npy --dtype float16
  nyala embed ann.wav bob.wav call.wav                who speaks: which voices are near each other
  nyala embed *.wav --text "a dog" --text "rain"      sounds beside texts, by CLAP: which text is near which sound"""
_MODEL = "all-MiniLM-L6-v2"
_CHUNK = 2048  # texts that are in memory at once
_SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="FILE",
        help=".txt (a line a text), .csv, .tsv, .jsonl or .parquet; - for lines of standard input; or sound files",
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="TEXT", help="a text, also beside sounds; may be given several times"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"an embedding model ({_MODEL}; of sounds {sound_vectors.MODEL}, which tells voices apart; with --text a CLAP)",
    )
    parser.add_argument("--output", metavar="FILE.npy", help="write the vectors, (texts, width), in the order of the texts")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32", help="of the vectors that are written")
    parser.add_argument("--column", metavar="NAME", help="of a .csv, .jsonl or .parquet file: which one is the text")
    parser.add_argument("--query", metavar="TEXT", help="show the texts that are nearest to this one, by cosine")
    parser.add_argument("--prompt-name", metavar="NAME", help="of the published prompt before each text: query, document, ...")
    parser.add_argument("--prompt", metavar="TEXT", help="what stands before each text, in its place")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="how many of them (10)")
    parser.add_argument(
        "--too-long",
        choices=("notice", "cut", "raise"),
        default="notice",
        help="texts longer than the model reads: their end is cut off, with a notice or without; or that is an error",
    )
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts that go through the model at once (32)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from ...hub.load import load
    from ...hub.zero_shot import ComparedWithTexts

    _check(args)
    if sound_vectors.are_sounds(args.inputs):
        return sound_vectors.embed(args)
    texts = _texts(args)
    if not args.output and args.query is None and len(texts) > _SHOWN:
        raise ArgumentError(f"{len(texts):,} texts are too many to show", fix="name a file for the vectors: --output vectors.npy")
    pipeline: Any = load(args.model or _MODEL, task="sentence-embedding", device=args.device)
    pipeline = replace(pipeline, batch_size=args.batch_size)
    if isinstance(pipeline, ComparedWithTexts):
        from .shared.text_tower import TextTower

        pipeline = TextTower(pipeline)
    if args.query is not None:
        return _nearest(args, pipeline, texts)
    if args.output:
        return _write(args, pipeline, texts)
    found = pipeline(list(texts), prompt_name=args.prompt_name, prompt=args.prompt, too_long=args.too_long)
    if args.json:
        console.emit({"model": pipeline.name, "results": found.to_dict()})
    else:
        print(found)
    return 0


def _check(args: argparse.Namespace) -> None:
    if bool(args.inputs) == bool(args.text) and not (args.text and sound_vectors.are_sounds(args.inputs)):
        what = "both files and --text are given" if args.text else "no text to work on"
        raise ArgumentError(what, fix='name a file with a text a line, or pass --text "..."')
    for name in ("top", "batch_size"):
        if getattr(args, name) < 1:
            raise ArgumentError(f"--{name.replace('_', '-')} {getattr(args, name)}", fix="use at least 1")
    if args.output and args.query is not None:
        raise ArgumentError("--output and --query are both given", fix="write the vectors first, then ask")
    if args.output and not args.output.endswith(".npy"):
        raise ArgumentError(f"--output {args.output} is no .npy file", fix="end the name in .npy; numpy.load reads it")
    if args.output and not Path(args.output).absolute().parent.is_dir():
        raise ArgumentError(f"--output {args.output}: there is no such folder", fix="make it first, or correct the path")


class _Chain(Sequence[str]):
    """Several sequences of texts, one after the other."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: Any) -> Any:
        part = int(np.searchsorted(self.ends, index, side="right"))
        return self.parts[part][index - (int(self.ends[part - 1]) if part else 0)]

    def __iter__(self) -> Iterator[str]:
        return (text for part in self.parts for text in part)


def _texts(args: argparse.Namespace) -> Sequence[str]:
    if args.text:
        return list(args.text)
    texts = _Chain([_of_file(name, args.column) for name in args.inputs])
    if not len(texts):
        raise DataError(f"{', '.join(args.inputs)}: no text in it", fix="write a text a line")
    return texts


def _of_file(name: str, column: str | None) -> Sequence[str]:
    from ...text.datasets import Corpus
    from ..data.readers.tables import ending, read_table

    if name == "-":
        raw = sys.stdin.buffer.read()
        try:
            return raw.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise DataError(f"line {line} of standard input is not UTF-8: {error.reason}", fix="pass text in UTF-8") from error
    path = Path(name)
    if not path.is_file() or not ending(path):
        if column is not None and path.is_file():
            raise ArgumentError(f"--column {column}: {path} has no columns", fix="leave it out, or give a .csv or .jsonl file")
        return Corpus(path, empty=True)  # empty lines too: the vector of line 7 is in row 7
    table = read_table(path)
    chosen = column or next((c for c in ("text", "sentence", "content", "body") if c in table.columns), None)
    if chosen not in table.columns:
        fix = f"name one by --column: {', '.join(table.columns)}"
        raise DataError(f"{path} has no column {chosen or 'text'}", why="the texts must stand in one", fix=fix)
    return ["" if value is None else str(value) for value in table.column(str(chosen))]


def _vectors(args: argparse.Namespace, pipeline: Any, texts: Sequence[str]) -> Iterator[np.ndarray[Any, Any]]:
    """The vectors, chunk by chunk, with progress."""
    from .. import progress

    done = 0
    with progress.choose(quiet=args.quiet) as show:
        show.count(0, len(texts), "embedding texts")
        before = {"prompt_name": args.prompt_name, "prompt": args.prompt}
        for part in pipeline.stream(texts, chunk=_CHUNK, too_long=args.too_long, **before):
            done += len(part)
            show.count(done, len(texts), "embedding texts")
            yield part


def _write(args: argparse.Namespace, pipeline: Any, texts: Sequence[str]) -> int:
    """The vectors into a file that appears whole or not at all."""
    head = {"descr": np.dtype(args.dtype).str, "fortran_order": False, "shape": (len(texts), pipeline.width)}

    def write(file: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(file, head)
        for part in _vectors(args, pipeline, texts):
            file.write(np.ascontiguousarray(part, args.dtype).tobytes())

    atomic_write(args.output, write)
    console.say(f"wrote {args.output}: {len(texts):,} vectors of {pipeline.width} numbers, {args.dtype}")
    if args.json:
        console.emit({"model": pipeline.name, "texts": len(texts), "width": pipeline.width, "output": args.output})
    return 0


def _nearest(args: argparse.Namespace, pipeline: Any, texts: Sequence[str]) -> int:
    """The texts nearest to the query; only the best are kept while the rest go by.

    A model that has prompts for questions and for what answers them gets these, unless the user says otherwise.
    """
    from ...hub.results import shortened, table
    from ...text.pipelines.prompts import DOCUMENT, QUERY

    question = None
    if args.prompt_name is None and args.prompt is None:
        question, args.prompt_name = pipeline.prompts.named(QUERY), pipeline.prompts.named(DOCUMENT)
    asked = _unit(pipeline(args.query, prompt_name=question, too_long=args.too_long)[None])[0]
    best: list[tuple[float, int]] = []
    at = 0
    for part in _vectors(args, pipeline, texts):
        cosines = _unit(part) @ asked
        near = np.argsort(-cosines, kind="stable")[: args.top]
        best = heapq.nsmallest(args.top, [*best, *((-float(cosines[i]), at + int(i)) for i in near)])
        at += len(part)
    found = [{"number": i + 1, "cosine": -score, "text": texts[i]} for score, i in best]
    if args.json:
        console.emit({"model": pipeline.name, "query": args.query, "results": found})
    else:
        print(table(["line", "cosine", "text"], [[f["number"], f["cosine"], shortened(str(f["text"]), 90)] for f in found]))
    return 0


def _unit(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
