"""The chart as a widget: what it draws in a terminal, and what the mouse makes it say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest
from rich.style import Style
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown, MouseScrollUp
from textual.message import Message
from textual.pilot import Pilot

from crild_tui import theme
from crild_tui.charts.canvas import BAR, BOLD, DIM, REVERSE, TITLE, Canvas, curve_look
from crild_tui.charts.figure import Figure, Line, View
from crild_tui.charts.palette import curve_color
from crild_tui.charts.traces import trace
from crild_tui.widgets.chart import Chart, Palette, differences, style

WIDTH, HEIGHT = 60, 12


def figure(**changes: object) -> Figure:
    line = Line("total", trace(np.arange(101.0), np.linspace(1, 0, 101)), 0, "o")
    return replace(Figure("loss", (line,), view=View(0, 100)), **changes)  # type: ignore[arg-type]


class Host(App[None]):
    """A chart alone, and what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Message] = []
        for each in theme.ALL:
            self.register_theme(each)
        self.theme = "crild-dark"

    def compose(self) -> ComposeResult:
        yield Chart("loss")

    @property
    def chart(self) -> Chart:
        return self.query_one(Chart)

    def on_chart_view_changed(self, message: Chart.ViewChanged) -> None:
        self.said.append(message)

    def on_chart_cursor_moved(self, message: Chart.CursorMoved) -> None:
        self.said.append(message)

    def on_chart_enlarge(self, message: Chart.Enlarge) -> None:
        self.said.append(message)

    def views(self) -> list[tuple[float | None, float | None]]:
        return [(said.low, said.high) for said in self.said if isinstance(said, Chart.ViewChanged)]

    def cursors(self) -> list[float | None]:
        return [said.x for said in self.said if isinstance(said, Chart.CursorMoved)]


