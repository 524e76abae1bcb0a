"""Puts the report together: headline numbers, curves, confusion matrix, classes, samples, recipe, and proof."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from . import charts
from .charts import Line
from .style import CSS


@dataclass(frozen=True)
class Sample:
    """A test sample as the report shows it: its number, classes, the model's probability, and the picture (PNG) or text
    itself."""

    index: int
    label: str
    predicted: str
    probability: float
    picture: bytes | None = None
    text: str | None = None


def render(
    title: str,
    records: Iterable[Mapping[str, Any]],
    confusion: np.ndarray,
    labels: Sequence[str],
    samples: Sequence[Sample],
    recipe_toml: str,
    manifest: Mapping[str, Any],
    description: str = "",
) -> str:
    """The whole page as HTML.

    Args:
        title: the recipe's name.
        records: the lines of ``metrics.jsonl``.
        confusion: counts of (true, predicted) on the test part, (K, K).
        labels: K class names.
        samples: what to show; wrong ones are listed first.
        recipe_toml: ``recipe.resolved.toml``.
        manifest: ``manifest.json``.
    """
    records = list(records)
    final: Mapping[str, Any] = next((r for r in reversed(records) if r["kind"] == "final"), {})
    body = [
        f"<header><h1>{escape(title)}</h1><p>{escape(description)}</p></header>",
        _tiles(final, records),
        _section("Curves", f'<div class="charts">{_curves(records)}</div>'),
        _section("Classes", _class_table(confusion, labels)),
        _section("Confusion", _confusion(confusion, labels)),
        _section("Samples", _samples(samples)),
        _section("Recipe", _recipe(recipe_toml)),
        _section("Proof", _proof(manifest)),
    ]
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{escape(title)}</title><style>{CSS}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>{"".join(body)}</main></body></html>\n'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _tiles(final: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    steps = [r for r in records if r["kind"] == "step"]
    shown = [
        ("test accuracy", f"{100 * final['accuracy']:.1f} %" if "accuracy" in final else "-"),
        ("macro F1", f"{final['macro_f1']:.3f}" if "macro_f1" in final else "-"),
        ("test loss", f"{final['loss']:.4f}" if isinstance(final.get("loss"), float) else "-"),
        ("weights from step", str(final.get("weights_step", "-"))),
        ("steps", str(len(steps))),
        ("samples seen", f"{sum(r.get('samples', 0) for r in steps):,}"),
    ]
    tiles = "".join(f'<div class="tile"><b>{escape(value)}</b><span>{name}</span></div>' for name, value in shown)
    return f'<div class="tiles">{tiles}</div>'


def _curves(records: Sequence[Mapping[str, Any]]) -> str:
    def points(kind: str, key: str) -> list[tuple[float, float]]:
        return [(r["step"], float(r[key])) for r in records if r["kind"] == kind and key in r]

    train = points("step", "loss")
    part = next((str(r["part"]) for r in records if "part" in r), "test")
    loss = [
        Line("", charts.thinned(train), "faint"),
        Line("train", charts.thinned(charts.smoothed(train)), "a"),
        Line(part, points("eval", "loss"), "b", dots=True),
    ]
    right = [(r["step"], r["correct"] / r["samples"]) for r in records if r["kind"] == "step" and r.get("samples")]
    score = [
        Line("train accuracy", charts.thinned(charts.smoothed(right)), "faint"),
        Line("accuracy", points("eval", "accuracy"), "b", dots=True),
        Line("macro F1", points("eval", "macro_f1"), "a", dots=True),
    ]
    return "".join(
        [
            charts.line_chart("Loss", loss),
            charts.line_chart(f"Score ({part})", score),
            charts.line_chart("Learning rate", [Line("", charts.thinned(points("step", "lr")), "a")]),
            charts.line_chart("Gradient norm", [Line("", charts.thinned(points("step", "grad_norm")), "a")]),
        ]
    )


def _class_table(confusion: np.ndarray, labels: Sequence[str]) -> str:
    rows = []
    for k, label in enumerate(labels):
        hit, support, predicted = int(confusion[k, k]), int(confusion[k].sum()), int(confusion[:, k].sum())
        recall = hit / support if support else float("nan")
        precision = hit / predicted if predicted else float("nan")
        f1 = 2 * hit / (support + predicted) if support + predicted else float("nan")
        row = confusion[k].copy()
        row[k] = 0
        worst = f"{escape(labels[int(row.argmax())])} ({int(row.max())})" if row.max() else ""
        cells = "".join(_bar(v) for v in (precision, recall, f1))
        rows.append(f"<tr><th>{escape(label)}</th>{cells}<td>{support}</td><td>{worst}</td></tr>")
    head = "<tr><th>class</th><th>precision</th><th>recall</th><th>F1</th><th>samples</th><th>most often taken for</th></tr>"
    return f'<div class="scroll"><table class="classes">{head}{"".join(rows)}</table></div>'


def _bar(value: float) -> str:
    if value != value:  # no sample, or none predicted: the ratio does not exist
        return "<td>-</td>"
    return f'<td><span class="bar"><i style="width:{100 * value:.0f}%"></i></span>{value:.3f}</td>'


def _confusion(confusion: np.ndarray, labels: Sequence[str]) -> str:
    if len(labels) <= 30:
        note = '<p class="quiet">Rows are the true classes, columns the predictions.</p>'
        return note + charts.confusion_matrix(confusion, labels)
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(off, axis=None, kind="stable")[::-1][:30]
    pairs = [divmod(int(i), len(labels)) for i in order if off.flat[i]]
    rows = "".join(
        f"<tr><th>{escape(labels[a])}</th><td>{escape(labels[b])}</td><td>{int(off[a, b])}</td></tr>" for a, b in pairs
    )
    return f"<table><tr><th>class</th><th>taken for</th><th>times</th></tr>{rows}</table>"


def _samples(samples: Sequence[Sample]) -> str:
    wrong = [s for s in samples if s.label != s.predicted]
    right = [s for s in samples if s.label == s.predicted]
    parts = []
    if wrong:
        parts.append(f'<h3>Mistakes, the surest first</h3><div class="samples">{"".join(map(_sample, wrong))}</div>')
    if right:
        parts.append(f'<h3>Right answers, the least sure first</h3><div class="samples">{"".join(map(_sample, right))}</div>')
    return "".join(parts) or '<p class="quiet">none</p>'


def _sample(sample: Sample) -> str:
    inside = ""
    if sample.picture is not None:
        data = base64.b64encode(sample.picture).decode()
        inside = f'<img alt="test sample {sample.index}" src="data:image/png;base64,{data}">'
    elif sample.text is not None:
        inside = f"<blockquote>{escape(sample.text)}</blockquote>"
    good = sample.label == sample.predicted
    truth = "" if good else f" <small>is {escape(sample.label)}</small>"
    kind = "picture" if sample.picture is not None else "words"
    says = f'<b class="{"good" if good else "bad"}">{escape(sample.predicted)}</b> {100 * sample.probability:.0f} %{truth}'
    number = f'<small class="quiet">no. {sample.index}</small>'
    return f'<figure class="sample {kind}">{inside}<figcaption>{says} {number}</figcaption></figure>'


def _recipe(text: str) -> str:
    lines = []
    for line in text.rstrip().split("\n"):
        code, mark, origin = line.partition("  # ")
        note = f'<span class="quiet">{escape(mark + origin)}</span>' if mark else ""
        changed = mark and origin != "default"
        lines.append(f"<b>{escape(code)}</b>{note}" if changed else escape(code) + note)
    return f"<pre>{chr(10).join(lines)}</pre>"


def _proof(manifest: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{v}</td></tr>" for k, v in _facts(manifest))
    note = '<p class="quiet"><code>nyala verify</code> repeats this run and compares.</p>'
    return f'<div class="scroll"><table class="proof">{rows}</table></div>{note}'


def _facts(tree: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, str]]:
    for key, value in tree.items():
        here = f"{path} {key}".strip()
        if isinstance(value, Mapping):
            yield from _facts(value, here)
        elif isinstance(value, list):
            yield here, f'<span class="wrap">{escape(", ".join(map(str, value)))}</span>'
        else:
            yield here, f"<code>{escape(str(value))}</code>"
