"""``nyala report``: the page of a run, or one page that compares several."""

from __future__ import annotations

import argparse
from typing import Any

from .shared import console

NAME = "report"
HELP = "write the page of a run, finished or not, or one page that compares several"
EXAMPLES = """  nyala report runs/fashion-lite0-1                        writes runs/fashion-lite0-1/report.html
  nyala report runs/fashion-lite0-1 --open                 and shows it in the browser
  nyala report runs/fashion-lite0-*                        all of them on one page: comparison.html
  nyala report runs/a runs/b --output a-and-b.html --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="RUN", help="run folders; the others are compared with the first")
    parser.add_argument(
        "--output", metavar="FILE.html", help="where to write; by default the run's report.html, for several comparison.html"
    )
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def execute(args: argparse.Namespace) -> int:
    from ...core.atomic import atomic_write
    from .. import report
    from ..folder import csv
    from ..folder import run as runs
    from ..judging import judge

    several = len(args.names) > 1
    if args.output:
        judge.html_path(args.output)  # before the work, not after it
    views = [report.read(name, samples=not several) for name in args.names]
    target = judge.html_path(args.output or ("comparison.html" if several else views[0].folder / runs.REPORT))
    atomic_write(target, report.comparison_page(views) if several else report.run_page(views[0]))
    for view in views:
        if view.changed:
            console.say(f"{view.folder}: {', '.join(view.changed)} changed since the run ended; the page says so")
        if view.records:
            csv.write(view.folder)
    if args.open:
        import webbrowser

        if not webbrowser.open(target.resolve().as_uri()):
            console.say("no browser could be opened here: copy the page to a machine that has one; it is one file")
    if args.json:
        console.emit({"report": str(target), "runs": [_scores(view) for view in views]})
    else:
        print(target)
    return 0


def _scores(view: Any) -> dict[str, Any]:
    state = {"run": str(view.folder), "finished": bool(view.manifest.get("outputs")), "steps": len(view.steps)}
    return state | (view.assessment.as_json() if view.assessment else {})
