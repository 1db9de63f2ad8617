from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.distill.layer_maps import NAMES, Pair, pairs
from engine.distill.random_map import draw, mean_of_draws
from engine.errors import PresetError
from engine.preset.field_types import LayerMap


def test_last() -> None:
    assert pairs("last", 12, 6) == [(12, 6)]


def test_uniform() -> None:
    assert pairs("uniform", 12, 4) == [(3, 1), (6, 2), (9, 3), (12, 4)]


def test_listed_pairs_are_kept_in_order() -> None:
    assert pairs([[12, 6], (3, 6)], 12, 6) == [(12, 6), (3, 6)]


def test_emd_is_every_pair() -> None:
    assert pairs("emd", 2, 2) == pairs("alp", 2, 2) == [(1, 1), (2, 1), (1, 2), (2, 2)]


def test_reverse_is_uniform_upside_down() -> None:
    assert pairs("reverse", 12, 4) == [(12, 1), (9, 2), (6, 3), (3, 4)]


def test_all_to_one_is_the_last_layer_for_every_layer_of_the_student() -> None:
    assert pairs("all-to-one", 12, 3) == [(12, 1), (12, 2), (12, 3)]
    assert pairs("all-to-one", 2, 3) == [(2, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("name", ["uniform", "reverse"])
@pytest.mark.parametrize(("teacher", "student"), [(12, 5), (3, 6), (4, 3)])
def test_uniform_needs_a_multiple(teacher: int, student: int, name: str) -> None:
    with pytest.raises(PresetError) as caught:
        pairs(name, teacher, student)
    assert f'"{name}"' in str(caught.value)
    assert caught.value.kind == "uniform-map-does-not-divide"
    assert f"{teacher} is not a multiple of {student}" in str(caught.value)


@pytest.mark.parametrize(
    ("pair", "facts"),
    [
        ((13, 6), ("teacher layer 13", "1 to 12")),
        ((6, 12), ("student layer 12", "1 to 6")),
        ((0, 1), ("teacher layer 0", "1 to 12")),
    ],
)
def test_a_layer_must_exist(pair: tuple[int, int], facts: tuple[str, str]) -> None:
    with pytest.raises(PresetError) as caught:
        pairs([pair], 12, 6)
    assert caught.value.kind == "map-names-unknown-layer"
    assert all(fact in str(caught.value) for fact in facts)


def test_an_unknown_word() -> None:
    with pytest.raises(PresetError) as caught:
        pairs("first", 12, 6)
    assert caught.value.kind == "unknown-layer-map"
    assert all(f'"{word}"' in str(caught.value) for word in ("first", *NAMES))


def test_a_preset_may_name_the_same_maps() -> None:
    words = get_args(get_args(get_args(LayerMap)[0])[0])[0]
    assert set(get_args(words)) == set(NAMES)


@given(student=st.integers(1, 12), times=st.integers(1, 4))
def test_uniform_ends_at_the_last_layers_and_spaces_evenly(student: int, times: int) -> None:
    made = pairs("uniform", student * times, student)
    assert made[-1] == (student * times, student)
    assert {teacher - times * own for teacher, own in made} == {0}
    assert [own for _, own in made] == list(range(1, student + 1))


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        (12, 6, [(7, 1), (8, 2), (9, 3), (10, 4), (11, 5), (12, 6)]),
        (5, 3, [(3, 1), (4, 2), (5, 3)]),
        (2, 2, [(1, 1), (2, 2)]),
    ],
)
def test_upper_takes_as_many_of_the_teachers_last_layers(
    teacher: int, student: int, expected: list[tuple[int, int]]
) -> None:
    assert pairs("upper", teacher, student) == expected


@pytest.mark.parametrize("name", ["upper", "random"])
def test_some_need_as_many_layers_as_the_student(name: str) -> None:
    with pytest.raises(PresetError) as caught:
        pairs(name, 2, 3)
    assert caught.value.kind == "upper-map-too-few-layers"
    assert all(fact in str(caught.value) for fact in ("2", "student 3"))


def maps(teacher: int, student: int) -> list[tuple[Pair, ...]]:
    """All that a draw may give, written out."""
    return [
        tuple(zip(chosen, range(1, student + 1), strict=True))
        for chosen in combinations(range(1, teacher + 1), student)
    ]


@pytest.mark.parametrize(("teacher", "student"), [(6, 3), (4, 4), (5, 1), (4, 2)])
def test_random_draws_layers_in_order_and_none_twice(teacher: int, student: int) -> None:
    """Every set of teacher layers comes up, and no pair that `pairs` lacks."""
    possible, generator = pairs("random", teacher, student), np.random.default_rng(0)
    drawn = Counter(tuple(pair for pair, _ in draw(possible, generator)) for _ in range(600))
    assert set(drawn) == set(maps(teacher, student))
    assert min(drawn.values()) > 600 / len(drawn) / 3
    assert {pair for each in drawn for pair in each} == set(possible)
    assert all(share == 1.0 for _, share in draw(possible, generator))


@given(teacher=st.integers(1, 8), student=st.integers(1, 8))
def test_the_mean_of_draws_counts_each_pair_as_often_as_it_is_drawn(teacher: int, student: int) -> None:
    if student > teacher:
        return
    every = maps(teacher, student)
    times = Counter(pair for each in every for pair in each)
    shares = dict(mean_of_draws(pairs("random", teacher, student)))
    assert shares == pytest.approx({pair: count / len(every) for pair, count in times.items()})
