"""Runs as jobs of SLURM, with commands in its place that answer what a test asks of them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.launch import slurm_job
from engine.launch.signals import stop
from engine.launch.slurm import JobState, job_state, seconds_left
from engine.launch.slurm_job import EngineJob, current_job, work
from engine.launch.slurm_submit import JobRequest, check_request, minutes, submit
from engine.launch.slurm_template import EXAMPLE, read_template
from engine.launch.slurm_watch import settle
from engine.record.files import write_json
from engine.record.owner import Owner
from engine.record.paths import JOBS
from engine.record.run import read_run, read_status, update_status
from engine.record.status import LOCAL, Job
from engine.user.consent import NONE
from tests.errors import raises
from tests.launch.fake_engines import COMMAND, clear, make, reached
from tests.launch.fake_slurm import Answer, calls, replace_slurm

FAR = replace(Owner.current(), host="far.example", boot_id="far")
JOB = Job("77")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs whose engines are gone when the test ends."""
    yield tmp_path / "runs"
    clear(tmp_path / "runs")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """SLURM's commands, which answer what a test says."""
    return replace_slurm(tmp_path, monkeypatch)


def pretend(run: Path, **changes: Any) -> None:
    """Write another status than the engine's."""
    write_json(run / "status.json", replace(read_status(run), **changes).to_dict())


# -- templates


def test_a_template_has_options_and_commands(tmp_path: Path) -> None:
    file = tmp_path / "job.slurm"
    file.write_text(
        "#!/bin/bash\n#SBATCH -p gpu -A me\n#SBATCH --mem=32G  # all of it\n#SBATCH --exclusive\n##SBATCH --time=1\n"
        "#SBATCH --signal=USR1@200\n\nmodule load cuda\n# a comment\nexport A='b c'\n"
    )
    template = read_template(file)
    assert template.options == {"partition": "gpu", "account": "me", "mem": "32G", "exclusive": True}
    assert template.commands == ("module load cuda", "export A='b c'")
    assert template.signal_seconds == 200


def test_the_template_that_crild_writes_can_be_read_as_it_is_and_with_every_line_in_use(tmp_path: Path) -> None:
    file = tmp_path / "job.slurm"
    file.write_text(EXAMPLE)
    assert (read_template(file).options, read_template(file).commands) == ({}, ())
    file.write_text(EXAMPLE.replace("##SBATCH", "#SBATCH"))
    assert read_template(file).options["partition"] == "gpu"
    assert read_template(file).signal_seconds == 180


@pytest.mark.parametrize(
    ("line", "kind", "fact"),
    [
        ("#SBATCH --array=1-9", "reserved-sbatch-option", "--array"),
        ("#SBATCH -o mine.log", "reserved-sbatch-option", "--output"),
        ("#SBATCH --signal=B:TERM@60", "wrong-sbatch-signal", "B:TERM@60"),
        ("#SBATCH gpu", "unknown-sbatch-option", "gpu"),
        ("#SBATCH --comment='open", "unreadable-sbatch-line", ""),
    ],
)
def test_what_a_template_cannot_have_is_named_with_its_line(tmp_path: Path, line: str, kind: str, fact: str) -> None:
    file = tmp_path / "job.slurm"
    file.write_text(f"#!/bin/bash\n{line}\n")
    with raises(kind, f"{file}:2", fact):
        read_template(file)


def test_a_template_that_is_none_is_refused(tmp_path: Path) -> None:
    with raises("unreadable-slurm-template", tmp_path / "missing"):
        read_template(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with raises("slurm-template-not-text", tmp_path / "binary"):
        read_template(tmp_path / "binary")


# -- submitting


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1:30:00", 90), ("2-12", 3600), ("1-01:30", 1530), ("90:30", 90.5)]
)
def test_times_as_sbatch_takes_them(text: str, expected: float) -> None:
    assert minutes(text) == expected


def test_options_of_the_command_line_come_before_those_of_the_template(tmp_path: Path) -> None:
    file = tmp_path / "job.slurm"
    file.write_text("#SBATCH --partition=slow --gres=gpu:a100:2 --mem=8G\n")
    request = JobRequest(partition="fast", gpus=1, cpus=4, time="60", template=read_template(file))
    assert request.options() == {
        "partition": "fast", "gpus-per-node": "1", "cpus-per-task": "4", "time": "60", "mem": "8G",
    }  # fmt: skip


