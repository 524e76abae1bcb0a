"""nyala: fine-tune pretrained vision, audio and text models on NumPy and CuPy.

The face of the package: names only, each loaded when it is first used, so ``import nyala`` stays quick.
``nyala.nn`` is the same module object as ``nyala.core.nn``; nothing is ever loaded twice.

Example:
    >>> import nyala
    >>> x = nyala.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

__version__ = "0.1.0"

# Public module -> where it lives. `import nyala.nn.functional as F` works through these.
_MODULES = {
    "nn": "core.nn",
    "optim": "core.optim",
    "autograd": "core.autograd",
    "data": "core.data",
    "random": "core.random",
    "errors": "core.errors",
    "testing": "core.testing",
    "checkpoint": "core.checkpoint",
    "utils": "core.utils",
    "fft": "core.ops.fft",
    "cuda": "core.cuda",
    "amp": "core.amp",
    "backends": "core.backends",
    "memory": "core.memory",
}
# Public name -> the module that defines it.
_NAMES: dict[str, str] = {
    name: module
    for module, names in {
        "core.tensor": "Tensor",
        "core.autograd": "no_grad enable_grad set_grad_enabled inference_mode is_grad_enabled",
        "core.invariance": "batch_invariant",
        "core.backends": "set_float32_matmul_precision get_float32_matmul_precision",
        "core.autocast": "autocast is_autocast_enabled get_autocast_dtype",
        "core.create": (
            "tensor as_tensor from_numpy from_dlpack zeros ones empty full zeros_like ones_like empty_like full_like "
            "arange linspace eye meshgrid"
        ),
        "core.random": "manual_seed rand randn randint randperm rand_like randn_like bernoulli multinomial",
        "core.dtypes": ("uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 set_default_dtype"),
        "core.ops.elementwise": (
            "add sub mul div floor_divide remainder pow maximum minimum exp expm1 log log1p log2 log10 sqrt rsqrt sin "
            "cos tan asin acos atan atan2 sinh cosh tanh sigmoid erf relu floor ceil round trunc neg sign reciprocal "
            "square clamp where eq ne lt le gt ge isnan isinf isfinite isclose logical_not logical_and logical_or "
            "logical_xor"
        ),
        "core.ops.reduce": (
            "sum mean var std var_mean std_mean prod amax amin argmax argmin max min logsumexp cumsum cumprod norm any "
            "all count_nonzero argsort sort topk median unique bincount"
        ),
        "core.ops.shape": (
            "reshape permute transpose movedim broadcast_to squeeze unsqueeze flatten unflatten cat stack narrow split "
            "chunk unbind flip roll repeat_interleave diagonal tril triu clone"
        ),
        "core.ops.index": (
            "gather scatter_add scatter scatter_reduce index_select take_along_dim masked_fill masked_select one_hot"
        ),
        "core.ops.softmax": "softmax log_softmax",
        "core.ops.dropout": "dropout",
        "core.ops.distance": "cosine_similarity",
        "core.ops.norm": "batch_norm layer_norm group_norm instance_norm rms_norm",
        "core.ops.spectrogram": (
            "stft istft power_spectrogram hann_window hamming_window blackman_window view_as_real view_as_complex"
        ),
        "core.ops.derived": (
            "lerp addcmul addcdiv clamp_min clamp_max nonzero index_add index_fill index_copy trace diag tile hstack "
            "vstack swapaxes ravel"
        ),
        "core.ops.linalg": "matmul mm bmm mv dot outer addmm baddbmm einsum",
        "hub.load": "load pull",
        "hub.catalogue": "list_models",
        "recipes.finetune": "finetune",
    }.items()
    for name in names.split()
}
_RENAMED = {
    "abs": ("core.ops.elementwise", "abs_"),
    "clip": ("core.ops.elementwise", "clamp"),
    "bool": ("core.dtypes", "bool_"),
    "float": ("core.dtypes", "float32"),
    "double": ("core.dtypes", "float64"),
    "half": ("core.dtypes", "float16"),
    "long": ("core.dtypes", "int64"),
    "int": ("core.dtypes", "int32"),
    "cuda_is_available": ("core.devices", "cuda_is_available"),
    "compile": ("core.compile", "compile"),
    "evaluate": ("recipes.judging.judge", "evaluate"),
}
# What PyTorch has under a name that nyala has not, and where it is.
_ELSEWHERE = {
    "save": "use nyala.checkpoint.save_file(model.state_dict(), path)",
    "device": "a device is a string: 'cpu', 'cuda' or 'cuda:1'",
}
_PACKAGES = ("core", "hub", "vision", "audio", "text", "recipes")


class _AliasLoader(Loader):
    """Loads ``nyala.nn.x`` by handing out the module ``nyala.core.nn.x``."""

    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: ModuleSpec) -> Any:  # noqa: ARG002 - the import protocol's signature
        module = importlib.import_module(self.target)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: Any) -> None:
        module.__spec__ = self.spec  # the import system has just replaced it with the alias's


class _AliasFinder(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        package, _, rest = fullname.partition(".")
        if package != __name__ or not rest:
            return None
        head, _, tail = rest.partition(".")
        if head not in _MODULES:
            return None
        real = f"{__name__}.{_MODULES[head]}" + (f".{tail}" if tail else "")
        return ModuleSpec(fullname, _AliasLoader(real))


sys.meta_path.insert(0, _AliasFinder())


def __getattr__(name: str) -> Any:
    if name in _MODULES or name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    place, attribute = _RENAMED.get(name) or (_NAMES.get(name), name)
    if place is None:
        from .core.errors import did_you_mean

        hint = _ELSEWHERE.get(name) or did_you_mean(name, __dir__())
        raise AttributeError(f"nyala has no attribute {name!r}. {hint}".rstrip())
    value = getattr(importlib.import_module(f"{__name__}.{place}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_NAMES, *_RENAMED, *_MODULES, *_PACKAGES, "__version__"})
