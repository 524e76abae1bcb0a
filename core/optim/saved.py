"""An optimizer's state out and in: torch's nested dict, and flat arrays by parameter name. Whole or not at all."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import devices
from ..errors import CheckpointError, did_you_mean
from ..tensor import Tensor
from . import masters

if TYPE_CHECKING:
    from .optimizer import Optimizer


def _numbered(optimizer: Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    """Every parameter with its group, in the order that numbers them."""
    return [(p, group) for group in optimizer.param_groups for p in group["params"]]


def pack(optimizer: Optimizer) -> dict[str, Any]:
    """See ``Optimizer.state_dict``."""
    numbers = {id(p): i for i, (p, _) in enumerate(_numbered(optimizer))}
    groups = [
        {**{k: copy.copy(v) for k, v in g.items() if k != "params"}, "params": [numbers[id(p)] for p in g["params"]]}
        for g in optimizer.param_groups
    ]
    state = {i: dict(optimizer.state[p]) for i, (p, _) in enumerate(_numbered(optimizer)) if optimizer.state.get(p)}
    return {"state": state, "param_groups": groups}


def unpack(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """See ``Optimizer.load_state_dict``."""
    groups = _merged_groups(optimizer, state_dict)
    for group in groups:
        optimizer._check_group(group)
    order = [number for g in state_dict["param_groups"] for number in g["params"]]
    entries = dict(zip(order, _pairs(groups), strict=True))
    given = {n: state for n, state in state_dict["state"].items() if any(v is not None for v in state.values())}
    unknown = [number for number in given if number not in entries]
    if unknown:
        raise CheckpointError(
            f"the state has entries for parameters {unknown[:5]}, which its groups do not name",
            why="one part of it was changed without the other",
            fix="pass what optimizer.state_dict() gave",
        )
    _take_over(optimizer, {n: entries[n] for n in entries if n in given}, given)
    for mine, group in zip(optimizer.param_groups, groups, strict=True):
        mine.update({k: copy.copy(v) for k, v in group.items() if k != "params"})


def _merged_groups(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The optimizer's groups with the settings of the state."""
    if not {"state", "param_groups"} <= set(state_dict):
        raise CheckpointError(
            f"this is no state of an optimizer: {sorted(map(str, state_dict))[:5]}", fix="pass what optimizer.state_dict() gave"
        )
    given, own = list(state_dict["param_groups"]), optimizer.param_groups
    sizes, expected = [len(g["params"]) for g in given], [len(g["params"]) for g in own]
    if sizes != expected:
        raise CheckpointError(
            f"the state has groups of {sizes} parameters, this {type(optimizer).__name__} has {expected}",
            why="its numbers would go to other parameters",
            fix="build the optimizer with the same groups",
        )
    left_out = {"params", *optimizer._FOREIGN}
    return [{**mine, **{k: v for k, v in g.items() if k not in left_out}} for g, mine in zip(given, own, strict=True)]


def _take_over(optimizer: Optimizer, entries: Mapping[Any, tuple[Tensor, dict[str, Any]]], given: Mapping[Any, Any]) -> None:
    """Replace the state by ``given``: all of it, once all of it is known to fit."""
    name = type(optimizer).__name__
    made = {
        p: fill(optimizer._fresh_state(p, group), given[key], f"{name}, parameter {key!r} of shape {p.shape}")
        for key, (p, group) in entries.items()
    }
    optimizer.state.clear()
    optimizer.state.update(made)


def _pairs(groups: list[dict[str, Any]]) -> list[tuple[Tensor, dict[str, Any]]]:
    return [(p, group) for group in groups for p in group["params"]]


def fill(state: dict[str, Any], given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """``state`` (as before a first step) with the values of ``given``, which must have the same keys and shapes."""
    values = {k: v for k, v in given.items() if v is not None}
    if masters.KEY in state:
        values.setdefault(masters.KEY, state[masters.KEY])  # saved without masters: they begin as the parameters are
    missing, unexpected = sorted(set(state) - set(values)), sorted(set(values) - set(state))
    if missing or unexpected:
        raise CheckpointError(
            f"{place}: the state lacks {missing} and has {unexpected} too many",
            why="it was written by another optimizer, or with other settings",
            fix="build the optimizer as it was when the state was saved",
        )
    for key, own in state.items():
        array = values[key].array if isinstance(values[key], Tensor) else values[key]
        if not isinstance(own, Tensor):
            state[key] = type(own)(array.item() if hasattr(array, "item") else array)
            continue
        array = array if hasattr(array, "shape") else np.asarray(array)
        if array.shape != own.shape:
            raise CheckpointError(
                f"{place}: {key} has shape {tuple(array.shape)}, it must have {own.shape}",
                fix="load the state of an optimizer of this model",
            )
        own.array[...] = devices.move(array, own.device).astype(own.dtype, copy=False)
    return state


def _names(optimizer: Optimizer, named: Iterable[tuple[str, Tensor]] | None) -> list[str]:
    """A name for each numbered parameter."""
    if named is not None:
        by_id = {id(p): name for name, p in named}
        lacking = [i for i, (p, _) in enumerate(_numbered(optimizer)) if id(p) not in by_id]
        if lacking:
            raise CheckpointError(
                f"parameters {lacking[:5]} of the optimizer are not among the names given",
                fix="pass the named_parameters() of the model that it optimizes",
            )
        return [by_id[id(p)] for p, _ in _numbered(optimizer)]
    names: list[str] = []
    for group in optimizer.param_groups:
        names += group.get("param_names") or [str(len(names) + i) for i in range(len(group["params"]))]
    return names


def flatten(optimizer: Optimizer, named: Iterable[tuple[str, Tensor]] | None) -> dict[str, Any]:
    """See ``Optimizer.named_state``."""
    arrays: dict[str, Any] = {}
    for name, (p, _) in zip(_names(optimizer, named), _numbered(optimizer), strict=True):
        for key, value in optimizer.state.get(p, {}).items():
            arrays[f"{name}.{key}"] = devices.move(value.array, "cpu") if isinstance(value, Tensor) else np.asarray(value)
    return arrays


def restore(optimizer: Optimizer, arrays: Mapping[str, Any], named: Iterable[tuple[str, Tensor]] | None) -> None:
    """See ``Optimizer.load_named_state``."""
    names = _names(optimizer, named)
    parts: dict[str, dict[str, Any]] = {}
    for full, array in arrays.items():
        name, _, key = full.rpartition(".")
        parts.setdefault(name, {})[key] = array
    unknown = sorted(set(parts) - set(names))
    if unknown:
        raise CheckpointError(
            f"the state has entries for {unknown[:5]}, which this {type(optimizer).__name__} does not optimize",
            fix=did_you_mean(unknown[0], names),
        )
    entries = {name: entry for name, entry in zip(names, _numbered(optimizer), strict=True) if name in parts}
    _take_over(optimizer, entries, parts)
