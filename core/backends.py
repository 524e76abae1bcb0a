"""How exact float32 products are on a GPU, under torch's names and with torch's defaults; whether cuDNN attends.

TensorFloat-32 rounds the factors of a product to 10 bits of mantissa and sums in float32: several times as quick on GPUs that
have it. Matrix products are exact unless it is asked for; convolutions use it unless it is forbidden. On the CPU nothing changes:
float32 is always computed in float32 there.

Example:
    >>> import nyala
    >>> nyala.get_float32_matmul_precision(), nyala.backends.cudnn.allow_tf32
    ('highest', True)
"""

from __future__ import annotations

from typing import Literal

from .errors import ArgumentError

Precision = Literal["highest", "high", "medium"]
_KNOWN = ("highest", "high", "medium")


class _Cudnn:
    """``nyala.backends.cudnn``: an ``allow_tf32`` of its own, and ``benchmark``, by which the convolutions cuDNN could use for
    shapes that are new are timed first, and the quickest is used from then on. Runs that timed differently may differ in bits."""

    def __init__(self) -> None:
        self.allow_tf32, self.benchmark = True, False

    def refusals(self) -> dict[str, str]:
        """What this process asked cuDNN for in vain, so that nyala's own kernels compute it, and what cuDNN said.

        Example:
            >>> import nyala
            >>> nyala.backends.cudnn.refusals()
            {}
        """
        from .kernels.cuda import cudnn_plans

        return cudnn_plans.refusals()


class _Matmul:
    """``nyala.backends.cuda.matmul``: the same switch as ``set_float32_matmul_precision``, seen from its other side."""

    precision: str = "highest"

    @property
    def allow_tf32(self) -> bool:
        return self.precision != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        self.precision = "high" if allowed else "highest"


class _Cuda:
    """``nyala.backends.cuda``."""

    matmul = _Matmul()
    _cudnn_sdp = False

    def enable_cudnn_sdp(self, enabled: bool) -> None:
        """Whether attention of halves, without dropout, is asked of cuDNN where it is installed: False unless said.

        cuDNN makes a plan for each new shape, which takes about a second once; plans are kept on the disk. It pays where shapes
        recur, as in training, and costs where lengths change with every call.
        """
        self._cudnn_sdp = bool(enabled)

    def cudnn_sdp_enabled(self) -> bool:
        """What ``enable_cudnn_sdp`` was told."""
        return self._cudnn_sdp


cuda = _Cuda()
cudnn = _Cudnn()


def set_float32_matmul_precision(precision: Precision) -> None:
    """How matrix products of float32 are computed on a GPU from now on, in all threads.

    Args:
        precision: "highest", in float32; "high" or "medium", with TensorFloat-32 where the GPU has it.

    Raises:
        ArgumentError: another word.

    Example:
        >>> import nyala
        >>> nyala.set_float32_matmul_precision("high")
        >>> nyala.backends.cuda.matmul.allow_tf32
        True
        >>> nyala.set_float32_matmul_precision("highest")
    """
    if precision not in _KNOWN:
        raise ArgumentError(f"float32 matmul precision {precision!r}", fix="use 'highest', 'high' or 'medium'")
    cuda.matmul.precision = precision


def get_float32_matmul_precision() -> str:
    """What was set, "highest" at first."""
    return cuda.matmul.precision
