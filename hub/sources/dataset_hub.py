"""A dataset of a model hub as a source: the same fetching, verifying and recording as for a model, on the hub's dataset side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from ...core.errors import MissingFileError
from ..cards import SourceSpec
from .huggingface import label_of
from .listing import Listing
from .model_hub import ModelHub


class DatasetSpec(SourceSpec, frozen=True):
    """A repository on the hub's dataset side."""

    @property
    def label(self) -> str:
        """How messages call this source."""
        return label_of(self.repo, "dataset")


class DatasetHub(ModelHub):
    """Files of one dataset repository.

    Args:
        spec: ``repo``, and ``commit`` or ``revision``.
        cache: nyala's cache folder, for the record of commit and hashes.
        choose: of the names of all files, those that are wanted; an empty list is an error that names what there is.
        part: what of the dataset is meant, where it is not all: each has a record of its own.
    """

    kind: ClassVar[str] = "dataset"

    def __init__(self, spec: DatasetSpec, cache: Path, choose: Any, part: str = "") -> None:
        super().__init__(spec, cache / "datasets")
        if part:
            self.record = self.record.with_name(f"{self.record.stem}--{re.sub(r'[^0-9A-Za-z._-]', '-', part)}.json")
        self.choose = choose

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
