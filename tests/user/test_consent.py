"""Consent to a model's own code: where it comes from, what it covers, how processes hand it on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.launch.start import start_engine
from engine.preset.load import load_preset
from engine.sweep.queue import continue_queue, enqueue
from engine.user.consent import NEVER, NONE, Consent, consent_to, models_of, split_words
from engine.user.own_code import OwnCodeError, code_hash, may_run, own_code
from tests.conftest import REPOSITORY

COMMIT = "0123456789" * 4


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that declares code of its own."""
    return declaring(tmp_path / "model")


def declaring(folder: Path, **auto_map: Any) -> Path:
    folder.mkdir(parents=True)
    table = auto_map or {"AutoConfig": "conf.Config", "AutoModelForSequenceClassification": "own.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": table}))
    (folder / "own.py").write_text("x = 1\n")
    return folder


def consenting(folder: Path, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "settings.toml"
    file.write_text(f"[consent]\nremote_code = [{entry}]\n")
    monkeypatch.setenv("CRILD_CONFIG", str(file))


@pytest.mark.parametrize(
    ("config", "tokenizer", "classes"),
    [
        ({"AutoConfig": "conf.Config"}, None, ("conf.Config",)),
        ({"AutoModelForSequenceClassification": "m.M"}, None, ("m.M",)),
        ({"AutoModel": "m.M"}, None, None),  # a class that crild does not load
        (None, {"AutoTokenizer": ["t.Slow", None]}, ("t.Slow",)),
        (None, ["t.Slow", "t.Fast"], ("t.Slow", "t.Fast")),
        ("AutoConfig", 3, None),
        ({"AutoConfig": None}, {"AutoTokenizer": 3}, None),
    ],
)
def test_code_is_what_transformers_would_run(tmp_path: Path, config: Any, tokenizer: Any, classes: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": config}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": tokenizer}))
    found = own_code(tmp_path)
    assert (None if found is None else found.classes) == classes


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"auto_map": ' + b"[" * 100_000])
def test_a_broken_config_declares_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert own_code(tmp_path) is None


def test_without_consent_code_is_refused_with_the_way_out(model: Path) -> None:
    with pytest.raises(OwnCodeError) as caught:
        may_run(str(model), model, NONE, key="student.init")
    assert (caught.value.kind, caught.value.key, caught.value.exit_code) == (
        "model-code-not-trusted",
        "student.init",
        3,
    )
    for fact in (str(model), "conf.py and own.py", "--trust-remote-code", code_hash(model), "settings.toml"):
        assert fact in caught.value.sentence


def test_the_command_line_consents_to_the_models_it_names(model: Path, tmp_path: Path) -> None:
    assert may_run(str(model), model, Consent(frozenset([str(model)])))
    with pytest.raises(OwnCodeError):
        may_run(str(model), model, Consent(frozenset([str(tmp_path / "other")])))


def test_the_settings_consent_to_exactly_this_code(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consenting(tmp_path, f'{{ model = "{model}", code = "{code_hash(model)}" }}', monkeypatch)
    assert may_run(str(model), model, NONE)
    with pytest.raises(OwnCodeError):
        may_run(str(model), model, NEVER)
    (model / "own.py").write_text("x = 2\n")
    with pytest.raises(OwnCodeError):
        may_run(str(model), model, NONE)


def test_the_entry_that_the_refusal_names_is_the_right_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OwnCodeError) as caught:
        may_run(str(model), model, NONE)
    entry = caught.value.sentence.partition("{ ")[2].partition(" }")[0]
    consenting(tmp_path, f"{{ {entry} }}", monkeypatch)
    assert may_run(str(model), model, NONE)


def test_code_in_subfolders_and_behind_links_counts(model: Path, tmp_path: Path) -> None:
    before = code_hash(model)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "more.py").write_text("y = 1\n")
    (model / "sub").symlink_to(tmp_path / "elsewhere")
    (model / "loop").symlink_to(model)
    linked = code_hash(model)
    assert linked != before
    (tmp_path / "elsewhere" / "more.py").write_text("y = 2\n")
    assert code_hash(model) != linked


