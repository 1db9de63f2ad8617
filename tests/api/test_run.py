"""Runs in Python: started, followed, stopped, resumed, and their figures."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import crild
from engine.record.run import read_run
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.conftest import PATIENCE
from tests.preset.support import model_folder

Behave = Callable[..., None]


def until(true: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def interrupts(runs_dir: Path) -> Iterator[Callable[[int], None]]:
    """Interrupt this process, as a notebook's stop button does, once a run has taken so many steps."""
    threads = []

    def start(steps: int) -> None:
        def interrupt() -> None:
            until(
                lambda: any(
                    run.is_dir() and run.name[0] != "." and (s := read_run(run).status) and s.done >= steps
                    for run in runs_dir.glob("*")
                )
            )
            os.kill(os.getpid(), signal.SIGINT)

        threads.append(threading.Thread(target=interrupt))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


def test_it_returns_the_finished_run_with_its_figures(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine()
    run = crild.load_preset(preset).run(name="a")
    assert (run.state, run.name, run.path, run.error) == ("finished", "a-s1", runs_dir / "a-s1", None)
    assert run.student == runs_dir / "a-s1" / "student"
    assert run.results["metric"] == "accuracy"
    assert run.settings["stage.kd.epochs"] == 4.0
    assert run.status["state"] == "finished"
    table = run.results_table().set_index("model")
    assert table.loc["teacher", "accuracy"] == 0.6943
    assert table.loc["student, 6 layers", "parameters"] == 66_956_546
    assert "a-s1" in repr(run)
    assert "69.43" in run._repr_html_()
    assert run == crild.open_run("a")


def test_a_detached_run_is_followed_to_its_end(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(hold=2)
    run = crild.load_preset(preset).run(name="a", detached=True)
    seen: list[crild.Event] = []
    for event in run.follow():
        seen.append(event)
        if event["kind"] == "step" and (event["stage"], event["step"]) == ("ild", 2):
            assert run.state == "running"
            (runs_dir / "go").touch()
    assert seen[-1]["kind"] == "run_finished"
    assert seen == list(run.events())
    assert [event["kind"] for event in run.events("evaluation")] == ["evaluation"] * 2
    assert run.wait() is run


def test_the_error_of_a_run_is_raised(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(end="data")
    with pytest.raises(crild.CrildError) as caught:
        crild.load_preset(preset).run(name="a")
    error = caught.value
    assert (error.kind, error.category, error.file, error.line) == ("run-failed", "data", "train.tsv", 7)
    assert any("a-s1" in note for note in error.__notes__)
    run = crild.open_run("a")
    assert (run.state, run.error) == ("failed", str(error))
    with pytest.raises(crild.CrildError) as again:
        run.wait(quiet=True)
    assert str(again.value) == str(error)
    with pytest.raises(crild.CrildError) as missing:
        _ = run.results
    assert missing.value.kind == "missing-results"


def test_an_engine_that_dies_is_no_finished_run(fake_engine: Behave, preset: Path) -> None:
    fake_engine(end="die")
    with pytest.raises(crild.CrildError) as caught:
        crild.load_preset(preset).run(quiet=True)
    assert caught.value.kind == "run-not-finished"
    assert crild.open_run("latest").state == "lost"


def test_interrupting_the_kernel_stops_the_run_with_a_checkpoint(
    fake_engine: Behave, preset: Path, interrupts: Callable[[int], None]
) -> None:
    fake_engine(hold=2)
    interrupts(2)
    with pytest.raises(KeyboardInterrupt):
        crild.load_preset(preset).run(name="a")
    run = crild.open_run("a")
    assert (run.state, run.status["exit_code"]) == ("stopped", 130)
    assert [*(run.path / "checkpoints").iterdir()]
    fake_engine()
    assert run.resume().state == "finished"


def test_a_second_interrupt_kills_the_run(
    fake_engine: Behave, preset: Path, interrupts: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_engine(hold=2)
    interrupts(2)

    def interrupted(_run: crild.Run) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(crild.Run, "_await_stop", interrupted)
    monkeypatch.setattr("engine.launch.signals.interrupt", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        crild.load_preset(preset).run(name="a")
    run = crild.open_run("a")
    assert (run.state, run.status["exit_code"]) == ("stopped", 137)


def test_interrupting_a_wait_leaves_the_run_running(
    fake_engine: Behave, preset: Path, runs_dir: Path, interrupts: Callable[[int], None]
) -> None:
    fake_engine(hold=2)
    run = crild.load_preset(preset).run(name="a", detached=True)
    interrupts(2)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert run.state == "running"
    run.stop()
    assert run.state == "stopped"
    with pytest.raises(crild.CrildError) as caught:
        run.wait()
    assert caught.value.kind == "run-not-finished"
    with pytest.raises(crild.CrildError) as nothing:
        run.stop()
    assert nothing.value.kind == "nothing-to-stop"


def test_a_run_resumes_detached_and_is_awaited_then(fake_engine: Behave, preset: Path, runs_dir: Path) -> None:
    fake_engine(hold=2)
    run = crild.load_preset(preset).run(name="a", detached=True)
    until(lambda: run.status["done"] == 2)
    run.stop()
    fake_engine()
    run.resume({"train.log_every": 5}, detached=True)
    assert run.wait(quiet=True).state == "finished"
    assert run.settings["train.log_every"] == 5
    with pytest.raises(crild.CrildError) as caught:
        run.resume()
    assert caught.value.kind == "run-is-finished"


def test_it_works_in_a_thread_and_in_an_event_loop(fake_engine: Behave, preset: Path) -> None:
    fake_engine()
    loaded = crild.load_preset(preset)
    ended: list[crild.Run] = []
    thread = threading.Thread(target=lambda: ended.append(loaded.run(name="thread", quiet=True)))
    thread.start()
    thread.join()

    async def cell() -> crild.Run:
        return loaded.run(name="loop", quiet=True)

    ended.append(asyncio.run(cell()))
    assert [(run.name, run.state) for run in ended] == [("thread-s1", "finished"), ("loop-s1", "finished")]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_the_command_line_refuses_is_refused_with_its_sentence(
    fake_engine: Behave, command: Call, preset: Path, tmp_path: Path, runs_dir: Path
) -> None:
    fake_engine()
    data = tmp_path / "gone.toml"
    data.write_text(f'extends = "{preset}"\n[task]\nname = "custom"\nfiles = {{ train = "gone.csv" }}\n')
    code = model_folder(tmp_path / "model", auto_map={"AutoConfig": "odd.Odd"}, vocabulary=["[PAD]", "[UNK]"])
    (code / "odd.py").write_text("raise SystemExit\n")
    for file, settings in (
        (preset, {"train.device": "cuda:7"}),
        (data, {}),
        (preset, {"teacher.model": str(code)}),
    ):
        with pytest.raises(crild.CrildError) as caught:
            crild.load_preset(file, settings=settings).run(name="a")
        items = [word for key, value in settings.items() for word in ("--set", f'{key}="{value}"')]
        said = command("run", str(file), *items, "--name", "a")
        assert said.code == caught.value.exit_code
        assert said.err == "".join(f"error: {line}\n" for line in str(caught.value).splitlines())
    assert not runs_dir.exists() or not list(runs_dir.glob("a*"))


def test_a_name_that_is_taken_is_refused(fake_engine: Behave, preset: Path) -> None:
    fake_engine()
    loaded = crild.load_preset(preset)
    loaded.run(name="a", quiet=True)
    for name, kind in (("a", "run-exists"), ("latest", "reserved-run-name"), ("a/b", "invalid-run-name")):
        with pytest.raises(crild.CrildError) as caught:
            loaded.run(name=name)
        assert caught.value.kind == kind


def test_runs_are_found_as_on_the_command_line(runs_dir: Path, tmp_path: Path, command: Call) -> None:
    for name in ("rte-kd", "rte-crild"):
        make_run(runs_dir, name)
    assert crild.open_run("rte-c").name == "rte-crild-s1"
    assert (
        crild.open_run(str(runs_dir / "rte-kd-s1"))
        == crild.open_run(runs_dir / "rte-kd-s1")
        == crild.open_run("rte-kd")
    )
    assert crild.open_run("rte-kd", runs_dir=runs_dir) == crild.open_run("rte-kd")
    for ref, kind in (("rte", "ambiguous-run"), ("frob", "unknown-run"), (str(tmp_path / "no"), "not-a-run-directory")):
        with pytest.raises(crild.CrildError) as caught:
            crild.open_run(ref)
        assert (caught.value.kind, f"error: {caught.value}\n") == (kind, command("show", ref).err)


def test_curves_are_the_table_of_the_command_line(runs_dir: Path, command: Call) -> None:
    run = crild.Run(make_run(runs_dir))
    for kinds, words in ((("step", "evaluation"), ()), (None, ("--kind", "all")), ("message", ("--kind", "message"))):
        table = run.curves(kinds)  # type: ignore[arg-type]
        printed = pd.read_csv(io.StringIO(command("events", run.name, *words).out))
        assert list(table.columns) == list(printed.columns)
        same = [one.astype(object).where(one.notna(), None) for one in (table, printed)]
        pd.testing.assert_frame_equal(*same, check_index_type=False)
    with pytest.raises(crild.CrildError) as caught:
        run.curves("frob")
    assert (caught.value.kind, command("events", run.name, "--kind", "frob").err) == (
        "unknown-event-kind",
        f"error: {caught.value}\n",
    )
    assert run.curves()["best"].dtype == "boolean"


def test_a_run_without_student_or_directory_says_so(runs_dir: Path) -> None:
    run = crild.Run(make_run(runs_dir, state="stopped"))
    with pytest.raises(crild.CrildError) as caught:
        _ = run.student
    assert caught.value.kind == "no-student"
    gone = crild.Run(runs_dir / "gone")
    assert gone.state == "unreadable"
    assert list(gone.follow()) == list(gone.events()) == []
    assert "gone" in gone._repr_html_()
