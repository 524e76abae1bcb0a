"""Mutate weight files, key maps and state dicts, a hundred thousand times each.

    python -m tests.tools.fuzz_checkpoints --count 100000

For each kind of ``tests/fuzz.py`` a line says how many cases were read and refused, and how much memory the hungriest took.
The process may not map more than ``--memory`` beyond what it has: a file that asks for more ends in a failure, not in swapping.
Exit status 1 where any case crashed, hung, took too much or was read in two ways.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import fuzz


def limit_memory(more: int) -> None:
    """Let the process map ``more`` bytes beyond what it has mapped by now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").is_file() else 0
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="cases of each kind (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case: `--first 417 --count 1` repeats one")
    parser.add_argument("--kinds", nargs="*", default=list(fuzz.KINDS), choices=list(fuzz.KINDS))
    parser.add_argument("--memory", type=int, default=1 << 30, help="bytes the process may map beyond its start")
    args = parser.parse_args()
    import nyala.core.nn
    import nyala.text.models.bert
    import nyala.vision.models.resnet  # noqa: F401 - before the limit: what they need is no case's doing

    limit_memory(args.memory)
    failed = False
    for kind in args.kinds:
        show = (lambda done, kind=kind: print(f"\r{kind}: {done:,}", end="", file=sys.stderr)) if sys.stderr.isatty() else None
        report = fuzz.fuzz(kind, args.count, args.seed, args.first, *([show] if show else []))
        print(report, flush=True)
        failed |= bool(report.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
