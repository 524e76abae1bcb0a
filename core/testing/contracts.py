"""Promises that a model must keep to be trained, saved and served safely, checked on the model itself.

``check_model(model, inputs)`` runs them all on one batch and leaves the model as it found it. A contract that does not apply
says why; one that is broken says where and by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, NyalaError, did_you_mean, kind_of
from ..nn import Module
from ..random import ambient_scope, ambient_state
from ..tensor import Tensor

PASS, FAIL, SKIPPED = "pass", "fail", "not applicable"


class NotApplicable(Exception):  # noqa: N818 - no error: a way to say so from the middle of a contract
    """The contract says nothing about this model; the text says why."""


class Broken(Exception):  # noqa: N818 - what a contract found, not an error of the program
    """The model breaks the contract; the text says where and by how much."""


@dataclass(frozen=True)
class Verdict:
    """What came of one contract.

    Attributes:
        name: the contract's; promise: what it says.
        state: "pass", "fail" or "not applicable".
        reason: what was measured, what is wrong, or why it does not apply.
    """

    name: str
    promise: str
    state: str
    reason: str

    def as_json(self) -> dict[str, str]:
        """Plain values."""
        return dict(vars(self))


class Verdicts(Sequence[Verdict]):
    """The verdicts of all contracts; prints as a table, and is true where none is broken.

    Example:
        >>> v = Verdicts([Verdict("eval", "the same twice", "pass", "same bits")])
        >>> bool(v.ok), print(v)
        eval  pass            same bits
        (True, None)
    """

    def __init__(self, verdicts: Iterable[Verdict]) -> None:
        self._verdicts = tuple(verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    def __getitem__(self, index: Any) -> Any:
        return self._verdicts[index]

    @property
    def ok(self) -> bool:
        """Whether no contract is broken."""
        return all(v.state != FAIL for v in self)

    def __str__(self) -> str:
        width = max((len(v.name) for v in self), default=0)
        return "\n".join(f"{v.name:{width}}  {v.state:14}  {v.reason}" for v in self)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"ok": self.ok, "contracts": [v.as_json() for v in self]}


@dataclass(frozen=True)
class Subject:
    """What is examined.

    Attributes:
        model: the model.
        inputs: what it is called with, by argument name; ``""`` is the one positional argument. All have N rows.
        fresh: builds an untrained twin; None where nobody knows how.
        seed: what random draws in training mode are made by.
    """

    model: Module
    inputs: Mapping[str, Tensor]
    fresh: Callable[[], Module] | None = None
    seed: int = 0

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return next(iter(self.inputs.values())).shape[0]

    def outputs(self, rows: slice | None = None, model: Module | None = None, **changed: Tensor) -> dict[str, Tensor]:
        """The model's results by name, for some of the rows, with some inputs changed."""
        given = {**self.inputs, **changed}
        cut = {k: v if rows is None else v[rows] for k, v in given.items()}
        positional = [cut.pop("")] if "" in cut else []
        return results((model or self.model)(*positional, **cut))

    def gradients(self, cuts: Sequence[slice]) -> dict[str, np.ndarray]:
        """Each trained parameter's gradient of the mean loss over all rows, computed part by part."""
        self.model.zero_grad()
        with drawing(self.seed):
            for cut in cuts:
                loss_of(self.outputs(cut), self.rows).backward()
        return {n: np.array(p.grad.numpy()) for n, p in self.model.named_parameters() if p.grad is not None}


def results(output: Any) -> dict[str, Tensor]:
    """The floating tensors of a model's result, by name: a tensor, a tuple, a mapping or a dataclass.

    Raises:
        ArgumentError: there is none.

    Example:
        >>> import nyala
        >>> list(results((nyala.ones(2), None, nyala.ones(3))))
        ['0', '2']
    """
    if isinstance(output, Tensor):
        return {"output": output}
    pairs = (
        enumerate(output)
        if isinstance(output, tuple | list)
        else dict(output if isinstance(output, dict) else vars(output)).items()
    )
    found = {str(k): v for k, v in pairs if isinstance(v, Tensor) and v.dtype.kind == "f"}
    if not found:
        raise ArgumentError(f"the model returned {kind_of(output)} without a floating tensor", fix="return tensors")
    return found


