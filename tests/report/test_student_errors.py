from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import RunError, UsageError
from engine.report.calibration import calibration, expected_calibration_error, fit_temperature, softmax
from engine.report.class_metrics import class_figures, confusion_matrix, confusions
from engine.report.error_tables import confusion_sentence, error_notes, error_tables, rows_table
from engine.report.row_file import rows_csv
from engine.report.student_errors import StudentErrors, student_errors

NAMES = ("no", "yes", "maybe")
GOLD, ANSWERS = (0, 0, 0, 1, 1, 2), (0, 0, 1, 1, 0, 0)


def write(
    run_dir: Path, model: str, gold: Sequence[int], shares: Sequence[Sequence[float]], names: Sequence[str] = NAMES
) -> None:
    folder = run_dir / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": f"dev-{index}",
            "label": names[label],
            "prediction": names[max(range(len(names)), key=lambda place: share[place])],
            "probabilities": dict(zip(names, share, strict=True)),
        }
        for index, (label, share) in enumerate(zip(gold, shares, strict=True))
    ]
    (folder / f"{model}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def sure(answer: int, probability: float = 0.9, classes: int = 3) -> list[float]:
    rest = (1 - probability) / (classes - 1)
    return [probability if index == answer else rest for index in range(classes)]


def a_run(folder: Path, *, texts: bool = True) -> Path:
    """Six rows: the teacher has the first five right; the student 0, 1 and 3."""
    run_dir = folder / "tickets-s1"
    write(run_dir, "student", GOLD, [sure(answer, 0.6 + index / 20) for index, answer in enumerate(ANSWERS)])
    write(run_dir, "teacher", GOLD, [sure(answer) for answer in (0, 0, 0, 1, 1, 1)])
    if texts:
        rows = [{"id": f"dev-{index}", "text": f"=text {index}\nnext", "pair": "so"} for index in range(6)]
        (run_dir / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_dir


def test_the_figures_of_each_class_by_hand() -> None:
    matrix = confusion_matrix(GOLD, ANSWERS, 3)
    assert matrix == ((2, 1, 0), (1, 1, 0), (1, 0, 0))
    no, yes, maybe = class_figures(matrix, NAMES)
    assert (no.rows, no.predicted, no.precision, no.recall) == (3, 4, 2 / 4, 2 / 3)
    assert no.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert (yes.precision, yes.recall, yes.f1) == (1 / 2, 1 / 2, 1 / 2)
    assert (maybe.precision, maybe.recall, maybe.f1) == (None, 0.0, 0.0)
    assert [(pair.label, pair.prediction, pair.rows) for pair in confusions(matrix, NAMES)] == [
        ("no", "yes", 1), ("yes", "no", 1), ("maybe", "no", 1),
    ]  # fmt: skip


def test_a_class_without_rows_and_answers_has_no_figures() -> None:
    (_, absent) = class_figures(confusion_matrix([0], [0], 2), ("a", "b"))
    assert (absent.precision, absent.recall, absent.f1) == (None, None, None)


def test_the_calibration_error_by_hand() -> None:
    """Two bins: at 0.95 three of four are right (gap 0.2), at 0.62 one of one (gap 0.38)."""
    shares = np.array([[0.95, 0.05]] * 4 + [[0.38, 0.62]])
    labels = np.array([0, 0, 0, 1, 1])
    assert expected_calibration_error(shares, labels) == pytest.approx((4 * 0.2 + 1 * 0.38) / 5)
    assert expected_calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0.0


def test_gaps_of_one_bin_cancel_and_a_bin_ends_at_its_upper_bound() -> None:
    """0.8 is 12/15: with 0.79 in one bin, and not with 0.81."""
    shares = np.array([[0.8, 0.2], [0.79, 0.21], [0.81, 0.19]])
    found = expected_calibration_error(shares, np.array([0, 1, 0]))
    assert found == pytest.approx((abs(1 + 0 - 0.8 - 0.79) + abs(1 - 0.81)) / 3)


def test_the_temperature_by_hand() -> None:
    """Logits ±2 and three of four right: the best probability is 3/4, whose logit is log 3, so T = 4 / log 3."""
    logits = np.array([[2.0, -2.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(4 / math.log(3), rel=1e-3)


def test_after_one_temperature_is_measured_on_rows_that_it_was_not_fitted_on() -> None:
    """Of 400 rows with 0.99, three in four are right: 0.24 before; after, each half is off by the other half's share."""
    labels = [0 if index % 4 else 1 for index in range(400)]
    ids = [f"dev-{index}" for index in range(400)]
    found = calibration([[0.99, 0.01]] * 400, labels, ids)
    assert found.before == pytest.approx(0.24)
    assert found.temperature == pytest.approx(math.log(99) / math.log(3), rel=1e-2)
    assert found.after is not None
    assert 0.0 < found.after < 0.1
    mirrored = calibration([[0.99, 0.01]] * 400, labels[::-1], ids[::-1])
    assert mirrored.after == pytest.approx(found.after)  # whatever the order of the rows


def test_few_rows_have_no_temperature_and_a_zero_probability_no_infinity() -> None:
    few = calibration([[1.0, 0.0]] * 19, [1] * 19, [str(index) for index in range(19)])
    assert (few.before, few.temperature, few.after) == (1.0, None, None)
    more = calibration([[1.0, 0.0]] * 40, [1] * 40, [str(index) for index in range(40)])
    assert more.temperature == pytest.approx(20, rel=1e-2)
    assert softmax(np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]


def test_rows_on_which_the_two_disagree_begin_with_those_that_the_teacher_has_right(tmp_path: Path) -> None:
    found = student_errors(a_run(tmp_path))
    assert [(row.id, row.right) for row in found.disagreements] == [
        ("dev-4", "teacher"), ("dev-2", "teacher"), ("dev-5", "neither"),
    ]  # fmt: skip
    first = found.disagreements[0]
    assert (first.label, first.student, first.teacher) == ("yes", "no", "yes")
    assert first.student_probability == pytest.approx(0.8)
    assert first.teacher_probability == 0.9
    assert first.text is not None
    assert first.text.pair == "so"
    assert found.wrong == 3
    assert json.loads(json.dumps(found.to_dict()))["disagreements"][0]["text"]["text"] == "=text 4\nnext"
    assert found.to_dict(rows=False)["disagreements"] == 3


def test_mistakes_begin_with_those_that_the_teacher_makes_too(tmp_path: Path) -> None:
    """There the label may be wrong."""
    gold = [1, 0, 0, 0]
    write(tmp_path / "tickets-s1", "student", gold, [sure(1), sure(1), sure(1), sure(0)])
    write(tmp_path / "tickets-s1", "teacher", gold, [sure(1), sure(0), sure(1), sure(0)])
    found = student_errors(tmp_path / "tickets-s1")
    assert [(row.id, row.label, row.student, row.teacher) for row in found.mistakes] == [
        ("dev-2", NAMES[0], NAMES[1], NAMES[1]), ("dev-1", NAMES[0], NAMES[1], NAMES[0]),
    ]  # fmt: skip
    assert len(found.mistakes) == found.wrong
    assert [row.id for row in found.disagreements] == ["dev-1"]


def test_the_file_has_texts_answers_and_probabilities_and_no_formula(tmp_path: Path) -> None:
    found = student_errors(a_run(tmp_path))
    rows = list(csv.reader(io.StringIO(rows_csv(found, found.disagreements))))
    assert rows[0][:9] == [
        "id", "text", "pair", "label", "student", "teacher", "student_probability", "teacher_probability", "right",
    ]  # fmt: skip
    assert rows[0][9:] == [f"{model} {name}" for model in ("student", "teacher") for name in NAMES]
    assert rows[1][:6] == ["dev-4", "'=text 4 next", "so", "yes", "no", "yes"]
    assert [float(cell) for cell in rows[1][12:]] == pytest.approx(sure(1))


def test_an_old_run_without_texts_has_ids(tmp_path: Path) -> None:
    found = student_errors(a_run(tmp_path, texts=False))
    assert not found.has_texts
    assert rows_table(found, found.disagreements, 1).rows[0].name == "dev-4"
    assert list(csv.reader(io.StringIO(rows_csv(found, found.disagreements))))[1][:3] == ["dev-4", "", "yes"]


def test_of_many_classes_a_short_table_has_the_ten_worst(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(12)]
    gold = list(range(12))
    write(tmp_path, "teacher", gold, [sure(index, 0.9, 12) for index in gold], names)
    write(tmp_path, "student", gold, [sure(index if index > 1 else 5, 0.9, 12) for index in gold], names)
    found = student_errors(tmp_path)
    classes, pairs = error_tables(found)
    assert [row.name for row in classes.rows][:3] == ["class 0", "class 1", "class 5"]
    assert len(classes.rows) == 10
    assert [(row.name, row.cells[0].text) for row in pairs.rows] == [("class 0", "class 5"), ("class 1", "class 5")]
    assert "class 0 for class 5 (1)" in (confusion_sentence(found) or "")
    assert len(error_tables(found, most=None)[0].rows) == 12


def test_scores_have_differences_alone(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir()
    for model, answers in (("student", (1.0, 2.0)), ("teacher", (1.5, 4.0))):
        rows = [{"id": str(n), "label": 1.0, "prediction": answer} for n, answer in enumerate(answers)]
        (folder / f"{model}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = student_errors(tmp_path)
    assert (found.student_error, found.teacher_error) == (0.5, 1.75)
    assert [(row.id, row.student, row.right) for row in found.disagreements] == [
        ("1", 2.0, "student"),
        ("0", 1.0, "student"),
    ]
    assert error_tables(found) == ()
    assert len(error_notes(found)) == 1
    assert rows_csv(found, found.disagreements).splitlines()[0] == "id,text,label,student,teacher"


def test_predictions_of_other_rows_and_unknown_splits_are_refused(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    with pytest.raises(UsageError) as unknown:
        student_errors(run_dir, "dev_mismatched")
    assert unknown.value.kind == "unknown-split"
    write(run_dir, "teacher", (1, *GOLD[1:]), [sure(answer) for answer in ANSWERS])
    with pytest.raises(RunError) as other:
        student_errors(run_dir)
    assert (other.value.kind, other.value.file) == (
        "predictions-of-other-rows", str(run_dir / "predictions/teacher.jsonl"),
    )  # fmt: skip
    (run_dir / "predictions/teacher.jsonl").unlink()
    with pytest.raises(RunError) as missing:
        student_errors(run_dir)
    assert missing.value.kind == "missing-predictions"


def test_the_answers_of_an_untrained_head_are_not_shown(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path)
    (run_dir / "results.json").write_text(json.dumps({"student": {"metrics": {}, "head_trained": False}}))
    with pytest.raises(RunError) as caught:
        student_errors(run_dir)
    assert caught.value.kind == "untrained-head"


def test_the_matrix_numbers_classes_with_long_names(tmp_path: Path) -> None:
    found: StudentErrors = student_errors(a_run(tmp_path))
    short = error_tables(found)[1]
    assert [column.heading for column in short.columns] == list(NAMES)
    assert [[cell.text for cell in row.cells] for row in short.rows] == [
        ["2", "1", "0"],
        ["1", "1", "0"],
        ["1", "0", "0"],
    ]
    names = ("a" * 30, "b" * 30, "c")
    for model in ("student", "teacher"):
        write(tmp_path / "long", model, GOLD, [sure(answer) for answer in ANSWERS], names)
    long = error_tables(student_errors(tmp_path / "long"))[1]
    assert [column.heading for column in long.columns] == ["1", "2", "3"]
    assert long.rows[2].name == "3 c"


# -- several labels for a text


def several(folder: Path) -> Path:
    """Four rows: the student has the first right, gives row 1 a label too many, row 2 one too few, row 3 both."""
    run_dir = folder / "tags-s1"
    (run_dir / "predictions").mkdir(parents=True)
    gold: tuple[list[str], ...] = (["a"], [], ["a", "b"], ["b"])
    answers = {
        "student": ((0.9, 0.2), (0.6, 0.1), (0.8, 0.4), (0.7, 0.3)),
        "teacher": ((0.9, 0.1), (0.1, 0.1), (0.9, 0.9), (0.7, 0.3)),
    }
    for model, shares in answers.items():
        rows = [
            {"id": f"dev-{index}", "label": labels, "prediction": [n for n, s in zip("ab", share, strict=True) if s >= 0.5],
             "probabilities": dict(zip("ab", share, strict=True))}
            for index, (labels, share) in enumerate(zip(gold, shares, strict=True))
        ]  # fmt: skip
        (run_dir / "predictions" / f"{model}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run_dir


def test_what_a_student_of_several_labels_gets_wrong(tmp_path: Path) -> None:
    found = student_errors(several(tmp_path))
    assert (found.names, found.wrong, found.matrix, found.confusions) == (("a", "b"), 3, (), ())
    first, second = found.classes
    assert (first.name, first.rows, first.predicted, first.precision, first.recall) == ("a", 2, 4, 2 / 4, 1.0)
    assert (second.rows, second.predicted, second.precision, second.recall, second.f1) == (2, 0, None, 0.0, 0.0)
    assert [(row.id, row.label, row.student, row.teacher, row.right) for row in found.disagreements] == [
        ("dev-1", "(no label)", "a", "(no label)", "teacher"), ("dev-2", "a, b", "a", "a, b", "teacher"),
    ]  # fmt: skip
    assert found.disagreements[0].student_probability == pytest.approx(0.6 * 0.9)
    assert [row.id for row in found.mistakes] == ["dev-3", "dev-1", "dev-2"], "first where the teacher agrees"
    (table,) = error_tables(found)
    assert [row.label for row in table.rows] == ["a", "b"]
    assert confusion_sentence(found) is None
    assert "on 2 of 4 rows" in error_notes(found)[-1]
    assert len(list(csv.reader(io.StringIO(rows_csv(found, found.mistakes))))) == 4


def test_the_calibration_of_several_labels_is_that_of_every_answer(tmp_path: Path) -> None:
    """Eight answers: the student's confidences and whether it is right."""
    found = student_errors(several(tmp_path)).calibration
    assert found is not None
    sure = [0.9, 0.8, 0.6, 0.9, 0.8, 0.6, 0.7, 0.7]
    right = [1, 1, 0, 1, 1, 0, 0, 0]
    shares = [(1 - share, share) for share in sure]
    expected = expected_calibration_error(np.array(shares), np.array(right))
    assert found.rows == 8
    assert found.before == pytest.approx(expected)


def test_torn_sets_of_labels_are_refused(tmp_path: Path) -> None:
    run_dir = several(tmp_path)
    path = run_dir / "predictions" / "student.jsonl"
    path.write_text(path.read_text().replace('"prediction": ["a"]', '"prediction": ["z"]', 1))
    with pytest.raises(RunError) as caught:
        student_errors(run_dir)
    assert caught.value.kind == "bad-predictions"


@pytest.mark.parametrize(("split", "named"), [(None, "dev"), ("test", "test")])
def test_without_the_teachers_figures_a_sentence_says_why(tmp_path: Path, split: str | None, named: str) -> None:
    write(tmp_path, "student", GOLD, [sure(answer) for answer in ANSWERS])
    write(tmp_path, "teacher", GOLD, [sure(answer) for answer in GOLD])
    whole = student_errors(tmp_path)
    sentence = f"the file of answers lacks rows of {named}, so the teacher has no figures"
    assert sentence in error_notes(replace(whole, split=split, has_teacher=False))
    assert sentence not in error_notes(whole)
