"""The contracts themselves: each takes a subject and returns what it measured, or raises ``Broken`` or ``NotApplicable``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import checkpoint
from ..autograd import no_grad
from ..errors import ModuleError
from ..invariance import batch_invariant
from ..nn import Model, Module, lora
from ..random import key
from ..tensor import Tensor
from .contracts import Broken, NotApplicable, Subject, distance, drawing

# Relative to the largest value: what sums in another order may differ by.
_ROUNDING = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 1e-4, "float64": 1e-10}


def _tolerance(model: Module) -> float:
    dtypes = {str(p.dtype) for p in model.parameters()} | {"float64"}
    return max(_ROUNDING.get(d, 0.0) for d in dtypes)


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {n: np.array(t.detach().numpy()) for n, t in tensors.items()}


def _state(model: Module) -> dict[str, np.ndarray]:
    return _arrays(model.state_dict())


def _same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> str:
    """The name of the first array that has not the same bits, or an empty string."""
    return next((n for n in b if n not in a or a[n].tobytes() != b[n].tobytes()), "")


def _run(subject: Subject, **given: Any) -> dict[str, np.ndarray]:
    with no_grad():
        return _arrays(subject.outputs(**given))


def evaluation(subject: Subject) -> str:
    subject.model.eval()
    before = _state(subject.model)
    with drawing(subject.seed):
        first = _run(subject)
    with drawing(subject.seed + 1):
        second = _run(subject)
    bad = next((n for n, a in first.items() if not np.isfinite(a).all()), "")
    if bad:
        raise Broken(f"{bad} has values that are not finite")
    if changed := _same(_state(subject.model), before):
        raise Broken(f"{changed} changed while predicting")
    if different := _same(first, second):
        gap, _ = distance(second, first)
        raise Broken(
            f"two calls with the same input differ in {different} by {gap:.1e}: something is drawn at random in eval mode"
        )
    return "same bits twice, finite, nothing written"


def training(subject: Subject) -> str:
    with drawing(subject.seed):
        quiet = _run_in(subject, False)
    before = _state(subject.model)
    with drawing(subject.seed):
        first = _run_in(subject, True)
    written = [n for n, a in _state(subject.model).items() if a.tobytes() != before[n].tobytes()]
    weights = [n for n in written if n in dict(subject.model.named_parameters())]
    if weights:
        raise Broken(f"a call in training mode wrote to the weights: {', '.join(weights[:3])}")
    subject.model.load_state_dict(before)
    with drawing(subject.seed):
        again = _run_in(subject, True)
    subject.model.load_state_dict(before)
    with drawing(subject.seed + 1):
        other = _run_in(subject, True)
    if different := _same(first, again):
        raise Broken(f"the same call with the same seed differs in {different}: random draws do not come from the seed alone")
    draws, differs = bool(_same(first, other)), bool(_same(first, quiet))
    reasons = (["draws at random (dropout)"] if draws else []) + (
        [f"writes {len(written)} running statistics"] if written else []
    )
    if differs and not reasons:
        raise Broken("training mode gives other results, and neither randomness nor running statistics explain it")
    return (
        f"in training mode it {' and '.join(reasons)}; the seed decides all of it" if reasons else "both modes compute the same"
    )


def _run_in(subject: Subject, mode: bool) -> dict[str, np.ndarray]:
    subject.model.train(mode)
    return _run(subject)


def gradients(subject: Subject) -> str:
    subject.model.train()
    found = subject.gradients([slice(None)])
    wanted = [n for n, p in subject.model.named_parameters() if p.requires_grad]
    if not wanted:
        raise NotApplicable("no parameter is trained")
    if missing := [n for n in wanted if n not in found]:
        raise Broken(f"{len(missing)} of {len(wanted)} parameters get no gradient: {_few(missing)}")
    if bad := [n for n, g in found.items() if not np.isfinite(g).all()]:
        raise Broken(f"{len(bad)} gradients are not finite: {_few(bad)}")
    zeros = [n for n in wanted if not found[n].any()]
    note = f"; zero on this batch: {_few(zeros)}" if zeros else ""
    return f"all {len(wanted)} parameters get one{note}"


def accumulation(subject: Subject) -> str:
    subject.model.eval()  # batch norm in training is a function of the batch, and dropout of the place in it
    whole = subject.gradients([slice(None)])
    n, half = subject.rows, (subject.rows + 1) // 2
    worst = 0.0
    for cuts in ([slice(0, half), slice(half, n)], [slice(i, i + 1) for i in range(n)]):
        gap, name = distance(subject.gradients(cuts), whole)
        if not gap <= _tolerance(subject.model):
            raise Broken(f"{n} rows in {len(cuts)} parts give another gradient: {name} differs by {gap:.1e} of its largest value")
        worst = max(worst, gap)
    return f"1x{n} = 2x{half} = {n}x1 within {worst:.1e}"


def batch(subject: Subject) -> str:
    subject.model.eval()
    exact = all(p.device == "cpu" for p in subject.model.parameters())
    tolerance = 0.0 if exact else _tolerance(subject.model)
    with batch_invariant():
        together = _run(subject)
        for i in range(subject.rows):
            alone = _run(subject, rows=slice(i, i + 1))
            gap, name = distance(alone, {k: v[i : i + 1] for k, v in together.items()})
            if not gap <= tolerance:
                raise Broken(f"row {i} alone differs from the same row in a batch of {subject.rows}: {name} by {gap:.1e}")
    return f"each of {subject.rows} rows alone has {'the bits it has' if exact else 'the result it has'} in the batch"


def padding(subject: Subject) -> str:
    mask, ids = subject.inputs.get("attention_mask"), subject.inputs.get("input_ids")
    if mask is None or ids is None:
        raise NotApplicable("the inputs have no attention_mask: there is nothing to pad")
    length = ids.shape[1]
    if length < 4:
        raise NotApplicable(f"rows of {length} tokens are too short to pad")
    subject.model.eval()
    kept = length - max(1, length // 3)
    rows = [k for k, v in subject.inputs.items() if v.ndim == 2 and v.shape[1] == length]
    short = {k: Tensor(np.ascontiguousarray(subject.inputs[k].numpy()[:, :kept])).to(ids.device) for k in rows}
    short["attention_mask"] = Tensor(np.ones((subject.rows, kept), mask.dtype)).to(ids.device)
    long = {k: subject.inputs[k] for k in rows}
    longer = np.ones((subject.rows, length), mask.dtype)
    longer[:, kept:] = 0
    long["attention_mask"] = Tensor(longer).to(ids.device)
    a, b = _run(subject, **short), _run(subject, **long)
    cut = {k: v[:, :kept] if v.ndim > 1 and v.shape[1] == length and a[k].shape[1] == kept else v for k, v in b.items()}
    gap, name = distance(cut, a)
    if not gap <= _tolerance(subject.model):
        raise Broken(f"{length - kept} masked tokens after {kept} change {name} by {gap:.1e}: the mask does not reach everything")
    said = f"nothing beyond {gap:.1e}" if gap else "no bit"
    return f"{length - kept} masked tokens after {kept} change {said}"


def saving(subject: Subject) -> str:
    subject.model.eval()
    before, expected = _state(subject.model), _run(subject)
    with tempfile.TemporaryDirectory(prefix="nyala-contract-") as folder:
        path = Path(folder) / "model.safetensors"
        checkpoint.save_file(before, path)
        read = {n: np.array(a) for n, a in checkpoint.load_file(path).items()}
    if lost := _same(read, before):
        raise Broken(f"{lost} does not come back from the file as it was")
    if subject.fresh is None:
        subject.model.load_state_dict({n: np.zeros_like(a) for n, a in before.items()})
        twin, into = subject.model, "the same model, emptied before"
    else:
        twin, into = subject.fresh().eval(), "a model built anew"
    twin.load_state_dict(read)
    if different := _same(_run(subject, model=twin), expected):
        raise Broken(f"loaded into {into}, {different} differs: something that matters is not in the state_dict")
    return f"{len(before)} tensors saved and loaded into {into}: same bits"


def checkpointing(subject: Subject) -> str:
    enable = getattr(subject.model, "enable_checkpointing", None)
    if enable is None:
        raise NotApplicable("the model is no nn.Model: it has no enable_checkpointing()")
    subject.model.train()
    state = _state(subject.model)
    plain, after = subject.gradients([slice(None)]), _state(subject.model)
    subject.model.load_state_dict(state)
    try:
        enable()
    except ModuleError as error:
        raise NotApplicable(error.what) from None
    try:
        again, after_again = subject.gradients([slice(None)]), _state(subject.model)
    finally:
        enable(False)
    if different := _same(again, plain):
        gap, _ = distance(again, plain)
        raise Broken(f"with gradient checkpointing the gradient of {different} differs by {gap:.1e}")
    if different := _same(after_again, after):
        raise Broken(f"with gradient checkpointing {different} is written twice")
    return f"the {len(plain)} gradients have the same bits with it, dropout included"


def lora_merge(subject: Subject) -> str:
    subject.model.eval()
    if any(isinstance(m, lora.Adapted) for m in subject.model.modules()):
        raise NotApplicable("it has an adapter already: detach() it, and check the model beneath")
    before, expected = _state(subject.model), _run(subject)
    shared = _shared(subject.model)
    layers = [n for n in lora.candidates(subject.model) if f"{n}.weight" not in shared]
    if not layers:
        raise NotApplicable("it has no layer that takes an adapter")
    adapter = lora.attach(subject.model, rank=2, alpha=4.0, targets=layers, seed=subject.seed)
    try:
        if different := _same(_run(subject), expected):
            raise Broken(f"a fresh adapter changes {different}: it should add nothing yet")
        state = {n: _learnt(n, np.array(t.numpy())) for n, t in adapter.state_dict().items()}
        adapter.load_state_dict(state)
        apart, merged = _run(subject), _run_merged(subject, adapter)
        adapter.unmerge()
    finally:
        adapter.detach()
    gap, name = distance(merged, apart)
    if not gap <= 10 * _tolerance(subject.model):
        raise Broken(f"merged into the weights the adapter gives another {name}, by {gap:.1e}")
    if not _same(apart, expected):
        raise Broken("an adapter on every layer changes no result: no layer's output is used")
    if changed := _same(_state(subject.model), before):
        raise Broken(f"{changed} is not what it was after merge() and unmerge()")
    return f"on {len(layers)} layers: merged = apart within {gap:.1e}, taken out again bit for bit"


def _run_merged(subject: Subject, adapter: Any) -> dict[str, np.ndarray]:
    adapter.merge()
    return _run(subject)


def _shared(model: Module) -> set[str]:
    """Parameter names whose tensor stands under several names, or is used by another part: merging refuses these."""
    owners: dict[int, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(p), []).append(name)
    tied = set(model.tied_names()) if isinstance(model, Model) else set()
    return {n for names in owners.values() if len(names) > 1 or tied & {*names} for n in names}


def _learnt(name: str, array: np.ndarray) -> np.ndarray:
    """An adapter's tensor as training may leave it: small numbers where it starts at zero."""
    if array.any():
        return array
    return (0.02 * key(0, "contract-lora", name).normal(array.shape)).astype(array.dtype)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


CONTRACTS: dict[str, tuple[str, Callable[[Subject], str]]] = {
    "evaluation": ("in eval mode the same input gives the same bits, finite, and nothing is written", evaluation),
    "training": ("what is different in training mode is randomness by the seed and running statistics", training),
    "gradients": ("every trained parameter gets a finite gradient", gradients),
    "accumulation": ("the gradient of a batch is the sum of its parts' gradients, however it is cut", accumulation),
    "batch": ("a row alone gives what it gives in a batch", batch),
    "padding": ("masked tokens change nothing", padding),
    "saving": ("what is saved and loaded computes the same bits", saving),
    "checkpointing": ("gradient checkpointing changes no gradient", checkpointing),
    "lora": ("an adapter merged into the weights computes what it did beside them", lora_merge),
}
