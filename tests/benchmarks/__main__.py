"""nyala's workloads, timed alone or beside torch, as ratios."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import figures, machine
from .gpu_table import GPU_ROWS, GpuRow
from .table import ROWS, Row, select
from .turns import Contest

_EPILOG = """examples:
  python -m tests.benchmarks                                       nyala alone
  python -m tests.benchmarks --against torch                       all workloads beside torch, eager and compiled
  python -m tests.benchmarks --against torch --torch-python reference/bin/python --json out.json
  python -m tests.benchmarks --against torch --rows 'minilm/*,import' --seconds 2 --turns 3
  python -m tests.benchmarks --against torch --no-compile          in a quarter of the time
  python -m tests.benchmarks --against torch --rows 'op/*'         single operations
  python -m tests.benchmarks --device cuda --against torch         models on a GPU, each library eager and compiled
  python -m tests.benchmarks ... --json out.json --resume --within 540      part of the rows; again, and it goes on
  python -m tests.benchmarks --list                                the names of the rows

torch is looked for in --torch-python, else in $NYALA_TORCH_PYTHON, this interpreter, reference/ in the checkout, and python3.
It needs timm and transformers too, and a C++ compiler for torch.compile. Ratios are torch / nyala: above 1 nyala wins.
Ends with status 0, 1 if something failed, 3 if --within left rows for another run, 130 if it was interrupted."""

_SAME = ("commit", "processor", "GPU", "nyala's side", "torch's side", "torch.compile")  # of rows in one table


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--against", metavar="torch", help="'torch', or the path of an interpreter that has it")
    parser.add_argument("--torch-python", metavar="PATH", help="the interpreter that has torch, timm and transformers")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="'cuda' has its own rows (add --list)")
    parser.add_argument(
        "--torch-mode", choices=("default", "reduce-overhead", "max-autotune"), default="default",
        help="of torch.compile on a GPU; 'reduce-overhead' makes CUDA graphs, as nyala.compile does",
    )  # fmt: skip
    parser.add_argument("--rows", metavar="PATTERNS", help="rows to run, e.g. 'resnet*,import'; without it all workloads")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each row and variant, all turns together (default 4)")
    parser.add_argument("--turns", type=int, default=5, help="how often they take turns (default 5)")
    parser.add_argument("--no-compile", action="store_true", help="leave out compiled columns; torch.compile takes minutes a row")
    parser.add_argument("--json", metavar="FILE", type=Path, help="save the figures there, and the table beside it as .md")
    parser.add_argument("--table", metavar="FILE", type=Path, help="save the table there, as Markdown")
    parser.add_argument("--resume", action="store_true", help="keep the rows that --json has of this commit and machine")
    parser.add_argument(
        "--within",
        metavar="SECONDS",
        type=float,
        help="begin no row that would end later, if it took as long as the longest so far",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the rows and end")
    return parser


def _table(args: argparse.Namespace) -> Sequence[Row]:
    return GPU_ROWS if args.device == "cuda" else ROWS


def _chosen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[Row]:
    """The rows, once the rest of the arguments has been found to make sense."""
    if args.seconds <= 0 or args.turns < 1:
        parser.error(f"--seconds {args.seconds:g} --turns {args.turns}: both must be above 0")
    if args.resume and args.json is None:
        parser.error("--resume goes on with the rows of a file: name it with --json")
    for path in (args.json, args.table):
        if path is not None and not path.absolute().parent.is_dir():  # before the work, not after it
            parser.error(f"there is no folder {path.absolute().parent}; make it first")
    try:
        return list(GPU_ROWS) if args.device == "cuda" and args.rows is None else select(args.rows, _table(args))
    except ValueError as error:
        parser.error(f"--rows: {error}")


def _torch(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[str | None, dict[str, str] | None]:
    """The interpreter with torch, and its versions; two None where nyala runs alone."""
    if args.against is None and args.torch_python is None:
        return None, None
    named = args.torch_python or (args.against if args.against != "torch" else None)
    try:
        return machine.find_torch(named)
    except machine.NoTorchError as error:
        parser.error(str(error))


def _save(args: argparse.Namespace, found: list[dict[str, Any]], described: list[tuple[str, str]]) -> None:
    """After every row, so that an interrupted run keeps what it has."""
    table = args.table or (args.json.with_suffix(".md") if args.json else None)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if table:
        table.write_text(figures.markdown(found, described, args.device == "cuda"), encoding="utf-8")


def _described(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[str | None, list[tuple[str, str]]]:
    """The interpreter with torch, and what the table says of the machine."""
    torch, versions = _torch(parser, args)
    if args.device == "cpu":
        return torch, machine.describe(versions)
    try:
        gpu = machine.check_gpu(torch)
    except machine.NoGpuError as error:
        parser.error(str(error))
    return torch, [*machine.describe(versions), *gpu, ("torch.compile", f"mode {args.torch_mode}")]


def _kept(args: argparse.Namespace, rows: list[Row], of: str) -> tuple[list[dict[str, Any]], list[Row]]:
    """What --resume has of the same libraries and machine, and the rows that are missing; those that failed come last."""
    if not args.resume or not args.json.exists():
        return [], rows
    had = {row["row"]: row for row in json.loads(args.json.read_text(encoding="utf-8")) if row.get("of") == of}
    kept = [row for row in had.values() if not figures.notes(row)]
    done = {row["row"] for row in kept}
    return kept, sorted([row for row in rows if row.name not in done], key=lambda row: row.name in had)


def _time(rows: Sequence[Row], contest: Contest, args: argparse.Namespace, done: Callable[[dict[str, Any]], None]) -> int:
    """Each row's figures to ``done``; how many rows there was no time for."""
    begun, longest = time.monotonic(), 0.0
    for number, row in enumerate(rows):
        passed = time.monotonic() - begun
        if number and args.within is not None and passed + longest > args.within:
            return len(rows) - number
        done(_figures(row, contest))
        longest = max(longest, time.monotonic() - begun - passed)
    return 0


