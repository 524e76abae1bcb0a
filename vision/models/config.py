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
