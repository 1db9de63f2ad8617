"""Labels by word in reports: what was missed, and tests that draw sentences."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.data.types import TaskSpec
from engine.errors import RunError
from engine.evaluate.metrics import compute
from engine.report.error_tables import confusion_sentence, error_notes, error_tables, rows_table
from engine.report.predictions import read_answers
from engine.report.row_file import rows_csv
from engine.report.significance import WORD_METRICS, compare_methods, score
from engine.report.student_errors import student_errors
from tests.errors import raises

GOLD = ["B-PER I-PER met B-PER", "O B-LOC", "O O", "B-LOC O"]
STUDENT = ["B-PER I-PER O B-PER", "O O", "O B-PER", "B-LOC I-LOC"]
TEACHER = ["B-PER O O B-PER", "O B-LOC", "O O", "B-PER O"]
TEXTS = ["Anna Adler met Ben", "in Oslo", "it rains", "Bonn sleeps"]


def labels_of(texts: Sequence[str]) -> list[list[str | None]]:
    return [["O" if word == "met" else word for word in text.split()] for text in texts]


def write(run_dir: Path, model: str, answers: Sequence[str], share: float = 0.5, gold: Sequence[str] = GOLD) -> Path:
    folder = run_dir / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, (label, own) in enumerate(zip(labels_of(gold), labels_of(answers), strict=True)):
        row = {"id": f"dev-{index}", "label": label, "prediction": own, "word_probabilities": [share] * len(own)}
        lines.append(json.dumps(row) + "\n")
    (folder / f"{model}.jsonl").write_text("".join(lines))
    return run_dir


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    write(tmp_path / "ner-s1", "teacher", TEACHER, 0.9)
    rows = [{"id": f"dev-{index}", "text": text} for index, text in enumerate(TEXTS)]
    (tmp_path / "ner-s1" / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return write(tmp_path / "ner-s1", "student", STUDENT)


def test_figures_and_confusions_of_entities_by_hand(run_dir: Path) -> None:
    """Of 2 persons both are found, with one too much; of 2 places one is missed and one has a word too much."""
    found = student_errors(run_dir)
    loc, per = found.classes
    assert (loc.name, loc.rows, loc.predicted, loc.precision, loc.recall, loc.f1) == ("LOC", 2, 1, 0.0, 0.0, 0.0)
    assert (per.name, per.rows, per.predicted, per.precision, per.recall, per.f1) == ("PER", 2, 3, 2 / 3, 1.0, 0.8)
    pairs = [(each.label, each.prediction, each.rows) for each in found.confusions]
    assert pairs == [("(no entity)", "PER", 1), ("LOC", "(no entity)", 1), ("LOC", "(other words)", 1)]
    assert [(each.name, each.rows) for each in found.teacher_classes] == [("LOC", 2), ("PER", 2)]
    assert (found.rows, found.wrong, found.matrix, found.calibration) == (4, 3, (), None)


def test_an_entity_of_another_type_is_taken_for_that_type(tmp_path: Path) -> None:
    gold = ["B-LOC I-LOC O"]
    write(tmp_path / "ner-s1", "teacher", gold, gold=gold)
    found = student_errors(write(tmp_path / "ner-s1", "student", ["B-PER I-PER O"], gold=gold))
    assert [(each.label, each.prediction, each.rows) for each in found.confusions] == [("LOC", "PER", 1)]


def test_sentences_show_their_entities(run_dir: Path) -> None:
    found = student_errors(run_dir)
    rows = {row.id: (row.label, row.student, row.teacher, row.right) for row in found.disagreements}
    assert rows["dev-0"] == ("PER Anna Adler, PER Ben", "PER Anna Adler, PER Ben", "PER Anna, PER Ben", "student")
    assert rows["dev-1"] == ("LOC Oslo", "(no entity)", "LOC Oslo", "teacher")
    assert rows["dev-3"] == ("LOC Bonn", "LOC Bonn sleeps", "PER Bonn", "neither")
    assert [row.student_probability for row in found.mistakes] == [0.25] * 3
    tables = error_tables(found)
    assert [table.name for table in tables] == ["Classes", "Confusions"]
    assert "takes" in str(confusion_sentence(found)) or len(found.names) < 3
    assert "disagree on 4 of 4 rows" in error_notes(found)[0]
    assert rows_table(found, found.mistakes).rows[0].name in TEXTS
    (header, *_) = csv.reader(io.StringIO(rows_csv(found, found.mistakes)))
    assert header[-1] == "right"


def test_labels_without_entities_are_classes_of_words(tmp_path: Path) -> None:
    gold = ["NOUN VERB", "NOUN NOUN"]
    write(tmp_path / "pos-s1", "teacher", gold, gold=gold)
    found = student_errors(write(tmp_path / "pos-s1", "student", ["NOUN VERB", "NOUN VERB"], gold=gold))
    assert found.names == ("NOUN", "VERB")
    assert found.matrix == ((2, 1), (0, 1))
    assert found.mistakes[0].student == "1/NOUN 2/VERB"


def test_predictions_of_other_lengths_are_refused(run_dir: Path) -> None:
    row = {"id": "dev-0", "label": ["O"], "prediction": ["O", "O"], "word_probabilities": [1.0, 1.0]}
    (run_dir / "predictions" / "student.jsonl").write_text(json.dumps(row) + "\n")
    with raises("bad-predictions", error=RunError):
        student_errors(run_dir)


# -- significance


def random_labels(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    names = np.array(["O", "O", "B-A", "I-A", "B-B", "I-B"])
    return [" ".join(draw.choice(names, draw.integers(1, 9))) for _ in range(count)]


def altered(gold: Sequence[str], seed: int, share: float) -> list[str]:
    draw = np.random.default_rng(seed)
    names = ["O", "B-A", "I-A", "B-B"]
    return [" ".join(str(draw.choice(names)) if draw.random() < share else w for w in text.split()) for text in gold]


@pytest.mark.parametrize("metric", sorted(WORD_METRICS))
def test_scores_are_those_of_the_evaluation(tmp_path: Path, metric: str) -> None:
    gold = random_labels(40, 0)
    own = altered(gold, 1, 0.3)
    names = ("O", "B-A", "I-A", "B-B", "I-B")
    spec = TaskSpec("ner", "token-classification", names, (metric,), is_pair=False)
    flat = [np.array([names.index(word) for text in texts for word in text.split()]) for texts in (gold, own)]
    groups = np.repeat(np.arange(len(gold)), [len(text.split()) for text in gold])
    logits = np.eye(5, dtype=np.float32)[flat[1]]
    answers = read_answers(write(tmp_path, "student", own, gold=gold))
    assert score(metric, answers) == pytest.approx(compute(spec, logits, flat[0], groups)[metric], abs=1e-12)


def test_sentences_are_drawn_not_words(tmp_path: Path) -> None:
    gold = random_labels(60, 0)
    methods = [
        {
            seed: read_answers(write(tmp_path / f"{share}-{seed}", "student", altered(gold, seed, share), gold=gold))
            for seed in range(3)
        }
        for share in (0.1, 0.5)
    ]
    found = compare_methods("entity_f1", methods, 400)
    assert found.p_values[0, 1] < 0.05
    assert compare_methods("entity_f1", methods, 400).p_values == found.p_values
    assert "no test" in compare_methods("f1_macro", methods, 400).untested[0, 1]
