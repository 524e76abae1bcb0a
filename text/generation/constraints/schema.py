"""JSON schemas as grammars: what is generated parses, and is valid.

Objects write their known keys in the schema's order, and no unknown ones unless ``additionalProperties`` allows them; one space
may stand behind commas and colons. ``oneOf`` is read as ``anyOf``. What cannot be told by an automaton, or is misspelt, is
refused by its name and place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ....core.errors import ArgumentError, did_you_mean, kind_of
from .grammar import Grammar, Piece, build, call, either, never
from .json_text import (
    ANY,
    LETTER,
    any_letter,
    any_value,
    exactly,
    integer,
    letter,
    listed,
    members,
    number,
    number_between,
    quoted,
    string,
)
from .regex import expression

_NOTES = {
    *("title", "description", "default", "examples", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated"),
    *("readOnly", "writeOnly", "format", "discriminator", "$anchor"),
}
_KEYWORDS = {
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum"},
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "boolean": set(),
    "null": set(),
}
_CHOICES = ("enum", "const", "anyOf", "oneOf", "allOf", "$ref")
_FORMATS = {
    "date": r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
    "time": r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "email": r"[a-z0-9._-]{1,32}@[a-z0-9-]{1,32}(\.[a-z]{2,12}){1,3}",
    "ipv4": r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
}
_FORMATS["date-time"] = _FORMATS["date"] + "T" + _FORMATS["time"]


def json_schema(schema: Any) -> Grammar:
    """The grammar of the JSON texts that are valid by a schema.

    Args:
        schema: a mapping, its JSON text, True for any JSON value, or a class with ``model_json_schema()`` (pydantic).

    Raises:
        ArgumentError: no schema, or one that asks for what is not told here.

    Example:
        >>> grammar = json_schema({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})
        >>> from .automaton import Automaton
        >>> a = Automaton(grammar)
        >>> a.accepts(a.after(a.start, b'{"age": 7}')), a.after(a.start, b'{"name')
        (True, 0)
    """
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError as error:
            raise ArgumentError(f"the JSON schema is not JSON: {error}", fix="correct it") from error
    elif hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    try:
        return _Reader(schema).grammar()
    except RecursionError as error:
        raise ArgumentError("the JSON schema is nested too deeply", fix="give parts of it names in $defs") from error


class _Reader:
    """Turns each part of a schema into a rule, called by its place."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.rules: dict[str, Piece | None] = {}

    def grammar(self) -> Grammar:
        top = self.rule(self.schema, "#")
        rules = [(name, piece) for name, piece in self.rules.items() if piece is not None]
        return build(top, [*rules, (ANY, any_value()), (LETTER, any_letter())])

    def rule(self, schema: Any, place: str) -> Piece:
        """A call of the rule of a part."""
        if place not in self.rules:
            self.rules[place] = None  # known, while it is read: it may refer to itself
            self.rules[place] = self.piece(schema, place)
        return call(place)

    def piece(self, schema: Any, place: str) -> Piece:
        if schema is True or schema == {}:
            return call(ANY)
        if schema is False:
            return never
        if not isinstance(schema, Mapping):
            raise _wrong(place, f"is {kind_of(schema)}, not a schema", "write an object, true or false")
        given = {key: value for key, value in schema.items() if key not in _NOTES}
        chosen = [key for key in _CHOICES if key in given]
        if not chosen:
            return self.typed(schema, given, place)
        others = [key for key in given if key not in (chosen[0], "type")]
        if chosen[0] == "allOf" and not others:
            return self.together(given["allOf"], place)
        if others:
            raise _wrong(place, f"has {chosen[0]!r} together with {', '.join(map(repr, others))}", "write them into one")
        return self.choice(chosen[0], given[chosen[0]], place)

    def choice(self, key: str, value: Any, place: str) -> Piece:
        if key == "$ref":
            return self.reference(value, place)
        if key == "const":
            return exactly(value)
        if not isinstance(value, list) or not value:
            raise _wrong(place, f"has {key!r} that is no list with something in it", "list what may stand here")
        if key == "enum":
            return either(*map(exactly, value))
        return either(*(self.rule(part, f"{place}/{key}/{i}") for i, part in enumerate(value)))

    def together(self, parts: Any, place: str) -> Piece:
        """``allOf`` of one part, or of objects that are put together."""
        if isinstance(parts, list) and len(parts) == 1:
            return self.rule(parts[0], f"{place}/allOf/0")
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for part in parts if isinstance(parts, list) else [None]:
            resolved = self.resolve(part["$ref"], place) if isinstance(part, Mapping) and set(part) == {"$ref"} else part
            known = {"type", "properties", "required", *_NOTES}
            if not isinstance(resolved, Mapping) or set(resolved) - known or resolved.get("type", "object") != "object":
                raise _wrong(place, "has 'allOf' of more than plain objects", "write them into one schema")
            twice = set(merged["properties"]) & set(resolved.get("properties", {}))
            if twice:
                raise _wrong(place, f"has {sorted(twice)[0]!r} in two parts of 'allOf'", "write it once")
            merged["properties"].update(resolved.get("properties", {}))
            merged["required"] += resolved.get("required", [])
        return self.piece(merged, f"{place}/allOf")

    def reference(self, pointer: Any, place: str) -> Piece:
        if pointer == "#":
            return self.rule(self.schema, "#")
        return self.rule(self.resolve(pointer, place), str(pointer))

    def resolve(self, pointer: Any, place: str) -> Any:
        """What a ``$ref`` points at, inside the schema."""
        if not isinstance(pointer, str) or not pointer.startswith("#"):
            raise _wrong(place, f"refers to {pointer!r}", "refer to a part of the same schema, #/$defs/NAME")
        found = self.schema
        for step in pointer.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            index = int(step) if isinstance(found, list) and step.isdigit() else step
            try:
                found = found[index]
            except (KeyError, IndexError, TypeError) as error:
                raise _wrong(place, f"refers to {pointer!r}, which is not there", "define it in $defs") from error
        return found

    def typed(self, schema: Mapping[str, Any], given: Mapping[str, Any], place: str) -> Piece:
        kinds = given.get("type", _type_by_keywords(given))
        if kinds is None:
            self.check(given, set(), place)
            return call(ANY)
        kinds = kinds if isinstance(kinds, list) else [kinds]
        for kind in kinds:
            if kind not in _KEYWORDS:
                raise _wrong(place, f"has the type {kind!r}", did_you_mean(str(kind), _KEYWORDS) or f"use {', '.join(_KEYWORDS)}")
        self.check(given, set().union(*(_KEYWORDS[kind] for kind in kinds)), place)
        return either(*(getattr(self, f"_{kind}")(schema, place) for kind in kinds))

    def check(self, given: Mapping[str, Any], known: set[str], place: str) -> None:
        for key in given:
            if key != "type" and key not in known:
                near = did_you_mean(key, [*known, *_NOTES, *_CHOICES])
                raise _wrong(place, f"has {key!r}", near or "leave it out, and check the value when it is there")

    def _string(self, schema: Mapping[str, Any], place: str) -> Piece:
        least, most = _counts(schema, "minLength", "maxLength", place)
        pattern = schema.get("pattern")
        if pattern is None and schema.get("format") in _FORMATS:
            pattern = f"^{_FORMATS[schema['format']]}$"
        if pattern is None:
            return string(least, most)
        if least or most is not None:
            raise _wrong(place, "has a pattern or format, and a length", "write the length into the pattern, e.g. ^.{1,9}$")
        return quoted(expression(pattern, anchored=False, letter=letter))

    def _integer(self, schema: Mapping[str, Any], place: str) -> Piece:
        low, high = _bounds(schema, place)
        if low is not None and high is not None and low > high:
            raise _wrong(place, f"has no whole number between {low} and {high}", "correct it")
        return integer(low, high)

    def _number(self, schema: Mapping[str, Any], place: str) -> Piece:
        low, high = _bounds(schema, place)
        if low is None and high is None:
            return number()
        if low is not None and high is not None and low > high:
            raise _wrong(place, f"has no number between {low} and {high}", "correct it")
        return number_between(low, high)

    def _boolean(self, schema: Mapping[str, Any], place: str) -> Piece:  # noqa: ARG002 - all kinds are read alike
        return either(exactly(True), exactly(False))

    def _null(self, schema: Mapping[str, Any], place: str) -> Piece:  # noqa: ARG002 - all kinds are read alike
        return exactly(None)

    def _object(self, schema: Mapping[str, Any], place: str) -> Piece:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise _wrong(place, "has properties or required of another kind", "write an object and a list")
        unknown = [key for key in required if key not in properties]
        more = schema.get("additionalProperties", not properties)
        if unknown and more is False:
            raise _wrong(place, f"requires {unknown[0]!r}, which is not among the properties", "add it there")
        known = [(k, self.rule(v, f"{place}/properties/{k}"), k in required) for k, v in properties.items()]
        known += [(str(key), self.rule(more, f"{place}/additionalProperties"), True) for key in unknown]
        return members(known, None if more is False else self.rule(more, f"{place}/additionalProperties"))

    def _array(self, schema: Mapping[str, Any], place: str) -> Piece:
        least, most = _counts(schema, "minItems", "maxItems", place)
        first = [self.rule(part, f"{place}/prefixItems/{i}") for i, part in enumerate(schema.get("prefixItems", []))]
        items = schema.get("items", True)
        if first and "items" not in schema:
            items = False
        if items is False:
            most = len(first) if most is None else min(most, len(first))
        if most is not None and least > most:
            raise _wrong(place, f"has {least} items at least and {most} at most", "correct it")
        return listed(self.rule(items, f"{place}/items"), max(least, len(first)), most, first)


