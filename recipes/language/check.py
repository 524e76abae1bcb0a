"""Finds every mistake in a recipe's tables at once, each with its key path, cause and nearest name.

msgspec stops at the first mistake, so the walk over the schema is done here; ``msgspec.convert`` then has nothing left to refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect as mi

from ...core.errors import did_you_mean, nearest
from .pictures import Mosaic, PictureChange
from .schema import (
    Data,
    Model,
    Plateau,
    RandomCrop,
    RandomErasing,
    RandomPart,
    RandomResizedCrop,
    Recipe,
    Schedules,
    SpecAugment,
    Stages,
    Train,
)


@dataclass(frozen=True)
class Problem:
    """One mistake: the key path it is at, what is wrong, and what to do."""

    path: str
    cause: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path or 'recipe'}: {self.cause}" + (f" ({self.hint})" if self.hint else "")


def problems(tree: Mapping[str, Any], names: Callable[[Mapping[str, Any]], Iterator[Problem]] | None = None) -> list[Problem]:
    """All mistakes in a recipe's merged tables.

    Args:
        tree: the recipe as nested dictionaries.
        names: looks up the dataset and model names in ``tree``; called after the walk.

    Example:
        >>> tree = {"schema": 1, "data": {"name": "d"}, "model": {"name": "m"}, "train": {"epoch": 2}}
        >>> for problem in problems(tree):
        ...     print(problem)
        train.epoch: unknown key (did you mean 'epochs'?)
        train: neither epochs nor steps is given (set one of them)
    """
    found = list(_walk(tree, mi.type_info(Recipe), ""))
    bad = {p.path for p in found}
    found += [p for p in _across(tree) if p.path not in bad]
    if names is not None:
        found += [p for p in names(tree) if p.path not in bad]
    return found


# ---- the walk over the schema -------------------------------------------------------------------------------------


def _walk(value: Any, kind: mi.Type, path: str) -> Iterator[Problem]:
    if isinstance(kind, mi.StructType):
        yield from _struct(value, kind, path)
    elif isinstance(kind, mi.UnionType):
        yield from _union(value, kind, path)
    elif isinstance(kind, mi.ListType):
        yield from _list(value, kind, path)
    elif isinstance(kind, mi.TupleType):
        yield from _tuple(value, kind, path)
    elif isinstance(kind, mi.DictType):
        yield from _dict(value, kind, path)
    elif isinstance(kind, mi.LiteralType):
        yield from _literal(value, kind, path)
    else:
        yield from _leaf(value, kind, path)


def _struct(value: Any, kind: mi.StructType, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"expected a table, got {_shown(value)}")
        return
    fields = {f.encode_name: f for f in kind.fields}
    for key, item in value.items():
        if key in fields:
            yield from _walk(item, fields[key].type, _join(path, key))
        elif key != kind.tag_field:
            yield Problem(_join(path, key), "unknown key", _nearest_key(key, fields))
    for name, field in fields.items():
        if field.required and name not in value:
            yield Problem(_join(path, name), "missing", f"add {_example(field.type)}")


def _union(value: Any, kind: mi.UnionType, path: str) -> Iterator[Problem]:
    if value is None and any(isinstance(t, mi.NoneType) for t in kind.types):
        return
    tagged = {str(t.tag): t for t in kind.types if isinstance(t, mi.StructType) and t.tag_field}
    if not tagged:
        yield from _alternatives(value, [t for t in kind.types if not isinstance(t, mi.NoneType)], path)
    elif not isinstance(value, Mapping):
        yield Problem(path, f"expected a table with a type, got {_shown(value)}", f"types: {', '.join(tagged)}")
    elif "type" not in value:
        yield Problem(_join(path, "type"), "missing", f"one of {', '.join(tagged)}")
        every = {f.encode_name: f for one in tagged.values() for f in one.fields}
        yield from (Problem(_join(path, key), "unknown key", _nearest_key(key, every)) for key in value if key not in every)
    elif value["type"] not in tagged:
        hint = did_you_mean(str(value["type"]), tagged) or f"one of {', '.join(tagged)}"
        yield Problem(_join(path, "type"), f"unknown type {value['type']!r}", hint)
    else:
        yield from _struct(value, tagged[value["type"]], path)


_FORMS: dict[type[mi.Type], type] = {
    mi.ListType: list,
    mi.DictType: Mapping,
    mi.StructType: Mapping,
    mi.LiteralType: str,
    mi.StrType: str,
    mi.IntType: int,
}
_WORDS: dict[type[mi.Type], str] = {
    mi.ListType: "a list",
    mi.DictType: "a table",
    mi.StructType: "a table",
    mi.StrType: "a string",
    mi.IntType: "a whole number",
}


def _alternatives(value: Any, kinds: Sequence[mi.Type], path: str) -> Iterator[Problem]:
    """Walks by the one of ``kinds`` that the value's form belongs to."""
    fitting = [kind for kind in kinds if isinstance(value, _FORMS.get(type(kind), object))]
    if len(kinds) == 1 or fitting:
        yield from _walk(value, (fitting or kinds)[0], path)
    else:
        known = [repr(v) for kind in kinds if isinstance(kind, mi.LiteralType) for v in kind.values]
        wanted = [*known, *(_WORDS[type(kind)] for kind in kinds if type(kind) in _WORDS)]
        yield Problem(path, f"expected {' or '.join(wanted)}, got {_shown(value)}")


