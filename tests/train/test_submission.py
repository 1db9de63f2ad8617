"""Predictions for the GLUE site: from official test files, by a student, as the files and the archive that the site takes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from engine.data import glue
from engine.data.glue import load_glue_test
from engine.data.tasks import DIAGNOSTIC, GLUE, SITE_FILES, TEST_SETS
from engine.evaluate.glue_submission import ARCHIVE, HEADER, check_answers, score_word, write_answers, write_archive
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.train.submission import submission
from tests.cli.samples import make_run
from tests.errors import raises
from tests.models.tiny_models import saved, tiny

COLUMNS = {
    "cola": "index\tsentence",
    "sst2": "index\tsentence",
    "mrpc": "index\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2",
    "qqp": "id\tquestion1\tquestion2",
    "mnli": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse"
    "\tsentence2_parse\tsentence1\tsentence2",
    "qnli": "index\tquestion\tsentence",
    "rte": "index\tsentence1\tsentence2",
    "wnli": "index\tsentence1\tsentence2",
}
"""The headers of the official test files."""


def cells(row: int, names: list[str]) -> str:
    """A row of a test file: its number, and in each other column words of its own, with quotes that are plain characters."""
    return "\t".join([str(row), *(f'w{4 + (row + at) % 90} "w{row % 7}' for at in range(1, len(names)))])


def text_of(columns: str, rows: int) -> str:
    names = columns.split("\t")
    return "".join(f"{line}\n" for line in (columns, *(cells(row, names) for row in range(rows))))


def laid_out(folder: Path, task: str, *, diagnostic: bool = False) -> Path:
    """The official test files of a task, with as many rows as GLUE's; returns the folder of all tasks."""
    own = folder / GLUE[task].folder
    own.mkdir(parents=True)
    for each in TEST_SETS[task]:
        (own / f"{each.stem}.tsv").write_text(text_of(COLUMNS[task], each.rows))
    if diagnostic:
        (folder / "diagnostic").mkdir()
        (folder / "diagnostic/diagnostic.tsv").write_text(text_of("index\tsentence1\tsentence2", DIAGNOSTIC.rows))
    return folder


def run_of(runs_dir: Path, task: str, source: Path, **config: Any) -> Path:
    """A finished run on a task, whose student is random, its classes in another order than GLUE's."""
    preset = dump(load_preset(["crild", task], [f"task.source={source}", "train.device=cpu"]).preset)
    run_dir = make_run(runs_dir, f"{task}-crild", preset=preset)
    names = list(reversed(GLUE[task].spec.labels))
    labels = {"labels": len(names), "id2label": dict(enumerate(names))} if names else {"labels": 1}
    saved(run_dir / "student", tiny("bert", layers=1, **{**labels, **config}))
    return run_dir


def ask(run_dir: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return submission({"run": str(run_dir), "folder": str(folder), "device": "cpu", "batch_size": None})


@pytest.mark.parametrize("task", COLUMNS)
def test_official_test_files_are_read(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {
        name: tuple(type(each)(each.file, each.stem, each.hub_split, 5, each.words) for each in sets)
        for name, sets in TEST_SETS.items()
    }
    monkeypatch.setattr(glue, "TEST_SETS", few)
    monkeypatch.setitem(TEST_SETS, task, few[task])
    found = load_glue_test(task, laid_out(tmp_path, task))
    assert [known.file for known in found] == [known.file for known in few[task]]
    names = COLUMNS[task].split("\t")
    for rows in found.values():
        given = [rows.texts, rows.pairs]
        for texts, column in zip(given, GLUE[task].columns, strict=True):
            expected = (
                None if column is None else [cells(row, names).split("\t")[names.index(column)] for row in range(5)]
            )
            assert texts == expected


def test_the_sites_files_and_words() -> None:
    assert list(SITE_FILES) == [
        "CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "QNLI.tsv", "RTE.tsv",
        "WNLI.tsv", "AX.tsv",
    ]  # fmt: skip
    assert {each.rows for each in SITE_FILES.values()} == {
        1063, 1821, 1725, 1379, 390_965, 9796, 9847, 5463, 3000, 146, 1104,
    }  # fmt: skip
    assert SITE_FILES["WNLI.tsv"].words == SITE_FILES["MRPC.tsv"].words == ("0", "1")
    assert SITE_FILES["RTE.tsv"].words == SITE_FILES["QNLI.tsv"].words == ("entailment", "not_entailment")
    assert SITE_FILES["AX.tsv"].words == SITE_FILES["MNLI-m.tsv"].words
    assert set(SITE_FILES["AX.tsv"].words) == {"entailment", "neutral", "contradiction"}
    assert [score_word(score) for score in (-0.2, 2.34567, 5.1)] == ["0.000", "2.346", "5.000"]


def test_a_student_answers_each_row_by_the_names_of_its_classes(tmp_path: Path) -> None:
    source = laid_out(tmp_path / "glue", "wnli")
    run_dir = run_of(tmp_path / "runs", "wnli", source, initializer_range=1.0)
    result = ask(run_dir, tmp_path / "out")
    header, *lines = (tmp_path / "out/WNLI.tsv").read_text().splitlines()
    assert header == "index\tprediction"
    assert [line.split("\t")[0] for line in lines] == [str(row) for row in range(146)]
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(run_dir / "student").eval()
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "student")
    words = {"entailment": "1", "not_entailment": "0"}
    names = COLUMNS["wnli"].split("\t")
    for row, line in enumerate(lines):
        _, first, second = cells(row, names).split("\t")
        with torch.inference_mode():
            logits = model(**tokenizer(first, second, return_tensors="pt")).logits[0]
        assert line.split("\t")[1] == words[model.config.id2label[int(logits.argmax())]]
    assert len({line.split("\t")[1] for line in lines}) == 2
    assert sum(result["sets"][0]["labels"].values()) == 146


def test_runs_fill_one_folder_and_its_archive(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = ask(run_of(tmp_path / "runs", "stsb", laid_out(tmp_path / "a", "stsb")), out)
    assert first["files"] == ["STS-B.tsv"]
    assert len(first["missing"]) == 10
    (out / "notes.txt").write_text("mine")
    second = ask(run_of(tmp_path / "runs", "mnli", laid_out(tmp_path / "b", "mnli", diagnostic=True)), out)
    files = ["STS-B.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"]
    assert second["files"] == files
    assert "AX.tsv" not in second["missing"]
    with zipfile.ZipFile(out / ARCHIVE) as archive:
        assert archive.namelist() == files
        for name in files:
            assert archive.read(name) == (out / name).read_bytes()
    assert {len(line.split("\t")[1]) for line in (out / "STS-B.tsv").read_text().splitlines()[1:]} == {5}
    again = (out / ARCHIVE).read_bytes()
    write_archive(out)
    assert (out / ARCHIVE).read_bytes() == again


def _drop_row(text: str) -> str:
    return text.rsplit("\n", 2)[0] + "\n"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_drop_row, "wrong-number-of-rows"),
        (lambda text: text.replace("\n5\t", "\n6\t"), "rows-not-numbered"),
        (lambda text: text.replace("\n5\t", "\n"), "wrong-field-count"),
        (lambda text: text.replace("sentence2", "sentence"), "no-such-column"),
        (lambda _: "", "empty-file"),
    ],
)
def test_test_files_that_are_not_glues_are_refused(tmp_path: Path, change: Callable[[str], str], kind: str) -> None:
    source = laid_out(tmp_path, "wnli")
    file = source / "WNLI/test.tsv"
    file.write_text(change(file.read_text()))
    with raises(kind, file):
        load_glue_test("wnli", source)


