"""Sweeps as arrays of SLURM jobs, with commands in SLURM's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.launch.slurm_submit import JobRequest
from engine.record.files import write_json
from engine.record.run import list_runs, read_status, update_status
from engine.record.status import Job
from engine.sweep.plan import Plan, plan
from engine.sweep.record import read_sweep_record, sweep_file
from engine.sweep.slurm import first_of_teachers, left, submit_to_slurm
from engine.sweep.spec import read_sweep
from engine.sweep.submit import stop_sweep
from tests.cli.conftest import Call, crild
from tests.errors import raises
from tests.launch.fake_slurm import Answer, calls, replace_slurm
from tests.sweep.sweeps import method, write

__all__ = ["crild"]
STUDY = """\
[sweep]
methods = ["a.toml", "b.toml"]
seeds = [1, 2]
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """SLURM's commands, which answer what a test says."""
    return replace_slurm(tmp_path, monkeypatch)


@pytest.fixture
def study(folder: Path) -> Path:
    """A sweep of four runs that share a teacher."""
    pytest.importorskip("submitit")
    method(folder, "a")
    method(folder, "b")
    return write(folder, STUDY)


def planned(study: Path) -> Plan:
    """The plan of a sweep file."""
    return plan(read_sweep(study))


def test_one_run_for_each_teacher_goes_first_and_the_array_of_the_others_waits_for_it(
    study: Path, runs: Path, slurm: Answer, tmp_path: Path
) -> None:
    slurm("sbatch", "Submitted batch job 77")
    found = planned(study)
    assert len(first_of_teachers(found.runs, runs)) == 1
    jobs = submit_to_slurm(found, runs, JobRequest(), at_once=2)
    assert [job.id for job in jobs] == ["77", "77_0", "77_1", "77_2"]
    script = (tmp_path / "script.sh").read_text()
    assert "#SBATCH --array=0-2%2" in script
    assert "#SBATCH --dependency=afterany:77" in script
    assert {(entry.state, entry.status.sweep) for entry in list_runs(runs) if entry.status} == {("queued", "study")}
    assert len(list_runs(runs)) == 4
    assert read_sweep_record(sweep_file(runs, "study")).state == "submitted"


def test_a_teacher_that_is_there_needs_nobody_to_go_first(study: Path, runs: Path, slurm: Answer) -> None:
    slurm("sbatch", "Submitted batch job 77")
    found = planned(study)
    submit_to_slurm(found, runs, JobRequest())
    teacher = runs / found.runs[0].run / "teacher"
    teacher.mkdir()
    write_json(teacher / "pointer.json", {"schema": 1})
    assert not first_of_teachers(found.runs, runs)


def test_what_is_left_is_neither_finished_nor_in_progress(study: Path) -> None:
    found = planned(study)
    names = [run.run for run in found.runs]
    states = dict(zip(names, ("finished", "queued", "failed", "preempted"), strict=True))
    assert [run.run for run in left(found, states, retry=False)] == names[3:]
    assert [run.run for run in left(found, states, retry=True)] == names[2:]
    assert [run.run for run in left(found, {}, retry=False)] == names


def test_a_repeated_sweep_submits_only_what_was_interrupted(study: Path, runs: Path, slurm: Answer) -> None:
    slurm("sbatch", "Submitted batch job 77")
    slurm("squeue", "PENDING|Priority")
    found = planned(study)
    submit_to_slurm(found, runs, JobRequest())
    assert submit_to_slurm(found, runs, JobRequest()) == []
    update_status(runs / found.runs[1].run, state="stopped")
    slurm("sbatch", "Submitted batch job 80")
    assert submit_to_slurm(found, runs, JobRequest()) == [Job("80")]
    assert read_status(runs / found.runs[1].run).job == Job("80")


def test_a_refused_array_leaves_no_runs(study: Path, runs: Path, slurm: Answer) -> None:
    slurm("sbatch", err="sbatch: error: invalid partition specified: gpx", code=1)
    with raises("sbatch-refused", "gpx"):
        submit_to_slurm(planned(study), runs, JobRequest(partition="gpx"))
    assert not list_runs(runs)


def test_stopping_the_sweep_cancels_every_job(study: Path, runs: Path, slurm: Answer, tmp_path: Path) -> None:
    slurm("sbatch", "Submitted batch job 77")
    slurm("scancel")
    submit_to_slurm(planned(study), runs, JobRequest())
    assert stop_sweep(runs, "study") is False
    assert sorted(line for line in calls(tmp_path) if line.startswith("scancel")) == [
        "scancel 77", "scancel 77_0", "scancel 77_1", "scancel 77_2",
    ]  # fmt: skip
    assert {entry.state for entry in list_runs(runs)} == {"stopped"}


def test_on_the_command_line(study: Path, runs: Path, slurm: Answer, crild: Call) -> None:
    slurm("sbatch", "Submitted batch job 77")
    slurm("squeue", "PENDING|Priority")
    said = crild("sweep", str(study), "--slurm", "--slots", "2", "--runs-dir", str(runs), "--json")
    assert said.code == 0
    assert said.json["jobs"] == ["77", "77_0", "77_1", "77_2"]
    again = crild("sweep", str(study), "--slurm", "--runs-dir", str(runs))
    assert again.code == 1  # nothing to submit, and not all finished: the table
    assert "4 queued" in again.out
    for words in (("--devices", "cpu"), ("--fail-fast",)):
        assert crild("sweep", str(study), "--slurm", *words, "--runs-dir", str(runs)).code == 2
    here = crild("sweep", str(study), "--runs-dir", str(runs))
    assert here.code == 2
    assert "--slurm" in here.err
    assert crild("sweep", str(study), "--slurm", "--plan", "--runs-dir", str(runs)).code == 0
    slurm("scancel")
    assert crild("sweep", str(study), "--stop", "--runs-dir", str(runs)).code == 0
    assert {entry.state for entry in list_runs(runs)} == {"stopped"}
