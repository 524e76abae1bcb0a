"""Published sound datasets in folders of their own kind: classes, or transcripts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....audio.datasets.layouts import Layout, Recording, recognise
from ....audio.datasets.utterances import Utterance
from ....core.errors import DataError, did_you_mean
from ...language.schema import Columns, Data
from ...proof import hashing
from ..datasets import Raw
from .manifests import Samples, assemble
from .speech import of_utterances


def read(recipe: Data) -> Raw | None:
    """The dataset of a folder that has a published layout; None for any other.

    A dataset with transcripts gives these, unless ``data.columns.label`` names another value.

    Raises:
        DataError: a value that it has not, or parts beside its own.
    """
    layout = recognise(Path(recipe.name).expanduser())
    if layout is None:
        return None
    refused = [key for key in ("validation", "test", "subset") if getattr(recipe, key) is not None]
    if refused or recipe.columns != Columns(label=recipe.columns.label):
        raise DataError(
            f"{recipe.name} is {layout.name}, which has its own parts and columns",
            fix=f"leave data.{refused[0] if refused else 'columns'} out; data.columns.label may be {' or '.join(layout.values)}",
        )
    notes = (f"read as {layout.name}", *layout.notes)
    if layout.text and recipe.columns.label is None:
        parts: dict[str, Sequence[Utterance]] = {}
        for part, found in layout.parts.items():
            parts[part] = [_utterance(one, layout) for one in found]
        return replace(of_utterances(parts, _hashes(layout)), notes=notes)
    samples = {part: _samples(found, _target(layout, recipe), layout) for part, found in layout.parts.items()}
    raw = assemble(samples, recipe.name)
    return replace(raw, notes=(*notes, *raw.notes))


def _target(layout: Layout, recipe: Data) -> str:
    wanted = recipe.columns.label or layout.target
    if wanted not in layout.values:
        fix = did_you_mean(wanted, layout.values) or f"it has {', '.join(layout.values)}"
        raise DataError(f"{layout.name} in {layout.root} has no {wanted!r}", fix=fix)
    return wanted


def _samples(found: list[Recording], target: str, layout: Layout) -> Samples:
    told = [one for one in found if one.values.get(target)]  # people need not state their gender or age
    if not told:
        raise DataError(f"no recording in {layout.root} states its {target}", fix="choose another value as the label")
    labels = [one.values[target] for one in told]
    return Samples("sound", [one.path for one in told], labels, [str(one.path) for one in told], _digest(found, layout))


def _utterance(one: Recording, layout: Layout) -> Utterance:
    return Utterance(one.path, one.values[layout.text], one.values.get("locale") or None)


def _hashes(layout: Layout) -> dict[str, str]:
    return {part: _digest(found, layout) for part, found in layout.parts.items()}


def _digest(found: list[Recording], layout: Layout) -> str:
    files = [one.path for one in found] + list(layout.tables)
    sounds = hashing.of_files((path.relative_to(layout.root).as_posix(), path) for path in files)
    told = "\n".join("\t".join(f"{k}={v}" for k, v in one.values.items()) for one in found)
    return hashlib.sha256(f"{sounds}\n{told}".encode()).hexdigest()