def _list(value: Any, kind: mi.ListType, path: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem(path, f"expected a list, got {_shown(value)}", f"write [{value!r}]" if isinstance(value, str) else "")
        return
    for i, item in enumerate(value):
        yield from _walk(item, kind.item_type, f"{path}[{i}]")


def _tuple(value: Any, kind: mi.TupleType, path: str) -> Iterator[Problem]:
    if not isinstance(value, list | tuple) or len(value) != len(kind.item_types):
        yield Problem(path, f"expected a list of {len(kind.item_types)}, got {_shown(value)}")
        return
    for i, (item, inner) in enumerate(zip(value, kind.item_types, strict=True)):
        yield from _walk(item, inner, f"{path}[{i}]")


def _dict(value: Any, kind: mi.DictType, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping):
        yield Problem(path, f"expected a table, got {_shown(value)}")
        return
    for key, item in value.items():
        yield from _walk(item, kind.value_type, _join(path, key))


def _literal(value: Any, kind: mi.LiteralType, path: str) -> Iterator[Problem]:
    if isinstance(value, bool) or value not in kind.values:
        known = [str(v) for v in kind.values]
        yield Problem(path, f"{value!r} is none of {', '.join(known)}", did_you_mean(str(value), known))


def _leaf(value: Any, kind: mi.Type, path: str) -> Iterator[Problem]:
    wanted = {mi.StrType: "a string", mi.IntType: "a whole number", mi.FloatType: "a number", mi.BoolType: "true or false"}[
        type(kind)
    ]
    fits = {
        mi.StrType: isinstance(value, str),
        mi.BoolType: isinstance(value, bool),
        mi.IntType: isinstance(value, int) and not isinstance(value, bool),
        mi.FloatType: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    }[type(kind)]
    if not fits:
        yield Problem(path, f"expected {wanted}, got {_shown(value)}")
    elif isinstance(kind, mi.IntType | mi.FloatType) and not _inside(value, kind):
        yield Problem(path, f"{value!r} is out of range", f"must be {_range(kind)}")
    elif isinstance(kind, mi.StrType) and not (kind.min_length or 0) <= len(value) <= (kind.max_length or len(value)):
        yield Problem(path, f"{value!r} has {len(value)} characters", f"must have {bounds(kind)}")
    elif isinstance(kind, mi.StrType) and kind.pattern and not re.search(kind.pattern, value):
        yield Problem(path, f"{value!r} has another form", f"must have {bounds(kind)}")


def _inside(value: float, kind: mi.IntType | mi.FloatType) -> bool:
    return (
        (kind.gt is None or value > kind.gt)
        and (kind.ge is None or value >= kind.ge)
        and (kind.lt is None or value < kind.lt)
        and (kind.le is None or value <= kind.le)
    )


def _range(kind: mi.IntType | mi.FloatType) -> str:
    limits = {"above": kind.gt, "at least": kind.ge, "below": kind.lt, "at most": kind.le}
    shown = {word: str(limit) if isinstance(limit, int) else f"{limit:g}" for word, limit in limits.items() if limit is not None}
    return " and ".join(f"{word} {limit}" for word, limit in shown.items())


def bounds(kind: mi.Type) -> str:
    """What a value of this type must keep to, in words; empty where there is nothing.

    Example:
        >>> from nyala.recipes.language.schema import Below1
        >>> bounds(mi.type_info(Below1)), bounds(mi.type_info(list[str]))
        ('at least 0 and below 1', '')
    """
    match kind:
        case mi.IntType() | mi.FloatType():
            return _range(kind)
        case mi.StrType(pattern=str(pattern)):
            return f"the form {pattern.strip('^$').strip('()').replace('|', ' or ').replace(chr(92) + 'd+', 'N')}"
        case mi.StrType():
            short, long = kind.min_length, kind.max_length
            if short == long:
                return f"{short} character{'' if short == 1 else 's'}" if short else ""
            return " and ".join(f"{word} {n} characters" for word, n in (("at least", short), ("at most", long)) if n is not None)
        case mi.ListType():
            return _each(kind.item_type)
        case mi.DictType():
            return _each(kind.value_type)
        case mi.TupleType():
            return _each(kind.item_types[0])
        case mi.UnionType():
            return " or ".join(dict.fromkeys(filter(None, map(bounds, kind.types))))
    return ""


def _each(kind: mi.Type) -> str:
    return f"each {inner}" if (inner := bounds(kind)) else ""


def _shown(value: Any) -> str:
    names = {str: "the string", bool: "", int: "the number", float: "the number", list: "a list", dict: "a table"}
    text = "" if isinstance(value, dict) else f" {value!r}"
    return f"{names.get(type(value), type(value).__name__)}{text}".strip()


def _join(path: str, key: str) -> str:
    bare = key.replace("_", "").replace("-", "").isalnum()
    return ".".join(p for p in (path, key if bare else f'"{key}"') if p)


def _nearest_key(key: str, fields: Mapping[str, mi.Field]) -> str:
    return did_you_mean(key, fields) or f"known keys: {', '.join(fields)}"


def _example(kind: mi.Type) -> str:
    if isinstance(kind, mi.LiteralType):
        return f"it, e.g. {kind.values[0]}"
    return "this table" if isinstance(kind, mi.StructType) else "this key"


# ---- mistakes that only show across keys --------------------------------------------------------------------------


def _across(tree: Mapping[str, Any]) -> Iterator[Problem]:
    train = _converted(tree.get("train"), Train)
    data = _converted(tree.get("data"), Data)
    model = _converted(tree.get("model"), Model)
    schedule = _converted(tree.get("schedule"), Schedules)
    if "train" in tree and isinstance(tree["train"], Mapping):
        yield from _length(tree["train"])
    if model is not None:
        yield from _frozen(model, train)
    if data is not None:
        yield from _orders(data)
        yield from _folds(data)
    if train is not None:
        yield from _weights(train)
        yield from _blends(train)
    if data is not None and train is not None and not data.validation_fraction:
        yield from _needs_validation(train, schedule)
    if schedule is not None and train is not None and train.steps and schedule.warmup >= train.steps:
        yield Problem("schedule.warmup", "is as long as the whole run", "make it shorter than train.steps")


def _frozen(model: Model, train: Train | None) -> Iterator[Problem]:
    if model.sizes and not model.random_init:
        yield Problem("model.sizes", "the weights have sizes of their own", "set model.random_init=true, or leave it out")
    if model.unfreeze and not model.freeze and model.adapter is None:
        yield Problem("model.unfreeze", "nothing is frozen", 'give model.freeze too, e.g. ["*"]')
    if model.adapter is not None and model.random_init:
        yield Problem("model.adapter", "the weights are random", "an adapter goes beside pretrained ones; remove random_init")
    if train is None or train.unfreeze is None:
        return
    if isinstance(train.unfreeze, Stages):
        if not model.freeze and model.adapter is None:
            yield Problem("train.unfreeze", "nothing is frozen", 'give model.freeze, e.g. ["*"], and model.unfreeze=["@head"]')
        for i, stage in enumerate(train.unfreeze.stages):
            if (stage.epoch is None) == (stage.step is None):
                yield Problem(f"train.unfreeze.stages[{i}]", "needs one of epoch and step", "give exactly one")


def _length(train: Mapping[str, Any]) -> Iterator[Problem]:
    given = [k for k in ("epochs", "steps") if train.get(k) is not None]
    if not given:
        yield Problem("train", "neither epochs nor steps is given", "set one of them")
    if len(given) == 2:
        yield Problem("train.steps", "epochs and steps are both given", "keep one; an override removes a key with key=none")


def _orders(data: Data) -> Iterator[Problem]:
    for i, augment in enumerate(data.augment):
        if isinstance(augment, RandomPart) and i:
            yield Problem(
                f"data.augment[{i}]", "random_part comes after other changes", "put it first: it is cut out of the file"
            )
        if isinstance(augment, Mosaic) and i:
            yield Problem(f"data.augment[{i}]", "mosaic comes after other changes", "put it first: it is made of whole pictures")
        if isinstance(augment, SpecAugment) and i < len(data.augment) - 1:
            yield Problem(
                f"data.augment[{i}]", "spec_augment comes before other changes", "put it last: it changes frames, not samples"
            )
        if isinstance(augment, PictureChange) and any(isinstance(a, (RandomCrop, RandomErasing)) for a in data.augment[:i]):
            yield Problem(
                f"data.augment[{i}]",
                f"{augment.__struct_config__.tag} comes after random_crop or random_erasing",
                "put it before them: it changes bytes, they change what is normalised",
            )
        if isinstance(augment, PictureChange) and any(isinstance(a, RandomResizedCrop) for a in data.augment[1:i]):
            yield Problem(
                f"data.augment[{i}]",
                f"{augment.__struct_config__.tag} comes after random_resized_crop",
                "put random_resized_crop first, or this before it",
            )
        for name in ("scale", "ratio", "sigma", "db", "snr", "rt60", "direct", "side_range", "center"):
            low, high = getattr(augment, name, (0, 1))
            if low > high:
                yield Problem(
                    f"data.augment[{i}].{name}", f"the lower bound {low:g} is above the upper bound {high:g}", "swap them"
                )


def _folds(data: Data) -> Iterator[Problem]:
    if data.folds is None and data.fold:
        yield Problem("data.fold", "there are no folds", "set data.folds too, e.g. 5")
    if data.folds is not None and data.fold >= data.folds:
        yield Problem("data.fold", f"there are {data.folds} folds, 0 to {data.folds - 1}", "count from 0")
    if data.folds is not None and data.test is not None:
        yield Problem("data.test", "with data.folds each fold is the test part in its turn", "keep one of the two")


def _blends(train: Train) -> Iterator[Problem]:
    for name in ("mixup", "cutmix"):
        if 0 < getattr(train, name) < 0.01:
            yield Problem(f"train.{name}", "is so small that next to nothing is blended", "set it to 0, or to 0.01 and more")


def _weights(train: Train) -> Iterator[Problem]:
    given = train.class_weights
    numbers = given if isinstance(given, list) else list(given.values()) if isinstance(given, dict) else None
    if numbers is not None and not any(numbers):
        yield Problem("train.class_weights", "no class has a weight above 0", "leave it out, or give numbers above 0")


def _needs_validation(train: Train, schedule: Schedules | None) -> Iterator[Problem]:
    """Choosing by the test part would flatter the result, so without a validation part nothing is chosen."""
    hint = "set data.validation_fraction, e.g. 0.1"
    if train.best.use == "best":
        yield Problem("train.best.use", "there is no validation part to choose the best weights on", f'{hint}, or "last"')
    if train.early_stop is not None:
        yield Problem("train.early_stop", "there is no validation part to watch", hint)
    if isinstance(schedule, Plateau):
        yield Problem("schedule.type", "there is no validation part for plateau to watch", hint)


def _converted(value: Any, kind: Any) -> Any:
    """The table as a struct, or None where the walk has already found something wrong in it."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def unknown_name(path: str, name: str, known: list[str], fix: str) -> Problem:
    """A dataset or model name that no registry has, with the nearest ones."""
    hits = nearest(name, known)
    return Problem(path, f"unknown name {name!r}", f"did you mean {' or '.join(map(repr, hits))}?" if hits else fix)