def _figures(row: Row, contest: Contest) -> dict[str, Any]:
    found = figures.figures(row.name, contest.run(row))
    if isinstance(row, GpuRow):
        found["per_second"] = figures.per_second(found, row.items)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Times, prints and saves; 1 if something failed."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.list:
        print("\n".join(row.name for row in _table(args)))
        return 0
    rows = _chosen(parser, args)
    torch, described = _described(parser, args)
    gpu, of = args.device == "cuda", "; ".join(value for name, value in described if name in _SAME)
    print("\n".join(f"{name}: {value}" for name, value in described) + f"\n\n{figures.heading(gpu)}", flush=True)
    order = {row.name: place for place, row in enumerate(_table(args))}
    found, missing = _kept(args, rows, of)

    def show(row: dict[str, Any]) -> None:
        print("\n".join([figures.line(figures.cells(row, gpu)), *figures.notes(row)]), flush=True)

    def done(row: dict[str, Any]) -> None:
        show(row)
        found.append({**row, "of": of})
        found.sort(key=lambda one: order[one["row"]])
        _save(args, found, described)

    for row in found:
        show(row)
    with tempfile.TemporaryDirectory(prefix="nyala-benchmarks-") as folder:
        contest = Contest(
            sys.executable,
            torch,
            seconds=args.seconds,
            turns=args.turns,
            folder=Path(folder),
            compiled=not args.no_compile,
            device=args.device,
            tuning=args.torch_mode if gpu else "",
        )
        try:
            left = _time(missing, contest, args, done)
        except KeyboardInterrupt:
            print(f"interrupted after {len(found)} of {len(rows)} rows", file=sys.stderr)
            return 130
    print(figures.line(figures.mean_cells(found, gpu)))
    if left:
        print(f"{left} of {len(rows)} rows are left: the same command with --resume goes on", file=sys.stderr)
        return 3
    return 1 if any(figures.notes(row) for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
