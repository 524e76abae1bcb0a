"""A model hub as a source, through ``huggingface_hub``, with what that lacks.

One call with a deadline lists the repository and pins the commit; then each file is fetched into the client's own
cache, verified against the card's sha256, or else against the hash the hub states, and its sha256 is recorded. From
then on the name means these bytes: a cached name makes no network call, and a moved branch changes nothing until an
update is asked for.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...core.atomic import atomic_write, storage_errors
from ...core.errors import ArgumentError, IntegrityError, MissingFileError, NetworkError, NyalaError
from ..cards import FileSpec, SourceSpec
from ..files import Files
from ..integrity import Memory, git_blob_id
from ..progress import HubBar
from ..storage import locked, logger, make_folder, require_space
from . import huggingface
from .base import discard, try_discard
from .selection import helper_files, is_safe, shard_names, weight_file

_COMMIT = re.compile(r"[0-9a-f]{40}")


def _deadline(patient: bool) -> float:
    """Seconds a hub may take for its first answer, name lookup included: a dead one must not keep the next source waiting."""
    given = os.environ.get("NYALA_HUB_TIMEOUT", "")
    if not re.fullmatch(r"(\d+(\.\d+)?)?", given):
        raise ArgumentError(f"NYALA_HUB_TIMEOUT={given}", fix="set it to seconds, e.g. 10, or unset it")
    return float(given) if given else 10.0 if patient else 4.0


class ModelHub:
    """Files of one repository of a model hub.

    Args:
        spec: ``repo``, ``commit`` or ``revision``, and ``files`` (empty: what a loader needs, found by listing).
        cache: nyala's cache folder, for the record of commit and hashes; the files lie in the hub client's cache.
    """

    def __init__(self, spec: SourceSpec, cache: Path) -> None:
        self.spec = spec
        self.revision = spec.commit or spec.revision
        self.root = cache / "hub" / spec.repo.replace("/", "--")
        self.record = self.root / f"{quote(self.revision, safe='')}.json"
        self.lock = cache / ".locks" / f"hub--{self.root.name}.lock"
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

    def _adopt(self) -> dict[str, Any] | None:
        """Files that another program has put into the hub client's cache, if all that the card names are there.

        Their names in that cache are the hashes that the hub stated; each file is held against its own.
        """
        commit = self.spec.commit or _cached_commit(self.spec.repo, self.revision)
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
        path = _repo_folder(self.spec.repo) / "snapshots" / commit / name
        return path if path.is_file() else None

    # -- with it

    def fetch(self, *, patient: bool) -> Files:
        with locked(self.lock, self.spec.label):
            before = self._read_record()
            listing = self.listing(patient)
            if before and before["commit"] == listing.commit and (files := self.cached()) is not None:
                return files  # another process was quicker, or an update found nothing new
            paths, record = self._get_all(listing, patient)
            content = {"repo": self.spec.repo, "revision": self.revision, "commit": listing.commit, "files": record}
            make_folder(self.root)
            atomic_write(self.record, json.dumps(content, indent=1, sort_keys=True))
        hashes = {name: entry["sha256"] for name, entry in record.items()}
        return Files(paths, origin=self.spec.label, revision=listing.commit, hashes=hashes)

    def listing(self, patient: bool) -> Listing:
        """Ask the hub what the commit or branch holds."""
        hub = huggingface.client()
        timeout = _deadline(patient)

        def ask() -> Any:
            return hub.HfApi().model_info(self.spec.repo, revision=self.revision, files_metadata=True, timeout=timeout)

        info = self._call(lambda: _within(timeout + 1.0, ask), patient, retry_cut=True)
        commit = str(getattr(info, "sha", "") or "")
        if not _COMMIT.fullmatch(commit):  # it becomes a part of paths
            raise NetworkError(f"{self.spec.label}: the server's answer names no commit", fix="check HF_ENDPOINT")
        return Listing(commit, {s.rfilename: s for s in info.siblings or [] if is_safe(s.rfilename)}, license_of(info))

    def _get_all(self, listing: Listing, patient: bool) -> tuple[dict[str, Path], dict[str, dict[str, Any]]]:
        names = self._wanted(listing)
        self._require_space(listing, names)
        paths, record = {}, {}
        while names:
            name = names.pop(0)
            paths[name], digest = self._get(name, listing, patient)
            record[name] = {"sha256": digest, "size": paths[name].stat().st_size}
            if name.endswith(".index.json"):
                shards = shard_names(_weight_map(paths[name]), f"{self.spec.label}: {name}")
                self._require_files(listing, shards)
                self._require_space(listing, shards)
                names += shards
        return paths, record

    def _wanted(self, listing: Listing) -> list[str]:
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

    def _require_space(self, listing: Listing, names: list[str]) -> None:
        size = sum(listing.size(name) for name in names if self._cached_path(name, listing.commit) is None)
        if size:
            require_space(huggingface.cache_folder(), size, self.spec.label)

    def _get(self, name: str, listing: Listing, patient: bool) -> tuple[Path, str]:
        """Fetch one file and verify it; bytes that are wrong are deleted and fetched once more."""
        expected = self.spec.files.get(name, FileSpec()).sha256
        for force in (False, True):
            path = self._download(name, listing.commit, force, patient)
            digest = self._memory.sha256(path)
            problem = listing.problem(name, path, digest, expected, self.spec.authority)
            if not problem:
                return path, digest
            try_discard(path, problem)
        raise IntegrityError(
            f"{self.spec.label}: {name} {problem}",
            why="the bytes that arrived are not the bytes that were published; they were fetched twice",
            fix="check proxies and HF_ENDPOINT; nothing was kept",
        )

    def _download(self, name: str, commit: str, force: bool, patient: bool) -> Path:
        get, timeout = huggingface.client().hf_hub_download, _deadline(patient)
        bar = {"tqdm_class": HubBar} if "tqdm_class" in inspect.signature(get).parameters else {}  # newer clients have it

        def download() -> str:
            with storage_errors(huggingface.cache_folder()):
                return str(get(self.spec.repo, name, revision=commit, force_download=force, etag_timeout=timeout, **bar))

        return Path(self._call(download, patient, file=name))

    def _call(self, call: Callable[[], Any], patient: bool, *, retry_cut: bool = False, file: str = "") -> Any:
        """Call the client; wait and try again where that is likely to help; speak nyala's errors."""
        waits = [1.0, 2.0, 4.0] if patient else [1.0]
        longest = 60.0 if patient else 3.0
        while True:
            try:
                return call()
            except NyalaError:
                raise
            except huggingface.hub_errors() as error:
                again = huggingface.is_busy(error) or (retry_cut and huggingface.is_cut(error))
                wait = max(waits[0], huggingface.retry_after(error)) if waits else 0.0
                if not again or not waits or wait > longest:
                    raise huggingface.translate(error, self.spec.repo, self.revision, file) from error
                logger.info("%s: %s; trying again in %.0f s", self.spec.label, type(error).__name__, wait)
                waits.pop(0)
                time.sleep(wait)


