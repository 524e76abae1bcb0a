"""A recipe as a file to read and edit: every value with its documentation above it, and on request every key that could be
set, as a comment with its default.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .config import Loaded
from .reference import Key, Section, sections
from .resolved import key_text, tree_of, value_text

_WIDTH = 120


def to_toml(
    loaded: Loaded,
    header: Sequence[str] = (),
    reasons: Mapping[str, str] | None = None,
    *,
    everything: bool = False,
) -> str:
    """The recipe as an editable TOML file.

    Args:
        loaded: the recipe.
        header: lines for the head of the file, without their ``#``.
        reasons: dotted path -> why the value was chosen, written above it instead of its documentation.
        everything: also the keys that are at their defaults, as comments.

    Returns:
        A file that reads as the same recipe.

    Example:
        >>> from nyala.recipes.language.config import load
        >>> text = to_toml(load("vision/fashion-lite0"), reasons={"optim.lr": "a small network"})
        >>> print(text.partition("[optim]\\n")[2].partition("# Strength")[0])
        type = "adamw"
        # a small network
        lr = 0.001
        <BLANKLINE>
    """
    writer = _Writer(loaded, reasons or {}, everything)
    lines = [f"# {line}".rstrip() for line in header]
    for section in sections():
        lines += writer.section(section)
    return "\n".join(lines).strip() + "\n"


class _Writer:
    """Writes the tables of one recipe."""

    def __init__(self, loaded: Loaded, reasons: Mapping[str, str], everything: bool) -> None:
        self.tree, self.origins = tree_of(loaded.recipe), loaded.origins
        self.reasons, self.everything = reasons, everything
        self.tables = {s.path for s in sections()}
        self.optional = {self._path(s, k) for s in sections() for k in s.keys if k.default == "none"}

    def section(self, section: Section) -> list[str]:
        """The lines of a table; none where it is not in the recipe, or is one of a list."""
        if "[]" in section.path:
            return []
        values = self.at(section.path)
        if section.tag and values.get("type") != section.tag:
            return []
        keys = [k for k in section.keys if k.name != "extends" and self._path(section, k) not in self.tables]
        set_here = [k for k in keys if self._is_set(section, k, values)]
        unset = [k for k in keys if k not in set_here] if self.everything else []
        present = bool(set_here or section.tag) or (section.path in self.optional and self._is_there(section.path))
        if not present and not unset:
            return []
        lines = [""]
        if section.path:
            lines += [*_comment(section.doc)] * self.everything
            lines += [f"{'' if present else '# '}[{section.path}]"]
        lines += [f'type = "{section.tag}"'] if section.tag else []
        for key in set_here:
            lines += self._entry(section, key, values[key.name])
        for key in unset:
            open_ended = key.required or key.default == "none"
            lines += [*_comment(key.doc), f"# {key_text(key.name)} = {'...' if open_ended else key.default}"]
        return lines

    def at(self, path: str) -> Mapping[str, Any]:
        """The values of a table; empty where it is not in the recipe."""
        node: Any = self.tree
        for part in filter(None, path.split(".")):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node if isinstance(node, Mapping) else {}

    def _is_there(self, path: str) -> bool:
        table, _, name = path.rpartition(".")
        return name in self.at(table)

    def _is_set(self, section: Section, key: Key, values: Mapping[str, Any]) -> bool:
        if key.name not in values:
            return False
        chosen = self._path(section, key) in self.origins  # somebody wrote it, though it may be the default
        return chosen or key.required or value_text(values[key.name]) != key.default

    def _entry(self, section: Section, key: Key, value: Any) -> Iterator[str]:
        yield from _comment(self.reasons.get(self._path(section, key)) or key.doc)
        yield f"{key_text(key.name)} = {value_text(value)}"

    @staticmethod
    def _path(section: Section, key: Key) -> str:
        return f"{section.path}.{key.name}" if section.path else key.name


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
