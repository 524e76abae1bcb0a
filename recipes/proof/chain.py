"""A chain of hashes through ``metrics.jsonl``: each link includes the one before it, so the last number proves the whole history.

The first value is made of what went in: recipe, data, weights. A ``hash`` record carries a link over the value before it, all
lines written since, and the hash of the weights at that step. Who changes, drops or inserts a line breaks every link from there
on; two runs whose last links agree agree in every loss, every recorded hash of weights, and every input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


class Chain:
    """The chain as it grows.

    Args:
        genesis: the first value, from ``genesis``.

    Attributes:
        value: the newest link, 64 hexadecimal digits.

    Example:
        >>> one, other = Chain("0" * 64), Chain("0" * 64)
        >>> one.add(b'{"loss":1.0}'), other.add(b'{"loss":1.5}')
        (None, None)
        >>> one.link("weights") == other.link("weights")
        False
    """

    def __init__(self, genesis: str) -> None:
        self.value = genesis
        self._since = hashlib.sha256()

    def add(self, line: bytes) -> None:
        """A line that the next link is to include."""
        self._since.update(line)

    def link(self, proved: str) -> str:
        """Closes a link over the value before, the lines since, and ``proved``, such as the weights' hash; returns its value."""
        self.value = hashlib.sha256(f"{self.value}\n{self._since.hexdigest()}\n{proved}".encode()).hexdigest()
        self._since = hashlib.sha256()
        return self.value

    def seal(self, outputs: Mapping[str, str]) -> str:
        """The last link of a run: over the lines since the last ``hash`` record and the hashes of the results."""
        return self.link(json.dumps(outputs, sort_keys=True))


def genesis(recipe: str, data: Mapping[str, str], weights: Mapping[str, str]) -> str:
    """The first value: a hash of the recipe's hash and of the hashes of data and weights. Where they lie is left out.

    Example:
        >>> genesis("ab", {"name": "here", "train": "cd"}, {}) == genesis("ab", {"name": "there", "train": "cd"}, {})
        True
    """
    hashes = [{k: v for k, v in part.items() if k != "name"} for part in (data, weights)]
    return hashlib.sha256(json.dumps([recipe, *hashes], sort_keys=True).encode()).hexdigest()


def replay(first: str, lines: Iterable[bytes]) -> tuple[Chain, str]:
    """The chain after ``lines``, and the first link in them that does not fit, in words (empty where all fit).

    Args:
        first: the first value.
        lines: whole lines of a metrics file, with their newlines.
    """
    chain, fault, since = Chain(first), "", 0
    for line in lines:
        record: dict[str, Any] = json.loads(line)
        if record["kind"] == "hash":
            made = chain.link(record["parameters"])
            if not fault and record.get("chain", made) != made:
                fault = f"a record of step {since + 1} to {record['step']} is not what it was when it was written"
            since = record["step"]
        chain.add(line)
    return chain, fault
