"""nyala.recipes: recipes, the trainer, run folders, and the command line.

Names load when they are first used, so that ``nyala --help`` answers at once.

Example:
    >>> from nyala import recipes
    >>> recipes.load_recipe("vision/fashion-lite0", ["train.epochs=1"]).recipe.train.epochs
    1
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "load_recipe": ("language.config", "load"),
    "list_recipes": ("catalog", "names"),
    "Recipe": ("language.schema", "Recipe"),
    "create_run": ("folder.run", "create"),
    "train": ("training.trainer", "train"),
    "verify_run": ("proof.verify", "verify"),
    "compare_runs": ("proof.against", "against"),
    "evaluate": ("judging.judge", "evaluate"),
    "open_run": ("folder.run", "open_run"),
}
__all__ = ["Recipe", "compare_runs", "create_run", "evaluate", "list_recipes", "load_recipe", "open_run", "train", "verify_run"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return __all__
