"""The page of one run: headline numbers, curves, classes, confusion, calibration, samples, recipe, and proof."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..progress import duration
from . import parts
from .samples import gallery
from .view import View


def run_page(view: View) -> str:
    """The report of one run as HTML."""
    a = view.assessment
    body = [
        ("Curves", f'<div class="charts">{parts.curves(view.records)}</div>' if view.records else ""),
        ("Classes", parts.class_table(a) if a else ""),
        ("Confusion", parts.confusion(a) if a else ""),
        ("Calibration", parts.calibration(a) if a else ""),
        ("Samples", _samples(view)),
        ("Recipe", _origin_note() + parts.recipe(view.recipe)),
        ("Reproducibility", reproducibility(view)),
    ]
    return parts.frame(view.title, view.description, body, warning(view) + _tiles(view))


def warning(view: View) -> str:
    """What to know before anything on the page is believed."""
    if not view.changed:
        return ""
    named = " and ".join(view.changed)
    verb = "is not what it was" if len(view.changed) == 1 else "are not what they were"
    return (
        f'<p class="bad"><b>{escape(view.name)}: {escape(named)} {verb} when the run ended: do not trust these numbers.</b></p>'
    )


def _tiles(view: View) -> str:
    final = view.final
    shown = parts.score_tiles(view.judged) if view.judged else _plain_scores(final)
    seen = sum(r.get("samples", 0) for r in view.steps)
    state = "finished" if view.manifest.get("outputs") else "not finished"
    took = f"{duration(view.seconds)} in steps" if view.seconds else ""
    shown += [
        ("steps", f"{len(view.steps):,}", f"{seen:,} samples seen"),
        ("weights from step", str(final.get("weights_step", "-")), state + (f", {took}" if took else "")),
    ]
    return parts.tiles(shown)


def _plain_scores(final: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The scores of a run that is no classification, as recorded."""
    return [(k.replace("_", " "), f"{v:.4f}", "test part") for k, v in final.items() if isinstance(v, float)]


def _samples(view: View) -> str:
    if view.samples is not None:
        return gallery(view.samples, by_class=view.measurement is None)
    return f'<p class="quiet">{escape(view.without_samples)}</p>' if view.without_samples else ""


def _origin_note() -> str:
    return (
        '<p class="quiet">Every value with where it came from: what the recipe or the command line set is bold. This text is '
        "itself a recipe: <code>nyala run RUN/recipe.resolved.toml</code>.</p>"
    )


def reproducibility(view: View) -> str:
    """What the run was made of, what repeating it gives, and the whole manifest."""
    m = view.manifest
    if not m:
        return '<p class="quiet">The run has no manifest yet.</p>'
    made_of = [
        ("recipe", m["recipe"]["name"], m["recipe"].get("sha256")),
        ("code", f"nyala {m['code']['version']}", m["code"].get("sha256")),
        ("data", m["data"]["name"], m["data"].get("train")),
        ("weights", m["weights"]["name"], _weights(m["weights"])),
        ("result", "metrics.jsonl", m.get("outputs", {}).get("metrics.jsonl")),
        ("proof", "one number over the whole history", m.get("proof")),
    ]
    rows = [[name, f"<td>{escape(str(what))}</td>", f"<td>{_hash(sha)}</td>"] for name, what, sha in made_of if sha]
    return _statement(view) + parts.table(["", "what", "sha256"], rows, "proof") + parts.manifest_table(m)


def _weights(hashes: Mapping[str, str]) -> str | None:
    """The hash of the file that holds the weights."""
    return next((sha for name, sha in hashes.items() if name.endswith((".safetensors", ".pth", ".bin", ".gguf"))), None)


def _hash(sha: Any) -> str:
    return f"<code>{escape(str(sha))}</code>"


def _statement(view: View) -> str:
    e = view.manifest.get("environment", {})
    seed = view.manifest.get("seeds", {}).get("seed", 0)
    machine = ", ".join(str(e[k]) for k in ("cpu", "machine", "blas") if e.get(k))
    numpy = escape(str(e.get("numpy", "-")))
    return (
        f"<p>Everything drawn at random follows from the seed {seed}. Repeated with the same code, data and weights on such a "
        f"machine ({escape(machine)}, NumPy {numpy}), every bit is the same (<b>bitwise</b>), whatever the number of threads and "
        "however often the run is interrupted. On another processor or device every loss stays within a measured bound "
        "(<b>bounded</b>); with another seed or another version of nyala the final score lies within its interval "
        f"(<b>statistical</b>).</p>{_sittings(view.manifest)}"
        f"<p><code>nyala verify {escape(view.name)}</code> repeats the run and names the first step that differs.</p>"
    )


def _sittings(manifest: Mapping[str, Any]) -> str:
    """Where the run went on after an interruption, and what was different then."""
    resumed = manifest.get("resumed") or []
    if not resumed:
        return ""
    said = []
    for one in resumed:
        changed = "; ".join(map(str, one.get("differences", [])))
        said.append(f"at step {one.get('step', '?')}" + (f" with {escape(changed)}" if changed else ""))
    times = "once" if len(resumed) == 1 else f"{len(resumed)} times"
    return f"<p>It was interrupted and went on {times}: {', '.join(said)}.</p>"