def loss_of(outputs: Mapping[str, Tensor], rows: int) -> Tensor:
    """A loss that no symmetry hides from: each element times a weight of its own, squared too, over the rows of the batch."""
    total: Any = 0.0
    for value in outputs.values():
        count = int(np.prod(value.shape[1:]))
        weights = np.cos(0.7 * np.arange(count, dtype=np.float64) + 0.3).reshape(value.shape[1:])
        w = Tensor(weights.astype(value.dtype)).to(value.device)
        total = total + ((value * w).sum() + 0.1 * (value * value).sum()) * (1 / (rows * max(1, count) ** 0.5))
    return total  # type: ignore[no-any-return]


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Random draws inside are those of ``seed``, whatever was drawn before."""
    with ambient_scope((seed, 0, 0)):
        yield


@contextmanager
def as_it_was(model: Module) -> Iterator[None]:
    """Afterwards weights, buffers, gradients, modes and random draws are what they were."""
    arrays = {n: np.array(t.numpy()) for n, t in model.state_dict().items()}
    modes = [(m, m.training) for m in model.modules()]
    tensors = [(p, p.grad, p.requires_grad) for p in model.parameters()]
    draws = ambient_state()
    try:
        with ambient_scope(draws):
            yield
    finally:
        model.load_state_dict(arrays)
        for module, training in modes:
            module.training = training
        for p, grad, requires in tensors:
            p.grad = grad
            p.requires_grad_(requires)


def distance(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[float, str]:
    """The greatest difference relative to the largest value of its tensor, and the tensor's name.

    A tensor whose values are rounding noise beside the largest of all counts by that.

    Example:
        >>> distance({"a": np.array([1.0, 2.0])}, {"a": np.array([1.0, 2.5])})
        (0.2, 'a')
    """
    arrays = {n: np.asarray(v, np.float64) for n, v in expected.items()}
    scale = max((float(np.abs(a).max(initial=0)) for a in arrays.values()), default=0.0)
    found = [(0.0, "")]
    for name, a in arrays.items():
        gap = float(np.abs(np.asarray(actual[name], np.float64) - a).max(initial=0))
        found.append((gap / max(float(np.abs(a).max(initial=0)), 1e-3 * scale, 1e-30), name))
    return max(found, key=lambda pair: float("inf") if pair[0] != pair[0] else pair[0])


def check_model(
    model: Module,
    inputs: Tensor | Mapping[str, Tensor],
    *,
    only: Iterable[str] | None = None,
    fresh: Callable[[], Module] | None = None,
    seed: int = 0,
) -> Verdicts:
    """Check a model's contracts on a batch.

    Args:
        model: left as it is found: weights, modes, gradients.
        inputs: what the model is called with, 4 rows or more: its one tensor, or tensors by argument name. With an
            ``attention_mask`` among them, padding is checked too.
        only: names of contracts; all if left out. :data:`CONTRACTS` has them.
        fresh: builds an untrained model of the same shape, which a saved file is then loaded into.
        seed: what random draws in training mode are made by.

    Raises:
        ArgumentError: no such contract, or inputs without rows.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> found = check_model(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), nyala.randn(4, 3))
        >>> found.ok, [v.name for v in found if v.state == "not applicable"]
        (True, ['padding', 'checkpointing'])
    """
    from .model_contracts import CONTRACTS

    chosen = list(CONTRACTS) if only is None else list(only)
    for name in chosen:
        if name not in CONTRACTS:
            fix = did_you_mean(name, CONTRACTS) or f"there are {', '.join(CONTRACTS)}"
            raise ArgumentError(f"no contract is called {name!r}", fix=fix)
    named = {"": inputs} if isinstance(inputs, Tensor) else dict(inputs)
    sizes = {t.shape[0] if t.ndim else 0 for t in named.values()}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ArgumentError(f"the inputs have {sorted(sizes)} rows", fix="give a batch of at least two rows, the same in all")
    subject = Subject(model, named, fresh, seed)
    return Verdicts(judged(name, *CONTRACTS[name], subject) for name in chosen)


def assert_contracts(model: Module, inputs: Tensor | Mapping[str, Tensor], **options: Any) -> None:
    """For a test of one's own: fail unless the model keeps every contract that applies.

    Args:
        model, inputs, **options: as for :func:`check_model`.

    Raises:
        AssertionError: with the table of all verdicts.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> assert_contracts(nn.Linear(3, 2), nyala.randn(4, 3))
    """
    found = check_model(model, inputs, **options)
    if not found.ok:
        raise AssertionError(f"{type(model).__name__} breaks a contract\n{found}")


def judged(name: str, promise: str, check: Callable[[Any], str], subject: Any, model: Module | None = None) -> Verdict:
    """Runs one contract; the model is afterwards what it was."""
    try:
        with as_it_was(model or subject.model), np.errstate(all="ignore"):  # what is not finite is in the verdict
            return Verdict(name, promise, PASS, check(subject))
    except NotApplicable as why:
        return Verdict(name, promise, SKIPPED, str(why))
    except Broken as found:
        return Verdict(name, promise, FAIL, str(found))
    except NyalaError as error:
        return Verdict(name, promise, FAIL, f"an error: {error}")
