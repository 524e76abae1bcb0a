"""The page of several runs: results side by side, the settings that differ, and curves over each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...core.scores.intervals import Estimate, percentiles, resamples
from ..progress import duration
from . import charts, parts
from .charts import Line
from .page import warning
from .view import View

STYLES = 8  # colours there are
_IGNORED = ("run", "description", "data.workers")


def comparison_page(views: Sequence[View]) -> str:
    """Several runs on one page.

    Args:
        views: two or more; the first is what the others are compared with.
    """
    names = names_of(views)
    body = [
        ("Results", _results(views, names)),
        ("Settings that differ", _settings(views, names)),
        ("Curves", f'<div class="charts">{_curves(views, names)}</div>'),
        ("Classes", _classes(views, names)),
        ("Made with", _made_with(views, names)),
    ]
    return parts.frame(f"{len(views)} runs", ", ".join(names), body, "".join(map(warning, views)))


def names_of(views: Sequence[View]) -> list[str]:
    """What the runs are called: their folders' names, with the parent's where two are the same.

    Example:
        >>> from pathlib import Path
        >>> from types import SimpleNamespace as V
        >>> names_of([V(name="a-1", folder=Path("x/a-1")), V(name="a-1", folder=Path("y/a-1"))])
        ['x/a-1', 'y/a-1']
    """
    names = [v.name for v in views]
    return [f"{v.folder.parent.name}/{v.name}" if names.count(v.name) > 1 else v.name for v in views]


def _results(views: Sequence[View], names: Sequence[str]) -> str:
    judged = [{key: (name, e) for key, name, e in v.judged.summary()} if v.judged else {} for v in views]
    keys = dict.fromkeys(key for found in judged for key in found)
    titles = {key: name for found in judged for key, (name, _) in found.items()}
    alike = all(v.manifest.get("data") == views[0].manifest.get("data") for v in views)
    best = _best(judged) if alike else None
    rows = []
    for i, (view, name, found) in enumerate(zip(views, names, judged, strict=True)):
        state = "" if view.manifest.get("outputs") else ' <span class="quiet">not finished</span>'
        cells = [f'<span class="key c{i % STYLES}">{escape(name)}</span>{state}']
        for key in keys:
            cells.append(_score(key, found[key][1], (i, key) == best) if key in found else "<td>-</td>")
            if key == "accuracy":
                cells.append(_against(view, views[0]) if i else "<td></td>")
        cells += [_number(f"{len(view.steps):,}"), _number(str(view.final.get("weights_step", "-")))]
        cells.append(_number(duration(view.seconds) if view.seconds else "-"))
        rows.append(cells)
    head = ["run"]
    for key in keys:
        head += [titles[key], "more than the first"] if key == "accuracy" else [titles[key]]
    note = (
        '<p class="quiet">On the test part; in grey the 95 % intervals. "More than the first" compares the two answers to each '
        "sample: where its interval holds 0, the difference may be chance.</p>"
    )
    return parts.table([*head, "steps", "weights from", "time in steps"], rows) + note


def _best(judged: Sequence[Mapping[str, tuple[str, Estimate]]]) -> tuple[int, str] | None:
    """The run with the best first score, and that score's key."""
    key = next((k for found in judged for k in found), None)
    values = [(found[key][1].value, -i) for i, found in enumerate(judged) if key in found] if key else []
    return (-max(values)[1], key) if values and key else None


def _score(key: str, e: Estimate, strong: bool) -> str:
    share = key in parts.SHARES
    return _estimate(e, 100 if share else 1, " %" if share else "", strong)


