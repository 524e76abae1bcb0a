"""Published tensor names and layouts to ours, and back: one list of rules, read forwards to load and backwards to save.

A rule says how the published file differs from our model. :meth:`KeyMap.to_ours` applies the rules first to last,
:meth:`KeyMap.to_published` undoes them last to first, so a map written for loading exports to the original format for nothing.
Neighbouring :class:`Rename` rules act as one table (the first that fits a name wins), so names may also be swapped.

Templates: ``{layer}`` stands for one part of a name (between dots), ``{rest...}`` for one or more, ``{n:[0-9]+}`` for what the
expression after the colon matches. Both sides of a rule use the same placeholders. Patterns of :class:`Transpose`,
:class:`Ignore` and :class:`Prefix` are shell patterns: ``*.weight``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .errors import ArgumentError, CheckpointError

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


class Rule(Protocol):
    """One difference between a published file and our model; both directions return a new dict."""

    def to_ours(self, arrays: Arrays) -> Arrays: ...

    def to_published(self, arrays: Arrays) -> Arrays: ...


class KeyMap:
    """A bidirectional map between published tensors and ours.

    Args:
        rules: the differences, in the order in which loading undoes them.

    Raises:
        CheckpointError: (by either direction) two tensors would get one name, or a rule does not fit the shapes.

    Example:
        >>> names = KeyMap(Prefix("bert."), Rename("layer.{i}.{rest...}", "blocks.{i}.{rest...}"), Transpose("*.proj.weight"))
        >>> ours = names.to_ours({"bert.layer.0.proj.weight": np.zeros((2, 3))})
        >>> [(name, array.shape) for name, array in ours.items()]
        [('blocks.0.proj.weight', (3, 2))]
        >>> list(names.to_published(ours))
        ['bert.layer.0.proj.weight']
    """

    def __init__(self, *rules: Rule) -> None:
        self.rules = rules
        self._steps: list[Rule] = []
        # Neighbouring renames share one key, every other rule is its own.
        for _, group in itertools.groupby(rules, lambda rule: rule if not isinstance(rule, Rename) else Rename):
            neighbours = list(group)
            renames = [rule for rule in neighbours if isinstance(rule, Rename)]
            self._steps += [_Table(renames)] if renames else neighbours

    def to_ours(self, published: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Tensors under our names and in our layout; without a copy where no rule joins tensors."""
        arrays = dict(published)
        for step in self._steps:
            arrays = step.to_ours(arrays)
        return arrays

    def to_published(self, ours: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Tensors under the published names and in the published layout."""
        arrays = dict(ours)
        for step in reversed(self._steps):
            arrays = step.to_published(arrays)
        return arrays

    def check_bijection(self, names: Iterable[str], shapes: Iterable[Sequence[int]]) -> None:
        """Check that our tensors of these names and shapes survive the way out and back, number by number.

        Names that a :class:`Tied` rule fills in or an :class:`Ignore` rule drops are exempt from the way back.

        Raises:
            CheckpointError: names the first tensor that is lost, invented or changed.

        Example:
            >>> KeyMap(Rename("a.{n}", "b.{n}")).check_bijection(["b.weight", "c"], [(2, 3), ()])
        """
        ours = _numbered(names, shapes)
        published = self.to_published(ours)
        back = self.to_ours(published)
        free = {name for rule in self.rules if isinstance(rule, Tied) for name in rule.others}
        ignored = [rule for rule in self.rules if isinstance(rule, Ignore)]
        free |= {name for name in ours if any(rule.matches(name) for rule in ignored)}
        _check_equal({n: a for n, a in ours.items() if n not in free}, {n: a for n, a in back.items() if n not in free}, "ours")
        _check_equal({n: a for n, a in published.items() if n not in free}, self.to_published(back), "published")


def _numbered(names: Iterable[str], shapes: Iterable[Sequence[int]]) -> Arrays:
    arrays: Arrays = {}
    first = 0
    for name, shape in zip(names, shapes, strict=True):
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.arange(first, first + count).reshape(shape)
        first += count
    return arrays


def _check_equal(before: Arrays, after: Arrays, side: str) -> None:
    fix = "mend the rules of the key map so that each undoes itself"
    for name in [*before, *after]:
        if name not in after or name not in before:
            what = "is lost" if name in before else "is invented"
            raise CheckpointError(f"{side}: {name!r} {what} on the way out and back", fix=fix)
        if not np.array_equal(before[name], after[name]):
            what = f"{side}: {name!r} of shape {before[name].shape} is changed on the way out and back"
            raise CheckpointError(what, why=f"it returns with shape {after[name].shape} or other numbers", fix=fix)


# ---- names


@dataclass(frozen=True)
class Rename:
    """``Rename("encoder.layer.{i}.{rest...}", "blocks.{i}.{rest...}")``: a published name and ours, as templates.

    Raises:
        ArgumentError: the two sides do not use the same placeholders.
    """

    published: str
    ours: str

    def __post_init__(self) -> None:
        _templates(self.published, self.ours)

    def to_ours(self, arrays: Arrays) -> Arrays:
        return _Table([self]).to_ours(arrays)

    def to_published(self, arrays: Arrays) -> Arrays:
        return _Table([self]).to_published(arrays)


class _Table:
    """Several renames that act at once."""

    def __init__(self, renames: list[Rename]) -> None:
        self.pairs = [_templates(rename.published, rename.ours) for rename in renames]

    def ours(self, name: str) -> str:
        for published, ours in self.pairs:
            if (found := published.match(name)) is not None:
                return ours.fill(found)
        return name

    def published(self, name: str) -> str:
        found = ((published, ours.match(name)) for published, ours in self.pairs)
        candidates = [published.fill(values) for published, values in found if values is not None]
        # A candidate that an earlier rule would have taken elsewhere is not where this name came from.
        source = next((candidate for candidate in [*candidates, name] if self.ours(candidate) == name), None)
        if source is None:
            fix = "rename the tensor in the model, or mend the key map"
            raise CheckpointError(f"no published name is read as {name!r}", why="it would come back as another tensor", fix=fix)
        return source

    def to_ours(self, arrays: Arrays) -> Arrays:
        return _renamed(arrays, self.ours)

    def to_published(self, arrays: Arrays) -> Arrays:
        return _renamed(arrays, self.published)


@dataclass(frozen=True)
class Alias:
    """``Alias("{rest...}.gamma", "{rest...}.weight")``: an old spelling that is read, and never written."""

    old: str
    new: str

    def __post_init__(self) -> None:
        _templates(self.old, self.new)

    def to_ours(self, arrays: Arrays) -> Arrays:
        return Rename(self.old, self.new).to_ours(arrays)

    def to_published(self, arrays: Arrays) -> Arrays:
        return arrays


class Prefix:
    """A prefix that published names may carry or lack, such as ``bert.``.

    Args:
        prefix: with its dot.
        ours: whether our names carry it.
        written: whether names carry it when written.
        outside: patterns of names that never carry it, such as ``classifier.*``.
    """

    def __init__(self, prefix: str, *, ours: bool = False, written: bool = True, outside: Sequence[str] = ()) -> None:
        self.prefix, self.ours, self.written, self.outside = prefix, ours, written, tuple(outside)

    def _named(self, arrays: Arrays, carry: bool) -> Arrays:
        def name_of(name: str) -> str:
            if any(fnmatchcase(name, pattern) for pattern in self.outside):
                return name
            return (self.prefix if carry else "") + name.removeprefix(self.prefix)

        return _renamed(arrays, name_of)

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._named(arrays, self.ours)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._named(arrays, self.written)


class Within:
    """``Within("backbone.", key_map)``: names with a prefix, on both sides, go through the map of that part."""

    def __init__(self, prefix: str, part: KeyMap) -> None:
        self.prefix, self.part = prefix, part

    def _through(self, arrays: Arrays, turn: Callable[[Arrays], Arrays]) -> Arrays:
        inside = {n.removeprefix(self.prefix): a for n, a in arrays.items() if n.startswith(self.prefix)}
        outside = {n: a for n, a in arrays.items() if not n.startswith(self.prefix)}
        return outside | {f"{self.prefix}{n}": a for n, a in turn(inside).items()}

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._through(arrays, self.part.to_ours)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._through(arrays, self.part.to_published)


class WeightNorm:
    """Weight normalisation: ``x.weight_g`` and ``x.weight_v`` are read as ``x.parametrizations.weight.original0`` and ``1``.

    Either spelling is read. ``written="old"`` writes the first, as most published files do, ``"new"`` the second.
    """

    _PAIRS = (("weight_g", "parametrizations.weight.original0"), ("weight_v", "parametrizations.weight.original1"))

    def __init__(self, written: str = "old") -> None:
        if written not in ("old", "new"):
            raise ArgumentError(f"written is {written!r}", why="it must be 'old' or 'new'", fix="leave it out")
        self.written = written
        self._table = _Table([Rename(f"{{x...}}.{old}", f"{{x...}}.{new}") for old, new in self._PAIRS])

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._table.to_ours(arrays)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._table.to_published(arrays) if self.written == "old" else arrays


class Ignore:
    """``Ignore("*.position_ids", "*.attn.masked_bias")``: published tensors that our model does not need.

    Names that fit a pattern of ``but`` are kept.
    """

    def __init__(self, *patterns: str, but: Sequence[str] = ()) -> None:
        self.patterns, self.but = patterns, tuple(but)

    def matches(self, name: str) -> bool:
        fits = any(fnmatchcase(name, pattern) for pattern in self.patterns)
        return fits and not any(fnmatchcase(name, pattern) for pattern in self.but)

    def to_ours(self, arrays: Arrays) -> Arrays:
        return {name: array for name, array in arrays.items() if not self.matches(name)}

    def to_published(self, arrays: Arrays) -> Arrays:
        return arrays


class Tied:
    """``Tied("wte.weight", "lm_head.weight")``: one tensor under several names; the file needs hold only the first.

    Reading gives every name the same array, whichever the file has, and refuses different ones; writing keeps the first.
    """

    def __init__(self, first: str, *others: str) -> None:
        self.first, self.others = first, others

    def to_ours(self, arrays: Arrays) -> Arrays:
        present = [name for name in (self.first, *self.others) if name in arrays]
        if not present:
            return arrays
        kept = arrays[present[0]]
        for name in present[1:]:
            if arrays[name] is not kept and not np.array_equal(arrays[name], kept):
                fix = "load them untied (tie_word_embeddings=False in config.json)"
                raise CheckpointError(f"{present[0]!r} and {name!r} differ", why="the model ties them: one tensor", fix=fix)
        return {**arrays, **dict.fromkeys((self.first, *self.others), kept)}

    def to_published(self, arrays: Arrays) -> Arrays:
        return {name: array for name, array in arrays.items() if name not in self.others or self.first not in arrays}


class Default:
    """``Default("lm_head.weight", lambda arrays: arrays["wte.weight"])``: a tensor that a file may lack, made of the others.

    ``made`` gets all that is there under our names, and may give None: then the tensor stays missing. It is always written.
    """

    def __init__(self, name: str, made: Callable[[Arrays], npt.NDArray[Any] | None]) -> None:
        self.name, self.made = name, made

    def to_ours(self, arrays: Arrays) -> Arrays:
        found = None if self.name in arrays else self.made(arrays)
        return arrays if found is None else {**arrays, self.name: found}

    def to_published(self, arrays: Arrays) -> Arrays:
        return arrays


# ---- layouts


class Transpose:
    """``Transpose("*.c_fc.weight")``: the published tensor has its last two axes swapped, or its axes in the order ``axes``.

    ``axes`` counts from the published tensor to ours, as in ``numpy.transpose``. No numbers are moved: views.
    """

    def __init__(self, pattern: str, axes: Sequence[int] | None = None) -> None:
        if axes is not None and sorted(axes) != list(range(len(axes))):
            raise ArgumentError(
                f"axes {list(axes)} of Transpose({pattern!r})",
                why="each of 0, 1, ... must appear once",
                fix="name each axis once, e.g. axes=(1, 0)",
            )
        self.pattern, self.axes = pattern, axes

    def _turn(self, arrays: Arrays, axes: Sequence[int] | None) -> Arrays:
        return {n: self._turned(n, a, axes) if fnmatchcase(n, self.pattern) else a for n, a in arrays.items()}

    def _turned(self, name: str, array: npt.NDArray[Any], axes: Sequence[int] | None) -> npt.NDArray[Any]:
        if array.ndim < 2 or (axes is not None and len(axes) != array.ndim):
            what = f"tensor {name!r} of shape {array.shape} cannot be transposed"
            raise CheckpointError(
                what,
                why=f"the rule {self.pattern!r} needs {len(axes) if axes else '2 or more'} axes",
                fix="check that these weights belong to the architecture",
            )
        return array.swapaxes(-1, -2) if axes is None else array.transpose(axes)

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._turn(arrays, self.axes)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._turn(arrays, None if self.axes is None else [int(i) for i in np.argsort(self.axes)])


@dataclass(frozen=True)
class Reshape:
    """``Reshape("*.grn.weight", published=(1, 1, 1, -1), ours=(-1,))``: the same numbers in the same order, in other axes."""

    pattern: str
    published: Sequence[int]
    ours: Sequence[int]

    def _shaped(self, arrays: Arrays, shape: Sequence[int]) -> Arrays:
        return {n: a.reshape(*shape) if fnmatchcase(n, self.pattern) else a for n, a in arrays.items()}

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._shaped(arrays, self.ours)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._shaped(arrays, self.published)


class Split:
    """One published tensor is several of ours, such as a fused qkv.

    ``Split("{x...}.qkv.{p}", ["{x...}.q.{p}", "{x...}.k.{p}", "{x...}.v.{p}"])``

    Args:
        published: template of the one name. ours: templates of the parts, in order.
        axis: along which they lie one after the other.
        sizes: of the parts along ``axis``; equal where not given.
    """

    def __init__(self, published: str, ours: Sequence[str], axis: int = 0, sizes: Sequence[int] | None = None) -> None:
        self.whole, *self.parts = _templates(published, *ours)
        if sizes is not None and len(sizes) != len(self.parts):
            raise ArgumentError(f"{len(sizes)} sizes for {len(self.parts)} parts of {published!r}", fix="give one size a part")
        self.axis, self.sizes = axis, sizes

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._cut(arrays)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._join(arrays)

    def _cut(self, arrays: Arrays) -> Arrays:
        placed = _Placed()
        for name, array in arrays.items():
            values = self.whole.match(name)
            if values is None:
                placed.put(name, array, name)
                continue
            for part, piece in zip(self.parts, self._pieces(name, array), strict=True):
                placed.put(part.fill(values), piece, name)
        return placed.arrays

    def _pieces(self, name: str, array: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        length = array.shape[self.axis] if -array.ndim <= self.axis < array.ndim else 0
        sizes = self.sizes or [length // len(self.parts)] * len(self.parts)
        if sum(sizes) != length or length == 0:
            what = f"tensor {name!r} of shape {array.shape} cannot be split along axis {self.axis}"
            raise CheckpointError(
                what, why=f"the {len(self.parts)} parts have sizes {list(sizes)}", fix="check the configuration"
            )
        return np.split(array, list(itertools.accumulate(sizes))[:-1], axis=self.axis)

    def _join(self, arrays: Arrays) -> Arrays:
        wholes: dict[str, str] = {}  # a part's name -> the whole's
        for name in arrays:
            values = next((found for part in self.parts if (found := part.match(name)) is not None), None)
            if values is not None:
                wholes.update(dict.fromkeys((part.fill(values) for part in self.parts), self.whole.fill(values)))
        placed, done = _Placed(), set()
        for name, array in arrays.items():
            whole = wholes.get(name)
            if whole is None:
                placed.put(name, array, name)
            elif whole not in done:
                done.add(whole)
                placed.put(whole, self._joined(whole, [part for part in wholes if wholes[part] == whole], arrays), name)
        return placed.arrays

    def _joined(self, whole: str, parts: list[str], arrays: Arrays) -> npt.NDArray[Any]:
        missing = [name for name in parts if name not in arrays]
        if missing:
            present = [name for name in parts if name in arrays]
            raise CheckpointError(
                f"{whole!r} cannot be joined",
                why=f"{present[0]!r} is there, {missing[0]!r} is not",
                fix="check that the file is complete",
            )
        if len({arrays[name].dtype for name in parts}) > 1:  # NumPy would convert them all to what holds every one
            kinds = ", ".join(f"{name!r} {arrays[name].dtype}" for name in parts)
            raise CheckpointError(
                f"{whole!r} cannot be joined",
                why=f"the parts have several dtypes: {kinds}",
                fix="read the weights with dtype='float32', which makes them one",
            )
        try:
            return np.concatenate([arrays[name] for name in parts], axis=self.axis)
        except ValueError:
            shapes = ", ".join(f"{name!r} {arrays[name].shape}" for name in parts)
            raise CheckpointError(
                f"{whole!r} cannot be joined along axis {self.axis}",
                why=f"the parts are {shapes}",
                fix="check that these weights belong to the architecture",
            ) from None


class Concat(Split):
    """Several published tensors are one of ours: :class:`Split` the other way round.

    ``Concat(["{x...}.q.{p}", "{x...}.k.{p}", "{x...}.v.{p}"], "{x...}.qkv.{p}")``
    """

    def __init__(self, published: Sequence[str], ours: str, axis: int = 0, sizes: Sequence[int] | None = None) -> None:
        super().__init__(ours, published, axis, sizes)

    def to_ours(self, arrays: Arrays) -> Arrays:
        return self._join(arrays)

    def to_published(self, arrays: Arrays) -> Arrays:
        return self._cut(arrays)


# ---- how rules read and place names


class _Placed:
    """Tensors under new names, no two under one."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}
        self._sources: dict[str, str] = {}

    def put(self, name: str, array: npt.NDArray[Any], source: str) -> None:
        if name in self.arrays:
            what = f"{self._sources[name]!r} and {source!r} both become {name!r}"
            raise CheckpointError(what, why="one of them would be lost", fix="remove one from the file, or mend the key map")
        self.arrays[name], self._sources[name] = array, source


def _renamed(arrays: Arrays, name_of: Callable[[str], str]) -> Arrays:
    placed = _Placed()
    for name, array in arrays.items():
        placed.put(name_of(name), array, name)
    return placed.arrays


_PLACEHOLDER = re.compile(r"\{(\w+)(\.\.\.)?(?::([^{}]+))?\}")


class _Template:
    """A name with placeholders: takes a name apart, and puts one together."""

    def __init__(self, text: str, kinds: Mapping[str, str]) -> None:
        self.text = text
        pieces = _PLACEHOLDER.split(text)  # literal, name, dots, kind, literal, ...
        self.names = pieces[1::4]
        groups = [f"(?P<{name}>{kinds[name]})" for name in self.names]
        literals = [re.escape(literal) for literal in pieces[::4]]
        self._pattern = re.compile("".join(itertools.chain(*itertools.zip_longest(literals, groups, fillvalue=""))))

    def match(self, name: str) -> dict[str, str] | None:
        found = self._pattern.fullmatch(name)
        return None if found is None else found.groupdict()

    def fill(self, values: Mapping[str, str]) -> str:
        return _PLACEHOLDER.sub(lambda place: values[place[1]], self.text)


def _templates(*texts: str) -> list[_Template]:
    """Templates with the same placeholders; what one says about a placeholder holds for all."""
    kinds: dict[str, str] = {}
    for text in texts:
        for name, dots, kind in _PLACEHOLDER.findall(text):
            if kind or dots or name not in kinds:
                kinds[name] = kind or (".+" if dots else r"[^.]+")
    used = [[name for name, *_ in _PLACEHOLDER.findall(text)] for text in texts]
    if any(sorted(names) != sorted(kinds) for names in used):
        what = " and ".join(repr(text) for text in texts)
        raise ArgumentError(f"{what} do not use the same placeholders, each once", fix="name each placeholder once on every side")
    try:
        return [_Template(text, kinds) for text in texts]
    except re.error as error:
        raise ArgumentError(
            f"{texts[0]!r} has a placeholder that is no valid expression", why=str(error), fix="write {name} or {name:regex}"
        ) from None
