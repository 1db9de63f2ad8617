"""A small HTTP server that answers as the Hugging Face hub does for data sets of Parquet files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLDER = "fedcba9876543210fedcba9876543210fedcba98"
REVISIONS = {"main": COMMIT, COMMIT: COMMIT, "v1": OLDER, OLDER: OLDER}


@contextmanager
def fake_hub(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves the files in folder/<owner>/<name>, and of OLDER in folder/<owner>/<name>@OLDER; gives its address and the list of requests, which grows."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_POST(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: Any) -> None:
            requests.append(format % args)

        def _answer(self, *, body: bool) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, content = respond(folder, unquote(urlsplit(self.path).path), sent)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Answer = tuple[int, dict[str, str], bytes]


def respond(folder: Path, path: str, sent: bytes) -> Answer:
    parts = path.strip("/").split("/")
    api = parts[0] == "api"
    parts = parts[1:] if api else parts
    if "broken" in parts:
        return 503, {}, b""
    if parts[0] != "datasets" or len(parts) < 3 or not (folder / parts[1] / parts[2]).is_dir():
        return _error(404, "RepoNotFound")
    action, revision = [*parts[3:5], "", "main"][:2] if parts[3:] else ("", "main")
    commit = REVISIONS.get(revision)
    if commit is None:
        return _error(404, "RevisionNotFound")
    root = folder / parts[1] / (parts[2] if commit == COMMIT else f"{parts[2]}@{OLDER}")
    inside = "/".join(parts[5:])
    if not api:
        return _resolve(root / inside, commit)
    if action in ("", "revision"):
        siblings = [{"rfilename": entry["path"]} for entry in _entries(root, "")]
        info = {
            "id": f"{parts[1]}/{parts[2]}",
            "sha": commit,
            "private": False,
            "gated": False,
            "tags": [],
            "downloads": 0,
        }
        return _json({**info, "siblings": siblings}, commit)
    if action == "tree":
        entries = _entries(root, inside)
        return _json(entries, commit) if entries else _error(404, "EntryNotFound")
    if action == "paths-info":
        wanted = json.loads(sent)["paths"]
        return _json([entry for entry in _entries(root, "") if entry["path"] in wanted], commit)
    return _error(404, "EntryNotFound")


def _resolve(file: Path, commit: str) -> Answer:
    if not file.is_file():
        return _error(404, "EntryNotFound", {"X-Repo-Commit": commit})
    content = file.read_bytes()
    headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
    return 200, {**headers, "Content-Type": "application/octet-stream"}, content


def _entries(root: Path, under: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        if under and not path.startswith(f"{under}/"):
            continue
        if file.is_file():
            oid = hashlib.sha256(file.read_bytes()).hexdigest()[:40]
            found.append({"type": "file", "path": path, "size": file.stat().st_size, "oid": oid})
        else:
            found.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
    return found


def _json(value: Any, commit: str) -> Answer:
    return 200, {"Content-Type": "application/json", "X-Repo-Commit": commit}, json.dumps(value).encode()


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    return status, {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})}, b""
