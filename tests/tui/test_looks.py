"""What every mode must keep at every size and theme, whatever the state of the run that it shows.

Each cell of text stands out from its background as WCAG asks of large or bold text (3 to 1); NO_COLOR leaves greys;
ASCII mode leaves ASCII; header and footer stay; a run's state is a word, never a colour alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.color import Color as RichColor
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot

from crild_tui.app import CrildApp
from crild_tui.messages import CompareRuns, WatchRun
from engine.record.owner import Owner
from engine.record.run import read_status, update_status
from engine.user.settings import Dashboard
from tests.cli.samples import make_run
from tests.tui.screen_driver import screen_text, until

SIZES = ((80, 24), (120, 40), (200, 50))
STATES = ("created", "finished", "failed", "stopped", "lost", "stalled")
LOWEST = 3.0


@pytest.fixture
def runs(short_path: Path) -> Path:
    """A run in each state; the names are the states."""
    folder = short_path / "runs"
    for seed, state in enumerate(STATES):
        run_dir = make_run(folder, state, seed=seed, state="running" if state in ("lost", "stalled") else state)
        if state == "stalled":
            update_status(run_dir, owner=Owner.current(), heartbeat=read_status(run_dir).created - 3600)
    return folder


def drawn(app: CrildApp) -> Iterator[Segment]:
    """What the terminal gets: every segment of the screen, through the application's filters."""
    background = app.screen.background_colors[1]
    for strip in app.screen._compositor.render_strips():
        line = list(strip)
        for each in app.get_line_filters():
            line = each.apply(line, background)
        yield from line


def contrast(one: Color, other: Color) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    parts = (part / 255 for part in color.rgb)
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def faint(app: CrildApp) -> list[str]:
    """Words that do not stand out from what is behind them."""
    found = []
    for segment in drawn(app):
        style = segment.style
        if style is None or not any(character.isalnum() for character in segment.text):
            continue
        front, back = (_color(style.color), _color(style.bgcolor))
        if front is not None and back is not None and contrast(front, back) < LOWEST:
            found.append(f"{segment.text.strip()!r} {front.hex} on {back.hex}: {contrast(front, back):.1f}")
    return found


def _color(color: RichColor | None) -> Color | None:
    return None if color is None or color.is_default else Color.from_rich_color(color)


async def tour(app: CrildApp, pilot: Pilot[None], runs: Path) -> list[tuple[str, str]]:
    """Go through all modes and states; what stood on the screen each time, by name."""
    seen = []

    def framed() -> bool:
        lines = screen_text(app).splitlines()
        return "crild" in lines[0] and ("Quit" in lines[-1] or "Keys" in lines[-1])

    async def look(name: str) -> None:
        await until(pilot, framed)  # header and footer, once the layout has settled
        assert not (words := faint(app)), f"{name}: " + "; ".join(sorted(set(words)))
        seen.append((name, screen_text(app)))

    await pilot.press("f1")
    await until(pilot, lambda: "quickstart" in screen_text(app))
    await look("launch")
    for run_dir in sorted(runs.iterdir()):
        app.post_message(WatchRun(run_dir))
        await until(pilot, lambda run_dir=run_dir: run_dir.name in screen_text(app))  # type: ignore[misc]
        await pilot.pause(0.6)
        await look(f"live {run_dir.name}")
    await pilot.press("f3")
    await until(pilot, lambda: f"{len(STATES)} runs" in screen_text(app))
    await look("runs")
    app.post_message(CompareRuns(tuple(sorted(runs.iterdir())[:3])))
    await until(pilot, lambda: "consistency" in screen_text(app))
    await pilot.pause(0.6)
    await look("compare")
    return seen


def tours(runs: Path, size: tuple[int, int], settings: Dashboard) -> tuple[dict[str, str], list[Segment]]:
    """The texts of a tour, and the last screen as it is drawn."""

    async def go() -> tuple[dict[str, str], list[Segment]]:
        app = CrildApp(runs, settings=settings)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            texts = dict(await tour(app, pilot, runs))
            return texts, list(drawn(app))

    return asyncio.run(go())


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("theme", ["crild-dark", "crild-light", "crild-contrast"])
def test_every_mode_and_state_is_readable(runs: Path, size: tuple[int, int], theme: str) -> None:
    if theme != "crild-dark" and size == (120, 40):
        pytest.skip("the sizes differ in layout, the themes in colour: two sizes each will do")
    texts, _ = tours(runs, size, Dashboard.model_validate({"theme": theme}))
    for state in STATES:
        assert state in texts["runs"], texts["runs"]
        assert state in next(text for name, text in texts.items() if name.startswith(f"live {state}"))


def test_without_colour_there_are_only_greys(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    _, segments = tours(runs, (80, 24), Dashboard())
    for segment in segments:
        for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
            known = _color(color)
            assert known is None or len(set(known.rgb)) == 1, segment


def test_in_ascii_mode_everything_is_ascii(runs: Path) -> None:
    _, segments = tours(runs, (80, 24), Dashboard(ascii=True))
    assert all(segment.text.isascii() for segment in segments)
