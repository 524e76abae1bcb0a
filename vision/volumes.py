"""Volumes, such as CT and MRI scans: a window slid over them, and the pipeline that gives every voxel a class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.autograd import no_grad
from ..core.create import from_numpy
from ..core.errors import ArgumentError, DataError, kind_of
from ..hub.pipeline import Pipeline, as_is
from ..hub.results import Results, table
from .io import name_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.nn import Module
    from ..hub.cards import Card
    from ..hub.files import Files

Array = np.ndarray[Any, Any]
_MODES = ("constant", "gaussian")


def sliding_window_inference(
    inputs: Array,
    roi_size: Sequence[int],
    sw_batch_size: int,
    predictor: Callable[[Array], Array],
    overlap: float = 0.25,
    mode: str = "constant",
    sigma_scale: float = 0.125,
) -> Array:
    """What a model says of a large picture or volume, window by window, and the mean where windows overlap.

    Equal to MONAI's function of this name, whose arguments these are.

    Args:
        inputs: (C, ...) with two or three axes behind the channels; smaller than a window, it is padded by zeros.
        roi_size: of a window, for each axis.
        sw_batch_size: windows that are looked at together.
        predictor: (N, C, *roi_size) -> (N, K, *roi_size).
        overlap: of neighbouring windows, as a share.
        mode: "constant": all of a window counts alike; "gaussian": its middle counts most.
        sigma_scale: width of the Gaussian, as a share of the window.

    Returns:
        (K, ...) of the input's size.

    Raises:
        ArgumentError: an overlap outside 0 to 1, another mode, or a window with other axes.

    Example:
        >>> volume = np.arange(32.0).reshape(1, 4, 8)
        >>> bool(np.allclose(sliding_window_inference(volume, (4, 4), 2, lambda x: 2 * x), 2 * volume))
        True
    """
    sizes = inputs.shape[1:]
    if not 0 <= overlap < 1 or mode not in _MODES or len(roi_size) != len(sizes):
        raise ArgumentError(
            f"overlap={overlap}, mode={mode!r}, roi_size={tuple(roi_size)} for an input of {inputs.shape}",
            why="overlap is 0 or more and below 1, and the window has a size for each axis behind the channels",
            fix=f"use one of the modes {', '.join(_MODES)}",
        )
    before = [max(r - s, 0) // 2 for r, s in zip(roi_size, sizes, strict=True)]
    after = [max(r - s, 0) - b for r, s, b in zip(roi_size, sizes, before, strict=True)]
    padded = np.pad(inputs, [(0, 0), *zip(before, after, strict=True)])
    weight = _importance(roi_size, mode, sigma_scale).astype(inputs.dtype)
    windows = list(itertools.product(*map(_starts, padded.shape[1:], roi_size, itertools.repeat(overlap))))
    total: Array | None = None
    counted = np.zeros(padded.shape[1:], inputs.dtype)
    for first in range(0, len(windows), sw_batch_size):
        places = [tuple(slice(s, s + r) for s, r in zip(at, roi_size, strict=True)) for at in windows[first:][:sw_batch_size]]
        found = predictor(np.stack([padded[(slice(None), *place)] for place in places]))
        if total is None:
            total = np.zeros((found.shape[1], *padded.shape[1:]), found.dtype)
        for place, one in zip(places, found, strict=True):
            total[(slice(None), *place)] += one * weight
            counted[place] += weight
    assert total is not None  # there is one window at least
    inner = tuple(slice(b, b + s) for b, s in zip(before, sizes, strict=True))
    return (total / counted)[(slice(None), *inner)]


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """Where windows begin along an axis; the last one ends with it."""
    step = window if window == size else max(int(window * (1 - overlap)), 1)
    count = max(math.ceil((size - window) / step), 0) + 1
    return [min(i * step, size - window) for i in range(count)]


def _importance(window: Sequence[int], mode: str, sigma_scale: float) -> Array:
    """How much each place of a window counts."""
    found = np.ones(tuple(window))
    if mode == "gaussian":
        for axis, size in enumerate(window):
            away = np.arange(size) - (size - 1) / 2
            curve = np.exp(-(away**2) / (2 * (size * sigma_scale) ** 2))
            found = found * curve.reshape([-1 if i == axis else 1 for i in range(len(window))])
    return np.maximum(found, max(found.min(), 1e-3))


@dataclass(frozen=True, eq=False, repr=False)
class VolumeMask(Results):
    """The class of every voxel of one volume.

    Attributes:
        mask: (D, H, W) uint8 or uint16.
        labels: names of the classes, by number.
        volume: what it was found in, (D, H, W), as the model saw its first channel.
    """

    mask: Array
    labels: tuple[str, ...]
    volume: Array

    def __repr__(self) -> str:
        return table(["class", "voxels", "share of the volume"], self.rows())

    def rows(self) -> list[list[object]]:
        """For each class that is there its name, its voxels, and their share."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.labels))
        order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
        return [[self.labels[k], int(counts[k]), float(counts[k] / self.mask.size)] for k in order]

    def to_dict(self) -> dict[str, Any]:
        """For each class that is there its voxels and their share."""
        found = [{"label": name, "voxels": count, "share": share} for name, count, share in self.rows()]
        return {"size": list(self.mask.shape), "classes": found}

    def draw(self) -> Image:
        """Three slices across, each where the classes behind the first have most voxels, in colour."""
        from .overlay import segmentation
        from .segmentation import Segmentation

        slices = []
        for axis in range(3):
            things = (self.mask > 0).sum(axis=tuple(i for i in range(3) if i != axis))
            place = int(things.argmax()) if things.any() else self.mask.shape[axis] // 2
            grey, mask = np.take(self.volume, place, axis), np.take(self.mask, place, axis)
            low, high = float(self.volume.min()), float(self.volume.max())
            shown = ((grey - low) / max(high - low, 1e-12) * 255).astype(np.uint8)
            slices.append(Segmentation(mask, self.labels, {}, shown))
        return segmentation(slices)

    def save_mask(self, path: str | Path) -> None:
        """Write the mask as ``.npy``.

        Raises:
            ArgumentError: another ending.
            StorageError: the file cannot be written.
        """
        from io import BytesIO

        from ..core.atomic import atomic_write

        if Path(path).suffix != ".npy":
            raise ArgumentError(f"{path}: a volume's mask is a NumPy file", fix="end the name in .npy")
        buffer = BytesIO()
        np.save(buffer, self.mask)
        atomic_write(Path(path), buffer.getvalue())


