"""Where nyala keeps what it fetched or compiled and can make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$NYALA_CACHE``, or ``~/.cache/nyala``. Files of a model hub lie in that hub client's own cache instead."""
    return Path(os.environ.get("NYALA_CACHE") or Path.home() / ".cache" / "nyala").expanduser()
