"""``huggingface_hub``, imported when first needed, with the settings nyala wants, and its errors in nyala's words."""

from __future__ import annotations

import importlib
import os
import sys
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import ModuleType
from urllib.error import HTTPError
from urllib.parse import quote

from ...core.errors import (
    AccessError,
    ArgumentError,
    MissingDependencyError,
    MissingFileError,
    NetworkError,
    NyalaError,
    UnknownNameError,
)

_TELEMETRY = "HF_HUB_DISABLE_TELEMETRY"
_PARTS = [f"huggingface_hub{part}" for part in ("", ".constants", ".errors", ".file_download", ".hf_api")]

# The client reads its environment once, when it is imported.
_SETTINGS = {
    _TELEMETRY: "1",  # else it calls home on the first request of the day
    "HF_HUB_DISABLE_XET": "1",  # plain HTTP has time limits, and what arrives can be watched and hashed
    "HF_HUB_VERBOSITY": "error",  # its warnings about retries repeat what our own messages say
}


def client() -> ModuleType:
    """The ``huggingface_hub`` module.

    A setting that the user has made is kept. The environment is put back after the import. Telemetry is off as well where
    the program has imported the module before, unless the user has set ``HF_HUB_DISABLE_TELEMETRY``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    if any(name not in sys.modules for name in _PARTS):
        _import()
    constants = sys.modules["huggingface_hub.constants"]
    if _TELEMETRY not in os.environ and not constants.HF_HUB_DISABLE_TELEMETRY:
        constants.HF_HUB_DISABLE_TELEMETRY = True  # type: ignore[attr-defined]
    return sys.modules["huggingface_hub"]


def _import() -> None:
    absent = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(absent)
    try:
        for part in _PARTS:  # lazy otherwise: they read the settings too
            importlib.import_module(part)
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


def is_a(error: BaseException | None, *names: str) -> bool:
    """Whether ``error``'s class, or a base of it, has one of these names.

    By name, because the HTTP library below the client changes between its versions (requests, httpx, httpx2).
    """
    return any(base.__name__ in names for base in type(error).__mro__)


def hub_errors() -> tuple[type[BaseException], ...]:
    """What a call of the client can raise for a bad answer, a bad network or a bad name."""
    errors = importlib.import_module("huggingface_hub.errors")
    return (OSError, ValueError, *errors.HfHubHTTPError.__mro__[1:2], errors.HfHubHTTPError, errors.EntryNotFoundError)


def status_of(error: BaseException) -> int:
    """The HTTP status an error of the client, or of urllib, carries; 0 where there is none."""
    code = error.code if isinstance(error, HTTPError) else getattr(getattr(error, "response", None), "status_code", 0)
    return int(code or 0)


def retry_after(error: BaseException) -> float:
    """Seconds the server asks to wait, which it may state as a moment; 0 where it does not say."""
    headers = error.headers if isinstance(error, HTTPError) else getattr(getattr(error, "response", None), "headers", {})
    value = str(headers.get("Retry-After", "")).strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def is_passing(error: BaseException) -> bool:
    """Whether trying again soon is likely to help: a busy or failing server, a connection that broke, an answer too late."""
    status = status_of(error)
    if status:
        return status in (408, 416, 429) or (status >= 500 and status != 501)
    return is_cut(error) or is_a(error, "TimeoutException", "TimeoutError", "ConnectError", "ShortAnswerError")


def is_cut(error: BaseException) -> bool:
    """Whether the connection broke, after it had been made."""
    of_urllib = ("ConnectionResetError", "BrokenPipeError", "BadStatusLine", "IncompleteRead")
    return is_a(error, "RemoteProtocolError", "ReadError", "WriteError", "CloseError", *of_urllib)


def in_short(error: BaseException) -> str:
    """An error in a few words, for the log."""
    return f"HTTP {status_of(error)}" if status_of(error) else type(error).__name__


def translate(error: BaseException, repo: str, revision: str, file: str = "", kind: str = "model") -> NyalaError:
    """The error of a call of the client, in nyala's classes and words: what happened, why, what to do.

    Args:
        error: what the client raised.
        repo, revision, file: what was asked for.
        kind: ``"model"`` or ``"dataset"``.
    """
    cause = error.__cause__ or error.__context__
    if is_a(error, "LocalEntryNotFoundError") and cause is not None:
        return translate(cause, repo, revision, file, kind)
    return _name_error(error, repo, revision, file, kind) or _transport_error(error, label_of(repo, kind))


def label_of(repo: str, kind: str = "model") -> str:
    """What messages call a repository."""
    return f"model hub {repo}" if kind == "model" else f"hub {kind} {repo}"


def _name_error(error: BaseException, repo: str, revision: str, file: str, kind: str) -> NyalaError | None:
    """Something that is not there, or that this user may not see. The order matters: gated is a kind of not found."""
    page, endpoint, label = page_of(repo, kind), client().constants.ENDPOINT, label_of(repo, kind)
    if is_a(error, "GatedRepoError"):
        return _gated(error, label, page)
    if is_a(error, "RepositoryNotFoundError"):
        return UnknownNameError(
            f"the model hub has no {'' if kind == 'model' else f'{kind} '}{repo} that you may see",
            why="the name is wrong, or the repository is private" + ("" if has_token() else ", and you are not logged in"),
            fix=f"check the spelling at {endpoint}/{kind}s?search={quote(repo.rpartition('/')[2])}; if it is private, "
            "log in with `hf auth login` or set HF_TOKEN",
        )
    if is_a(error, "RevisionNotFoundError"):
        return UnknownNameError(f"{label} has no revision {revision!r}", fix=f"see its branches and tags at {page}")
    if is_a(error, "RemoteEntryNotFoundError"):
        return MissingFileError(f"{label} has no file {file} at revision {revision}", fix=f"see its files at {page}")
    if is_a(error, "HFValidationError"):
        return UnknownNameError(f"{repo!r} is not a name of a model hub", why=str(error), fix="write org/name")
    if status_of(error) in (401, 403):
        return AccessError(
            f"{label} refused access (HTTP {status_of(error)})",
            why="the token it was sent is wrong, expired or too weak" if has_token() else "it was asked without a token",
            fix=f"make a token that may read at {endpoint}/settings/tokens, then `hf auth login` or set HF_TOKEN",
        )
    return None


def _gated(error: BaseException, label: str, page: str) -> AccessError:
    """A repository behind a licence: what to do depends on whether the hub knows who asks."""
    if has_token() and status_of(error) == 403:
        return AccessError(
            f"{label} is gated, and your account may not read it yet",
            why="its owner wants its licence accepted first, and may want to look at each request",
            fix=f"accept the licence at {page}, or wait until the request you made there is granted",
        )
    return AccessError(
        f"{label} is gated",
        why="its owner wants its licence accepted first" + (", and the token that was sent is not valid" if has_token() else ""),
        fix=f"accept the licence at {page}, then log in with `hf auth login` or set HF_TOKEN",
    )


def page_of(repo: str, kind: str = "model") -> str:
    """The address of a repository's page."""
    return f"{client().constants.ENDPOINT}/{'' if kind == 'model' else f'{kind}s/'}{repo}"


