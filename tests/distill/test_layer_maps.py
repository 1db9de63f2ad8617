from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.distill.layer_maps import pairs
from engine.errors import PresetError


def test_last() -> None:
    assert pairs("last", 12, 6) == [(12, 6)]


def test_uniform() -> None:
    assert pairs("uniform", 12, 4) == [(3, 1), (6, 2), (9, 3), (12, 4)]


def test_listed_pairs_are_kept_in_order() -> None:
    assert pairs([[12, 6], (3, 6)], 12, 6) == [(12, 6), (3, 6)]


def test_emd_is_every_pair() -> None:
    assert pairs("emd", 2, 2) == [(1, 1), (2, 1), (1, 2), (2, 2)]


@pytest.mark.parametrize(("teacher", "student"), [(12, 5), (3, 6), (4, 3)])
def test_uniform_needs_a_multiple(teacher: int, student: int) -> None:
    with pytest.raises(PresetError) as caught:
        pairs("uniform", teacher, student)
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
    assert all(f'"{word}"' in str(caught.value) for word in ("first", "last", "uniform", "upper", "emd"))


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


def test_upper_needs_as_many_layers_as_the_student() -> None:
    with pytest.raises(PresetError) as caught:
        pairs("upper", 2, 3)
    assert caught.value.kind == "upper-map-too-few-layers"
    assert all(fact in str(caught.value) for fact in ("2", "student 3"))
