"""Adapters of one layer that is published as several, such as a fused ``qkv``: divided for others, and joined again.

The low-rank addition to a fused weight is ``B A``; that to a part of it is the part's rows of ``B`` times the same ``A``. So each
part gets ``A`` and its rows, which computes the same. Read back, parts with one ``A`` are joined as they were. Parts that learnt
an ``A`` each, or of which some are missing, become one adapter of as many directions as they have together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import CheckpointError

Array = np.ndarray[Any, Any]
Parts = Mapping[str, Sequence[tuple[str, int]]]
"""Path of a layer -> the published path of each of its parts, and how many rows of the weight it has, in order."""
_A, _B, _LENGTH = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"


def divided(tensors: Mapping[str, Array], path: str, parts: Sequence[tuple[str, int]]) -> dict[str, Array]:
    """The adapter of ``path`` as adapters of its parts, by their published names.

    Args:
        tensors: the adapter's arrays by our names; those of other layers are left out.
        path: of the layer.
        parts: its parts.

    Example:
        >>> state = {"qk.lora_A.weight": np.ones((1, 3)), "qk.lora_B.weight": np.arange(4.0).reshape(4, 1)}
        >>> found = divided(state, "qk", [("q", 2), ("k", 2)])
        >>> sorted(found), found["k.lora_B.weight"].ravel().tolist()
        (['k.lora_A.weight', 'k.lora_B.weight', 'q.lora_A.weight', 'q.lora_B.weight'], [2.0, 3.0])
    """
    found, start = {}, 0
    for name, rows in parts:
        for kind in (_A, _B, _LENGTH, f"{_LENGTH}.weight"):
            array = tensors.get(f"{path}.{kind}")
            if array is not None:
                found[f"{name}.{kind}"] = (array if kind == _A else array[start : start + rows]).copy()
        start += rows
    return found


def joined(
    state: dict[str, Array], layers: dict[str, tuple[int, float]], parts: Parts, rslora: bool, where: str
) -> tuple[dict[str, Array], dict[str, tuple[int, float]]]:
    """The arrays and the (rank, alpha) of layers, with those of parts put together as one layer's.

    Args:
        state: arrays by our names, those of parts by published ones.
        layers: path -> rank and alpha, so too.
        parts: of the layers that are published as several.
        rslora: whether alpha is divided by the root of the rank.
        where: the file, for messages.

    Raises:
        CheckpointError: lengths that were learnt apart (DoRA) of some of the parts alone, or shapes that do not fit each other.
    """
    state, layers = dict(state), dict(layers)
    for path, own in parts.items():
        if not any(name in layers for name, _ in own):
            continue
        given = {name: layers.pop(name) for name, _ in own if name in layers}
        taken = {name: {k: state.pop(f"{name}.{k}") for k in (_A, _B, _LENGTH) if f"{name}.{k}" in state} for name in given}
        _check(taken, own, where)
        ranks = {name: float(rank) ** (0.5 if rslora else 1.0) for name, (rank, _) in given.items()}
        scales = {name: alpha / ranks[name] for name, (_, alpha) in given.items()}
        first = next(iter(given))
        alike = len(given) == len(own) and all(given[n] == given[first] for n in given)
        if alike and all(np.array_equal(one[_A], taken[first][_A]) for one in taken.values()):
            state[f"{path}.{_A}"] = taken[first][_A]
            state[f"{path}.{_B}"] = np.concatenate([taken[name][_B] for name, _ in own])
            layers[path] = given[first]
        else:
            state[f"{path}.{_A}"] = np.concatenate([one[_A] for one in taken.values()])
            state[f"{path}.{_B}"] = _blocks(taken, own, {name: scale / scales[first] for name, scale in scales.items()})
            rank = sum(rank for rank, _ in given.values())
            layers[path] = rank, scales[first] * float(rank) ** (0.5 if rslora else 1.0)
        if _LENGTH in taken[first]:
            state[f"{path}.{_LENGTH}"] = np.concatenate([taken[name][_LENGTH] for name, _ in own])
    return state, layers


def _blocks(taken: Mapping[str, Mapping[str, Array]], own: Sequence[tuple[str, int]], factors: Mapping[str, float]) -> Array:
    """``B`` of the whole: each part's rows look at the part's own directions."""
    one = next(iter(taken.values()))[_B]
    whole = np.zeros((sum(rows for _, rows in own), sum(part[_B].shape[1] for part in taken.values())), one.dtype)
    row = column = 0
    for name, rows in own:
        if name in taken:
            block = taken[name][_B] * np.asarray(factors[name], one.dtype)
            whole[row : row + rows, column : column + block.shape[1]] = block
            column += block.shape[1]
        row += rows
    return whole


def _check(taken: Mapping[str, Mapping[str, Array]], own: Sequence[tuple[str, int]], where: str) -> None:
    rows = dict(own)
    for name, one in taken.items():
        if _A not in one or _B not in one or one[_B].shape != (rows[name], one[_A].shape[0]):
            shape = one[_B].shape if _B in one else "nothing"
            raise CheckpointError(f"{where}: {name} has {rows[name]} rows, its adapter {shape}", fix="use the model it is for")
    lengths = sum(_LENGTH in one for one in taken.values())
    if lengths not in (0, len(own)):
        raise CheckpointError(
            f"{where}: {', '.join(taken)} have lengths of their own (DoRA), other parts of the same layer have none",
            why="nyala has them in one layer, whose rows all have a length or none",
            fix="merge it with PEFT (merge_and_unload) and load the merged weights",
        )