class Listing:
    """What the hub says a commit holds; ``license`` is the tag's value, empty where there is none."""

    def __init__(self, commit: str, files: dict[str, Any], license: str = "") -> None:
        self.commit = commit
        self.files = files
        self.license = license

    def size(self, name: str) -> int:
        return int(getattr(self.files[name], "size", 0) or 0)

    def problem(self, name: str, path: Path, digest: str, expected: str, authority: str) -> str:
        """What is wrong with the file at ``path``; empty where nothing is."""
        if expected:
            return "" if digest == expected else f"has sha256 {digest}, {authority} says {expected}"
        sibling = self.files[name]
        if sibling.lfs is not None:
            return "" if digest == sibling.lfs.sha256 else f"has sha256 {digest}, the hub says {sibling.lfs.sha256}"
        stated = sibling.blob_id
        return "" if stated in (None, git_blob_id(path)) else f"does not have the git id {stated} that the hub states"


def license_of(info: Any) -> str:
    """The licence a repository's tags state, e.g. ``apache-2.0``; empty where they state none."""
    tags = [str(tag) for tag in getattr(info, "tags", None) or []]
    return next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), "")


def _repo_folder(repo: str) -> Path:
    return huggingface.cache_folder() / f"models--{repo.replace('/', '--')}"


def _cached_commit(repo: str, revision: str) -> str:
    """The commit that a branch or tag meant when something was last fetched from it."""
    ref = _repo_folder(repo) / "refs" / revision
    return ref.read_text(encoding="utf-8").strip() if ref.is_file() else ""


def _weight_map(index: Path) -> object:
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return content.get("weight_map") if isinstance(content, dict) else None


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Call, and give up after ``seconds``: the lookup of a host's name has no timeout of its own, and a host with several
    addresses is tried at each of them in turn."""
    result: dict[str, Any] = {}

    def run() -> None:
        try:
            result["value"] = call()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            result["error"] = error

    thread = threading.Thread(target=run, daemon=True, name="nyala-hub")
    thread.start()
    thread.join(seconds)
    if "error" in result:
        raise result["error"]
    if "value" not in result:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return result["value"]
