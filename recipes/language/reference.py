"""The documentation of a recipe, made from ``schema.py`` itself: tables, keys, types, defaults, bounds and words, as text and as
JSON Schema. The words of a key are the string below its field, so there is one place to write them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect as mi

from ...core.errors import UnknownNameError, did_you_mean
from .check import bounds
from .schema import Recipe, Table

EXTENDS = "Another recipe, by name or by path from this file, whose values hold where this one says nothing."


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Attributes:
        name: as it is written in the file.
        type: in words, e.g. ``whole number``.
        default: as it is written in the file, ``none`` where leaving it out means something else, empty where it must be given.
        bounds: in words, e.g. ``at least 1``; empty where there are none.
        doc: what it is.
    """

    name: str
    type: str
    default: str
    bounds: str
    doc: str

    @property
    def required(self) -> bool:
        return not self.default


@dataclass(frozen=True)
class Section:
    """One table: where it stands, and what may be in it.

    Attributes:
        path: dotted; ``data.augment[]`` for the members of a list; empty for the file's top.
        tag: the value of ``type`` that chooses this table among several; empty where there is one.
        doc: what it is.
        keys: its keys, in order.
    """

    path: str
    tag: str
    doc: str
    keys: tuple[Key, ...]

    @property
    def title(self) -> str:
        """The header as it is written in the file."""
        brackets = ("[[", "]]") if self.path.endswith("[]") else ("[", "]")
        head = self.path.removesuffix("[]").join(brackets) if self.path else "(top of the file)"
        return f'{head}  type = "{self.tag}"' if self.tag else head


@cache
def field_docs(table: type[msgspec.Struct]) -> dict[str, str]:
    """The words below each field of a table, those of its bases included.

    Example:
        >>> from nyala.recipes.language.schema import Sgd
        >>> field_docs(Sgd)["momentum"]
        'How much of the last step goes into the next.'
    """
    found: dict[str, str] = {}
    for kind in reversed(table.__mro__):
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or kind in (msgspec.Struct, Table):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
                continue
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                found[statement.target.id] = " ".join(str(following.value.value).split())
    return found


def table_doc(table: type[msgspec.Struct]) -> str:
    """What a table is, as one paragraph."""
    return " ".join((table.__doc__ or "").split()).replace("``", "`")


def sections() -> list[Section]:
    """Every table that a recipe may have, from the top of the file down.

    Example:
        >>> [s.path for s in sections()][:3]
        ['', 'data', 'data.columns']
    """
    return list(_walk(Recipe, "", ""))


def _walk(table: type[msgspec.Struct], path: str, tag: str) -> Iterator[Section]:
    kind = mi.type_info(table)
    assert isinstance(kind, mi.StructType)
    docs = field_docs(table)
    keys = tuple(_key(field, docs.get(field.name, "")) for field in kind.fields)
    if not path:
        keys = (Key("extends", "string", "none", "", EXTENDS), *keys)
    yield Section(path, tag, table_doc(table), keys)
    for field in kind.fields:
        for inner, several in _tables(field.type):
            here = f"{path}.{field.encode_name}" if path else field.encode_name
            yield from _walk(inner.cls, here + "[]" * several, str(inner.tag) if inner.tag_field else "")


def _tables(kind: mi.Type, several: bool = False) -> Iterator[tuple[mi.StructType, bool]]:
    """The tables that a value of this type may be, and whether it is a list of them."""
    if isinstance(kind, mi.StructType):
        yield kind, several
    elif isinstance(kind, mi.UnionType):
        for one in kind.types:
            yield from _tables(one, several)
    elif isinstance(kind, mi.ListType):
        yield from _tables(kind.item_type, True)


def _key(field: mi.Field, doc: str) -> Key:
    limits = bounds(field.type)
    return Key(field.encode_name, _type(field.type), _default(field), limits, doc.replace("``", "`"))


def _type(kind: mi.Type) -> str:
    """A type in words.

    Example:
        >>> from nyala.recipes.language.schema import Checkpoint
        >>> _type(mi.type_info(list[tuple[float, int]])), _type(mi.type_info(Checkpoint | None))
        ('list of [number, whole number]', 'table')
    """
    match kind:
        case mi.StrType():
            return "string"
        case mi.BoolType():
            return "true or false"
        case mi.IntType():
            return "whole number"
        case mi.FloatType():
            return "number"
        case mi.LiteralType():
            return " | ".join(_toml(value) for value in sorted(kind.values, key=str))
        case mi.ListType():
            return f"list of {_plural(_type(kind.item_type))}"
        case mi.TupleType():
            return "[" + ", ".join(_type(one) for one in kind.item_types) + "]"
        case mi.DictType():
            return f"table of {_plural(_type(kind.value_type))}"
        case mi.StructType():
            return "table"
        case mi.UnionType():
            return " | ".join(dict.fromkeys(_type(one) for one in kind.types if not isinstance(one, mi.NoneType)))
    raise AssertionError(f"the schema has a type without words: {kind}")


