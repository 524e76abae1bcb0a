"""Convolutions and transposed convolutions in one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..errors import ArgumentError, ShapeError
from ..ops.sizes import each
from ..tensor import Tensor
from . import functional as F
from . import init
from .linear import new_parameter
from .module import Module
from .parameter import Parameter

Size = int | Sequence[int]
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: their settings, weight and bias."""

    dims: ClassVar[int]
    transposed: ClassVar[bool] = False

    def _setup(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size, padding: Size | str, dilation: Size,
        groups: int, bias: bool, padding_mode: str, device: Any, dtype: Any, output_padding: Size = 0,
    ) -> None:  # fmt: skip
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{type(self).__name__}: {in_channels} input and {out_channels} output channels in {groups} groups",
                fix="choose a divisor of both",
            )
        if padding_mode not in (_PADDING_MODES if not self.transposed else ("zeros",)):
            raise ArgumentError(f"padding_mode={padding_mode!r}", fix=f"use one of {', '.join(_PADDING_MODES)}")
        n = self.dims
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size, self.stride = each(kernel_size, n, "kernel_size", 1), each(stride, n, "stride", 1)
        self.dilation, self.output_padding = each(dilation, n, "dilation", 1), each(output_padding, n, "output_padding")
        self.padding = padding if isinstance(padding, str) else each(padding, n, "padding")
        self._check_named_padding()
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = new_parameter(first, second // groups, *self.kernel_size, device=device, dtype=dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter(out_channels, device=device, dtype=dtype) if bias else None)
        self.reset_parameters()

    def _check_named_padding(self) -> None:
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ArgumentError(f"padding={self.padding!r}", fix="use numbers, 'same' or 'valid'")
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ArgumentError(
                    f"padding='same' with stride {self.stride}", why="it is defined for stride 1", fix="pass numbers"
                )

    def reset_parameters(self) -> None:
        """Fill the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def _edges(self) -> list[int]:
        """Padding on both sides of each dimension, last dimension first, as ``F.pad`` takes it."""
        pairs = []
        for i in reversed(range(self.dims)):
            if isinstance(self.padding, str):
                total = self.dilation[i] * (self.kernel_size[i] - 1) if self.padding == "same" else 0
                pairs += [total // 2, total - total // 2]
            else:
                pairs += [self.padding[i]] * 2
        return pairs

    def _convolve(self, conv: Callable[..., Tensor], input: Tensor, biased: bool = True) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._edges(), mode=self.padding_mode), 0
        return conv(input, self.weight, self.bias if biased else None, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding not in ((0,) * self.dims, "valid"):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.dims:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.dims:
            text += f", output_padding={self.output_padding}"
        text += f", groups={self.groups}" if self.groups != 1 else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class _Conv(_ConvNd):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._setup(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)


class Conv1d(_Conv):
    """Cross-correlation over one dimension.

    Shape: input (N, in_channels, L) or (in_channels, L), output (N, out_channels, L_out); weight (out, in / groups, k).
    """

    dims = 1

    def forward(self, input: Tensor) -> Tensor:
        return self._convolve(F.conv1d, input)


class Conv2d(_Conv):
    """Cross-correlation over two dimensions.

    Shape: input (N, in_channels, H, W) or (in_channels, H, W), output (N, out_channels, H_out, W_out);
    weight (out, in / groups, kH, kW).

    Raises:
        ArgumentError: channels that ``groups`` does not divide, an unknown padding mode.

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)(nyala.ones(1, 3, 32, 32)).shape
        (1, 8, 16, 16)
    """

    dims = 2

    def forward(self, input: Tensor) -> Tensor:
        return self._convolve(F.conv2d, input)


class Conv3d(_Conv):
    """Cross-correlation over three dimensions.

    Shape: input (N, in_channels, D, H, W), output (N, out_channels, D_out, H_out, W_out).
    """

    dims = 3

    def forward(self, input: Tensor) -> Tensor:
        return self._convolve(F.conv3d, input)


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._setup(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
            output_padding,
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """What must be added at the end to reach ``output_size``."""
        if output_size is None:
            return self.output_padding
        n, padding = self.dims, each(self.padding, self.dims, "padding")
        wanted = tuple(output_size)[-n:]
        smallest = [
            (input.shape[i - n] - 1) * self.stride[i] - 2 * padding[i] + self.dilation[i] * (self.kernel_size[i] - 1) + 1
            for i in range(n)
        ]
        extra = tuple(w - s for w, s in zip(wanted, smallest, strict=True))
        if any(e < 0 or e >= max(s, d) for e, s, d in zip(extra, self.stride, self.dilation, strict=True)):
            ranges = [f"{s} to {s + max(t, d) - 1}" for s, t, d in zip(smallest, self.stride, self.dilation, strict=True)]
            raise ShapeError(
                f"output_size={wanted} cannot come from an input of shape {input.shape}", fix=f"choose from {', '.join(ranges)}"
            )
        return extra

    def _transpose(self, conv: Callable[..., Tensor], input: Tensor, output_size: Sequence[int] | None) -> Tensor:
        extra = self._output_padding(input, output_size)
        return conv(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of ``Conv1d``: (N, in_channels, L) -> (N, out_channels, L_out); weight (in, out / groups, k)."""

    dims = 1

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._transpose(F.conv_transpose1d, input, output_size)


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of ``Conv2d``: (N, in_channels, H, W) -> (N, out_channels, H_out, W_out); weight (in, out / groups, kH, kW).

    Example:
        >>> import nyala
        >>> from nyala import nn
        >>> nn.ConvTranspose2d(4, 2, kernel_size=2, stride=2)(nyala.ones(1, 4, 8, 8)).shape
        (1, 2, 16, 16)
    """

    dims = 2

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._transpose(F.conv_transpose2d, input, output_size)


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of ``Conv3d``: (N, in_channels, D, H, W) -> (N, out_channels, D_out, H_out, W_out)."""

    dims = 3

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return self._transpose(F.conv_transpose3d, input, output_size)
