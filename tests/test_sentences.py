"""What errors say: each has a kind that tests rely on, and its words stand in one table."""

from __future__ import annotations

import ast
import re

from engine import errors
from tests.conftest import REPOSITORY
from tests.sentences import TABLE, sentences, table, template, without_kind

ERRORS = frozenset(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.CrildError) and value is not errors.PresetError
)


def test_the_table_holds_every_sentence() -> None:
    assert table(REPOSITORY) == TABLE.read_text(encoding="utf-8"), "on purpose? python -m tests.sentences --write"


def test_every_error_has_a_kind() -> None:
    assert without_kind(REPOSITORY, ERRORS) == []


def test_kinds_are_two_to_five_words() -> None:
    assert [kind for kind in sentences(REPOSITORY) if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+){1,4}", kind)] == []


def test_a_template_shows_what_is_filled_in() -> None:
    assert template(ast.parse('f"no {name!r}: {plural(n)}"', mode="eval").body) == "no {name}: {plural(n)}"
    assert template(ast.parse('"a" if b else f"{c}"', mode="eval").body) == "a | {c}"
