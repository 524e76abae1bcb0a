"""What the commands on sounds share: their inputs, standard input, a bar, and one file or a folder for what comes out."""

from __future__ import annotations

import argparse
import csv as tables
import errno
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....core.atomic import storage_errors
from ....core.errors import ArgumentError, NyalaError
from ....hub.results import picture_path
from . import console

CLAP = "laion/clap-htsat-unfused"  # what compares sounds with texts, unless another is named
BY_WORDS = "zero-shot-audio-classification"


def add_sounds(parser: argparse.ArgumentParser, model: str | None, kind: str) -> None:
    """The arguments that all of them have; without a default ``model``, ``kind`` says which are used."""
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help="sound files: WAV, FLAC, OGG, MP3, AIFF, ...; - for standard input"
    )
    parser.add_argument("--model", default=model, metavar="NAME", help=f"{kind} ({model})" if model else kind)
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def look(args: argparse.Namespace, read: Callable[[str], Any] | None = None) -> None:
    """Whether there is anything to work on: asked before a model is fetched, which may take minutes.

    Args:
        args: their ``inputs`` are paths; - is standard input, which is not touched.
        read: looks at a file, and raises what is wrong; by default whether it begins as a sound file does.

    Raises:
        NyalaError: no input can be read. Where only some cannot, :func:`each` tells of them in their turn.
    """
    from ....audio.io import info

    errors: list[NyalaError] = []
    for name in args.inputs:
        try:
            if name == "-":
                return
            (read or info)(name)
        except NyalaError as error:
            errors.append(error)
        else:
            return
    for told in errors[:-1]:
        console.complain(f"nyala {args.command}: {told}")
    raise errors[-1]


def file_target(output: str | Path) -> Path:
    """The path of a file that is to be written: whether that can be, before the work.

    Raises:
        ArgumentError: no such folder, or a folder of this very name.
        StorageError: its folder takes no new files.
    """
    place = Path(output)
    if place.is_dir():
        raise ArgumentError(f"--output {output} is a folder", fix="name a file in it")
    picture_path(place.with_suffix(".png"))  # whether its folder is there
    _check_writable(place.parent)
    return place


def folder_target(folder: Path) -> None:
    """Makes a folder that files are to be written into.

    Raises:
        StorageError: it cannot be made, or takes no new files.
    """
    with storage_errors(folder, "create"):
        folder.mkdir(parents=True, exist_ok=True)
    _check_writable(folder)


def _check_writable(folder: Path) -> None:
    with storage_errors(folder, "write to"):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no new files", str(folder))


def targets(output: str | None, inputs: Sequence[str], endings: Sequence[str]) -> list[Path | None]:
    """Where the result of each sound is written: into one file by its ending, or beside others into a folder.

    Args:
        output: what ``--output`` says.
        inputs: the sounds.
        endings: of the files that can be written; the first is for folders.

    Raises:
        ArgumentError: an ending that is none of these, one file for several sounds, or two sounds of one name.
        StorageError: a folder that cannot be made, or takes no new files.
    """
    if output is None:
        return [None] * len(inputs)
    place = Path(output)
    if place.suffix.lower() in endings:
        if len(inputs) > 1:
            raise ArgumentError(f"--output {output} for {len(inputs)} sounds", fix="name a folder")
        return [file_target(place)]
    if place.suffix and not place.is_dir():
        raise ArgumentError(
            f"--output {output}: nothing is written as {place.suffix}", fix=f"use {', '.join(endings)} or a folder"
        )
    if place.exists() and not place.is_dir():
        raise ArgumentError(f"--output {output} is a file", fix="name a folder")
    found = [place / f"{'stdin' if name == '-' else Path(name).stem}{endings[0]}" for name in inputs]
    twice = next((t for t in found if found.count(t) > 1), None)
    if twice:
        raise ArgumentError(f"two inputs would be written to {twice}", fix="take them one after the other, into two folders")
    folder_target(place)
    return list(found)


def target(output: str | None, endings: Sequence[str]) -> Path | None:
    """The one file that results of all sounds are written to.

    Raises:
        ArgumentError: an ending that is none of ``endings``, or no such folder.
        StorageError: its folder takes no new files.
    """
    if output is None:
        return None
    place = Path(output)
    if place.suffix.lower() not in endings:
        raise ArgumentError(f"--output {output}: nothing is written as {place.suffix!r}", fix=f"use {', '.join(endings)}")
    return file_target(place)


def csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A table as CSV.

    Example:
        >>> csv(("sound", "score"), [("a, b.wav", 0.5)])
        b'sound,score\\n"a, b.wav",0.5\\n'
    """
    text = io.StringIO()
    writer = tables.writer(text, lineterminator="\n")
    writer.writerows([head, *rows])
    return text.getvalue().encode()


def each(args: argparse.Namespace, work: Callable[[Any, Callable[[float, float], None]], Any]) -> tuple[list[Any], int]:
    """``work(sound, progress)`` on each input: the results in their order (None where it failed), and the exit code.

    An input that fails is told of and left out, unless it is the only one.
    """
    found, failed = [], 0
    for source in args.inputs:
        try:
            with bar(source, args.quiet) as progress, opened(source) as sound:
                found.append(work(sound, progress))
        except NyalaError as error:
            if len(args.inputs) == 1:
                raise
            console.complain(f"nyala {args.command}: {error}")
            failed = max(failed, error.exit_code)
            found.append(None)
    return found, failed


def checked(pipeline: Any, task: str, model: str) -> Any:
    """The pipeline, if it is one for the task.

    Raises:
        ArgumentError: it is for another.
    """
    from ....hub.pipeline import pipeline_class

    if not isinstance(pipeline, pipeline_class(task)):
        raise ArgumentError(f"{model} is for something else", fix=f"nyala list --task {task} shows what does this")
    return pipeline


@contextmanager
def opened(source: str) -> Iterator[Any]:
    """The path; or standard input, copied into a file, because sound is read at any place of it."""
    if source != "-":
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="stdin-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        file.flush()
        yield file.name


@contextmanager
def bar(source: str, quiet: bool) -> Iterator[Callable[[float, float], None]]:
    """How much of a sound is heard: a bar on a terminal, a line every ten seconds in a log."""
    from ... import progress

    with progress.choose(quiet=quiet) as show:

        def told(done: float, total: float) -> None:
            show.count(round(done), max(1, round(total)), f"hearing {Path(source).name}, seconds")

        yield told
