"""Models from the hub, against a small server on this machine that HF_ENDPOINT points to.

huggingface_hub reads its settings when it is imported, so each test asks in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelError
from engine.models.class_names import name_outputs
from engine.models.hub import fetch, needed_files
from engine.models.model_files import PICKLED
from tests.conftest import PATIENCE
from tests.models.tiny_models import ENTAILMENT, saved, tiny, words

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).resolve().parents[2]


class Hub(ThreadingHTTPServer):
    """Serves the files of one model, me/tiny, in the hub's form; `asked` lists the paths."""

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.asked: list[str] = []
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    """The few answers of the hub that a download needs."""

    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def log_message(self, *words: Any) -> None:
        pass

    def answer(self, *, body: bool) -> None:
        self.server.asked.append(self.path)
        parts = self.path.split("?")[0].strip("/").split("/")
        if self.server.broken:
            self.send(500, b"", {}, body=body)
        elif parts[:2] == ["api", "models"]:
            self.repository("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main", parts[4:5], body=body)
        elif parts[:3] == ["me", "tiny", "resolve"] and (self.server.folder / parts[4]).is_file():
            content = (self.server.folder / parts[4]).read_bytes()
            etag = hashlib.sha1(content).hexdigest()
            self.send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body=body)
        else:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)

    def repository(self, name: str, revision: str, what: list[str], *, body: bool) -> None:
        if name == "me/gated":
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo"}, body=body)
        elif name != "me/tiny":
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        elif revision not in ("main", COMMIT):
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        elif what == ["tree"]:
            files = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0"} for f in self.files()]
            self.send(200, json.dumps(files).encode(), {}, body=body)
        else:
            info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file.name} for file in self.files()]}
            self.send(200, json.dumps(info).encode(), {}, body=body)

    def files(self) -> list[Path]:
        return sorted(self.server.folder.iterdir())

    def send(self, code: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    model = tiny("bert")
    name_outputs(model, ENTAILMENT)
    folder = saved(tmp_path / "served", model, words())
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody asked for")
    (folder / "own.py").write_text("raise SystemExit('run unasked')")
    (folder / "onnx").mkdir()
    server = Hub(folder)
    (folder / "onnx").rmdir()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def ask(url: str, code: str, **environment: str) -> Any:
    """Run `code` with the hub's functions at hand; the value that it leaves in `result`, or "kind: message" of its ModelError."""
    script = (
        "import json\nfrom engine.errors import ModelError\nfrom engine.models import hub\n"
        "from engine.models.hub import fetch, resolve_revision\n"
        f"hub.SECONDS = 2.0\ntry:\n    {code}\nexcept ModelError as error:\n    result = f'{{error.kind}}: {{error}}'\nprint(json.dumps(result))"
    )
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    kept |= {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


NOWHERE = "http://127.0.0.1:9"  # nobody listens at the discard port


def test_a_model_is_fetched_once_and_then_read_from_the_cache(hub: Hub, tmp_path: Path) -> None:
    folder = Path(ask(hub.url, "result = str(fetch('me/tiny'))"))
    assert folder.name == COMMIT
    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    for name in names:
        assert (folder / name).read_bytes() == (hub.folder / name).read_bytes()
    assert not any("pytorch_model" in path or "own.py" in path for path in hub.asked)
    assert tmp_path in folder.parents
    hub.asked.clear()
    assert ask(hub.url, f"result = str(fetch('me/tiny', '{COMMIT}'))") == str(folder)
    assert hub.asked == []
    assert ask(NOWHERE, "result = str(fetch('me/tiny'))") == str(folder)
    assert ask(hub.url, "result = str(fetch('me/tiny'))", HF_HUB_OFFLINE="1") == str(folder)


def test_pickled_weights_are_fetched_where_there_are_no_others(hub: Hub) -> None:
    (hub.folder / "model.safetensors").unlink()
    folder = Path(ask(hub.url, "result = str(fetch('me/tiny'))"))
    assert (folder / "pytorch_model.bin").is_file()


def test_an_interrupted_download_is_completed(hub: Hub) -> None:
    (hub.folder / "model.safetensors").rename(hub.folder.parent / "held back")
    (hub.folder / "pytorch_model.bin").unlink()
    folder = Path(ask(hub.url, "result = str(fetch('me/tiny'))"))
    assert not (folder / "model.safetensors").exists()
    (hub.folder.parent / "held back").rename(hub.folder / "model.safetensors")
    assert ask(hub.url, "result = str(fetch('me/tiny'))") == str(folder)
    assert (folder / "model.safetensors").is_file()


def test_a_tokenizer_is_fetched_without_weights_and_code_only_when_trusted(hub: Hub) -> None:
    folder = Path(ask(hub.url, "result = str(fetch('me/tiny', weights=False))"))
    assert not (folder / "model.safetensors").exists()
    assert not (folder / "own.py").exists()
    ask(hub.url, "result = str(fetch('me/tiny', code=True))")
    assert (folder / "own.py").is_file()


def test_a_revision_becomes_its_commit(hub: Hub, tmp_path: Path) -> None:
    assert ask(hub.url, "result = resolve_revision('me/tiny')") == COMMIT
    assert ask(hub.url, "result = resolve_revision('me/tiny', 'main')") == COMMIT
    assert ask(NOWHERE, f"result = resolve_revision('me/tiny', '{COMMIT}')") == COMMIT
    assert ask(NOWHERE, f"result = resolve_revision({str(tmp_path)!r})") is None
    assert ask(NOWHERE, "result = resolve_revision('me/tiny')").startswith("hub-unreachable: ")
    ask(hub.url, "fetch('me/tiny'); result = None")
    assert ask(NOWHERE, "result = resolve_revision('me/tiny')") == COMMIT


def test_what_the_hub_refuses_is_reported_with_advice(hub: Hub) -> None:
    message = ask(hub.url, "result = resolve_revision('me/nothing')")
    assert message.startswith("no-such-hub-model: ")
    assert all(fact in message for fact in ("me/nothing", hub.url, "hf auth login"))
    message = ask(hub.url, "result = str(fetch('me/gated'))")
    assert message.startswith("gated-hub-model: ")
    assert f"{hub.url}/me/gated" in message
    message = ask(hub.url, "result = resolve_revision('me/tiny', 'v9')")
    assert message.startswith("no-such-revision: ")
    assert all(fact in message for fact in ("me/tiny", "v9"))
    assert ask(hub.url, "result = resolve_revision('bad--name')").startswith("invalid-model-name: ")
    assert ask(hub.url, "result = str(fetch('no such folder'))").startswith("no-such-folder: ")
    assert "\x1b" not in ask(hub.url, "result = str(fetch('a..b\\x1b[31m'))")


def test_an_unreachable_hub_is_reported_with_advice(hub: Hub, tmp_path: Path) -> None:
    message = ask(NOWHERE, "result = str(fetch('me/tiny'))")
    assert message.startswith("hub-unreachable: ")
    assert all(fact in message for fact in (NOWHERE, "me/tiny", "local folder", "HF_ENDPOINT", "HTTPS_PROXY", "cache"))
    message = ask(hub.url, "result = str(fetch('me/tiny'))", HF_HUB_OFFLINE="1")
    assert message.startswith("hub-offline: ")
    assert "HF_HUB_OFFLINE" in message
    hub.broken = True
    message = ask(hub.url, "result = str(fetch('me/tiny'))")
    assert message.startswith("hub-error: ")
    assert "(500)" in message


def test_a_hub_that_goes_away_in_the_middle_is_reported(hub: Hub) -> None:
    code = "import huggingface_hub.file_download; result = 1\n    hub.hf_hub_download = lambda *a, **k: (_ for _ in ()).throw(ConnectionError('gone'))\n    fetch('me/tiny')"
    message = ask(hub.url, code)
    assert message.startswith("hub-unreachable: ")
    assert "ConnectionError" in message


def test_a_hub_that_never_answers_does_not_hold_the_run_up(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        message = ask(url, "result = resolve_revision('me/tiny')")
        assert message.startswith("hub-unreachable: ")
        assert "ReadTimeout" in message


def test_a_teacher_comes_from_the_hub(hub: Hub) -> None:
    code = (
        "from engine.models.load import load_teacher; from engine.preset.schema import Teacher; "
        "from engine.data.types import TaskSpec; "
        "spec = TaskSpec('rte', 'classification', ('not_entailment', 'entailment'), ('accuracy',), True); "
        "loaded = load_teacher(Teacher(model='me/tiny'), spec); "
        "result = [loaded.order_known, loaded.model.config.id2label[0], len(loaded.tokenizer), *loaded.notes]"
    )
    assert ask(hub.url, code) == [
        True,
        "not_entailment",
        100,
        "the outputs of me/tiny were reordered by name: not_entailment (output 1), entailment (output 0)",
    ]


def test_weights_come_last_and_one_kind_only() -> None:
    names = ["README.md", "model.safetensors", "pytorch_model.bin", "vocab.txt", "config.json", "onnx/model.onnx"]
    assert needed_files(names) == ["config.json", "vocab.txt", "model.safetensors"]
    assert needed_files(["pytorch_model.bin", "x.py"], code=True) == ["x.py", PICKLED[0]]
    assert needed_files(names, weights=False) == ["config.json", "vocab.txt"]
    shards = ["model-00002-of-00002.safetensors", "model.safetensors.index.json", "model-00001-of-00002.safetensors"]
    assert needed_files(shards)[:2] == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_a_run_is_the_folder_of_its_student(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "student").mkdir(parents=True)
    (run / "status.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        fetch(str(run))
    assert caught.value.kind == "run-without-student"
    (run / "student" / "config.json").write_text("{}")
    assert fetch(str(run)) == run / "student"
