"""``Model``: what every architecture offers, so that heads, freezing, layer decay and adapters are written once for all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

from ..errors import ModuleError
from .container import ModuleList
from .linear import Linear
from .module import Module
from .select import select
from .shape import Identity


class Model(Module):
    """Base of every architecture.

    A subclass takes its config, defines ``forward_features`` and ``forward_head`` (or ``forward``), and names its head in
    ``classifier_name``; the rest follows, and each part may be overridden.

    Attributes:
        config: the frozen dataclass the model was built from.
        classifier_name: the name of the last layer, which ``reset_head`` replaces: "fc", "classifier", ...
    """

    classifier_name: ClassVar[str] = ""

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Any) -> Any:
        """The head's result on the features of ``x``."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - subclasses'
        """The features that the head sees."""
        raise ModuleError(f"{type(self).__name__} has no forward_features", fix="define it in the class")

    def forward_head(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - subclasses'
        """The result, from what ``forward_features`` gave."""
        raise ModuleError(f"{type(self).__name__} has no forward_head", fix="define it in the class")

    def forward_intermediates(self, *args: Any, names: Sequence[str], **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The model's result, and the results of the modules that ``names`` (names, shell patterns or regexes) fit.

        A module that runs several times gives its last result.

        Raises:
            UnknownNameError: a name fits no module.
            ModuleError: a module was not called, as lists and other holders are not.
        """
        modules = dict(self.named_modules())
        found: dict[str, Any] = {}
        wanted = _outermost(names, [n for n in modules if n])

        def keep(name: str) -> Callable[..., None]:
            def hook(_module: Module, _args: Any, output: Any) -> None:
                found[name] = output

            return hook

        handles = [modules[name].register_forward_hook(keep(name)) for name in wanted]
        try:
            result = self(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        idle = [name for name in wanted if name not in found]
        if idle:
            raise ModuleError(
                f"{', '.join(idle)} did not run", why="only modules that are called have a result", fix="name others"
            )
        return result, {name: found[name] for name in wanted}

    def tied_names(self) -> list[str]:
        """Parameters that a second part of the model uses without having them, as a head may use the token table."""
        return []

    def untie(self) -> None:
        """Give what uses a parameter without having it a layer of its own, as ``nn.quantize`` needs."""

    # ---- the head

    def head_names(self) -> list[str]:
        """The names of the head's parameters."""
        return [n for n, _ in self.named_parameters() if self.classifier_name and n.startswith(self.classifier_name + ".")]

    def reset_head(self, num_classes: int) -> None:
        """A new, freshly initialised head for ``num_classes`` classes; 0 takes it away and leaves the features.

        Raises:
            ModuleError: the architecture has no Linear layer called ``classifier_name``.
        """
        old = self.get_submodule(self.classifier_name) if self.classifier_name else None
        if not isinstance(old, (Linear, Identity)):
            raise ModuleError(
                f"{type(self).__name__} has no linear classifier to replace",
                fix="override reset_head, or set classifier_name",
            )
        width = old.in_features if isinstance(old, Linear) else self._head_width or int(getattr(self, "num_features", 0))
        new: Module = Identity()
        if num_classes:
            new = Linear(width, num_classes, bias=not isinstance(old, Linear) or old.bias is not None)
            example = next(self.parameters(), None)
            new = new if example is None else new.to(example)
        self._head_width = width
        self.set_submodule(self.classifier_name, new)
        self._update_config(num_classes)

    _head_width = 0

    def _update_config(self, num_classes: int) -> None:
        for name in ("num_classes", "num_labels"):
            if dataclasses.is_dataclass(self.config) and name in {f.name for f in dataclasses.fields(self.config)}:
                self.config = dataclasses.replace(self.config, **{name: num_classes})  # type: ignore[type-var]

    # ---- training it

    def num_parameters(self, only_trainable: bool = False) -> int:
        """The number of single weights; shared ones count once."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    def layer_of(self, name: str) -> int:
        """The depth of a parameter for layer-wise rates: 0 for the stem, N + 1 for block N, and the head last.

        By default the first number in a name is its block; what is registered before the blocks belongs to the stem, what
        comes after them to the head. Architectures with nested stages override it.
        """
        layers = self.__dict__.get("_layers")
        if layers is None or name not in layers:
            layers = self.__dict__["_layers"] = _default_layers([n for n, _ in self.named_parameters(remove_duplicate=False)])
        return layers[name]

    def param_groups(
        self, *, weight_decay: float = 0.0, layer_decay: float | None = None, lr: float | None = None
    ) -> list[dict[str, Any]]:
        """The trainable parameters in groups for an optimizer.

        Norms, biases and everything else with one dimension or none gets no weight decay. With ``layer_decay`` each layer
        learns at ``layer_decay`` times the rate of the one after it (Clark et al., arXiv:2003.10555).

        Args:
            weight_decay: of the matrices and kernels.
            layer_decay: factor from layer to layer, below 1; None for one rate.
            lr: the last layer's rate. Without it the groups have ``lr_scale`` alone, for the caller to multiply.

        Returns:
            Dicts with ``params``, ``param_names``, ``weight_decay``, ``lr_scale`` and, if ``lr`` was given, ``lr``.
        """
        trained = [(n, p) for n, p in self.named_parameters() if p.requires_grad]
        depth = {n: self.layer_of(n) if layer_decay is not None else 0 for n, _ in self.named_parameters()}
        last = max(depth.values(), default=0)
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for name, p in trained:
            decayed = p.ndim > 1
            scale = (1.0 if layer_decay is None else layer_decay) ** (last - depth[name])
            group = groups.setdefault(
                (depth[name], decayed),
                {"params": [], "param_names": [], "weight_decay": weight_decay if decayed else 0.0, "lr_scale": scale},
            )
            if lr is not None:
                group["lr"] = lr * scale
            group["params"].append(p)
            group["param_names"].append(name)
        return [groups[k] for k in sorted(groups)]

    def checkpointed_blocks(self) -> Iterator[Module]:
        """The blocks ``enable_checkpointing`` works on: the members of the outermost module lists."""
        lists = [m for m in self.modules() if isinstance(m, ModuleList)]
        inner = {id(m) for outer in lists for block in outer for m in block.modules()}
        for outer in lists:
            if id(outer) not in inner:
                yield from outer

    def enable_checkpointing(self, enable: bool = True) -> Self:
        """Train in less memory: each block's activations are computed again in the backward pass.

        Raises:
            ModuleError: the model names no blocks.
        """
        blocks = list(self.checkpointed_blocks())
        if not blocks:
            raise ModuleError(f"{type(self).__name__} has no blocks to checkpoint", fix="override checkpointed_blocks()")
        for block in blocks:
            block.checkpoint_(enable)
        return self


def _outermost(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The modules called exactly so, and for each pattern those it fits that lie in no other it fits."""
    chosen = {p for p in patterns if p in names}
    for pattern in patterns:
        if pattern not in chosen:
            covered = set(select([pattern], names, "forward_intermediates"))
            chosen |= {n for n in covered if not any(n.startswith(c + ".") for c in covered)}
    return [n for n in names if n in chosen]


def _default_layers(names: Sequence[str]) -> dict[str, int]:
    blocks = {n: next((int(part) for part in n.split(".") if part.isdigit()), None) for n in names}
    numbers = [b for b in blocks.values() if b is not None]
    head = max(numbers, default=-1) + 2
    layers, seen = {}, False
    for name, block in blocks.items():
        seen = seen or block is not None
        layers[name] = block + 1 if block is not None else head if seen else 0
    return layers
