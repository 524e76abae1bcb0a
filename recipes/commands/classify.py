"""``nyala classify``: what kind of sound each file is -> a table, a picture of it, CSV, or JSON."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...core.atomic import atomic_write
from ...core.errors import ArgumentError
from ...hub.results import PICTURES
from .shared import console, sounds

NAME = "classify"
HELP = "find out what kind of sound files are"
EXAMPLES = """  nyala classify yes.wav no.wav
  nyala classify *.wav --model MIT/ast-finetuned-audioset-10-10-0.4593 --top 3
  nyala classify *.wav --model runs/voices-ast-1 --output voices.csv
  nyala classify *.wav --labels "a dog,rain,a church bell"   classes that no model was trained on, by CLAP
  nyala classify call.wav --json"""
_MODEL = "ast-speech-commands"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    sounds.add_sounds(parser, None, f"a classifier of sounds ({_MODEL}); with --labels a CLAP ({sounds.CLAP})")
    parser.add_argument("--labels", metavar="A,B,...", help="classes that the model was not trained on, as words")
    parser.add_argument("--template", action="append", metavar="TEXT", help="the sentence that a label makes, {} stands for it")
    parser.add_argument("--output", metavar="FILE", help="write FILE.csv, or the table as FILE.png")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to show of each (5)")


def execute(args: argparse.Namespace) -> int:
    from ...audio.pipelines.classification import SoundClasses

    if args.top < 1:
        raise ArgumentError(f"--top {args.top}", fix="use at least 1")
    sounds.look(args)
    target = sounds.target(args.output, (".csv", *PICTURES))
    _check(args)
    pipeline, classify = _classifier(args)
    found, failed = sounds.each(args, lambda sound, progress: classify(sound))  # noqa: ARG005 - heard at once
    heard = [(name, result) for name, result in zip(args.inputs, found, strict=True) if result is not None]
    results = SoundClasses([result for _, result in heard], [name for name, _ in heard])
    if target is not None:
        if target.suffix.lower() == ".csv":
            rows = [(name, *pair) for name, p in heard for pair in zip(p.labels, p.scores, strict=True)]
            atomic_write(target, sounds.csv(("sound", "label", "score"), rows))
        else:
            results.save(target)
        console.say(f"wrote {target}")
    if args.json:
        console.emit({"model": pipeline.name, "results": results.to_dict()})
    else:
        print(results)
    return failed


def _check(args: argparse.Namespace) -> None:
    """Whether labels and sentences make sense: before anything is fetched."""
    if args.labels is not None:
        from ...hub.zero_shot import check_labels

        check_labels(_labels(args), args.template or ["{}"])
    elif args.template:
        raise ArgumentError("--template without --labels", fix="name the classes too: --labels A,B")


def _labels(args: argparse.Namespace) -> list[str]:
    return [label.strip() for label in args.labels.split(",") if label.strip()]


def _classifier(args: argparse.Namespace) -> tuple[Any, Callable[[Any], Any]]:
    """The pipeline, and what says the classes of a sound.

    Raises:
        ArgumentError: a model of another kind, or no labels where they are needed.
    """
    from ...hub.load import load
    from ...hub.pipeline import pipeline_class

    if args.labels is None:
        model = args.model or _MODEL
        pipeline: Any = load(model, device=args.device)
        if isinstance(pipeline, pipeline_class(sounds.BY_WORDS)):
            raise ArgumentError(f"{model} has no classes of its own", fix='name them: --labels "a dog,rain"')
        pipeline = replace(sounds.checked(pipeline, "audio-classification", model), top_k=args.top)
        return pipeline, pipeline
    pipeline = load(args.model or sounds.CLAP, device=args.device, task=sounds.BY_WORDS)
    labels = _labels(args)
    return pipeline, pipeline.sorter(labels, template=args.template, top_k=args.top)
