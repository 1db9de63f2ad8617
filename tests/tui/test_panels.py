"""The three panels: what each key and the mouse do to all of them, whatever is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import MouseScrollUp
from textual.pilot import Pilot
from textual.screen import Screen

import crild_tui
from crild_tui.app import CrildApp
from crild_tui.charts import viewport
from crild_tui.charts.figure import Figure, View
from crild_tui.charts.traces import LONG
from crild_tui.monitor.curves import Curves
from crild_tui.screens.mode_screen import ModeScreen
from crild_tui.widgets import panels
from crild_tui.widgets.panels import Facts, Panels, Source
from engine.user.settings import Dashboard
from tests.tui import curves_samples as samples


class PanelsScreen(ModeScreen):
    """The panels alone; Escape is noticed."""

    MODE = "live"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave")]

    left = 0
    enlarged: bool | None = None

    def content(self) -> ComposeResult:
        yield Panels(self.host.settings.smoothing)

    def action_leave(self) -> None:
        self.left += 1

    def on_panels_enlarged(self, message: Panels.Enlarged) -> None:
        self.enlarged = message.enlarged


class Host(CrildApp):
    """The application with a screen that has nothing but panels."""

    CSS_PATH = str(Path(crild_tui.__file__).parent / "crild.tcss")
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {**CrildApp.MODES, "live": PanelsScreen}

    @property
    def panels(self) -> Panels:
        return self.screen.query_one(Panels)

    @property
    def shown(self) -> tuple[Figure, Figure, Figure]:
        loss, consistency, dev = self.panels.charts
        return loss.figure, consistency.figure, dev.figure

    @property
    def facts(self) -> str:
        return "; ".join(self.panels.query_one(Facts).words)


def one(curves: Curves | None = None, revision: int = 1) -> list[Source]:
    return [Source(samples.snapshot(curves or samples.ordinary(), revision=revision), "a run", 0)]


def follows(app: Host) -> bool:
    return app.panels.following


def cursor_of(app: Host) -> float | None:
    (cursor,) = {figure.cursor for figure in app.shown}
    return cursor


def waits(app: Host) -> bool:
    return app.panels.waiting


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for half a second."""
    monkeypatch.setattr(panels, "EVERY", 0.05)


def tried(
    what: Callable[[Host, Pilot[None]], Awaitable[None]],
    tmp_path: Path,
    *,
    sources: Sequence[Source] | None = None,
    size: tuple[int, int] = (80, 24),
    settings: Dashboard | None = None,
) -> None:
    async def trial() -> None:
        app = Host(tmp_path, settings=settings)
        async with app.run_test(size=size) as pilot:
            await pilot.press("2")
            await settled(app, pilot)
            app.panels.show(one() if sources is None else sources)
            await settled(app, pilot)
            app.panels.chosen.focus()
            await pilot.pause()
            await what(app, pilot)

    asyncio.run(trial())


async def settled(app: Host, pilot: Pilot[None]) -> None:
    """Until what was shown is drawn."""
    await pilot.pause()
    while app.screen.query(Panels) and app.panels.waiting:
        await asyncio.sleep(0.02)
    await pilot.pause()


def span(view: View) -> float:
    return view.high - view.low


def lines(app: Host, number: int) -> list[str]:
    chart = app.panels.charts[number]
    return [chart.render_line(row).text for row in range(chart.size.height)]


# -- each key


