"""Which files of a folder are uploaded: those that a loader of some library reads, by name, and nothing else.

Everything else is left out and named: hidden files, logs, checkpoints, pickles. Every file that goes is looked through for
secrets first.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.atomic import storage_errors
from ..core.errors import DataError, MissingFileError, UnsafeFileError
from .integrity import git_blob_id, sha256_file

_WEIGHTS = re.compile(
    r"(model|open_clip_model|adapter_model|adapter/adapter_model)\.safetensors|model\.safetensors\.index\.json"
    r"|[A-Za-z0-9][\w.-]*-\d{5}-of-\d{5}\.safetensors"
)
_HELPERS = re.compile(
    r"(config|generation_config|preprocessor_config|processor_config|video_preprocessor_config|tokenizer|tokenizer_config"
    r"|special_tokens_map|added_tokens|vocab|modules|sentence_bert_config|config_sentence_transformers|open_clip_config"
    r"|adapter_config|adapter/adapter_config|normalizer)\.json|\d+_[A-Za-z]+/config\.json|\d+_[A-Za-z]+/model\.safetensors"
    r"|vocab\.txt|merges\.txt|(tokenizer|spiece|sentencepiece\.bpe|spm)\.model|(source|target)\.spm|chat_template\.jinja"
    r"|README\.md|LICEN[CS]E(\.txt|\.md)?|NOTICE(\.txt|\.md)?"
)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_SAMPLE = 64 << 20  # bytes of a text file that are looked through

# What a secret looks like, by its maker. The message names the kind and the line, never the text.
_SECRETS = {
    "a model hub token": rb"\bhf_[A-Za-z0-9]{30,}",
    "a GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{30,}",
    "an AWS key": rb"\bAKIA[0-9A-Z]{16}\b",
    "a Google key": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "a Slack token": rb"\bxox[abprs]-[0-9A-Za-z-]{20,}",
    "an API key": rb"\bsk-(ant-|proj-)?[A-Za-z0-9_-]{32,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in an address": rb"://[^/\s:@\"']+:[^/\s@\"']+@",
}
_SECRET_VARIABLES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL", re.IGNORECASE)


@dataclass(frozen=True)
class Outgoing:
    """One file as it would lie in the repository.

    Attributes:
        name: its path there.
        content: where it lies here, or its bytes.
        size: bytes.
        sha256, git_id: the two names that a model hub knows its content by.
    """

    name: str
    content: Path | bytes
    size: int
    sha256: str
    git_id: str

    @classmethod
    def of_path(cls, name: str, path: Path) -> Outgoing:
        """A file of the disk."""
        with storage_errors(path, "read"):
            size = path.stat().st_size
        return cls(name, path, size, sha256_file(path), git_blob_id(path))

    @classmethod
    def of_text(cls, name: str, text: str) -> Outgoing:
        """A file that is written for the upload alone.

        Example:
            >>> Outgoing.of_text("a.txt", "hello").git_id
            'b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0'
        """
        data = text.encode()
        git_id = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        return cls(name, data, len(data), hashlib.sha256(data).hexdigest(), git_id)


def collect(folder: Path, skip: Iterable[str] = ()) -> tuple[list[Outgoing], dict[str, str]]:
    """The files of ``folder`` that are uploaded, and name -> reason of those that are not.

    Args:
        folder: with a model's files.
        skip: names that are left out without a word, since something else takes their place.

    Raises:
        MissingFileError: no such folder, or no safetensors weights or no configuration in it.
        UnsafeFileError: its weights are a pickle.
        DataError: a link that leads out of the folder.
    """
    if not folder.is_dir():
        raise MissingFileError(f"there is no folder {folder}", fix="give the folder of a finished run, or of a model")
    chosen: list[Outgoing] = []
    left_out: dict[str, str] = {}
    for name, path in _walk(folder):
        reason = _reason(name)
        if name in skip:
            continue
        if reason:
            left_out[name] = reason
        else:
            _check_place(folder, path)
            chosen.append(Outgoing.of_path(name, path))
    _check_complete(folder, {file.name for file in chosen}, left_out)
    return chosen, left_out


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files two levels deep at most, by name; a hidden or a deeper folder comes as one entry."""
    with storage_errors(folder, "read"):
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                for inner in sorted(path.iterdir()):
                    yield f"{path.name}/{inner.name}{'/' if inner.is_dir() else ''}", inner
            else:
                yield f"{path.name}{'/' if path.is_dir() else ''}", path


