"""`crild push` against a server that takes models as the hub does: what goes, what stays, and what can go wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from engine.preflight.push import push_plan
from engine.record.export import EXPORT, ExportFacts
from engine.train.card import model_card
from tests.cli.conftest import Call, Said
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.errors import raises
from tests.models.fake_hub_uploads import DROP, READ, WRITE, Fault, Repository, UploadHub, upload_hub
from tests.models.tiny_models import saved, tiny
from tests.train.test_card import SPEC, glue, results

NAMES = {0: "entailment", 1: "not_entailment"}
TEXTS = ["w1 w2 w3", "w4", "w9 w8 w7 w6 w5"]
LOAD = """
import json, sys
from transformers import AutoModelForSequenceClassification, AutoTokenizer
name, texts = sys.argv[1], sys.argv[2:]
model, words = AutoModelForSequenceClassification.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name)
print(json.dumps({"labels": list(model.config.id2label.values()), "logits": [model(**words(t, return_tensors="pt")).logits[0].tolist() for t in texts]}))
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with upload_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", WRITE)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield server


@pytest.fixture
def student(runs_dir: Path) -> Path:
    """The student of a finished run, with a card."""
    folder = make_run(runs_dir) / "student"
    saved(folder, tiny("bert", layers=1, id2label=NAMES))
    (folder / "README.md").write_text(model_card(glue(), results(), SPEC, ["crild", "rte"]))
    return folder


