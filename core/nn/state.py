"""Reading a state into a module: strict, whole or not at all, and clear about what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import devices
from ..errors import ArgumentError, CheckpointError, did_you_mean, kind_of
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

_SHOWN, _FEW = 20, 5


class IncompatibleKeys(NamedTuple):
    """Names that only the module, or only the given state, had."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Put the values of ``given`` into the parameters and persistent buffers of ``module``; see ``Module.load_state_dict``."""
    return load_into(module.state_dict(keep_vars=True), type(module).__name__, given, strict, assign)


def load_into(own: Mapping[str, Tensor], name: str, given: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    """Put the values of ``given`` into the tensors ``own`` of something that messages call ``name``."""
    if not isinstance(given, Mapping):
        fix = "read it with nyala.checkpoint.load_file first" if isinstance(given, (str, PathLike)) else "pass a state_dict()"
        raise ArgumentError(f"load_state_dict of {kind_of(given)}", why="a state is tensors by name", fix=fix)
    missing = [n for n in own if n not in given]
    unexpected = [n for n in given if n not in own]
    arrays = {n: _array(value) for n, value in given.items()}
    known = [n for n in own if n in given]
    _refuse_complex(name, {n: (arrays[n], own[n]) for n in known})
    wrong = [n for n in known if not _fits(arrays[n].shape, own[n].shape)]
    if wrong or (strict and (missing or unexpected)):
        raise _misfit(name, own, arrays, missing if strict else [], unexpected if strict else [], wrong)
    for n in known:
        _put(own[n], arrays[n], assign)
    return IncompatibleKeys(missing, unexpected)


def _refuse_complex(name: str, pairs: Mapping[str, tuple[Any, Tensor]]) -> None:
    """Complex numbers go into complex tensors alone: a conversion would drop their imaginary part."""
    for n, (array, tensor) in pairs.items():
        if array.dtype.kind == "c" and tensor.array.dtype.kind != "c":
            what = f"the state does not fit {name}: {n} is {array.dtype}, the model's is {tensor.dtype}"
            raise CheckpointError(what, why="the imaginary part would be lost", fix="load the weights of this architecture")


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.array
    return value if hasattr(value, "__cuda_array_interface__") else np.asarray(value)


def _fits(given: Sequence[int], own: Sequence[int]) -> bool:
    # PyTorch before 0.4 wrote single numbers as vectors of length 1
    return tuple(given) == tuple(own) or (tuple(own) == () and tuple(given) == (1,))


def _put(target: Tensor, array: Any, assign: bool) -> None:
    """Copy into the tensor's own memory, or let the tensor take over the array as it is."""
    array = array.reshape(target.shape)
    if assign:
        target.array = array
    else:
        target.array[...] = devices.move(array, target.device).astype(target.dtype, copy=False)
    target._bump()


def _listed(title: str, names: Sequence[str], line: Callable[[str], str], shown: int = 20) -> str:
    """A titled list of at most ``shown`` lines; empty where there is nothing to list."""
    if not names:
        return ""
    lines = [line(n) for n in names[:shown]]
    if len(names) > shown:
        lines.append(f"... and {len(names) - shown} more")
    return "".join([f"\n  {title}:", *(f"\n    {text}" for text in lines)])


def _common_prefix(missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """What all unexpected names begin with before a missing one, such as a wrapper's ``module.``; else an empty string."""
    first = next((u.removesuffix(m) for u in unexpected[:1] for m in missing if u.endswith(f".{m}")), "")
    wanted = set(missing)
    return first if first and all(u.startswith(first) and u.removeprefix(first) in wanted for u in unexpected) else ""


def _misfit(
    model: str,
    own: Mapping[str, Tensor],
    arrays: Mapping[str, Any],
    missing: list[str],
    unexpected: list[str],
    wrong: list[str],
) -> CheckpointError:
    """One error with everything that does not fit."""
    free = [name for name in own if name not in arrays]

    def unknown(name: str) -> str:
        hint = did_you_mean(name, free)
        return f"{name} {tuple(arrays[name].shape)}{f' ({hint})' if hint else ''}"

    foreign = 0 < len(free) == len(own) and bool(unexpected)
    shown = _FEW if foreign else _SHOWN  # of another architecture's names a few say enough
    what = (
        f"the state does not fit {model}{' (no name in common)' if foreign else ''}: "
        f"{len(missing)} missing, {len(unexpected)} unexpected, {len(wrong)} of another shape"
        + _listed("missing", missing, lambda n: f"{n} {own[n].shape}", shown)
        + _listed("unexpected", unexpected, unknown, shown)
        + _listed("shape", wrong, lambda n: f"{n}: given {tuple(arrays[n].shape)}, the model has {own[n].shape}")
    )
    fix = "load the weights of this architecture and configuration"
    if prefix := _common_prefix(missing, unexpected):
        fix = f"take the {prefix!r} off the names: {{k.removeprefix({prefix!r}): v for k, v in state.items()}}"
    elif any(name.rpartition(".")[2] == "scales" for name in (*missing, *unexpected, *wrong)):
        fix = "quantize the model as the saved one was, with the same dtype, group_size and skip"
    elif not wrong:
        fix += ", or pass strict=False if the rest is meant to stay as it is"
    return CheckpointError(what, fix=fix)