def revisions_of(repo: str, timeout: float, kind: str = "model") -> list[str]:
    """Branches and tags of a repository, for a hint: none where the hub does not tell them in time."""
    utils = importlib.import_module("huggingface_hub.utils")
    address = f"{client().constants.ENDPOINT}/api/{kind}s/{repo}/refs"
    try:
        answer = utils.get_session().get(address, headers=utils.build_hf_headers(), timeout=timeout)
        utils.hf_raise_for_status(answer)
        refs = answer.json()
        listed = [ref for kind in ("branches", "tags") for ref in refs.get(kind) or []] if isinstance(refs, dict) else []
        return [str(ref["name"]) for ref in listed if isinstance(ref, dict) and "name" in ref]
    except hub_errors():  # the error that the hint is for is raised all the same
        return []


def has_token() -> bool:
    """Whether the client sends a token; which one is nobody's business."""
    return bool(client().get_token())


def strange_answer(place: str) -> NetworkError:
    """Something else than a model hub answers."""
    return NetworkError(
        f"{place}: the answer is not a model hub's",
        why="a login page of the network, perhaps, or a wrong address",
        fix="open any page in a browser, check HF_ENDPOINT and proxies, then try again",
    )


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _transport_error(error: BaseException, place: str) -> NyalaError:
    again = "check the network, then try again"
    if isinstance(error, UnicodeEncodeError):  # of all that is sent only the token comes from outside
        return AccessError(f"{place}: the token holds a character that no token has", fix="copy it again, and set HF_TOKEN to it")
    if is_a(error, "OfflineModeIsEnabled"):
        return NetworkError(f"{place}: HF_HUB_OFFLINE is set", fix="unset it, or load something that is cached")
    wait = retry_after(error)
    later = f"try again in {_in_words(wait)}, as the server asks" if wait else "try again in some minutes"
    if status_of(error) == 429:
        return NetworkError(f"{place}: too many requests (HTTP 429)", fix=f"{later}; logging in raises the limit")
    if status_of(error):
        return NetworkError(f"{place}: the server answers HTTP {status_of(error)}", fix=later)
    endpoint = client().constants.ENDPOINT
    if is_a(error, "UnsupportedProtocol", "InvalidURL") and not endpoint.startswith(("http://", "https://")):
        return ArgumentError(f"HF_ENDPOINT={endpoint!r} is no web address", fix="write https://HOST, or unset it")
    if is_a(error, "TooManyRedirects", "UnsupportedProtocol"):
        return NetworkError(f"{place}: the server redirects to nowhere ({error})", fix="check proxies and HF_ENDPOINT")
    if is_a(error, "JSONDecodeError"):
        return strange_answer(place)
    if is_a(error, "TimeoutException", "TimeoutError"):
        return NetworkError(f"{place}: the server does not answer", fix=again)
    if is_a(error, "ConnectError"):
        return NetworkError(f"{place}: no connection ({error})", fix=again)
    if is_cut(error):
        return NetworkError(f"{place}: the connection was cut ({error})", fix=again)
    if is_a(error, "ShortAnswerError"):
        fix = f"{again}: what has arrived is kept, and the same command goes on from it"
        return NetworkError(f"{place}: the download ended before the announced size ({error})", fix=fix)
    return NetworkError(f"{place}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", fix=again)
