"""A repository of a model hub as a push sees it: what it holds, making it, and one commit on top of a known one.

Everything goes through ``huggingface_hub``, with deadlines, and with the token sent to the hub's own origin alone.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.atomic import storage_errors
from ..core.errors import AccessError, ArgumentError, ConflictError, DataError, IntegrityError, NetworkError, NyalaError
from .progress import download_bar
from .push_files import Outgoing
from .sources import huggingface
from .sources.patience import Patience, deadline

_SMALL = 1_000_000  # bytes; less is uploaded before a bar could be read


@dataclass(frozen=True)
class State:
    """What the hub says about a repository at one revision.

    Attributes:
        exists: whether there is such a repository that this user may see.
        private: whether it is closed to others.
        commit: the newest commit of the revision; empty where there is none yet.
        files: path -> its content's names there: the sha256 of big files, else git's id.
    """

    exists: bool
    private: bool = False
    commit: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def holds(self, file: Outgoing) -> bool:
        """Whether this very content lies there under this name."""
        return self.files.get(file.name, "") in (file.sha256, file.git_id)


class Remote:
    """One repository and revision.

    Args:
        repo: ``org/name``.
        revision: the branch that is pushed to.
        token: None takes the one the user is logged in with.

    Raises:
        AccessError: what is given as a token cannot be one.
    """

    def __init__(self, repo: str, revision: str = "main", token: str | None = None) -> None:
        self.repo, self.revision = repo, revision
        self._hub = huggingface.client()
        self._token = token or self._hub.get_token()
        if self._token and not (self._token.isascii() and self._token.isprintable() and " " not in self._token):
            raise AccessError(
                "the token holds a character that no token has",
                why="a copy may have taken too much with it",
                fix="copy it again: it has letters, digits and '_'",
            )
        self._user = ""
        self._api = self._hub.HfApi(token=self._token or False)

    @property
    def token(self) -> str:
        """The token in use; empty without one. For comparison alone: it is never shown."""
        return self._token or ""

    @property
    def endpoint(self) -> str:
        """The hub's address."""
        return str(self._api.endpoint)

    @property
    def page(self) -> str:
        """Where a person can see the repository."""
        return f"{self.endpoint}/{self.repo}"

    # -- before

    def check_login(self) -> str:
        """The name of the user, who must be able to write at all.

        Raises:
            AccessError: no token, one that the hub does not know, or one that may only read.
        """
        remedy = f"make a token that may write at {self.endpoint}/settings/tokens, then `hf auth login`, or set HF_TOKEN"
        if not self._token:
            raise AccessError("there is no token to push with", why="a model hub lets only known users write", fix=remedy)
        try:
            answer = self._ask(self._api.whoami)
        except huggingface.hub_errors() as error:
            if huggingface.status_of(error) == 401:
                raise AccessError("the model hub does not know the token", why="it is wrong or was revoked", fix=remedy) from None
            raise self._translated(error) from error
        role = answer.get("auth", {}).get("accessToken", {}).get("role", "") if isinstance(answer, dict) else ""
        if role == "read":
            raise AccessError("the token may only read", why=f"pushing to {self.repo} writes", fix=remedy)
        self._user = str(answer.get("name", ""))
        return self._user

    def state(self) -> State:
        """What is there now.

        Raises:
            ArgumentError: the name is a dataset's or a space's.
            NetworkError: the hub cannot be asked.
        """
        try:
            info = self._info(self.revision)
        except huggingface.hub_errors() as error:
            if huggingface.is_a(error, "RevisionNotFoundError"):
                if self.revision.startswith("refs/"):
                    raise self._translated(error) from error  # a pull request is opened by people
                return State(True, bool(self._told(lambda: self._info("main")).private))
            if huggingface.is_a(error, "RepositoryNotFoundError") and not huggingface.is_a(error, "GatedRepoError"):
                self._refuse_other_types()
                return State(False)
            raise self._translated(error) from error
        return State(True, bool(info.private), str(info.sha or ""), _files(info))

    def _info(self, revision: str) -> Any:
        timeout = deadline(True)
        return self._ask(lambda: self._api.model_info(self.repo, revision=revision, files_metadata=True, timeout=timeout))

    def _refuse_other_types(self) -> None:
        timeout = deadline(True)
        for kind in ("dataset", "space"):
            try:
                self._ask(partial(self._api.repo_info, self.repo, repo_type=kind, timeout=timeout))
            except huggingface.hub_errors() as error:
                if huggingface.is_a(error, "RepositoryNotFoundError"):
                    continue
                raise self._translated(error) from error
            raise ArgumentError(
                f"{self.repo} is a {kind}, not a model",
                why="a model of the same name would be mistaken for it",
                fix="choose another name",
            )

    def licence_of(self, repo: str) -> str:
        """The licence that a repository states; empty where it states none, or cannot be asked."""
        try:
            info = self._told(lambda: self._api.model_info(repo, timeout=deadline(True)))
        except NyalaError:  # a courtesy: the card then says that the licence is not known
            return ""
        data = getattr(info, "card_data", None)
        return str((data.get("license") if data is not None else "") or "")

    # -- the push

    def create(self, private: bool) -> None:
        """Make the repository."""
        self._told(lambda: self._api.create_repo(self.repo, private=private, repo_type="model", exist_ok=True))

    def create_branch(self) -> None:
        """Make the branch, from where ``main`` is."""
        self._told(lambda: self._api.create_branch(self.repo, branch=self.revision, revision="main", exist_ok=True))

    def commit(self, files: Sequence[Outgoing], parent: str, message: str) -> str:
        """One commit with all of ``files``, on top of ``parent``; returns its id.

        Raises:
            ConflictError: the branch is not at ``parent`` any more.
            NetworkError: it broke on the way. Nothing was committed; what has arrived is not uploaded twice.
            IntegrityError: what the hub holds now is not what was sent.
        """
        with ExitStack() as stack:
            stack.enter_context(_without_bars())
            operations = _operations(self._hub, files, stack)
            failures: tuple[type[BaseException], ...] = (*huggingface.hub_errors(), RuntimeError)
            try:
                made = self._ask(
                    lambda: self._api.create_commit(
                        self.repo, operations, commit_message=message, revision=self.revision, parent_commit=parent or None
                    ),
                    again=False,  # the client tries each part of it again by itself; a commit is made once
                )
                oid = str(made.oid)
            except failures as error:
                oid = self._arrived_nevertheless(files, parent, error)
        self._verify(files, oid)
        return oid

    def _arrived_nevertheless(self, files: Sequence[Outgoing], parent: str, error: BaseException) -> str:
        """The commit's id, where only the answer to it was lost; else the error, in nyala's words."""
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        unclear = huggingface.is_cut(cause) or huggingface.is_a(cause, "TimeoutException") or huggingface.status_of(cause) >= 500
        if unclear:
            try:
                now = self.state()
            except NyalaError:  # the hub is away: what went wrong first is what is told
                now = State(False)
            if now.commit != parent and files and all(now.holds(file) for file in files):
                return now.commit
        raise self._translated(cause) from cause

    def _verify(self, files: Sequence[Outgoing], oid: str) -> None:
        held = _files(self._told(lambda: self._info(oid)))
        wrong = [file.name for file in files if held.get(file.name, "") not in (file.sha256, file.git_id)]
        if wrong:
            raise IntegrityError(
                f"the hub does not hold what was sent: {', '.join(wrong[:5])}",
                why=f"the hashes in commit {oid[:12]} differ from the files here",
                fix="see whether the files changed meanwhile, then push again",
            )

    # -- asking

    def _ask(self, call: Callable[[], Any], *, again: bool = True) -> Any:
        """Call the client, with deadlines; its errors come as they are, after the tries that make sense."""
        patience = Patience(f"model hub {self.repo}", patient=True)
        with _guarded(self.endpoint):
            while True:
                try:
                    return call()
                except NyalaError:
                    raise
                except huggingface.hub_errors() as error:
                    if not (again and patience.wait(error)):
                        raise

    def _told(self, call: Callable[[], Any]) -> Any:
        """As :meth:`_ask`, with errors in nyala's words."""
        try:
            return self._ask(call)
        except NyalaError:
            raise
        except huggingface.hub_errors() as error:
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> NyalaError:
        """The error in nyala's words; whatever text the client put together, no token is in it."""
        status = huggingface.status_of(error)
        if status in (409, 412):
            return ConflictError(
                f"somebody else has changed {self.repo} ({self.revision}) meanwhile",
                why="this commit would have overwritten theirs; nothing was committed",
                fix="see what changed there, then push again",
            )
        if status == 403 and not huggingface.is_a(error, "GatedRepoError"):
            return AccessError(
                f"model hub {self.repo}: the token{f' of {self._user}' if self._user else ''} may not write there (HTTP 403)",
                why="it may only read, or its user is no member of that organisation",
                fix=f"make a token that may write at {self.endpoint}/settings/tokens, or push to {self._user or 'your-name'}/...",
            )
        if status == 400 or (status == 0 and type(error) is ValueError):
            first = (str(error).splitlines() or [""])[-1]
            return DataError(f"model hub {self.repo} refuses the upload: {_without(first, self.token)}", fix="mend what it names")
        if status in (402, 413, 507):
            return NetworkError(
                f"model hub {self.repo} has no room for the upload (HTTP {status})",
                fix="free some of the account's storage there",
            )
        made = huggingface.translate(error, self.repo, self.revision)
        for part in ("what", "why", "fix"):
            setattr(made, part, _without(getattr(made, part), self.token))
        return made


