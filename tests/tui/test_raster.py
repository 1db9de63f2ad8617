"""From points to dots to characters: columns, strokes, cells, and whole drawings."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crild_tui.charts import raster
from crild_tui.charts.canvas import DIM, LEVEL, Canvas, curve_look
from crild_tui.charts.drawing import Drawing, draw
from crild_tui.charts.figure import Figure, Level, Line, Mark, View
from crild_tui.charts.run_figures import Look, Source, TraceCache, best_of, figures
from crild_tui.charts.smoothing import smooth
from crild_tui.charts.traces import BLOCK, LONG, columns, logarithms, trace
from crild_tui.monitor.curves import AXES, Axis, Floats, Table
from tests.tui import curves_samples as samples

NAN = float("nan")


def text(drawing: Drawing) -> list[str]:
    return ["".join(piece for piece, _ in line) for line in drawing.canvas.spans()]


def drawn(values: list[float], count: int, rows: int, x: list[float] | None = None) -> list[str]:
    """The dots of a curve over its own range of values."""
    places = np.arange(len(values), dtype=float) if x is None else np.array(x)
    cut = columns(trace(places, np.array(values)), 0, count - 1 if x is None else max(x), count)
    grid = raster.dots(raster.stroke(cut, count, rows, np.nanmin(values), np.nanmax(values)), rows)
    return ["".join(".#"[dot] for dot in row) for row in grid.tolist()]


# -- columns


def test_each_column_has_its_least_largest_and_mean_value() -> None:
    cut = columns(trace(np.arange(8.0), np.array([1, 3, 2, 2, 5, 1, 0, 4.0])), 0, 8, 4)
    assert cut.index.tolist() == [0, 1, 2, 3]
    assert cut.low.tolist() == [1, 2, 1, 0]
    assert cut.high.tolist() == [3, 2, 5, 4]
    assert cut.mean.tolist() == [2, 2, 3, 2]


def test_a_neighbour_on_each_side_comes_along() -> None:
    cut = columns(trace(np.arange(10.0), np.arange(10.0)), 4, 6, 4)
    assert cut.index[0] < 0
    assert cut.index[-1] >= 4
    assert cut.inside(4).tolist() == [False, True, True, True, False]


def test_the_last_point_of_a_view_is_in_its_last_column() -> None:
    assert columns(trace(np.arange(5.0), np.arange(5.0)), 0, 4, 8).index.max() == 7


def test_a_column_with_some_numbers_is_made_of_them() -> None:
    cut = columns(trace(np.arange(6.0), np.array([1, NAN, NAN, NAN, 3, 5])), 0, 6, 3)
    assert cut.mean[[0, 2]].tolist() == [1, 4]
    assert np.isnan(cut.mean[1])


def test_points_without_order_or_place_are_put_right() -> None:
    curve = trace(np.array([3, NAN, 1, 2, np.inf]), np.array([30, 0, 10, np.inf, 0]))
    assert curve.x.tolist() == [1, 2, 3]
    assert curve.y[[0, 2]].tolist() == [10, 30]
    assert np.isnan(curve.y[1])


def test_a_long_curve_is_read_from_blocks_and_looks_the_same() -> None:
    count = LONG * 3
    x, y = np.arange(count, dtype=float), np.random.default_rng(0).normal(size=count)
    y[1000:5000] = NAN
    curve = trace(x, y)
    assert curve.blocks is not None
    assert len(curve.blocks.x) == count // BLOCK
    whole, exact = columns(curve, 0, count, 200), columns(replace(curve, blocks=None), 0, count, 200)
    assert np.isnan(whole.mean).tolist() == np.isnan(exact.mean).tolist()
    assert whole.low[20:] == pytest.approx(exact.low[20:], abs=1.5)
    assert whole.mean[20:] == pytest.approx(exact.mean[20:], abs=0.1)
    close = columns(curve, 7000, 7100, 200)
    assert close.mean[close.inside(200)] == pytest.approx(y[7000:7101])


def test_smoothing_begins_anew_at_a_break() -> None:
    x, y = np.arange(1.0, 9.0), np.array([4, 4, 4, 4, 1, 1, 1, 1.0])
    assert smooth(trace(x, y), 0.9, (4.0,)).y.tolist() == pytest.approx(y.tolist())
    assert smooth(trace(x, y), 0.9).y[4] > 2
    assert len(smooth(trace(np.empty(0), np.empty(0)), 0.9).x) == 0


def test_logarithms_are_gaps_where_there_are_none() -> None:
    cut = logarithms(columns(trace(np.arange(3.0), np.array([-1, 0, 100.0])), 0, 3, 3))
    assert np.isnan(cut.mean[:2]).all()
    assert cut.mean[2] == 2


# -- strokes


def test_a_line_between_two_points() -> None:
    assert drawn([0, 1], 4, 4, [0, 3]) == ["...#", "..#.", ".#..", "#..."]


def test_a_column_is_filled_and_joined_half_way() -> None:
    assert drawn([0, 0, 7, 7], 4, 8) == ["..##", "..#.", "..#.", "..#.", ".#..", ".#..", ".#..", "##.."]


def test_a_constant_is_a_flat_line() -> None:
    cut = columns(trace(np.arange(4.0), np.full(4, 0.5)), 0, 3, 8)
    drawn = raster.stroke(cut, 8, 5, 0, 1)
    assert drawn.top.tolist() == drawn.bottom.tolist() == [2] * 8


def test_no_number_is_a_gap() -> None:
    assert drawn([1, 1, NAN, 1, 0], 5, 2) == ["##.#.", "....#"]
    assert drawn([1, NAN, 0], 9, 2, [0, 4, 8]) == ["#........", "........#"]


def test_a_break_is_a_gap_without_a_missing_column() -> None:
    curve = trace(np.arange(1.0, 7.0), np.array([0, 0, 0, 9, 9, 9.0]))
    drawn = raster.stroke(columns(curve, 1, 6, 6, (3.0,)), 6, 10, 0, 9)
    assert drawn.top.tolist() == [9, 9, 9, 0, 0, 0]
    assert drawn.bottom.tolist() == [9, 9, 9, 0, 0, 0]


def test_where_a_break_lies_in_a_column_the_later_part_has_it() -> None:
    curve = trace(np.arange(1.0, 9.0), np.array([0, 0, 0, 0, 0, 9, 9, 9.0]))
    drawn = raster.stroke(columns(curve, 1, 9, 4, (5.0,)), 4, 10, 0, 9)
    assert drawn.bottom.tolist() == [9, 9, 0, 0]


def test_a_point_alone_is_a_dot() -> None:
    drawn = raster.stroke(columns(trace(np.array([5.0]), np.array([1.0])), 0, 10, 8), 8, 4, 0, 2)
    assert (drawn.top != raster.EMPTY).sum() == 1
    assert drawn.middle(4) == 2
    assert drawn.middle(0) is None


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@example([(0.0, 1.7950000000000001e308)], 0.0, 0.0, False, 0)  # rounded to three digits it would be infinite
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=40), NUMBERS, NUMBERS, st.booleans(), st.integers(0, 9))
def test_any_points_can_be_drawn(
    points: list[tuple[float, float]], low: float, high: float, log: bool, breaks: int
) -> None:
    x, y = np.array([p[0] for p in points], float), np.array([p[1] for p in points], float)
    view = View(low, high) if np.isfinite([low, high]).all() and low < high else View(0, 1)
    line = Line("a", trace(x, y), 0, "o", breaks=tuple(x[np.isfinite(x)][:breaks]))
    drawn = draw(Figure("t", (line, replace(line, own_scale=True)), view=view, log=log), 30, 9)
    assert [len(row) for row in text(drawn)] == [30] * 9


# -- cells


def test_dots_become_braille() -> None:
    grid = np.zeros((4, 4), bool)
    grid[0, 0] = grid[3, 1] = True
    grid[:, 2:] = True
    assert [chr(raster.BRAILLE + bits) for bits in raster.cells(grid)[0].tolist()] == ["⢁", "⣿"]


def test_of_two_ranks_only_the_higher_is_in_a_cell_and_equals_share() -> None:
    left, both = np.array([[0x01, 0]], np.uint8), np.array([[0x80, 0x80]], np.uint8)
    codes, look = raster.compose([raster.Layer(both, 9, 0), raster.Layer(left, 8, 1)], 1, 2)
    assert [chr(code) for code in codes[0]] == ["⠁", "⢀"]
    assert look.tolist() == [[8, 9]]
    codes, _ = raster.compose([raster.Layer(both, 9, 1), raster.Layer(left, 8, 1)], 1, 2)
    assert chr(codes[0, 0]) == "⢁"


def test_curves_on_each_other_take_turns() -> None:
    line = np.full((1, 12), 0x01, np.uint8)
    _, look = raster.compose([raster.Layer(line, 8, 1), raster.Layer(line, 9, 1)], 1, 12)
    assert look.tolist() == [[8, 8, 8, 9, 9, 9, 8, 8, 8, 9, 9, 9]]


def test_no_layers_are_blank() -> None:
    codes, look = raster.compose([], 2, 3)
    assert (codes == ord(" ")).all()
    assert (look == raster.EMPTY).all()


# -- canvas


def test_what_does_not_fit_is_cut() -> None:
    canvas = Canvas(6, 2)
    assert canvas.put(0, 4, "abc") == 6
    assert canvas.put(5, 0, "abc") == 0
    canvas.put(1, -1, "xyz")
    assert ["".join(piece for piece, _ in line) for line in canvas.spans()] == ["    ab", "yz    "]


def test_wide_characters_keep_their_cells() -> None:
    canvas = Canvas(6, 1)
    assert canvas.put(0, 0, "日\u0301本x", 3) == 5
    canvas.put(0, 5, "日", 3)
    assert canvas.spans() == [[("日本x", 3), (" ", 0)]]


# -- drawings


def figure(y: list[float], **changes: object) -> Figure:
    line = Line("total", trace(np.arange(len(y), dtype=float), np.array(y)), 0, "o")
    return replace(Figure("loss", (line,), view=View(0, len(y) - 1)), **changes)  # type: ignore[arg-type]


def test_a_drawing_has_title_legend_scale_and_axis() -> None:
    lines = text(draw(figure([2, 1, 0.5, 0.25]), 60, 10))
    assert lines[0].startswith(" loss ")
    assert lines[0].endswith("[z]")
    assert "o total 0.2500" in lines[1]
    assert "1.0┤" in "".join(lines)
    assert lines[-1].split() == ["step", "0", "1", "2", "3"]


def test_the_value_at_the_cursor_is_told() -> None:
    lines = text(draw(figure([2, 1, 0.5, 0.25], cursor=1.4), 60, 10))
    assert "o total 1.0000" in lines[1]
    assert " 1 " in lines[-1]
    assert "│" in lines[5][8:]
    assert "o total -" in text(draw(figure([2, 1], cursor=-1.0), 60, 10))[1]


def test_an_empty_figure_says_why() -> None:
    assert "nothing yet" in "".join(text(draw(Figure("loss"), 60, 10)))


def test_a_stretch_without_values_says_so() -> None:
    shown = figure([3, 2, 1])
    beyond = text(draw(replace(shown, view=View(10, 20)), 60, 8))
    assert "nothing in this part (0 shows all)" in "".join(beyond)
    assert "┤" not in "".join(beyond)
    assert beyond[-1].split()[:2] == ["step", "10"]
    levelled = replace(shown, view=View(10, 20), levels=(Level(0.7, "teacher", "T"),))
    drawn = "".join(text(draw(levelled, 60, 8)))
    assert "nothing in this part" in drawn
    assert "T 0.7000" in drawn
    for whole in (shown, replace(figure([-1, -2]), log=True)):
        assert "nothing in this part" not in "".join(text(draw(whole, 60, 8)))


def test_levels_stages_and_the_best_are_named() -> None:
    shown = figure(
        [0.5, 0.6, 0.6],
        levels=(Level(0.7, "teacher", "T"), Level(0.4, "majority", "M")),
        marks=(Mark(0, "ild"), Mark(1, "kd"), Mark(1.9, "best", 0.6)),
    )
    wide, narrow = "\n".join(text(draw(shown, 120, 12))), "\n".join(text(draw(shown, 70, 12)))
    assert "teacher 0.7000" in wide
    assert "majority 0.4000" in wide
    assert "T 0.7000" in narrow
    for each in (wide, narrow):
        assert "ild" in each
        assert "┊kd" in each
        assert "★" in each


def test_levels_that_are_close_do_not_hide_each_other() -> None:
    shown = figure([0.1, 0.9], levels=(Level(0.1, "teacher", "T"), Level(0.1, "majority", "M")))
    lines = text(draw(shown, 70, 6))
    assert sum("T 0.1000" in line or "M 0.1000" in line for line in lines) == 2


def test_a_title_alone_says_why_there_is_no_curve_and_nothing_else() -> None:
    levels = (Level(0.7, "teacher", "T"), Level(0.4, "majority", "M"))
    shown = replace(figure([0.1]), title="dev accuracy", lines=(), levels=levels, empty="nothing evaluated yet")
    assert text(draw(shown, 80, 1))[0].split() == ["dev", "accuracy", "nothing", "evaluated", "yet", "[z]"]


def test_values_that_a_log_scale_hides_are_counted() -> None:
    title = text(draw(figure([1, 0, -1, 0.1], log=True), 80, 8))[0]
    assert "2 not above 0" in title
    assert "log" in title


def test_spikes_beyond_the_scale_are_told() -> None:
    curve = [50.0, 40, *(0.3 + 2 * np.exp(-np.arange(200) / 30))]
    spiky = figure(curve)
    assert "▲ 50" in text(draw(spiky, 80, 12))[0]
    assert "▲" not in text(draw(replace(spiky, log=True), 80, 12))[0]
    assert "▲" not in text(draw(figure(curve[2:]), 80, 12))[0]


def test_a_drawing_differs_without_colour() -> None:
    """Two curves have markers of their own, raw curves another look, levels too."""
    x = np.arange(50.0)
    first, second = trace(x, np.linspace(1, 0, 50)), trace(x, np.linspace(0, 1, 50))
    lines = (Line("a", first, 0, "o", behind=trace(x, np.linspace(1, 0, 50) ** 2)), Line("b", second, 1, "x"))
    drawn = draw(Figure("t", lines, (Level(0.5, "half", "H"),), view=View(0, 49)), 80, 12)
    plot = "\n".join(line[8:70] for line in text(drawn)[2:-2])
    assert plot.count("o") >= 2
    assert plot.count("x") >= 2
    looks = set(drawn.canvas.looks.ravel().tolist())
    assert {curve_look(0), curve_look(1), curve_look(0) | DIM, LEVEL} <= looks


def test_plots_line_up_when_aligned() -> None:
    levelled = figure([0.5, 0.6], levels=(Level(0.7, "teacher", "T"),))
    places = [draw(each, 80, 6, aligned=True).plot for each in (figure([1, 2]), levelled)]
    assert places[0] == places[1]


@pytest.mark.parametrize("name", list(samples.hostile()))
@pytest.mark.parametrize("size", [(0, 0), (1, 1), (3, 2), (12, 3), (40, 10), (80, 5), (200, 50)])
@pytest.mark.parametrize("log", [False, True])
def test_hostile_curves_are_drawn_at_any_size(name: str, size: tuple[int, int], log: bool) -> None:
    source = Source(samples.snapshot(samples.hostile()[name]), name, 0)
    for shown in figures([source], Look(log=log, smoothing=0.6), TraceCache()):
        lines = draw(shown, *size).canvas.spans()
        assert len(lines) == size[1]
        for line in lines:
            words = "".join(piece for piece, _ in line)
            assert "\x1b" not in words


# -- figures


def labels(figures_of: Figure) -> list[str]:
    return [line.label for line in figures_of.lines]


def test_one_run_shows_its_terms_and_models() -> None:
    source = Source(samples.snapshot(samples.ordinary()), "a", 3)
    loss, consistency, dev = figures([source], Look(smoothing=0.6), TraceCache())
    assert labels(loss) == ["total", "labels", "attention", "hidden", "logits"]
    assert loss.lines[0].behind is not None
    assert labels(consistency) == ["term", "weight"]
    assert consistency.lines[1].own_scale
    assert labels(dev) == ["student", "self-teacher", "baseline", "teacher's curve"]
    assert all(line.behind is None for line in dev.lines)
    assert [(level.label, level.value) for level in dev.levels] == [("teacher", 0.6943), ("majority", 0.5271)]
    assert [mark.label for mark in dev.marks] == ["teacher", "ild", "kd", "baseline", "best"]
    assert (loss.title, consistency.title, dev.title) == ("loss", "consistency", "dev accuracy")
    assert len({line.marker for line in loss.lines}) == len(loss.lines)


def test_a_classifier_that_is_not_trained_yet_has_no_curve_but_a_loss() -> None:
    whole = samples.ordinary()
    student = whole.evaluations["student"]
    untrained = np.isfinite(student.values["loss"])
    dev = figures([Source(samples.snapshot(whole), "a", 0)], Look(), TraceCache())[2]
    assert dev.lines[0].label == "student"
    trace = dev.lines[0].trace
    assert trace.x[np.isfinite(trace.y)].min() > student.step[untrained].max()
    first = {name: values[untrained] for name, values in student.values.items()}
    early = replace(
        whole,
        evaluations={
            "student": samples.table(student.step[untrained], **first),
            "self-teacher": samples.table(student.step[untrained], accuracy=first["accuracy"]),
        },
    )
    dev = figures([Source(samples.snapshot(early), "a", 0)], Look(), TraceCache())[2]
    assert (dev.title, labels(dev), dev.levels) == ("dev loss", ["student"], ())
    assert "best" not in [mark.label for mark in dev.marks]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("smoothing", [0.0, 0.6])
def test_the_legend_of_the_loss_names_the_terms_of_the_newest_stage_first(axis: Axis, smoothing: float) -> None:
    curves = samples.ordinary()
    steps = curves.steps
    values, terms = ({name: rows[:400] for name, rows in part.items()} for part in (steps.values, steps.terms))
    in_kd = Table(steps.step[:400], steps.epoch[:400], steps.time[:400], values, terms)
    seen = samples.snapshot(replace(curves, steps=in_kd, borders=curves.borders[:3]))
    loss = figures([Source(seen, "a", 0)], Look(axis=axis, smoothing=smoothing), TraceCache())[0]
    assert labels(loss) == ["total", "logits", "attention", "hidden", "labels"]
    assert [line.last is None for line in loss.lines] == [False, False, True, True, True]
    legend = text(draw(loss, 80, 9))[1]
    assert re.search(r"total \d.\d+  . logits \d.\d+  . attention -  . hidden -", legend)
    assert "labels" not in legend, "the teacher's stage is out of view"
    assert "logits" in text(draw(loss, 60, 6))[0]


def test_the_teachers_curve_is_told_from_its_final_figure_at_80_columns() -> None:
    curves = samples.ordinary()
    for models, words in (
        (("teacher",), r"# teacher's curve \d\d\.\d\d  T teacher   M majority"),
        (("student", "teacher"), r"o student \d\d\.\d\d  ★ best \d\d\.\d\d  # teacher's curve \d\d\.\d\d"),
    ):
        seen = samples.snapshot(replace(curves, evaluations={model: curves.evaluations[model] for model in models}))
        dev = figures([Source(seen, "a", 0)], Look(stage=False), TraceCache())[2]
        assert re.search(words, text(draw(dev, 80, 6, aligned=True))[0])


def test_a_term_that_is_all_of_the_loss_is_drawn_once() -> None:
    loss = figures([Source(samples.snapshot(samples.ordinary()), "a", 0)], Look(), TraceCache())[0]
    logits, attention = (next(line for line in loss.lines if line.label == name) for name in ("logits", "attention"))
    assert (sorted(logits.hidden), sorted(attention.hidden)) == ([3], [])
    drawn = text(draw(replace(loss, view=View(3200, 4200)), 120, 12))
    assert any(f"{logits.marker} logits" in row for row in drawn)
    assert not any(logits.marker in row[8:] for row in drawn[2:-2])
    assert not any(loss.lines[0].marker in row[8:].replace("logits", "") for row in drawn[2:-2])


def test_several_runs_show_a_curve_each_in_their_own_colours() -> None:
    sources = [Source(samples.snapshot(samples.ordinary(seed=n), f"r{n}"), f"run {n}", n + 2) for n in range(2)]
    for shown in figures(sources, Look(), TraceCache()):
        assert labels(shown) == ["run 0", "run 1"]
        assert [line.color for line in shown.lines] == [2, 3]
        assert [line.marker for line in shown.lines] == ["+", "*"]


def test_levels_and_borders_that_runs_do_not_share_are_left_out() -> None:
    one = samples.snapshot(samples.ordinary(), "a")
    other = samples.snapshot(samples.ordinary(300), "b", teacher=0.8)
    _, _, dev = figures([Source(one, "a", 0), Source(other, "b", 1)], Look(), TraceCache())
    assert [level.label for level in dev.levels] == ["majority"]
    assert [mark.label for mark in dev.marks] == ["best", "best"]


def test_a_run_without_consistency_says_so() -> None:
    alone = samples.snapshot(samples.plain(np.ones(3)))
    for state, why in (
        ("running", "no consistency term in the stages so far"),
        ("finished", "this run has no consistency term"),
    ):
        seen = replace(alone, entry=replace(alone.entry, state=state))
        _, consistency, _ = figures([Source(seen, "a", 0)], Look(), TraceCache())
        assert why in "".join(text(draw(consistency, 80, 8)))
    both = [
        Source(replace(alone, entry=replace(alone.entry, state=state)), state, 0) for state in ("running", "finished")
    ]
    assert "in the stages so far" in "".join(text(draw(figures(both, Look(), TraceCache())[1], 80, 8)))
    _, consistency, _ = figures([], Look(), TraceCache())
    assert "nothing yet" in "".join(text(draw(consistency, 80, 8)))


def test_a_run_whose_files_were_not_read_yet_is_being_read() -> None:
    unread = replace(samples.snapshot(teacher=None, majority=None), read=False)
    for seen, said in ((unread, True), (replace(unread, read=True), False)):
        for shown in figures([Source(seen, "a", 0)], Look(), TraceCache()):
            assert ("reading..." in "".join(text(draw(shown, 80, 8)))) is said


def test_the_best_is_of_a_stage_that_trains_the_classifier() -> None:
    step = np.arange(4.0)
    accuracy = np.array([0.9, 0.5, 0.7, 0.7])
    table = samples.table(step, accuracy=accuracy, loss=np.array([0.1, NAN, NAN, NAN]))
    assert best_of(table, "accuracy") == 2
    assert best_of(samples.table(step, accuracy=accuracy), "accuracy") == 0
    assert best_of(samples.table(step, accuracy=np.full(4, NAN)), "accuracy") is None
    assert best_of(table, "f1") is None
    ties = {"accuracy": np.array([0.5, 0.7, 0.7, 0.7])}
    assert best_of(samples.table(step, **ties), "accuracy") == 1
    assert best_of(samples.table(step, **ties, **{"label loss": np.array([0.1, 0.6, 0.4, 0.4])}), "accuracy") == 2
    assert best_of(samples.table(step, **ties, **{"label loss": np.array([0.1, 0.6, NAN, 0.4])}), "accuracy") == 1


def test_values_that_are_no_numbers_are_counted() -> None:
    loss = figures([Source(samples.snapshot(samples.with_gaps()), "a", 0)], Look(smoothing=0.6), TraceCache())[0]
    assert "41 NaN" in text(draw(loss, 120, 12))[0]


def test_names_from_outside_cannot_act() -> None:
    strange = samples.snapshot(samples.hostile()["strange names"], metric_name="\x1b[2Jf1[bold]")
    for shown in figures([Source(strange, "\x1b]0;x\x07", 0)], Look(), TraceCache()):
        assert "\x1b" not in "\n".join(text(draw(shown, 100, 12)))


def test_preparations_are_kept_as_long_as_they_are_used() -> None:
    traces, x, y = TraceCache(), np.arange(9.0), np.arange(9.0)
    first, smooth = traces.raw(x, y), traces.smooth(x, y, 0.5, ())
    traces.drop_unused()
    assert traces.smooth(x, y, 0.5, ()) is smooth
    assert traces.raw(x, y) is first
    traces.drop_unused()
    traces.drop_unused()
    assert traces.raw(x, y) is not first


def test_a_long_run_is_drawn_from_its_blocks() -> None:
    source = Source(samples.snapshot(samples.ordinary(60_000)), "a", 0)
    loss = figures([source], Look(smoothing=0.9), TraceCache())[0]
    assert loss.lines[0].points.blocks is not None
    assert "o total" in "".join(text(draw(loss, 100, 12)))


def ramp(count: int) -> Floats:
    return np.linspace(1.0, 0.0, count)


def test_a_point_in_view_is_drawn_at_its_place() -> None:
    shown = figure(ramp(101).tolist())
    drawn = draw(shown, 80, 12)
    for x in (0.0, 50.0, 100.0):
        column = drawn.plot.column_of(x)
        assert column is not None
        assert abs(drawn.plot.x_at(column) - x) < 2
    assert drawn.plot.column_of(101) is None
