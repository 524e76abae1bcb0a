"""Points and boxes on the command line, which show what is meant in a picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ....core.errors import ArgumentError


def add_prompts(parser: argparse.ArgumentParser) -> None:
    """The options ``--point``, ``--not-point`` and ``--box``, each as often as one likes."""
    group = parser.add_argument_group("what is meant in a picture, in pixels from its upper left (models such as SAM)")
    group.add_argument("--point", action="append", default=[], metavar="X,Y", help="a point on the thing")
    group.add_argument("--not-point", action="append", default=[], metavar="X,Y", help="a point beside it")
    group.add_argument(
        "--box", action="append", default=[], metavar="L,T,R,B", help="left, top, right and bottom of a box around a thing"
    )


def prompts(args: argparse.Namespace) -> dict[str, Any]:
    """What a pipeline is asked with; empty where none of the options is given.

    Raises:
        ArgumentError: something else than numbers with commas between.

    Example:
        >>> given = argparse.Namespace(point=["5,6"], not_point=["1,2"], box=[])
        >>> prompts(given)
        {'points': [[5.0, 6.0], [1.0, 2.0]], 'labels': [1, 0]}
    """
    points = [_numbers("--point", text, 2) for text in args.point]
    beside = [_numbers("--not-point", text, 2) for text in args.not_point]
    found: dict[str, Any] = {}
    if points or beside:
        found = {"points": points + beside, "labels": [1] * len(points) + [0] * len(beside)}
    if args.box:
        found["boxes"] = [_numbers("--box", text, 4) for text in args.box]
    return found


def ask(pipeline: Any, inputs: Sequence[str], given: dict[str, Any]) -> Any:
    """The pipeline's results on the inputs, asked with ``given``.

    Raises:
        ArgumentError: a model that takes no points and boxes.
    """
    if not hasattr(pipeline.model, "prompt_encoder"):
        raise ArgumentError(
            f"{pipeline.name} takes no points and boxes", fix="choose a SAM, e.g. facebook/sam-vit-base, or leave them out"
        )
    return pipeline(list(inputs), **given)


def _numbers(option: str, text: str, count: int) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count:
        wanted = "120,80" if count == 2 else "10,20,200,150"
        raise ArgumentError(
            f"{option} {text}", why=f"it takes {count} numbers with commas between", fix=f"e.g. {option} {wanted}"
        )
    return found
