"""``recipe.resolved.toml``: the recipe a run really used, every value written out with where it came from.

It is itself a recipe: ``nyala run RUN/recipe.resolved.toml`` repeats the run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .config import Loaded
from .schema import Table, digest


def to_toml(loaded: Loaded) -> str:
    """The recipe as TOML, one value a line, each with its origin as a comment.

    Example:
        >>> from nyala.recipes.language.config import load
        >>> print(to_toml(load("vision/fashion-lite0", ["seed=7"])).splitlines()[3])
        seed = 7  # override
    """
    tree = {k: v for k, v in tree_of(loaded.recipe).items() if v is not None}
    head = [
        f"# {loaded.name} with every value written out; sha256 {digest(loaded.recipe)}",
        "# origin of each value: a file and line, an override, or default",
    ]
    return "\n".join([*head, *_table(tree, "", loaded)]) + "\n"


def tree_of(value: Any) -> Any:
    """Structs as dictionaries with their ``type`` tag first; None is left out, for TOML has no such value."""
    if isinstance(value, Table):
        tag = value.__struct_config__.tag
        fields = {name: tree_of(getattr(value, name)) for name in value.__struct_fields__}
        return ({"type": tag} if tag else {}) | {k: v for k, v in fields.items() if v is not None}
    if isinstance(value, list | tuple):
        return [tree_of(v) for v in value]
    return value


def _table(tree: Mapping[str, Any], path: str, loaded: Loaded) -> Iterator[str]:
    plain = {k: v for k, v in tree.items() if not isinstance(v, dict)}
    for key, value in plain.items():
        here = f"{path}.{key}" if path else key
        yield f"{key_text(key)} = {value_text(value)}  # {loaded.origin(here)}"
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            here = f"{path}.{key}" if path else key
            yield ""
            yield f"[{_header(here)}]"
            yield from _table(value, here, loaded)


def _header(path: str) -> str:
    return ".".join(key_text(p) for p in path.split("."))


def key_text(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else _text(key)


def value_text(value: Any) -> str:
    """A value as it is written in TOML.

    Example:
        >>> value_text([1e-08, True, {"type": "random_crop"}])
        '[1e-08, true, { type = "random_crop" }]'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return "[" + ", ".join(value_text(v) for v in value) + "]"
    if isinstance(value, dict) and not value:
        return "{}"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key_text(k)} = {value_text(v)}" for k, v in value.items()) + " }"
    return repr(value)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for the one character that TOML forbids unescaped and JSON allows.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def origins_of(text: str) -> dict[str, str]:
    """The origins that ``to_toml`` wrote as comments, by dotted path; defaults are left out.

    Example:
        >>> origins_of("seed = 1  # a.toml:2\\n\\n[optim]\\nlr = 0.1  # override\\neps = 1e-08  # default\\n")
        {'seed': 'a.toml:2', 'optim.lr': 'override'}
    """
    found: dict[str, str] = {}
    table = ""
    for line in text.splitlines():
        code, mark, origin = line.rpartition("  # ")
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif mark and origin != "default":
            found[table + code.partition(" = ")[0].strip('"')] = origin
    return found


def to_json(loaded: Loaded) -> dict[str, Any]:
    """The recipe and the origin of each value, for ``--json``."""
    return {
        "name": loaded.name,
        "sha256": digest(loaded.recipe),
        "recipe": msgspec.to_builtins(loaded.recipe),
        "origins": dict(loaded.origins),
    }
