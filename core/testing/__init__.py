"""Tools for testing models and operations: gradient checks, a comparison with a readable report, an operation
harness, and the contracts that a model must keep.

Example:
    >>> import nyala
    >>> from nyala.testing import gradcheck
    >>> x = nyala.tensor([0.5, 2.0], dtype="float64", requires_grad=True)
    >>> gradcheck(nyala.log, x)
    True
"""

from __future__ import annotations

from .compare import assert_close
from .contracts import Verdict, Verdicts, assert_contracts, check_model
from .gradcheck import gradcheck, gradgradcheck
from .ops import Bad, OpCase, check_op
from .sampler import Sampler

__all__ = [
    "Bad",
    "OpCase",
    "Sampler",
    "Verdict",
    "Verdicts",
    "assert_close",
    "assert_contracts",
    "check_model",
    "check_op",
    "gradcheck",
    "gradgradcheck",
]
