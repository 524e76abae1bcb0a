"""Operations of one's own that several tests work on."""

from __future__ import annotations

from typing import Any

from nyala.autograd import Function


class Scaled(Function):
    """x * factor, with everything a Function may do."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.factor = factor
        out = x * factor
        ctx.save_for_backward(x, None, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, nothing, out = ctx.saved_tensors
        assert nothing is None and out.shape == x.shape
        return g * ctx.factor, None
