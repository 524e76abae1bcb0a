"""``python -m tests.benchmarks``: nyala's rows, beside torch's where an interpreter with torch is named."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


class Worker:
    """A process that times the rows of one library."""

    def __init__(self, python: str, library: str) -> None:
        command = [python, str(HERE / "worker.py"), library]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, row: str, seconds: float) -> dict[str, Any]:
        """The worker's answer for a row."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"row": row, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the worker ended while timing {row}: see its message above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def run(row: str, workers: dict[str, Worker], rounds: int, seconds: float) -> dict[str, Any]:
    """Times of both libraries on one row, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in workers}
    memory: dict[str, int] = {}
    for _ in range(rounds):
        for name, worker in workers.items():
            answer = worker.ask(row, seconds / rounds)
            times[name] += answer.get("times", [])
            memory[name] = answer.get("memory", 0)
    return {"row": row, "times": times, "memory": memory}


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """Medians in milliseconds, spread of nyala's, and the ratio torch / nyala."""
    ours, theirs = result["times"]["nyala"], result["times"].get("torch")
    median = statistics.median(ours)
    low, high = sorted(ours)[len(ours) // 10], sorted(ours)[-1 - len(ours) // 10]
    row = {"row": result["row"], "nyala_ms": median * 1e3, "spread": (high - low) / median}
    if theirs:
        row |= {"torch_ms": statistics.median(theirs) * 1e3, "eager": statistics.median(theirs) / median}
        row |= {"memory": result["memory"]["torch"] / result["memory"]["nyala"]}
    return row


def show(row: dict[str, Any]) -> str:
    """One line of the table."""
    line = f"{row['row']:<38}{row['nyala_ms']:>11.3f}{row['spread']:>9.0%}"
    return line + (f"{row['torch_ms']:>11.3f}{row['eager']:>9.2f}" if "eager" in row else "")


def main() -> None:
    """Parse the command line, time, print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--against", metavar="PYTHON", help="an interpreter with torch, timm and transformers")
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="rows to run, e.g. 'op/*'")
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each row and library")
    parser.add_argument("--rounds", type=int, default=4, help="how often the two take turns")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    sys.path.insert(0, str(HERE))
    import rows_nyala

    names = [n for n in rows_nyala.ROWS if fnmatchcase(n, args.rows)]
    if not names:
        parser.error(f"no row matches {args.rows!r}; there are {', '.join(rows_nyala.ROWS)}")
    workers = {"nyala": Worker(sys.executable, "nyala")}
    if args.against:
        workers["torch"] = Worker(args.against, "torch")
    print(f"{'row':<38}{'nyala ms':>11}{'spread':>9}" + (f"{'torch ms':>11}{'ratio':>9}" if args.against else ""), flush=True)
    found = []
    for name in names:
        found.append(summary(run(name, workers, args.rounds, args.seconds)))
        print(show(found[-1]), flush=True)
    for worker in workers.values():
        worker.close()
    ratios = [r["eager"] for r in found if "eager" in r]
    if ratios:
        print(f"\ngeometric mean of the ratios: {statistics.geometric_mean(ratios):.2f} (above 1 nyala is faster)")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
