from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.report.predictions import read_answers
from tests.report.records import write_predictions


def test_classes_become_their_places(tmp_path: Path) -> None:
    write_predictions(tmp_path, [0, 1, 1], [0, 0, 1])
    found = read_answers(tmp_path)
    assert (found.classes, found.labels, found.predictions) == (("no", "yes"), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0))


def test_scores_stay_numbers(tmp_path: Path) -> None:
    (tmp_path / "predictions").mkdir()
    rows = [{"id": "dev-0", "label": 2.5, "prediction": 2.25}, {"id": "dev-1", "label": 0, "prediction": -1}]
    (tmp_path / "predictions/student.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = read_answers(tmp_path)
    assert (found.classes, found.labels, found.predictions) == ((), (2.5, 0.0), (2.25, -1.0))


def test_a_dev_set_is_known_by_its_examples_and_labels(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, labels in zip(folders, ([0, 1], [0, 1], [1, 1]), strict=True):
        folder.mkdir()
        write_predictions(folder, labels, [1, 1])
    one, same, other = (read_answers(folder).dev for folder in folders)
    assert one == same != other


def test_a_further_dev_set_has_a_file_of_its_own(tmp_path: Path) -> None:
    write_predictions(tmp_path, [0, 1], [1, 1], "student.dev_mismatched")
    assert read_answers(tmp_path, "dev_mismatched").predictions == (1.0, 1.0)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, "missing-predictions"),
        (b"", "empty-predictions"),
        (b'{"id": "dev-0", "label": "no"', "torn-predictions"),
        (b"\xff\xfe\n", "torn-predictions"),
        (b"3\n", "not-json-lines"),
        (b'{"id": 1}, {"id": 2}\n', "not-json-lines"),
        (b'{"id": "dev-0", "prediction": "no", "probabilities": {"no": 1.0}}\n', "bad-predictions"),
        (b'{"id": "a", "label": "x", "prediction": "no", "probabilities": {"no": 1.0}}\n', "bad-predictions"),
        (b'{"id": "a", "label": 1.0, "prediction": null}\n', "bad-predictions"),
        (b'{"id": "a", "label": 1.0, "prediction": NaN}\n', "bad-predictions"),
        (b'{"id": "a", "label": 1.0, "prediction": 1e999}\n', "bad-predictions"),
        (b'{"id": "a", "label": 1.0, "prediction": 1, "probabilities": 3}\n', "bad-predictions"),
        (b'{"id": "a", "label": 1.0, "prediction": 1, "group": 0}\n', "bad-predictions"),
        (b'{"id": "a", "label": 1.0, "prediction": 1, "group": "x", "score": 1}\n', "bad-predictions"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_kind(tmp_path: Path, content: bytes | None, kind: str) -> None:
    (tmp_path / "predictions").mkdir()
    if content is not None:
        (tmp_path / "predictions/student.jsonl").write_bytes(content)
    with pytest.raises(RunError) as caught:
        read_answers(tmp_path)
    assert (caught.value.kind, caught.value.file) == (kind, str(tmp_path / "predictions/student.jsonl"))


def test_a_ranking_has_the_query_and_the_score_of_each_row(tmp_path: Path) -> None:
    """Rows of other queries are another dev set."""
    found = []
    for groups in ((0, 0), (0, 1)):
        (tmp_path / "predictions").mkdir(exist_ok=True)
        rows = [
            {"id": f"dev-{index}", "group": group, "score": score, "label": 1.0, "prediction": 0.25}
            for index, (group, score) in enumerate(zip(groups, (0.2500001, None), strict=True))
        ]
        (tmp_path / "predictions/student.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        found.append(read_answers(tmp_path))
    one, other = found
    assert (one.groups, one.scores[0], str(one.scores[1])) == ((0, 0), 0.2500001, "nan")
    assert one.dev != other.dev
