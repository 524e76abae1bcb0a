"""A dataset of a model hub as a source: the same fetching, verifying and recording as for a model, on the hub's dataset side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...core.errors import MissingFileError, NetworkError, NyalaError, UnknownNameError
from ...core.progress import tell
from ..cards import SourceSpec
from ..progress import Meter
from ..quota import in_words
from . import huggingface
from .listing import Listing, about
from .model_hub import ModelHub
from .patience import deadline, within
from .selection import is_safe
from .transfer import TooLongError, receive, size_of

_COMMIT = re.compile(r"[0-9a-f]{40}")


class DatasetSpec(SourceSpec, frozen=True):
    """A repository on the hub's dataset side."""

    @property
    def label(self) -> str:
        """How messages call this source."""
        return f"hub dataset {self.repo}"


class DatasetHub(ModelHub):
    """Files of one dataset repository.

    Args:
        spec: ``repo``, and ``commit`` or ``revision``.
        cache: nyala's cache folder, for the record of commit and hashes.
        choose: of the names of all files, those that are wanted; an empty list is an error that names what there is.
        part: what of the dataset is meant, where it is not all: each has a record of its own.
    """

    def __init__(self, spec: DatasetSpec, cache: Path, choose: Any, part: str = "") -> None:
        super().__init__(spec, cache / "datasets")
        if part:
            self.record = self.record.with_name(f"{self.record.stem}--{re.sub(r'[^0-9A-Za-z._-]', '-', part)}.json")
        self.place.folder = self.place.root / f"datasets--{spec.repo.replace('/', '--')}"
        self.choose = choose

    def listing(self, patient: bool) -> Listing:
        """Ask the hub what the commit or branch holds."""
        hub, timeout = huggingface.client(), deadline(patient)

        def ask() -> Any:
            try:
                return hub.HfApi().dataset_info(self.spec.repo, revision=self.revision, files_metadata=True, timeout=timeout)
            except (KeyError, TypeError, AttributeError) as error:  # the client builds objects from whatever it is sent
                raise huggingface.strange_answer(self.spec.label) from error

        info = self._call(lambda: within(timeout + 1.0, ask), patient)
        commit = str(getattr(info, "sha", "") or "")
        if not _COMMIT.fullmatch(commit):  # it becomes a part of paths
            raise NetworkError(f"{self.spec.label}: the server's answer names no commit", fix="check HF_ENDPOINT")
        return Listing(commit, {s.rfilename: s for s in info.siblings or [] if is_safe(s.rfilename)}, **about(info))

    def wanted(self, listing: Listing) -> list[str]:
        """The files of the dataset that nyala can read.

        Raises:
            MissingFileError: there are none.
        """
        names = list(self.choose(sorted(listing.files)))
        if not names:
            held = ", ".join(sorted(listing.files)[:8]) or "nothing"
            raise MissingFileError(
                f"{self.spec.label} holds no data that nyala can read, at {listing.commit[:12]}",
                why=f"it holds {held}{', ...' if len(listing.files) > 8 else ''}",
                fix="CSV, TSV, JSON lines, Parquet, .txt and picture files are read; unpack others, then give the folder",
            )
        return names

    def _call(self, call: Any, patient: bool) -> Any:
        try:
            return super()._call(call, patient)
        except UnknownNameError as error:
            error.what = error.what.replace(f"no {self.spec.repo} that", f"no dataset {self.spec.repo} that")
            error.fix = error.fix.replace("/models?", "/datasets?")
            raise

    def _receive(self, name: str, listing: Listing, part: Path, patient: bool, meter: Meter) -> str:
        url = huggingface.client().hf_hub_url(self.spec.repo, name, repo_type="dataset", revision=listing.commit)
        label = f"{self.spec.label}: {name}"
        if before := size_of(part):
            tell(f"{label}: going on from {in_words(before)} that are here")
        try:
            receive(url, part, listing.stated_size(name), label, patient, meter.file(name))
        except TooLongError as error:
            return str(error)
        except NyalaError:
            raise
        except huggingface.hub_errors() as error:
            raise huggingface.translate(error, f"datasets/{self.spec.repo}", self.revision, name) from error
        return ""
