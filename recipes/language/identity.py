"""Which fields of a recipe make its identity, so that the hash of an old recipe stays what it was while the schema grows.

The first schema wrote every field into the hash. A field that came later goes into it only where it has another value than its
default, which must mean what runs did before the field was there: run folders of any age can so be resumed and verified.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from .schema import Recipe

# The fields of the first schema, by table. Nothing is ever added here: see above.
_OPTIMIZER = ("lr", "weight_decay", "layer_decay", "lr_scale")
_FIRST: dict[str, tuple[str, ...]] = {
    "HorizontalFlip": ("p",),
    "RandomCrop": ("padding",),
    "RandomResizedCrop": ("scale", "ratio"),
    "RandomErasing": ("p", "scale", "ratio"),
    "WordDropout": ("p",),
    "Data": (
        *("name", "test", "test_fraction", "validation_fraction", "limit_train", "limit_test"),
        *("batch_size", "eval_batch_size", "workers", "augment"),
    ),
    "Model": (
        *("name", "num_classes", "new_head", "random_init", "freeze", "unfreeze", "dropout"),
        *("image_size", "crop_pct", "max_length"),
    ),
    "Sgd": (*_OPTIMIZER, "momentum", "nesterov"),
    "Adam": (*_OPTIMIZER, "betas", "eps"),
    "AdamW": (*_OPTIMIZER, "betas", "eps"),
    "Lion": (*_OPTIMIZER, "betas"),
    "Lamb": (*_OPTIMIZER, "betas", "eps"),
    "Adafactor": _OPTIMIZER,
    "Muon": (*_OPTIMIZER, "momentum", "nesterov", "adamw_lr"),
    "Constant": ("warmup",),
    "Cosine": ("warmup", "end"),
    "Linear": ("warmup", "end"),
    "Step": ("warmup", "every", "gamma"),
    "Polynomial": ("warmup", "power", "end"),
    "OneCycle": ("warmup", "pct_start", "div_factor", "final_div_factor"),
    "Plateau": ("warmup", "metric", "factor", "patience"),
    "EarlyStop": ("metric", "patience", "min_delta"),
    "Checkpoint": ("every", "keep"),
    "Best": ("metric", "use"),
    "Train": (
        *("epochs", "steps", "accumulate", "clip_norm", "ema", "label_smoothing", "mixup", "cutmix"),
        *("eval_every", "hash_every", "early_stop", "checkpoint", "best"),
    ),
    "RunFolder": ("folder", "name"),
    "Recipe": ("schema", "seed", "description", "data", "model", "optim", "schedule", "train", "run"),
}


def tree_of(value: Any) -> Any:
    """A recipe, or a table of it, as plain values: what its hash is made of.

    Example:
        >>> from nyala.recipes.language.schema import Checkpoint
        >>> tree_of(Checkpoint(keep=3))
        {'every': None, 'keep': 3}
    """
    if isinstance(value, msgspec.Struct):
        config, first = value.__struct_config__, _FIRST.get(type(value).__name__, ())
        tree: dict[str, Any] = {str(config.tag_field): config.tag} if config.tag else {}
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            if field.name in first or not _is_default(field, item):
                tree[field.name] = tree_of(item)
        return tree
    if isinstance(value, list | tuple):
        return [tree_of(item) for item in value]
    if isinstance(value, dict):
        return {key: tree_of(item) for key, item in value.items()}
    return value


def placeless(recipe: Recipe) -> Recipe:
    """The recipe without the folders that data and weights lie in; names, which mean the same everywhere, stay."""
    data, model = recipe.data, recipe.model
    places = {key: _unless_path(getattr(data, key)) for key in ("name", "validation", "test")}
    model = msgspec.structs.replace(model, name=_unless_path(model.name))
    train = recipe.train
    if train.distill is not None:
        teacher = _unless_path(train.distill.teacher)
        train = msgspec.structs.replace(train, distill=msgspec.structs.replace(train.distill, teacher=teacher))
    return msgspec.structs.replace(recipe, data=msgspec.structs.replace(data, **places), model=model, train=train)


def _unless_path(name: str | None) -> str | None:
    return "" if name and Path(name).is_absolute() else name


def _is_default(field: msgspec.structs.FieldInfo, value: Any) -> bool:
    if field.default_factory is not msgspec.NODEFAULT:
        return bool(value == field.default_factory())
    return field.default is not msgspec.NODEFAULT and bool(value == field.default)
