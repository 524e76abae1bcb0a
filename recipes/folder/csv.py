"""``metrics.csv``: the metrics as a table for spreadsheets, made from ``metrics.jsonl`` alone, so the same metrics give the same
bytes.

A row for each step, and one for each evaluation and the final test; an empty field where a record says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...core.atomic import atomic_write
from . import metrics
from . import run as runs

CSV = "metrics.csv"
_FIRST = ("kind", "part", "step", "epoch", "loss", "accuracy", "macro_f1", "lr", "grad_norm", "samples", "correct")
_KINDS = ("step", "eval", "final")


def table(records: Iterable[Mapping[str, Any]]) -> str:
    """The records as comma-separated values (RFC 4180, lines end in LF); hashes and notes are left out.

    Example:
        >>> print(table([{"kind": "step", "step": 1, "loss": 0.5}, {"kind": "hash", "step": 1}]), end="")
        kind,step,loss
        step,1,0.5
    """
    rows = [r for r in records if r.get("kind") in _KINDS]
    there = dict.fromkeys(k for r in rows for k, v in r.items() if not isinstance(v, dict | list))
    columns = [k for k in _FIRST if k in there] + [k for k in there if k not in _FIRST]
    lines = [columns, *([_text(r.get(k)) for k in columns] for r in rows)]
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines)


def _text(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def write(folder: Path) -> Path:
    """Writes a run folder's ``metrics.csv`` anew; returns its path."""
    atomic_write(folder / CSV, table(metrics.read(folder / runs.METRICS)))
    return folder / CSV
