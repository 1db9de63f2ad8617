"""A search in the dashboard: trials, importance, chart or front, live; its keys; little room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from crild_tui.charts.drawing import draw
from crild_tui.charts.search_figures import search_figure
from crild_tui.monitor.search import SearchWatcher
from crild_tui.runs.filter import parse
from crild_tui.runs.searches import SearchSnapshot, flattery, importance_text, result_texts, signs_text
from crild_tui.screens.runs import RunsScreen
from crild_tui.screens.search import SearchScreen
from engine.search.trials import Confirmation, TrialRecord, Trials, trials_file, write_trials
from engine.sweep.record import CellRecord, SweepRecord, sweep_file, write_sweep_record
from engine.sweep.slots import Slot
from engine.user.settings import Dashboard
from tests.cli.samples import make_run
from tests.tui.screen_driver import Driven, drive, screen_text, until
from tests.tui.snapshots import Snapshots

RATES = (0.001, 0.0003, 0.01, 0.003, 0.03)
FIGURES = (0.61, 0.55, 0.7, 0.68)


def trials_of(*aims: str, count: int = 5) -> Trials:
    """Four complete trials and a pruned one, each with a rate; the third is the best."""
    rows = [
        TrialRecord(
            number,
            "complete" if number < 4 else "pruned",
            {"train.learning_rate": rate, "method": "kd"},
            (FIGURES[number], 10.0 + number)[: len(aims)] if number < 4 else (),
            (f"tune-kd-trial-{number}-s1",),
            60.0,
            0.4 if number == 4 else None,
        )
        for number, rate in enumerate(RATES[:count])
    ]
    front = (0, 2) if len(aims) > 1 else ()
    return Trials(aims, tuple(rows), 9, None, 300.0, 2, front, {"train.learning_rate": 0.9, "method": 0.1})


def make_search(runs: Path, trials: Trials) -> None:
    cells = []
    for trial in trials.trials:
        cell = {"method": "kd", "task": "rte", "trial": str(trial.number), "seed": "1"}
        make_run(runs, trial.runs[0].removesuffix("-s1"), task="rte", method="kd", sweep="tune", cell=cell, seed=1)
        cells.append(CellRecord(trial.runs[0], cell, 1, 0))
    record = SweepRecord(
        "tune",
        "tune.toml",
        1.0,
        {"method": ("kd",)},
        tuple(cells),
        (Slot("cpu", 1),),
        state="ended",
        search={"table": {}},
    )
    file = sweep_file(runs, "tune")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_sweep_record(file, record)
    write_trials(file, trials)


async def opened(app: Driven, pilot: Pilot[None]) -> SearchScreen:
    await pilot.press("m")
    await until(pilot, lambda: isinstance(app.screen, SearchScreen) and app.screen.rows)
    screen = app.screen
    assert isinstance(screen, SearchScreen)
    await pilot.pause()
    return screen


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_it_shows_trials_the_best_importance_and_a_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    make_search(tmp_path, trials_of("accuracy"))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        text = screen_text(app)
        facts = (
            "search tune", "5 of 9 trials", "best accuracy 70.00 (trial 2)", "importance: too few trials to say",
            "accuracy by trial", "starting preset", "2*", "pruned at 40 %", "70.00",
        )  # fmt: skip
        assert [fact for fact in facts if fact not in text] == []
        assert any("⠀" < character <= "⣿" for character in text), "a picture in braille"

    drive(monkeypatch, tmp_path, look, size=size)


def test_importance_is_in_words_from_ten_complete_trials() -> None:
    few = trials_of("accuracy")
    more = [replace(few.trials[0], number=number) for number in range(10)]
    assert importance_text(replace(few, trials=tuple(more[:9]))) == "too few trials to say"
    assert importance_text(replace(few, trials=tuple(more))) == "train.learning_rate 90 %, method 10 %"


@pytest.mark.parametrize(
    ("majority", "confirmed", "over", "said"),
    [
        (0.7, None, "all trials are done", "70.00 against 70.00"),
        (0.65, 0.65, "all trials are done", "65.00 against 65.00"),
        (0.69, None, "all trials are done", None),
        (0.69, 0.71, "all trials are done", None),
        (0.7, None, None, None),
        (None, 0.1, "all trials are done", None),
    ],
)
def test_a_winner_that_does_not_beat_the_majority_guess_is_named(
    majority: float | None, confirmed: float | None, over: str | None, said: str | None
) -> None:
    again = () if confirmed is None else (Confirmation(2, 3, confirmed),)
    found = list(flattery(replace(trials_of("accuracy"), majority=majority, confirmed=again, over=over)))
    assert ["majority" in sentence for sentence in found].count(True) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.parametrize(
    ("dev", "held_out", "said"),
    [
        (0.66, (0.65, 0.6), None),
        (0.66, (0.597, 0.6), "on the rows held out, it is no better in accuracy than the starting preset"),
        (0.66, (0.6, 0.6), "on the rows held out, it is no better in accuracy than the starting preset"),
        (0.5, (0.65, 0.6), None),
        (0.66, None, None),
        (0.5, None, "with fresh seeds on dev, it is no better in accuracy than the starting preset"),
    ],
)
def test_a_gain_that_is_none_is_called_that(dev: float, held_out: tuple[float, float] | None, said: str | None) -> None:
    own, reference = held_out or (None, None)
    confirmed = (Confirmation(2, 3, dev, None, own, None, 400), Confirmation(0, 1, 0.6, None, reference, None, 400))
    found = list(flattery(replace(trials_of("accuracy"), confirmed=confirmed, over="all trials are done")))
    assert [sentence for sentence in found if "no better" in sentence] == ([] if said is None else [said])
    assert "among the trials, its gain over the starting preset was +9.00" in found
    by_time = list(flattery(replace(trials_of("latency"), confirmed=confirmed, over="all trials are done")))
    assert not any("no better" in sentence or "among the trials" in sentence for sentence in by_time)


def test_each_gain_is_read_once() -> None:
    confirmed = (Confirmation(2, 3, 0.66, 0.01, 0.597, 0.02, 400), Confirmation(0, 1, 0.6, None, 0.6, None, 400))
    assert list(flattery(replace(trials_of("accuracy"), confirmed=confirmed)))[:4] == [
        "trial 2 was chosen with accuracy 70.00 on dev; with 3 fresh seeds it has 66.00 ± 1.00 on dev and 59.70 ± 2.00 on "
        "400 training rows that no trial saw",
        "the starting preset has 60.00 on dev and 60.00 on those rows with 1 fresh seed",
        "among the trials, its gain over the starting preset was +9.00",
        "with fresh seeds, that gain is +6.00 on dev and -0.30 on the rows held out",
    ]


@pytest.mark.parametrize(
    ("best", "over", "named"), [(0, "all trials are done", True), (0, None, False), (2, "x", False)]
)
def test_a_search_that_found_nothing_better_says_so(best: int, over: str | None, named: bool) -> None:
    found = list(flattery(replace(trials_of("accuracy"), best=best, over=over)))
    assert ("the best trial is the starting preset: nothing better was found" in found) is named


@pytest.mark.parametrize(
    ("majority", "marked"), [(None, []), (0.5, []), (0.6, ["55.00†"]), (0.61, ["61.00†", "55.00†"])]
)
def test_trials_that_do_not_beat_the_majority_guess_are_marked(majority: float | None, marked: list[str]) -> None:
    trials = replace(trials_of("accuracy", "latency"), majority=majority)
    texts = [text for trial in trials.trials for text in result_texts(trials, trial)]
    assert [text for text in texts if text.endswith("†")] == marked
    assert ("majority guess" in signs_text(trials)) == bool(marked)


@pytest.mark.parametrize(("width", "ticks"), [(60, "0 2 4"), (200, "0 1 2 3 4")])
def test_its_chart_has_whole_trials_steps_and_a_word_for_the_star(width: int, ticks: str) -> None:
    figure = search_figure(trials_of("accuracy"))
    drawn = draw(figure, width, 20)
    lines = ["".join(map(chr, row)) for row in drawn.canvas.codes]
    assert lines[-1].split() == ["trial", *ticks.split()]
    assert "★ best 70.00" in lines[1]
    assert "68.00" not in lines[1], "the last trial is no current value"
    best = next(line.trace for line in figure.lines if line.label == "best so far")
    assert set(best.y) == {0.61, 0.7}
    assert set(best.within(1.9, 1.99)) == {0.61}


def test_the_marks_of_several_aims_are_explained_in_eighty_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_search(tmp_path, replace(trials_of("accuracy", "latency"), majority=0.6))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        text = screen_text(app)
        assert "*: the front; † at or below the majority guess" in text
        assert "importance: " in text

    drive(monkeypatch, tmp_path, look, size=(80, 24))


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_several_aims_have_their_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    make_search(tmp_path, trials_of("accuracy", "latency"))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        text = screen_text(app)
        assert [
            fact for fact in ("accuracy by latency in ms", "*: the front: ", "0*", "2*", "12.0 ms") if fact not in text
        ] == []

    drive(monkeypatch, tmp_path, look, size=size)


def test_it_is_live_and_keeps_the_cursor_on_its_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_search(tmp_path, trials_of("accuracy", count=3))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        screen = await opened(app, pilot)
        await pilot.press("down")
        await pilot.pause()
        assert screen.selected is not None
        assert screen.selected.number == 0
        confirmed = (Confirmation(2, 3, 0.66, 0.01, 0.65, 0.02, 400), Confirmation(0, 3, 0.6, 0.01, 0.6, 0.02, 400))
        write_trials(sweep_file(tmp_path, "tune"), replace(trials_of("accuracy"), confirmed=confirmed))
        await until(pilot, lambda: len(screen.rows) == 5)
        await pilot.pause()
        assert screen.selected.number == 0
        text = screen_text(app)
        assert "trial 0" in text
        assert "65.00 ± 2.00 on 400" in text

    drive(monkeypatch, tmp_path, look, size=(200, 50))


def test_all_that_is_said_of_the_winner_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed = (Confirmation(2, 3, 0.66, 0.01, 0.65, 0.02, 400), Confirmation(0, 3, 0.6, 0.01, 0.65, 0.02, 400))
    ended = replace(trials_of("accuracy"), confirmed=confirmed, over="all trials are done", majority=0.67)
    make_search(
        tmp_path, replace(ended, presets=(str(tmp_path / "tune-best.toml"), str(tmp_path / "tune-front-1.toml")))
    )
    monkeypatch.chdir(tmp_path)

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        text = screen_text(app)
        facts = (
            "*: the best; † at or below the majority guess", "importance: ", "+0.00 on the rows held out", "is no better in accuracy",
            "accuracy by trial", "70.00", "crild run tune-best.toml",
        )  # fmt: skip
        assert [fact for fact in facts if fact not in text] == []
        assert "front-1" not in text

    drive(monkeypatch, tmp_path, look, size=(80, 24))


@pytest.mark.parametrize("ascii_only", [False, True])
def test_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ascii_only: bool) -> None:
    make_search(tmp_path, trials_of("accuracy"))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        assert "2*" in screen_text(app)
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert "accuracy by trial" in screen_text(app)

    drive(monkeypatch, tmp_path, look, size=(40, 10), settings=Dashboard(ascii=ascii_only))


def test_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_search(tmp_path, trials_of("accuracy"))

    async def look(app: Driven, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("s")
        assert any("not running" in sentence for sentence in app.told)
        await pilot.press("c")
        await until(pilot, lambda: app.asked)
        assert app.asked == [("tune-kd-trial-2-s1", "tune-kd-trial-0-s1")]
        await opened(app, pilot)
        await pilot.press("j", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: "trial=3" in app.screen.query_one(Input).value)
        assert parse(app.screen.query_one(Input).value)

    drive(monkeypatch, tmp_path, look, size=(120, 40))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    make_search(tmp_path, trials_of("accuracy"))
    file = trials_file(sweep_file(tmp_path, "tune"))
    seen: Snapshots[SearchSnapshot] = Snapshots()
    watcher: Any = SearchWatcher(tmp_path, "tune", seen, every=0.01)
    watcher.start()
    try:
        seen.until(lambda one: one.trials is not None)
        file.write_text("{}")
        broken = seen.until(lambda one: one.problem is not None)
        assert broken.trials is not None, "what was last read stays"
        file.unlink()
        seen.until(lambda one: one.problem is None and one.trials is None)
    finally:
        watcher.stop()
