"""``nyala plan``: what a recipe will need in memory, time and disk, before it is launched."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .shared import console
from .shared.device import add_device, with_device

if TYPE_CHECKING:
    from ..plan import Plan

NAME = "plan"
HELP = "say what a recipe will need in memory, time and disk, by measuring a few updates"
EXAMPLES = """  nyala plan vision/fashion-lite0
  nyala plan text/spam-minilm data.batch_size=64
  nyala plan text/spam-minilm model.adapter.type=lora --memory 1GB
  nyala plan my-recipe.toml --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a built-in recipe (`nyala list`) or a .toml file")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="TOML values over the recipe's own")
    parser.add_argument("--memory", metavar="SIZE", help="what the run may hold, e.g. 8GB; by default what is free here")
    parser.add_argument("--seconds", type=float, default=30.0, help="roughly how long to measure (default: 30)")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from ...core.errors import ArgumentError
    from ...hub.quota import parse_size
    from .. import progress
    from ..language import config
    from ..plan import plan

    if not args.seconds > 0:
        raise ArgumentError(f"--seconds {args.seconds:g}", why="measuring takes time", fix="give 10 or more")
    room = parse_size(args.memory, "--memory") if args.memory else None
    loaded = config.load(args.recipe, with_device(args))
    with progress.choose(quiet=args.quiet) as show:
        found = plan(loaded, room=room, seconds=args.seconds, progress=show)
    if args.json:
        console.emit({"recipe": loaded.name, **found.as_json()})
    else:
        print("\n".join(lines(found)))
    return 0 if found.fits else 1


def lines(plan: Plan) -> list[str]:
    """The plan as a table."""
    from ..plan.estimate import in_words, seconds_in_words

    share = f"{plan.trainable:,} of {plan.parameters:,} learn ({plan.trainable / plan.parameters:.1%})"
    sure = "measured" if plan.measured_up_to >= plan.batch_size else f"by a line through batches of up to {plan.measured_up_to}"
    memory = {
        "weights": (plan.weights, share),
        "gradients": (plan.gradients, ""),
        "optimizer": (plan.optimizer, ""),
        "average of weights": (plan.average, ""),
        "activations": (plan.activations, f"{plan.batch_size} samples, the longest there are; {sure}"),
        "all else": (plan.rest, "the program, compiled kernels, data held in memory"),
    }
    room = f"of {in_words(plan.room)} there is" if plan.room else "how much there is, this system does not say"
    rows = [(name, in_words(size), note) for name, (size, note) in memory.items() if size or name != "average of weights"]
    rows.append(("memory at most", in_words(plan.peak), f"while {plan.when}; {room}"))
    rows.append(("", "", ""))
    rows.append(("one update", seconds_in_words(plan.step), f"{plan.steps_per_epoch} an epoch, {plan.total_steps} altogether"))
    rows.append(("one epoch", seconds_in_words(plan.epoch), "with its evaluation and checkpoints"))
    rows.append(("whole run", seconds_in_words(plan.total), f"loading {seconds_in_words(plan.loading)} of it"))
    rows.append(("disk", in_words(plan.disk), "checkpoints and result"))
    shown = [f"{name:<20}{value:>12}   {note}".rstrip() for name, value, note in rows]
    if not plan.fits:
        shown += ["", "This does not fit. What would help:", *(f"  {text}" for text in plan.suggestions())]
    return shown + [f"note: {note}" for note in plan.notes]
