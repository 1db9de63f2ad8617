"""Values on one line of TOML."""

from __future__ import annotations

import datetime
from typing import Any

import tomli
from hypothesis import given
from hypothesis import strategies as st

from engine.preset.toml_text import inline

VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    for text in (inline(value), inline(value, short=True)):
        assert tomli.loads(f"value = {text}")["value"] == value
        assert "\n" not in text


def test_values_as_a_user_would_write_them() -> None:
    values = {"a": [1, "x"], "b": True, "c": 1.5, "d": {}, "e f": 2.0}
    assert inline(values) == '{ a = [1, "x"], b = true, c = 1.5, d = {}, "e f" = 2.0 }'
    assert inline(values, short=True).endswith('"e f" = 2 }')
    assert [inline(value, short=True) for value in (1e300, True, 2e-5)] == ["1e+300", "true", "2e-05"]
    assert inline(datetime.date(2020, 1, 2)) == "2020-01-02"
