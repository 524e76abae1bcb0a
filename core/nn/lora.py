"""Low-rank adapters: a few new weights beside frozen ones.

LoRA: Hu et al., arXiv:2106.09685. DoRA: Liu et al., arXiv:2402.09353.

``attach`` changes the chosen layers of any model where they stand; ``merge`` adds what was learnt to their weights, ``detach``
gives the plain layers back. :mod:`.peft` writes and reads adapters in PEFT's layout.

Example:
    >>> import nyala
    >>> from nyala import nn
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> adapter = nn.lora.attach(model, rank=2, alpha=4, targets=["0"], train=["2"])
    >>> adapter.num_parameters(), sorted(adapter.state_dict())
    (50, ['0.lora_A.weight', '0.lora_B.weight', '2.bias', '2.weight'])
    >>> adapter.merge().detach()[0]
    Linear(in_features=8, out_features=8, bias=True)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from .. import random
from ..errors import ArgumentError, ModuleError, UnknownNameError, did_you_mean
from ..tensor import Tensor
from . import lora_layers
from . import state as states
from .linear import Linear
from .lora_layers import Adapted
from .model import Model
from .module import Module
from .peft import load, save
from .select import matching

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ALL_LINEAR", "Adapted", "Adapter", "attach", "candidates", "inner_linears", "load", "save"]

ALL_LINEAR = "all-linear"  # PEFT's word for every Linear but the head


class Adapter:
    """The adapter of a model: its layers, and what is trained whole beside them. Made by ``attach`` and ``load``.

    Attributes:
        model: the model, changed in place.
        layers: path -> adapted layer.
        trained: path -> module that is trained whole, such as a new head; PEFT calls them ``modules_to_save``.
        dropout: probability that an input of the adapter is dropped in training.
    """

    def __init__(
        self, model: Module, layers: Mapping[str, Adapted], trained: Mapping[str, Module], dropout: float, frozen: Iterable[Any]
    ) -> None:  # fmt: skip
        self.model, self.layers, self.trained, self.dropout = model, dict(layers), dict(trained), dropout
        self._frozen = list(frozen)

    # ---- what it is

    @property
    def dora(self) -> bool:
        """Whether any layer has a magnitude of its own."""
        return any(layer.lora_magnitude_vector is not None for layer in self.layers.values())

    @property
    def merged(self) -> bool:
        """Whether the weights hold what was learnt."""
        return any(layer.lora_kept is not None for layer in self.layers.values())

    def parameters(self) -> list[Any]:
        """What the adapter adds or trains whole, for an optimizer."""
        own = [p for layer in self.layers.values() for n, p in layer.named_parameters() if n.startswith("lora_")]
        return own + [p for module in self.trained.values() for p in module.parameters()]

    def num_parameters(self) -> int:
        """How many numbers that is."""
        return sum(p.numel() for p in self.parameters())

    def __repr__(self) -> str:
        kind = "DoRA" if self.dora else "LoRA"
        ranks = sorted({layer.lora_rank for layer in self.layers.values()})
        whole = f", {', '.join(self.trained)} trained whole" if self.trained else ""
        shown = "-".join(map(str, (ranks[0], ranks[-1]) if len(ranks) > 1 else ranks))
        return f"<{kind} of rank {shown} on {len(self.layers)} layers, {self.num_parameters():,} parameters{whole}>"

    # ---- its numbers

    def state_dict(self) -> dict[str, Tensor]:
        """The adapter's tensors by the model's own names; base weights are not among them."""
        return {name: t.detach() for name, t in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        found = {
            f"{path}.{name}": p
            for path, layer in self.layers.items()
            for name, p in layer.named_parameters()
            if name.startswith("lora_")
        }
        for path, module in self.trained.items():
            found |= {f"{path}.{name}": t for name, t in module.state_dict(keep_vars=True).items()}
        return found

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over an adapter's numbers, all or none.

        Raises:
            CheckpointError: something is missing, unexpected or of another shape.
        """
        if self.merged:
            raise ModuleError("the adapter is merged", why="its old numbers are in the weights", fix="call unmerge() first")
        states.load_into(self._tensors(), "the adapter", state, strict=True, assign=False)

    def save(self, folder: str | Path, **options: Any) -> None:
        """Write ``adapter_config.json`` and ``adapter_model.safetensors``; see :func:`.peft.save`."""
        save(self, folder, **options)

    # ---- into the weights, and out

    def merge(self) -> Self:
        """Put what was learnt into the weights: the model then computes the same, at its old speed.

        Raises:
            ModuleError: an adapted weight is shared with another layer, which would change too.
        """
        if self.merged:
            return self
        self._refuse_shared()
        for layer in self.layers.values():
            array = layer.lora_merged().array
            layer.lora_kept, layer.weight.array = layer.weight.array, array
            layer.weight._bump()
        return self

    def unmerge(self) -> Self:
        """Take it out again: the weights are, bit for bit, what they were."""
        for layer in self.layers.values():
            if layer.lora_kept is not None:
                layer.lora_kept, layer.weight.array = None, layer.lora_kept
                layer.weight._bump()
        return self

    def detach(self) -> Module:
        """Give the model back with plain layers, which train as they did before ``attach``.

        What was merged stays in the weights; of an adapter that is not merged nothing is left.
        """
        for layer in self.layers.values():
            lora_layers.restore(layer)
        for parameter, requires_grad in self._frozen:
            parameter.requires_grad_(requires_grad)
        self.layers, self.trained = {}, {}
        return self.model

    def _refuse_shared(self) -> None:
        owners: dict[int, list[str]] = {}
        for name, p in self.model.named_parameters(remove_duplicate=False):
            owners.setdefault(id(p), []).append(name)
        tied = {id(self.model.get_parameter(n)) for n in self.model.tied_names()} if isinstance(self.model, Model) else set()
        for path, layer in self.layers.items():
            if id(layer.weight) in tied:
                raise ModuleError(
                    f"{path}.weight is used by another part of the model too", why="merging would change both",
                    fix="keep the adapter unmerged, or choose other targets",
                )  # fmt: skip
            names = owners[id(layer.weight)]
            # one layer that stands in several places is no trouble: it is the same layer
            if len({id(self.model.get_submodule(n.rpartition(".")[0])) for n in names}) > 1:
                others = ", ".join(n for n in names if n != f"{path}.weight")
                raise ModuleError(
                    f"{path}.weight is shared with {others}", why="merging would change both", fix="keep the adapter unmerged"
                )


