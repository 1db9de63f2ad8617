from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crild_tui.runs.filter import FilterError, parse
from crild_tui.runs.marks import Marks
from engine.record.run import RunEntry
from tests.tui.run_entries import HOSTILE, NOW, entry

RUNS = (
    entry("rte-crild-s1", last=0.67, tags=("good", "paper"), note="with warm-up", age=30.0),
    entry("rte-kd-s2", "failed", method="kd", seed=2, last=0.71, age=86_400.0 * 3),
    entry(
        "mnli-kd-s3", "running", task="mnli", method="kd", preset="kd+mnli", seed=3, last=None, teacher=0.84, done=15
    ),
    entry("cola-crild-s1", "lost", task="cola", last=-0.1, note="a: b"),
    entry("half", "unreadable"),
)


def found(text: str, kept: Marks | None = None) -> list[str]:
    where = parse(text)
    return [run.id for run in RUNS if where.matches(run, kept or Marks(), NOW)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", [run.id for run in RUNS]),
        ("   ", [run.id for run in RUNS]),
        ("crild", ["rte-crild-s1", "rte-kd-s2", "cola-crild-s1"]),  # the preset of the second is crild+rte
        ("CRILD warm", ["rte-crild-s1"]),
        ("paper", ["rte-crild-s1"]),
        ("!kd", ["rte-crild-s1", "cola-crild-s1", "half"]),
        ("-kd", ["rte-crild-s1", "cola-crild-s1", "half"]),
        ('"a: b"', ["cola-crild-s1"]),
        ('note:"warm-up"', ["rte-crild-s1"]),
        ("state:failed", ["rte-kd-s2"]),
        ("state:fail,los", ["rte-kd-s2", "cola-crild-s1"]),
        ("!state:finished !state:unreadable task:rte", ["rte-kd-s2"]),
        ("is:failed", ["rte-kd-s2"]),
        ("!is:lost task:cola", []),
        ("task:mnli", ["mnli-kd-s3"]),
        ("method:kd", ["rte-kd-s2", "mnli-kd-s3"]),
        ("preset:kd", ["mnli-kd-s3"]),
        ("id:s1", ["rte-crild-s1", "cola-crild-s1"]),
        ("id:=half", ["half"]),
        ("tag:goo", ["rte-crild-s1"]),
        ("tag:=goo", []),
        ("seed:2,3", ["rte-kd-s2", "mnli-kd-s3"]),
        ("seed:>1", ["rte-kd-s2", "mnli-kd-s3"]),
        ("metric:>0.67", ["rte-kd-s2"]),
        ("metric:>=0.67", ["rte-crild-s1", "rte-kd-s2"]),
        ("metric:<0", ["cola-crild-s1"]),
        ("metric:<=-0.1", ["cola-crild-s1"]),
        ("metric:0.6..0.7", ["rte-crild-s1"]),
        ("last:0.67", ["rte-crild-s1"]),
        ("best:0.7", ["rte-crild-s1", "rte-kd-s2", "mnli-kd-s3", "cola-crild-s1"]),  # 0.68 with one digit
        ("teacher:>0.8", ["mnli-kd-s3"]),
        ("metric:>67", ["rte-kd-s2"]),  # above 1: as it is shown
        ("metric:>=67", ["rte-crild-s1", "rte-kd-s2"]),
        ("metric:>1", []),
        ("metric:<=-10", ["cola-crild-s1"]),
        ("metric:60..67", ["rte-crild-s1"]),
        ("metric:-1..67", ["rte-crild-s1"]),  # both ends as shown: one is above 1
        ("metric:0.5..70", ["rte-crild-s1"]),
        ("metric:-1..1", ["rte-crild-s1", "rte-kd-s2", "cola-crild-s1"]),
        ("metric:67", ["rte-crild-s1"]),
        ("metric:67.0", ["rte-crild-s1"]),
        ("metric:67.1", []),
        ("metric:<0.5%", ["cola-crild-s1"]),
        ("metric:>0.5", ["rte-crild-s1", "rte-kd-s2"]),
        ("metric:0.71,67", ["rte-crild-s1", "rte-kd-s2"]),
        ("best:68", ["rte-crild-s1", "rte-kd-s2", "mnli-kd-s3", "cola-crild-s1"]),
        ("teacher:>80", ["mnli-kd-s3"]),
        ("done:>60%", ["rte-crild-s1", "mnli-kd-s3"]),
        ("age:<1m", ["rte-crild-s1"]),
        ("age:>2d", ["rte-kd-s2"]),
        ("-age:>2d task:rte", ["rte-crild-s1"]),
    ],
)
def test_what_a_filter_finds(text: str, ids: list[str]) -> None:
    assert found(text) == ids


def test_signs_of_the_list_can_be_asked_for() -> None:
    kept = Marks(pinned=frozenset({"half"}), marked=frozenset({"rte-kd-s2"}))
    assert found("is:pinned", kept) == ["half"]
    assert found("is:mark", kept) == ["rte-kd-s2"]
    assert found("!is:marked !is:pinned", kept) == ["rte-crild-s1", "mnli-kd-s3", "cola-crild-s1"]


@pytest.mark.parametrize(
    ("text", "kind", "facts"),
    [
        ("stat:failed", "unknown-filter-key", ("stat:failed", "state:")),
        ("colour:red", "unknown-filter-key", ("colour:red", "state, task")),
        ("state:fialed", "unknown-state", ("fialed", "failed")),
        ("state:", "filter-without-value", ("state:failed",)),
        ("metric:>high", "invalid-filter-number", ("'high'", "metric:>80")),
        ("metric:>", "invalid-filter-number", ("metric",)),
        ("metric:nan", "invalid-filter-number", ("nan",)),
        ("age:<2", "invalid-filter-number", ("age:<2d",)),
        ("seed:x", "invalid-filter-number", ("seed", "'x'")),
        ("is:nice", "unknown-filter", ("is:nice", "pinned, marked, hidden, created")),
        (":failed", "filter-without-key", ("state:failed",)),
        ("metric:>\x1b[31m", "invalid-filter-number", ("\\x1b[31m",)),
    ],
)
def test_a_wrong_filter_says_what_would_be_right(text: str, kind: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(FilterError) as error:
        parse(text)
    assert error.value.kind == kind
    assert all(fact in str(error.value) for fact in facts)


def test_a_sign_alone_is_the_beginning_of_a_filter() -> None:
    assert found("!") == [run.id for run in RUNS]
    assert found('crild "') == found("crild")


def test_words_from_outside_are_searched_as_they_are() -> None:
    run: RunEntry = entry(HOSTILE.replace("\n", ""), note=HOSTILE)
    assert parse("[bold]evil[/bold]").matches(run, Marks(), NOW)
    assert not parse("nothing").matches(run, Marks(), NOW)


@given(st.text(max_size=40))
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    try:
        where = parse(text)
    except FilterError as error:
        said = str(error)
        where = parse("")
    else:
        said = ""
    assert said.isprintable()
    assert all(where.matches(run, Marks(), NOW) in (True, False) for run in RUNS)
