"""Runs as jobs of SLURM on the command line, with commands in SLURM's place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from engine.launch.slurm_template import EXAMPLE
from engine.record.run import list_runs, read_status
from engine.record.status import Job
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.launch.fake_slurm import Answer, calls, replace_slurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """SLURM's commands, which answer what a test says."""
    return replace_slurm(tmp_path, monkeypatch)


def test_a_run_is_submitted_listed_shown_and_cancelled(
    crild: Call, slurm: Answer, runs_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 77")
    said = crild("run", "quickstart", "--slurm", "--partition", "gpu", "--device", "cuda:7", "--name", "q", "--json")
    assert (said.code, said.json["run"], said.json["job"], said.json["state"]) == (0, "q-s1", "77", "queued")
    assert "--partition=gpu" in (tmp_path / "script.sh").read_text()
    before = calls(tmp_path)
    assert "77" in crild("runs").out
    assert crild("runs", "--json").json[0]["job"]["id"] == "77"
    assert calls(tmp_path) == before  # a list asks nobody
    slurm("squeue", "PENDING|Priority")
    shown = crild("show", "q-s1")
    assert "SLURM job 77" in shown.out
    assert "Priority" in shown.out
    slurm("scancel")
    assert crild("stop", "q-s1").code == 0
    assert read_status(runs_dir / "q-s1").state == "stopped"
    assert "scancel 77" in calls(tmp_path)


def test_a_job_that_slurm_refuses_leaves_no_run(crild: Call, slurm: Answer, runs_dir: Path) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", err="sbatch: error: Batch job submission failed: Invalid account", code=1)
    said = crild("run", "quickstart", "--slurm")
    assert said.code == 2
    assert "Invalid account" in said.err
    assert "--account" in said.err
    assert not list_runs(runs_dir)


def test_the_runs_of_a_chain_wait_for_each_other(crild: Call, slurm: Answer, runs_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 77")
    words = ("run", "quickstart", "--then", "quickstart", "--slurm", "--seeds", "1,2", "--name", "a", "--json")
    said = crild(*words)
    assert said.code == 0
    assert [(run["run"], run["job"]) for run in said.json] == [
        ("a-s1", "77_0"), ("a-2-s1", "77_0"), ("a-s2", "77_1"), ("a-2-s2", "77_1"),
    ]  # fmt: skip
    assert sum(call.startswith("sbatch") for call in calls(tmp_path)) == 2
    assert "--dependency=afterany:77" in (tmp_path / "script.sh").read_text()
    assert tomllib.loads((runs_dir / "a-2-s2" / "preset.toml").read_text())["student"]["init"] == str(runs_dir / "a-s2")


def test_of_a_chain_that_slurm_takes_in_part_nothing_is_left_waiting(
    crild: Call, slurm: Answer, runs_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 77")
    script = tmp_path / "commands" / "sbatch"
    refusal = 'grep -q afterany "$1" && { echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; }'
    script.write_text(script.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{refusal}\n"))
    slurm("scancel")
    said = crild("run", "quickstart", "--then", "quickstart", "--slurm", "--name", "a")
    assert said.code != 0
    assert "QOSMaxSubmitJobPerUserLimit" in said.err
    assert "scancel 77" in calls(tmp_path)
    assert [(entry.id, entry.state) for entry in list_runs(runs_dir)] == [("a-s1", "stopped")]


def test_a_stopped_run_is_submitted_again(crild: Call, slurm: Answer, runs_dir: Path) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 78")
    run_dir = make_run(runs_dir, state="stopped", job=Job("77"))
    assert crild("resume", run_dir.name, "--slurm").code == 0
    assert (read_status(run_dir).state, read_status(run_dir).job) == ("queued", Job("78"))


def test_a_job_that_ended_in_the_queue_can_be_resumed(crild: Call, slurm: Answer, runs_dir: Path) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 78")
    slurm("squeue", "NODE_FAIL|None")
    run_dir = make_run(runs_dir, state="queued", job=Job("77"))
    assert crild("resume", run_dir.name, "--slurm").code == 0
    assert read_status(run_dir).job == Job("78")


@pytest.mark.parametrize("option", [("--partition", "x"), ("--time", "5"), ("--gpus", "1"), ("--slurm-template", "f")])
def test_options_of_slurm_need_slurm(crild: Call, runs_dir: Path, option: tuple[str, str]) -> None:
    said = crild("run", "quickstart", *option)
    assert said.code == 2
    assert option[0] in said.err
    assert not list_runs(runs_dir)


def test_the_template_is_printed(crild: Call) -> None:
    assert crild("slurm", "template").out == EXAMPLE


def test_the_template_of_the_settings_is_used(
    crild: Call, slurm: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 77")
    (tmp_path / "settings.toml").write_text(f'[slurm]\ntemplate = "{tmp_path}/mine.slurm"\n')
    monkeypatch.setenv("CRILD_CONFIG", str(tmp_path / "settings.toml"))
    said = crild("run", "quickstart", "--slurm")
    assert said.code == 2
    assert "mine.slurm" in said.err
    (tmp_path / "mine.slurm").write_text("#SBATCH --qos=long\nmodule load cuda\n")
    assert crild("run", "quickstart", "--slurm").code == 0
    assert "--qos=long" in (tmp_path / "script.sh").read_text()
    assert "module load cuda" in (tmp_path / "script.sh").read_text()
