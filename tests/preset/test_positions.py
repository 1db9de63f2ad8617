"""The scanner finds the paths that the parser finds, each on its own line."""

from __future__ import annotations

from typing import Any

import tomli
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from engine.preset.toml_lines import KeyPath, key_lines, repeated


def paths_of(value: object, path: KeyPath = ()) -> set[KeyPath]:
    """All paths of a parsed document."""
    found = {path} if path else set()
    if isinstance(value, dict):
        return found.union(*(paths_of(item, (*path, key)) for key, item in value.items()))
    if isinstance(value, list):
        return found.union(*(paths_of(item, (*path, index)) for index, item in enumerate(value)))
    return found


TRICKY = (
    r'''# comment = 1
title = "a # b = [1]" # c = 2
"quoted key" . 'lit.eral' = """
inside = 1
[no.table] \""" ""still"""
lit = \'\'\'
x = 1'\'\'\'
dotted.one.two = { a = 1, b.c = [ 1, { d = "}" } ], "e f" = 'it'''
    r"""' }
list = [ # with = comment
    1, # two
    "a, ]",
    [ 2, 3 ],

    { x = 1 },
]
date = 1979-05-27 07:32:00
hex = 0xff

[ table . "sub table" ]
float = -1e-5
[[ stage ]]
name = "a"
  [stage.objectives]
  logits = 1.0
[[stage]]
name = "b"
[[stage.inner]]
[[stage.inner]]
deep.er = true
[table.later]
""".replace("\\'", "'")
)


def test_paths_and_lines_of_a_tricky_text() -> None:
    text = TRICKY.replace("\\'", "'")
    lines = key_lines(text)
    assert set(lines) == paths_of(tomli.loads(text))
    rows = text.split("\n")
    for path, line in lines.items():
        last = next(part for part in reversed(path) if isinstance(part, str))
        if isinstance(path[-1], str):
            assert last in rows[line - 1], (path, line)
    assert rows[lines["stage", 1, "inner", 1, "deep", "er"] - 1] == "deep.er = true"
    assert rows[lines["list", 2] - 1] == "    [ 2, 3 ],"
    assert rows[lines["stage", 0, "objectives"] - 1].strip() == "[stage.objectives]"


def test_windows_line_ends_count_the_same() -> None:
    text = '[a]\nb = """\nx\n"""\nc = 1\n'
    assert key_lines(text.replace("\n", "\r\n")) == key_lines(text) == {("a",): 1, ("a", "b"): 2, ("a", "c"): 5}


KEYS = st.text(min_size=1, max_size=6).filter(lambda key: "\r" not in key and key.isprintable())
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(-5, 5) | st.booleans() | st.text(max_size=8).filter(lambda text: "\r" not in text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_paths_are_those_of_the_parser(document: dict[str, Any]) -> None:
    text = tomlkit.dumps(document)
    assert set(key_lines(text)) == paths_of(tomli.loads(text))


HOWS = ("pair", "dotted", "inline", "list", "header", "element", "comment")


@given(st.lists(st.sampled_from(HOWS), max_size=12))
def test_each_value_is_found_on_its_line(hows: list[str]) -> None:
    """Each line assigns its own number, so the value at a path tells on which line it must have been found."""
    rows: list[str] = []
    for number, how in enumerate(hows):
        line = len(rows) + 1
        rows += {
            "pair": [f"pair_{number} = {line}"],
            "dotted": [f"a_{number} . 'b c' = {line} # = 3"],
            "inline": [f"in_{number} = {{ text = '}} = 1', deep.er = {line} }}"],
            "list": [f"list_{number} = [ # [", f"  {line + 1}, '''", "x = 3''',", f" {line + 3} ]"],
            "header": [f"[ head_{number} ]", f"x = {line + 1}"],
            "element": ["[[elements]]", f"x = {line + 1}", "[elements.inner]", f"y = {line + 3}"],
            "comment": ["", "  # commented = 1"],
        }[how]
    text = "\n".join(rows)
    numbers = 0
    for path, line in key_lines(text).items():
        value: Any = tomli.loads(text)
        for part in path:
            value = value[part]
        if isinstance(value, int):
            assert value == line
            numbers += 1
    assert numbers == len(hows) - hows.count("comment") + hows.count("list") + hows.count("element")


def test_repeated_keys_and_tables_are_found_in_what_the_parser_refuses() -> None:
    again = repeated('[train]\nepochs = 1\nseed = 2\n"epochs" = 3\n[other]\n[train]\nx = "')
    assert [(repeat.path, repeat.first, repeat.again) for repeat in again] == [
        (("train", "epochs"), 2, 4),
        (("train",), 1, 6),
    ]
