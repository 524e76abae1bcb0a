"""Weights that are computed from other parameters before each forward: weight norm and spectral norm, as PyTorch names them."""

from __future__ import annotations

from typing import Any, TypeVar

from ...autograd import no_grad
from ...errors import ModuleError
from ...graph import state
from ...ops.elementwise import sqrt
from ...ops.reduce import sum
from ...random import next_key
from ...tensor import Tensor
from ..functional import normalize
from ..module import Module
from ..parameter import Parameter

M = TypeVar("M", bound=Module)


def take(module: Module, name: str, what: str) -> Parameter:
    """The parameter ``name``, no longer registered."""
    found = module._parameters.get(name)
    if found is None:
        known = ", ".join(module._parameters) or "none"
        raise ModuleError(f"{what}: {type(module).__name__} has no parameter {name!r}", fix=f"it has {known}")
    delattr(module, name)
    return found


def norms(v: Tensor, dim: int | None) -> Tensor:
    """Lengths over all dimensions but ``dim``, kept for broadcasting; over all of them for None."""
    axes = tuple(i for i in range(v.ndim) if dim is None or i != dim % v.ndim)
    return sqrt(sum(v * v, axes, keepdim=dim is not None))


def normed(g: Tensor, v: Tensor, dim: int | None) -> Tensor:
    """The directions of ``v`` with the lengths ``g``."""
    return v * (g / norms(v, dim))


class _Computed:
    """A forward pre-hook that sets an attribute from parameters; found again by its kind and name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def compute(self, module: Module) -> Tensor:
        """The weight, of differentiable operations."""
        raise NotImplementedError

    def __call__(self, module: Module, _args: Any) -> None:
        setattr(module, self.name, self.compute(module))

    def attach(self, module: Module) -> None:
        """Compute now and before each forward."""
        self(module, None)
        self.handle = module.register_forward_pre_hook(self)

    @classmethod
    def detach_from(cls, module: Module, name: str) -> _Computed:
        """Take the hook of this kind for ``name`` out of the module."""
        hooks = [] if module._hooks is None else [h.function for h in module._hooks.by_kind["forward_pre"]]
        for hook in hooks:
            if isinstance(hook, cls) and hook.name == name:
                hook.handle.remove()
                return hook
        raise ModuleError(
            f"{type(module).__name__}.{name} is not computed by {cls.__name__.strip('_')}",
            fix="name the module and parameter it was applied to",
        )


class _WeightNorm(_Computed):
    def __init__(self, name: str, dim: int | None) -> None:
        super().__init__(name)
        self.dim = dim

    def compute(self, module: Module) -> Tensor:
        return normed(getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v"), self.dim)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """weight = g * v / |v| (Salimans and Kingma, arXiv:1602.07868), with parameters ``weight_g`` and ``weight_v``.

    Args:
        module: the layer; it is changed and given back.
        name: the parameter.
        dim: keep a norm for each index of this dimension; None for a single one.

    Example:
        >>> from nyala import nn
        >>> sorted(weight_norm(nn.Linear(3, 2)).state_dict())
        ['bias', 'weight_g', 'weight_v']
    """
    weight = take(module, name, "weight_norm")
    hook = _WeightNorm(name, dim)
    module.register_parameter(f"{name}_g", Parameter(norms(weight.detach(), dim)))
    module.register_parameter(f"{name}_v", Parameter(weight.detach().clone()))
    hook.attach(module)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo ``weight_norm``: the weight as it is now is a parameter again."""
    hook = _WeightNorm.detach_from(module, name)
    _restore(module, name, hook.compute(module), (f"{name}_g", f"{name}_v"))
    return module


def _restore(module: Module, name: str, value: Tensor, parts: tuple[str, ...]) -> None:
    for part in (name, *parts):
        delattr(module, part)
    module.register_parameter(name, Parameter(value.detach().clone()))


class _SpectralNorm(_Computed):
    def __init__(self, name: str, n_power_iterations: int, eps: float, dim: int) -> None:
        super().__init__(name)
        self.n_power_iterations, self.eps, self.dim = n_power_iterations, eps, dim

    def matrix(self, weight: Tensor) -> Tensor:
        """(rows, the rest), with ``dim`` as rows."""
        return weight.movedim(self.dim, 0).reshape(weight.shape[self.dim], -1)

    def compute(self, module: Module) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.matrix(weight)
        if module.training and not state.recomputing:
            self.improve(matrix.detach(), u, v)
        return weight / (u.clone() @ (matrix @ v.clone()))

    def improve(self, matrix: Tensor, u: Tensor, v: Tensor) -> None:
        """Steps of the power iteration, written into ``u`` and ``v``."""
        with no_grad():
            for _ in range(self.n_power_iterations):
                v.copy_(normalize(matrix.t() @ u, dim=0, eps=self.eps))
                u.copy_(normalize(matrix @ v, dim=0, eps=self.eps))


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> M:
    """weight = weight_orig / its largest singular value (Miyato et al., arXiv:1802.05957), by power iteration while training.

    Args:
        module: the layer; it is changed and given back.
        name: the parameter; it becomes ``weight_orig``, with buffers ``weight_u`` and ``weight_v``.
        n_power_iterations: steps of the iteration in each forward.
        eps: least norm in it.
        dim: the dimension of the outputs: 1 for transposed convolutions, otherwise 0.
    """
    weight = take(module, name, "spectral_norm")
    rows = dim if dim is not None else 1 if type(module).__name__.startswith("ConvTranspose") else 0
    hook = _SpectralNorm(name, n_power_iterations, eps, rows)
    matrix = hook.matrix(weight.detach())
    module.register_parameter(f"{name}_orig", Parameter(weight.detach()))
    for part, count in (("u", matrix.shape[0]), ("v", matrix.shape[1])):
        start = weight._like(next_key("init").normal(count, xp=weight._module).astype(weight.dtype))
        module.register_buffer(f"{name}_{part}", normalize(start, dim=0, eps=eps))
    _SpectralNorm(name, 15, eps, rows).improve(matrix, getattr(module, f"{name}_u"), getattr(module, f"{name}_v"))
    hook.attach(module)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo ``spectral_norm``: the weight as it is now is a parameter again."""
    hook = _SpectralNorm.detach_from(module, name)
    with no_grad():
        value = hook.compute(module)
    _restore(module, name, value, (f"{name}_orig", f"{name}_u", f"{name}_v"))
    return module
