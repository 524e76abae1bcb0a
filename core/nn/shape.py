"""Layers without parameters that change shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..ops.sizes import each
from ..tensor import Tensor
from . import functional as F
from .module import Module


class Identity(Module):
    """Its input. Takes and ignores any arguments, so that it can stand for any layer.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.Identity(54, unused=True)(nyala.ones(1))
        tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - taken and ignored, as in torch
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """The dimensions from ``start_dim`` to ``end_dim`` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """One dimension as several."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Upsample(Module):
    """Resized by a factor or to a size; see ``F.interpolate``."""

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor)

    def extra_repr(self) -> str:
        how = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{how}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """``Upsample`` that repeats pixels."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """``Upsample`` that interpolates linearly, corners aligned."""

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    """Channels to pixels: (..., C r^2, H, W) -> (..., C, H r, W r) (Shi et al., arXiv:1609.05158)."""

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels to channels: (..., C, H r, W r) -> (..., C r^2, H, W)."""

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class Unfold(Module):
    """Sliding windows as columns: (N, C, H, W) -> (N, C kH kW, windows)."""

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    """Columns added up as sliding windows: (N, C kH kW, windows) -> (N, C, H, W)."""

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class _Pad(Module):
    """Padding on both sides of the last ``dims`` dimensions: one number for all, or (left, right, top, bottom, ...)."""

    dims: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        self.padding = (
            (padding,) * (2 * self.dims) if isinstance(padding, int) else each(padding, 2 * self.dims, "padding", -(1 << 31))
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


def _pads() -> dict[str, type[_Pad]]:
    """One class for each mode and count of dimensions: ``ZeroPad1d`` to ``CircularPad3d``."""
    made: dict[str, type[_Pad]] = {}
    words = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular", "Zero": "constant"}
    for dims in (1, 2, 3):
        for word, mode in words.items():
            name = f"{word}Pad{dims}d"
            body = {
                "dims": dims,
                "mode": mode,
                "__doc__": f"Padding by {mode!r} around the last {dims} dimension(s).",
                "__module__": __name__,
            }
            made[name] = type(name, (_Pad,), body)
    return made


_made = _pads()
ZeroPad1d, ZeroPad2d, ZeroPad3d = _made["ZeroPad1d"], _made["ZeroPad2d"], _made["ZeroPad3d"]
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = (_made[f"ReflectionPad{n}d"] for n in (1, 2, 3))
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = (_made[f"ReplicationPad{n}d"] for n in (1, 2, 3))
CircularPad1d, CircularPad2d, CircularPad3d = (_made[f"CircularPad{n}d"] for n in (1, 2, 3))


class ConstantPad1d(_ConstantPad):
    """A value around the last dimension."""

    dims = 1


class ConstantPad2d(_ConstantPad):
    """A value around the last two dimensions."""

    dims = 2


class ConstantPad3d(_ConstantPad):
    """A value around the last three dimensions."""

    dims = 3
