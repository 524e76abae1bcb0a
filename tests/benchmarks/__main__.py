"""nyala's workloads, timed alone or beside torch, as ratios."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
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
  python -m tests.benchmarks --list                                the names of the rows

torch is looked for in --torch-python, else in $NYALA_TORCH_PYTHON, this interpreter, reference/ in the checkout, and python3.
It needs timm and transformers too, and a C++ compiler for torch.compile. Ratios are torch / nyala: above 1 nyala wins."""


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
    parser.add_argument("--list", action="store_true", help="print the names of the rows and end")
    return parser


def _table(args: argparse.Namespace) -> Sequence[Row]:
    return GPU_ROWS if args.device == "cuda" else ROWS


def _chosen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[Row]:
    """The rows, once the rest of the arguments has been found to make sense."""
    if args.seconds <= 0 or args.turns < 1:
        parser.error(f"--seconds {args.seconds:g} --turns {args.turns}: both must be above 0")
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
    gpu = args.device == "cuda"
    print("\n".join(f"{name}: {value}" for name, value in described) + f"\n\n{figures.heading(gpu)}", flush=True)
    found: list[dict[str, Any]] = []
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
            for row in rows:
                found.append(_figures(row, contest))
                print("\n".join([figures.line(figures.cells(found[-1], gpu)), *figures.notes(found[-1])]), flush=True)
                _save(args, found, described)
        except KeyboardInterrupt:
            print(f"interrupted after {len(found)} of {len(rows)} rows", file=sys.stderr)
            return 130
    print(figures.line(figures.mean_cells(found, gpu)))
    return 1 if any(figures.notes(row) for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