def _reason(name: str) -> str:
    """Why a file is left out; empty where it is not."""
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden"
    if name.endswith("/"):
        return "a folder that no loader reads"
    if name.endswith(_PICKLED):
        return "a pickle: whoever loads one runs code"
    if _WEIGHTS.fullmatch(name) or _HELPERS.fullmatch(name):
        return ""
    return "no file that a loader reads"


def _check_place(folder: Path, path: Path) -> None:
    with storage_errors(path, "read"):
        real = path.resolve(strict=True)
    if not real.is_relative_to(folder.resolve()):
        raise DataError(
            f"{path} is a link to a file outside of the folder",
            why="what it leads to was not meant to be published",
            fix="copy it",
        )
    if not real.is_file():
        raise DataError(f"{path} is not a regular file", fix="remove it")


def _check_complete(folder: Path, names: set[str], left_out: dict[str, str]) -> None:
    if not any(_WEIGHTS.fullmatch(name) for name in names):
        pickled = next((name for name in left_out if name.endswith(_PICKLED)), "")
        if pickled:
            raise UnsafeFileError(
                f"{folder / pickled} is a pickle",
                why="whoever loads one runs the code in it, so nyala publishes none",
                fix="write the weights as safetensors: nyala.checkpoint.save_file(nyala.checkpoint.load_pth(old), new)",
            )
        there = ", ".join([*sorted(names), *left_out][:8]) or "nothing"
        raise MissingFileError(
            f"{folder} has no model.safetensors", why=f"it holds {there}", fix="give the folder of a finished run, or of a model"
        )
    if not names & {"config.json", "adapter_config.json", "open_clip_config.json"}:
        raise MissingFileError(
            f"{folder} has no config.json", why="no loader would know the architecture", fix="put it beside the weights"
        )


def check_secrets(files: Iterable[Outgoing], token: str = "") -> None:
    """Refuse files that hold what looks like a secret.

    Args:
        files: of safetensors files the header alone is looked through.
        token: the one used for the upload, which may stand nowhere at all.

    Raises:
        DataError: names the file, the line and the kind of secret, never the secret.

    Example:
        >>> try:
        ...     check_secrets([Outgoing.of_text("a.json", '{"url": "https://me:pass@host"}')])
        ... except DataError as error:
        ...     print(error.what)
        a.json holds what looks like a password in an address, in line 1
    """
    own = [value.encode() for value in {token, *_secrets_around()} if value]
    for file in files:
        text = _text_of(file)
        for kind, pattern in _SECRETS.items():
            if found := re.search(pattern, text):
                _refuse_secret(file.name, kind, text[: found.start()])
        for value in own:
            if (at := text.find(value)) >= 0:
                _refuse_secret(file.name, "a secret of this machine's environment", text[:at])


def _secrets_around() -> list[str]:
    """Values of environment variables that are called like secrets; short ones could stand anywhere by chance."""
    return [value for name, value in os.environ.items() if _SECRET_VARIABLES.search(name) and len(value) >= 12]


def _text_of(file: Outgoing) -> bytes:
    if isinstance(file.content, bytes):
        return file.content
    with storage_errors(file.content, "read"), open(file.content, "rb") as stream:
        if not file.name.endswith(".safetensors"):
            return stream.read(_SAMPLE)
        length = int.from_bytes(stream.read(8), "little")
        return stream.read(min(length, _SAMPLE))


def _refuse_secret(name: str, kind: str, before: bytes) -> None:
    raise DataError(
        f"{name} holds what looks like {kind}, in line {before.count(10) + 1}",
        why="whoever may see the repository could use it",
        fix="take it out of the file; if it was ever uploaded, revoke it",
    )
