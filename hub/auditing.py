"""``nyala audit``: is what the cards say still true on the hub? Repositories, commits, files, sizes, hashes and licences.

A card is written once and a hub changes: repositories are renamed, made private or given another licence. This asks, and
reports; it changes nothing. Small files carry no sha256 on a hub: those are fetched and hashed. Large ones are not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from ..core.errors import AccessError, NetworkError, NyalaError, UnknownNameError
from .cards import Card, FileSpec, SourceSpec
from .sources.listing import Listing
from .sources.model_hub import ModelHub
from .storage import cache_folder, is_offline

State = Literal["ok", "open", "WRONG", "unreachable"]
_ORDER: tuple[State, ...] = ("ok", "open", "unreachable", "WRONG")  # the worst last
_SMALL = 1 << 20  # bytes; larger files without a sha256 on the hub are not fetched


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: ``"repository"``, ``"commit"``, ``"licence"``, ``"access"``, or a file's name.
        state: ``"ok"``; ``"open"``: the card does not say, so nothing could be compared; ``"WRONG"``; ``"unreachable"``.
        detail: what was found, in words.
    """

    check: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Audited:
    """What was found about one source of one card.

    Attributes:
        card: its name.
        source: the source's label.
        commit: what the card's commit or branch is on the hub; empty where it is not there.
        findings: everything that was looked at.
        stated: what the hub says of each file of the card, for those who maintain it.
    """

    card: str
    source: str
    commit: str = ""
    findings: list[Finding] = field(default_factory=list)
    stated: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The worst of the findings."""
        return max((finding.state for finding in self.findings), key=_ORDER.index, default="ok")

    def state_of(self, *checks: str) -> str:
        """The worst state of these checks, for a table; empty where none of them was made."""
        found = [f.state for f in self.findings if f.check in checks]
        return max(found, key=_ORDER.index) if found else ""


@dataclass(frozen=True)
class Audit:
    """What was found about all cards."""

    sources: list[Audited]

    @property
    def right(self) -> bool:
        """Nothing is wrong, and every repository could be asked."""
        return all(source.state in ("ok", "open") for source in self.sources)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a program."""
        entries = [{**msgspec.to_builtins(source), "state": source.state} for source in self.sources]
        return {"sources": entries, "right": self.right}

    def __str__(self) -> str:
        from .results import table

        if not self.sources:
            return "no card has a source on a model hub: there is nothing to ask"
        rows = [_row(source) for source in self.sources]
        lines = [table(["card", "repository", "commit", "licence", "files", "state"], rows)]
        for source in self.sources:
            lines += [f"{f.state:11} {source.card}: {f.check}: {f.detail}" for f in source.findings if f.state != "ok"]
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        count = {state: sum(source.state == state for source in self.sources) for state in _ORDER}
        said = [f"{count['WRONG']} wrong"] if count["WRONG"] else []
        said += [f"{count['unreachable']} could not be asked"] if count["unreachable"] else []
        said += [f"{count['open']} with hashes or a commit that the card leaves open"] if count["open"] else []
        return f"{len(self.sources)} source{'' if len(self.sources) == 1 else 's'}: {', '.join(said) or 'all as the cards say'}"


def _row(source: Audited) -> list[str]:
    files = [f.check for f in source.findings if f.check not in ("repository", "commit", "licence", "access")]
    where = source.source.removeprefix("model hub ")
    access = source.state_of("repository", "access")
    commit = source.state_of("commit") or access
    return [
        source.card,
        where,
        f"{source.commit[:12]} {commit}".strip(),
        source.state_of("licence"),
        source.state_of(*files),
        source.state,
    ]


def audit(cards: Sequence[Card], tell: Callable[[str], None] = lambda line: None) -> Audit:  # noqa: ARG005 - says nothing
    """Ask the hub about every card that has a source there.

    Args:
        cards: e.g. ``nyala.list_models()``.
        tell: is given a line before each question.

    Raises:
        NetworkError: no network may be used, or the hub does not answer the first question: nothing was checked.
    """
    if is_offline():
        raise NetworkError(
            "an audit asks the hub, and no network may be used",
            fix="unset NYALA_OFFLINE and HF_HUB_OFFLINE; `nyala verify` works offline",
        )
    asked = [(card, spec) for card in cards for spec in card.sources if spec.kind == "hub"]
    found: list[Audited] = []
    for number, (card, spec) in enumerate(asked, 1):
        tell(f"{number}/{len(asked)} {card.name}: {spec.label}")
        found.append(_source(card, spec))
        if number == 1 and found[0].state == "unreachable":  # and not one repository among others
            raise NetworkError(
                f"nothing was checked: {found[0].findings[0].detail}",
                fix="run the audit where there is a network; `nyala verify` works offline",
            )
    return Audit(found)


