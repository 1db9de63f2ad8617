"""What is found in a task's rows and classes before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.data.findings import Finding, data_findings, is_blank, percent
from engine.data.glue import load_glue
from engine.data.toy import toy_task
from engine.data.types import Example, TaskData, TaskSpec
from engine.preset.kinds import Kind
from engine.preset.names import TOY_TASKS

Rows = Sequence[tuple[str, Any]]
GOOD: Rows = [("one", 0), ("two", 1), ("three", 0), ("four", 1)]
OTHER: Rows = [("five", 0), ("six", 1)]


def examples(split: str, rows: Rows, pairs: Sequence[str] | None = None) -> tuple[Example, ...]:
    return tuple(
        Example(f"{split}-{at}", text, pairs[at] if pairs else None, label) for at, (text, label) in enumerate(rows)
    )


def task(
    train: Rows, dev: Rows = OTHER, labels: tuple[str, ...] = ("a", "b"), pairs: Sequence[str] | None = None
) -> TaskData:
    kind: Kind = "classification" if labels else "regression"
    spec = TaskSpec("t", kind, labels, ("accuracy",) if labels else ("pearson",), is_pair=pairs is not None)
    others = None if pairs is None else ["x"] * len(dev)
    return TaskData(spec, examples("train", train, pairs), {"dev": examples("dev", dev, others)})


def found(data: TaskData) -> dict[str, Finding]:
    findings = data_findings(data)
    assert len({finding.kind for finding in findings}) == len(findings)
    return {finding.kind: finding for finding in findings}


def only(data: TaskData) -> Finding:
    (finding,) = data_findings(data)
    return finding


def test_good_rows_give_nothing() -> None:
    assert data_findings(task(GOOD)) == ()


# -- classes and scores


def test_a_class_that_dev_lacks_is_named() -> None:
    finding = only(task([*GOOD, ("seven", 2)], labels=("a", "b", "c")))
    assert (finding.kind, finding.severity) == ("class-missing-in-dev", "warning")
    assert finding.facts == {"split": "dev", "classes": ["c"]}


def test_a_class_that_train_lacks_is_named() -> None:
    findings = found(task(GOOD, labels=("a", "b", "c", "d")))
    assert findings["class-missing-in-train"].facts["classes"] == ["c", "d"]
    assert findings["class-missing-in-train"].severity == "warning"
    assert findings["class-missing-in-dev"].facts["classes"] == ["c", "d"]


def test_one_class_alone() -> None:
    finding = only(task(GOOD, [("five", 1), ("six", 1)]))
    assert (finding.kind, finding.severity, finding.facts["classes"]) == ("one-class-in-dev", "warning", ["a"])
    finding = only(task([("one", 1), ("two", 1)]))
    assert (finding.kind, finding.severity) == ("one-class-in-train", "refusal"), "as a subset can be"


def test_scores_that_are_all_equal() -> None:
    scores = [("one", 1.0), ("two", 2.0)]
    assert data_findings(task(scores, [("three", 0.5), ("four", 1.5)], labels=())) == ()
    finding = only(task(scores, [("three", 0.5), ("four", 0.5)], labels=()))
    assert (finding.kind, finding.severity, finding.facts["score"]) == ("one-score-in-dev", "warning", 0.5)
    finding = found(task([("one", 1.0), ("two", 1.0)], [("three", 0.5), ("four", 1.5)], labels=()))[
        "one-score-in-train"
    ]
    assert finding.severity == "refusal"


def test_scores_on_another_scale() -> None:
    train = [("one", 0.0), ("two", 1.0)]
    assert data_findings(task(train, [("three", -0.5), ("four", 1.9)], labels=())) == ()
    finding = only(task(train, [("three", 0.0), ("four", 100.0)], labels=()))
    assert (finding.kind, finding.severity) == ("other-score-scale", "warning")
    assert finding.facts == {"split": "dev", "scores": [0.0, 100.0], "train": [0.0, 1.0]}


def test_a_class_without_a_visible_name_is_refused() -> None:
    finding = only(task(GOOD, labels=("a", "\u200b")))
    assert (finding.kind, finding.severity, finding.facts) == ("invisible-class", "refusal", {"class": "\u200b"})


@pytest.mark.parametrize(
    ("labels", "difference"),
    [
        (("caf\u00e9", "cafe\u0301"), "Unicode form (NFC or NFD)"),
        (("spam", "spam\u200b"), "an invisible character"),
        (("\ufeffham", "ham"), "an invisible character"),
        (("so\u00adso", "soso"), "an invisible character"),
        (("very good", "very  good"), "white space"),
        (("very good", "very\u00a0good"), "white space"),
        (("Caf\u00e9", "cafe\u0301 "), "Unicode form, invisible characters, white space or case"),
    ],
)
def test_classes_that_look_alike_are_refused(labels: tuple[str, str], difference: str) -> None:
    finding = only(task(GOOD, labels=labels))
    assert (finding.kind, finding.severity) == ("look-alike-classes", "refusal")
    assert finding.facts == {"classes": list(labels), "difference": difference}
    assert finding.sentence.isascii(), "what cannot be seen is written as an escape"


def test_classes_that_differ_in_case_are_a_warning() -> None:
    finding = only(task(GOOD, labels=("Positive", "positive")))
    assert (finding.kind, finding.severity) == ("classes-differ-in-case", "warning")


@pytest.mark.parametrize("labels", [("1", "11"), ("not", "no t"), ("e", "\u00e9"), ("\u0430", "a")])
def test_other_names_are_not_taken_for_alike(labels: tuple[str, str]) -> None:
    assert data_findings(task(GOOD, labels=labels)) == ()


# -- rows


def test_dev_rows_that_are_training_rows_are_counted() -> None:
    finding = only(task([*GOOD, ("five", 0)]))
    assert (finding.kind, finding.severity) == ("dev-overlaps-train", "warning")
    assert finding.facts == {"split": "dev", "rows": 2, "shared": 1}
    finding = only(task([*GOOD, *OTHER]))
    assert (finding.kind, finding.facts["shared"]) == ("dev-is-training-data", 2)
    many = [(f"dev {n}", n % 2) for n in range(100)]
    assert only(task([*GOOD, many[0]], many)).severity == "note"


def test_the_same_first_text_with_another_second_one_is_another_row() -> None:
    rows = [("one", 0), ("one", 1)]
    assert data_findings(task(rows, [("one", 0), ("one", 1)], pairs=["p", "q"])) == ()


def test_repeated_rows_and_conflicting_labels_are_counted_apart() -> None:
    findings = found(task([*GOOD, ("one", 0), ("two", 1), ("three", 1)]))
    assert set(findings) == {"repeated-examples", "conflicting-labels"}
    assert findings["repeated-examples"].facts == {"rows": 7, "repeated": 3}
    assert findings["conflicting-labels"].facts == {"rows": 7, "conflicting": 2}
    assert findings["repeated-examples"].severity == "note"
    few = [(f"text {n}", n % 2) for n in range(200)]
    assert data_findings(task([*few, few[0]])) == (), "one row in 200 that occurs twice is usual"
    assert only(task([*few, ("text 0", 1)])).kind == "conflicting-labels"


def test_repeated_scores_of_one_text_are_no_conflict() -> None:
    rows = [("one", 1.0), ("one", 2.0), ("two", 0.0)]
    assert only(task(rows, [("x", 0.0), ("y", 1.0)], labels=())).kind == "repeated-examples"


def test_texts_that_are_all_equal_are_refused() -> None:
    finding = only(task([("same", 0), ("same", 1), ("same", 0)]))
    assert (finding.kind, finding.severity, finding.facts) == ("all-texts-equal", "refusal", {"rows": 3})


def test_pairs_of_equal_texts() -> None:
    assert only(task(GOOD, pairs=[text for text, _ in GOOD])).kind == "text-equals-pair"


# -- texts


@pytest.mark.parametrize("text", ["", " \t", "\u200b", "\u00a0\u2003", "\ufeff \u00ad"])
def test_texts_in_which_nothing_is_visible(text: str) -> None:
    assert is_blank(text)
    finding = only(task([*GOOD, (text, 0)]))
    assert (finding.kind, finding.facts["empty"], finding.facts["split"]) == ("empty-texts", 1, "train")
    assert only(task([("one", 0), ("two", 1)], pairs=["x", text])).kind == "empty-texts"


def test_visible_texts() -> None:
    assert not any(map(is_blank, (".", "\u00e9", "\u200ba", "\U0001f600")))


@pytest.mark.parametrize("text", ["a caf\ufffd", "a cafÃ© in town", "it isnâ€™t", "Ð¿Ñ\x80Ð¸Ð²ÐµÑ\x82", "30Â°"])
def test_damaged_characters(text: str) -> None:
    finding = only(task([*GOOD, (text, 0)]))
    assert (finding.kind, finding.severity, finding.facts["damaged"]) == ("damaged-characters", "warning", 1)
    assert finding.facts["example"] in text


@pytest.mark.parametrize(
    "text", ["a café, naïve", "“quoted” – isn’t", "São Paulo, NÃO", "Ålesund Ñandú", "Привет, мир", "30 °C", "日本語"]
)
def test_characters_that_are_whole(text: str) -> None:
    assert data_findings(task([*GOOD, (text, 0)])) == ()


def test_shares_in_words() -> None:
    assert [percent(share) for share in (0.0, 0.001, 0.374, 0.9999, 1.0)] == [
        "0 %", "less than 1 %", "37 %", "more than 99 %", "100 %",
    ]  # fmt: skip


# -- no false alarms


@pytest.mark.parametrize("name", sorted(TOY_TASKS))
def test_the_built_in_tasks_give_nothing(name: str) -> None:
    assert data_findings(toy_task(name)) == ()


@pytest.mark.parametrize("name", ["cola", "mrpc", "rte", "sst2"])
def test_glue_gives_no_warning(name: str, shared: Path) -> None:
    findings = data_findings(load_glue(name, shared / "glue"))
    assert [finding for finding in findings if finding.severity != "note"] == []