def _wrong(place: str, what: str, fix: str) -> ArgumentError:
    return ArgumentError(f"the JSON schema at {place} {what}", fix=fix)


def _type_by_keywords(given: Mapping[str, Any]) -> str | None:
    """The type that a part without one means by what it says."""
    return next((kind for kind, keys in _KEYWORDS.items() if keys & set(given)), None)


def _counts(schema: Mapping[str, Any], low: str, high: str, place: str) -> tuple[int, int | None]:
    for key in (low, high):
        value = schema.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _wrong(place, f"has {key} = {value!r}", "use a whole number, 0 or more")
    least, most = schema.get(low, 0), schema.get(high)
    if most is not None and least > most:
        raise _wrong(place, f"has {low} = {least} and {high} = {most}", "correct it")
    return least, most


def _bounds(schema: Mapping[str, Any], place: str) -> tuple[int | None, int | None]:
    """The least and the greatest whole number."""
    found: dict[str, int] = {}
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        value = schema.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise _wrong(
                place, f"has {key} = {value!r}", "whole numbers can be told apart here; check others when they are there"
            )
        found[key] = int(value)
    lows = [found[k] + more for k, more in (("minimum", 0), ("exclusiveMinimum", 1)) if k in found]
    highs = [found[k] - more for k, more in (("maximum", 0), ("exclusiveMaximum", 1)) if k in found]
    return max(lows, default=None), min(highs, default=None)
