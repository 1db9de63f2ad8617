"""A status that is lost or damaged is rebuilt from the other files of its run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.record.events import EventWriter
from engine.record.files import write_json
from engine.record.lock import RunLock
from engine.record.paths import events_file, queue_file
from engine.record.rebuild import identity_of, rebuilt_status
from engine.record.run import create_run, list_runs, read_run, read_status, update_status
from engine.record.session import RunSession
from engine.record.status import Status
from tests.cli.samples import RESULTS, make_run

PRESET = 'seed = 5\n[task]\nname = "rte"\n'


def interrupted_run(runs_dir: Path, end: str | None = None) -> tuple[Path, Status]:
    """A run in the middle of its second stage in its second attempt, and its status."""
    run_dir = create_run(
        runs_dir, PRESET, name="r", seed=5, task="rte", method="crild", preset="crild+rte", environment={},
        sweep="study", cell={"method": "crild"},
    )  # fmt: skip
    for attempt in (1, 2):
        with RunSession(run_dir, signals=False) as work:
            write_events(work, attempt)
            if attempt == 1 or end is not None:
                work.events.write("run_finished", state=end or "stopped")
                work.finish(end or "stopped", 143)
            else:
                work.update()
                break
    return run_dir, read_status(run_dir)


def write_events(work: RunSession, attempt: int) -> None:
    write, identity = work.events.write, identity_of(work.before)
    start = ("ild", 0) if attempt == 1 else ("kd", 2)
    write("run_started", attempt=attempt, stages=["ild", "kd"], stage=start[0], step=start[1], total=14, run=identity)
    figures = {"split": "dev", "primary": True}
    write("evaluation", stage=None, step=0, model="teacher", metrics={"accuracy": 0.9}, **figures)
    for stage, first, last in (("ild", 1, 4), ("kd", 1, 3)) if attempt == 1 else (("kd", 3, 6),):
        write("stage_started", stage=stage, role="student", step=first - 1, steps=4 if stage == "ild" else 10)
        for step in range(first, last + 1):
            write("step", stage=stage, step=step, loss=1.0)
        metrics = {"accuracy": 0.5 + last / 100}
        write("evaluation", stage=stage, step=last, model="student", metrics=metrics, best=True, **figures)
        if stage == "ild":
            write("stage_finished", stage=stage, step=last)
    work.update(
        stage="kd", stage_index=2, stages=2, step=last, steps=10, done=4 + last, total=14, metric_name="accuracy",
        last=0.5 + last / 100, best=0.5 + last / 100, teacher=0.9,
    )  # fmt: skip


def known(status: Status) -> Status:
    """A status without what no other file knows."""
    return replace(
        status,
        owner=None,
        inode=None,
        heartbeat=None,
        ended=None,
        started=None,
        exit_code=None,
        created=0.0,
        queue=None,
    )


@pytest.mark.parametrize("end", ["stopped", "preempted", "failed", "finished"])
def test_every_field_that_matters_comes_back(tmp_path: Path, end: str) -> None:
    run_dir, before = interrupted_run(tmp_path, end)
    (run_dir / "status.json").unlink()
    after = read_status(run_dir)
    assert known(after) == known(before)
    assert after.created == before.created
    assert after.started == pytest.approx(before.started, abs=0.1)
    entry = read_run(run_dir)
    assert entry.state == end
    assert "status.json is missing" in (entry.problem or "")


def test_a_run_that_ended_unseen_is_lost(tmp_path: Path) -> None:
    run_dir, _ = interrupted_run(tmp_path)
    (run_dir / "status.json").write_text("{")
    assert read_run(run_dir).state == "lost"


@pytest.mark.parametrize(("steps", "state"), [(6, "finished"), (4, "lost")])
def test_results_prove_that_a_run_has_finished_if_they_are_about_all_its_steps(
    tmp_path: Path, steps: int, state: str
) -> None:
    """A run that was extended has those of its shorter past until it ends."""
    run_dir, _ = interrupted_run(tmp_path)
    stages = [
        {"name": "teacher", "steps": 9, "cached": True},
        {"name": "ild", "steps": 4},
        {"name": "kd", "steps": steps},
    ]
    write_json(run_dir / "results.json", {"schema": 1, "metric": "accuracy", "stages": stages})
    (run_dir / "status.json").unlink()
    assert read_run(run_dir).state == state


def test_the_reason_of_a_failure_comes_back(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, state="failed")
    events = EventWriter(events_file(run_dir, 1), 1)
    events.write("message", level="error", text="the disk is full")
    events.write("run_finished", state="failed")
    events.close()
    (run_dir / "status.json").write_bytes(b"\0" * 500)
    status = read_run(run_dir).status
    assert status is not None
    assert status.error is not None
    assert status.error.sentence == "the disk is full"


def test_cut_at_any_byte_and_flipped_in_any_it_can_be_read(tmp_path: Path) -> None:
    run_dir, before = interrupted_run(tmp_path, "stopped")
    file = run_dir / "status.json"
    content = file.read_bytes()
    for offset in range(0, len(content) - 2, 7):
        file.write_bytes(content[:offset])
        assert known(read_status(run_dir)).step == before.step, offset
        file.write_bytes(content[:offset] + b"\xff" + content[offset + 1 :])
        assert read_run(run_dir).status is not None, offset


def test_runs_of_0_2_that_do_not_repeat_what_they_are(tmp_path: Path) -> None:
    """Their preset and the record of their sweep say it."""
    run_dir, _ = interrupted_run(tmp_path, "stopped")
    for file in run_dir.glob("events.*"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps({k: v for k, v in e.items() if k != "run"}) + "\n" for e in lines))
    cells = [{"run": "r-s5", "cell": {"method": "kd"}, "refs": "kd+rte"}, 7, {"run": 3}]
    (tmp_path / ".sweep").mkdir()
    write_json(tmp_path / ".sweep" / "mine.json", {"cells": cells})
    status = rebuilt_status(run_dir)
    assert status is not None
    assert (status.seed, status.task, status.method, status.preset, status.sweep) == (5, "rte", "kd", "kd+rte", "mine")
    assert status.cell == {"method": "kd"}
    (run_dir / "preset.toml").write_text("torn = ")
    shutil.rmtree(tmp_path / ".sweep")
    status = rebuilt_status(run_dir)
    assert status is not None
    assert (status.seed, status.method, status.sweep, status.step) == (0, "", None, 6)


def test_a_run_that_waits_in_a_queue_still_does(tmp_path: Path) -> None:
    run_dir = create_run(tmp_path, PRESET, name="r", environment={})
    queue_file(tmp_path, "q").parent.mkdir()
    write_json(queue_file(tmp_path, "q"), {"cells": [{"run": run_dir.name}]})
    (run_dir / "status.json").unlink()
    status = read_status(run_dir)
    assert (status.state, status.queue) == ("queued", "q")


def test_a_folder_with_nothing_of_a_run_is_none(tmp_path: Path) -> None:
    assert rebuilt_status(tmp_path) is None
    (tmp_path / "preset.toml").write_text(PRESET)
    assert rebuilt_status(tmp_path) is None


def test_while_an_engine_holds_the_run_its_own_status_is_awaited(tmp_path: Path) -> None:
    import subprocess
    import sys

    from engine.launch.start import engine_environment

    run_dir, _ = interrupted_run(tmp_path, "stopped")
    hold = "import sys,time;from pathlib import Path;from engine.record.lock import RunLock\nlock = RunLock(Path(sys.argv[1]))"
    code = f"{hold}\nlock.take(); print(flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(run_dir)], stdout=-1, env=engine_environment())
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        (run_dir / "status.json").write_text("torn")
        assert read_run(run_dir).state == "unreadable"
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert read_run(run_dir).state == "stopped"


def test_any_change_writes_it_again(tmp_path: Path) -> None:
    run_dir, _ = interrupted_run(tmp_path, "stopped")
    (run_dir / "status.json").write_text("torn")
    with RunLock(run_dir) as lock:
        lock.take()
        assert read_status(run_dir).step == 6
    update_status(run_dir, state="stopped")
    (entry,) = list_runs(tmp_path)
    assert entry.problem is None


def test_garbage_in_the_other_files_is_never_raised(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    (run_dir / "status.json").unlink()
    kinds = ("run_started", "stage_started", "step", "evaluation", "message", "run_finished")
    odd: list[object] = [None, 3, "x", [], {}, [3], {"a": []}, 1e400, -1, True]
    names = (
        "stages",
        "stage",
        "step",
        "steps",
        "total",
        "run",
        "metrics",
        "model",
        "state",
        "t",
        "text",
        "level",
        "role",
    )
    lines = [{"v": 1, "kind": kind, **dict.fromkeys(names, value)} for kind in kinds for value in odd]
    (run_dir / "events.1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for text in ("torn", "[]", json.dumps({**RESULTS, "metric": 5, "majority": [], "task": {}})):
        (run_dir / "results.json").write_text(text)
        status = rebuilt_status(run_dir)
        assert status is not None
        assert Status.from_dict(json.loads(json.dumps(status.to_dict()))) == status
