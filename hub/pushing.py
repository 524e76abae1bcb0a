"""``nyala.hub.push``: a fine-tuned run, or a folder with a model, into a repository of a model hub.

First a :class:`Plan` says exactly what would go and what is there already; then it goes, as one commit on top of the commit that
the plan was made for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import ArgumentError, MissingFileError, did_you_mean
from . import push_card, push_files, push_run, registry
from .cards import Card
from .catalogue import list_models
from .files import folder_files
from .load import task_of
from .push_files import Outgoing
from .push_remote import Remote, State
from .push_run import RunFacts
from .storage import is_offline, logger

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
README = "README.md"


@dataclass(frozen=True)
class Plan:
    """What a push would do.

    Attributes:
        repo, revision: where it goes.
        message: of the commit.
        page: the repository's page, for people.
        files: all that the repository would hold of this model.
        changed: those of them that are new or different there, and so are uploaded.
        state: what is there now; None where the hub was not asked.
        private: whether a new repository would be closed to others.
        left_out: name -> reason, of what lies in the folder and does not go.
        notes: what the user should know before it goes.
    """

    repo: str
    revision: str
    message: str
    page: str
    files: Sequence[Outgoing]
    changed: Sequence[Outgoing]
    state: State | None
    private: bool = False
    left_out: dict[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def size(self) -> int:
        """Bytes that would be uploaded."""
        return sum(file.size for file in self.changed)

    @property
    def staying(self) -> list[str]:
        """What the repository holds beside these files, which a push leaves alone."""
        mine = {file.name for file in self.files}
        return sorted(name for name in (self.state.files if self.state else {}) if name not in mine)

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        changed = {file.name for file in self.changed}
        return {
            "repo": self.repo,
            "revision": self.revision,
            "page": self.page,
            "message": self.message,
            "new_repository": self.state is not None and not self.state.exists,
            "private": self.private if not (self.state and self.state.exists) else self.state.private,
            "parent": self.state.commit if self.state else "",
            "files": [
                {"name": f.name, "size": f.size, "sha256": f.sha256, "upload": f.name in changed}
                for f in sorted(self.files, key=lambda f: f.name)
            ],
            "bytes": self.size,
            "left_out": dict(self.left_out),
            "staying": self.staying,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        from .results import table

        changed = {file.name for file in self.changed}
        known = self.state.files if self.state else {}
        rows = [
            [f.name, f"{f.size:,}", ("changed" if f.name in known else "new") if f.name in changed else "is there already"]
            for f in sorted(self.files, key=lambda f: f.name)
        ]
        lines = [
            f"to {self.page} ({self._where()})",
            f"as one commit: {self.message}",
            "",
            table(["file", "bytes", ""], rows),
            "",
        ]
        lines.append(f"{len(self.changed)} of {len(self.files)} files to upload, {self.size:,} bytes")
        lines += [f"left out: {name} ({reason})" for name, reason in self.left_out.items()]
        lines += [f"stays as it is: {name}" for name in self.staying]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _where(self) -> str:
        if self.state is None:
            return f"{self.revision}; not compared with what is there"
        if not self.state.exists:
            return f"{self.revision}; a new {'private' if self.private else 'public'} repository"
        seen = "private" if self.state.private else "public"
        return f"{self.revision}; {seen}; " + (f"on top of {self.state.commit[:12]}" if self.state.commit else "a new branch")


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        plan: what was to be done.
        commit: the id of the commit that holds it now; empty after a dry run.
        url: the commit's page.
    """

    plan: Plan
    commit: str = ""
    url: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The result as plain values."""
        return {**self.plan.to_dict(), "commit": self.commit, "url": self.url, "dry_run": not self.commit}


def push(
    folder: str | Path,
    repo: str,
    *,
    private: bool = False,
    revision: str = "main",
    message: str = "",
    license: str = "",
    dry_run: bool = False,
    token: str | None = None,
    confirm: Callable[[Plan], bool] | None = None,
) -> Pushed:
    """Upload a finished run, or a folder with a model, to a model hub.

    What goes: the weights as safetensors, the configuration in the layout the base was published in, tokenizer and preprocessing
    files, and for a run ``nyala/manifest.json`` and ``nyala/recipe.resolved.toml``; a ``README.md`` is written. Nothing else
    goes: no pickles, no hidden files, no data, no report. Files that the repository holds already are not uploaded again.

    Args:
        folder: the folder of a finished run, or one with weights and ``config.json``.
        repo: ``org/name`` on the model hub; made where it does not exist.
        private: a new repository is closed to others. One that exists and is open is refused.
        revision: the branch; made where it does not exist.
        message: of the commit.
        license: of the result, e.g. ``"apache-2.0"``; by default that of the base.
        dry_run: only make the plan. Needs no token.
        token: for the hub; by default the one you are logged in with, or ``HF_TOKEN``.
        confirm: asked with the plan before anything is written; False ends the push.

    Returns:
        what was done; ``.commit`` is the id of the commit that holds the model now.

    Raises:
        MissingFileError: an unfinished run, or a folder without a model.
        UnsafeFileError: weights that are a pickle.
        DataError: a file that holds a secret, or is damaged.
        ArgumentError: a wrong name, a public repository where a private one was asked for, a dataset of that name.
        AccessError: no token, a wrong one, or one that may not write there.
        ConflictError: somebody else changed the branch meanwhile; nothing was committed.
        IntegrityError: a model that is not the one the run wrote.
        NetworkError: the hub could not be reached, or the connection broke; nothing was committed.

    Example:
        >>> try:
        ...     push("runs/cats-1", "cats")
        ... except ArgumentError as error:
        ...     print(error)
        'cats' is no name for a repository: it has no owner. Remedy: write org/name, e.g. your-name/cats. [E106]
    """
    _check_names(repo, revision)
    remote = None if is_offline() and dry_run else Remote(repo, revision, token)
    if is_offline() and not dry_run:
        raise ArgumentError("NYALA_OFFLINE or HF_HUB_OFFLINE is set", why="a push needs the network", fix="unset it")
    facts, files, left_out = _gather(Path(folder).expanduser(), repo, license, remote)
    push_files.check_secrets(files, remote.token if remote else "")
    if remote is not None and not dry_run:
        remote.check_login()
    plan = _plan(repo, revision, message, private, facts, files, left_out, remote)
    if dry_run or remote is None or (confirm is not None and not confirm(plan)):
        return Pushed(plan)
    return _carry_out(plan, remote)


def _carry_out(plan: Plan, remote: Remote) -> Pushed:
    state = plan.state
    assert state is not None  # the hub was asked
    if state.exists and not plan.changed and state.commit:
        return Pushed(plan, state.commit, f"{plan.page}/commit/{state.commit}")
    if not state.exists:
        remote.create(plan.private)
    if not state.commit:
        if plan.revision != "main":
            remote.create_branch()
        state = remote.state()
        logger.info("%s is at %s", plan.repo, state.commit[:12] or "no commit")
    commit = remote.commit(plan.changed, state.commit, plan.message)
    return Pushed(plan, commit, f"{plan.page}/commit/{commit}")


# ---- names


def _check_names(repo: str, revision: str) -> None:
    if (
        not isinstance(repo, str)
        or not _REPO.fullmatch(repo)
        or ".." in repo
        or "--" in repo
        or repo.endswith((".git", ".", "-"))
    ):
        bare = isinstance(repo, str) and "/" not in repo
        raise ArgumentError(
            f"{repo!r} is no name for a repository",
            why="it has no owner" if bare else "a name has letters, digits, '-', '_' and '.', and one slash",
            fix=f"write org/name, e.g. your-name/{repo if bare and repo else 'my-model'}",
        )
    if _COMMIT.fullmatch(revision):
        raise ArgumentError(f"the revision {revision} is a commit", why="commits never change", fix="name a branch")
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ArgumentError(f"{revision!r} is no name for a branch", fix="use letters, digits, '-', '_', '.' and '/'")


# ---- what goes


def _gather(
    folder: Path, repo: str, licence: str, remote: Remote | None
) -> tuple[push_card.CardFacts, list[Outgoing], dict[str, str]]:
    """Facts for the card, the files that go, and those that do not."""
    if not folder.is_dir():
        raise _no_folder(folder)
    run = push_run.read_run(folder) if push_run.is_run(folder) else None
    place = folder / push_run.MODEL if run else folder
    own_card = run is None and (place / README).is_file()
    files, left_out = push_files.collect(place, skip=() if own_card else (README,))
    facts = _facts(place, repo, licence, run, remote)
    if run is not None:
        files += [Outgoing.of_path(f"nyala/{name}", folder / name) for name in (push_run.MANIFEST, push_run.RECIPE)]
    if not own_card:
        files.append(Outgoing.of_text(README, push_card.write_card(facts)))
    return facts, files, left_out


def _no_folder(folder: Path) -> MissingFileError:
    if any(str(folder).casefold() in (name.casefold() for name in card.names) for card in list_models()):
        return MissingFileError(
            f"{folder} is a published model, not a folder",
            why="a push uploads what you made",
            fix="give the folder of a finished run",
        )
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    fix = did_you_mean(folder.name, beside) or "give the folder of a finished run, or of a model"
    return MissingFileError(f"there is no folder {folder}", fix=fix)


def _facts(place: Path, repo: str, licence: str, run: RunFacts | None, remote: Remote | None) -> push_card.CardFacts:
    files = folder_files(place)
    config = files.read_json("config.json") if "config.json" in files else {}
    if "config.json" in files:
        registry.architecture_of(config, str(place / "config.json"))  # refuses what no loader would know
    _check_weights(place)
    base = push_run.base_of(run) if run else ""
    card = next((c for c in list_models() if base.casefold() in (n.casefold() for n in c.names)), None) if base else None
    base_repo = _base_repo(base, card)
    stated = licence or (card.license.lower() if card else "") or str(config.get("pretrained_cfg", {}).get("license", ""))
    if not stated and base_repo and remote is not None:
        stated = remote.licence_of(base_repo)
    return push_card.CardFacts(
        repo=repo,
        task=task_of(config, files, None) if config else "feature-extraction",
        library=_library(config, files),
        config=config,
        license=stated,
        base=base,
        base_repo=base_repo,
        base_card=card,
        run=run,
        labels=push_card.labels_of(config),
    )


def _base_repo(base: str, card: Card | None) -> str:
    if card is not None:
        return next((source.repo for source in card.sources if source.repo), "")
    bare = base.partition("@")[0]
    return bare if _REPO.fullmatch(bare) else ""


def _library(config: dict[str, Any], files: Any) -> str:
    if "adapter_config.json" in files:
        return "peft"
    if "model_type" not in config:
        return "timm"
    return "sentence-transformers" if "modules.json" in files else "transformers"


def _check_weights(place: Path) -> None:
    """Every weight file must be one that a strict reader takes."""
    from ..core.checkpoint import read_header

    for path in sorted(place.glob("*.safetensors")):
        read_header(path)


# ---- the plan


def _plan(
    repo: str,
    revision: str,
    message: str,
    private: bool,
    facts: push_card.CardFacts,
    files: Sequence[Outgoing],
    left_out: dict[str, str],
    remote: Remote | None,
) -> Plan:
    state = remote.state() if remote is not None else None
    if state is not None and not state.exists and revision.startswith("refs/"):
        raise ArgumentError(f"{repo} does not exist, so it has no {revision}", fix="push to main first")
    if state is not None and state.exists and private and not state.private:
        raise ArgumentError(
            f"{repo} exists and is public",
            why="private was asked for",
            fix="choose another name, or close it on its settings page",
        )
    changed = [file for file in files if state is None or not state.holds(file)]
    page = remote.page if remote is not None else repo
    return Plan(repo, revision, message or _message(facts), page, files, changed, state, private, left_out, _notes(facts, remote))


def _message(facts: push_card.CardFacts) -> str:
    run = facts.run
    if run is None:
        return "Upload the model"
    score = next(((n, v) for n, v in run.scores.items() if n != "loss"), None)
    return f"Upload {run.name}" + (f" ({score[0].replace('_', ' ')} {score[1]:.4f})" if score else "")


def _notes(facts: push_card.CardFacts, remote: Remote | None) -> list[str]:
    notes = []
    if not facts.license:
        notes.append("the licence of the base is not known: the card says so; --license states one")
    if facts.run is not None:
        for part in ("data", "model"):
            name = str(facts.run.recipe.get(part, {}).get("name", ""))
            if push_run.names_a_path(name):
                notes.append(f"nyala/{push_run.RECIPE} names {name}, a path of this machine")
    if remote is None:
        notes.append("offline: everything is shown as if nothing were there")
    elif not remote.token:
        notes.append("no token: a push needs one, see `hf auth login`")
    return notes
