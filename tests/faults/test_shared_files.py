"""Presets, models and runs of a stranger, through every command line: nothing of theirs runs unless the user consents."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import engine.launch.foreground
import engine.worker
from engine.record.events import read_events
from engine.record.run import read_status, update_status
from engine.record.stop_request import StopRequest
from engine.user.consent import split_words
from engine.user.own_code import code_hash
from tests.faults.conftest import QUICK, Crild, Refused, Tiny

MODEL = """
from pathlib import Path
with Path({canary!r}).open("a") as file:
    file.write({name!r} + "\\n")
"""
CONFIG = "from transformers import BertConfig\nclass EvilConfig(BertConfig):\n    pass\n"
CLASSIFIER = (
    "from transformers import BertForSequenceClassification\nfrom .evil_config import EvilConfig\n"
    "class EvilForSequenceClassification(BertForSequenceClassification):\n    config_class = EvilConfig\n"
)
WORDS = (
    "from transformers import PreTrainedTokenizerFast\nclass EvilTokenizerFast(PreTrainedTokenizerFast):\n    pass\n"
)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """Names what has run."""
    return tmp_path / "canary"


@pytest.fixture
def evil(tiny: Tiny, canary: Path) -> Tiny:
    """A tiny preset whose teacher comes with code of its own, for config, model and tokenizer."""
    for name, code in {"evil_config": CONFIG, "evil_model": CLASSIFIER, "evil_tokenizer": WORDS}.items():
        (tiny.teacher / f"{name}.py").write_text(MODEL.format(canary=str(canary), name=name) + code)
    change(
        tiny.teacher / "config.json",
        auto_map={
            "AutoConfig": "evil_config.EvilConfig",
            "AutoModelForSequenceClassification": "evil_model.EvilForSequenceClassification",
        },
    )
    change(
        tiny.teacher / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "evil_tokenizer.EvilTokenizerFast"]}
    )
    return tiny


def change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers copies code before it runs it; a later test must not find it imported already."""
    import transformers.dynamic_module_utils as dynamic

    before = set(sys.modules)
    monkeypatch.setattr(dynamic, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules)
    for name in [name for name in before if name.startswith("transformers_modules")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def tools_here(monkeypatch: pytest.MonkeyPatch, engine_here: None) -> None:
    """Tools of the engine, and engines, work in this process."""

    def run_tool(tool: str, args: Sequence[str] = (), **_: Any) -> Any:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            rest, consent = split_words(args)
            code = engine.worker.tool(tool, rest, StopRequest(), consent)
        answer = json.loads(out.getvalue().splitlines()[-1])
        if code:
            raise engine.launch.foreground.error_of(answer["error"])
        return answer

    monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)


def a_run(crild: Crild, evil: Tiny, runs_dir: Path, *words: str) -> Path:
    """A run of the evil preset, with whose code was trusted by `words`."""
    said = crild(*evil.run(*QUICK), "--name", "mine", "--quiet", *words)
    assert said.code == 0, said.err
    return runs_dir / "mine-s7"


# -- a model's own code