def test_a_run_becomes_one_job(folder: Path, slurm: Answer, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 77")
    template = tmp_path / "job.slurm"
    template.write_text("#SBATCH --mem=8G\nmodule load cuda\n")
    run = make(folder, "r")
    request = JobRequest(partition="fast", time="1-00", cpus=2, template=read_template(template))
    assert submit([run], request) == [JOB]
    status = read_status(run)
    assert (status.state, status.job) == ("queued", JOB)
    assert read_run(run).state == "queued"
    lines = (tmp_path / "script.sh").read_text().splitlines()
    for line in ("#SBATCH --partition=fast", "#SBATCH --time=1-00", "#SBATCH --mem=8G", "#SBATCH --signal=USR1@90",
                 "#SBATCH --requeue", "module load cuda", f"#SBATCH --output={folder}/{JOBS}/%j_0_log.out"):  # fmt: skip
        assert line in lines
    assert not any("--wckey" in line or "--array" in line for line in lines)
    command = next(line for line in lines if line.startswith("srun"))
    assert "--cpus-per-task=2" in command
    assert f"{sys.executable} -P" in command
    assert "process.py job" in command
    assert lines.index("module load cuda") < lines.index(command)


def test_several_runs_become_an_array_that_waits_for_others(folder: Path, slurm: Answer, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", "Submitted batch job 78")
    runs = [make(folder, f"r{number}") for number in range(3)]
    jobs = submit(runs, JobRequest(), at_once=2, after=[Job("77_0"), Job("77_1"), Job("70")])
    assert [job.id for job in jobs] == ["78_0", "78_1", "78_2"]
    assert [read_status(run).job for run in runs] == jobs
    script = (tmp_path / "script.sh").read_text()
    assert "#SBATCH --array=0-2%2" in script
    assert "#SBATCH --dependency=afterany:77:70" in script
    stored = (folder / JOBS / "78_2_0_submitted.pkl", folder / JOBS / "78_2_submitted.pkl")
    assert any(file.exists() for file in stored)


@pytest.mark.parametrize("state", ["created", "stopped"])
def test_a_refused_job_leaves_the_run_as_it_was(folder: Path, slurm: Answer, state: str) -> None:
    pytest.importorskip("submitit")
    slurm("sbatch", err="sbatch: error: invalid partition specified: gpx", code=1)
    run = make(folder, "r", state=state)
    before = read_status(run)
    with raises("sbatch-refused", "invalid partition specified: gpx", "--partition"):
        submit([run], JobRequest(partition="gpx"))
    assert read_status(run) == before


def test_what_cannot_be_submitted_is_found_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "/nonexistent")
    with raises("no-slurm", "sbatch", "--slurm-local"):
        check_request(JobRequest(), folder)
    check_request(JobRequest(local=True), folder)
    with raises("invalid-job-time", "tomorrow"):
        check_request(JobRequest(time="tomorrow"), folder)
    with raises("invalid-job-option", "--account"):
        check_request(JobRequest(account="a b\n#SBATCH"), folder)
    with raises("percent-in-runs-dir"):
        check_request(JobRequest(), folder / "100%j")
    monkeypatch.setattr("engine.launch.slurm_submit.find_spec", lambda _name: None)
    with raises("submitit-missing", "crild[slurm]"):
        check_request(JobRequest(), folder)


# -- asking


@pytest.mark.parametrize(
    ("squeue", "sacct", "expected"),
    [
        ({"out": "PENDING|Resources"}, {}, JobState("PENDING", "Resources")),
        ({"out": "RUNNING|None"}, {}, JobState("RUNNING")),
        ({"err": "slurm_load_jobs error: Invalid job id specified", "code": 1}, {"out": "CANCELLED by 0"}, JobState("CANCELLED")),
        ({"err": "slurm_load_jobs error: Invalid job id specified", "code": 1}, {"code": 1}, JobState("GONE")),
        ({"out": ""}, {"out": "NODE_FAIL"}, JobState("NODE_FAIL")),
        ({"err": "Unable to contact slurm controller", "code": 1}, {"out": "FAILED"}, None),
    ],
)  # fmt: skip
def test_the_state_of_a_job(slurm: Answer, squeue: Any, sacct: Any, expected: JobState | None) -> None:
    slurm("squeue", **squeue)
    slurm("sacct", **sacct)
    assert job_state(JOB) == expected


def test_a_slurm_that_hangs_is_not_waited_for(slurm: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "commands" / "squeue").write_text("#!/bin/sh\nexec sleep 100\n")
    monkeypatch.setattr("engine.launch.slurm.WITHIN", 0.2)
    assert job_state(JOB) is None


@pytest.mark.parametrize(
    ("text", "expected"), [("1:05", 65), ("2:00:00", 7200), ("1-00:00:01", 86401), ("UNLIMITED", None), ("", None)]
)
def test_the_time_that_a_job_has_left(slurm: Answer, text: str, expected: float | None) -> None:
    slurm("squeue", text)
    assert seconds_left(JOB) == expected


def test_a_job_that_waits_stays_queued_and_its_reason_is_known(folder: Path, slurm: Answer) -> None:
    run = make(folder, "r", state="queued", job=JOB)
    slurm("squeue", "PENDING|QOSMaxGRESPerUser")
    assert settle(run) == JobState("PENDING", "QOSMaxGRESPerUser")
    assert read_status(run).state == "queued"


def test_a_job_that_was_cancelled_while_it_waited_leaves_a_stopped_run(folder: Path, slurm: Answer) -> None:
    run = make(folder, "r", state="queued", job=JOB)
    slurm("squeue", "CANCELLED|None")
    settle(run)
    assert (read_status(run).state, read_status(run).error) == ("stopped", None)


@pytest.mark.parametrize(
    ("log", "fact"), [(None, "shared"), ("no such file: process.py\n", "no such file: process.py")]
)
def test_a_job_that_ended_before_its_engine_started_is_explained(
    folder: Path, slurm: Answer, log: str | None, fact: str
) -> None:
    run = make(folder, "r", state="queued", job=JOB)
    if log is not None:
        (folder / JOBS).mkdir()
        (folder / JOBS / "77_0_log.out").write_text(log)
    slurm("squeue", "FAILED|NonZeroExitCode")
    settle(run)
    status = read_status(run)
    assert status.state == "failed"
    assert status.error is not None
    for part in ("job 77", "FAILED: NonZeroExitCode", fact):
        assert part in status.error.sentence


def test_where_slurm_does_not_answer_nothing_changes(folder: Path, slurm: Answer) -> None:
    run = make(folder, "r", state="queued", job=JOB)
    before = read_status(run)
    assert settle(run) is None
    assert read_status(run) == before


@pytest.mark.parametrize("state", ["preempted", "running"])
def test_a_run_whose_job_waits_again_is_queued(folder: Path, slurm: Answer, state: str) -> None:
    run = make(folder, "r", state=state, job=JOB)
    if state == "running":
        pretend(run, owner=FAR, heartbeat=time.time() - 1000)  # its node failed
        assert read_run(run).state == "lost"
    slurm("squeue", "PENDING|BeginTime")
    settle(run)
    assert read_run(run).state == "queued"


def test_a_submission_that_was_killed_is_a_failure(folder: Path) -> None:
    run = make(folder, "r", state="queued", job=Job(""), heartbeat=time.time())
    settle(run)
    assert read_status(run).state == "queued"  # it may still be in progress
    pretend(run, heartbeat=time.time() - 1000)
    settle(run)
    assert read_status(run).state == "failed"


def test_runs_without_a_job_do_not_ask_slurm(folder: Path, slurm: Answer, tmp_path: Path) -> None:
    for state in ("finished", "queued", "preempted", "failed"):
        assert settle(make(folder, f"r{state}", state=state)) is None
    assert settle(make(folder, "done", state="finished", job=JOB)) is None
    assert not calls(tmp_path)


# -- stopping


def test_stopping_a_run_that_waits_cancels_its_job(folder: Path, slurm: Answer, tmp_path: Path) -> None:
    run = make(folder, "r", state="queued", job=JOB)
    slurm("scancel")
    stop(run)
    assert read_status(run).state == "stopped"
    assert calls(tmp_path) == ["scancel 77"]


def test_a_job_that_cannot_be_cancelled_stays_queued(folder: Path, slurm: Answer) -> None:
    run = make(folder, "r", state="queued", job=JOB)
    slurm("scancel", err="scancel: error: Kill job error on job id 77: Access/permission denied", code=1)
    with raises("scancel-failed", "Access/permission denied"):
        stop(run)
    assert read_status(run).state == "queued"


def test_an_engine_in_a_job_is_stopped_and_not_preempted(folder: Path) -> None:
    run = make(folder, "r", "job long", state="queued", job=JOB)

    def stop_once_running() -> None:
        if reached(run, "running"):
            stop(run)

    threading.Thread(target=stop_once_running, daemon=True).start()
    assert work(run, JOB, NONE, command=COMMAND) == 0
    assert (read_status(run).state, read_status(run).exit_code) == ("stopped", 130)


# -- the job


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "12"}, Job("12", LOCAL)),
        ({"SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": "5", "SLURM_CLUSTER_NAME": "c"}, Job("5", cluster="c")),
        ({"SLURM_JOB_ID": "6", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}, Job("5_3")),
    ],
)
def test_a_job_knows_itself(variables: dict[str, str], job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert current_job() == job


def test_a_preempted_job_requeues_itself_and_its_run_waits(
    folder: Path, slurm: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make(folder, "r", "long", state="queued", job=JOB)
    slurm("scontrol", "JobState=RUNNING Reason=None")
    slurm("squeue", "50:00")
    signalled(run, signal.SIGTERM)
    assert work(run, JOB, NONE, command=COMMAND) == 0
    assert "scontrol requeue 77" in calls(tmp_path)
    status = read_status(run)
    assert (status.state, status.attempt, status.ended) == ("queued", 1, None)


@pytest.mark.parametrize("job", ["COMPLETING", "CANCELLED", "TIMEOUT"])
def test_a_cancelled_job_does_not_come_back(folder: Path, slurm: Answer, tmp_path: Path, job: str) -> None:
    run = make(folder, "r", "long", state="queued", job=JOB)
    slurm("scontrol", f"   JobState={job} Reason=None")
    signalled(run, signal.SIGTERM)
    assert work(run, JOB, NONE, command=COMMAND) != 0
    assert not any("requeue" in line for line in calls(tmp_path))
    assert read_status(run).state == "preempted"


def test_a_job_that_slurm_does_not_take_back_leaves_a_preempted_run(folder: Path, slurm: Answer) -> None:
    run = make(folder, "r", "long", state="queued", job=JOB)
    slurm("scontrol", "JobState=RUNNING Requested operation is presently disabled", code=1)
    signalled(run, signal.SIGUSR1)
    assert work(run, JOB, NONE, command=COMMAND) == 1
    assert read_status(run).state == "preempted"


def test_a_time_limit_that_is_too_short_for_a_step_ends_the_run(folder: Path, slurm: Answer, tmp_path: Path) -> None:
    run = make(folder, "r", "long", state="queued", job=JOB)
    slurm("scontrol", "JobState=RUNNING")
    slurm("squeue", "1:20")
    signalled(run, signal.SIGUSR1)
    assert work(run, JOB, NONE, 90, command=COMMAND) == 1
    status = read_status(run)
    assert status.state == "failed"
    assert status.error is not None
    assert "--time" in status.error.sentence
    assert not any("requeue" in line for line in calls(tmp_path))


def test_a_run_that_was_stopped_while_it_waited_is_not_started(folder: Path) -> None:
    run = make(folder, "r", "long", state="stopped", job=JOB)
    assert work(run, JOB, NONE, command=COMMAND) == 0
    assert read_status(run).attempt == 0


def test_a_run_that_fails_ends_its_job_with_its_exit_code(folder: Path) -> None:
    assert work(make(folder, "r", "fail", state="queued", job=JOB), JOB, NONE, command=COMMAND) == 3


def test_what_a_job_stores_names_the_run_and_the_models_of_the_consent() -> None:
    assert EngineJob("/runs/r", ("owner/name",)).models == ("owner/name",)


def signalled(run: Path, number: signal.Signals) -> None:
    """Send a signal to this process once the engine of a run is working."""
    slurm_job.EndSignals().install()

    def send() -> None:
        if reached(run, "running"):
            os.kill(os.getpid(), number)

    slurm_job._signals.asked = False
    threading.Thread(target=send, daemon=True).start()


def test_an_engine_in_a_job_takes_sigterm_for_preemption(folder: Path) -> None:
    """And an engine without one forgets the job of an earlier attempt."""
    from engine.record.session import RunSession

    run = make(folder, "r", job=JOB)
    with RunSession(run, signals=False, job=JOB) as session:
        assert read_status(run).job == JOB
        session.request.ask()
        assert session.request.state == "preempted"
        session.finish("preempted", 143)
    with RunSession(run, signals=False) as session:
        assert read_status(run).job is None
        session.request.ask()
        assert session.request.state == "stopped"
        session.finish("stopped", 143)


def test_the_job_of_a_status_survives_the_file(folder: Path) -> None:
    run = make(folder, "r")
    update_status(run, job=Job("77_3", cluster="c"))
    assert json.loads((run / "status.json").read_text())["job"] == {"id": "77_3", "scheduler": "slurm", "cluster": "c"}
    assert read_status(run).job == Job("77_3", cluster="c")
