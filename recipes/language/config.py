"""Reads a recipe: TOML, a chain of ``extends``, ``key=value`` overrides, and where each value came from.

Merging goes table by table, key by key. A table whose ``type`` changes replaces the old one whole: the keys of another
optimizer make no sense in it. ``key=none`` takes a key away, so that its default comes back.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import RecipeError
from .. import catalog
from . import names
from .check import Problem, problems
from .schema import Recipe

Tree = dict[str, Any]
_NO_OVERRIDE = "is not an override"


@dataclass(frozen=True)
class Loaded:
    """A recipe that has no mistakes, its name, and the origin of each value that is not a default."""

    recipe: Recipe
    name: str
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, path: str) -> str:
        """Where the value at the dotted ``path`` was set: a file and line, ``override``, or ``default``."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return "default"


def load(source: str | Path, overrides: Sequence[str] = (), *, look_up: bool = True) -> Loaded:
    """Reads a recipe by name (``vision/fashion-lite0``) or path, and applies overrides.

    Args:
        source: the name of a built-in recipe, or the path of a ``.toml`` file.
        overrides: ``key=value`` strings, e.g. ``"optim.lr=0.01"``; the value is TOML, a bare word is a string.
        look_up: whether the dataset and the model must be there: those of an old run may lie elsewhere now.

    Raises:
        RecipeMistakesError: (a RecipeError) with every mistake of the recipe and the overrides in one report.
        UnknownNameError: no such recipe; the nearest names are in the message.

    Example:
        >>> loaded = load("vision/fashion-lite0", ["optim.lr=0.01"])
        >>> loaded.recipe.optim.lr, loaded.origin("optim.lr")
        (0.01, 'override')
    """
    path = catalog.find(source)
    tree, origins = _read(path, ())
    found: list[Problem] = []
    for text in sorted(overrides, key=_chooses_no_type):
        found += _override(tree, origins, text)
    found += problems(tree, names.unknown if look_up else None)
    if found:
        raise RecipeMistakesError(catalog.name_of(path), found, origins)
    return Loaded(msgspec.convert(tree, Recipe), catalog.name_of(path), {p: o for p, o in origins.items() if p[0] != "["})


class RecipeMistakesError(RecipeError):
    """A recipe with mistakes in it; ``problems`` holds them one by one."""

    def __init__(self, name: str, problems: Sequence[Problem], origins: Mapping[str, str]) -> None:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        self.problems = list(problems)
        self.places = ["" if p.cause == _NO_OVERRIDE else _nearest_place(p.path, origins) for p in problems]
        self.lines = [f"{p} [{place}]" if place else str(p) for p, place in zip(problems, self.places, strict=True)]
        super().__init__(f"recipe {name} has {count}", fix="correct these, then start again")

    def __str__(self) -> str:
        return "\n  ".join([f"{self.what}:", *self.lines]) + f"\nRemedy: {self.fix}. [{self.code}]"


def _nearest_place(path: str, origins: Mapping[str, str]) -> str:
    """Where the value at ``path`` stands, or the list or table it is in or should be in; empty where nobody wrote it."""
    path = re.sub(r"\[\d+\].*", "", path)
    if path in origins:
        return origins[path]
    inside = sorted(o for p, o in origins.items() if p.startswith(path + "."))
    if inside:
        return origins.get(f"[{path}]", inside[0])
    return origins.get(f"[{path.rpartition('.')[0]}]", "")


# ---- files --------------------------------------------------------------------------------------------------------


