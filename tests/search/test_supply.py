"""The process of a search: trials, kills, pruning, failures, budget, and what it concludes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli

from engine.preset.load import load_preset
from engine.record.annotations import read_annotations
from engine.record.run import read_status
from engine.search.declaration import read_search
from engine.search.study import SearchStudy
from engine.search.submit import is_over
from engine.search.trials import trials_file
from engine.sweep.record import sweep_file
from tests.errors import raises
from tests.search.searches import (
    InstantEngines,
    go,
    journal_of,
    killed,
    planned,
    quality,
    record_of,
    search_file,
    states,
    table,
)


def presets(runs: Path) -> dict[str, dict[str, Any]]:
    return {run: tomli.loads((runs / run / "preset.toml").read_text()) for run in states(runs)}


def test_trials_are_runs_and_the_best_one_becomes_a_preset(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, "trials = 12\npruner = false\n"), runs, InstantEngines())
    assert record_of(runs).state == "ended"
    assert found.counts() == {"complete": 12}
    assert found.aims == ("accuracy",)
    start, best = found.trials[0], found.trial(found.best)
    assert best is not None
    assert dict(start.values) == {"train.learning_rate": 0.001, "stage.kd.temperature": "2.0"}
    assert best.results == (max(one.results[0] for one in found.trials),)
    assert best.results > start.results
    assert all(one.results == (quality(presets(runs)[one.runs[0]]),) for one in found.trials)
    status = read_status(runs / best.runs[0])
    assert (status.sweep, status.method, status.cell["trial"]) == ("tune", "base", str(best.number))
    (file,) = found.presets
    preset = load_preset([file]).preset
    assert preset.train.learning_rate == best.values["train.learning_rate"]
    assert str(preset.stage[0].temperature) == best.values["stage.kd.temperature"]
    assert preset.task.holdout is None
    other = load_preset([file, "rte"]).preset
    assert (other.task.name, other.train.learning_rate) == ("rte", preset.train.learning_rate)
    assert other.stage == preset.stage


def test_importance_tells_what_matters(folder: Path, tmp_path: Path) -> None:
    study = SearchStudy(
        tmp_path / "x.journal", read_search(search_file(folder, 'trials = 9\nsampler = "random"\n')), ("base",)
    )
    for number in range(24):
        trial = study.ask() if number else study.ask({"train.learning_rate": 0.001, "stage.kd.temperature": "2.0"})
        rate = study.values_of(trial)["train.learning_rate"]
        study.tell(trial, "complete", {}, [float(rate)])
    import sys

    loaded = {name for name in ("sklearn", "pandas") if name in sys.modules}
    found = study.importance()
    assert {name for name in ("sklearn", "pandas") if name in sys.modules} == loaded, "they take seconds to import"
    assert list(found) == ["train.learning_rate", "stage.kd.temperature"]
    assert sum(found.values()) == pytest.approx(1)


def test_nothing_is_said_of_importance_before_ten_trials(folder: Path, tmp_path: Path) -> None:
    study = SearchStudy(tmp_path / "x.journal", read_search(search_file(folder)), ("base",))
    for number in range(10):
        assert study.importance() == {}
        trial = study.ask() if number else study.ask({})
        study.values_of(trial)
        study.tell(trial, "complete", {}, [0.1 * number])
    assert study.importance()


def test_the_majority_guess_is_known(folder: Path, runs: Path) -> None:
    assert go(search_file(folder, "trials = 2\n"), runs, InstantEngines()).majority == 0.5


def test_where_all_trials_reach_the_same_nothing_matters(folder: Path, tmp_path: Path) -> None:
    study = SearchStudy(
        tmp_path / "x.journal", read_search(search_file(folder, 'trials = 9\nsampler = "random"\n')), ("base",)
    )
    for number in range(12):
        study.tell(study.ask() if number else study.ask({}), "complete", {}, [0.5])
    assert study.importance() == {}


def test_killed_again_and_again_it_has_the_same_trials(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = search_file(folder, 'trials = 12\nseeds = [1, 2]\npruner = "hyperband"\n')
    whole = go(path, tmp_path / "whole", InstantEngines())
    assert whole.counts().get("pruned")
    for at in (1, 2, 1, 5, 9):
        killed(path, runs, at)
    assert table(go(path, runs, InstantEngines())) == table(whole)
    assert states(runs) == states(tmp_path / "whole")


def test_a_torn_journal_and_a_lost_table_change_nothing(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = search_file(folder)
    whole = table(go(path, tmp_path / "whole", InstantEngines()))
    killed(path, runs, 7)
    journal = journal_of(runs)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    journal.with_suffix(".trials").unlink()
    assert table(go(path, runs, InstantEngines())) == whole


@pytest.mark.parametrize("dies", [False, True])
def test_pruned_trials_are_stopped_tagged_and_no_failures(folder: Path, runs: Path, dies: bool) -> None:
    engines = InstantEngines(dies=dies)
    # a bad run ends only if it is pruned, once there are enough others to compare it with
    engines.what = lambda _run, preset: "hang" if quality(preset) < 0.74 and len(engines.started) > 9 else "finish"
    path = search_file(folder, 'trials = 18\nsampler = "random"\nconfirm = 0\n')
    with _patience():
        found = go(path, runs, engines)
    pruned = [one for one in found.trials if one.state == "pruned"]
    assert engines.stopped
    assert set(engines.stopped) <= {run for one in pruned for run in one.runs}
    for one in pruned:
        assert 0 < (one.pruned_at or 0) < 1
        assert one.results == ()
        (run,) = one.runs
        assert read_annotations(runs / run).tags == ("pruned",)
        ended = "lost" if dies else "stopped"
        assert states(runs)[run] == (ended if run in engines.stopped else "finished")
        assert engines.started.count(run) == 1, "it is not resumed"
    assert "failed" not in states(runs).values()
    assert found.trials[0].state == "complete"
    later = InstantEngines()
    go(path, runs, later, trials=20)
    assert later.started
    assert not set(later.started) & set(engines.started), "nor when the search continues"


class _patience:  # noqa: N801
    """A search that waits for a run that nobody ends fails instead of hanging."""

    def __enter__(self) -> None:
        import signal

        def late(*_: object) -> None:
            raise AssertionError("a run was never pruned")

        self._before = signal.signal(signal.SIGALRM, late)
        signal.alarm(60)

    def __exit__(self, *_: object) -> None:
        import signal

        signal.alarm(0)
        signal.signal(signal.SIGALRM, self._before)


def test_further_seeds_start_only_for_trials_that_were_not_pruned(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, 'trials = 12\nseeds = "1-3"\nsampler = "random"\n'), runs, InstantEngines())
    lengths = {one.state: len(one.runs) for one in found.trials}
    assert lengths == {"complete": 3, "pruned": 1}
    for one in found.trials:
        if one.state == "complete":
            means = [quality(presets(runs)[run]) for run in one.runs]
            assert one.results[0] == pytest.approx(sum(means) / 3)


def test_a_failed_trial_ends_nothing_and_says_why(folder: Path, runs: Path) -> None:
    def what(_run: Path, preset: Mapping[str, Any]) -> str:
        return {"1.0": "fail", "4.0": "refuse"}.get(str(preset["stage"][0]["temperature"]), "finish")

    found = go(search_file(folder, "trials = 10\nconfirm = 0\n"), runs, InstantEngines(what))
    assert record_of(runs).state == "ended"
    assert set(found.counts()) == {"complete", "failed"}
    assert sum(found.counts().values()) == 10
    for one in found.trials:
        assert (one.state == "failed") == (one.values["stage.kd.temperature"] != "2.0")
        assert one.state == "complete" or one.why


def test_impossible_combinations_are_listed_and_do_not_count(folder: Path, runs: Path) -> None:
    space = (
        '"student.layers" = [2, 3]\n"student.keep" = ["first", [0, 1]]\n"train.learning_rate" = [0.001, 0.01, 0.1]\n'
    )
    found = go(search_file(folder, 'trials = 12\nsampler = "grid"\n', space), runs, InstantEngines())
    skipped = [one for one in found.trials if one.state == "infeasible"]
    assert {(one.values["student.layers"], one.values["student.keep"]) for one in skipped} == {("3", "[0, 1]")}
    assert len(skipped) == 3
    assert all("keep lists 2 layers" in (one.why or "") and not one.runs for one in skipped)
    assert found.done() == 9
    assert found.over is not None
    assert "grid" in found.over


def test_repeated_values_are_not_trained_again_and_a_small_space_ends(folder: Path, runs: Path) -> None:
    found = go(
        search_file(folder, 'trials = 12\nsampler = "random"\nconfirm = 0\n', '"stage.kd.temperature" = [1.0, 2.0]\n'),
        runs,
        InstantEngines(),
    )
    assert len(states(runs)) == 2
    assert found.counts()["complete"] == 2
    assert all(one.why for one in found.trials if one.state == "repeated")


def test_the_budget_in_trials_can_be_raised(folder: Path, runs: Path, tmp_path: Path) -> None:
    path = search_file(folder, "trials = 5\n")
    assert go(path, runs, InstantEngines()).done() == 5
    found = go(path, runs, InstantEngines(), trials=9)
    assert found.done() == 9
    assert table(found) == table(go(path, tmp_path / "other", InstantEngines(), trials=9))


def test_the_budget_in_hours_ends_it(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, "hours = 1e-9\n"), runs, InstantEngines())
    assert found.trials == ()
    assert found.over is not None
    assert "hours" in found.over
    assert found.presets == ()


def test_no_trial_sees_the_rows_held_out_or_the_test_set(folder: Path, runs: Path) -> None:
    folder.mkdir()
    for split in ("train", "dev", "test"):
        rows = "".join(f"{split} row {row},{'good' if row % 2 else 'bad'}\n" for row in range(20))
        (folder / f"{split}.csv").write_text(f"text,label\n{rows}")
    task = """\