def test_a_folder_without_the_test_file_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = laid_out(tmp_path / "glue", "wnli")
    run_dir = run_of(tmp_path / "runs", "wnli", source)
    (source / "WNLI/test.tsv").rename(source / "WNLI/dev.tsv")
    with raises("no-such-file", "test.tsv"):
        ask(run_dir, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_student_of_other_classes_or_without_finite_answers_is_refused(tmp_path: Path) -> None:
    source = laid_out(tmp_path / "glue", "wnli")
    with raises("classes-not-glue", "LABEL_0"):
        ask(run_of(tmp_path / "other", "wnli", source, id2label={0: "LABEL_0", 1: "LABEL_1"}), tmp_path / "out")
    run_dir = run_of(tmp_path / "broken", "wnli", source)
    model = tiny("bert", layers=1, id2label={0: "not_entailment", 1: "entailment"})
    torch.nn.init.constant_(model.classifier.weight, 3e38)  # finite, but its outputs are not
    saved(run_dir / "student", model)
    with raises("answers-not-finite", "WNLI.tsv"):
        ask(run_dir, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_drop_row, "wrong-number-of-rows"),
        (lambda text: text.replace("prediction", "label"), "wrong-answer-columns"),
        (lambda text: text.replace("\n7\t1", "\n7\tentailment"), "wrong-answer"),
        (lambda text: text.replace("\n7\t1", "\n7 1"), "wrong-answer"),
        (lambda text: text.replace("\n7\t1", "\n8\t1"), "wrong-answer"),
    ],
)
def test_a_file_that_the_site_would_refuse_does_not_get_into_the_archive(
    tmp_path: Path, change: Callable[[str], str], kind: str
) -> None:
    path = write_answers(tmp_path, SITE_FILES["WNLI.tsv"], ["1"] * 146)
    write_archive(tmp_path)
    before = (tmp_path / ARCHIVE).read_bytes()
    path.write_text(change(path.read_text()))
    with raises(kind, path):
        write_archive(tmp_path)
    assert (tmp_path / ARCHIVE).read_bytes() == before


def test_scores_beyond_the_scale_are_found(tmp_path: Path) -> None:
    path = write_answers(tmp_path, SITE_FILES["STS-B.tsv"], ["2.500"] * 1379)
    for word in ("5.1", "-1", "nan", "high", "0_1"):
        path.write_text(f"{HEADER}\n" + "".join(f"{row}\t{word if row == 3 else '1.0'}\n" for row in range(1379)))
        with raises("wrong-answer", path, word):
            check_answers(path)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "WNLI.tsv").mkdir()
    with raises("cannot-write-submission", "WNLI.tsv"):
        write_answers(tmp_path, SITE_FILES["WNLI.tsv"], ["1"] * 146)


def test_the_answer_is_json(tmp_path: Path) -> None:
    source = laid_out(tmp_path / "glue", "wnli")
    result = ask(run_of(tmp_path / "runs", "wnli", source), tmp_path / "out")
    assert json.loads(json.dumps(result)) == result
