"""The pieces that pages are made of: frame, tiles, tables, curves, and what a manifest says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...core.scores.intervals import Estimate
from ..judging.assessment import Assessment
from ..judging.judge_text import calibration_sentence
from ..judging.measurement import Measurement
from ..training import scores
from . import charts, diagrams
from .charts import Line
from .style import CSS

Record = Mapping[str, Any]
_FEW = 30  # classes that fit into a square
SHARES = ("accuracy", "top5", "recall_at_10")  # scores that people know as percentages


def frame(title: str, subtitle: str, body: Sequence[tuple[str, str]], before: str = "") -> str:
    """A whole page: header, links to the sections, and the sections that are not empty.

    Args:
        title, subtitle: plain text.
        body: (name, HTML) of each section.
        before: HTML between header and links.
    """
    filled = [(name, html) for name, html in body if html]
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, _ in filled)
    sections = "".join(f'<section id="{_anchor(name)}"><h2>{escape(name)}</h2>{html}</section>' for name, html in filled)
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f"{meta}<title>{escape(title)}</title><style>{CSS}</style>"
    top = f"<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p>{before}<nav>{links}</nav></header>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{top}{sections}</main></body></html>\n'


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def tiles(shown: Iterable[tuple[str, str, str]]) -> str:
    """Headline numbers: (name, value, words below it)."""
    made = (
        f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b><small>{escape(more)}</small></div>'
        for name, value, more in shown
    )
    return f'<div class="tiles">{"".join(made)}</div>'


def score_tiles(a: Assessment | Measurement) -> list[tuple[str, str, str]]:
    """The headline scores with their intervals."""
    found = []
    for key, name, e in a.summary():
        if not e.exists:
            continue
        share = key in SHARES
        value = f"{100 * e.value:.1f} %" if share else f"{e.value:.3f}"
        spread = f"{100 * e.low:.1f} to {100 * e.high:.1f} %" if share else f"{e.low:.3f} to {e.high:.3f}"
        found.append((name, value, f"95 %: {spread}"))
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself where it is too wide; the first cell of each row names it, and all cells are HTML."""
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join(f"<tr><th>{first}</th>{''.join(rest)}</tr>" for first, *rest in rows)
    return f'<div class="scroll"><table class="{kind}"><tr class="head">{top}</tr>{body}</table></div>'


def share(e: Estimate, with_range: bool = True) -> str:
    """A share as a cell: a bar, the interval on it, and both as numbers."""
    if not e.exists:
        return "<td>-</td>"
    whisker = f'<u style="left:{100 * e.low:.0f}%; width:{100 * (e.high - e.low):.0f}%"></u>'
    spread = f' <span class="range">{e.low:.2f} to {e.high:.2f}</span>' if with_range else ""
    return f'<td><span class="bar"><i style="width:{100 * e.value:.0f}%"></i>{whisker}</span>{e.value:.3f}{spread}</td>'


def class_table(a: Assessment) -> str:
    """Precision, recall and F1 of each class with 95 % intervals, the worst F1 first where there are many."""
    found = a.classes()
    many = len(found) > _FEW
    if many:
        found = sorted(found, key=lambda c: (c.f1.value if c.f1.exists else -1.0, c.label))
    rows = [
        [
            escape(c.label),
            *(share(v) for v in (c.precision, c.recall, c.f1)),
            f'<td class="number">{c.samples}</td>',
            f"<td>{escape(c.taken_for)} ({c.times})</td>" if c.times else "<td></td>",
        ]
        for c in found
    ]
    note = "<p class=\"quiet\">Behind each number its 95 % interval: Wilson's for precision and recall, the bootstrap's for F1."
    note += " The worst classes come first.</p>" if many else "</p>"
    return table(["class", "precision", "recall", "F1", "samples", "most often taken for"], rows, "classes") + note


def confusion(a: Assessment) -> str:
    """The confusion matrix, or the commonest confusions where there are many classes."""
    occurring = [int(k) for k in np.flatnonzero(a.matrix.sum(0) + a.matrix.sum(1))]
    if len(occurring) <= _FEW:
        note = '<p class="quiet">Rows are the true classes, columns the predictions.</p>'
        chosen = a.matrix[np.ix_(occurring, occurring)]
        return note + diagrams.confusion_matrix(chosen, [a.labels[k] for k in occurring]) if occurring else ""
    off = a.matrix.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:30]
    pairs = [divmod(int(i), len(a.labels)) for i in order if off.flat[i]]
    rows = [
        [escape(a.labels[t]), f"<td>{escape(a.labels[p])}</td>", f'<td class="number">{int(off[t, p])}</td>'] for t, p in pairs
    ]
    return table(["class", "taken for", "times"], rows)


