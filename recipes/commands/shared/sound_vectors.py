"""``nyala embed`` on sounds: a vector a file, and which are near each other, or near which texts."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.atomic import atomic_write
from ....core.errors import ArgumentError
from . import console, sounds

if TYPE_CHECKING:
    from ....audio.pipelines.embedding import SoundVectors

MODEL = "voice-ge2e"


def are_sounds(inputs: list[str]) -> bool:
    """Whether files are sounds, by their endings.

    Raises:
        ArgumentError: some are and some are not.

    Example:
        >>> are_sounds(["a.wav", "b.FLAC"]), are_sounds(["a.txt"]), are_sounds([])
        (True, False, False)
    """
    from ....audio.io import FORMATS

    told = [Path(name).suffix.lower() in FORMATS for name in inputs]
    if any(told) and not all(told):
        other = inputs[told.index(False)]
        raise ArgumentError(f"{other} is no sound, and others are", fix="embed sounds and texts one after the other")
    return any(told)


def embed(args: argparse.Namespace) -> int:
    """The vectors of sounds, and of texts where there are some: written, or shown by which is nearest to which.

    Raises:
        ArgumentError: options that are for texts alone, or a model of another kind.
    """
    from ....audio.pipelines.embedding import SoundVectors

    for option in ("query", "column", "prompt", "prompt_name"):
        if getattr(args, option) is not None:
            raise ArgumentError(f"--{option.replace('_', '-')} is for texts", fix="leave it out")
    sounds.look(args)
    if args.output:
        sounds.file_target(args.output)
    pipeline, vector_of = _embedder(args)
    found, failed = sounds.each(args, lambda sound, progress: vector_of(sound))  # noqa: ARG005 - heard at once
    heard = [(name, vector) for name, vector in zip(args.inputs, found, strict=True) if vector is not None]
    if not heard:
        return failed
    results = SoundVectors(np.stack([vector for _, vector in heard]), [name for name, _ in heard])
    texts = SoundVectors(pipeline.embed_texts(args.text), args.text) if args.text else None
    if args.output:
        _write(args, np.concatenate([results.array, *([] if texts is None else [texts.array])]))
    if args.json:
        told = {"output": args.output} if args.output else {"results": results.to_dict()}
        beside = {} if texts is None or args.output else {"texts": texts.to_dict()}
        console.emit({"model": pipeline.name, "sounds": len(results), **told, **beside})
    elif not args.output:
        print(results if texts is None else _nearest_texts(results, texts, args.top))
    return failed


def _embedder(args: argparse.Namespace) -> tuple[Any, Callable[[Any], Any]]:
    """The pipeline, and what gives the vector of a sound.

    Raises:
        ArgumentError: a model of another kind.
    """
    from ....hub.load import load
    from ....hub.pipeline import pipeline_class

    model = args.model or (sounds.CLAP if args.text else MODEL)
    pipeline: Any = load(model, device=args.device)
    by_words: Any = pipeline_class(sounds.BY_WORDS)
    if isinstance(pipeline, by_words):
        return pipeline, lambda sound: pipeline.embed_sounds(sound)[0]
    if args.text:
        raise ArgumentError(f"{model} compares no sounds with texts", fix=f"choose a CLAP, e.g. {sounds.CLAP}")
    return pipeline, sounds.checked(pipeline, "sound-embedding", model)


def _write(args: argparse.Namespace, rows: np.ndarray[Any, Any]) -> None:
    """The vectors, those of texts behind those of sounds."""
    buffer = io.BytesIO()
    np.save(buffer, rows.astype(args.dtype))
    atomic_write(args.output, buffer.getvalue())
    console.say(f"wrote {args.output}: {len(rows):,} vectors of {rows.shape[1]} numbers, {args.dtype}")


def _nearest_texts(heard: SoundVectors, texts: SoundVectors, top: int) -> str:
    """For each sound the texts that are nearest to it."""
    from ....hub.results import shortened, table

    rows = []
    for name, cosines in zip(heard.names, heard.similarity(texts), strict=True):
        for k, i in enumerate(np.argsort(-cosines, kind="stable")[:top]):
            rows.append([shortened(name, 44) if k == 0 else "", shortened(texts.names[i], 60), float(cosines[i])])
    return table(["sound", "text", "cosine"], rows)
