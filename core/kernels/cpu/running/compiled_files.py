"""Where compiled code is kept between processes: Numba's files of a function, made safe for what happens on a disk.

* Numba looks at the time stamp of the function's own file. Here the names hold a digest of all the sources that the code is made
  of, so code of other sources is never taken; it is deleted when the new code is kept.
* Numba numbers the data files of a function as it finds them. Two processes that compile for different types at once can then
  take each other's code. Here a file's name is made of what it holds.
* A disk may be full, and a file cut short by a crash or a damaged disk. Here each ends with a checksum of the rest; one that
  does not fit counts as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from numba.core.caching import IndexDataCacheFile

_CHECK = hashlib.sha256
_LENGTH = _CHECK().digest_size


class KernelFiles(IndexDataCacheFile):
    """The index and data files of one function.

    ``failed`` is told of an error of the disk while code is being kept.
    """

    def __init__(self, folder: str, base: str, stamp: Any, digest: str, failed: Callable[[OSError], None]) -> None:
        super().__init__(folder, f"{base}.{digest}", stamp)
        function, _, python = re.match(r"(.*)-([^-.]*)\.(py\w*)$", base).groups()  # type: ignore[union-attr]
        self._mine = f"{base}.{digest}."
        self._versions = re.compile(rf"{re.escape(function)}-[^-.]*\.{re.escape(python)}\.([0-9a-f]+\.)?(nbi|\d+\.nbc)")
        self._failed = failed

    def save(self, key: Any, data: Any) -> None:
        """Keep code: first the data, then the index that names it."""
        name = self._data_name(int(_CHECK(repr(key).encode()).hexdigest()[:12], 16))
        try:
            self._save_data(name, data)
            self._save_index({**self._load_index(), key: name})
        except OSError as error:
            self._failed(error)
        else:
            self._delete_other_versions()

    def _delete_other_versions(self) -> None:
        for name in os.listdir(self._cache_path):
            if self._versions.fullmatch(name) and not name.startswith(self._mine):
                with contextlib.suppress(OSError):  # another process was quicker, or may not delete
                    os.unlink(os.path.join(self._cache_path, name))

    def _load_index(self) -> Any:
        return super()._load_index() if _sound(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        if not _sound(self._data_path(name)):
            raise FileNotFoundError(name)  # as Numba expects it of one that is gone
        return super()._load_data(name)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[Any]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + _CHECK(content.getvalue()).digest())


def _sound(path: str) -> bool:
    """Whether a file is there, and whole."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return False
    return content[-_LENGTH:] == _CHECK(content[:-_LENGTH]).digest()
