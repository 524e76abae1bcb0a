"""``nyala recipes list | show | copy | validate | schema``: what there is to run, and how to write one's own."""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import console

if TYPE_CHECKING:
    from ..language.config import Loaded, RecipeMistakesError

NAME = "recipes"
HELP = "list, show, copy, check and explain recipes"
EXAMPLES = """  nyala recipes list
  nyala recipes show vision/fashion-lite0 optim.lr=0.01    every value with its origin
  nyala recipes copy vision/fashion-lite0 mine.toml        a file to edit, each key explained
  nyala recipes validate mine.toml                         every mistake at once
  nyala recipes schema train                               what may stand in [train]
  nyala recipes schema --json > recipe.schema.json         for editors that know JSON Schema"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
        return sub

    action("list", "list the built-in recipes")
    show = action("show", "print a recipe with the origin of each value")
    show.add_argument("name", help="a built-in recipe, a .toml file, or a run folder")
    show.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="overrides to apply")
    copy = action("copy", "write an editable copy of a recipe, every key explained")
    copy.add_argument("name", help="a built-in recipe, a .toml file, or a run folder")
    copy.add_argument("file", help="the .toml file to write")
    copy.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="overrides to apply")
    copy.add_argument("--force", action="store_true", help="replace a file that is there")
    validate = action("validate", "check recipes and report every mistake; exit code 2 where there is one")
    validate.add_argument("names", nargs="+", metavar="FILE", help="a .toml file, or a built-in recipe")
    schema = action("schema", "explain every key of a recipe: type, default, bounds, meaning")
    schema.add_argument("table", nargs="?", default="", help="only this table or key, e.g. train or optim.lr")


def execute(args: argparse.Namespace) -> int:
    return {"list": _list, "show": _show, "copy": _copy, "validate": _validate, "schema": _schema}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from ...hub.results import table
    from .. import catalog
    from ..language import config

    loaded = [config.load(name) for name in catalog.names()]
    if args.json:
        console.emit({"recipes": [summary(one) for one in loaded]})
        return 0
    rows = [[s["name"], s["model"], s["data"], s["description"]] for s in map(summary, loaded)]
    print(table(["recipe", "model", "data", "what it does"], rows, shutil.get_terminal_size().columns))
    return 0


def summary(loaded: Loaded) -> dict[str, str]:
    """What a list says about a recipe."""
    recipe = loaded.recipe
    return {"name": loaded.name, "description": recipe.description, "model": recipe.model.name, "data": recipe.data.name}


def find(name: str, overrides: list[str]) -> Loaded | None:
    """The recipe of a run folder, of a built-in name or of a ``.toml`` file; None where ``name`` is none of these."""
    from .. import catalog
    from ..folder import run as runs
    from ..language import config

    if (Path(name) / runs.RECIPE).is_file():
        return runs.open_run(name, overrides).loaded
    if name in catalog.names() or name.endswith(".toml"):
        return config.load(name, overrides)
    return None


def show(loaded: Loaded, json: bool) -> int:
    """Prints every value of a recipe with where it came from."""
    from ..language import resolved

    if json:
        console.emit(resolved.to_json(loaded))
    else:
        print(resolved.to_toml(loaded), end="")
    return 0


def _found(name: str, overrides: list[str]) -> Loaded:
    from .. import catalog
    from ..language import config

    loaded = find(name, overrides)
    if loaded is None:
        catalog.find(name)  # raises for what is no file, with the nearest names
        return config.load(name, overrides)
    return loaded


def _show(args: argparse.Namespace) -> int:
    return show(_found(args.name, args.overrides), args.json)


def _copy(args: argparse.Namespace) -> int:
    from ...core.atomic import atomic_write
    from ...core.errors import ArgumentError
    from ..language.editable import to_toml

    path = Path(args.file).expanduser()
    if path.suffix != ".toml":
        raise ArgumentError(f"{args.file} is no .toml file", fix=f"write {path.with_suffix('.toml')}")
    if path.exists() and not args.force:
        raise ArgumentError(f"{path} is there already", fix="give another name, or --force to replace it")
    loaded = _found(args.name, args.overrides)
    header = [
        f"A copy of {loaded.name}, to edit. Keys that are commented out have the value shown by default.",
        f"Run it:   nyala run {shlex.quote(str(path))}",
        f"Check it: nyala recipes validate {shlex.quote(str(path))}",
    ]
    atomic_write(path, to_toml(loaded, header, everything=True))
    if args.json:
        console.emit({"copied": loaded.name, "file": str(path)})
    else:
        print(f"wrote {path}\nrun it    nyala run {shlex.quote(str(path))}")
    return 0


def _validate(args: argparse.Namespace) -> int:
    from ...core.errors import NyalaError
    from ..language import config

    results: list[dict[str, Any]] = []
    for name in args.names:
        try:
            config.load(name)
            results.append({"file": name, "valid": True, "problems": []})
        except config.RecipeMistakesError as error:
            results.append({"file": name, "valid": False, "problems": _problems(error)})
        except NyalaError as error:  # no such file, no TOML: nothing further can be said about it
            results.append({"file": name, "valid": False, "problems": [_problem("", error.what, error.why or error.fix, "")]})
    valid = all(result["valid"] for result in results)
    if args.json:
        console.emit({"valid": valid, "files": results})
    else:
        print("\n".join(map(_verdict, results)))
    return 0 if valid else 2


def _problems(error: RecipeMistakesError) -> list[dict[str, Any]]:
    return [_problem(p.path, p.cause, p.hint, place) for p, place in zip(error.problems, error.places, strict=True)]


def _problem(path: str, cause: str, hint: str, place: str) -> dict[str, Any]:
    file, _, line = place.rpartition(":")
    return {
        "key": path,
        "cause": cause,
        "hint": hint,
        "file": file if line.isdigit() else place,
        "line": int(line) if line.isdigit() else None,
    }


def _verdict(result: dict[str, Any]) -> str:
    problems = result["problems"]
    if not problems:
        return f"{result['file']}: no mistake"
    lines = [f"{result['file']}: {len(problems)} mistake{'' if len(problems) == 1 else 's'}"]
    for p in problems:
        place = f"{p['file']}:{p['line']}: " if p["line"] else ""
        hint = f" ({p['hint']})" if p["hint"] else ""
        lines.append(f"  {place}{p['key']}{': ' if p['key'] else ''}{p['cause']}{hint}")
    return "\n".join(lines)


def _schema(args: argparse.Namespace) -> int:
    from ..language import reference

    if args.json:
        console.emit(reference.json_schema())
    else:
        print(reference.as_text(args.table, min(shutil.get_terminal_size().columns, 120)))
    return 0
