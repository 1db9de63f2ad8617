"""A search in processes of its own, killed -9 with everything it started; the command line over it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from engine.record.run import list_runs
from engine.search.submit import reconcile_search, submit_search
from engine.search.trials import Trials, read_trials
from engine.sweep.record import sweep_file
from engine.sweep.slots import Slot
from engine.sweep.submit import stop_sweep
from tests.cli.conftest import Call
from tests.errors import raises
from tests.launch.fake_engines import wait_for
from tests.search.searches import planned, record_of, search_file, states, table
from tests.sweep.sweeps import kill_engine, kill_process, over

WORKER = """
import sys, time, tomllib
from pathlib import Path
from engine.record.files import write_json
from engine.record.session import RunSession
from tests.search.searches import quality
run = Path(sys.argv[-1])
preset = tomllib.loads((run / "preset.toml").read_text())
with RunSession(run) as session:
    session.update(metric_name="accuracy", total=1, done=0)
    while not (run.parent / "go").exists() and session.request.state is None and "-trial-1-" in run.name:
        time.sleep(0.02)
    if session.request.state is not None:
        session.finish(session.request.state, session.request.exit_code)
        sys.exit(session.request.exit_code)
    write_json(run / "results.json", {"schema": 1, "metric": "accuracy",
        "student": {"metrics": {"accuracy": quality(preset)}, "test": {"accuracy": quality(preset)}}, "test": {"rows": 3}})
    session.finish("finished", 0)
"""
COMMAND = [sys.executable, "-P", "-c", WORKER]
"""An engine whose run of trial 1 waits for the file `go`."""


def begin(path: Path, runs: Path, **changes: Any) -> None:
    found = planned(path, **changes)
    reconcile_search(found, runs)
    submit_search(found, runs, [Slot("cpu", 1)], command=COMMAND)


def trials_of(runs: Path) -> Trials:
    found = read_trials(sweep_file(runs, "tune"))
    assert found is not None
    return found


def holds(runs: Path) -> bool:
    return states(runs).get("tune-toy-entailment-base-trial-1-s1") == "running"


def test_killed_twice_with_its_engines_it_ends_as_one_left_alone(
    folder: Path, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    path = search_file(folder, "trials = 3\nconfirm = 1\n")
    for _ in range(2):
        begin(path, runs)
        assert wait_for(lambda: holds(runs))
        with raises("search-in-progress"):
            submit_search(planned(path), runs, [Slot("cpu", 1)], command=COMMAND)
        kill_process(runs, "tune")
        for entry in list_runs(runs):
            if entry.state in ("running", "stalled"):
                kill_engine(entry.path)
    begin(path, runs)
    assert wait_for(lambda: holds(runs))
    stop_sweep(runs, "tune")  # an ordinary stop in between
    assert over(runs, "tune") == "stopped"
    (runs / "go").touch()
    begin(path, runs)
    assert over(runs, "tune") == "ended"
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "go").touch()
    begin(path, whole)
    assert over(whole, "tune") == "ended"
    assert table(trials_of(runs)) == table(trials_of(whole))
    assert states(runs) == states(whole)
    assert trials_of(runs).confirmed == trials_of(whole).confirmed


# -- the command line


def test_a_plan_starts_nothing(crild: Call, folder: Path, runs: Path) -> None:
    path = search_file(folder, "trials = 7\nseeds = [1, 2]\nholdout = 30\n")
    said = crild("search", str(path), "--plan", "--runs-dir", str(runs))
    assert said.code == 0
    facts = (
        "train.learning_rate",
        "1e-05 to 0.1, on a log scale",
        "0.001",
        "7 trials",
        "2 runs",
        "30 training rows",
        "median",
    )
    assert [fact for fact in facts if fact not in said.out] == []
    assert not runs.exists()
    found = crild("search", str(path), "--plan", "--json", "--trials", "9", "--runs-dir", str(runs)).json
    assert (found["trials"], found["seeds"], found["confirm"]) == (9, [1, 2], [3, 4, 5])
    assert found["start"] == {"train.learning_rate": 0.001, "stage.kd.temperature": "2.0"}


def test_trials_are_shown_with_what_they_say(crild: Call, folder: Path, runs: Path) -> None:
    from tests.search.searches import InstantEngines, go

    path = search_file(folder, "trials = 6\nconfirm = 2\n")
    engines = InstantEngines(lambda run, _preset: "fail" if "-trial-3-" in run.name else "finish")
    found = go(path, runs, engines)
    said = crild("search", str(path), "--show", "--runs-dir", str(runs))
    assert said.code == 0
    best = found.trial(found.best)
    assert best is not None
    facts = (
        "6 of 6 trials: 5 complete, 1 failed", f"{100 * best.results[0]:.2f}", "trial 3 failed", "2 fresh seeds",
        "40 training rows that no trial saw", "gain over the starting preset", "tune-best.toml",
    )  # fmt: skip
    assert [fact for fact in facts if fact not in said.out] == []
    assert "importance: too few trials to say" in said.out
    assert "majority" not in said.out
    assert [line for line in said.out.splitlines() if line.startswith("crild run ")] == [said.out.splitlines()[-1]]
    assert said.err.splitlines() == ["to train the best recipe on all rows:"]
    assert crild("search", str(path), "--show", "--quiet", "--runs-dir", str(runs)).err == ""
    document = crild("search", "tune", "--show", "--json", "--runs-dir", str(runs)).json
    assert (document["search"], document["state"], document["best"]) == ("tune", "ended", found.best)
    assert len(document["trials"]) == 6
    assert len(document["flattery"]) >= 4
    again = crild("search", str(path), "--runs-dir", str(runs))
    assert again.code == 0
    assert "nothing left to do" in again.err
    assert record_of(runs).state == "ended"


def test_a_search_whose_trials_all_failed_ends_with_1(crild: Call, folder: Path, runs: Path) -> None:
    from tests.search.searches import InstantEngines, go

    path = search_file(folder, "trials = 3\n")
    go(path, runs, InstantEngines(lambda _run, _preset: "fail"))
    for args in (("--show",), ()):
        said = crild("search", str(path), *args, "--runs-dir", str(runs))
        assert said.code == 1, said.err
        assert "3 of 3 trials: 3 failed" in said.out
        assert "no trial was completed" in said.out
        assert "crild run" not in said.out


def test_what_cannot_be_searched_is_refused(
    crild: Call, folder: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = search_file(folder)
    said = crild("search", "nosuch", "--show", "--runs-dir", str(runs))
    assert said.code == 2
    assert "nosuch" in said.err
    assert crild("search", str(folder / "none.toml"), "--runs-dir", str(runs)).code == 2
    assert crild("search", str(path), "--trials", "0", "--runs-dir", str(runs)).code == 2
    assert crild("run", str(path)).err.count("crild search FILE --plan") == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    said = crild("search", str(path), "--runs-dir", str(runs))
    assert said.code == 2
    assert "crild[search]" in said.err
    assert not runs.exists()
