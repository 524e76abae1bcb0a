"""The gradient of connectionist temporal classification, its products multiplied here: NumPy's depend on its BLAS."""

from __future__ import annotations

from typing import Any

from ...reference import loss as reference
from ..matrix.matmul import matmul


def ctc_loss_backward(
    grad: Any, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, loss: Any, alpha: Any
) -> Any:
    """As the reference."""
    return reference.ctc_loss_backward_by(matmul, grad, log_probs, targets, input_lengths, target_lengths, blank, loss, alpha)