def candidates(model: Module) -> dict[str, Module]:
    """The layers of ``model`` that can have an adapter, by path: Linear, Conv1d to Conv3d without groups, Embedding.

    Example:
        >>> from nyala import nn
        >>> list(candidates(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))))
        ['0', '2']
    """
    return {name: m for name, m in model.named_modules() if name and not lora_layers.refusal(m)}


def attach(
    model: Module,
    rank: int = 8,
    alpha: float = 16.0,
    targets: str | Sequence[str] = ALL_LINEAR,
    dropout: float = 0.0,
    *,
    dora: bool = False,
    rslora: bool = False,
    train: str | Sequence[str] = (),
    seed: int | None = None,
) -> Adapter:
    """Freeze ``model`` and give the layers that ``targets`` name low-rank weights to learn.

    Args:
        model: any model; it is changed in place, and computes the same as before.
        rank: of the addition to each weight.
        alpha: the addition is multiplied by alpha / rank.
        targets: patterns of layer names: shell patterns or regular expressions over whole names (``"blocks.*.fc1"``), the last
            parts of names (``"query"``), or ``"all-linear"`` for every Linear but the head.
        dropout: probability that an element of the adapter's input is dropped in training.
        dora: learn the length of each output's weights apart from their direction.
        rslora: multiply by alpha / sqrt(rank), so that a higher rank learns as fast.
        train: patterns of modules that are trained whole, such as a new head; they get no adapter.
        seed: what lora_A is drawn by; the ambient stream by default. A layer's numbers do not depend on which others there are.

    Returns:
        The adapter: ``merge()``, ``unmerge()``, ``detach()``, ``state_dict()``, ``save(folder)``.

    Raises:
        UnknownNameError: a pattern fits no layer; lists those there are.
        ArgumentError: a rank below 1, a layer that can have no adapter, or a model that has one already.
    """
    _check(model, rank, alpha, dropout)
    whole = _modules(model, [train] if isinstance(train, str) else list(train))
    chosen = _targets(model, [targets] if isinstance(targets, str) else list(targets), whole)
    ranks = dict.fromkeys(chosen, (rank, alpha))
    return adapt(model, ranks, dropout, dora=lambda _: dora, rslora=rslora, whole=whole, seed=seed)


def adapt(
    model: Module, ranks: Mapping[str, tuple[int, float]], dropout: float, *, dora: Any, rslora: bool, whole: Sequence[str],
    seed: int | None,
) -> Adapter:  # fmt: skip
    """The adapter with the rank and alpha of each layer given by path; ``dora`` says of a path whether it has a magnitude."""
    frozen = [(p, p.requires_grad) for p in model.parameters()]
    model.requires_grad_(False)
    layers = {
        path: lora_layers.adapt(
            model.get_submodule(path), rank, alpha, dropout, dora(path), rslora,
            None if seed is None else random.key(seed, "lora", path),
        )
        for path, (rank, alpha) in ranks.items()
    }  # fmt: skip
    trained = {path: model.get_submodule(path).requires_grad_(True) for path in whole}
    return Adapter(model, layers, trained, dropout, frozen)


