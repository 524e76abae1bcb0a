"""A local folder as a source: nothing is copied, hashes are checked where the card has them."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import IntegrityError, MissingFileError
from ..cards import SourceSpec
from ..files import Files, folder_files
from ..integrity import Memory
from ..storage import logger


class LocalFolder:
    """Files of a folder, in place.

    Args:
        spec: ``folder``, and optionally ``files`` with hashes.
        cache: nyala's cache folder, where the hashes are remembered.
        beside: what a relative ``folder`` is relative to.
    """

    def __init__(self, spec: SourceSpec, cache: Path, beside: Path | None = None) -> None:
        self.spec = spec
        self.folder = (beside or Path()) / Path(spec.folder).expanduser()
        self._memory = Memory(cache / "folders.verified.json")

    def cached(self) -> Files | None:
        if not self.folder.is_dir():
            return None
        try:
            return self.fetch(patient=False)
        except (IntegrityError, MissingFileError) as error:  # another source may have the right ones; `fetch` says it again
            logger.warning("%s", error.what)
            return None

    def present(self) -> Files | None:
        if not self.folder.is_dir():
            return None
        found = folder_files(self.folder)
        if not self.spec.files:
            return found
        wanted = {name: spec.path or name for name, spec in self.spec.files.items()}
        if not all(place in found for place in wanted.values()):
            return None
        hashes = {name: spec.sha256 for name, spec in self.spec.files.items() if spec.sha256}
        return Files({name: found[place] for name, place in wanted.items()}, origin=self.spec.label, hashes=hashes)

    def fetch(self, *, patient: bool) -> Files:  # noqa: ARG002 - a disk is not waited for
        found = folder_files(self.folder)
        if not self.spec.files:
            return found
        paths, hashes = {}, {}
        for name, spec in self.spec.files.items():
            paths[name] = found.require(spec.path or name, "load the model")
            if spec.sha256:
                hashes[name] = self._memory.sha256(paths[name])
                if hashes[name] != spec.sha256:
                    raise IntegrityError(
                        f"{paths[name]} has sha256 {hashes[name]}, {self.spec.authority} says {spec.sha256}",
                        why="the file was changed or damaged",
                        fix="restore it from where it came",
                    )
        return Files(paths, origin=self.spec.label, hashes=hashes)