def _read(path: Path, seen: tuple[Path, ...]) -> tuple[Tree, dict[str, str]]:
    """The file's merged tables, and the origin of each leaf."""
    if path in seen:
        chain = " -> ".join(p.name for p in (*seen[seen.index(path) :], path))
        raise RecipeError(f"recipes extend each other in a circle: {chain}", fix="remove one of the extends lines")
    text = _text(path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML", why=str(error), fix="correct the line named") from error
    base = tree.pop("extends", None)
    lines = _line_numbers(text)
    own = {p: _place(path.name, p, lines) for p, _ in leaves(tree)}
    headers = {f"[{p}]": _place(path.name, p, lines) for p, value in _tables(tree) if value}
    _resolve_paths(tree, path.parent)
    if base is None:
        return tree, own | headers
    if not isinstance(base, str):
        raise RecipeError(
            f"{path}: extends is {base!r}", why="a recipe extends one other recipe", fix='write extends = "other.toml"'
        )
    parent, origins = _read(catalog.find(base, beside=path.parent), (*seen, path))
    _merge(parent, tree, origins, own)
    return parent, origins | headers


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text", why=str(error), fix="save the recipe as UTF-8") from error


def _resolve_paths(tree: Tree, folder: Path) -> None:
    """Makes paths absolute, so that a run goes on from anywhere: they count from the recipe's folder, else from the current
    one."""
    train = tree.get("train")
    taught = {"train.distill": train["distill"]} if isinstance(train, dict) and isinstance(train.get("distill"), dict) else {}
    tables = {**tree, **taught}
    places = (("data", "name"), ("data", "validation"), ("data", "test"), ("model", "name"), ("train.distill", "teacher"))
    for table, key in places:
        value = tables.get(table, {}).get(key) if isinstance(tables.get(table), dict) else None
        if isinstance(value, str) and not names.is_registered(table, value):
            place, mark, inside = value.partition("#") if ".nyala#" in value else (value, "", "")  # a model of a bundle
            near, here = folder / Path(place).expanduser(), Path(place).expanduser()
            if near.exists() or value.startswith(("./", "../", "~/")):
                tables[table][key] = f"{near.resolve()}{mark}{inside}"
            elif here.exists():
                tables[table][key] = f"{here.resolve()}{mark}{inside}"


def _merge(base: Tree, new: Mapping[str, Any], origins: dict[str, str], own: Mapping[str, str], path: str = "") -> None:
    """Lays ``new`` over ``base`` in place, and its origins over ``origins``."""
    for key, value in new.items():
        here = f"{path}.{key}" if path else key
        old = base.get(key)
        same_kind = isinstance(value, dict) and isinstance(old, dict) and value.get("type", old.get("type")) == old.get("type")
        if same_kind:
            _merge(base[key], value, origins, own, here)
            continue
        for gone in [p for p in origins if p == here or p.startswith(here + ".")]:
            del origins[gone]
        base[key] = value
        origins.update({p: o for p, o in own.items() if p == here or p.startswith(here + ".")})


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Each ``(dotted path, value)`` of nested tables; lists and empty tables count as values.

    Example:
        >>> list(leaves({"a": 1, "b": {"c": [2, 3], "d": {}}}))
        [('a', 1), ('b.c', [2, 3]), ('b.d', {})]
    """
    for key, value in tree.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from leaves(value, here)
        else:
            yield here, value


def _tables(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            here = f"{path}.{key}" if path else key
            yield here, value
            yield from _tables(value, here)


_HEADER = re.compile(r"\s*\[([\w.\-]+)\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([\w.\-]+)\s*=")


def _place(name: str, path: str, lines: Mapping[str, int]) -> str:
    """``file:line`` of a key: its own line, or that of the inline table it stands in."""
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return f"{name}:{lines[path]}" if path else name


def _line_numbers(text: str) -> dict[str, int]:
    """Where plain ``key = value`` lines and the headers of tables are; a key in an inline table has that table's line."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = header.group(1) + "."
            found[header.group(1)] = number
        elif key := _KEY.match(line):
            found[table + key.group(1)] = number
    return found


# ---- overrides ----------------------------------------------------------------------------------------------------


def _override(tree: Tree, origins: dict[str, str], text: str) -> Iterator[Problem]:
    """Lays one ``key=value`` over the tables; yields what is wrong with its form."""
    key, separator, raw = text.partition("=")
    parts = _key_parts(key.strip())
    if not separator or parts is None:
        yield Problem(text, _NO_OVERRIDE, "write key=value, e.g. optim.lr=0.01")
        return
    value = _value(raw.strip())
    if value is None:
        _remove(tree, origins, parts)
        return
    node: Tree = {parts[-1]: value}
    for part in reversed(parts[:-1]):
        node = {part: node}
    if any(not isinstance(table, dict) for table in _tables_on_the_way(tree, parts)):
        yield Problem(".".join(parts), "a part of this key is a value, not a table", "check the key")
        return
    _resolve_paths(node, Path.cwd())
    _merge(tree, node, origins, {p: "override" for p, _ in leaves(node)})
    yield from ()


def given(overrides: Sequence[str]) -> dict[str, Any]:
    """The values that overrides set, by dotted path; what is wrong with them, ``load`` says.

    Example:
        >>> given(["optim={type='sgd', lr=0.1}", "data.batch_size=8"])
        {'optim.type': 'sgd', 'optim.lr': 0.1, 'data.batch_size': 8}
    """
    tree: Tree = {}
    for text in sorted(overrides, key=_chooses_no_type):
        _ = list(_override(tree, {}, text))
    return dict(leaves(tree))


def _chooses_no_type(text: str) -> bool:
    """Orders overrides: another type replaces its whole table, so it comes before what is to be set in that table."""
    return not text.partition("=")[0].strip().endswith(".type")


def _key_parts(key: str) -> list[str] | None:
    """A TOML key as its parts, or None where it is none: ``a.b`` and ``a."b.c"``."""
    if not key:
        return None
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return None
    parts = []
    while isinstance(node, dict):
        (name,) = node
        parts.append(name)
        node = node[name]
    return parts


def _value(raw: str) -> Any:
    """A TOML value; a word that is no TOML is a string, and ``none`` is None."""
    if raw in ("none", "None", "null"):
        return None
    try:
        tree = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return raw
    return tree["value"] if len(tree) == 1 else raw


def _tables_on_the_way(tree: Tree, parts: Sequence[str]) -> Iterator[Any]:
    node: Any = tree
    for part in parts[:-1]:
        node = node.get(part, {}) if isinstance(node, dict) else None
        yield node


def _remove(tree: Tree, origins: dict[str, str], parts: Sequence[str]) -> None:
    node: Any = tree
    for part in parts[:-1]:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict):
        node.pop(parts[-1], None)
    path = ".".join(parts)
    for gone in [p for p in origins if p == path or p.startswith(path + ".")]:
        del origins[gone]
    origins[path] = "override (removed)"