def _plural(words: str) -> str:
    return words if words.startswith("[") or words.endswith("s") else words + "s"


def _default(field: mi.Field) -> str:
    if field.required:
        return ""
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    if isinstance(value, Table):
        tag = value.__struct_config__.tag
        return f'{{ type = "{tag}" }}' if tag else "{}"
    return "none" if value is None else _toml(value)


def _toml(value: Any) -> str:
    from .resolved import value_text

    return value_text(list(value) if isinstance(value, tuple) else value)


# ---- as text ------------------------------------------------------------------------------------------------------


def as_text(wanted: str = "", width: int = 100) -> str:
    """The documentation as plain text.

    Args:
        wanted: only this table and those below it (``optim``), or one key (``optim.lr``); everything if empty.
        width: columns of the page.

    Raises:
        UnknownNameError: there is no such table or key; the nearest are in the message.

    Example:
        >>> print(as_text("train.checkpoint.keep"))
        [train.checkpoint]
          When the state of the run is saved, and how much of it stays.
        <BLANKLINE>
          keep = 2   whole number, at least 1
              How many stay, beside the best.
    """
    return "\n\n\n".join(_section_text(section, width) for section in _chosen(wanted))


def _chosen(wanted: str) -> list[Section]:
    every = sections()
    if not wanted:
        return every
    found = [s for s in every if _plain(s.path) == wanted or _plain(s.path).startswith(wanted + ".") or s.tag == wanted]
    if found:
        return found
    table, _, name = wanted.rpartition(".")
    for section in every:
        keys = tuple(k for k in section.keys if k.name == name)
        if keys and _plain(section.path) == table:
            found.append(Section(section.path, section.tag, section.doc, keys))
    if not found:
        known = {_plain(s.path) for s in every} | {f"{_plain(s.path)}.{k.name}".lstrip(".") for s in every for k in s.keys}
        tables = ", ".join(dict.fromkeys(_plain(s.path) for s in every if s.path and "." not in s.path))
        raise UnknownNameError(f"a recipe has no {wanted!r}", fix=did_you_mean(wanted, known) or f"its tables are {tables}")
    return found


def _plain(path: str) -> str:
    return path.replace("[]", "")


def _section_text(section: Section, width: int) -> str:
    lines = [section.title, *_wrapped(section.doc, "  ", width)]
    for key in section.keys:
        head = f"{key.name} (required)" if key.required else f"{key.name} = {key.default}"
        lines += [
            "",
            f"  {head}   {', '.join(part for part in (key.type, key.bounds) if part)}",
            *_wrapped(key.doc, "      ", width),
        ]
    return "\n".join(lines)


def _wrapped(text: str, margin: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)


# ---- as JSON Schema -----------------------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """The documentation as JSON Schema (2020-12), which editors of TOML complete and check by.

    What a recipe must have is not demanded where it extends another one.

    Example:
        >>> json_schema()["$defs"]["Checkpoint"]["properties"]["keep"]["description"]
        'How many stay, beside the best.'
    """
    schema = msgspec.json.schema(Recipe)
    for table in _every_table(Recipe):
        entry = schema["$defs"][table.__name__]
        entry["description"] = table_doc(table)
        entry["additionalProperties"] = False
        for name, doc in field_docs(table).items():
            entry["properties"][name] = entry["properties"][name] | {"description": doc.replace("``", "`")}
    whole = schema["$defs"]["Recipe"]
    whole["properties"] = {"extends": {"type": "string", "description": EXTENDS}, **whole["properties"]}
    whole["anyOf"] = [{"required": whole.pop("required")}, {"required": ["extends"]}]
    for name in ("Data", "Model"):
        schema["$defs"][name].pop("required", None)  # the extended recipe may have it
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "nyala recipe", **schema}


def _every_table(table: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    kind = mi.type_info(table)
    assert isinstance(kind, mi.StructType)
    found = [table]
    for field in kind.fields:
        for inner, _ in _tables(field.type):
            found += [t for t in _every_table(inner.cls) if t not in found]
    return found