def load(name: str) -> Any:
    """What transformers computes with a model, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LOAD, name, *TEXTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_pushed_student_predicts_from_the_hub_as_it_does_here(hub: UploadHub, student: Path, crild: Call) -> None:
    (student / "notes.txt").write_text("mine")
    (student / "optimizer.pt").write_bytes(b"x")
    (student / "model.safetensors.bak").write_bytes(b"x")
    (student / "vocab.txt").symlink_to(student / "notes.txt")
    said = crild("push", "rte-crild", "me/rte-small", "--yes")
    assert said.code == 0, said.err
    repository = hub.repositories["me/rte-small"]
    files = repository.branches["main"]
    assert set(files) == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert all(files[name] == (student / name).read_bytes() for name in files if name != "README.md")
    assert b'model="me/rte-small"' in files["README.md"]
    assert repository.private
    assert len(repository.commits) == 1
    for word in ("notes.txt", "optimizer.pt", "vocab.txt", "private", "67.51", f"{hub.url}/me/rte-small"):
        assert word in said.out, word
    here, there = load(str(student)), load("me/rte-small")
    assert there["labels"] == list(NAMES.values())
    assert np.array_equal(here["logits"], there["logits"])
    card = ModelCard(files["README.md"].decode())
    assert [(each.metric_type, each.metric_value) for each in card.data.eval_results or ()] == [
        ("accuracy", 0.6751),
        ("f1", 0.69),
    ]


def test_a_dry_run_needs_neither_hub_nor_token(
    student: Path, crild: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    shown = crild("push", "rte-crild", "rte-small", "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    document = crild("push", str(student), "me/x", "--public", "--dry-run", "--json").json
    assert document["visibility"] == "public"
    assert document["bytes"] == sum(document["files"].values()) == sum(f.stat().st_size for f in student.iterdir())
    assert document["figures"][0] == {
        "metric": "accuracy",
        "value": 0.6751,
        "dataset": "GLUE RTE",
        "split": "validation",
    }


def test_it_asks_first(hub: UploadHub, student: Path, crild: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert crild("push", "rte-crild", "me/x").code == 2  # nobody to ask
    from crild_tui.cli import terminal

    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(sys.stdin, "readline", lambda: "n\n", raising=False)
    assert crild("push", "rte-crild", "me/x").code == 0
    assert not hub.requests


def test_pushing_again_sends_what_changed(hub: UploadHub, student: Path, crild: Call) -> None:
    assert crild("push", "rte-crild", "rte-small", "--public", "--yes").code == 0
    repository = hub.repositories["me/rte-small"]
    assert not repository.private
    repository.branches["main"]["examples.md"] = b"by hand"
    said = crild("push", "rte-crild", "me/rte-small", "--yes")
    assert (said.code, len(repository.commits)) == (2, 1)  # it is public, and --public was not said
    assert crild("push", "rte-crild", "me/rte-small", "--public", "--yes").code == 0
    assert len(repository.commits) == 1  # nothing has changed
    (student / "README.md").write_text((student / "README.md").read_text() + "More.\n")
    said = crild("push", "rte-crild", "me/rte-small", "--public", "--yes", "-m", "A longer card", "--json")
    assert repository.commits[1:] == ["A longer card"]
    assert said.json["kept"] == ["examples.md"]
    assert hub.count("PUT /lfs/.*") == 1


def test_a_branch_is_made(hub: UploadHub, student: Path, crild: Call) -> None:
    hub.repositories["me/x"] = Repository(private=True, branches={"main": {"README.md": b"old"}})
    assert crild("push", "rte-crild", "me/x", "--revision", "v2", "--yes").code == 0
    assert hub.repositories["me/x"].branches["main"] == {"README.md": b"old"}
    assert "model.safetensors" in hub.repositories["me/x"].branches["v2"]


def test_nothing_goes_to_a_hub_that_makes_public_what_should_be_private(
    hub: UploadHub, student: Path, crild: Call
) -> None:
    hub.always_public = True
    refused(crild("push", "rte-crild", "me/x", "--yes"), 1, "public")
    assert not hub.repositories["me/x"].commits
    assert not hub.stored


def refused(said: Said, code: int, *words: str) -> None:
    """One sentence, with these words, and this exit code."""
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert said.code == code, said.err
    assert len(errors) == 1
    assert "Traceback" not in said.err
    for word in words:
        assert word in errors[0], errors[0]


def test_tokens_that_cannot_write_are_refused_before_anything_is_made(
    hub: UploadHub, student: Path, crild: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = ("push", "rte-crild", "me/x", "--yes")
    monkeypatch.setenv("HF_TOKEN", READ)
    refused(crild(*push), 2, "can only read", "/settings/tokens")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "z" * 30)
    refused(crild(*push), 2, "does not accept the token")
    monkeypatch.delenv("HF_TOKEN")
    refused(crild(*push), 2, "hf auth login")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", WRITE)
    refused(crild(*push), 2, "HF_HUB_OFFLINE")
    assert not hub.repositories


def test_repositories_of_others_and_of_other_kinds_are_refused(hub: UploadHub, student: Path, crild: Call) -> None:
    hub.repositories |= {
        "other/public": Repository(private=False),
        "me/adapter": Repository(private=True, branches={"main": {"adapter_config.json": b"{}"}}),
        "me/onnx": Repository(private=True, branches={"main": {"model.onnx": b"x"}}),
    }
    hub.taken.add("me/data")
    refused(crild("push", "rte-crild", "other/new", "--yes"), 2, "may not write to other/new", "namespace")
    refused(crild("push", "rte-crild", "other/public", "--public", "--yes"), 2, "may not write to other/public")
    refused(crild("push", "rte-crild", "me/data", "--yes"), 2, "me/data exists already")
    refused(crild("push", "rte-crild", "me/adapter", "--yes"), 3, "adapter_config.json")
    refused(crild("push", "rte-crild", "me/onnx", "--yes"), 3, "model.onnx")
    assert not any(repository.commits for repository in hub.repositories.values())


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault("GET /api/whoami-v2", 500), 1, ["error 500"]),
        (Fault("POST /api/repos/create", 403, "Private storage limit reached"), 2, ["storage limit"]),
        (Fault("POST .*/preupload/main", 404, "Not found"), 2, ["may not write"]),
        (Fault("POST .*/batch", 403, "over the quota"), 2, ["over the quota"]),
        (Fault("PUT /lfs/.*", 403, "over the quota"), 2, ["over the quota"]),
        (Fault("POST .*/commit/main", 409, "conflict"), 1, ["at the same moment"]),
        (Fault("POST .*/commit/main", 413, "too large"), 1, ["error 413", "too large"]),
        (Fault("POST .*/commit/main", 500), 1, ["error 500", "continues"]),
        (Fault("POST .*/commit/main", DROP), 1, ["broke", "continues"]),
        (Fault("POST .*/validate-yaml", 400, "bad card"), 3, ["refuses the card"]),
    ],
    ids=lambda value: value.pattern if isinstance(value, Fault) else "",
)
def test_what_the_hub_refuses_is_a_sentence_and_the_same_command_continues(
    hub: UploadHub, student: Path, crild: Call, fault: Fault, code: int, words: list[str]
) -> None:
    hub.faults.append(fault)
    refused(crild("push", "rte-crild", "me/x", "--yes"), code, *words)
    assert not any(repository.commits for repository in hub.repositories.values())
    hub.faults.clear()
    sent = hub.count("PUT /lfs/.*")
    assert crild("push", "rte-crild", "me/x", "--yes").code == 0
    assert len(hub.repositories["me/x"].commits) == 1
    if "commit" in fault.pattern:
        assert hub.count("PUT /lfs/.*") == sent  # the weights were there


def test_a_broken_or_slow_connection_is_tried_again(hub: UploadHub, student: Path, crild: Call) -> None:
    hub.faults += [Fault("PUT /lfs/.*", DROP, times=1), Fault("POST .*/commit/main", 200, seconds=2.0)]
    said = crild("push", "rte-crild", "me/x", "--yes")
    assert said.code == 0, said.err
    assert hub.count("PUT /lfs/.*") == 2


def test_it_can_be_interrupted_and_repeated(hub: UploadHub, student: Path, crild: Call, runs_dir: Path) -> None:
    hub.faults.append(Fault("PUT /lfs/.*", 200, times=1, seconds=120.0))
    words = [sys.executable, "-m", "crild", "push", "rte-crild", "me/x", "--yes", "--runs-dir", str(runs_dir)]
    pushing = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + PATIENCE
    while not hub.count("PUT /lfs/.*") and time.monotonic() < deadline:
        time.sleep(0.05)
    pushing.send_signal(signal.SIGINT)
    _, err = pushing.communicate(timeout=60)
    assert (pushing.returncode, "Traceback" in err) == (130, False), err
    assert not hub.repositories["me/x"].commits
    assert crild("push", "rte-crild", "me/x", "--yes").code == 0


def test_a_hub_that_is_not_there_is_said_at_once(student: Path, crild: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", WRITE)
    refused(crild("push", "rte-crild", "me/x", "--yes"), 1, "127.0.0.1:9", "cannot be reached")


def test_runs_without_a_student_and_hub_ids_are_refused(runs_dir: Path, crild: Call) -> None:
    make_run(runs_dir, "stopped", state="stopped")
    refused(crild("push", "stopped", "me/x", "--dry-run"), 2, "no student yet")
    refused(crild("push", "nobody/nothing", "me/x", "--dry-run"), 2, "neither a run nor a folder")
    refused(crild("push", "./nowhere", "me/x", "--dry-run"), 2, "neither a run nor")


@pytest.mark.parametrize("name", ["me/a/b", "me/", "a b", "-x", "x--y", "x.git", "n" * 97, "", "me/ä"])
def test_names_that_the_hub_would_not_take_are_refused_here(student: Path, crild: Call, name: str) -> None:
    refused(crild("push", "rte-crild", "--dry-run", "--", name), 2, "no name of a repository")


def _truncate(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def _link(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "elsewhere")
    (folder / "model.safetensors").symlink_to("elsewhere")


def _own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "own.Model"}}))


def _bad_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\na: [\n---\nText")


def _cut(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 1)


def _names_home(folder: Path) -> None:
    (folder / "README.md").write_text(f"crild run {Path.home()}/secret/preset.toml")


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (_truncate, "empty-file"),
        (_link, "incomplete-model"),
        (lambda folder: (folder / "model.safetensors").unlink(), "incomplete-model"),
        (lambda folder: (folder / "config.json").unlink(), "no-config"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no-tokenizer"),
        (_own_code, "own-code-not-uploaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(bytes(range(1, 201))), "not-safetensors"),
        (_cut, "truncated-weights"),
        (_bad_card, "invalid-model-card"),
        (_names_home, "private-path-in-file"),
    ],
)
def test_folders_without_a_whole_model_or_with_private_paths_are_refused(
    student: Path, damage: Callable[[Path], object], kind: str
) -> None:
    damage(student)
    with raises(kind):
        push_plan(student, "me/x")


def test_a_student_that_is_not_the_one_of_the_card_is_refused(runs_dir: Path, crild: Call) -> None:
    folder = make_run(runs_dir, results={"student": {**results()["student"], "content": "0" * 64}}) / "student"
    saved(folder, tiny("bert", layers=1))
    refused(crild("push", "rte-crild", "me/x", "--dry-run"), 3, "is not the one")


def test_an_exported_folder_goes_with_its_facts(hub: UploadHub, student: Path, crild: Call, tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((student / name).read_bytes())
    (folder / "model.onnx").write_bytes(b"onnx")
    (folder / EXPORT).write_text(json.dumps(ExportFacts("int8", "rte-crild", 1000).to_dict()))
    said = crild("push", str(folder), "our-team/rte-int8", "--yes")
    assert said.code == 0, said.err
    assert set(hub.repositories["our-team/rte-int8"].branches["main"]) == {path.name for path in folder.iterdir()}
    assert "no model card" in said.out
