"""A name -> verified files: resolve the name, use what is cached, else try the sources in order."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..core.errors import (
    AccessError,
    ArgumentError,
    IntegrityError,
    MissingDependencyError,
    MissingFileError,
    NetworkError,
    NyalaError,
    StorageError,
    UnknownNameError,
    UnsafeFileError,
    did_you_mean,
)
from .bundled import is_bundle_name, open_bundle, split_name
from .cards import BUNDLE, Card, Golden, SourceSpec
from .catalogue import find, list_models
from .files import Files
from .lockfile import chosen, entry_for
from .lockfile import read as read_lock
from .quota import in_words
from .sources import Source, open_source
from .sources.huggingface import is_a
from .storage import cache_folder, is_offline, logger

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")

# When several sources fail for different reasons, the error is of the first of these kinds that occurred.
_GRAVEST_FIRST = (
    IntegrityError,
    UnsafeFileError,
    StorageError,
    NetworkError,
    AccessError,
    MissingDependencyError,
    MissingFileError,
    UnknownNameError,
)


@dataclass(frozen=True)
class Resolved:
    """What a name means.

    Attributes:
        name: as it was asked for.
        card: the catalogue's card; None for a hub id or folder that has none.
        sources: places to get the files from, in order.
        beside: what a relative folder of a source is relative to.
        key: what a lock file calls it, ``name`` or ``name@revision``; empty for a folder, whose bytes are the user's own.
        golden: an input with its known answer, and who gave it.
    """

    name: str
    card: Card | None
    sources: list[SourceSpec]
    beside: Path | None = None
    key: str = ""
    golden: Golden | None = None
    golden_from: str = "the card"


def resolve(name: str, *, revision: str | None = None, lock: str | Path | None = None) -> Resolved:
    """What ``name`` means: a catalogue name, a hub id ``org/name[@revision]``, a local folder, a recipe run's folder,
    or a bundle, ``FILE.nyala`` (``FILE.nyala#NAME`` where it holds several).

    A catalogue name wins over a folder of the same name; write ``./name`` for the folder.

    Args:
        name: see above.
        revision: branch, tag or commit on the model hub; only hub sources are then used, and the card's hashes do not apply.
        lock: a lock file (``nyala lock``): the name then means the bytes in it, and a name that it lacks is an error. By
            default ``$NYALA_LOCK``; empty for none. Folders and bundles are not looked up in it.

    Raises:
        UnknownNameError: it is none of these, or not in the lock file; the message lists the nearest names.
        ArgumentError: ``revision`` for something that has none.
        MissingFileError, DataError: there is no such lock file, or it is malformed.

    Example:
        >>> resolve("timm/resnet18.a1_in1k").card.name
        'resnet18.a1_in1k'
        >>> resolve("google-bert/bert-base-uncased@main").sources[0].repo
        'google-bert/bert-base-uncased'
    """
    resolved = _meaning(name, revision)
    file = chosen(lock)
    if file is None or not resolved.key:
        return resolved
    locked = entry_for(read_lock(file), resolved.key, file).source
    return dataclasses.replace(resolved, sources=[locked, *_same_bytes(resolved.sources, locked)])


def _same_bytes(sources: list[SourceSpec], locked: SourceSpec) -> list[SourceSpec]:
    """Other sources of the card that state the very hashes that are locked: any of them will do."""
    wanted = {name: file.sha256 for name, file in locked.files.items()}
    same = [s for s in sources if s.label != locked.label and {n: f.sha256 for n, f in s.files.items()} == wanted]
    return [msgspec.structs.replace(source, authority=locked.authority) for source in same]


def _meaning(name: str, revision: str | None) -> Resolved:
    """What a name means where no lock file says more."""
    if not name:
        raise UnknownNameError("a model with an empty name", fix="`nyala list` shows the names")
    if is_bundle_name(name):
        return _bundled(name, revision)
    bare, at, suffix = name.partition("@")
    if at and revision and suffix != revision:
        raise ArgumentError(f"{name!r} names one revision and revision={revision!r} another", fix="give one of them")
    revision = revision or suffix or None
    card = _catalogue_card(bare)
    if card is not None:
        sources = card.sources if revision is None else [_at(s, revision) for s in card.sources if s.kind == "hub"]
        if not sources:
            raise ArgumentError(f"{card.name} is on no model hub, so it has no revisions", fix="leave out the revision")
        return Resolved(name, card, sources, Path(card.path).parent, _key(card.name, revision), card.golden)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None and not at:
            raise ArgumentError(f"the folder {name} has no revisions", fix="leave out the revision")
        return Resolved(name, None, [SourceSpec(kind="folder", folder=str(_model_folder(folder.resolve())))])
    match = _HUB_ID.fullmatch(name)
    if match and not name.startswith("."):
        source = _at(SourceSpec(kind="hub", repo=match["repo"]), revision or "main")
        return Resolved(name, None, [source], key=_key(match["repo"], revision))
    if folder.is_absolute() or name.startswith((".", "~")):
        raise UnknownNameError(f"there is no folder {name}", fix=did_you_mean(folder.name, _siblings(folder)) or "check the path")
    find(bare)  # raises, with the nearest names
    raise AssertionError("unreachable")


def _bundled(name: str, revision: str | None) -> Resolved:
    """A model of a bundle: ``FILE.nyala`` or ``FILE.nyala#NAME``."""
    if revision is not None:
        raise ArgumentError(f"the bundle {name} holds one revision of a model", fix="leave out the revision")
    path, wanted = split_name(name)
    bundle = open_bundle(path)
    model = bundle.model(wanted)
    source = SourceSpec(kind="bundle", folder=f"{path}#{model.name}", authority=BUNDLE)
    packed = model.packed
    return Resolved(name, bundle.card(model.name), [source], golden=packed.golden, golden_from=packed.golden_from)


def is_hub_id(name: str) -> bool:
    """Whether ``name`` has the form ``org/name[@revision]``.

    Example:
        >>> is_hub_id("google-bert/bert-base-uncased@refs/pr/7"), is_hub_id("resnet18"), is_hub_id("./org/name")
        (True, False, False)
    """
    return bool(_HUB_ID.fullmatch(name))


def _key(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def _catalogue_card(name: str) -> Card | None:
    folded = name.casefold()
    return next((card for card in list_models() if folded in (n.casefold() for n in card.names)), None)


def _model_folder(folder: Path) -> Path:
    """The folder itself, or ``model/`` in it where it is the folder of a recipe run.

    Raises:
        MissingFileError: a run that has not come to its end.
    """
    if not (folder / "manifest.json").is_file() or (folder / "config.json").is_file():
        return folder
    if not (folder / "model").is_dir():
        raise MissingFileError(f"the run {folder} has no model yet", fix=f"let it finish: nyala resume {folder}")
    return folder / "model"


def _siblings(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []


def _at(source: SourceSpec, revision: str) -> SourceSpec:
    """The same repository at another revision. The card's hashes and file list belong to the card's own."""
    is_commit = bool(_COMMIT.fullmatch(revision))
    return SourceSpec(kind="hub", repo=source.repo, commit=revision if is_commit else "", revision=revision)


def fetch(
    name: str,
    *,
    revision: str | None = None,
    offline: bool = False,
    update: bool = False,
    lock: str | Path | None = None,
) -> Files:
    """The files of a model, verified; downloaded where they are not here yet.

    Args:
        name: catalogue name, hub id ``org/name[@revision]``, or folder.
        revision: see :func:`resolve`.
        offline: make no network call. ``NYALA_OFFLINE=1`` says the same for the whole process.
        update: look whether a branch of a model hub has moved. Without it a name that was fetched once stays what it is.
        lock: a lock file; see :func:`resolve`.

    Returns:
        the files; each one's sha256 was checked when it came in, and is checked again whenever it changes on the disk.

    Raises:
        UnknownNameError: no such name, repository or revision.
        NetworkError, AccessError, IntegrityError, StorageError: no source could give the files; the message gives each
            one's reason.
    """
    return fetch_resolved(resolve(name, revision=revision, lock=lock), offline=offline, update=update)


def fetch_resolved(resolved: Resolved, *, offline: bool = False, update: bool = False) -> Files:
    """As :func:`fetch`, for a name that is already resolved."""
    sources = [open_source(spec, cache_folder(), resolved.beside) for spec in resolved.sources]
    if not update or offline or is_offline():
        for source in sources:
            if (files := source.cached()) is not None:
                return files
    if offline or is_offline():
        raise _not_cached(resolved, sources)
    return _first_that_works(resolved, sources)


def _not_cached(resolved: Resolved, sources: list[Source]) -> NyalaError:
    places = "; ".join(source.spec.label for source in sources)
    return NetworkError(
        f"{resolved.name} is not cached, and no network may be used",
        why=f"it would come from {places}",
        fix=f"fetch it once with a network (`nyala pull {resolved.name}`), or point NYALA_CACHE to a cache that has it",
    )


def _first_that_works(resolved: Resolved, sources: list[Source]) -> Files:
    failures: list[tuple[str, NyalaError]] = []
    for number, source in enumerate(sources, 1):
        following = sources[number].spec.label if number < len(sources) else ""
        try:
            return source.fetch(patient=not following)
        except NyalaError as error:
            failures.append((source.spec.label, error))
            if following:
                logger.warning("%s; trying %s", error.what, following)
    if len(failures) == 1:
        raise with_nearest(failures[0][1], resolved)
    raise _all_failed(resolved, failures)


def with_nearest(error: NyalaError, resolved: Resolved) -> NyalaError:
    """The error; where a model hub has no such repository, its remedy begins with the nearest that the catalogue names."""
    if resolved.card is None and is_a(error.__cause__, "RepositoryNotFoundError") and isinstance(error, UnknownNameError):
        known = [source.repo for card in list_models() for source in card.sources if source.repo]
        if near := did_you_mean(resolved.sources[0].repo, known):
            error.fix = f"{near} Else {error.fix}"
    return error


def _all_failed(resolved: Resolved, failures: list[tuple[str, NyalaError]]) -> NyalaError:
    reasons = "".join(f"\n  {number}. {error}" for number, (_, error) in enumerate(failures, 1))
    kinds = [kind for kind in _GRAVEST_FIRST if any(isinstance(error, kind) for _, error in failures)]
    kind = kinds[0] if kinds else NyalaError
    size = f" ({in_words(resolved.card.size)})" if resolved.card and resolved.card.size else ""
    return kind(f"no source could give {resolved.name}{size}:{reasons}\n", fix="mend one of these, then try again")