def calibration(a: Assessment) -> str:
    """The reliability diagram and what it means."""
    said = f"<p>{escape(calibration_sentence(a))}</p>"
    note = (
        '<p class="quiet">Each pillar holds the samples of which the model was about that sure; it should end on the dashed '
        "line. A pillar below the line: the model is too sure.</p>"
    )
    rows = [
        [f"{100 * sure:.1f} %", f'<td class="number">{100 * right:.1f} %</td>', f'<td class="number">{count}</td>']
        for sure, right, count in a.reliability.bins()
    ]
    numbers = f"<details><summary>the numbers</summary>{table(['how sure', 'right', 'samples'], rows)}</details>"
    return f'<div class="beside">{diagrams.reliability_diagram(a.reliability)}<div>{said}{note}{numbers}</div></div>'


# ---- curves -------------------------------------------------------------------------------------------------------


def points(records: Iterable[Record], kind: str, key: str) -> list[tuple[float, float]]:
    """(step, value) of every record of a kind that has the key, where it is finite."""
    found = [(r["step"], float(r[key])) for r in records if r["kind"] == kind and r.get(key) is not None]
    return [(step, value) for step, value in found if np.isfinite(value)]


def train_accuracy(records: Iterable[Record]) -> list[tuple[float, float]]:
    """(step, share of right predictions in the step's batch)."""
    return [
        (r["step"], r["correct"] / r["samples"]) for r in records if r["kind"] == "step" and r.get("samples") and "correct" in r
    ]


def curves(records: Sequence[Record]) -> str:
    """Loss, scores, learning rate and gradient norm over the steps."""
    train = points(records, "step", "loss")
    part = next((str(r["part"]) for r in records if "part" in r), "test")
    loss = [
        Line("each step", charts.thinned(train) if len(train) > 20 else [], "faint"),
        Line("train", charts.thinned(charts.smoothed(train)), "a"),
        Line(part, points(records, "eval", "loss"), "b", dots=True),
    ]
    score = [
        Line("train accuracy", charts.thinned(charts.smoothed(train_accuracy(records))), "faint"),
        *(Line(name, points(records, "eval", key), style, dots=True) for key, name, style in _scores(records)),
    ]
    return "".join(
        [
            charts.line_chart("Loss", [line for line in loss if line.points]),
            charts.line_chart(f"Score ({part})", [line for line in score if line.points]),
            charts.line_chart("Learning rate", [Line("", charts.thinned(points(records, "step", "lr")), "a")]),
            charts.line_chart("Gradient norm", [Line("", charts.thinned(points(records, "step", "grad_norm")), "a")]),
        ]
    )


def _scores(records: Iterable[Record]) -> list[tuple[str, str, str]]:
    """(key, name, style) of the scores that evaluations recorded, whatever the task."""
    keys = dict.fromkeys(k for r in records if r["kind"] == "eval" for k, v in r.items() if isinstance(v, float) and k != "loss")
    styles = ("b", "a", *(f"c{i}" for i in range(2, 8)))
    return [(k, scores.title(k), styles[i % len(styles)]) for i, k in enumerate(keys)]


# ---- recipe and proof ---------------------------------------------------------------------------------------------


def recipe(text: str) -> str:
    """A resolved recipe; what was set stands out, and each value's origin is beside it."""
    lines = []
    for line in text.rstrip().split("\n"):
        code, mark, origin = line.partition("  # ")
        note = f'<span class="quiet">{escape(mark + origin)}</span>' if mark else ""
        changed = mark and origin != "default"
        lines.append(f"<b>{escape(code)}</b>{note}" if changed else escape(code) + note)
    return f"<pre>{chr(10).join(lines)}</pre>"


def facts(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """(path, HTML) of every leaf of a manifest."""
    for key, value in tree.items():
        here = f"{path} {key}".strip()
        if isinstance(value, Mapping):
            yield from facts(value, here)
        elif isinstance(value, list):
            yield here, f'<span class="wrap">{escape(", ".join(map(str, value)))}</span>'
        else:
            yield here, f"<code>{escape(str(value))}</code>"


def manifest_table(manifest: Mapping[str, Any]) -> str:
    """Everything that a manifest says, folded up."""
    rows = [[escape(name), f"<td>{value}</td>"] for name, value in facts(manifest)]
    return f"<details><summary>the whole manifest</summary>{table(['what', 'value'], rows, 'proof')}</details>" if rows else ""