@pytest.mark.parametrize("with_consent", [False, True])
def test_looking_never_runs_a_models_code(
    crild: Crild, tools_here: None, evil: Tiny, canary: Path, runs_dir: Path, tmp_path: Path, with_consent: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    consent = ("--trust-remote-code",) if with_consent else ()
    if with_consent:
        trusting(tmp_path, evil.teacher, monkeypatch)
    validated = crild("presets", "validate", str(evil.preset))
    assert validated.code == 0
    assert all(fact in validated.err for fact in ("teacher.model", "evil_config.py", "--trust-remote-code"))
    assert crild("presets", "show", str(evil.preset)).code == 0
    sweep = tmp_path / "study.toml"
    sweep.write_text(f'[sweep]\nmethods = ["{evil.preset}"]\nseeds = [1]\n')
    assert crild("sweep", str(sweep), "--plan", *consent).code == 0
    planned = crild(*evil.run(*QUICK), "--dry-run", *consent)
    assert planned.code == (0 if with_consent else 3)
    assert "not checked" in planned.out
    assert ("missing: " in planned.out) != with_consent
    assert not canary.exists()
    assert not runs_dir.exists()


@pytest.mark.parametrize("words", [(), ("--seeds", "1,2"), ("--detach",)])
def test_a_run_needs_consent(evil: Tiny, canary: Path, refused: Refused, words: tuple[str, ...]) -> None:
    told = refused(*evil.run(*QUICK), *words, code=3)
    assert all(fact in told for fact in (str(evil.teacher), "evil_model.py", "--trust-remote-code", "settings.toml"))
    assert not canary.exists()


def test_a_sweep_needs_consent(evil: Tiny, canary: Path, refused: Refused, tmp_path: Path) -> None:
    sweep = tmp_path / "study.toml"
    sweep.write_text(f'[sweep]\nmethods = ["{evil.preset}"]\nseeds = [1]\n')
    assert "--trust-remote-code" in refused("sweep", str(sweep), code=3)
    assert not canary.exists()


def test_the_engine_itself_needs_consent(
    crild: Crild, engine_here: None, evil: Tiny, canary: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of the hub may be fetched only by the engine, after the first checks."""
    monkeypatch.setattr("engine.preflight.check.own_code_problems", lambda *_: ())
    said = crild(*evil.run(*QUICK), "--name", "mine", "--quiet")
    assert (said.code, read_status(runs_dir / "mine-s7").state) == (3, "failed")
    assert "--trust-remote-code" in said.err
    assert not canary.exists()


def trusting(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter a model's code into the user's settings."""
    settings = folder / "settings.toml"
    settings.write_text(f'[consent]\nremote_code = [{{ model = "{model}", code = "{code_hash(model)}" }}]\n')
    monkeypatch.setenv("CRILD_CONFIG", str(settings))


def test_with_consent_the_code_runs_and_each_command_asks_for_itself(
    crild: Crild, tools_here: None, evil: Tiny, canary: Path, runs_dir: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run_dir = a_run(crild, evil, runs_dir, "--trust-remote-code", "--set", "train.keep_for_extending=true")
    assert {"evil_config", "evil_model", "evil_tokenizer"} <= set(canary.read_text().split())
    texts = [event["text"] for event in read_events(run_dir, {"message"})]
    assert any(str(evil.teacher) in text and "own code" in text for text in texts)
    assert "trust" not in (run_dir / "preset.toml").read_text()
    for file in [path for path in run_dir.rglob("*.json") if path.parent.name != "student"]:
        if file.name != "environment.json":  # which has the command line
            assert '"consent"' not in file.read_text()

    canary.unlink()
    forget_modules()
    for words in (("probe", "mine"), ("evaluate", "mine"), ("resume", "mine", "--set", "stage.kd.epochs=1")):
        said = crild(*words)
        assert said.code == 3, said.out + said.err
        assert "--trust-remote-code" in said.err
    assert crild("evaluate", str(evil.teacher), "--preset", str(evil.preset)).code == 3
    for looking in ("show mine", "runs", "report", "compare mine mine", "logs mine"):
        crild(*looking.split())
    assert not canary.exists()

    trusted = crild("evaluate", "mine", "--trust-remote-code")
    assert trusted.code == 0, trusted.err
    assert canary.exists()
    assert crild("probe", "mine", "--trust-remote-code").code == 0
    assert crild("resume", "mine", "--quiet", "--set", "stage.kd.epochs=1", "--trust-remote-code").code == 0
    canary.unlink()
    forget_modules()
    trusting(tmp_path, evil.teacher, monkeypatch)
    crild("evaluate", str(evil.teacher), "--preset", str(evil.preset))
    assert canary.exists(), "the user's settings consent"


def forget_modules() -> None:
    for name in [name for name in sys.modules if name.startswith("transformers_modules.")]:
        del sys.modules[name]


def test_a_model_can_be_loaded_without_its_code(
    crild: Crild, tools_here: None, evil: Tiny, canary: Path, runs_dir: Path
) -> None:
    evil.spoil("[teacher]\n", "[teacher]\ntrust_remote_code = false\n")
    run_dir = a_run(crild, evil, runs_dir)
    for name in ("config.json", "tokenizer_config.json"):
        assert "auto_map" not in (run_dir / "student" / name).read_text(), "the student needs no code"
    assert crild(*evil.run(*QUICK), "--dry-run").code == 0
    assert crild("evaluate", "mine").code == 0
    assert crild("probe", "mine").code == 0
    assert not canary.exists()


# -- what a preset says


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[notify]\ncommand = 'touch {canary}'\n", "[notify]"), ("[teacher]\ntrust_remote_code = true\n", "[consent]")],
)
def test_a_preset_can_execute_nothing(
    crild: Crild, refused: Refused, tiny: Tiny, canary: Path, tmp_path: Path, text: str, kind: str
) -> None:
    base = tmp_path / "base.toml"
    base.write_text(text.format(canary=canary))
    heir = tmp_path / "heir.toml"
    heir.write_text(f"extends = '{base}'\n")
    key = {"[notify]": "notify.command", "[consent]": "teacher.trust_remote_code"}[kind]
    override = f"{key}=touch {canary}" if "command" in key else f"{key}=true"
    for words in ((str(base),), (str(heir),), ("--set", override)):
        told = refused("run", str(tiny.preset), *words)
        assert all(fact in told for fact in (kind, "settings.toml"))
    for line in (
        ("run", str(tiny.preset), str(base), "--dry-run"),
        ("presets", "validate", "--merged", str(tiny.preset), str(base)),
    ):
        said = crild(*line)
        assert said.code == 2
        assert "base.toml:2" in said.err
    sweep = tmp_path / "study.toml"
    sweep.write_text(f'[sweep]\nmethods = [["{tiny.preset}", "{base}"]]\nseeds = [1]\n')
    assert "base.toml:2" in refused("sweep", str(sweep))
    assert not canary.exists()


def test_an_old_run_resumes_and_its_keys_are_ignored(
    crild: Crild, engine_here: None, tiny: Tiny, canary: Path, runs_dir: Path
) -> None:
    run_dir = a_run(crild, tiny, runs_dir)
    old = run_dir / "preset.toml"
    text = old.read_text().replace("[teacher] ", "[notify]\ncommand = 'touch CANARY'\n[teacher] ", 1)
    assert "[notify]" in text
    old.write_text(text.replace("CANARY", str(canary)).replace("\nmodel = ", "\ntrust_remote_code = true\nmodel = ", 1))
    update_status(run_dir, state="stopped")
    shown = crild("show", "mine")
    assert shown.code == 0
    for name in ("events.2.jsonl",):
        assert not (run_dir / name).exists()
    said = crild("resume", "mine")
    assert said.code == 0, said.err
    assert "notify.command" in said.err
    assert "teacher.trust_remote_code" in said.err
    assert not canary.exists()
    assert crild("resume", "mine", "--set", f"notify.command=touch {canary}").code == 2
    assert not canary.exists()


def test_an_old_run_that_needs_code_resumes_with_consent_alone(
    crild: Crild, engine_here: None, evil: Tiny, canary: Path, runs_dir: Path
) -> None:
    run_dir = a_run(crild, evil, runs_dir, "--trust-remote-code")
    old = run_dir / "preset.toml"
    old.write_text(old.read_text().replace("\nmodel = ", "\ntrust_remote_code = true\nmodel = ", 1))
    update_status(run_dir, state="stopped")
    canary.unlink()
    forget_modules()
    said = crild("resume", "mine")
    assert said.code == 3
    assert "--trust-remote-code" in said.err
    assert not canary.exists()
    assert crild("resume", "mine", "--trust-remote-code", "--quiet").code == 0
    assert canary.exists()


# -- other ways


def test_the_configuration_of_a_repository_runs_nothing(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared folder may be a git repository, whose configuration names commands."""
    from engine.record.environment import git_revision

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True)

    folder = tmp_path / "shared"
    folder.mkdir()
    git("init", "-q")
    git("config", "user.email", "a@b.c")
    git("config", "user.name", "a")
    (folder / "data.csv").write_text("text,label\n")
    git("add", ".")
    git("commit", "-qm", "one")
    assert git_revision(folder) == {"commit": git_revision(folder)["commit"], "changed": False}  # type: ignore[index]
    (folder / "data.csv").write_text("text,other\n")
    assert git_revision(folder)["changed"] is True  # type: ignore[index]
    git("config", "core.fsmonitor", f"touch {canary}; false")
    git_revision(folder)
    assert not canary.exists()
    (folder / ".gitattributes").write_text("*.csv filter=evil\n")
    git("config", "filter.evil.clean", f"touch {canary}; cat")
    assert git_revision(folder)["changed"] is None  # type: ignore[index]
    assert not canary.exists()


def test_completion_offers_no_name_that_a_shell_would_run(runs_dir: Path) -> None:
    from crild_tui.cli.completion import candidates

    for name in ("mine", "x);touch canary;(", "$(id)", "`id`", "a b", "-x", ".hidden"):
        (runs_dir / name).mkdir(parents=True)
        (runs_dir / name / "preset.toml").touch()
    assert candidates(["show"], "") == [("mine", ""), ("latest", "")]


def test_engines_look_for_programs_in_absolute_folders_alone(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine's working directory is the run directory: `.` in PATH would find a stranger's git there."""
    from engine.launch.start import engine_environment

    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "git").write_text(f"#!/bin/sh\ntouch {canary}\n")
    (run_dir / "git").chmod(0o755)
    path = shutil.which("sh")
    assert path is not None
    monkeypatch.setenv("PATH", f".::{Path(path).parent}")
    code = "import subprocess; subprocess.run(['git', '--version'])"
    subprocess.run(
        [sys.executable, "-c", code], cwd=run_dir, env=engine_environment(), check=False, capture_output=True
    )
    assert not canary.exists()
