from __future__ import annotations

import pytest

from engine.record.json_values import mapping, mappings, number, whole, word


@pytest.mark.parametrize("value", [None, True, "1", [1], {}, float("nan"), float("inf"), -float("inf"), 1e30, 10**400])
def test_what_is_not_a_finite_number_is_none(value: object) -> None:
    assert number(value) is None


def test_values_of_the_expected_type_are_read() -> None:
    assert [number(3), number(-0.5), whole(3), whole(3.0), whole(True)] == [3.0, -0.5, 3, None, None]
    assert [word("kd"), word(""), word(3)] == ["kd", None, None]
    assert [mapping({"a": 1}), mapping([])] == [{"a": 1}, {}]
    assert [mappings([{"a": 1}, 3, {}]), mappings({"a": 1})] == [[{"a": 1}, {}], []]
