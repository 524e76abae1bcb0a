"""A bundle as a source: nothing is unpacked, each file is checked against the bundle's manifest."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import IntegrityError
from ..bundled import Bundle, open_bundle, split_name
from ..cards import SourceSpec
from ..files import Files
from ..integrity import Memory
from ..progress import download_bar


class BundleFile:
    """The files of one model of a bundle, where they lie.

    Args:
        spec: ``folder``: the bundle's path, and after ``#`` the model's name in it.
        cache: nyala's cache folder, where the hashes are remembered.
        beside: what a relative path is relative to.
    """

    def __init__(self, spec: SourceSpec, cache: Path, beside: Path | None = None) -> None:
        self.spec = spec
        path, self.model = split_name(spec.folder)
        self.path = (beside or Path()) / path
        self._memory = Memory(cache / "bundles.verified.json")

    def cached(self) -> Files | None:
        return self.fetch(patient=False) if self.path.is_file() else None

    def present(self) -> Files | None:
        return self._files(open_bundle(self.path)) if self.path.is_file() else None

    def fetch(self, *, patient: bool) -> Files:  # noqa: ARG002 - a disk is not waited for
        files = self._files(open_bundle(self.path))
        done, total = 0, sum(files.size(name) for name in files)
        with download_bar(f"checking {self.path.name}", total) as show:
            for name in files:
                self._check(files, name)
                done += files.size(name)
                show(done)
        return files

    def _files(self, bundle: Bundle) -> Files:
        model = bundle.model(self.model)
        return bundle.files(model.name, origin=self.spec.label)

    def _check(self, files: Files, name: str) -> None:
        digest = self._memory.sha256(files[name])
        if digest != files.hashes[name]:
            raise IntegrityError(
                f"{files[name]} has sha256 {digest}, the bundle's manifest says {files.hashes[name]}",
                why="the bundle was damaged or changed",
                fix=f"copy it again from where it came; `nyala verify {self.path}` lists every damaged file",
            )