def _files(info: Any) -> dict[str, str]:
    """Path -> name of the content, of a repository's description."""
    return {s.rfilename: (s.lfs.sha256 if s.lfs is not None else s.blob_id) or "" for s in info.siblings or []}


def _without(text: str, token: str) -> str:
    return text.replace(token, "***") if token else text


def _operations(hub: Any, files: Sequence[Outgoing], stack: ExitStack) -> list[Any]:
    """The client's own objects, whose reading moves a bar."""
    opened: list[_Watched] = []
    operations = []
    for file in files:
        content: Any = file.content
        if isinstance(content, Path):
            with storage_errors(content, "read"):
                content = stack.enter_context(_Watched(content))
            opened.append(content)
        operations.append(hub.CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=content))
    total = sum(file.size for file in files)
    if total >= _SMALL:  # only now: making the operations has read each file once, for its hash
        show = stack.enter_context(download_bar("uploading", total))
        for each in opened:
            each.moved = lambda: show(sum(other.at for other in opened))
    return operations


class _Watched(io.BufferedReader):
    """A file that tells how far it has been read."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(str(path)))
        self.at = 0
        self.moved: Callable[[], None] = lambda: None

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.at = self.tell()
        self.moved()
        return data


@contextmanager
def _without_bars() -> Iterator[None]:
    """The client shows no bars of its own in here: they count files, and know nothing of NYALA_PROGRESS."""
    utils = importlib.import_module("huggingface_hub.utils")
    shown = not utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            utils.enable_progress_bars()


@contextmanager
def _guarded(endpoint: str) -> Iterator[None]:
    """Requests of the client in here have deadlines, and the token leaves for ``endpoint``'s origin alone.

    The client has no deadlines of its own for most of what a push asks. Its way of making sessions is put back afterwards.
    """
    http = importlib.import_module("huggingface_hub.utils._http")
    before = getattr(http, "_GLOBAL_CLIENT_FACTORY", http.default_client_factory)  # what a user may have set
    home, seconds = _origin(endpoint), deadline(True)

    def keep_token(request: Any) -> None:
        if _origin(str(request.url)) != home:
            request.headers.pop("Authorization", None)

    def make() -> Any:
        session = before()
        session.timeout = (seconds, 12 * seconds, 6 * seconds, seconds)  # connect, read, write, wait for a free connection
        session.event_hooks["request"].append(keep_token)
        return session

    http.set_client_factory(make)
    try:
        yield
    finally:
        http.set_client_factory(before)


def _origin(address: str) -> tuple[str, str | None, int]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