def _check(model: Module, rank: int, alpha: float, dropout: float) -> None:
    if not isinstance(rank, int) or rank < 1:
        raise ArgumentError(f"lora: rank={rank!r}", why="it is the number of directions to learn", fix="use 4 to 64")
    if not alpha > 0:
        raise ArgumentError(f"lora: alpha={alpha!r}", why="the addition would be nothing", fix="use about twice the rank")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"lora: dropout={dropout!r}", why="it is a probability", fix="use 0 to 0.5")
    adapted = next((name for name, m in model.named_modules() if isinstance(m, Adapted)), None)
    if adapted is not None:
        raise ArgumentError(
            f"lora: {adapted} has an adapter already", why="two would hide each other", fix="merge() and detach() it first"
        )


def _modules(model: Module, patterns: Sequence[str]) -> list[str]:
    """The modules with parameters or buffers of their own that the patterns fit."""
    names = [n for n, m in model.named_modules() if n and _owns(m)]
    hits = {n for p in patterns for n in _found(p, names, "train")}
    return [n for n in names if n in hits]


def _owns(module: Module) -> bool:
    return any(value is not None for value in (*module._parameters.values(), *module._buffers.values()))


def _targets(model: Module, patterns: Sequence[str], whole: Sequence[str]) -> list[str]:
    inside = tuple(f"{path}." for path in whole)
    layers = {n: m for n, m in candidates(model).items() if n not in whole and not n.startswith(inside)}
    if not patterns:
        raise ArgumentError("lora: no targets", why="the adapter would be empty", fix=f'give patterns, or "{ALL_LINEAR}"')
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern == ALL_LINEAR:
            hits = _all_linear(model, layers)
        else:
            hits = _found(pattern, list(layers), "targets", _refused(model, pattern, layers, whole))
        chosen |= dict.fromkeys(hits)
    return [n for n in layers if n in chosen]


def inner_linears(model: Module) -> list[str]:
    """The paths of every Linear but the head, for ``"all-linear"``."""
    head = {name.rpartition(".")[0] for name in getattr(model, "head_names", list)()}
    return [n for n, m in candidates(model).items() if isinstance(m, Linear) and n not in head]


def _all_linear(model: Module, layers: Mapping[str, Module]) -> list[str]:
    hits = [n for n in inner_linears(model) if n in layers]
    if not hits:
        raise UnknownNameError(
            f"lora: targets {ALL_LINEAR!r} fits no layer",
            why=f"{type(model).__name__} has no Linear but its head",
            fix=f"there are {shortened(layers)}",
        )
    return hits


def _found(pattern: str, names: Sequence[str], what: str, why: str = "") -> list[str]:
    # a pattern that names a layer's last parts fits it, as in PEFT
    hits = matching(pattern, names) or [n for n in names if n.endswith(f".{pattern}")]
    if not hits:
        near = did_you_mean(pattern, list(dict.fromkeys(part for n in names for part in (n, n.rpartition(".")[2]))))
        raise UnknownNameError(
            f"lora: {what} {pattern!r} fits no layer",
            why=why or "the adapter would silently leave it out",
            fix=f"{near + ' ' if near else ''}there are {shortened(names)}",
        )
    return hits


def _refused(model: Module, pattern: str, layers: Mapping[str, Module], whole: Sequence[str]) -> str:
    """Why a layer that the pattern does fit is none of those with adapters."""
    others = {n: m for n, m in model.named_modules() if n and n not in layers and not any(m.children())}
    hits = matching(pattern, others) or [n for n in others if n.endswith(f".{pattern}")]
    if not hits:
        return ""
    if any(hits[0] == path or hits[0].startswith(f"{path}.") for path in whole):
        return f"{hits[0]} is trained whole"
    return f"{hits[0]} can have none: {lora_layers.refusal(others[hits[0]])}"


def shortened(names: Iterable[str], limit: int = 16) -> str:
    """Names for a message, those that differ in numbers alone as one.

    Example:
        >>> shortened(["layer.0.fc", "layer.1.fc", "head"])
        'layer.*.fc, head'
    """
    kinds = list(dict.fromkeys(".".join("*" if part.isdigit() else part for part in n.split(".")) for n in names))
    return ", ".join(kinds[:limit]) + (f" and {len(kinds) - limit} more" if len(kinds) > limit else "")
