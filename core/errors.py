"""One class per kind of mistake.

Every message has three parts: what happened (place, names, shapes), why it matters, what to do.
An error raised inside a model also names the module path it came through, e.g. ``model.head.fc (Linear)``:
``Module.__call__`` adds one step of the path as the error passes by, so the hot path pays nothing.

``exit_code`` is what the command line returns: 2 where the user can mend the input, 1 where the world failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class NyalaError(Exception):
    """Base of every error nyala raises on purpose.

    Args:
        what: what happened, with the place, names and shapes involved.
        why: why that is a problem; left out where it is obvious.
        fix: what to do about it.

    Example:
        >>> print(NyalaError("x has 3 columns", why="the weight expects 4", fix="pad x"))
        x has 3 columns: the weight expects 4. Remedy: pad x. [E000]
    """

    code: ClassVar[str] = "E000"
    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        self.modules: list[str] = []
        self.module_type = ""
        self.module: object | None = None  # the module whose call it left last
        super().__init__(what)

    def through(self, name: str, module_type: str) -> None:
        """Record that the error passed through the child module called ``name`` (innermost first)."""
        if not self.module_type:
            self.module_type = module_type
        if name:
            self.modules.insert(0, name)

    def __str__(self) -> str:
        place = f"at {'.'.join(self.modules) or 'model'} ({self.module_type}): " if self.module_type else ""
        why = f": {self.why.rstrip('.')}" if self.why else ""
        said = f"{place}{self.what.rstrip('.')}{why}"
        fix = f"Remedy: {self.fix.rstrip('.')}{'' if self.fix.endswith('?') else '.'} " if self.fix else ""
        if "\n" in said:  # what happened is a list: the remedy gets a line of its own below it
            return f"{said.rstrip()}\n{fix}[{self.code}]"
        return f"{said}. {fix}[{self.code}]"


class ShapeError(NyalaError, ValueError):
    """Shapes that do not go together."""

    code = "E101"


class DtypeError(NyalaError, TypeError):
    """A dtype an operation cannot work with."""

    code = "E102"


class DeviceError(NyalaError, RuntimeError):
    """Tensors on different devices, or a device that is not there."""

    code = "E103"


class GradError(NyalaError, RuntimeError):
    """A backward pass that cannot give the right gradient."""

    code = "E104"


class IndexRangeError(NyalaError, IndexError):
    """An index, a label or a token id outside its range."""

    code = "E105"


class ArgumentError(NyalaError, ValueError):
    """An argument with a value or type that makes no sense."""

    code = "E106"


class NumericError(NyalaError, ArithmeticError):
    """NaN or infinity where a finite number is needed."""

    code = "E107"


class ModuleError(NyalaError, AttributeError):
    """A module that is put together wrongly."""

    code = "E108"


class OutOfMemoryError(NyalaError, MemoryError):
    """No memory for what an operation makes."""

    code = "E109"
    exit_code = 1


class UnknownNameError(NyalaError, LookupError):
    """A name that is not in the catalogue that was asked."""

    code = "E201"


class CheckpointError(NyalaError, ValueError):
    """A weight file that is malformed, or does not fit the model."""

    code = "E301"
    exit_code = 1


class UnsafeFileError(NyalaError, ValueError):
    """A file that nyala refuses to read because reading it could run code."""

    code = "E302"
    exit_code = 1


class IntegrityError(NyalaError, RuntimeError):
    """Bytes that do not have the hash they should have."""

    code = "E303"
    exit_code = 1


class NetworkError(NyalaError, ConnectionError):
    """A download that failed, or a network that is not there."""

    code = "E304"
    exit_code = 1


class StorageError(NyalaError, OSError):
    """A full disk, a read-only folder, a file that cannot be written."""

    code = "E305"
    exit_code = 1


class AccessError(NyalaError, PermissionError):
    """A place that asks for a token, a login or an accepted licence."""

    code = "E306"


class MissingFileError(NyalaError, FileNotFoundError):
    """A file that is needed and is not there."""

    code = "E307"


class ConflictError(NyalaError, RuntimeError):
    """Somebody else changed the same thing meanwhile."""

    code = "E308"
    exit_code = 1


class DataError(NyalaError, ValueError):
    """A sample, a dataset or an input file that cannot be used."""

    code = "E401"


class RecipeError(NyalaError, ValueError):
    """A recipe with mistakes in it: all of them in one report."""

    code = "E501"


class ReproducibilityError(NyalaError, RuntimeError):
    """A repeated run that differs from the recorded one."""

    code = "E502"
    exit_code = 1


class MissingDependencyError(NyalaError, ImportError):
    """An optional package that is not installed."""

    code = "E601"


def kind_of(value: object) -> str:
    """What a message calls something of an unexpected type.

    Example:
        >>> kind_of(None), kind_of(3), kind_of([])
        ('None', 'an int', 'a list')
    """
    if value is None:
        return "None"
    name = type(value).__name__.replace("ndarray", "array")
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names closest to ``name``, best first, upper and lower case alike.

    Where one is all but the name itself, those that merely begin like it are left out.

    Example:
        >>> nearest("resnet5O", ["resnet50", "resnet18", "bert"])
        ['resnet50', 'resnet18']
        >>> nearest("transformers:bertt", ["transformers:bert", "transformers:whisper"])
        ['transformers:bert']
    """
    by_fold: dict[str, str] = {}
    for k in known:
        other = by_fold.setdefault(k.casefold(), k)
        if _alike(k, name) > _alike(other, name):  # of names that differ in case alone the one with more of the same letters
            by_fold[k.casefold()] = k
    folded = name.casefold()
    hits = difflib.get_close_matches(folded, by_fold, n=count, cutoff=0.55)
    likeness = [difflib.SequenceMatcher(None, hit, folded).ratio() for hit in hits]  # best first; the order of arguments matters
    least = likeness[0] - 0.05 if hits and likeness[0] >= 0.9 else 0.0
    return [by_fold[hit] for hit, ratio in zip(hits, likeness, strict=True) if ratio >= least]


def _alike(a: str, b: str) -> int:
    return sum(x == y for x, y in zip(a, b, strict=False))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean 'a' or 'b'`` for an error's remedy, or an empty string when nothing is near."""
    hits = [repr(h) for h in nearest(name, known)]
    return f"did you mean {' or '.join(hits)}?" if hits else ""