def _number(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _estimate(e: Estimate, factor: float = 1, unit: str = "", strong: bool = False) -> str:
    if not e.exists:
        return "<td>-</td>"
    digits = 1 if factor == 100 else 3
    value = f"{factor * e.value:.{digits}f}{unit}"
    spread = f"{factor * e.low:.{digits}f} to {factor * e.high:.{digits}f}"
    return f'<td>{f"<b>{value}</b>" if strong else value} <span class="range">{spread}</span></td>'


def difference(view: View, first: View) -> Estimate | None:
    """How much more accurate a run is than another on the same samples, with a paired bootstrap interval; None where they were
    not tested on the same."""
    a, b = view.assessment, first.assessment
    if a is None or b is None or not np.array_equal(a.truth, b.truth) or not _same_data(view, first):
        return None
    gain = a.right.astype(np.float64) - b.right
    return percentiles(float(gain.mean()), np.array([gain[draw].mean() for draw in resamples(len(gain))]))


def _same_data(a: View, b: View) -> bool:
    """Same files, split the same way: then sample i is the same in both."""
    split = [k for k in a.settings | b.settings if k.startswith("data.") and k not in _INDIFFERENT_DATA]
    same = all(a.settings.get(k) == b.settings.get(k) for k in split)
    drawn = a.settings.get("seed") == b.settings.get("seed") or not _is_drawn(a)
    return a.manifest.get("data") == b.manifest.get("data") and same and drawn


_INDIFFERENT_DATA = ("data.workers", "data.batch_size", "data.eval_batch_size", "data.augment", "data.limit_train",
                     "data.validation_fraction")  # fmt: skip


def _is_drawn(view: View) -> bool:
    """Whether the seed decides what is tested on."""
    return "data.limit_test" in view.settings or not {"test"} <= view.manifest.get("data", {}).keys()


def _against(view: View, first: View) -> str:
    e = difference(view, first)
    if e is None:
        return '<td class="quiet">other samples</td>'
    low, high = (f"{100 * v:+.1f}" for v in (e.low, e.high))
    return f'<td>{100 * e.value:+.1f} % <span class="range">{low} to {high}</span></td>'


def _settings(views: Sequence[View], names: Sequence[str]) -> str:
    rows = differing(views)
    if not rows:
        return '<p class="quiet">None: the recipes say the same.</p>'
    made = [[f"<code>{escape(key)}</code>", *(f'<td class="setting">{_value(v)}</td>' for v in values)] for key, values in rows]
    return parts.table(["key", *names], made)


def differing(views: Sequence[View]) -> list[tuple[str, list[Any]]]:
    """(key path, value in each run) of every setting that is not the same in all and may change a result."""
    keys = sorted({k for v in views for k in v.settings if not k.startswith("run.") and k not in _IGNORED})
    return [
        (k, [v.settings.get(k) for v in views]) for k in keys if any(v.settings.get(k) != views[0].settings.get(k) for v in views)
    ]


def _value(value: Any) -> str:
    if value is None:
        return '<span class="quiet">-</span>'
    return f"<code>{escape(value if isinstance(value, str) else json.dumps(value, default=str))}</code>"


def _curves(views: Sequence[View], names: Sequence[str]) -> str:
    def lines(of: Callable[[View], charts.Points], dots: bool = False) -> list[Line]:
        found = [
            Line(n, charts.thinned(of(v)), f"c{i % STYLES}", dots) for i, (v, n) in enumerate(zip(views, names, strict=True))
        ]
        return [line for line in found if line.points]

    drawn = [
        ("Training loss", lines(lambda v: charts.smoothed(parts.points(v.records, "step", "loss")))),
        ("Evaluation loss", lines(lambda v: parts.points(v.records, "eval", "loss"), dots=True)),
        ("Accuracy", lines(lambda v: parts.points(v.records, "eval", "accuracy"), dots=True)),
        ("Macro F1", lines(lambda v: parts.points(v.records, "eval", "macro_f1"), dots=True)),
        ("Learning rate", lines(lambda v: parts.points(v.records, "step", "lr"))),
        ("Gradient norm", lines(lambda v: charts.smoothed(parts.points(v.records, "step", "grad_norm")))),
    ]
    return "".join(charts.line_chart(title, found) for title, found in drawn if found)


def _classes(views: Sequence[View], names: Sequence[str]) -> str:
    """F1 of each class in each run, where all runs have the same classes."""
    finished = [(v.assessment, n) for v, n in zip(views, names, strict=True) if v.assessment]
    if len(finished) < 2 or any(list(a.labels) != list(finished[0][0].labels) for a, _ in finished):
        return ""
    by_run = [{c.label: c for c in a.classes()} for a, _ in finished]
    labels = [label for label in finished[0][0].labels if any(label in found for found in by_run)]
    rows = [
        [escape(label), *(parts.share(found[label].f1) if label in found else "<td>-</td>" for found in by_run)]
        for label in labels
    ]
    return parts.table(["F1", *(n for _, n in finished)], rows)


def _made_with(views: Sequence[View], names: Sequence[str]) -> str:
    """What differs in code, data, weights and environment."""
    trees = [dict(_plain_facts(v.manifest)) for v in views]
    keys = [k for k in dict.fromkeys(k for t in trees for k in t) if not k.startswith(("outputs", "recipe", "seeds"))]
    rows = [
        [escape(k), *(f'<td><span class="wrap">{t.get(k, "-")}</span></td>' for t in trees)]
        for k in keys
        if any(t.get(k) != trees[0].get(k) for t in trees)
    ]
    if not rows:
        return '<p class="quiet">The same code, data, weights and environment.</p>'
    return parts.table(["what", *names], rows, "proof")


def _plain_facts(manifest: Any) -> Any:
    return parts.facts(manifest)
