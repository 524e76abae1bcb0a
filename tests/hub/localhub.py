"""A model hub on the loopback interface, for tests: what ``huggingface_hub`` asks for when it downloads or uploads, with faults.

Two servers, as in the real world: the hub itself, and another origin that holds the big files, so that a token sent
to the wrong place shows. Contents are addressed as git and Git LFS do. Every request is written into ``log``.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import io
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_localtesttoken"
READ_TOKEN = "hf_localreadonlytoken"
USER, ORGS = "me", ("my-org",)  # whom TOKEN belongs to, and where that user may write
BODY_FAULTS = ("corrupt", "short", "cut", "freeze", "long", "packed", "whole", "elsewhere", "crawl")
LFS_FROM = 1000  # bytes; smaller files lie in git itself


@dataclasses.dataclass(frozen=True)
class Blob:
    data: bytes

    @property
    def lfs(self) -> bool:
        return len(self.data) >= LFS_FROM

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def git_id(self) -> str:
        """The git id of the file, or of the pointer that stands for it in git."""
        content = self.data
        if self.lfs:
            content = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
                self.sha256.encode(),
                len(self.data),
            )
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_id


@dataclasses.dataclass
class Repo:
    commits: dict[str, dict[str, Blob]] = dataclasses.field(default_factory=dict)
    refs: dict[str, str] = dataclasses.field(default_factory=dict)
    messages: dict[str, str] = dataclasses.field(default_factory=dict)
    private: bool = False
    gated: bool = False
    kind: str = "model"
    license: str = ""
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Fault:
    """What goes wrong for the next ``times`` requests that match.

    ``status``: answer with this code. ``corrupt``: flip the byte at ``at``. ``short``: send ``at`` bytes as if that were
    all. ``cut``: close the connection after ``at`` bytes (of an upload: of its body). ``stall``: never answer. ``lost``: do what
    was asked, and close the connection instead of answering. ``freeze``: send ``at`` bytes and then nothing. ``long``: send
    ``at`` bytes too many. ``packed``: compress, asked or not. ``whole``: ignore the range that was asked for. ``elsewhere``:
    answer with another range. ``crawl``: send ``at`` bytes and then one now and again. ``page``: a web page, as a network's
    login page does.
    """

    kind: str
    match: str = ""
    method: str = "GET"
    times: int = 1
    status: int = 503
    at: int = 0
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class LocalHub:
    """The two servers and what they hold."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, Blob] = {}
        self.uploads: dict[str, Blob] = {}  # what has arrived and is in no commit yet
        self.verify_origin = ""  # where uploads are said to be confirmed; empty for the hub itself
        self.faults: list[Fault] = []
        self.lies: dict[str, dict] = {}  # file, or "*" for all around them -> what a listing says of it instead
        self.log: list[dict] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._servers: list[ThreadingHTTPServer] = []
        self.url = self._start(HubHandler)
        self.cdn = self._start(CdnHandler).replace("127.0.0.1", "localhost")  # another host, for clients that ignore the port

    def _start(self, base: type[Handler]) -> str:
        handler = type(base.__name__, (base,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self._servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def close(self) -> None:
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def commit(self, name: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Commit exactly these files and move the branch to them; returns the commit's id."""
        repo = self.repos.setdefault(name, Repo())
        tree = {path: Blob(data) for path, data in files.items()}
        self.blobs.update({blob.sha256: blob for blob in tree.values()})
        described = json.dumps([name, len(repo.commits), sorted((path, blob.git_id) for path, blob in tree.items())])
        commit = hashlib.sha1(described.encode()).hexdigest()
        repo.commits[commit] = tree
        repo.refs[branch] = commit
        return commit

    def fault(self, kind: str, **settings: object) -> None:
        self.faults.append(Fault(kind, **settings))

    def take(self, method: str, path: str, *kinds: str) -> Fault | None:
        """The fault that this request runs into, used up by one."""
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and fault.kind in kinds and fault.method == method and re.search(fault.match, path):
                    fault.times -= 1
                    return fault
        return None

    def requests(self, match: str = "", method: str = "GET") -> list[dict]:
        return [entry for entry in self.log if entry["method"] == method and re.search(match, entry["path"])]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def log_message(self, *arguments: object) -> None:
        """Quiet."""

    def route(self, path: str) -> None:
        raise NotImplementedError

    def answer(self) -> None:
        auth = self.headers.get("Authorization")
        entry = {"server": type(self).__name__, "method": self.command, "path": self.path, "auth": auth}
        self.hub.log.append({**entry, "range": self.headers.get("Range")})
        path = urllib.parse.urlsplit(self.path).path
        fault = self.hub.take(self.command, path, "status", "stall", "page")
        if fault is None:
            self.route(path)
        elif fault.kind == "page":
            self.send(200, b"<html>Welcome to our network</html>", {"Content-Type": "text/html"})
        elif fault.kind == "stall":
            self.hub.closing.wait(30)
            self.close_connection = True
        else:
            self.send_json({"error": "injected"}, fault.status, fault.headers)

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.receive()

    def do_PUT(self) -> None:
        self.receive()

    body: bytes = b""

    def receive(self) -> None:
        """A request with a body: all of it is read before the answer, unless the connection is to be cut in it."""
        cut = self.hub.take(self.command, urllib.parse.urlsplit(self.path).path, "cut")
        if cut is not None:
            self.rfile.read(min(cut.at, int(self.headers.get("Content-Length") or 0)))
            self.close_connection = True
            return
        self.body = self.read_body()
        lost = self.hub.take(self.command, urllib.parse.urlsplit(self.path).path, "lost")
        if lost is not None:
            self.wfile = io.BytesIO()
            self.close_connection = True
        self.answer()

    def read_body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def send(self, status: int, body: bytes = b"", headers: dict[str, object] | None = None, announce: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": len(body) if announce is None else announce, **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})

    def refuse(self, status: int, code: str, message: str, **headers: str) -> None:
        self.send_json({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message, **headers})

    def send_blob(self, blob: Blob, headers: dict[str, object]) -> None:
        """The bytes, or the range of them that was asked for, with the transport faults."""
        body, status = blob.data, 200
        headers = {"ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes", **headers}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        fault = self.hub.take(self.command, self.path, *BODY_FAULTS)
        if wanted and (fault is None or fault.kind != "whole"):
            start, total = int(wanted[1]) + (fault is not None and fault.kind == "elsewhere"), len(body)
            if start >= total:
                return self.send(416, b"", {"Content-Range": f"bytes */{total}"})
            body, status = body[start:], 206
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        if fault is None or fault.kind in ("whole", "elsewhere"):
            return self.send(status, body, headers)
        return self.send_badly(fault, status, body, headers)

    def send_badly(self, fault: Fault, status: int, body: bytes, headers: dict[str, object]) -> None:
        if fault.kind == "corrupt":
            body = body[: fault.at] + bytes([body[fault.at] ^ 0xFF]) + body[fault.at + 1 :]
            return self.send(status, body, headers)
        if fault.kind == "packed":
            return self.send(status, gzip.compress(body), {**headers, "Content-Encoding": "gzip"})
        if fault.kind == "long":
            return self.send(status, body + b"x" * fault.at, headers)
        if fault.kind == "crawl":
            self.send(status, body[: fault.at], headers, announce=len(body))
            for place in range(fault.at, len(body)):
                if self.hub.closing.wait(0.02):
                    break
                self.wfile.write(body[place : place + 1])
            return None
        self.send(status, body[: fault.at], headers, announce=None if fault.kind == "short" else len(body))
        if fault.kind == "freeze":
            self.hub.closing.wait(30)
        self.close_connection = True
        return None


class CdnHandler(Handler):
    def route(self, path: str) -> None:
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != path.rpartition("/")[2]:
                self.send(400, b"the content is not what was announced")
            else:
                self.hub.uploads[path.rpartition("/")[2]] = Blob(self.body)
                self.send(200)
            return
        blob = self.hub.blobs.get(path.rpartition("/")[2])
        if blob is None:
            self.send(404)
        else:
            self.send_blob(blob, {})


class HubHandler(Handler):
    RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
    DATA = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
    DATA_API = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/]+))?")
    API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?")
    OTHER = re.compile(r"/api/(dataset|space)s/([^/]+/[^/]+)")
    REFS = re.compile(r"/api/models/([^/]+/[^/]+)/refs")
    LFS = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
    WRITE = re.compile(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch|verify)(?:/([^/]+))?")

    def route(self, path: str) -> None:
        if path == "/api/whoami-v2":
            self.whoami()
        elif match := self.DATA.fullmatch(path):
            self.resolve(match[1], match[2], urllib.parse.unquote(match[3]), "dataset")
        elif match := self.DATA_API.fullmatch(path):
            self.describe(match[1], match[2] or "main", "dataset")
        elif match := self.OTHER.fullmatch(path):
            self.describe_other(match[1], match[2])
        elif self.command == "POST":
            self.write(path)
        elif match := self.REFS.fullmatch(path):
            refs = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in self.refs(match[1])]
            self.send_json({"branches": refs, "tags": [], "converts": []})
        elif match := self.RESOLVE.fullmatch(path):
            self.resolve(match[1], match[2], urllib.parse.unquote(match[3]))
        elif match := self.API.fullmatch(path):
            self.describe(match[1], match[2] or "main")
        else:
            self.refuse(404, "NotHere", f"no route for {path}")

    def refs(self, name: str) -> list[tuple[str, str]]:
        """The branches of a repository that everybody may see."""
        repo = self.hub.repos.get(name)
        return sorted(repo.refs.items()) if repo and not repo.private else []

    def tree(self, name: str, revision: str, kind: str = "model") -> tuple[str, dict[str, Blob]] | None:
        """The commit and its files, or None once the refusal has been sent."""
        auth, repo = self.headers.get("Authorization"), self.hub.repos.get(name)
        known = auth == f"Bearer {TOKEN}"
        if repo is None or (repo.private and not known):
            self.refuse(404 if auth else 401, "RepoNotFound", "Repository not found")
            return None
        if repo.gated and not known and not self.path.startswith("/api/"):  # everybody may see what a gated one holds
            self.refuse(403 if auth else 401, "GatedRepo", f"Access to model {name} is restricted")
            return None
        revision = urllib.parse.unquote(revision)
        if repo.kind != kind:
            self.refuse(404 if auth else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repo.commits[commit]

    def resolve(self, name: str, revision: str, file: str, kind: str = "model") -> None:
        found = self.tree(name, revision, kind)
        if found is None:
            return
        commit, tree = found
        blob = tree.get(file)
        if blob is None:
            self.refuse(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit})
        elif blob.lfs:
            headers = {"Location": f"{self.hub.cdn}/lfs/{blob.sha256}", "ETag": f'"{blob.git_id}"'}
            linked = {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": len(blob.data)}
            self.send(302, b"", {**headers, **linked, "X-Repo-Commit": commit})
        else:
            self.send_blob(blob, {"X-Repo-Commit": commit})

    def describe(self, name: str, revision: str, kind: str = "model") -> None:
        found = self.tree(name, revision, kind)
        if found is None:
            return
        commit, tree = found
        siblings = []
        for path, blob in sorted(tree.items()):
            entry: dict[str, object] = {"rfilename": path, "size": len(blob.data), "blobId": blob.git_id}
            if blob.lfs:
                entry["lfs"] = {"sha256": blob.sha256, "size": len(blob.data), "pointerSize": 134}
            siblings.append({**entry, **self.hub.lies.get(path, {})})
        repo = self.hub.repos[name]
        about = {"id": name, "modelId": name, "sha": commit, "private": repo.private, "tags": repo.tags, "siblings": siblings}
        about.update(self.hub.lies.get("*", {}))
        self.send_json({**about, "cardData": {"license": repo.license}} if repo.license else about)

    def describe_other(self, kind: str, name: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None or repo.kind != kind:
            self.refuse(404 if self.headers.get("Authorization") else 401, "RepoNotFound", "Repository not found")
        else:
            self.send_json({"id": name, "sha": "0" * 40, "private": False, "tags": [], "siblings": []})

    # -- uploads

    def whoami(self) -> None:
        roles = {f"Bearer {TOKEN}": "write", f"Bearer {READ_TOKEN}": "read"}
        role = roles.get(self.headers.get("Authorization") or "")
        if role is None:
            self.send_json({"error": "Invalid username or password."}, 401)
        else:
            orgs = [{"name": name} for name in ORGS]
            self.send_json({"type": "user", "name": USER, "orgs": orgs, "auth": {"accessToken": {"role": role}}})

    def write(self, path: str) -> None:
        """Everything that changes something; each step refuses whoever may not write."""
        if path == "/api/validate-yaml":
            self.send_json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            wanted = json.loads(self.body)
            name = f"{wanted.get('organization') or USER}/{wanted['name']}"
            if self.may_write(name):
                self.create(name, wanted)
        elif match := self.LFS.fullmatch(path):
            if self.may_write(match[1]):
                self.batch(match[1])
        elif match := self.WRITE.fullmatch(path):
            if self.may_write(match[1]):
                getattr(self, match[2])(match[1], urllib.parse.unquote(match[3] or ""))
        else:
            self.refuse(404, "NotHere", f"no route for {path}")

    def may_write(self, name: str) -> bool:
        auth = self.headers.get("Authorization")
        if auth != f"Bearer {TOKEN}":
            self.send_json({"error": "Forbidden: a token that may write is needed"}, 403 if auth else 401)
        elif name.partition("/")[0] not in (USER, *ORGS):
            self.send_json({"error": f"Forbidden: you may not write to {name}"}, 403)
        else:
            return True
        return False

    def create(self, name: str, wanted: dict) -> None:
        if name in self.hub.repos:
            self.send_json({"error": "You already created this model repo"}, 409)
            return
        self.hub.commit(name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        self.hub.repos[name].private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.send_json({"url": f"{self.hub.url}/{name}", "name": name})

    def branch(self, name: str, branch: str) -> None:
        repo = self.hub.repos[name]
        if branch in repo.refs:
            self.send_json({"error": "Reference already exists"}, 409)
            return
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        repo.refs[branch] = repo.refs.get(start, start)
        self.send_json({})

    def preupload(self, name: str, revision: str) -> None:
        tree = self.hub.repos[name].commits.get(self.hub.repos[name].refs.get(revision, ""), {})
        modes = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if file["size"] >= LFS_FROM else "regular"
            known = tree.get(file["path"])
            oid = None if known is None else known.sha256 if known.lfs else known.git_id
            modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.send_json({"files": modes})

    def batch(self, name: str) -> None:
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.blobs and wanted["oid"] not in self.hub.uploads:
                upload = {"href": f"{self.hub.cdn}/upload/{wanted['oid']}"}
                verify = {"href": f"{self.hub.verify_origin or self.hub.url}/api/models/{name}/verify"}
                entry["actions"] = {"upload": upload, "verify": verify}
            objects.append(entry)
        self.send_json({"transfer": "basic", "objects": objects})

    def verify(self, name: str, _revision: str) -> None:  # noqa: ARG002 - routes have one form
        blob = self.hub.uploads.get(json.loads(self.body)["oid"])
        self.send_json({}, 200 if blob is not None else 404)

    def commit(self, name: str, revision: str) -> None:
        repo = self.hub.repos[name]
        if revision not in repo.refs:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        head, changes = lines[0]["value"], lines[1:]
        if head.get("parentCommit") not in (None, repo.refs[revision]):
            self.send_json({"error": "The branch has moved since"}, 412)
            return
        files = {path: blob.data for path, blob in repo.commits[repo.refs[revision]].items()}
        for line in changes:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                blob = self.hub.uploads.get(value["oid"]) or self.hub.blobs.get(value["oid"])
                if blob is None:
                    self.send_json({"error": f"no such object {value['oid']}"}, 400)
                    return
                files[value["path"]] = blob.data
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        commit = self.hub.commit(name, files, revision)
        repo.messages[commit] = head["summary"]
        url = f"{self.hub.url}/{name}/commit/{commit}"
        self.send_json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})
