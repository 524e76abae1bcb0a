"""What kernels do with half precision: it is storage; arithmetic happens in float32."""

from __future__ import annotations

from typing import Any

import numpy as np


def widened(x: Any) -> Any:
    """float16 and bfloat16 as float32, everything else as it is."""
    return x.astype(np.float32) if x.dtype.itemsize < 4 and x.dtype.kind in "fV" else x