def _source(card: Card, spec: SourceSpec) -> Audited:
    hub = ModelHub(spec, cache_folder())
    try:
        listing = hub.listing(patient=True)
    except NetworkError as error:
        return Audited(card.name, spec.label, findings=[Finding("repository", "unreachable", error.what)])
    except AccessError as error:
        return Audited(card.name, spec.label, findings=[Finding("access", "WRONG", str(error))])
    except NyalaError as error:
        return Audited(card.name, spec.label, findings=_absent(spec, error))
    findings = [Finding("repository", "ok"), _commit(spec, listing), _license(card, listing)]
    if listing.gated:
        findings.append(Finding("access", "open", "its owner wants its licence accepted before files are given out"))
    findings += (files := [_file(name, file, listing) for name, file in spec.files.items()])
    findings += _small_files(spec, listing, [f.check for f in files if f.state == "ok"])
    stated = {name: _stated(name, listing) for name in spec.files if name in listing.files}
    return Audited(card.name, spec.label, listing.commit, findings, stated)


def _absent(spec: SourceSpec, error: NyalaError) -> list[Finding]:
    """Is it the commit that is not there, or the whole repository?"""
    if not isinstance(error, UnknownNameError):
        return [Finding("repository", "WRONG", str(error))]
    try:
        now = ModelHub(msgspec.structs.replace(spec, commit="", revision="main"), cache_folder()).listing(patient=True).commit
    except NyalaError:
        return [Finding("repository", "WRONG", error.what)]
    return [Finding("repository", "ok"), Finding("commit", "WRONG", f"{error.what}; main is {now[:12]} now")]


def _commit(spec: SourceSpec, listing: Listing) -> Finding:
    if spec.commit:
        return Finding("commit", "ok")
    return Finding("commit", "open", f"the card follows {spec.revision}, which is {listing.commit} now")


def _license(card: Card, listing: Listing) -> Finding:
    if not listing.license:
        return Finding("licence", "open", f"the card says {card.license}, the hub states none")
    if listing.license.casefold() != card.license.casefold():
        return Finding("licence", "WRONG", f"the card says {card.license}, the hub says {listing.license}")
    return Finding("licence", "ok")


def _file(name: str, file: FileSpec, listing: Listing) -> Finding:
    if name not in listing.files:
        return Finding(name, "WRONG", f"is not there at {listing.commit[:12]}")
    size, stated = listing.stated_size(name), _sha256(name, listing)
    if file.size and size is not None and size != file.size:
        return Finding(name, "WRONG", f"has {size:,} bytes, the card says {file.size:,}")
    if not file.sha256:
        return Finding(name, "open", f"the card has no sha256{f'; the hub says {stated}' if stated else ''}")
    if stated and stated != file.sha256:
        return Finding(name, "WRONG", f"has sha256 {stated}, the card says {file.sha256}")
    if not stated and (size or 0) > _SMALL:
        return Finding(name, "open", f"the hub states no sha256, and {size:,} bytes are too many to fetch for it")
    return Finding(name, "ok")


def _small_files(spec: SourceSpec, listing: Listing, names: Sequence[str]) -> list[Finding]:
    """Fetches the small files with a sha256 on the card, of which the hub itself states only a git id, and hashes them."""
    small = {name: spec.files[name] for name in names if not _sha256(name, listing)}
    if not small:
        return []
    bare = {name: FileSpec() for name in small}
    pinned = msgspec.structs.replace(spec, commit=listing.commit, files=bare, verified=False)
    try:
        with tempfile.TemporaryDirectory(prefix="nyala-audit-") as folder:  # no record of a fetch that was none
            hashes = ModelHub(pinned, Path(folder)).fetch(patient=True).hashes
    except NyalaError as error:
        return [Finding(name, "unreachable" if isinstance(error, NetworkError) else "WRONG", error.what) for name in small]
    return [
        Finding(name, "WRONG", f"has sha256 {hashes[name]}, the card says {file.sha256}")
        for name, file in small.items()
        if hashes[name] != file.sha256
    ]


def _sha256(name: str, listing: Listing) -> str:
    lfs = listing.files[name].lfs
    return str(lfs.sha256) if lfs is not None else ""


def _stated(name: str, listing: Listing) -> dict[str, Any]:
    return {"size": listing.stated_size(name), "sha256": _sha256(name, listing), "id": listing.states(name)}