set = ['task.name="custom"', 'task.files={train="train.csv", dev="dev.csv", test="test.csv"}', 'task.kind="classification"']
"""
    found = go(search_file(folder, f"trials = 4\nholdout = 0.25\n{task}"), runs, InstantEngines())
    for run, preset in presets(runs).items():
        assert set(preset["task"]["files"]) == {"train", "dev"}
        assert preset["task"]["holdout"] == 0.25
        assert preset["task"].get("measure_holdout", False) == ("-again-" in run)
    best = load_preset([found.presets[0]]).preset
    assert best.task.files is not None
    assert best.task.files.test == str(folder / "test.csv")
    assert best.task.holdout is None


def test_winner_and_start_are_confirmed_with_fresh_seeds(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, "trials = 8\nseeds = [4, 5]\nconfirm = 2\n"), runs, InstantEngines())
    assert [one.number for one in found.confirmed] == [found.best, 0]
    again = [run for run in states(runs) if "-again-" in run]
    assert sorted(run[-2:] for run in again) == ["s6", "s6", "s7", "s7"]
    winner = found.confirmed[0]
    assert (winner.seeds, winner.rows) == (2, 40)
    assert winner.held_out == pytest.approx(winner.dev - 0.05)
    assert go(search_file(folder, "trials = 8\nseeds = [4, 5]\nconfirm = 2\n"), runs, InstantEngines()) is not None
    assert len(again) == len([run for run in states(runs) if "-again-" in run])


def test_several_aims_have_a_front_with_a_preset_for_each_point(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, 'trials = 12\naim = ["metric", "latency"]\n'), runs, InstantEngines())
    complete = [one for one in found.trials if one.state == "complete"]

    def beaten(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return other != one and other[0] >= one[0] and other[1] <= one[1]

    front = [one.number for one in complete if not any(beaten(one.results, other.results) for other in complete)]
    assert list(found.front) == front
    assert len(found.presets) == 1 + len(front)
    assert found.aims == ("accuracy", "latency")


def test_of_equal_trials_the_next_aim_decides(folder: Path, tmp_path: Path) -> None:
    file = read_search(search_file(folder, 'trials = 3\naim = ["metric", "latency"]\n'))
    study = SearchStudy(tmp_path / "x.journal", file, ("base",))
    for number, figures in enumerate(([0.5, 3.0], [0.7, 2.0], [0.7, 1.0])):
        study.tell(study.ask() if number else study.ask({}), "complete", {}, figures)
    assert (study.best(), study.front()) == (2, [2])


def test_a_front_of_one_point(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, 'trials = 1\naim = ["metric", "size"]\n'), runs, InstantEngines())
    assert found.front == (0,)
    assert found.best == 0
    assert [Path(path).name for path in found.presets] == ["tune-best.toml"]


def test_a_method_is_a_choice_and_dimensions_may_depend_on_it(folder: Path, runs: Path) -> None:
    more = 'trials = 12\nsampler = "random"\nmethods = { plain = "base.toml", long = "base.toml" }\n'
    more += '[[search.when]]\nmatch = { method = "long" }\nset = ["train.epochs=9"]\n'
    space = '"train.learning_rate" = { low = 1e-4, high = 1e-1, log = true }\n'
    space += '"stage.kd.temperature" = { low = 1.0, high = 4.0, when = { method = "long" } }\n'
    found = go(search_file(folder, more, space), runs, InstantEngines())
    assert {one.values["method"] for one in found.trials} == {"plain", "long"}
    made = presets(runs)
    for one in found.trials:
        preset, is_long = made[one.runs[0]], one.values["method"] == "long"
        assert ("stage.kd.temperature" in one.values) == is_long
        assert preset["train"]["epochs"] == (9.0 if is_long else 3.0)


def test_several_slots_fill_and_a_failing_first_trial_does_not_end_it(folder: Path, runs: Path) -> None:
    engines = InstantEngines(lambda run, _preset: "fail" if "-trial-0-s" in run.name else "finish")
    found = go(search_file(folder), runs, engines, slots=4)
    assert found.trials[0].state == "failed"
    assert found.done() == 12
    assert found.best


def test_without_a_finished_trial_there_is_no_best(folder: Path, runs: Path) -> None:
    found = go(search_file(folder, "trials = 3\n"), runs, InstantEngines(lambda *_: "fail"))
    assert (found.best, found.presets, found.confirmed) == (None, (), ())
    assert record_of(runs).state == "ended"


def test_values_depend_on_seed_trial_and_key_alone(folder: Path, tmp_path: Path) -> None:
    def drawn(seed: int, count: int) -> list[dict[str, Any]]:
        file = read_search(search_file(folder, f'trials = 9\nsampler = "random"\nseed = {seed}\n'))
        study = SearchStudy(tmp_path / f"{seed}-{count}.journal", file, ("base",))
        study.ask({})
        return [study.values_of(study.ask()) for _ in range(count)]

    assert drawn(0, 5)[:3] == drawn(0, 3)
    assert drawn(0, 3) != drawn(1, 3)


def test_a_starting_preset_that_changed_since_is_noticed(folder: Path, runs: Path) -> None:
    from engine.search.submit import reconcile_search

    path = search_file(folder, "trials = 2\n")
    go(path, runs, InstantEngines())
    assert reconcile_search(planned(path), runs) is not None
    (folder / "base.toml").write_text((folder / "base.toml").read_text().replace("epochs = 1.0", "epochs = 2.0"))
    with raises("changed-starting-preset", "teacher.finetune.epochs", "--name"):
        reconcile_search(planned(path), runs)
    path = search_file(folder, "trials = 2\nseed = 5\n")
    with raises("changed-search", "seed", "--name"):
        reconcile_search(planned(path), runs)


def test_trials_that_were_deleted_are_written_again(folder: Path, runs: Path) -> None:
    file = search_file(folder, "trials = 3\nconfirm = 0\n")
    found = go(file, runs, InstantEngines())
    record, path = record_of(runs), trials_file(sweep_file(runs, "tune"))
    assert is_over(record, planned(file), runs)
    path.unlink()
    assert not is_over(record, planned(file), runs)
    engines = InstantEngines()
    assert table(go(file, runs, engines)) == table(found)
    assert not engines.started
