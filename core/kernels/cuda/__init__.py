"""Kernels for CUDA. What is not listed runs as the reference does, on CuPy arrays."""

from __future__ import annotations

KERNELS: dict[str, str] = {}
