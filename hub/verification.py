"""``nyala verify NAME``: are the bytes on this machine the right ones, and does the model answer as it should? Offline."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.errors import ArgumentError, NetworkError
from .bundled import split_name
from .cards import BUNDLE, CARD, SourceSpec
from .client import Resolved, resolve
from .files import Files
from .golden import Answer, check
from .load import load
from .lockfile import entry_for
from .lockfile import read as read_lock
from .locking import hashes as hash_all
from .sources import open_source
from .storage import cache_folder


@dataclass(frozen=True)
class FileCheck:
    """One file: what it is and what it should be.

    Attributes:
        name: its local name.
        path: where it lies.
        size: bytes.
        sha256: of its bytes, read now; empty where it is not there.
        expected: the sha256 it should have; empty where nobody knows.
    """

    name: str
    path: str
    size: int
    sha256: str
    expected: str = ""

    @property
    def state(self) -> str:
        """``"ok"``, ``"DAMAGED"``, ``"MISSING"``, or ``"no hash known"``."""
        if not self.sha256:
            return "MISSING"
        return "no hash known" if not self.expected else "ok" if self.sha256 == self.expected else "DAMAGED"


@dataclass(frozen=True)
class Verdict:
    """What a verification of a model found.

    Attributes:
        name: the model.
        origin, revision: where its files came from.
        authority: who states the hashes, in words.
        files: each file.
        answer: the golden answer; None where it was not asked for.
        silence: why there is no answer, in words.
        remedy: what to do about a damaged file.
    """

    name: str
    origin: str
    revision: str
    authority: str
    files: list[FileCheck] = field(default_factory=list)
    answer: Answer | None = None
    silence: str = ""
    remedy: str = ""

    @property
    def right(self) -> bool:
        """Something was known to compare with, no file is damaged, and the golden answer, where there is one, came out."""
        compared = self.answer is not None or any(file.expected for file in self.files)
        return compared and not self.damaged and (self.answer is None or self.answer.right)

    @property
    def damaged(self) -> list[FileCheck]:
        """The files with wrong bytes, and those that are not there."""
        return [file for file in self.files if file.state in ("DAMAGED", "MISSING")]

    def as_json(self) -> dict[str, Any]:
        """Plain data for a program."""
        files = {
            f.name: {"path": f.path, "size": f.size, "sha256": f.sha256, "expected": f.expected, "state": f.state}
            for f in self.files
        }
        golden = None
        if self.answer is not None:
            a = self.answer
            golden = {
                "input": a.input,
                "worst": a.worst,
                "atol": a.atol,
                "argmax": a.argmax,
                "expected": a.expected,
                "right": a.right,
            }
        about = {"name": self.name, "origin": self.origin, "revision": self.revision, "authority": self.authority}
        return {**about, "files": files, "golden": golden, "silence": self.silence, "right": self.right}

    def __str__(self) -> str:
        from .results import table

        pinned = f" ({self.revision})" if self.revision and self.revision not in self.origin else ""
        lines = [f"{self.name}: {self.origin}{pinned}; hashes from {self.authority}"]
        lines.append(
            table(["file", "bytes", "sha256", "state"], [[f.name, f"{f.size:,}", f.sha256[:16], f.state] for f in self.files])
        )
        for file in self.damaged:
            lines.append(f"{file.path} should have sha256 {file.expected}")
        if self.answer is not None:
            state = "equal" if self.answer.right else "DIFFERENT"
            lines.append(f"golden answer {state} to that of {self.answer.known_from}: {self.answer}")
        else:
            lines.append(f"golden answer not checked: {self.silence}")
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        if self.damaged:
            return f"damaged: {', '.join(f.name for f in self.damaged)}. Remedy: {self.remedy}"
        if self.answer is not None and not self.answer.right:
            return "different: the files are right and the answer is not. Remedy: `nyala doctor`, and please report it"
        if not self.right:
            return "nothing to compare with: nobody states hashes of these files. `nyala bundle` packs them with theirs"
        unknown = sum(not f.expected for f in self.files)
        some = f", {unknown} without a known hash" if unknown else ""
        some += ", and the golden answer" if self.answer else ""
        return f"right: {len(self.files)} file{'' if len(self.files) == 1 else 's'}{some}"


def verify(name: str | Path, *, golden: bool = True, lock: str | Path | None = None) -> Verdict:
    """Hash every file of a model anew, then run it on the card's golden input. Makes no network call.

    Args:
        name: a catalogue name, a hub id, a folder, or a bundle.
        golden: run the model too; False for the hashes alone.
        lock: a lock file, whose hashes then count, for a bundle too; see :func:`.client.resolve`.

    Returns:
        What was found: a difference is a result here and no exception.

    Raises:
        UnknownNameError: no such name.
        NetworkError: the model is not on this machine.
        ArgumentError: a lock file for a folder.
    """
    resolved = resolve(str(name), lock=lock)
    source, files = present(resolved)
    authority, expected = _expected(source, files, lock)
    digests = hash_all(files)
    checks = [
        FileCheck(local, str(files[local]), files.size(local), digest, expected.get(local, ""))
        for local, digest in digests.items()
    ]
    checks += [FileCheck(local, local, 0, "", expected[local]) for local in sorted(set(expected) - set(digests))]
    verdict = Verdict(str(name), files.origin, files.revision, authority, checks, remedy=_remedy(source, str(name)))
    if verdict.damaged:
        return replace(verdict, silence="the files are not the right ones")
    if not golden:
        return replace(verdict, silence="only hashes were asked for")
    if resolved.golden is None:
        return replace(verdict, silence="no card of this model has one")
    pipeline = load(str(name), offline=True, lock=lock, device="cpu")
    return replace(verdict, answer=check(pipeline, resolved.golden, resolved.golden_from))


def _remedy(source: SourceSpec, name: str) -> str:
    if source.kind == "bundle":
        return "copy the bundle again from where it came"
    if source.kind == "folder":
        return "restore the files from where they came"
    locked = " --locked" if source.authority not in (CARD, "") else ""
    return f"delete what is damaged, then: nyala pull {name}{locked}"


def _expected(source: SourceSpec, files: Files, lock: str | Path | None) -> tuple[str, dict[str, str]]:
    """Who states the hashes, and what they should be. A lock file that is named says it of a bundle too."""
    if not lock or source.authority not in (CARD, BUNDLE):
        return _authority(source, files), files.hashes
    if source.kind != "bundle":
        raise ArgumentError(
            f"{source.label} is in no lock file", why="a lock file says what can be fetched", fix="leave out the lock file"
        )
    entry = entry_for(read_lock(Path(lock)), split_name(source.folder)[1], Path(lock))
    return Path(lock).name, {name: file.sha256 for name, file in entry.source.files.items()}


def _authority(source: SourceSpec, files: Files) -> str:
    if source.kind == "bundle" or any(file.sha256 for file in source.files.values()):
        return source.authority
    return "nobody" if not files.hashes else f"the first fetch from {source.label}"


def present(resolved: Resolved) -> tuple[SourceSpec, Files]:
    """The files of a model as they lie on this machine, whatever their bytes, and the source they came from.

    Raises:
        NetworkError: they are not here.
    """
    for spec in resolved.sources:
        files = open_source(spec, cache_folder(), resolved.beside).present()
        if files is not None:
            return spec, files
    places = "; ".join(spec.label for spec in resolved.sources)
    raise NetworkError(
        f"{resolved.name} is not on this machine, so there is nothing to verify",
        why=f"it would come from {places}",
        fix=f"fetch it: nyala pull {resolved.name}",
    )
