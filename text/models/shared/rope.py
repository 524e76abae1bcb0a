"""Rotary angles as published configurations describe them: two spellings, and ways of stretching them to longer texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....core.errors import DataError

Stretching = Mapping[str, Any]


def rope_settings(config: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    """Base and stretching of the angles, ``rope_theta`` and ``rope_scaling``, as far as a ``config.json`` says them.

    Args:
        config: of transformers 4, with these two keys, or 5, with ``rope_parameters``.
        kind: the kind of layers, where each has its own: "full_attention", "sliding_attention".

    Example:
        >>> rope_settings({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}})
        {'rope_theta': 500.0, 'rope_scaling': None}
    """
    new = config.get("rope_parameters")
    if isinstance(new, Mapping) and kind is not None and isinstance(new.get(kind), Mapping):
        new = new[kind]
    if isinstance(new, Mapping) and (kind is None or "rope_type" in new or "rope_theta" in new):
        theta = {"rope_theta": new["rope_theta"]} if "rope_theta" in new else {}
        return {**theta, "rope_scaling": _stretched(new)}
    return {"rope_scaling": _stretched(config.get("rope_scaling"))}


def _stretched(found: Any) -> Stretching | None:
    if not isinstance(found, Mapping) or found.get("rope_type", found.get("type")) in (None, "default"):
        return None
    return {key: value for key, value in found.items() if key not in ("rope_theta", "partial_rotary_factor")}


def rope_frequencies(width: int, theta: float, scaling: Stretching | None = None) -> np.ndarray[Any, Any]:
    """Turns of each pair of features per position, float64 (width / 2,).

    Args:
        width: features that are turned.
        theta: base of the geometric series.
        scaling: how the angles are stretched: ``rope_type`` "linear" or "llama3" with its numbers; None for as they are.

    Raises:
        DataError: a stretching that is not known here, or without its numbers.

    Example:
        >>> rope_frequencies(4, 10000.0, {"rope_type": "linear", "factor": 2.0})
        array([0.5  , 0.005])
    """
    plain = theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
    if scaling is None:
        return plain
    kind = scaling.get("rope_type", scaling.get("type"))
    needed = {
        "linear": ["factor"],
        "llama3": ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
    }
    if kind not in needed:
        raise DataError(f"rope_scaling of type {kind!r}", why="nyala knows 'linear' and 'llama3'", fix="choose other weights")
    missing = [name for name in needed[kind] if not isinstance(scaling.get(name), (int, float))]
    if missing:
        raise DataError(f"rope_scaling of type {kind!r} without {', '.join(missing)}", fix="correct the config.json")
    if kind == "linear":
        return plain / scaling["factor"]
    # slow turns are divided by the factor, quick ones stay, and those between are blended (Llama 3.1)
    low, high, context = (scaling[name] for name in needed["llama3"][1:])
    share = np.clip((context * plain / (2 * math.pi) - low) / (high - low), 0, 1)
    return plain * (share + (1 - share) / scaling["factor"])
