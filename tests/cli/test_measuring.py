from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import engine.launch.foreground
from crild_tui.cli import doctor
from engine.errors import ModelError
from engine.preset.load import load_preset
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.conftest import REPOSITORY

PLAN: dict[str, Any] = {
    "stages": [
        {"name": "teacher", "steps": 250, "examples": 8000, "epochs": 1.0, "seconds": 20.0},
        {"name": "ild", "steps": 1000, "examples": 8000, "epochs": 4.0, "seconds": 61.0},
    ],
    "teacher": {"model": "scratch", "parameters": 1_900_000, "finetune": True, "cached": False},
    "student": {"parameters": 950_000, "layers": 2},
    "device": "cpu",
    "precision": "bf16",
    "threads": 2,
    "memory_bytes": 800_000_000,
    "missing": [],
    "notes": ["12 of 8000 inputs are longer than 48"],
}
EVALUATION: dict[str, Any] = {
    "model": "somewhere",
    "task": "mnli",
    "splits": {
        "dev_matched": {"metrics": {"accuracy": 0.84}, "examples": 9815},
        "dev_mismatched": {"metrics": {"accuracy": 0.835}, "examples": 9832},
    },
    "parameters": 66_000_000,
    "notes": [],
}
DOCTOR = {
    "torch": "2.9.0", "cuda": "12.8", "python": "3.11.7", "threads": 2, "memory_bytes": 25e9, "memory_free_bytes": 20e9,
    "devices": [{"device": "cpu", "bf16": True}], "packages": {"numpy": "2.4", "POT": None},
}  # fmt: skip
Answers = Callable[..., list[tuple[str, list[str]]]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """The engine's tools answer what is given, by name; the list fills with what they were asked."""

    def give(**known: Any) -> list[tuple[str, list[str]]]:
        asked: list[tuple[str, list[str]]] = []

        def run_tool(tool: str, args: Sequence[str] = (), **_: object) -> Any:
            asked.append((tool, [*args, *(Path(a).read_text() for a in args if a.endswith(".toml"))]))
            if isinstance(known[tool], Exception):
                raise known[tool]
            return json.loads(json.dumps(known[tool]))

        monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
        return asked

    return give


def test_dry_run_shows_the_plan_and_makes_nothing(
    crild: Call, answers: Answers, preset: Path, runs_dir: Path, tmp_path: Path
) -> None:
    asked = answers(plan=PLAN)
    said = crild("run", str(preset), "--set", "stage.kd.epochs=7", "--seeds", "1,2", "--dry-run")
    assert said.code == 0
    for words in ("2 runs one after the other, seeds 1, 2", "1,250", "1:21", "scratch, 1.9 M parameters; to be fine-tuned",
                  "2 layers, 950 k parameters", "cpu, bf16, 2 threads\n", "memory:  about 800 MB", "measured on a few steps", "12 of 8000", "nothing was started"):  # fmt: skip
        assert words in said.out
    assert not runs_dir.exists()
    ((tool, (_, text)),) = asked
    (tmp_path / "asked.toml").write_text(text)
    assert (tool, load_preset([str(tmp_path / "asked.toml")]).preset.stage[1].epochs) == ("plan", 7)


def test_dry_run_lists_findings(crild: Call, answers: Answers, preset: Path) -> None:
    findings = [
        {"kind": "texts-cut", "severity": "note", "sentence": "5 inputs were cut", "facts": {}},
        {"kind": "unknown-tokens", "severity": "warning", "sentence": "all tokens are unknown", "facts": {}},
    ]
    answers(plan={**PLAN, "findings": findings})
    said = crild("run", str(preset), "--dry-run")
    assert said.code == 0
    assert "\n5 inputs were cut\nwarning: all tokens are unknown\n" in said.out
    assert crild("run", str(preset), "--dry-run", "--json").json["findings"] == findings


def test_dry_run_names_what_is_missing_and_exits_3(crild: Call, answers: Answers, preset: Path) -> None:
    answers(plan={"stages": [], "teacher": None, "missing": ["the hub cannot be reached"], "notes": []})
    said = crild("run", str(preset), "--dry-run")
    assert said.code == 3
    assert "missing: the hub cannot be reached" in said.out


def test_dry_run_says_the_disk_that_it_takes_and_warns_where_there_is_less(
    crild: Call, answers: Answers, preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"checkpoints": 684_000_000, "checkpoints_stay": False, "student": 70_000_000, "teacher": 90_000_000}
    answers(plan={**PLAN, "disk": disk})
    said = crild("run", str(preset), "--dry-run")
    for fact in ("684 MB", "deleted when it finishes", "70.0 MB", "90.0 MB"):
        assert fact in said.out
    assert "warning" not in said.out
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500_000_000))
    assert "warning: 500 MB are free" in crild("run", str(preset), "--dry-run").out
    answers(plan={**PLAN, "disk": {**disk, "checkpoints_stay": True}})
    assert "which stay" in crild("run", str(preset), "--dry-run").out


