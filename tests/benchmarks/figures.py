"""From seconds to the table: medians, ratios turn by turn, spreads, geometric means."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from .turns import Timed

COLUMNS = ("eager", "compile", "memory")
_TIMES = ("nyala ms", "eager ms", "compile ms")
_RATIOS = ("eager", "spread", "best", "compile", "spread", "best", "nyala MB", "torch MB", "memory")
_GPU_TIMES = ("nyala ms", "ny.comp. ms", "eager ms", "compile ms", "a second")


def ratio_and_spread(theirs: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The median over the turns of (their median / ours), and (largest - smallest) / median of these ratios.

    Each turn of one library is set against the turn of the other right beside it, so that a machine whose speed drifts
    slows both sides of a ratio.

    Example:
        >>> ratio_and_spread([[4.0], [4.0], [6.0]], [[2.0], [2.0], [2.0]])
        (2.0, 0.5)
    """
    ratios = [statistics.median(t) / statistics.median(o) for t, o in zip(theirs, ours, strict=True)]
    middle = statistics.median(ratios)
    return middle, (max(ratios) - min(ratios)) / middle


def figures(row: str, found: dict[str, Timed]) -> dict[str, Any]:
    """One object of the JSON: ratios torch / nyala, null where there is none, and what they were made of.

    ``eager_best`` and ``compile_best`` are the ratios of the quickest calls, which noise of other programs changes least.
    Where nyala was compiled too, ``torch.compile`` is set against that.
    """
    result: dict[str, Any] = {"row": row, "eager": None, "compile": None, "memory": None}
    ours = found["nyala"]
    for column, timed in found.items():
        if timed.failure is not None:
            result[f"{column}_failure"] = timed.failure
            continue
        result[f"{column}_ms"] = statistics.median(t for turn in timed.turns for t in turn) * 1e3
        result[f"{column}_MB"] = timed.memory / 1e6
        if timed.variant is not None:
            result[f"{column}_layout"] = timed.variant.layout
        beside = found.get("nyala_compile", ours) if column == "compile" else ours
        if column in ("eager", "compile") and beside.failure is None:
            result[column], result[f"{column}_spread"] = ratio_and_spread(timed.turns, beside.turns)
            result[f"{column}_best"] = min(map(min, timed.turns)) / min(map(min, beside.turns))
    if result["eager"] is not None:
        result["memory"] = found["eager"].memory / ours.memory
    return result


def means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The geometric mean of each column that has figures.

    Example:
        >>> means([{"eager": 1.0, "compile": None, "memory": 2.0}, {"eager": 4.0, "compile": None, "memory": 2.0}])
        {'eager': 2.0, 'memory': 2.0}
    """
    columns = {column: [row[column] for row in rows if row[column] is not None] for column in COLUMNS}
    return {column: statistics.geometric_mean(values) for column, values in columns.items() if values}


def _number(row: dict[str, Any], key: str, form: str) -> str:
    return "-" if row.get(key) is None else format(row[key], form)


def per_second(row: dict[str, Any], items: int) -> float | None:
    """How much of what a row is counted in nyala does in a second, in the quicker of its ways."""
    times = [row[key] for key in ("nyala_ms", "nyala_compile_ms") if row.get(key)]
    return items / (min(times) * 1e-3) if times else None


def cells(row: dict[str, Any], gpu: bool = False) -> list[str]:
    """A row of the table as texts."""
    times = [_number(row, f"{column}_ms", ".3f") for column in ("nyala", *(["nyala_compile"] if gpu else []), "eager", "compile")]
    times += [_number(row, "per_second", ".0f")] if gpu else []
    ratios = []
    for column in ("eager", "compile"):
        ratios += [_number(row, column, ".2f"), _number(row, f"{column}_spread", ".0%"), _number(row, f"{column}_best", ".2f")]
    memory = [_number(row, f"{column}_MB", ".0f") for column in ("nyala", "eager")] + [_number(row, "memory", ".2f")]
    return [row["row"], *times, *ratios, *memory]


def mean_cells(rows: Sequence[dict[str, Any]], gpu: bool = False) -> list[str]:
    """The line of geometric means."""
    found: dict[str, Any] = {"row": "geometric mean", **means(rows)}
    return cells(found, gpu)


def _headings(gpu: bool) -> tuple[str, ...]:
    return "row", *(_GPU_TIMES if gpu else _TIMES), *_RATIOS


def heading(gpu: bool = False) -> str:
    """The table's first line on a terminal."""
    return line(_headings(gpu))


def line(texts: Sequence[str]) -> str:
    """A line of the table on a terminal."""
    times = len(texts) - 1 - len(_RATIOS)
    return f"{texts[0]:<34}" + "".join(f"{text:>12}" if i < times else f"{text:>9}" for i, text in enumerate(texts[1:]))


def notes(row: dict[str, Any]) -> list[str]:
    """What went wrong in a row, a sentence each."""
    return [f"{row['row']}: {key.removesuffix('_failure')} failed: {row[key]}" for key in row if key.endswith("_failure")]


def markdown(rows: Sequence[dict[str, Any]], machine: Sequence[tuple[str, str]], gpu: bool = False) -> str:
    """The table and the machine as Markdown."""
    headings = _headings(gpu)
    lines = [f"- {name}: {value}" for name, value in machine]
    lines += ["", "| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(cells(row, gpu)) + " |" for row in rows]
    lines += ["| " + " | ".join(mean_cells(rows, gpu)) + " |", ""]
    lines += [f"- {note}" for row in rows for note in notes(row)]
    chosen = [row["row"] for row in rows if "channels_last" in (row.get("eager_layout"), row.get("compile_layout"))]
    lines += [f"- torch was faster in channels-last, and ran so, in: {', '.join(chosen)}"] if chosen else []
    lines.append("- ratios are torch / nyala, above 1 nyala wins: medians over the turns; spread: (largest - smallest) / median")
    lines.append("- best: the ratio of the quickest calls, which other programs on the machine change least")
    if gpu:
        lines.append("- compile: torch.compile / nyala.compile")
        lines.append("- a second: pictures, texts, tokens or sounds in nyala's quicker way")
        lines.append("- memory: what each library holds of the GPU's, eager, in a fresh process for each row")
    else:
        lines.append("- memory: the peak of a fresh process for each row and library, imports included")
    return "\n".join(lines) + "\n"
