"""Reading and writing timm's ``config.json``, which all of its architectures share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from ...core.errors import ArgumentError, did_you_mean

# Keys of model_args that choose between things nyala has only one of; the value it has.
_FIXED = {"global_pool": "avg", "pretrained": False}


def timm_arguments(config_class: type, config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's values from ``num_classes``, ``model_args`` and the overrides, checked against the fields.

    Raises:
        ArgumentError: a name that the architecture's ``Config`` does not have, or a variant that nyala does not build.
    """
    known = {f.name for f in fields(config_class)}
    given: dict[str, Any] = {}
    if "num_classes" in config:
        given["num_classes"] = int(config["num_classes"])
    given |= {**config.get("model_args", {}), **overrides}
    for name, value in _FIXED.items():
        if given.pop(name, value) != value:
            raise ArgumentError(f"{name}={value!r} is the only kind that is built", fix=f"leave {name} out")
    unknown = sorted(set(given) - known)
    if unknown:
        raise ArgumentError(
            f"{config.get('architecture', 'the model')} has no option {', '.join(map(repr, unknown))}",
            why=f"it has {', '.join(sorted(known))}",
            fix=did_you_mean(unknown[0], known),
        )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def timm_config(config: Any, implied: Any, num_features: int) -> dict[str, Any]:
    """A ``config.json`` in timm's layout.

    Args:
        config: the model's ``Config``.
        implied: the ``Config`` that the architecture's name alone gives: what equals it need not be said.
        num_features: width of what the head reads.
    """
    plain = asdict(implied)
    arguments = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
        if name != "num_classes" and value != plain[name]
    }
    head = {"architecture": config.architecture, "num_classes": config.num_classes, "num_features": num_features}
    return {**head, "global_pool": "avg", **({"model_args": arguments} if arguments else {})}


# ---- transformers' layout


def transformers_bare(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` in transformers' layout describes the model without a head."""
    return any(name.endswith("Model") for name in config.get("architectures") or ())


def transformers_classes(config: Mapping[str, Any]) -> int:
    """How many classes a ``config.json`` in transformers' layout describes: none without a head, two where it says nothing.

    Example:
        >>> transformers_classes({"architectures": ["ConvNextForImageClassification"], "id2label": {"0": "cat"}})
        1
    """
    if "num_labels" in config:  # who loads it wants a head of this size
        return int(config["num_labels"])
    return 0 if transformers_bare(config) else len(config.get("id2label") or (0, 1))


def transformers_labels(name: str, num_classes: int) -> dict[str, Any]:
    """The keys of transformers' ``config.json`` that name the class and its labels.

    Args:
        name: how transformers' classes of the architecture begin, e.g. ``"ConvNext"``.
        num_classes: 0 for the model without a head.
    """
    if not num_classes:
        return {"architectures": [f"{name}Model"]}
    names = {str(i): f"LABEL_{i}" for i in range(num_classes)}
    labels = {"id2label": names, "label2id": {v: int(k) for k, v in names.items()}}
    return {"architectures": [f"{name}ForImageClassification"], **labels}