def test_dry_run_as_json_is_the_plan(crild: Call, answers: Answers, preset: Path) -> None:
    answers(plan=PLAN)
    document = crild("run", str(preset), "--dry-run", "--json").json
    assert document["stages"] == PLAN["stages"]
    assert document["seeds"] == [1]


def test_dry_run_of_a_chain_plans_each_run_with_the_shape_of_the_first_ones_student(
    crild: Call, answers: Answers, preset: Path, runs_dir: Path, tmp_path: Path
) -> None:
    asked = answers(plan=PLAN)
    other = tmp_path / "other.toml"
    other.write_text(f'extends = "{preset}"\n[student]\nlayers = 1\n')
    assert load_preset([str(preset)]).preset.student.layers == 2
    words = ("run", str(preset), "--then", str(other), "--dry-run")
    said = crild(*words)
    assert said.code == 0
    for line in (
        "1 of 2: toy-entailment by small",
        "2 of 2: toy-entailment by other",
        "its student starts as that of the run before",
    ):
        assert said.out.count(line) == 1
    assert said.out.count("nothing was started") == 1
    assert not runs_dir.exists()
    assert len(asked) == 2
    for _, (_, text) in asked:
        (tmp_path / "asked.toml").write_text(text)
        assert load_preset([str(tmp_path / "asked.toml")]).preset.student.layers == 2
    documents = crild(*words, "--json").json
    assert [document["stages"] for document in documents] == [PLAN["stages"]] * 2
    answers(plan={**PLAN, "missing": ["the hub cannot be reached"]})
    assert crild(*words).code == 3


