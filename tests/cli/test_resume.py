from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crild_tui.runs.resume import prepare, rewrite
from engine.errors import UsageError
from engine.preset.load import load_preset
from engine.record.run import read_status, update_status
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.record.checkpoint_samples import write_checkpoint

Behave = Callable[..., None]


@pytest.mark.parametrize("state", ["stopped", "failed", "preempted"])
def test_a_run_that_ended_early_goes_on(crild: Call, fake_engine: Behave, runs_dir: Path, state: str) -> None:
    make_run(runs_dir, state=state)
    said = crild("resume", "rte-crild")
    assert said.code == 0
    assert "majority guess" in said.out
    assert "ild: step 10/10, loss 2.0000 to 1.0000" in said.err  # what was before, in summary
    assert "kd step 5: student" not in said.err
    assert "stage kd: step 3/3" in said.err  # what comes, as it comes
    status = read_status(runs_dir / "rte-crild-s1")
    assert (status.state, status.attempt) == ("finished", 2)


def test_a_lost_run_goes_on(crild: Call, fake_engine: Behave, runs_dir: Path) -> None:
    make_run(runs_dir, state="running", owner=None)
    assert crild("resume", "rte-crild", "--quiet").code == 0


def test_a_finished_run_wants_to_be_made_longer(crild: Call, fake_engine: Behave, runs_dir: Path) -> None:
    write_checkpoint(make_run(runs_dir), "kd", 4)
    said = crild("resume", "rte-crild", "--set", "train.log_every=5")
    assert said.code == 2
    assert "--set stage.kd.epochs=8" in said.err
    assert read_status(runs_dir / "rte-crild-s1").attempt == 1
    assert crild("resume", "rte-crild", "--set", "stage.kd.epochs=8").code == 0
    assert read_status(runs_dir / "rte-crild-s1").attempt == 2
    assert load_preset([str(runs_dir / "rte-crild-s1" / "preset.toml")]).preset.stage[1].epochs == 8


