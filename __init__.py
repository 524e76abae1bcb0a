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
from typing import TYPE_CHECKING, Any

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