def test_x_changes_the_axis_in_all(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        seen = [app.shown[0].axis]
        for _ in range(3):
            await pilot.press("x")
            assert len({figure.axis for figure in app.shown}) == 1
            assert len({figure.view for figure in app.shown}) == 1
            seen.append(app.shown[0].axis)
            assert f"x {seen[-1]}" in app.facts
        assert seen == ["step", "epoch", "time", "step"]

    tried(trial, tmp_path)


def test_x_keeps_view_and_cursor_at_the_same_moment(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.press("plus", "left_square_bracket", "left_square_bracket")
        step, view = app.shown[0].cursor, app.shown[0].view
        assert step is not None
        await pilot.press("x")
        assert app.shown[0].cursor == pytest.approx(step / samples.STEPS_PER_EPOCH)
        assert app.shown[0].view.low == pytest.approx(view.low / samples.STEPS_PER_EPOCH)

    tried(trial, tmp_path)


def test_l_makes_the_scale_logarithmic_but_never_that_of_a_share(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        assert [figure.log for figure in app.shown] == [True, True, False]
        assert "scale log" in app.facts
        await pilot.press("l")
        assert not any(figure.log for figure in app.shown)

    tried(trial, tmp_path)


def test_smoothing_begins_as_configured_and_has_levels(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert app.panels.look.smoothing == 0.8
        await pilot.press("greater_than_sign")
        assert app.panels.look.smoothing == 0.9
        assert "smoothing 0.9" in app.facts
        smooth = app.shown[0].lines[0]
        assert smooth.behind is not None
        assert np.nanstd(np.diff(smooth.trace.y[100:200])) < np.nanstd(np.diff(smooth.behind.y[100:200])) / 3
        for _ in viewport.SMOOTHING:
            await pilot.press("less_than_sign")
        assert app.panels.look.smoothing == 0
        assert app.shown[0].lines[0].behind is None
        await pilot.press("less_than_sign")
        assert app.panels.look.smoothing == 0

    tried(trial, tmp_path, settings=Dashboard(smoothing=0.8))


def test_plus_and_minus_zoom_and_0_resets(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        whole = app.shown[0].view
        await pilot.press("plus", "equals_sign")
        close = app.shown[0].view
        assert span(close) < span(whole) / 2
        assert close.high == whole.high  # it follows the newest point
        await pilot.press("minus")
        assert span(close) < span(app.shown[0].view) < span(whole)
        await pilot.press("minus", "minus", "minus")
        assert app.shown[0].view == View(0, 5000), "the teacher's stage too"
        await pilot.press("plus", "left", "0")
        assert [figure.view for figure in app.shown] == [whole] * 3
        assert follows(app)

    tried(trial, tmp_path)


def test_zoom_goes_around_the_cursor(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        before = app.shown[0].view
        app.panels._move_cursor(1000.0)
        await pilot.press("plus")
        view = app.shown[0].view
        assert view.low < 1000 < view.high
        assert (1000 - view.low) / span(view) == pytest.approx((1000 - before.low) / span(before))
        assert not follows(app)
        assert "view held" in app.facts

    tried(trial, tmp_path)


def test_arrows_pan_within_the_run(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.press("plus", "plus")
        first = app.shown[0].view
        await pilot.press("left")
        moved = app.shown[0].view
        assert moved.low < first.low
        assert span(moved) == pytest.approx(span(first))
        assert not follows(app)
        for _ in range(20):
            app.panels.action_pan(-1)
        assert app.shown[0].view.low == 0
        for _ in range(40):
            app.panels.action_pan(1)
        await pilot.press("right")
        assert app.shown[0].view.high == pytest.approx(5000)
        assert follows(app)

    tried(trial, tmp_path)


def test_brackets_move_the_cursor_in_all(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert cursor_of(app) is None
        await pilot.press("left_square_bracket")
        first = cursor_of(app)
        assert first == pytest.approx(5000, rel=0.02)
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert first is not None
        second = cursor_of(app)
        assert second is not None
        assert second < first
        assert all(any("│" in line[8:] for line in lines(app, number)) for number in range(3))
        for _ in range(5):
            await pilot.press("right_square_bracket")
        assert cursor_of(app) == 5000

    tried(trial, tmp_path)


def test_z_enlarges_the_focused_panel_and_back(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        heights = [chart.size.height for chart in app.panels.charts]
        assert all(heights)
        await pilot.press("tab", "z")
        await pilot.pause()
        loss, consistency, dev = app.panels.charts
        assert (loss.size.height, dev.size.height) == (0, 0)
        assert consistency.size.height > sum(heights) - 2
        assert isinstance(app.screen, PanelsScreen)
        assert app.screen.enlarged
        await pilot.press("tab")
        await pilot.pause()
        assert dev.size.height > sum(heights) - 2
        await pilot.press("z")
        await pilot.pause()
        assert [chart.size.height for chart in app.panels.charts] == heights
        assert not app.screen.enlarged

    tried(trial, tmp_path)


def test_escape_leaves_what_there_is_to_leave_and_then_the_screen(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert isinstance(app.screen, PanelsScreen)
        await pilot.press("z", "left_square_bracket", "escape")
        assert not app.panels.enlarged
        assert cursor_of(app) is not None
        await pilot.press("escape")
        assert cursor_of(app) is None
        assert app.screen.left == 0
        await pilot.press("escape")
        assert app.screen.left == 1

    tried(trial, tmp_path)


def test_h_holds_and_follows(tmp_path: Path) -> None:
    def longer(points: int, revision: int) -> list[Source]:
        return one(samples.plain(np.linspace(1, 0, points)), revision)

    async def trial(app: Host, pilot: Pilot[None]) -> None:
        async def shown(points: int, revision: int) -> View:
            app.panels.show(longer(points, revision))
            await settled(app, pilot)
            return app.shown[0].view

        assert await shown(200, 2) == View(0, 200)
        await pilot.press("h")
        assert not follows(app)
        assert await shown(300, 3) == View(0, 200)
        await pilot.press("h")
        assert app.shown[0].view == View(100, 300)
        assert await shown(400, 4) == View(200, 400)
        await pilot.press("0")
        assert await shown(500, 5) == View(0, 500)

    tried(trial, tmp_path, sources=longer(100, 1))


def test_tab_and_a_click_choose_a_panel(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert app.panels.chosen.id == "loss"
        await pilot.press("tab")
        assert app.panels.chosen.id == "consistency"
        await pilot.click("#dev", offset=(20, 2))
        assert app.panels.chosen.id == "dev"
        assert app.panels.chosen.has_focus

    tried(trial, tmp_path)


def test_every_key_is_in_the_help_with_an_id_of_its_own(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        found = [active.binding for active in app.screen.active_bindings.values() if active.node is app.panels]
        assert {binding.id for binding in found} >= {
            f"panel.{name}"
            for name in (
                "axis", "log", "smoother", "rougher", "zoom_in", "zoom_out", "pan_left", "pan_right", "cursor_left",
                "cursor_right", "reset", "enlarge", "hold",
            )
        }  # fmt: skip
        assert all(binding.description for binding in found)

    tried(trial, tmp_path)


def test_keys_can_be_rebound(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        assert not app.panels.look.log
        await pilot.press("y")
        assert app.panels.look.log

    tried(trial, tmp_path, settings=Dashboard(keys={"panel.log": "y"}))


# -- the mouse


def test_the_mouse_in_one_panel_moves_all(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.hover("#consistency", offset=(40, 3))
        cursors = {figure.cursor for figure in app.shown}
        assert len(cursors) == 1
        assert None not in cursors
        chart, whole = app.panels.charts[1], app.shown[1].view
        chart.post_message(MouseScrollUp(chart, 40, 3, 0, 0, 0, False, False, False, 40, 3))
        await pilot.pause()
        views = {figure.view for figure in app.shown}
        assert len(views) == 1
        close = views.pop()
        assert span(close) == pytest.approx(span(whole) * 0.8)
        await pilot.mouse_down("#dev", offset=(40, 2))
        await pilot.hover("#dev", offset=(45, 2))
        await pilot.mouse_up("#dev", offset=(45, 2))
        assert app.shown[0].view.low < close.low
        assert span(app.shown[0].view) == pytest.approx(span(close))
        await pilot.double_click("#loss", offset=(40, 2))
        assert app.shown[2].view == whole

    tried(trial, tmp_path)


def test_the_button_enlarges_its_panel(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.click("#dev", offset=(78, 0))
        await pilot.pause()
        assert app.panels.enlarged
        assert app.panels.chosen.id == "dev"
        assert app.panels.charts[0].size.height == 0

    tried(trial, tmp_path)


# -- what is shown


def test_nothing_is_drawn_again_when_nothing_changed(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        before = app.shown
        app.panels.show(app.panels.sources)
        assert not waits(app)
        await settled(app, pilot)
        assert app.shown == before
        app.panels.show(one(revision=2))
        assert waits(app)
        await settled(app, pilot)
        assert app.shown[0] is not before[0]

    tried(trial, tmp_path)


def test_many_changes_are_drawn_at_once(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        drawn: list[object] = []
        app.panels._redraw = lambda: drawn.append(app.panels.sources)  # type: ignore[method-assign]
        for revision in range(2, 40):
            app.panels.show(one(samples.plain(np.ones(revision)), revision))
            await asyncio.sleep(0)
        await settled(app, pilot)
        assert 1 <= len(drawn) <= 2

    tried(trial, tmp_path)


def test_another_run_is_shown_whole(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.press("plus", "left", "left_square_bracket")
        app.panels.show([Source(samples.snapshot(samples.plain(np.ones(50)), "another"), "another", 0)])
        await settled(app, pilot)
        assert app.shown[0].view == View(0, 50)
        assert app.shown[0].cursor is None
        assert follows(app)

    tried(trial, tmp_path)


def test_several_runs_are_told_apart(tmp_path: Path) -> None:
    sources = [Source(samples.snapshot(samples.ordinary(seed=n), f"r{n}"), f"run {n}", n) for n in range(4)]

    async def trial(app: Host, pilot: Pilot[None]) -> None:
        legend = lines(app, 0)[1]
        for sign, label in zip("ox+*", ("run 0", "run 1", "run 2", "run 3"), strict=True):
            assert f"{sign} {label}" in legend
        app.panels.show([])
        await settled(app, pilot)
        assert "nothing yet" in "".join(lines(app, 0))

    tried(trial, tmp_path, sources=sources, size=(200, 50))


def test_a_panel_without_curves_leaves_the_room_to_the_others(tmp_path: Path) -> None:
    without = replace(samples.snapshot(samples.plain(np.ones(3)), state="finished"), revision=2)

    async def trial(app: Host, pilot: Pilot[None]) -> None:
        full = app.panels.charts[1].size.height
        assert full > 1
        app.panels.show([Source(without, "a run", 0)])
        await settled(app, pilot)
        loss, consistency, dev = app.panels.charts
        assert consistency.size.height == 1
        assert "this run has no consistency term" in lines(app, 1)[0]
        assert loss.size.height > full
        assert dev.size.height == 1
        consistency.focus()
        await pilot.press("z")
        assert consistency.size.height > full
        await pilot.press("z")
        await pilot.resize_terminal(140, 24)
        await settled(app, pilot)
        assert (consistency.size.width, dev.size.width) == (0, 0), "beside the loss there is nothing to say"
        assert loss.size.width > 130
        await pilot.resize_terminal(80, 24)
        app.panels.show(one(revision=3))
        await settled(app, pilot)
        assert consistency.size.height == full

    tried(trial, tmp_path)


def test_a_sample_is_called_one(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert "sample" in app.facts

    tried(trial, tmp_path, sources=one(replace(samples.ordinary(), complete=False)))


def test_a_long_run_is_prepared_apart(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert len(app.shown[0].lines[0].points.x) == LONG + 1000
        await pilot.press("x", "greater_than_sign", "plus")
        await settled(app, pilot)
        assert app.shown[0].axis == "epoch"
        assert "smoothing 0.8" in app.facts
        assert span(app.shown[0].view) < 10 * (LONG + 1000) / samples.STEPS_PER_EPOCH

    tried(trial, tmp_path, sources=one(samples.ordinary(LONG + 1000)))


def test_every_key_works_on_hostile_curves(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        for name, curves in samples.hostile().items():
            app.panels.show([Source(samples.snapshot(curves, name), name, 0)])
            await settled(app, pilot)
            for action in (
                "log", "zoom(1)", "axis", "smooth(1)", "pan(-1)", "cursor(-1)", "enlarge", "axis", "zoom(-1)", "pan(1)",
                "hold", "cursor(1)", "enlarge", "reset", "back", "axis", "smooth(-1)",
            ):  # fmt: skip
                await app.run_action(action, app.panels)
                assert "\x1b" not in "".join(lines(app, 0)), name
            await settled(app, pilot)
            assert app.shown[0].view.low < app.shown[0].view.high, name

    tried(trial, tmp_path)


# -- sizes and themes


SIZES = {(80, 24): 3, (200, 50): 3, (130, 24): 3, (60, 20): 3, (40, 10): 1, (200, 10): 1, (20, 5): 1}


def test_what_fits_is_shown(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        for size, seen in SIZES.items():
            await pilot.resize_terminal(*size)
            await pilot.pause()
            regions = [chart.region for chart in app.panels.charts if chart.size.height]
            assert len(regions) == seen, size
            assert not any(a.intersection(b) for a in regions for b in regions if a is not b), size
            assert all(app.panels.region.contains_region(region) for region in regions), size
            if seen == 3:
                assert all(chart.plot.height >= 3 for chart in app.panels.charts), size

    tried(trial, tmp_path)


def test_panels_above_each_other_line_up(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert len({(chart.plot.left, chart.plot.width) for chart in app.panels.charts}) == 1
        assert "step" in lines(app, 2)[-1]
        assert "step" not in "".join(lines(app, 0))

    tried(trial, tmp_path)


def test_at_40_by_10_tab_goes_to_the_next_panel(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        for number in (0, 1, 2):
            assert [bool(chart.size.height) for chart in app.panels.charts] == [n == number for n in range(3)]
            await pilot.press("tab")
            await pilot.pause()

    tried(trial, tmp_path, size=(40, 10))


def test_the_terminal_may_change_its_size_while_curves_grow(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        for revision, size in enumerate(((40, 10), (200, 50), (1, 1), (120, 15), (80, 24)), 2):
            app.panels.show(one(samples.ordinary(100 * revision), revision))
            await pilot.resize_terminal(*size)
            await pilot.press("plus")
            await settled(app, pilot)
        assert all(len(line) == 80 for number in range(3) for line in lines(app, number))
        assert len(app.shown[0].lines[0].points.x) == 600

    tried(trial, tmp_path)


def test_ascii_mode_has_nothing_else(tmp_path: Path) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.press("left_square_bracket")
        assert app.export_screenshot().replace("&#160;", " ").isascii()

    tried(trial, tmp_path, settings=Dashboard(ascii=True))


def test_without_colour_it_still_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert app.no_color
        words = "\n".join(lines(app, 2))
        assert "o student" in words
        assert "★" in words
        assert "T 69.43" in words

    tried(trial, tmp_path)


# -- viewing


def test_views_stay_inside_the_run() -> None:
    whole = View(0, 100)
    assert viewport.limited(View(-10, 40), whole) == View(0, 50)
    assert viewport.limited(View(90, 120), whole) == View(70, 100)
    assert viewport.limited(View(-10, 200), whole) is None
    narrow = viewport.limited(View(50, 50), whole)
    assert narrow is not None
    assert 0 < span(narrow) < 1e-3


def test_zooming_keeps_its_place() -> None:
    assert viewport.zoomed(View(0, 100), 20, 0.5) == View(10, 60)
    assert viewport.panned(View(0, 100), 0.25) == View(25, 125)
    assert viewport.ending_at(View(0, 10), 30) == View(20, 30)


def test_levels_of_smoothing() -> None:
    assert viewport.next_level(0.6, 1) == 0.8
    assert viewport.next_level(0.5, 1) == 0.6
    assert viewport.next_level(0.5, -1) == 0.3
    assert viewport.next_level(0.99, 1) == 0.99
    assert viewport.next_level(0.995, 1) == 0.995


def test_a_moment_on_another_axis() -> None:
    table = samples.table(np.array([0.0, 100.0, 200.0]), loss=np.zeros(3))
    assert viewport.translated([table], "step", "time", 150) == pytest.approx(60)
    assert viewport.translated([], "step", "time", 150) == 150
