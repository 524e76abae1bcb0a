"""A model hub as a source, through ``huggingface_hub``, with what that lacks.

One call with a deadline lists the repository and pins the commit; then each file is fetched through the client's session
into the client's own cache, going on where an earlier process ended, verified against the card's sha256, or else against
the hash the hub states, and its sha256 is recorded. From then on the name means these bytes: a cached name makes no
network call, and a moved branch changes nothing until an update is asked for.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import IntegrityError, MissingFileError, NetworkError, NyalaError, UnknownNameError, did_you_mean
from ...core.progress import tell
from ..cards import FileSpec, SourceSpec
from ..files import Files
from ..integrity import Memory, git_blob_id, sha256_file
from ..mutex import Owner, locked
from ..progress import Meter, download_bar
from ..quota import in_words
from ..storage import logger, make_folder, require_space
from . import huggingface
from .base import discard, try_discard
from .hub_cache import HubCache
from .listing import Listing, about
from .patience import Patience, deadline, within
from .selection import helper_files, is_safe, shard_names, weight_file
from .transfer import TooLongError, receive, size_of

_COMMIT = re.compile(r"[0-9a-f]{40}")


_FRESH = 30.0  # seconds; a part file that grew more recently may be another host's


class ModelHub:
    """Files of one repository of a model hub.

    Args:
        spec: ``repo``, ``commit`` or ``revision``, and ``files`` (empty: what a loader needs, found by listing).
        cache: nyala's cache folder, for the record of commit and hashes; the files lie in the hub client's cache.
    """

    kind: ClassVar[str] = "model"

    def __init__(self, spec: SourceSpec, cache: Path) -> None:
        self.spec = spec
        self.revision = spec.commit or spec.revision
        self.root = cache / "hub" / spec.repo.replace("/", "--")
        self.record = self.root / f"{quote(self.revision, safe='')}.json"
        self.lock = cache / ".locks" / f"hub--{self.root.name}.lock"
        self.place = HubCache(spec.repo, self.kind)
        self._memory = Memory(self.root / "verified.json")

    # -- without the network

    def cached(self) -> Files | None:
        record = self._read_record() or self._adopt()
        if record is None:
            return None
        paths, hashes = {}, {}
        for name, known in record["files"].items():
            path = self._cached_path(name, record["commit"])
            if path is None:
                return None
            expected = known["sha256"]
            if self._memory.sha256(path) != expected:
                discard(path, "does not have the sha256 it was fetched with")
                return None
            paths[name], hashes[name] = path, expected
        return Files(paths, origin=self.spec.label, revision=record["commit"], hashes=hashes)

    def present(self) -> Files | None:
        record = self._read_record() or self._stated() or self._adopt()
        if record is None:
            return None
        paths = {name: self._cached_path(name, record["commit"]) for name in record["files"]}
        here = {name: path for name, path in paths.items() if path is not None}
        hashes = {name: str(known["sha256"]) for name, known in record["files"].items()}
        return Files(here, origin=self.spec.label, revision=record["commit"], hashes=hashes) if len(here) == len(paths) else None

    def _stated(self) -> dict[str, Any] | None:
        """What the card or a lock file alone says, where it says all."""
        if not self.spec.commit or not self.spec.files or not all(spec.sha256 for spec in self.spec.files.values()):
            return None
        return {"commit": self.spec.commit, "files": {name: {"sha256": spec.sha256} for name, spec in self.spec.files.items()}}

    def _read_record(self) -> dict[str, Any] | None:
        """The commit and hashes of an earlier fetch, if they fit the card."""
        if not self.record.is_file():
            return None
        try:
            with storage_errors(self.record, "read"):
                record = json.loads(self.record.read_text(encoding="utf-8"))
            files, commit = dict(record["files"]), str(record["commit"])
            hashes = {name: str(files[name]["sha256"]) for name in files}
        except (ValueError, KeyError, TypeError):
            logger.warning("%s is damaged: the repository is looked up again", self.record)
            return None
        wanted = self.spec.files
        agrees = all(name in hashes and spec.sha256 in ("", hashes[name]) for name, spec in wanted.items())
        return {"commit": commit, "files": files} if agrees else None

    def _stamp(self) -> int:
        """Changes whenever a fetch has come to its end."""
        return self.record.stat().st_mtime_ns if self.record.is_file() else 0

    def _adopt(self) -> dict[str, Any] | None:
        """Files that another program has put into the hub client's cache, if all that the card names are there.

        Their names in that cache are the hashes that the hub stated; each file is held against its own.
        """
        commit = self.spec.commit or self.place.commit_of(self.revision)
        if not commit or not self.spec.files:
            return None
        files = {}
        for name, spec in self.spec.files.items():
            path = self._cached_path(name, commit)
            if path is None or not path.is_symlink():
                return None
            stated, digest = path.resolve().name, self._memory.sha256(path)
            if stated not in (digest, git_blob_id(path)) or spec.sha256 not in ("", digest):
                return None
            files[name] = {"sha256": digest, "size": path.stat().st_size}
        return {"commit": commit, "files": files}

    def _cached_path(self, name: str, commit: str) -> Path | None:
        path = self.place.snapshot(commit, name)
        return path if path.is_file() else None

    # -- with it

    def fetch(self, *, patient: bool) -> Files:
        seen = self._stamp()
        with locked(self.lock, self.spec.label):
            if self._stamp() != seen and (files := self.cached()) is not None:
                return files  # another process has just fetched it
            before = self._read_record()
            listing = self.listing(patient)
            if before and before["commit"] == listing.commit and (files := self.cached()) is not None:
                return files  # an update found nothing new
            make_folder(self.root)
            paths, record = self._get_all(listing, patient)
            content = {"repo": self.spec.repo, "revision": self.revision, "commit": listing.commit, "files": record}
            atomic_write(self.record, json.dumps(content, indent=1, sort_keys=True))
        hashes = {name: entry["sha256"] for name, entry in record.items()}
        return Files(paths, origin=self.spec.label, revision=listing.commit, hashes=hashes)

    def listing(self, patient: bool) -> Listing:
        """Ask the hub what the commit or branch holds."""
        hub = huggingface.client()
        timeout = deadline(patient)

        def ask() -> Any:
            try:
                return hub.HfApi().repo_info(
                    self.spec.repo, revision=self.revision, files_metadata=True, timeout=timeout, repo_type=self.kind
                )
            except (KeyError, TypeError, AttributeError) as error:  # the client builds objects from whatever it is sent
                raise huggingface.strange_answer(self.spec.label) from error

        try:
            info = self._call(lambda: within(timeout + 1.0, ask), patient)
        except UnknownNameError as error:
            if huggingface.is_a(error.__cause__, "RevisionNotFoundError"):
                known = huggingface.revisions_of(self.spec.repo, timeout, self.kind)
                error.fix = f"{did_you_mean(self.revision, known)} {error.fix}".strip()
            raise
        commit = str(getattr(info, "sha", "") or "")
        if not _COMMIT.fullmatch(commit):  # it becomes a part of paths
            raise NetworkError(f"{self.spec.label}: the server's answer names no commit", fix="check HF_ENDPOINT")
        return Listing(commit, {s.rfilename: s for s in info.siblings or [] if is_safe(s.rfilename)}, **about(info))

    def _get_all(self, listing: Listing, patient: bool) -> tuple[dict[str, Path], dict[str, dict[str, Any]]]:
        names = self.wanted(listing)
        index = next((name for name in names if name.endswith(".index.json")), None)
        if index is not None:  # it says what else is needed, so it comes first
            path, _ = self._get_some([index], listing, patient)[index]
            shards = shard_names(_weight_map(path), f"{self.spec.label}: {index}")
            self._require_files(listing, shards)
            names += shards
        found = self._get_some(names, listing, patient)
        record = {name: {"sha256": digest, "size": path.stat().st_size} for name, (path, digest) in found.items()}
        return {name: path for name, (path, _) in found.items()}, record

    def _get_some(self, names: list[str], listing: Listing, patient: bool) -> dict[str, tuple[Path, str]]:
        """Fetch these files under one progress bar; the path and sha256 of each."""
        missing = [name for name in names if self._cached_path(name, listing.commit) is None]
        arrived = {name: size_of(self.place.part(listing.identity(name))) for name in missing}
        total = sum(listing.size(name) for name in missing)
        start = sum(arrived.values())
        if total > start:
            require_space(self.place.root, total - start, self.spec.label)
        with download_bar(self.spec.label, total, start) as show:
            meter = Meter(show, arrived)
            return {name: self._get(name, listing, patient, meter) for name in names}

    def wanted(self, listing: Listing) -> list[str]:
        """The files that a loader needs: those of the card, or else what their names say; shards are not among them.

        Raises:
            MissingFileError: the commit lacks a file of the card, or holds no weights.
        """
        if self.spec.files:
            names = list(self.spec.files)
            self._require_files(listing, names)
            return names
        return [*helper_files(listing.files), weight_file(listing.files, self.spec.label)]

    def _require_files(self, listing: Listing, names: list[str]) -> None:
        absent = [name for name in names if name not in listing.files]
        if absent:
            raise MissingFileError(
                f"{self.spec.label} has no {', '.join(absent)} at {listing.commit[:12]}",
                why=f"it holds {', '.join(sorted(listing.files)[:12]) or 'nothing'}",
                fix="choose another revision or repository",
            )

    def _get(self, name: str, listing: Listing, patient: bool, meter: Meter) -> tuple[Path, str]:
        """Fetch one file and verify it; bytes that are wrong are deleted and fetched once more."""
        expected = self.spec.files.get(name, FileSpec()).sha256
        if problem := listing.contradiction(name, expected, self.spec.authority):
            raise IntegrityError(f"{self.spec.label}: {name} {problem}", why="these are other bytes", fix="nothing was fetched")
        identity = listing.identity(name)
        with locked(self.place.lock(identity), f"{self.spec.label}: {name}") as stranger:
            if (found := self._here_already(name, listing, expected)) is not None:
                return found
            for _ in range(2):
                with self._part(identity, stranger) as part:
                    problem = self._receive(name, listing, part, patient, meter)
                    digest = sha256_file(part)
                    problem = problem or listing.problem(name, part, digest, expected, self.spec.authority)
                    if not problem:
                        path = self.place.keep(part, identity if listing.states(name) else digest, listing.commit, name)
                        self._memory.remember(path, digest)
                        return path, digest
                    try_discard(part, problem)
        raise IntegrityError(
            f"{self.spec.label}: {name} {problem}",
            why="the bytes that arrived are not the bytes that were published; they were fetched twice",
            fix="check proxies and HF_ENDPOINT; nothing was kept",
        )

    def _here_already(self, name: str, listing: Listing, expected: str) -> tuple[Path, str] | None:
        """The file, if an earlier fetch of this or another commit, or another program, has left the right bytes."""
        path, blob = self.place.snapshot(listing.commit, name), self.place.blob(listing.identity(name))
        for place in (path, blob):
            if not place.is_file():
                continue
            digest = self._memory.sha256(place)
            problem = listing.problem(name, place, digest, expected, self.spec.authority)
            if problem:
                discard(place, problem)
                continue
            if place is blob:
                self.place.link(listing.identity(name), listing.commit, name)
                self._memory.remember(path, digest)
            return path, digest
        return None

    @contextmanager
    def _part(self, identity: str, stranger: Owner | None) -> Iterator[Path]:
        """The part file: the one that outlives this process, unless a process of another host may be writing to it."""
        part = self.place.part(identity)
        make_folder(part.parent)
        if stranger is None or not part.is_file() or time.time() - part.stat().st_mtime > _FRESH:
            yield part
            return
        logger.warning("%s may be fetching the same: not going on from what it has", stranger)
        me = Owner.me()
        private = part.with_name(f"{identity}.{me.host}-{me.pid}.incomplete")
        try:
            yield private
        finally:
            private.unlink(missing_ok=True)

    def _receive(self, name: str, listing: Listing, part: Path, patient: bool, meter: Meter) -> str:
        """Complete the part file; what is plainly wrong with what came, or an empty string."""
        url = huggingface.client().hf_hub_url(self.spec.repo, name, revision=listing.commit, repo_type=self.kind)
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
            raise huggingface.translate(error, self.spec.repo, self.revision, name, self.kind) from error
        return ""

    def _call(self, call: Callable[[], Any], patient: bool) -> Any:
        """Call the client; wait and try again where that is likely to help; speak nyala's errors."""
        patience = Patience(self.spec.label, patient)
        while True:
            try:
                return call()
            except NyalaError:
                raise
            except huggingface.hub_errors() as error:
                never_there = huggingface.is_a(error, "TimeoutException", "TimeoutError", "ConnectError")
                if never_there or not patience.wait(error):  # another source may be better than waiting again
                    raise huggingface.translate(error, self.spec.repo, self.revision, kind=self.kind) from error


def _weight_map(index: Path) -> object:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return content.get("weight_map") if isinstance(content, dict) else None
