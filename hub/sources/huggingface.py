"""``huggingface_hub``, imported when first needed, with the settings nyala wants, and its errors in nyala's words."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from ...core.errors import (
    AccessError,
    IntegrityError,
    MissingDependencyError,
    MissingFileError,
    NetworkError,
    NyalaError,
    UnknownNameError,
)

# The client reads its environment once, when it is imported.
_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",  # else it calls home on the first request of the day
    "HF_HUB_DISABLE_XET": "1",  # plain HTTP has timeouts, resumes, and shows its progress; sizes above 50 GB need "0"
    "HF_HUB_VERBOSITY": "error",  # its warnings about retries repeat what our own messages say
}


def client() -> ModuleType:
    """The ``huggingface_hub`` module.

    A setting that the user has made is kept. The environment is put back after the import.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if "huggingface_hub" in sys.modules:
        return sys.modules["huggingface_hub"]
    absent = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(absent)
    try:
        module = importlib.import_module("huggingface_hub")
        for part in ("constants", "errors", "file_download", "hf_api"):  # lazy otherwise: they read the settings too
            importlib.import_module(f"huggingface_hub.{part}")
        return module
    except ImportError as error:
        raise MissingDependencyError(
            "the model hub needs the package huggingface-hub", fix="pip install huggingface-hub"
        ) from error
    finally:
        for name in absent:
            os.environ.pop(name, None)


def cache_folder() -> Path:
    """The client's cache, as the user configured it; found without importing the client, which takes a while."""
    if "huggingface_hub.constants" in sys.modules:
        return Path(sys.modules["huggingface_hub.constants"].HF_HUB_CACHE)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(caches, "huggingface")
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(os.path.expanduser(chosen)))


def is_a(error: BaseException, *names: str) -> bool:
    """Whether ``error``'s class, or a base of it, has one of these names.

    By name, because the HTTP library below the client changes between its versions (requests, httpx, httpx2).
    """
    return any(base.__name__ in names for base in type(error).__mro__)


def hub_errors() -> tuple[type[BaseException], ...]:
    """What a call of the client can raise for a bad answer, a bad network or a bad name."""
    errors = importlib.import_module("huggingface_hub.errors")
    return (OSError, ValueError, *errors.HfHubHTTPError.__mro__[1:2], errors.HfHubHTTPError, errors.EntryNotFoundError)


def status_of(error: BaseException) -> int:
    """The HTTP status an error carries; 0 where there is none."""
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def retry_after(error: BaseException) -> float:
    """Seconds the server asks to wait; 0 where it does not say."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    value = str(headers.get("Retry-After", ""))
    return float(value) if value.isdigit() else 0.0


def is_busy(error: BaseException) -> bool:
    """Whether trying again soon is likely to help: a server that is busy or failing, or an answer that was cut short."""
    short = isinstance(error, OSError) and "Consistency check failed" in str(error)
    return short or status_of(error) in (408, 429, 500, 502, 503, 504)


def is_cut(error: BaseException) -> bool:
    """Whether the connection broke, after it had been made."""
    return is_a(error, "RemoteProtocolError", "ReadError", "WriteError", "CloseError")


def translate(error: BaseException, repo: str, revision: str, file: str = "") -> NyalaError:
    """The error of a call of the client, in nyala's classes and words: what happened, why, what to do."""
    cause = error.__cause__ or error.__context__
    wrapper = is_a(error, "LocalEntryNotFoundError") or (type(error) is ValueError and "Force download" in str(error))
    if wrapper and cause is not None:
        return translate(cause, repo, revision, file)
    return _name_error(error, repo, revision, file) or _transport_error(error, f"model hub {repo}")


def _name_error(error: BaseException, repo: str, revision: str, file: str) -> NyalaError | None:
    """Something that is not there, or that this user may not see. The order matters: gated is a kind of not found."""
    from huggingface_hub import constants

    page = f"{constants.ENDPOINT}/{repo}"
    if is_a(error, "GatedRepoError"):
        return AccessError(
            f"model hub {repo} is gated",
            why="its owner wants its licence accepted first",
            fix=f"accept the licence at {page}, then log in with `hf auth login` or set HF_TOKEN",
        )
    if is_a(error, "RepositoryNotFoundError"):
        return UnknownNameError(
            f"the model hub has no {repo} that you may see",
            why="the name is wrong, or the repository is private",
            fix="check the spelling; if it is private, log in with `hf auth login` or set HF_TOKEN",
        )
    if is_a(error, "RevisionNotFoundError"):
        return UnknownNameError(f"model hub {repo} has no revision {revision!r}", fix=f"see its branches and tags at {page}")
    if is_a(error, "RemoteEntryNotFoundError"):
        return MissingFileError(f"model hub {repo} has no file {file} at revision {revision}", fix=f"see its files at {page}")
    if is_a(error, "HFValidationError"):
        return UnknownNameError(f"{repo!r} is not a name of a model hub", why=str(error), fix="write org/name")
    if status_of(error) in (401, 403):
        return AccessError(
            f"model hub {repo} refused access (HTTP {status_of(error)})",
            fix="log in with `hf auth login` or set HF_TOKEN to a token that may read it",
        )
    return None


def _transport_error(error: BaseException, place: str) -> NyalaError:
    again = "check the network, then try again"
    if is_a(error, "OfflineModeIsEnabled"):
        return NetworkError(f"{place}: HF_HUB_OFFLINE is set", fix="unset it, or load something that is cached")
    if status_of(error) == 429:
        return NetworkError(f"{place}: too many requests (HTTP 429)", fix="wait some minutes; logging in raises the limit")
    if status_of(error):
        return NetworkError(f"{place}: the server answers HTTP {status_of(error)}", fix="try again later")
    if is_a(error, "TimeoutException", "TimeoutError"):
        return NetworkError(f"{place}: the server does not answer", fix=again)
    if is_a(error, "ConnectError"):
        return NetworkError(f"{place}: no connection ({error})", fix=again)
    if is_cut(error):
        return NetworkError(f"{place}: the connection was cut ({error})", fix=again)
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return IntegrityError(f"{place}: the download ended before the announced size", fix=again)
    return NetworkError(f"{place}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", fix=again)