class VolumeMasks(Results, Sequence[VolumeMask]):
    """One :class:`VolumeMask` a volume."""

    def __init__(self, found: Sequence[VolumeMask], inputs: Sequence[Any]) -> None:
        self.found, self.inputs = tuple(found), tuple(inputs)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]

    def _names(self) -> list[str]:
        return [str(s) if isinstance(s, (str, Path)) else f"volume {i}" for i, s in enumerate(self.inputs)]

    def __repr__(self) -> str:
        named = zip(self._names(), self.found, strict=True)
        rows = [[name if j == 0 else "", *cells] for name, one in named for j, cells in enumerate(one.rows())]
        return table(["volume", "class", "voxels", "share of the volume"], rows)

    def to_dict(self) -> list[dict[str, Any]]:
        """For each volume its classes."""
        return [{"input": name, **one.to_dict()} for name, one in zip(self._names(), self.found, strict=True)]

    def draw(self) -> Image:
        """All volumes below each other."""
        from PIL import Image as pil

        sheets = [one.draw() for one in self.found]
        whole = pil.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "#ffffff")
        for i, sheet in enumerate(sheets):
            whole.paste(sheet, (0, sum(s.height for s in sheets[:i])))
        return whole


@dataclass(frozen=True, eq=False, repr=False)
class VolumeSegmentation(Pipeline):
    """Volumes -> the class of every voxel. Call it on one volume or a list: ``.npy`` files, or arrays (D, H, W) or (C, D, H, W).

    Spacing and orientation must be those that the model was trained on; nothing is resampled.

    Attributes:
        labels: names of the classes.
        roi_size: of the window that is slid over a volume.
        window: intensities (low, high) that become 0 and 1, beyond which all is cut off; None leaves them as they are.
        overlap: of neighbouring windows.
    """

    labels: tuple[str, ...] = ()
    roi_size: tuple[int, int, int] = (96, 96, 96)
    window: tuple[float, float] | None = None
    overlap: float = 0.25

    @classmethod
    def from_files(cls, model: Module, files: Files, card: Card | None, config: dict[str, Any]) -> VolumeSegmentation:
        """Window sizes from ``preprocessor_config.json`` or the card: ``roi_size``, ``window``, ``overlap``.

        Raises:
            DataError: values that are no sizes.
        """
        from .pipelines import labels_of

        file = "preprocessor_config.json"
        said = files.read_json(file) if file in files else dict(card.preprocessing) if card else {}
        c: Any = model.config
        labels = tuple(labels_of(config, card, int(c.num_classes)))
        factor = c.factor()
        try:
            size = tuple(int(v) for v in said.get("roi_size", (96, 96, 96)))
            window = tuple(float(v) for v in said["window"]) if said.get("window") else None
            overlap = float(said.get("overlap", 0.25))
        except (TypeError, ValueError) as error:
            raise DataError(f"{files.origin}: {file} makes no sense: {error}", fix="correct it") from error
        bad = len(size) != 3 or any(s < 1 or s % f for s, f in zip(size, factor, strict=True))
        if bad or (window and not (len(window) == 2 and window[0] < window[1])):
            fix = f"give three multiples of {factor[0]}, and a lower and a higher intensity"
            raise DataError(f"{files.origin}: roi_size {size} and window {window}", fix=fix)
        return cls(model, _read, as_is, card, files, config, labels, size, window, overlap)  # type: ignore[arg-type]

    def __call__(self, inputs: Any) -> Any:
        """A :class:`VolumeMask` for one volume, :class:`VolumeMasks` for a list.

        Raises:
            DataError: no volume, or one that cannot be read or has other channels.
        """
        several = isinstance(inputs, (list, tuple))
        sources = list(inputs) if several else [inputs]
        if not sources:
            raise DataError("no volume to work on", fix="pass at least one")
        found = [self._one(source) for source in sources]
        return VolumeMasks(found, sources) if several else found[0]

    def _one(self, source: Any) -> VolumeMask:
        from .segmentation import likeliest_of

        volume = self.preprocess(source)
        channels = int(self.model.config.in_channels)  # type: ignore[union-attr]
        if len(volume) != channels:
            raise DataError(
                f"{name_of(source)} has {len(volume)} channels", why=f"the model takes {channels}", fix="give (C, D, H, W)"
            )
        if self.window is not None:
            low, high = self.window
            volume = ((volume - np.float32(low)) / np.float32(high - low)).clip(0, 1)
        logits = sliding_window_inference(volume, self.roi_size, 1, self._predict, self.overlap)
        return VolumeMask(likeliest_of(logits), self.labels, volume[0])

    def _predict(self, windows: Array) -> Array:
        with no_grad():
            found = self.model(from_numpy(np.ascontiguousarray(windows)).to(next(self.model.parameters()).device))
        return found.float().cpu().numpy()


def _read(source: Any) -> Array:
    """(C, D, H, W) float32.

    Raises:
        DataError: no such file, no volume, or values that are not finite.
    """
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise DataError(f"there is no file {source}", fix="check the path")
        try:
            source = np.load(source, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            fix = "convert it to a NumPy array and save that with numpy.save"
            raise DataError(f"{source} is no volume in NumPy's format: {error}", fix=fix) from error
    array = np.asarray(source) if hasattr(source, "__array__") else None
    if array is None or array.dtype.kind not in "fiub" or array.ndim not in (3, 4) or 0 in array.shape:
        what = kind_of(source) if array is None else f"an array of {array.dtype} and shape {array.shape}"
        raise DataError(f"{what} is no volume", fix="pass a .npy file, or numbers of shape (D, H, W) or (C, D, H, W)")
    wide = array.astype(np.float32)
    if not np.isfinite(wide).all():
        raise DataError("a volume has values that are not finite", fix="replace them before")
    return wide if array.ndim == 4 else wide[None]