def test_a_hub_model_needs_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = declaring(tmp_path / "snapshots" / COMMIT)
    consenting(tmp_path, f'{{ model = "owner/name", commit = "{COMMIT}" }}', monkeypatch)
    assert may_run("owner/name", snapshot, NONE)
    other = declaring(tmp_path / "snapshots" / COMMIT[::-1])
    for name, folder in (("owner/name", other), ("owner/other", snapshot)):
        with pytest.raises(OwnCodeError) as caught:
            may_run(name, folder, NONE)
        assert folder.name in caught.value.sentence


def test_code_of_another_repository_never_runs(tmp_path: Path) -> None:
    folder = declaring(tmp_path / "m", AutoConfig="stranger/code--conf.Config")
    with pytest.raises(OwnCodeError) as caught:
        may_run(str(folder), folder, Consent(frozenset([str(folder)])))
    assert caught.value.kind == "code-elsewhere"
    assert "stranger/code" in caught.value.sentence


def test_a_command_line_holds_a_consent() -> None:
    consent = Consent(frozenset(["b c", "a"]))
    assert split_words([*consent.words(), "RUN", "more"]) == (["RUN", "more"], consent)
    assert split_words(["RUN"]) == (["RUN"], NONE)
    assert NONE.words() == []
    for words in (["--consent"], ["--consent", "x"], ["--consent", "{}"], ["--consent", "[1]"]):
        with pytest.raises(ValueError, match=r"."):
            split_words(words)


def test_the_models_of_a_preset() -> None:
    settings = ['teacher.tokenizer="/t"', 'student.init="/runs/mine"']
    preset = load_preset(["crild", "rte"], settings).preset
    assert models_of(preset) == {preset.teacher.model, "/t", "/runs/mine", "/runs/mine/student"}
    assert consent_to([preset], trust=False) == NONE
    assert models_of(load_preset(["quickstart"]).preset) == frozenset()


# -- processes

ENGINE = """
import json, sys, time
from pathlib import Path
from engine.record.session import RunSession
run_dir = Path(sys.argv[-1])
with RunSession(run_dir) as session:
    (run_dir.parent / "argv.jsonl").open("a").write(json.dumps(sys.argv[1:]) + "\\n")
    session.finish("finished", 0)
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of an engine that notes its arguments."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (tmp_path / "noting.py").write_text(ENGINE)
    return [sys.executable, str(tmp_path / "noting.py")]


def noted(runs: Path, count: int) -> list[list[str]]:
    import time

    deadline = time.monotonic() + 60
    file = runs / "argv.jsonl"
    while time.monotonic() < deadline:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= count:
            return [json.loads(line) for line in lines]
        time.sleep(0.05)
    raise AssertionError("the engines did not start")


def test_engines_of_runs_and_queues_get_the_consent(tmp_path: Path, engine: list[str]) -> None:
    from tests.cli.samples import make_run

    runs = tmp_path / "runs"
    consent = Consent(frozenset(["/models/mine"]))
    expected = ["--consent", '["/models/mine"]']
    first, second, third = (make_run(runs, name, state="created") for name in ("one", "two", "three"))
    start_engine(first, consent=consent, command=engine)
    enqueue([second, third], consent=consent, command=engine)
    assert [words[:-1] for words in noted(runs, 3)] == [expected] * 3
    fourth = make_run(runs, "four", state="queued")
    continue_queue(fourth, consent=consent, command=engine)
    assert [words[:-1] for words in noted(runs, 4)] == [expected] * 4
    for path in runs.rglob("*"):
        if path.is_file() and path.name != "argv.jsonl":
            assert b"/models/mine" not in path.read_bytes(), "consent passes through no file"
