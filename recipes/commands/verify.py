"""``nyala verify``: a model's bytes and golden answer, or a run's every bit, by what it is given."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from .shared import console

NAME = "verify"
HELP = "check a model's bytes and golden answer offline, or repeat a run and name the first step that differs"
EXAMPLES = """  nyala verify all-MiniLM-L6-v2                    a model: hashes of all files, then the card's golden answer
  nyala verify all-MiniLM-L6-v2 --locked           against the hashes in weights.lock.toml
  nyala verify models.nyala                        every model of a bundle; with --locked: are they the locked bytes?
  nyala verify runs/fashion-lite0-1                a run: repeat it and compare every bit
  nyala verify runs/fashion-lite0-1 --steps 20     only the first 20 steps
  nyala verify runs/fashion-lite0-folds-1          a cross-validation: every fold
  nyala verify runs/fashion-lite0-1 --level bounded    losses and weights within a measured bound, as on another processor
  nyala verify runs/fashion-lite0-1 --seed 7       another seed: is the final score within its interval?
  nyala verify runs/laptop --against runs/server   two runs side by side; nothing is repeated
  nyala verify runs/pets-1 data.name=/mnt/pets     with the data in another place: their hashes are compared

levels of a run:
  bitwise      every bit of losses, weights and predictions; expected on machines of one class with the same nyala
  bounded      every loss and the last weights within a bound that is measured here; expected on another processor or device
  statistical  the final score within its 95 % interval; expected with another seed or another version of nyala
Without --level the one to be expected is demanded. Exit code 0: it holds. 1: it does not. 2: the question makes no sense."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="NAME|RUN", help="a model (name, hub id, folder, bundle), or the folder of a run")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    run = parser.add_argument_group("for a run")
    run.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="where data and weights lie now; data.workers")
    run.add_argument("--steps", type=_positive, help="repeat only this many steps")
    run.add_argument("--level", choices=("bitwise", "bounded", "statistical"), help="the level that must hold")
    run.add_argument("--seed", type=_whole, help="repeat with another seed; statistical is then expected")
    run.add_argument("--against", metavar="OTHER", help="compare with this run folder and repeat nothing")
    model = parser.add_argument_group("for a model")
    model.add_argument("--hashes-only", action="store_true", help="do not run the model")
    model.add_argument("--locked", action="store_true", help="compare with the lock file's hashes")
    model.add_argument("--file", metavar="FILE", help="the lock file (default: $NYALA_LOCK, else weights.lock.toml here)")


def execute(args: argparse.Namespace) -> int:
    return _verify_model(args) if is_model(args.run) else _verify_run(args)


def is_model(given: str) -> bool:
    """Whether ``given`` is a model's name, folder or bundle, and not a run's folder.

    Example:
        >>> is_model("all-MiniLM-L6-v2"), is_model("models.nyala"), is_model("./runs/one")
        (True, True, False)
    """
    from ..folder import run as runs

    path = Path(given).expanduser()
    if path.is_dir():
        return not (path / runs.RECIPE).exists() and (any(path.glob("config.json")) or any(path.glob("*.safetensors")))
    if path.is_absolute() or given.startswith((".", "~")) or (path.parent != Path() and path.parent.is_dir()):
        return bool(re.search(r"\.nyala(#|$)", given))  # a path: of a bundle, or of a run that is not there
    return True


def _verify_model(args: argparse.Namespace) -> int:
    from ...core.errors import ArgumentError
    from ...hub.lockfile import default_file
    from ...hub.verification import verify
    from .. import catalog

    if args.run in catalog.names():
        fix = f"nyala run {args.run}, then verify the run folder it prints; `nyala recipes` has more on recipes"
        raise ArgumentError(f"{args.run} is a recipe, neither a model nor a run", fix=fix)
    for name in ("steps", "level", "seed", "against", "overrides"):
        value = getattr(args, name)
        if value not in (None, []):
            said = " ".join(value) if name == "overrides" else f"--{name} {value}"
            raise ArgumentError(f"{said} is for runs, and {args.run} is a model", fix="leave it out")
    if args.file and not args.locked:
        raise ArgumentError(f"--file {args.file} says nothing without --locked", fix="add --locked")
    lock = args.file or default_file() if args.locked else None
    verdicts = [verify(name, golden=not args.hashes_only, lock=lock) for name in _models_of(args.run)]
    right = all(verdict.right for verdict in verdicts)
    if args.json:
        several = {"models": [verdict.as_json() for verdict in verdicts], "right": right}
        console.emit(verdicts[0].as_json() if len(verdicts) == 1 else several)
    else:
        print("\n\n".join(str(verdict) for verdict in verdicts))
    return 0 if right else 1


def _models_of(name: str) -> list[str]:
    """The name itself, or that of every model of a bundle that is named as a whole."""
    from ...hub.bundled import is_bundle_name, open_bundle, split_name

    if not is_bundle_name(name) or split_name(name)[1]:
        return [name]
    path, _ = split_name(name)
    return [f"{path}#{model}" for model in open_bundle(path).names]


def _verify_run(args: argparse.Namespace) -> int:
    from ...core.errors import ArgumentError
    from .. import progress
    from ..proof import against, verify
    from ..training import crossval

    if args.against and (args.steps or args.seed is not None):
        raise ArgumentError("--against compares what there is", why="nothing is repeated", fix="leave --steps and --seed out")
    group = crossval.is_group(args.run)
    if args.against and group:
        raise ArgumentError(f"{args.run} is a cross-validation", why="--against compares two runs", fix="give one of its folds")
    found = []
    with progress.choose(quiet=args.quiet) as show:
        for run in crossval.folders(args.run) if group else [args.run]:
            if args.against:
                found.append(against.against(run, args.against, show, level=args.level, overrides=args.overrides))
            else:
                kept = {"steps": args.steps, "level": args.level, "seed": args.seed, "overrides": args.overrides}
                found.append(verify.verify(run, show, **kept))
    holds = all(result.holds for result in found)
    if args.json:
        console.emit({"folds": [result.as_json() for result in found], "holds": holds} if group else found[0].as_json())
    else:
        print("\n\n".join(f"fold {i}\n{result}" if group else str(result) for i, result in enumerate(found)))
    return 0 if holds else 1


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