def test_a_finished_run_without_checkpoints_is_not_made_longer_and_names_a_new_run(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    before = (run_dir / "preset.toml").read_text()
    with pytest.raises(UsageError) as caught:
        prepare(run_dir, ["stage.kd.epochs=8", "description=more words"])
    assert caught.value.kind == "no-checkpoints-to-extend"
    command = f"crild run {run_dir}/preset.toml --set stage.kd.epochs=8 --set 'description=more words'"
    assert f"{command} --set train.keep_for_extending=true" in caught.value.sentence
    assert (run_dir / "preset.toml").read_text() == before
    said = crild("resume", "rte-crild")
    assert said.code == 2
    assert "train.keep_for_extending=true" in said.err


@pytest.mark.parametrize(
    "change", ["seed=2", "stage.kd.learning_rate=1e-3", "task.name=sst2", "student.layers=1", "train.batch_size=4"]
)
def test_what_would_no_longer_fit_is_refused(crild: Call, runs_dir: Path, change: str) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    before = (run_dir / "preset.toml").read_text()
    said = crild("resume", "rte-crild", "--set", change)
    assert said.code == 2
    assert "start a new run" in said.err
    assert (run_dir / "preset.toml").read_text() == before


@pytest.mark.parametrize(
    "change", ["stage.ild.epochs=2", "stage.kd.evaluate=50", "train.device=cpu", "description=words"]
)
def test_lengths_and_watching_can_change(runs_dir: Path, change: str) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    rewrite(run_dir, [change])
    assert str(load_preset([str(run_dir / "preset.toml")]).document).count(change.split("=")[1])


def test_a_change_that_is_no_setting_is_a_preset_error(crild: Call, runs_dir: Path) -> None:
    make_run(runs_dir, state="stopped")
    said = crild("resume", "rte-crild", "--set", "stage.kd.epochs=many")
    assert said.code == 2
    assert "stage.kd.epochs" in said.err


def test_a_running_run_is_not_resumed(crild: Call, fake_engine: Behave, preset: Path) -> None:
    fake_engine(end="mute")
    crild("run", str(preset), "--name", "mine", "--detach")
    said = crild("resume", "mine")
    assert said.code == 2
    assert "crild attach mine-s1" in said.err
    crild("stop", "mine", "--kill")


def test_a_run_whose_queue_was_killed_has_its_turn_after_all(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    import os
    import signal

    from engine.sweep.record import list_queues

    fake_engine(hold=2)
    crild("run", str(preset), "--name", "mine", "--seeds", "1,2", "--detach")
    (queue,) = list_queues(runs_dir)
    assert queue.owner is not None
    os.kill(queue.owner.pid, signal.SIGKILL)
    until = time.monotonic() + PATIENCE
    while queue.owner.state() == "alive" and time.monotonic() < until:  # a busy machine takes its time
        time.sleep(0.02)
    crild("stop", "mine-s1")
    fake_engine()
    said = crild("resume", "mine-s2")
    assert said.code == 0
    assert queue.name in said.err
    assert read_status(runs_dir / "mine-s2").state == "finished"


def test_a_run_of_a_newer_crild_is_not_resumed(crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    (run_dir / "status.json").write_text('{"schema": 99}')
    said = crild("resume", "rte-crild")
    assert said.code == 2
    assert "cannot be resumed" in said.err


@pytest.mark.parametrize("content", [None, b"", b"{", b"\0" * 700])
def test_a_run_whose_status_is_lost_goes_on(
    crild: Call, fake_engine: Behave, runs_dir: Path, content: bytes | None
) -> None:
    file = make_run(runs_dir, state="stopped") / "status.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    shown = crild("show", "rte-crild").out
    assert "lost" in shown
    assert f"status.json is {'missing' if content is None else 'damaged'}" in shown
    assert crild("resume", "rte-crild").code == 0
    status = read_status(file.parent)
    assert (status.state, status.attempt, status.seed) == ("finished", 2, 1)


def test_a_finished_run_whose_results_are_lost_writes_them_again(
    crild: Call, fake_engine: Behave, runs_dir: Path
) -> None:
    run_dir = make_run(runs_dir)
    assert crild("resume", "rte-crild").code == 2
    (run_dir / "results.json").write_text("torn")
    assert "crild resume rte-crild" in crild("show", "rte-crild").err
    said = crild("resume", "rte-crild")
    assert said.code == 0
    assert "trains again from the start" in said.err
    assert "majority guess" in crild("show", "rte-crild").out


def test_a_preset_that_is_lost_comes_back_from_the_newest_checkpoint(
    crild: Call, fake_engine: Behave, runs_dir: Path
) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    file = run_dir / "preset.toml"
    before = load_preset([str(file)]).preset
    write_checkpoint(run_dir, "kd", 2, preset=before.document())
    file.write_bytes(file.read_bytes()[:50])
    said = crild("resume", "rte-crild")
    assert said.code == 2
    assert "delete preset.toml" in said.err
    file.unlink()
    said = crild("resume", "rte-crild")
    assert said.code == 0
    assert "preset.toml was missing" in said.err
    assert load_preset([str(file)]).preset == before


def test_a_renamed_run_goes_by_its_new_name(crild: Call, fake_engine: Behave, runs_dir: Path) -> None:
    make_run(runs_dir, state="stopped").rename(runs_dir / "nice-name")
    assert crild("resume", "nice-name").code == 0
    assert [entry["run"] for entry in crild("runs", "--json").json] == ["nice-name"]
    assert read_status(runs_dir / "nice-name").id == "nice-name"
    results = runs_dir / "nice-name" / "results.json"
    results.write_text(results.read_text().replace("crild run crild rte", "crild run /old/name/preset.toml"))
    shown = crild("show", "nice-name").out
    assert f"crild run {runs_dir / 'nice-name' / 'preset.toml'}" in shown
    assert "/old/name" not in shown
    assert "rte-crild" not in shown


def test_rewriting_waits_for_no_engine(runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, state="stopped")
    update_status(run_dir, state="stopped")
    with pytest.raises(UsageError, match=r"seed"):
        rewrite(run_dir, ["stage.kd.epochs=2", "seed=4"])