def tried(what: Callable[[Host, Pilot[None]], Awaitable[None]], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    async def trial() -> None:
        app = Host()
        async with app.run_test(size=size) as pilot:
            app.chart.show(figure())
            await pilot.pause()
            await what(app, pilot)

    asyncio.run(trial())


def lines(chart: Chart) -> list[str]:
    return [chart.render_line(row).text for row in range(chart.size.height)]


async def scroll(app: Host, pilot: Pilot[None], kind: type[MouseScrollUp | MouseScrollDown], x: int, y: int) -> None:
    app.chart.post_message(kind(app.chart, x, y, 0, 0, 0, False, False, False, x, y))
    await pilot.pause()


def test_it_draws_the_figure() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        shown = lines(app.chart)
        assert [len(line) for line in shown] == [WIDTH] * HEIGHT
        assert "o total 0.0000" in shown[1]
        app.chart.show(figure(cursor=50.0))
        assert "o total 0.5000" in lines(app.chart)[1]

    tried(trial)


def test_the_wheel_zooms_around_the_pointer() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        place = app.chart.plot
        x = place.left + place.width // 4
        at = place.x_at(x - 0.5)
        await scroll(app, pilot, MouseScrollUp, x, 5)
        await scroll(app, pilot, MouseScrollDown, x, 5)
        (low, high), (wider_low, wider_high) = app.views()
        assert low is not None
        assert high is not None
        assert wider_low is not None
        assert wider_high is not None
        assert 0 < low < at < high < 100
        assert (at - low) / (high - low) == pytest.approx(at / 100)
        assert high - low == pytest.approx(80)
        assert wider_high - wider_low == pytest.approx(125)

    tried(trial)


def test_the_wheel_beside_the_plot_zooms_at_its_edge() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await scroll(app, pilot, MouseScrollUp, 0, 5)
        assert app.views()[0][0] == pytest.approx(0)

    tried(trial)


def test_dragging_pans() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        width = app.chart.plot.width
        await pilot.mouse_down(Chart, offset=(30, 5))
        await pilot.hover(Chart, offset=(20, 5))
        low, high = app.views()[-1]
        assert low == pytest.approx(1000 / width)
        assert high == pytest.approx(100 + 1000 / width)
        await pilot.mouse_up(Chart, offset=(20, 5))
        count = len(app.views())
        await pilot.hover(Chart, offset=(40, 5))
        assert len(app.views()) == count
        assert app.cursors()[-1] is not None

    tried(trial)


def test_a_double_click_asks_for_all() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.double_click(Chart, offset=(30, 5))
        assert app.views()[-1] == (None, None)

    tried(trial)


def test_a_single_click_changes_nothing_but_the_focus() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        app.screen.set_focus(None)
        await pilot.click(Chart, offset=(30, 5))
        assert app.views() == []
        assert app.chart.has_focus

    tried(trial)


def test_the_pointer_moves_the_cursor_and_takes_it_away() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        place = app.chart.plot
        await pilot.hover(Chart, offset=(place.left, 5))
        await pilot.hover(Chart, offset=(place.left + place.width - 1, 5))
        first, last = app.cursors()
        assert first == pytest.approx(0, abs=1.5)
        assert last == pytest.approx(100, abs=1.5)
        await pilot.hover(Chart, offset=(2, 5))
        assert app.cursors()[-1] is None
        await pilot.hover(Chart, offset=(3, 5))
        assert len(app.cursors()) == 3

    tried(trial)


def test_the_button_in_the_title_enlarges() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        await pilot.click(Chart, offset=(WIDTH - 2, 0))
        assert [type(said) for said in app.said if isinstance(said, Chart.Enlarge)] == [Chart.Enlarge]
        await pilot.click(Chart, offset=(5, 0))
        assert len([said for said in app.said if isinstance(said, Chart.Enlarge)]) == 1

    tried(trial)


def test_the_focus_is_seen_without_colour() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        def reversed_title() -> bool:
            return any(segment.style and segment.style.reverse for segment in app.chart.render_line(0))

        app.chart.focus()
        await pilot.pause()
        assert reversed_title()
        app.screen.set_focus(None)
        await pilot.pause()
        assert not reversed_title()

    tried(trial)


def test_a_theme_changes_the_colours_of_what_is_drawn() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        def colors() -> set[str]:
            found = (segment.style for row in range(HEIGHT) for segment in app.chart.render_line(row))
            return {each.color.name for each in found if each is not None and each.color is not None}

        before = colors()
        assert curve_color(0, dark=True).lower() in before
        app.theme = "crild-light"
        await pilot.pause()
        assert curve_color(0, dark=False).lower() in colors()
        assert curve_color(0, dark=True).lower() not in colors()

    tried(trial)


@pytest.mark.parametrize("size", [(1, 1), (2, 30), (40, 3), (200, 50)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        assert [len(line) for line in lines(app.chart)] == [size[0]] * size[1]
        await pilot.hover(Chart, offset=(0, 0))
        await scroll(app, pilot, MouseScrollUp, 0, 0)

    tried(trial, size)


def test_another_size_is_another_drawing() -> None:
    async def trial(app: Host, pilot: Pilot[None]) -> None:
        for size in ((30, 8), (1, 1), (100, 30), (60, 5)):
            await pilot.resize_terminal(*size)
            app.chart.show(figure(cursor=3.0))
            await pilot.pause()
            assert [len(line) for line in lines(app.chart)] == [size[0]] * size[1]

    tried(trial)


# -- only what differs is sent


def test_differences_are_a_region_for_each_line() -> None:
    before, after = Canvas(20, 3), Canvas(20, 3)
    after.put(1, 5, "ab")
    after.put(2, 0, "x", 3)
    regions = differences(before, after)
    assert regions is not None
    assert regions[0].contains(5, 1)
    assert [region.y for region in regions] == [1, 2]
    assert all(region.x >= 0 and region.right <= 20 for region in regions)
    assert differences(before, before) == []


def test_many_differences_and_other_sizes_are_a_new_drawing() -> None:
    before, after = Canvas(4, 1), Canvas(4, 1)
    after.put(0, 0, "abc")
    assert differences(before, after) is None
    assert differences(before, Canvas(5, 1)) is None


# -- looks


def test_each_look_has_its_style() -> None:
    def found(look: int) -> Style:
        return style(look, Palette("#ffffff", "#000000", "#222222", "#ffcc00", "#ff0000", True))

    assert found(TITLE | BOLD | BAR).bold
    assert found(TITLE | REVERSE).reverse
    assert found(TITLE | BAR).bgcolor != found(TITLE).bgcolor
    assert found(curve_look(0)).color != found(curve_look(1)).color
    assert found(curve_look(0)).color != found(curve_look(0) | DIM).color
    assert found(curve_look(1000)).color is not None