def test_dry_run_of_a_chain_says_that_a_later_teacher_reads_other_tokens(
    crild: Call, answers: Answers, preset: Path
) -> None:
    words = ("run", str(preset), "--then", str(preset), "--dry-run")
    shared = "the stage ild compares hidden, token by token, so both must read the same tokens"
    for vocabulary, code in (
        ({"teacher": "b", "student": "a", "shared": shared}, 3),
        ({"teacher": "a", "student": "a", "shared": shared}, 0),
        ({"teacher": "b", "student": "a", "shared": None}, 0),
        (None, 0),
    ):
        answers(plan={**PLAN, "vocabulary": vocabulary})
        said = crild(*words)
        assert (said.code, said.out.count(shared)) == (code, code // 3)
        missing = [document["missing"] for document in crild(*words, "--json").json]
        assert [len(each) for each in missing] == [0, code // 3]


def test_evaluate_measures_the_student_of_a_run_on_its_own_task(crild: Call, answers: Answers, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    asked = answers(evaluate=EVALUATION)
    said = crild("evaluate", "rte-crild", "--device", "cpu")
    assert said.code == 0
    assert "dev_mismatched" in said.out
    assert "83.50" in said.out
    request = json.loads(asked[0][1][0])
    assert (request["model"], request["device"]) == (str(run_dir / "student"), "cpu")


def test_evaluate_of_a_model_wants_its_task(crild: Call, answers: Answers, tmp_path: Path) -> None:
    asked = answers(evaluate=EVALUATION)
    said = crild("evaluate", "some/model")
    assert said.code == 2
    assert "--preset" in said.err
    assert crild("evaluate", "some/model", "--preset", "rte", "--split", "dev_matched", "--json").json["splits"] == {
        "dev_matched": EVALUATION["splits"]["dev_matched"]
    }
    assert json.loads(asked[0][1][0])["model"] == "some/model"


def test_evaluate_names_the_sets_there_are(crild: Call, answers: Answers, runs_dir: Path) -> None:
    make_run(runs_dir)
    answers(evaluate=EVALUATION)
    said = crild("evaluate", "rte-crild", "--split", "test")
    assert said.code == 2
    assert "dev_matched, dev_mismatched" in said.err


def test_evaluate_of_an_unfinished_run_says_so(crild: Call, answers: Answers, runs_dir: Path) -> None:
    make_run(runs_dir, state="stopped")
    answers(evaluate=EVALUATION)
    assert "has no student yet" in crild("evaluate", "rte-crild").err


def test_a_fault_of_the_engines_tool_keeps_its_exit_code(crild: Call, answers: Answers, runs_dir: Path) -> None:
    make_run(runs_dir)
    answers(evaluate=ModelError("the checkpoint is truncated", file="model.safetensors"))
    said = crild("evaluate", "rte-crild")
    assert said.code == 3
    assert said.err.endswith("error: model.safetensors: the checkpoint is truncated\n")


def test_doctor_advises_on_what_is_missing(crild: Call, answers: Answers) -> None:
    answers(doctor=DOCTOR)
    said = crild("doctor")
    assert said.code == 1
    assert "packages: install POT" in said.out
    assert "nvidia-smi" in said.out
    assert "HF_HUB_OFFLINE" in said.out


def test_doctor_as_json_and_with_all_well(crild: Call, answers: Answers) -> None:
    answers(doctor={**DOCTOR, "packages": {"numpy": "2.4"}})
    said = crild("doctor", "--json")
    assert said.code == 0
    states = {finding["what"]: finding["state"] for finding in said.json["findings"]}
    assert (states["torch"], states["GPU"], states["packages"]) == ("good", "note", "good")


def test_doctor_says_when_the_engine_does_not_load(crild: Call, answers: Answers) -> None:
    from engine.errors import RunError

    answers(doctor=RunError("the engine's doctor ended with exit code 1 without a result"))
    said = crild("doctor")
    assert said.code == 1
    assert "install crild again" in said.out


def test_doctor_names_a_hub_that_cannot_be_reached(
    crild: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(doctor=DOCTOR)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://user:secret@127.0.0.1:9")
    said = crild("doctor")
    assert "http://127.0.0.1:9 cannot be reached" in said.out
    assert "HTTPS_PROXY" in said.out
    assert "secret" not in said.out


def test_doctor_asks_the_mirror_that_is_set(crild: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    import http.server
    import threading

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    answers(doctor=DOCTOR)
    assert f"127.0.0.1:{server.server_port} answers" in crild("doctor").out
    server.shutdown()


def test_doctor_names_a_folder_that_cannot_be_written(
    crild: Call, answers: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers(doctor=DOCTOR)
    monkeypatch.setattr("os.access", lambda *_: False)
    said = crild("doctor", "--runs-dir", str(tmp_path))
    assert said.code == 1
    assert "choose another folder with --runs-dir" in said.out


BATCH: dict[str, Any] = {
    "batch_size": 32,
    "tried": [
        {"batch_size": size, "examples_per_second": rate, "memory_bytes": 500_000_000 + size}
        for size, rate in ((8, 100.0), (16, 180.0), (32, 240.0), (64, 241.0), (128, 239.0))
    ],
    "ended": "no gain",
    "device": "cpu",
    "learning_rate": 3e-5,
    "stages": ["kd"],
}


def test_the_batch_size_that_was_measured_is_a_number_in_the_runs_preset(
    crild: Call, answers: Answers, preset: Path, tmp_path: Path
) -> None:
    asked = answers(batch=BATCH, plan=PLAN)
    said = crild("run", str(preset), "--auto-batch", "--dry-run")
    assert said.code == 0
    for words in (
        "train.batch_size = 32 (stages kd): larger ones are no faster",
        "learning rate stays 3e-05",
        "240",
        "500 MB",
    ):
        assert words in said.err
    assert [tool for tool, _ in asked] == ["batch", "plan"]
    for (_, (_, text)), size in zip(asked, (load_preset([str(preset)]).preset.train.batch_size, 32), strict=True):
        (tmp_path / "asked.toml").write_text(text)
        assert load_preset([str(tmp_path / "asked.toml")]).preset.train.batch_size == size
    assert "timing" not in crild("run", str(preset), "--auto-batch", "--dry-run", "--quiet").err


def test_where_measuring_here_says_nothing_the_batch_size_is_not_measured(
    crild: Call, answers: Answers, preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answers()
    (tmp_path / "bin").mkdir()
    for command in ("sbatch", "srun"):
        (tmp_path / "bin" / command).touch(mode=0o755)  # never called
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    for words, reason in (
        (["--processes", "2"], "several processes"),
        (["--set", "train.batch_size=16"], "--set gives train.batch_size, too"),
        (["--slurm"], "the run is for another machine"),
    ):
        said = crild("run", str(preset), "--auto-batch", *words)
        assert said.code == 2, words
        assert reason in said.err
    assert not asked


def test_doctor_knows_the_extras_and_says_which_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert set(doctor.EXTRAS) | {"all", "trackers"} == set(document["project"]["optional-dependencies"])
    there = {"onnx", "onnxruntime", "ray"}

    def version(name: str) -> str:
        if name not in there:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    wanted = [f"{name}>=1 ; extra == '{extra}'" for extra, name in
              (("onnx", "onnx"), ("onnx", "onnxruntime"), ("onnx", "onnxscript"), ("ray", "ray"), ("slurm", "submitit"))]  # fmt: skip
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    (found,) = doctor.extras()
    assert (
        "onnx (crild export) not installed, ray (crild sweep --ray) installed, search (crild search) not installed, slurm (--slurm) not installed"
        in found.found
    )
    assert "web (crild serve) not installed" in found.found, "an installation that is older than the source tree"
    assert found.advice == "if you need one: pip install 'crild[images]'"
