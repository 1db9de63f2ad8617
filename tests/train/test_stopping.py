"""A request to stop is heard in every phase, and a run that was stopped in all of them ends as if it had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import worker
from engine.record.events import read_events
from engine.record.phases import Phase, Phases
from engine.record.run import read_status
from engine.record.session import RunSession
from engine.record.stop_request import StopRequest
from engine.train import experiment
from tests.train.tiny_run import make, materials, work

Place = tuple[str | None, str]
"""A stage, as the status has it, and a phase."""
SHORT = ("teacher.finetune.epochs=1", "stage.ild.epochs=1", "stage.kd.epochs=2", "train.evaluate_train=8")
SOME: tuple[Place, ...] = (
    (None, "tokenising the training rows"),
    ("teacher", "evaluating the teacher on dev"),
    ("ild", "computing the loss on dev"),
    ("ild", "computing the teacher's answers for stage kd"),
    ("kd", "evaluating the student on dev"),
    ("baseline", "measuring latency at batch 1"),
)


class Watched:
    """Records the phases of a session, and asks it to stop in one."""

    def __init__(self, stop_in: Place | None = None) -> None:
        self.places: dict[Place, int] = {}
        self.stop_in = stop_in

    def work(self, run_dir: Path, patch: pytest.MonkeyPatch) -> dict[str, Any] | None:
        report, sessions = Phases.__call__, list[RunSession]()
        create = RunSession.__init__

        def created(session: RunSession, *arguments: Any, **words: Any) -> None:
            sessions.append(session)
            create(session, *arguments, **words)

        def watch(phases: Phases, phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
            place = sessions[-1].status.stage, phase
            self.places[place] = self.places.get(place, 0) + 1
            if place == self.stop_in:
                sessions[-1].request.signal = signal.SIGTERM
            report(phases, phase, done, total, unit)

        with patch.context() as inner:
            inner.setattr(RunSession, "__init__", created)
            inner.setattr(Phases, "__call__", watch)
            return work(run_dir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Place]]:
    """An uninterrupted run, and where it reported phases, in order."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        run_dir = make(folder, materials(folder), *SHORT)
        watched = Watched()
        assert watched.work(run_dir, patch) is not None
    return run_dir, list(watched.places)


def outcome(run_dir: Path) -> tuple[bytes, Any, Any]:
    """The student, what was measured of it, and the curve of its evaluations."""
    results = json.loads((run_dir / "results.json").read_text())
    curve = [
        (event["stage"], event["step"], event["model"], event["split"], event["metrics"], event["best"])
        for event in read_events(run_dir, {"evaluation"})
        if event["stage"] is not None  # the teacher is measured in each attempt
    ]
    figures = {name: results[name] for name in ("last", "best", "saved", "agreement", "self_teacher")}
    return (run_dir / "student" / "model.safetensors").read_bytes(), figures, curve


def test_every_phase_that_can_last_long_is_reported(whole: tuple[Path, list[Place]]) -> None:
    names = {phase for _, phase in whole[1]}
    assert names >= {
        "verifying checkpoints", "reading train.csv", "reading dev.csv", "tokenising the training rows",
        "tokenising the rows of dev", "hashing the teacher", "evaluating the teacher on dev", "building the student",
        "evaluating the student on dev", "evaluating the student on train",
        "computing the loss on dev", "computing the teacher's answers for stage kd",
        "measuring latency at batch 1", "writing student.jsonl",
    }  # fmt: skip
    assert any(name.startswith("loading ") for name in names)


def stopped_in(whole: tuple[Path, list[Place]], places: list[Place], folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
    run_dir = make(folder, (whole[0].parents[1] / "tiny.toml").read_text(), *SHORT)
    for place in places:
        assert Watched(place).work(run_dir, patch) is None, place
        assert read_status(run_dir).state == "stopped"
    assert work(run_dir) is not None
    assert outcome(run_dir) == outcome(whole[0])


def test_stopped_in_phases_and_resumed_it_ends_in_the_same_bytes(
    whole: tuple[Path, list[Place]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_in(whole, list(SOME), tmp_path, monkeypatch)


@pytest.mark.slow
def test_stopped_in_every_phase_and_resumed_it_ends_in_the_same_bytes(
    whole: tuple[Path, list[Place]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_in(whole, whole[1], tmp_path, monkeypatch)


def test_a_stage_within_an_epoch_is_resumed_to_the_same_bytes(
    whole: tuple[Path, list[Place]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (whole[0].parents[1] / "tiny.toml").read_text()
    few = text.replace('name = "kd"\nepochs = 2', 'name = "kd"\nsteps = 3').replace("enabled = true", "enabled = false")
    assert few.count("steps = 3") == 1
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    outcomes = []
    for stop_after in (None, ("kd", 1), ("kd", 3)):
        run_dir = make(tmp_path, few, *SHORT[:2], name=f"few-{stop_after[1] if stop_after else 0}")
        shutil.rmtree(tmp_path / "cache" / "logits", ignore_errors=True)
        if stop_after is not None:
            assert work(run_dir, stop_after=stop_after) is None
            shutil.rmtree(tmp_path / "cache" / "logits")  # it computes the teacher's answers again
        assert work(run_dir) is not None
        student, figures, curve = outcome(run_dir)
        outcomes.append((student, figures, [row for row in curve if row[0] == "kd"]))
    assert outcomes[0][2]
    assert outcomes[1:] == outcomes[:1] * 2


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signal handlers of the test runner come back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def hang(*_: Any, **__: Any) -> None:
    """A library that doesn't come back after a request to stop."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)


@pytest.mark.usefixtures("handlers")
def test_loading_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make(tmp_path, materials(tmp_path))
    monkeypatch.setattr(experiment, "load_materials", hang)
    began = time.monotonic()
    assert worker.train(run_dir) == 143
    assert time.monotonic() - began < 50
    status = read_status(run_dir)
    assert (status.state, status.exit_code, status.stage, status.error) == ("stopped", 143, None, None)
    assert [event["state"] for event in read_events(run_dir, {"run_finished"})] == ["stopped"]


@pytest.mark.usefixtures("handlers")
def test_a_tool_is_stopped_without_a_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "_answer", hang)
    request = StopRequest().install(outlive_terminal=False)
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    assert worker.tool("evaluate", ["{}"], request) == 143
    assert capsys.readouterr() == ("", "")


def test_a_tool_prints_its_progress_then_its_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(name: str, arguments: list[str], report: Any, *_: Any) -> dict[str, str]:
        report("reading", 3, 10, "rows")
        report.beat()
        return {"tool": name}

    monkeypatch.setattr("engine.record.phases.QUIET", 0.0)
    monkeypatch.setattr(worker, "_answer", answer)
    assert worker.tool("evaluate", [], StopRequest()) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    phase = Phase.of(json.loads(first)["progress"])
    assert phase is not None
    assert (phase.name, phase.done, phase.total, phase.unit) == ("reading", 3, 10, "rows")
    assert json.loads(last) == {"tool": "evaluate"}
