"""``nyala lr``: which learning rate a recipe wants."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import ArgumentError
from .shared import console
from .shared.device import add_device, with_device

if TYPE_CHECKING:
    from ..language.config import Loaded
    from ..training.lr_finder import Curve

NAME = "lr"
HELP = "find a learning rate: a short training whose rate grows, the curve of its loss, and a suggestion"
EXAMPLES = """  nyala lr vision/fashion-lite0
  nyala lr my-recipe.toml optim.type=sgd --steps 60 --high 10
  nyala lr text/spam-minilm --out curve.svg          where the curve goes
  nyala lr text/spam-minilm --folder sweeps/spam     keep recipe, curve and figures in a folder

The suggestion is the rate where the smoothed loss falls fastest per decade of the rate, at most a tenth of
the rate of its minimum. It is a start, not a law: compare it with its neighbours in real runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a built-in recipe (`nyala list`) or a .toml file")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="TOML values over the recipe's own")
    parser.add_argument("--steps", type=int, default=100, help="updates to make (100)")
    parser.add_argument("--low", type=float, default=1e-7, help="the first rate (1e-7)")
    parser.add_argument("--high", type=float, default=1.0, help="the last rate (1)")
    parser.add_argument(
        "--out", help="the curve's .svg file; by default NAME-lr.svg beside the recipe, or here for a built-in one"
    )
    parser.add_argument("--folder", help="keep resolved recipe, figures and curve in this folder")
    add_device(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def execute(args: argparse.Namespace) -> int:
    from .. import progress
    from ..language import config
    from ..training import lr_finder

    loaded = config.load(args.recipe, with_device(args))
    path = picture(args, loaded)
    with progress.choose(quiet=args.quiet) as show:
        curve = lr_finder.sweep(loaded.recipe, show, count=args.steps, low=args.low, high=args.high)
    written = write(args, loaded, curve, path)
    if args.json:
        console.emit(lr_finder.as_json(curve) | {"files": [str(p) for p in written]})
    else:
        print(lr_finder.table(curve))
        _print(args, curve, written)
    return 0


def picture(args: argparse.Namespace, loaded: Loaded) -> Path:
    """Where the curve goes; found out before the sweep, so that a bad path costs no training.

    Raises:
        ArgumentError: another format than SVG, or a folder that is not there.
    """
    name = f"{loaded.name.rpartition('/')[2]}-lr.svg"
    if args.out is not None:
        path = Path(args.out).expanduser()
    elif args.folder is not None:
        path = Path(args.folder).expanduser() / name
    else:
        own = Path(args.recipe).expanduser()
        path = own.with_name(name) if own.suffix == ".toml" and own.is_file() else Path(name)
    if path.suffix != ".svg":
        raise ArgumentError(f"--out {path}", why="the curve is written as SVG", fix="give a name that ends in .svg")
    if args.out is not None and not path.parent.is_dir():
        raise ArgumentError(f"--out {path}", why=f"there is no folder {path.parent}", fix="make it, or give another")
    return path


def write(args: argparse.Namespace, loaded: Loaded, curve: Curve, path: Path) -> list[Path]:
    """Writes the curve, and with ``--folder`` the recipe and all figures; returns the files."""
    from ...core.atomic import atomic_write, storage_errors
    from ..folder import metrics
    from ..language import resolved
    from ..training import lr_curve, lr_finder

    written: list[Path] = []
    if args.folder is not None:
        folder = Path(args.folder).expanduser()
        with storage_errors(folder, "create"):
            folder.mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "recipe.resolved.toml", resolved.to_toml(loaded))
        atomic_write(folder / "lr.jsonl", b"".join(metrics.encode(p) for p in lr_finder.as_json(curve)["points"]))
        written += [folder / "recipe.resolved.toml", folder / "lr.jsonl"]
    if len(curve.points) > 1:
        atomic_write(path, lr_curve.svg(curve, f"learning rates of {loaded.name}"))
        written.append(path)
    return written


def _print(args: argparse.Namespace, curve: Curve, written: list[Path]) -> None:
    from ..training.lr_finder import RULE

    print(f"ended      {curve.ended}")
    if curve.suggestion is None:
        print("suggested  nothing: the loss did not fall. Try --high 10, more --steps, or look at the data")
    else:
        print(f"suggested  {curve.suggestion:.2g}: {RULE}")
        overrides = [*with_device(args), f"optim.lr={curve.suggestion:.2g}"]
        print(f"try it     nyala run {shlex.join([args.recipe, *overrides])}")
    for path in written:
        print(f"written    {path}")
