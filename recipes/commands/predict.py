"""``nyala predict``: a model, or a finished run, on your own inputs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.errors import ArgumentError
from .shared import console
from .shared.device import add_device
from .shared.pictures import add_allow_url, addresses
from .shared.prompts import add_prompts, ask, prompts

NAME = "predict"
HELP = "use a model or a finished run on pictures, sounds or text"
EXAMPLES = """  nyala predict tf_efficientnet_lite0 cat.jpg
  nyala predict runs/fashion-lite0-1 shoe.png bag.png --output out.png
  nyala predict runs/voices-ast-1 greeting.wav
  nyala predict runs/spam-minilm-1 "You have won a prize" --json
  nyala predict models.nyala#minilm "a text"       one model of a bundle
  nyala predict minilm "Shares fell on Tuesday" --labels sports,finance,weather
  nyala predict google-bert/bert-base-uncased "Paris is the [MASK] of France."
  nyala predict SEGMENTATION_MODEL street.jpg --output out.png --masks masks   a class for every pixel
  nyala predict depth-anything/Depth-Anything-V2-Small-hf street.jpg --output depth.png   how far everything is
  nyala predict facebook/sam-vit-base street.jpg --point 500,375 --output mask.png   what is there; also --box, --not-point
  nyala predict DETECTION_MODEL street.jpg --output boxes.png --threshold 0.7   the objects, surer than 0.7
  nyala predict QUESTION_MODEL "Who wrote it?" "The letter was written by Ada in 1843."   a question, then texts
  nyala predict google-t5/t5-small "The house is small." --task translation --to de
  nyala predict RANKING_MODEL "how to boil eggs" "Six minutes will do." "Hens lay eggs."  a query, then texts"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a catalogue name, a hub id, a folder, a run folder, or a bundle")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture or sound files, or texts")
    parser.add_argument("--labels", metavar="A,B,...", help="classes that the model was not trained on: sort texts into these")
    parser.add_argument("--task", help="what the model shall do, where it is not what it was published for: translation, ...")
    parser.add_argument("--to", metavar="LANGUAGE", help="translate into this language, as the model calls it: de, fra, ...")
    parser.add_argument("--threshold", type=float, help="of a model for detection: tell of objects that are surer than this")
    parser.add_argument("--output", metavar="FILE.png", help="draw the results into this picture")
    parser.add_argument(
        "--masks", metavar="FOLDER", help="of a model for segmentation: write each picture's classes as a PNG there"
    )
    add_prompts(parser)
    add_allow_url(parser)
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...hub.bundled import is_bundle_name
    from ...hub.results import picture_path
    from .. import catalog

    if args.output:
        picture_path(args.output)  # before the work, not after it
    if args.name in catalog.names():
        raise ArgumentError(
            f"{args.name} is a recipe, not a model", fix=f"nyala run {args.name}, then predict with the run folder it prints"
        )
    if Path(args.name).is_file() and not is_bundle_name(args.name):
        raise ArgumentError(f"{args.name} is a file, not a model", fix="name the model first, then the inputs")
    with addresses(args):
        return _answer(args)


def _answer(args: argparse.Namespace) -> int:
    from ...hub.load import load

    given = prompts(args)
    pipeline: Any = load(args.name, task=_task(args), device=args.device)
    if given:
        results = ask(pipeline, args.inputs, given)
    elif args.labels:
        results = pipeline(args.inputs, [label.strip() for label in args.labels.split(",") if label.strip()])
    elif args.threshold is not None:
        results = _surer(pipeline, args.threshold)(args.inputs)
    elif args.to:
        results = pipeline(args.inputs, to=args.to)
    else:
        results = pipeline.from_arguments(args.inputs)
    if args.masks:
        _write_masks(args.masks, args.inputs, results, pipeline)
    if args.output:
        results.save(args.output)
        console.say(f"drew {args.output}")
    if args.json:
        console.emit({"model": pipeline.name, "inputs": args.inputs, "results": results.to_dict()})
    else:
        print(results)
    return 0


def _surer(pipeline: Any, threshold: float) -> Any:
    """The pipeline with another threshold."""
    if not hasattr(pipeline, "threshold"):
        raise ArgumentError(
            "--threshold is for models that find objects",
            why=f"{pipeline.name} is for {type(pipeline).__name__}",
            fix="leave it out",
        )
    return replace(pipeline, threshold=threshold)


def _write_masks(folder: str, inputs: list[str], results: Any, pipeline: Any) -> None:
    """The class of every pixel of each picture, as numbers, in a PNG of the picture's name.

    Raises:
        ArgumentError: results that have no masks, or two pictures of one name.
    """
    if not all(hasattr(one, "save_mask") for one in results):
        fix = "choose a model for image-segmentation, or leave --masks out"
        raise ArgumentError(f"{pipeline.name} gives no masks", fix=fix)
    names = [f"{Path(name).stem}{'.npy' if one.mask.ndim == 3 else '.png'}" for name, one in zip(inputs, results, strict=True)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ArgumentError(f"two masks would be called {twice}", fix="give the pictures names of their own")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, one in zip(names, results, strict=True):
        one.save_mask(Path(folder) / name)
    console.say(f"wrote {len(names)} mask(s) into {folder}")


def _task(args: argparse.Namespace) -> str | None:
    """The task that the options ask for; None for the model's own.

    Raises:
        ArgumentError: options that ask for different ones, or a task that there is not.
    """
    from ...hub.pipeline import pipeline_class

    implied = {"--labels": (args.labels, "zero-shot-classification"), "--to": (args.to, "translation")}
    asked = {option: task for option, (given, task) in implied.items() if given}
    if args.task:
        pipeline_class(args.task)  # a misspelt one is said before anything is fetched
        asked["--task"] = args.task
    if len(set(asked.values())) > 1:
        told = " and ".join(f"{option} ({task})" if option != "--task" else f"--task {task}" for option, task in asked.items())
        raise ArgumentError(f"{told} ask for different things", fix="leave one of them out")
    return next(iter(asked.values()), None)
