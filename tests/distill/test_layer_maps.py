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
    with pytest.raises(PresetError, match=rf"{teacher} is no multiple of {student}.*list the pairs"):
        pairs("uniform", teacher, student)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        ((13, 6), "teacher layer 13, but the teacher has 12 layers"),
        ((6, 12), "student layer 12, but the student has 6 layers"),
        ((0, 1), "teacher layer 0, .* counted from 1"),
    ],
)
def test_a_layer_must_exist(pair: tuple[int, int], sentence: str) -> None:
    with pytest.raises(PresetError, match=sentence):
        pairs([pair], 12, 6)


def test_an_unknown_word() -> None:
    with pytest.raises(PresetError, match=r'layer_map "first" is unknown.*"last", "uniform", "upper", "emd"'):
        pairs("first", 12, 6)


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
    with pytest.raises(PresetError, match="as many layers as the student at least, but it has 2, and the student 3"):
        pairs("upper", 2, 3)
