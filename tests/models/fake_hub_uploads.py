"""A small HTTP server that takes models as the Hugging Face hub does, and serves them: no Xet, large files by LFS."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from huggingface_hub import ModelCard

WRITE, READ = "hf_" + "w" * 30, "hf_" + "r" * 30
TOKENS = {
    WRITE: {"name": "me", "auth": {"accessToken": {"role": "write"}}},
    READ: {"name": "me", "auth": {"accessToken": {"role": "read"}}},
}
MINE = ("me", "our-team")
"""The owners for whom the token may write."""
DROP = 0
"""In place of a status: the connection breaks."""


@dataclass
class Repository:
    """A model repository: the files of each branch, and the messages of its commits."""

    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})
    commits: list[str] = field(default_factory=list)

    @property
    def commit(self) -> str:
        """The newest commit."""
        return f"{len(self.commits):040x}"


@dataclass
class Fault:
    """What the server does instead of answering the first `times` requests that match."""

    pattern: str
    """Of method and path: `POST .*/commit/main`."""
    status: int
    message: str = ""
    times: int = 1_000
    seconds: float = 0.0
    """How long it waits first; with status 200 it then answers as ever."""


class UploadHub(ThreadingHTTPServer):
    """The server's state: repositories, stored large files, requests as `METHOD path`, and what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.repositories: dict[str, Repository] = {}
        self.taken: set[str] = set()
        """Names that exist, but not as models."""
        self.always_public = False
        self.stored: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.faults: list[Fault] = []

    @property
    def url(self) -> str:
        """Its address, for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, pattern: str) -> int:
        """How many requests there were of a kind."""
        return sum(re.fullmatch(pattern, request) is not None for request in self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients are killed in tests."""


@contextmanager
def upload_hub() -> Iterator[UploadHub]:
    """A server that runs until the block ends."""
    server = UploadHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answers(BaseHTTPRequestHandler):
    server: UploadHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *words: Any) -> None:
        pass

    def _answer(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        fault = next((each for each in hub.faults if each.times and re.fullmatch(each.pattern, hub.requests[-1])), None)
        if fault is not None:
            fault.times -= 1
            time.sleep(fault.seconds)
        if fault is not None and fault.status == DROP:
            self.rfile.read(1)
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        body = self._body()
        if fault is not None and fault.status != 200:
            self._send(
                fault.status, {"error": fault.message}, {"X-Error-Message": fault.message} if fault.message else {}
            )
        else:
            self._respond(path, body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _respond(self, path: str, body: bytes) -> None:
        hub = self.server
        account = TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if path.startswith("/lfs/"):  # stores by a signed address, without a token
            hub.stored[path.removeprefix("/lfs/")] = body
            return self._send(200, {})
        if path == "/api/whoami-v2":
            return (
                self._send(200, account)
                if account
                else self._send(401, {}, {"X-Error-Message": "Invalid credentials in Authorization header"})
            )
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self._create(json.loads(body), account)
        if re.fullmatch(r"/[\w.-]+/[\w.-]+\.git/info/lfs/objects/batch", path):
            return self._batch(json.loads(body))
        if match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path):
            return self._resolve(match[1], match[2], match[3], account)
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/([\w-]+)(?:/([\w.-]+))?(?:/.*)?)?", path):
            return self._model(match[1], match[2], match[3], body, account)
        return self._send(404, {}, {"X-Error-Code": "EntryNotFound"})

    def _validate(self, content: str) -> None:
        try:
            ModelCard(content)
        except Exception as error:  # noqa: BLE001 - as `_figures` of engine/preflight/push.py
            return self._send(400, {"errors": [{"message": str(error)}], "warnings": []})
        return self._send(200, {"errors": [], "warnings": []})

    def _create(self, wanted: dict[str, Any], account: Any) -> None:
        hub = self.server
        if account is None:
            return self._send(401, {}, {"X-Error-Message": "Invalid credentials in Authorization header"})
        owner = wanted.get("organization") or account["name"]
        name = f"{owner}/{wanted['name']}"
        if owner not in MINE:
            message = f'You don\'t have the rights to create a model under the namespace "{owner}"'
            return self._send(403, {"error": message}, {"X-Error-Message": message})
        if name in hub.repositories or name in hub.taken:
            return self._send(409, {"error": "You already created this model repo"})
        hub.repositories[name] = Repository(private=wanted.get("visibility") == "private" and not hub.always_public)
        return self._send(200, {"url": f"{hub.url}/{name}"})

    def _batch(self, wanted: dict[str, Any]) -> None:
        hub = self.server
        objects = [
            entry
            if entry["oid"] in hub.stored
            else {**entry, "actions": {"upload": {"href": f"{hub.url}/lfs/{entry['oid']}"}}}
            for entry in wanted["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects})

    def _model(self, name: str, action: str | None, branch: str | None, body: bytes, account: Any) -> None:
        hub = self.server
        owner, repository = name.split("/", maxsplit=1)[0], hub.repositories.get(name)
        if repository is None or (repository.private and (account is None or owner not in MINE)):
            return self._send(
                404 if account else 401, {}, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            )
        if action in ("preupload", "commit", "branch") and (account is None or owner not in MINE):
            return self._send(403, {}, {"X-Error-Message": "you are not allowed to write"})
        if action == "branch":
            repository.branches.setdefault(str(branch), dict(repository.branches["main"]))
            return self._send(200, {})
        if action == "xet-write-token":
            return self._send(404, {})
        branch = "main" if branch is None or re.fullmatch("[0-9a-f]{40}", branch) else branch
        files = repository.branches.get(branch)
        if files is None:
            return self._send(404, {}, {"X-Error-Code": "RevisionNotFound"})
        if action == "preupload":
            return self._send(200, {"files": [self._mode(files, entry) for entry in json.loads(body)["files"]]})
        if action == "commit":
            return self._commit(name, repository, files, body)
        if action == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in files.items()
            ]
            return self._send(200, entries)
        siblings = [{"rfilename": path} for path in sorted(files)]
        return self._send(
            200, {"id": name, "sha": repository.commit, "private": repository.private, "siblings": siblings}
        )

    @staticmethod
    def _mode(files: dict[str, bytes], entry: dict[str, Any]) -> dict[str, Any]:
        large = entry["path"].endswith((".safetensors", ".onnx"))
        found = {"path": entry["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if (data := files.get(entry["path"])) is not None:
            header = f"blob {len(data)}\0".encode()
            found["oid"] = hashlib.sha256(data).hexdigest() if large else hashlib.sha1(header + data).hexdigest()
        return found

    def _commit(self, name: str, repository: Repository, files: dict[str, bytes], body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        new = {}
        for line in lines[1:]:
            value = line["value"]
            new[value["path"]] = (
                self.server.stored[value["oid"]] if line["key"] == "lfsFile" else base64.b64decode(value["content"])
            )
        files |= new
        repository.commits.append(lines[0]["value"]["summary"])
        self._send(
            200, {"commitUrl": f"{self.server.url}/{name}/commit/{repository.commit}", "commitOid": repository.commit}
        )

    def _resolve(self, name: str, branch: str, file: str, account: Any) -> None:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and account is None):
            return self._send(401, {}, {"X-Error-Code": "RepoNotFound"})
        branch = branch if branch in repository.branches else "main"
        data = repository.branches[branch].get(file)
        headers = {"X-Repo-Commit": repository.commit}
        if data is None:
            return self._send(404, {}, {**headers, "X-Error-Code": "EntryNotFound"})
        return self._send_bytes(200, data, {**headers, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'})

    def _send(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        self._send_bytes(status, json.dumps(document).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send_bytes(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
