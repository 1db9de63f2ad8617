from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crild_tui.charts.scale import Scale, fitted, without_spikes
from crild_tui.charts.ticks import clock, linear_ticks, short, tick_words, ticks, time_ticks, time_words

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("low", "high", "most", "values"),
    [
        (0, 1, 3, [0, 0.5, 1.0]),
        (0, 1, 6, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.3, 0.3, 3, [-0.2, 0, 0.2]),
        (0, 5000, 5, [0, 2000, 4000]),
        (0.694, 0.6941, 2, [0.694, 0.6941]),
        (3, 3.5, 1, [3.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, values: list[float]) -> None:
    assert linear_ticks(low, high, most) == values


@settings(deadline=None)
@given(FINITE, FINITE, st.integers(1, 12), st.booleans())
def test_there_are_few_ticks_on_any_scale_and_all_lie_on_it(a: float, b: float, most: int, log: bool) -> None:
    scale = fitted([a, b], log=log)
    found = ticks(scale, most)
    assert found == sorted(found)
    assert len(found) <= max(most, 1)
    for value, word in zip(found, tick_words(found, log=log), strict=True):
        share = float(scale.position(np.array([value]))[0])
        assert -1e-6 <= share <= 1 + 1e-6
        assert 0 < len(word) <= 12


@settings(deadline=None)
@given(FINITE, FINITE, st.booleans())
def test_a_fitted_scale_holds_what_it_can_show(a: float, b: float, log: bool) -> None:
    scale = fitted([a, b, math.nan, math.inf], log=log)
    assert scale.low < scale.high
    assert math.isfinite(scale.high / 2 - scale.low / 2)
    for value in (a, b):
        if abs(value) > 1e300 or (log and value <= 0):
            continue
        assert 0 <= float(scale.position(np.array([value]))[0]) <= 1


def test_one_value_stands_in_the_middle() -> None:
    for value in (0.25, 0.0, -3.0, 1e30, 1e-30):
        assert float(fitted([value]).position(np.array([value]))[0]) == pytest.approx(0.5)
    assert float(fitted([0.25], log=True).position(np.array([0.25]))[0]) == pytest.approx(0.5)


def test_one_figure_that_was_rounded_differently_is_one_height_with_a_short_label() -> None:
    values = [0.6838, 0.68382, 0.6838235294117647]
    scale = fitted([*values[1:]])
    heights = scale.position(np.array(values[1:]))
    assert float(np.ptp(heights)) < 0.01
    assert max(map(len, tick_words(ticks(scale, 5)))) <= 6


def test_nothing_to_fit_is_the_unit_scale() -> None:
    assert fitted([]) == Scale(0.0, 1.0)
    assert fitted([-1.0, 0.0], log=True) == Scale(0.0, 1.0, log=True)


def test_what_is_not_positive_has_no_place_on_a_log_scale() -> None:
    places = fitted([0.01, 1], log=True, pad=0).position(np.array([-1.0, 0.0, 0.01, 0.1, 1.0]))
    assert np.isnan(places[:2]).all()
    assert places[2:] == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("low", "high", "most", "values"),
    [
        (1e-4, 1, 5, [1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (1e-4, 1, 3, [1e-4, 1e-2, 1]),
        (0.1, 2, 5, [0.1, 0.2, 0.5, 1, 2]),
        (0.3, 0.4, 3, [0.3, 0.35, 0.4]),
        (1e-12, 1e12, 3, [1e-9, 1, 1e9]),
    ],
)
def test_log_ticks(low: float, high: float, most: int, values: list[float]) -> None:
    assert ticks(Scale(math.log10(low), math.log10(high), log=True), most) == pytest.approx(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 0.5, 1.0], ["0", "0.5", "1.0"]),
        ([0.05, 0.1, 0.15], ["0.05", "0.10", "0.15"]),
        ([0, 5000], ["0", "5000"]),
        ([0, 12000, 24000], ["0", "12k", "24k"]),
        ([1.5e6, 2e6], ["1.5M", "2.0M"]),
        ([1e-4, 2e-4], ["1e-4", "2e-4"]),
        ([1e30, 2e30], ["1e30", "2e30"]),
        ([-0.5, 0, 0.5], ["-0.5", "0", "0.5"]),
        ([0.25], ["0.25"]),
        ([], []),
    ],
)
def test_tick_words(values: list[float], words: list[str]) -> None:
    assert tick_words(values) == words


@settings(deadline=None)
@given(st.floats(-1e15, 1e15), st.floats(1e-12, 1e3), st.integers(2, 8))
def test_no_two_ticks_have_equal_words(middle: float, span: float, most: int) -> None:
    values = sorted(set(ticks(Scale(middle - span / 2, middle + span / 2), most)))
    assert len(set(tick_words(values))) == len(values)


def test_ticks_of_a_deep_zoom_have_digits_enough() -> None:
    assert tick_words([0.693147, 0.693148, 0.693149]) == ["0.693147", "0.693148", "0.693149"]
    assert tick_words([0.69314718, 0.69314719]) == ["0.69314718", "0.69314719"]
    assert tick_words([123456.001, 123456.002], log=True) == ["123456.001", "123456.002"]


def test_log_words_are_each_for_themselves() -> None:
    assert tick_words([1e-4, 1e-2, 1, 1e3, 1e5, 1e9], log=True) == ["1e-4", "0.01", "1", "1000", "100k", "1e9"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (0, "0"),
        (0.0996, "0.0996"),
        (12_345, "12.35k"),
        (3e6, "3M"),
        (1e30, "1e30"),
        (1e-5, "1e-5"),
        (1.7950000000000001e308, "1.8e308"),
    ],
)
def test_short(value: float, word: str) -> None:
    assert short(value) == word


@pytest.mark.parametrize(
    ("high", "most", "words"),
    [
        (62, 4, ["0:00", "0:30", "1:00"]),
        (3, 4, ["0:00", "0:01", "0:02", "0:03"]),
        (1.5, 4, ["0s", "0.5s", "1.0s", "1.5s"]),
        (1800, 4, ["0:00", "10:00", "20:00", "30:00"]),
        (4 * 3600, 5, ["0", "1h", "2h", "3h", "4h"]),
        (3 * 86_400, 4, ["0", "1d", "2d", "3d"]),
    ],
)
def test_time(high: float, most: int, words: list[str]) -> None:
    assert time_words(time_ticks(0, high, most)) == words


@settings(deadline=None)
@given(st.floats(0, 1e12), st.floats(0, 1e12), st.integers(1, 10))
def test_there_are_few_moments(a: float, b: float, most: int) -> None:
    low, high = sorted((a, b))
    found = time_ticks(low, high, most)
    assert len(found) <= most
    assert len(time_words(found)) == len(found)


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 62, 3725)] == ["0:00", "1:02", "1:02:05"]


def test_spikes_are_cut_off_and_nothing_else() -> None:
    falling = 0.3 + 2 * np.exp(-np.arange(200) / 30)
    assert without_spikes(falling) == (falling.min(), falling.max())
    spiky = falling.copy()
    spiky[:4] = 40
    low, high = without_spikes(spiky)
    assert low == falling.min()
    assert falling[5] < high < 5
    assert without_spikes(-spiky) == (-high, -low)
    assert without_spikes(spiky[:20]) == (spiky[:20].min(), 40)
    assert without_spikes(np.array([*[1.0] * 99, 5])) == (1, 5)
