"""CUDA kernels beside the bytes they must move: GB/s, the share of a copy's bandwidth in the same run, and torch's time.

Where arithmetic is the limit, operations a second too.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nyala
from nyala.core import kernels

from . import gpu_clock, kernel_cases, machine

_HEADINGS = ("kernel", "sizes", "dtype", "MB", "us", "GB/s", "of a copy", "TFLOP/s", "torch us", "torch / nyala")
COPIED = 1 << 30  # bytes of the array that is copied to find the bandwidth
CACHE = 1 << 29  # bytes written before each call: several times what a GPU's cache holds


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.kernels", description=__doc__)
    parser.add_argument("--kernels", metavar="NAMES", help="cases to time, separated by commas; without it all there are")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each kernel and dtype (default 0.5)")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter with torch; without it torch is left out")
    parser.add_argument("--table", metavar="FILE", type=Path, help="save the table there, as Markdown")
    return parser


def time_all(names: Sequence[str], seconds: float, shrink: int = 1, copied: int = COPIED, cache: int = CACHE) -> dict[str, Any]:
    """``{"copy": bytes a second, "rows": [...]}`` of nyala's kernels on the current GPU."""
    flush = nyala.zeros(cache // 4, device="cuda")
    source, target = nyala.zeros(copied // 4, device="cuda"), nyala.zeros(copied // 4, device="cuda")

    def timed(call: Any) -> float:
        return statistics.median(gpu_clock.alone(nyala.cuda, call, flush.zero_, seconds))

    copy = 2 * source.nbytes / timed(functools.partial(target.copy_, source))
    own = kernels.of(source.array)
    rows: list[dict[str, Any]] = []
    for case in kernel_cases.select(names):
        for dtype in case.dtypes:
            sizes = tuple(max(1, n // shrink) for n in case.sizes)
            made = case.make(kernel_cases.Given(dtype), *sizes)
            call = made.given if callable(made.given) else functools.partial(getattr(own, case.kernel), *made.given)
            of = {"kernel": case.name, "sizes": sizes, "dtype": dtype, "bytes": made.moved, "flops": made.flops}
            with nyala.no_grad():
                rows.append({**of, "seconds": timed(call)})
    return {"copy": copy, "rows": rows}


def time_torch(python: str, rows: Sequence[dict[str, Any]], seconds: float) -> list[float | None]:
    """Seconds of torch's counterpart of each row, None where it has none, in a process of its own."""
    asked = json.dumps([[row["kernel"], row["sizes"], row["dtype"]] for row in rows])
    command = [python, "-m", "benchmarks.kernels_torch", str(seconds), str(CACHE)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, cwd=machine.ROOT / "tests")
    if done.returncode:
        raise machine.NoTorchError((done.stderr.strip().splitlines() or [f"{python} ended with status {done.returncode}"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def cells(row: dict[str, Any], copy: float) -> list[str]:
    """A line of the table."""
    speed, theirs = row["bytes"] / row["seconds"], row.get("torch")
    ours = [f"{row['bytes'] / 1e6:.1f}", f"{row['seconds'] * 1e6:.1f}", f"{speed / 1e9:.0f}", f"{speed / copy:.0%}"]
    ours.append(f"{row['flops'] / row['seconds'] / 1e12:.1f}" if row["flops"] else "-")
    beside = [f"{theirs * 1e6:.1f}", f"{theirs / row['seconds']:.2f}"] if theirs else ["-", "-"]
    return [row["kernel"], "x".join(map(str, row["sizes"])), row["dtype"], *ours, *beside]


def markdown(found: dict[str, Any], described: Sequence[tuple[str, str]]) -> str:
    """The table, where it was taken, and what it leaves out."""
    lines = [
        *(f"- {name}: {value}" for name, value in described),
        f"- a copy moves {found['copy'] / 1e9:.0f} GB/s, read and written",
    ]
    lines += ["", "| " + " | ".join(_HEADINGS) + " |", "|" + "---|" * len(_HEADINGS)]
    lines += ["| " + " | ".join(cells(row, found["copy"])) + " |" for row in found["rows"]]
    lines += ["", "MB are those that must be read and written once; before each call the cache is emptied."]
    return "\n".join([*lines, f"Without a case: {', '.join(kernel_cases.without())}."]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Times, prints and saves."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        names = kernel_cases.named(args.kernels)
        described = [*machine.describe(None)[:2], *machine.check_gpu(args.torch_python)]
        found = time_all(names, args.seconds)
        if args.torch_python:
            for row, theirs in zip(found["rows"], time_torch(args.torch_python, found["rows"], args.seconds), strict=True):
                row["torch"] = theirs
    except (ValueError, machine.NoGpuError, machine.NoTorchError) as error:
        parser.error(str(error).replace("--device cuda: ", ""))
    text = markdown(found, described)
    print(text, end="")
    if args.table:
        args.table.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
