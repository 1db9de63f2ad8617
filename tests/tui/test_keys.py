"""Sentences name the keys that the user has, also after `dashboard.toml` has rebound them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crild_tui.app import MODE_NAMES, CrildApp
from crild_tui.charts.drawing import draw
from crild_tui.charts.figure import Figure
from crild_tui.keys import key_names, key_problems
from crild_tui.launch_form.help_text import no_form
from crild_tui.monitor.curves import Curves
from crild_tui.monitor.snapshots import RunSnapshot
from crild_tui.runs.details import detail, panel
from crild_tui.runs.listing import Arranged
from crild_tui.runs.overview import page_instead
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import KeyNames, check_possible, key_hints
from crild_tui.runs.summary import RunSummary, with_status
from crild_tui.screens.compare import how_to_compare
from crild_tui.widgets.messages_pane import SearchBar
from crild_tui.widgets.notice import how_to_start, notice_of
from engine.errors import UsageError
from engine.record.run import RunEntry
from engine.record.states import Action
from engine.user.settings import Dashboard
from tests.tui.run_entries import NOW, entry
from tests.tui.screen_driver import screen_text, until

RUN = Path("/runs/a")
STAGE = {"stage": "kd", "stage_index": 1, "stages": 1, "step": 5, "steps": 9, "attempt": 1}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyNames:
    """Every binding of the dashboard on a key that no binding has by itself: f100, f101, ..."""
    app = CrildApp(tmp_path_factory.mktemp("runs"))
    return key_names(app, {binding: f"f{100 + number}" for number, binding in enumerate(app.keys)})


def summary_of(run: RunEntry) -> RunSummary:
    assert run.status is not None
    return with_status(RunSummary(), run.status, run.state)


def refusal(state: str, action: Action, keys: KeyNames) -> str:
    with pytest.raises(UsageError) as caught:
        check_possible(entry("a", state), action, key_hints(keys, "runs"))
    return caught.value.sentence


def sentences(keys: KeyNames) -> Iterator[tuple[str, str]]:
    """Sentences that name keys, each with the ids of the bindings that it names."""
    for state, more, ids in (
        ("queued", {}, "stop"), ("stopping", STAGE, "kill"), ("failed", STAGE, "resume"), ("lost", STAGE, "resume"),
        ("lost", {}, "resume"), ("stalled", STAGE, "kill resume"), ("stopped", STAGE, "resume"),
        ("preempted", STAGE, "resume"),
    ):  # fmt: skip
        run = entry("a", state, **more)
        yield detail(run, keys, NOW, 200, 5).plain, " ".join(f"runs.{name}" for name in ids.split())
        yield panel(run, None, keys, NOW, 60).plain, " ".join(f"runs.{name}" for name in ids.split())
        if state != "stopping":
            notice = notice_of(RunSnapshot(RUN, run, summary_of(run), Curves()), keys, now=NOW)
            assert notice is not None
            yield notice.hint, " ".join(f"live.{name}" for name in ids.split())
    yield panel(entry("a", sweep="s"), None, keys, NOW, 60).plain, "runs.sweep"
    runs = RunsSnapshot(RUN.parent, (entry("a"),), revision=1)
    yield str(page_instead(runs, Arranged(filtered=1, hidden=1), keys)), "runs.clear runs.show_hidden"
    yield str(page_instead(RunsSnapshot(RUN.parent, revision=1), Arranged(), keys)), "mode.launch"
    yield str(how_to_compare(keys)), "mode.runs runs.mark runs.compare"
    yield " ".join(map(str, how_to_start(RUN.parent, keys).renderables)), "mode.launch"
    yield no_form(keys), "launch.editor"
    yield refusal("lost", "stop", keys), "runs.resume"
    yield refusal("running", "delete", keys), "runs.stop"
    yield refusal("running", "resume", keys), "runs.watch"
    drawing = draw(Figure("loss"), 60, 10, keys=keys)
    yield "".join(text for line in drawing.canvas.spans() for text, _ in line), "panel.enlarge"


def test_sentences_name_the_keys_that_the_user_has(keys: KeyNames) -> None:
    for sentence, ids in sentences(keys):
        text = " ".join(sentence.split())
        for binding in ids.split():
            assert re.search(rf"\b{keys[binding]}\b", text), (binding, text)
        assert set(re.findall(r"[Pp]ress (\w+)", text)) <= set(keys.values()), text


def test_the_dashboard_names_rebound_keys(tmp_path: Path) -> None:
    rebound = {
        "mode.runs": "f9", "mode.launch": "f10", "live.next": "f6", "live.previous_match": "f7", "live.back": "f8",
        "runs.mark": "f12", "runs.compare": "ctrl+x",
    }  # fmt: skip

    async def go() -> None:
        app = CrildApp(tmp_path / "runs", settings=Dashboard(keys=rebound))
        async with app.run_test(size=(100, 30)) as pilot:
            app.switch_mode("compare")
            await pilot.pause()
            lines = screen_text(app).splitlines()
            assert all(word in lines[0] for word in ("f10 Launch", "2 Live", "f9 Runs", "4 Compare"))
            assert [line.split()[0] for line in lines if "runs to compare" in line or "compare them" in line] == [
                "f12", "^x",
            ]  # fmt: skip
            app.switch_mode("runs")
            await until(pilot, lambda: "f10  choose a preset" in screen_text(app))
            app.switch_mode("live")
            await pilot.pause()
            placeholder = app.screen.query_one(SearchBar).query_one("#search").placeholder  # type: ignore[attr-defined]
            assert placeholder == "search; Enter, then f6 and f7; f8 ends"

    asyncio.run(go())


def test_keys_that_cannot_work_are_named(tmp_path: Path) -> None:
    rebound = {"live.foo": "f9", "live.kill": "f9", "live.stop": "f9", "runs.mark": "f9"}
    app = CrildApp(tmp_path, settings=Dashboard(keys=rebound))
    unknown, shared = key_problems(app.settings.keys)
    assert "live.foo" in unknown
    assert all(word in shared for word in ("live.kill", "live.stop", "f9"))
    assert "runs.mark" not in shared, "another mode"
    assert key_problems({"live.stop": "f8"}) == []


def test_a_name_is_the_first_key_as_the_footer_shows_it(tmp_path: Path) -> None:
    app = CrildApp(tmp_path, settings=Dashboard(keys={"live.resume": "?,f8", "live.kill": "ctrl+k"}))
    names = [app.keys[binding] for binding in ("mode.launch", "live.resume", "live.kill", "live.search", "runs.watch")]
    assert names == ["1", "?", "^k", "/", "enter"]
    assert {f"mode.{mode}" for mode in MODE_NAMES} <= set(app.keys)
