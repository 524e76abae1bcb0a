"""What is known about a repository of a model hub that has no card: from this machine where it was fetched, else asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DataError, NetworkError, NyalaError, UnknownNameError
from . import registry
from .client import Resolved, with_nearest
from .files import Files
from .quota import in_words
from .sources.huggingface import page_of
from .sources.model_hub import ModelHub
from .storage import cache_folder, is_offline


@dataclass(frozen=True)
class Repository:
    """A repository at one commit.

    Attributes:
        name: as it was asked for, ``org/name[@revision]``.
        page: its address.
        revision, commit: what was asked for, and what that is.
        files: name -> ``{"size": bytes or None, "sha256": or empty}`` of what a loader needs.
        cached: whether the files are on this machine; then nothing was asked.
        license: as the repository states it; empty where it does not, or was not asked.
        task: what the hub says the model is for; empty as above.
        gated: whether a licence must be accepted before files are given out; None where nobody asked.
        architecture: nyala's name of it; empty where that is not known before the files are here.
    """

    name: str
    page: str
    revision: str
    commit: str
    files: dict[str, dict[str, Any]]
    cached: bool
    license: str = ""
    task: str = ""
    gated: bool | None = None
    architecture: str = ""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        facts = {
            "page": self.page,
            "commit": f"{self.commit} ({self.revision})" if self.revision != self.commit else self.commit,
            "task": self.task,
            "architecture": self.architecture,
            "licence": self.license or ("see its page" if self.cached else "none stated: ask before you use it"),
            "gated": f"yes: accept the licence at {self.page}, then `hf auth login`" if self.gated else "",
            "preprocessing": "as its files say" if any("preprocessor" in n or "token" in n for n in self.files) else "",
        }
        lines = [f"{self.name}: a repository of the model hub; nyala has no card of it", ""]
        lines += [f"{name:15}{value}" for name, value in facts.items() if value]
        total = sum(file["size"] or 0 for file in self.files.values())
        lines += ["", f"what a loader needs, {in_words(total)}, {'on this machine' if self.cached else 'not fetched yet'}:"]
        for name, file in self.files.items():
            lines.append(f"  {name}  {'size unknown' if file['size'] is None else in_words(file['size'])}")
            lines += [f"    {file['sha256']}"] if file["sha256"] else []
        return "\n".join(lines)


def look_up(resolved: Resolved, *, offline: bool = False) -> Repository:
    """The repository that a name without a card means; asked about only where it is not cached.

    Args:
        resolved: of a hub id.
        offline: make no network call.

    Raises:
        UnknownNameError: no such repository or revision.
        NetworkError: it is not cached, and the hub cannot or may not be asked.
        AccessError: the hub refuses.
    """
    source = ModelHub(resolved.sources[0], cache_folder())
    page = page_of(source.spec.repo)
    if (files := source.present()) is not None:
        here = {name: {"size": files[name].stat().st_size, "sha256": files.hashes[name]} for name in sorted(files)}
        built = _architecture(files)
        return Repository(resolved.name, page, source.revision, files.revision, here, cached=True, architecture=built)
    if offline or is_offline():
        raise NetworkError(
            f"{resolved.name} is not cached, and no network may be used", fix=f"with a network: nyala show {resolved.name}"
        )
    try:
        listing = source.listing(patient=True)
    except NyalaError as error:
        raise with_nearest(error, resolved) from error.__cause__
    stated = {name: (listing.stated_size(name), listing.states(name)) for name in source.wanted(listing)}
    files_there = {name: {"size": size, "sha256": text if len(text) == 64 else ""} for name, (size, text) in stated.items()}
    return Repository(
        resolved.name,
        page,
        source.revision,
        listing.commit,
        files_there,
        cached=False,
        license=listing.license,
        task=listing.task,
        gated=listing.gated,
    )


def _architecture(files: Files) -> str:
    """The registry's name of what ``config.json`` describes, and whether nyala builds that."""
    if "config.json" not in files:
        return ""
    try:
        name = registry.architecture_of(files.read_json("config.json"), str(files["config.json"]))
    except DataError:
        return ""
    try:
        registry.import_path(name)
    except UnknownNameError:
        return f"{name}, which nyala does not build"
    return name
