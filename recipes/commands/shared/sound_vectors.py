"""``nyala embed`` on sounds: a vector a file, and which are near each other."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np

from ....core.atomic import atomic_write
from ....core.errors import ArgumentError
from . import console, sounds

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


def embed(args: argparse.Namespace, model: str) -> int:
    """The vectors of sounds: written, or shown by which is nearest to which.

    Raises:
        ArgumentError: options that are for texts, or a model of another kind.
    """
    from ....audio.pipelines.embedding import SoundVectors
    from ....hub.load import load

    for option in ("query", "column", "prompt", "prompt_name"):
        if getattr(args, option) is not None:
            raise ArgumentError(f"--{option.replace('_', '-')} is for texts", fix="leave it out")
    sounds.look(args)
    if args.output:
        sounds.file_target(args.output)
    pipeline: Any = sounds.checked(load(model, device=args.device), "sound-embedding", model)
    found, failed = sounds.each(args, lambda sound, progress: pipeline(sound))  # noqa: ARG005 - heard at once
    heard = [(name, vector) for name, vector in zip(args.inputs, found, strict=True) if vector is not None]
    if not heard:
        return failed
    results = SoundVectors(np.stack([vector for _, vector in heard]), [name for name, _ in heard])
    if args.output:
        buffer = io.BytesIO()
        np.save(buffer, results.array.astype(args.dtype))
        atomic_write(args.output, buffer.getvalue())
        console.say(f"wrote {args.output}: {len(results):,} vectors of {results.array.shape[1]} numbers, {args.dtype}")
    if args.json:
        told = {"output": args.output} if args.output else {"results": results.to_dict()}
        console.emit({"model": pipeline.name, "sounds": len(results), **told})
    elif not args.output:
        print(results)
    return failed
