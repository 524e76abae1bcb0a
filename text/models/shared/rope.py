"""Rotary angles as published configurations describe them: two spellings, and ways of stretching them to longer texts.

Linear (Chen et al., arXiv:2306.15595), dynamic NTK, YaRN (Peng et al., arXiv:2309.00071), LongRoPE (Ding et al.,
arXiv:2402.13753) and Llama 3's, each as transformers has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....core.errors import DataError
from ....core.nn import Rotary

Stretching = Mapping[str, Any]
Array = np.ndarray[Any, Any]


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
        return {**theta, "rope_scaling": _stretched(new, config)}
    return {"rope_scaling": _stretched(config.get("rope_scaling"), config)}


def _stretched(found: Any, config: Mapping[str, Any]) -> Stretching | None:
    if not isinstance(found, Mapping) or found.get("rope_type", found.get("type")) in (None, "default"):
        return None
    known = {key: value for key, value in found.items() if key not in ("rope_theta", "partial_rotary_factor")}
    trained = config.get(_TRAINED)  # some models say it beside these, and mean that
    return known if trained is None else {**known, _TRAINED: trained}


_TRAINED = "original_max_position_embeddings"
_NEEDED: dict[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": (),
    "longrope": (),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
_OLD = {"su": "longrope"}


def rotary(width: int, theta: float, scaling: Stretching | None, positions: int) -> Rotary:
    """The rotary positions of a model.

    Dynamic NTK and LongRoPE turn by the length of the batch so far: what is read at once has the angles of all of it, padding
    included, and keys that caches hold keep those that they had.

    Args:
        width: features that are turned.
        theta: base of the geometric series.
        scaling: how the angles are stretched: ``rope_type`` and its numbers; None for as they are.
        positions: ``max_position_embeddings``.

    Raises:
        DataError: a stretching that is not known here, or without its numbers.

    Example:
        >>> round(rotary(4, 10000.0, {"rope_type": "yarn", "factor": 4.0}, 64).amplitude, 4)
        1.1386
    """
    kind = _kind(scaling)
    if scaling is None or kind in ("linear", "llama3"):
        return Rotary(width, theta, frequencies=rope_frequencies(width, theta, scaling, positions))
    number = _numbers(scaling, kind, positions)
    trained, factor = number[_TRAINED], number["factor"]
    if kind == "dynamic":
        return Rotary(width, theta, frequencies=lambda length: _plain(width, _ntk(width, theta, factor, length / positions)))
    if kind == "yarn":
        return Rotary(width, theta, frequencies=_yarn(width, theta, factor, trained, scaling), amplitude=_louder(scaling, factor))
    short, long = (_divisors(scaling, name, width) for name in ("short_factor", "long_factor"))
    plain, usual = _plain(width, theta), 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(trained))
    given = scaling.get("attention_factor")
    return Rotary(
        width,
        theta,
        frequencies=lambda length: plain / (long if length > trained else short),
        amplitude=usual if given is None else float(given),
    )


def reach(scaling: Stretching | None, positions: int) -> int:
    """Tokens that a model reads at most: YaRN and dynamic NTK go beyond what ``max_position_embeddings`` says.

    Example:
        >>> reach({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 32768)
        131072
    """
    kind = _kind(scaling)
    if scaling is None or kind not in ("yarn", "dynamic"):
        return positions
    number = _numbers(scaling, kind, positions)
    return max(positions, int(number["factor"] * (number[_TRAINED] if kind == "yarn" else positions)))


def rope_frequencies(width: int, theta: float, scaling: Stretching | None = None, positions: int = 0) -> Array:
    """Turns of each pair of features per position, float64 (width / 2,), where they do not depend on the text.

    Args:
        width, theta, scaling, positions: as of :func:`rotary`; ``rope_type`` "linear" or "llama3", or None.

    Raises:
        DataError: another stretching, or without its numbers.

    Example:
        >>> rope_frequencies(4, 10000.0, {"rope_type": "linear", "factor": 2.0})
        array([0.5  , 0.005])
    """
    plain, kind = _plain(width, theta), _kind(scaling)
    if scaling is None:
        return plain
    number = _numbers(scaling, kind, positions)
    if kind == "linear":
        return plain / number["factor"]
    # slow turns are divided by the factor, quick ones stay, and those between are blended (Llama 3.1)
    low, high = number["low_freq_factor"], number["high_freq_factor"]
    share = np.clip((number[_TRAINED] * plain / (2 * math.pi) - low) / (high - low), 0, 1)
    return plain * (share + (1 - share) / number["factor"])


def _plain(width: int, theta: float) -> Array:
    return theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)


def _kind(scaling: Stretching | None) -> str:
    if scaling is None:
        return ""
    found = scaling.get("rope_type", scaling.get("type"))
    kind = _OLD.get(str(found), str(found))
    if kind not in _NEEDED:
        raise DataError(
            f"rope_scaling of type {found!r}", why=f"nyala knows {', '.join(map(repr, _NEEDED))}", fix="choose other weights"
        )
    return kind


def _numbers(scaling: Stretching, kind: str, positions: int) -> dict[str, float]:
    """The numbers of a stretching; what may be left out follows from ``positions``."""
    found = {name: value for name, value in scaling.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}
    found.setdefault(_TRAINED, positions)
    if kind in ("yarn", "longrope") and found[_TRAINED] > 0:
        found.setdefault("factor", positions / found[_TRAINED])
    missing = [name for name in (*_NEEDED[kind], *(() if kind in ("linear", "dynamic") else (_TRAINED,))) if not found.get(name)]
    if missing:
        raise DataError(f"rope_scaling of type {kind!r} without {', '.join(missing)}", fix="correct the config.json")
    return found


def _ntk(width: int, theta: float, factor: float, times: float) -> float:
    """The base for a text ``times`` as long as those of the training (u/emozilla's dynamic NTK)."""
    return float(theta * (factor * max(times, 1.0) - (factor - 1)) ** (width / (width - 2)))


def _yarn(width: int, theta: float, factor: float, trained: float, scaling: Stretching) -> Array:
    """Pairs that turn often in the trained length stay, those that turn seldom are divided by the factor, and those between are
    blended."""

    def pair(turns: float) -> float:
        """The pair of features that makes so many turns in the trained length."""
        return width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair(scaling.get("beta_fast") or 32), pair(scaling.get("beta_slow") or 1)
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    divided = np.clip((np.arange(width // 2) - low) / (high - low if high != low else 0.001), 0, 1)
    plain = _plain(width, theta)
    return plain / factor * divided + plain * (1 - divided)


def _louder(scaling: Stretching, factor: float) -> float:
    """By what YaRN multiplies cosines and sines, so that scores of far more tokens stay as sharp."""

    def of(scale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

    given, own, every = (scaling.get(name) for name in ("attention_factor", "mscale", "mscale_all_dim"))
    if given is not None:
        return float(given)
    return of(own) / of(every) if own and every else of(1.0)


def _divisors(scaling: Stretching, name: str, width: int) -> Array:
    found = scaling.get(name)
    numbers = isinstance(found, (list, tuple)) and all(isinstance(v, (int, float)) and v > 0 for v in found)
    if not numbers or len(found) != width // 2:  # type: ignore[arg-type]
        raise DataError(
            f"rope_scaling of type 'longrope' needs {width // 2} positive numbers as {name}", fix="correct the config.json"
        )
    return np.array(found, np.float64)
