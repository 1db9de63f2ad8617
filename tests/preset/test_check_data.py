"""What the heads of data files show about a preset, before a run exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.preflight.check import check
from engine.preset.load import load_preset
from tests.preset.support import MINIMAL, checked, load, mistake

GLUE = MINIMAL.replace('"toy-entailment"', '"rte"\nsource = "glue"')
CUSTOM = MINIMAL.replace(
    '"toy-entailment"',
    '"custom"\nkind = "classification"\nfiles = { train = "train.csv", dev = "dev.csv" }\n'
    'columns = { text = "question", pair = "answer", label = "verdict" }',
)


def found(folder: Path, preset: str, *overrides: str) -> list[str]:
    """The location, kind and key of each problem that preflight finds, without the test's folder."""
    return [mistake(problem).replace(f"{folder}/", "") for problem in checked(load(folder, preset, *overrides))]


def sentences(folder: Path, preset: str, *overrides: str) -> list[str]:
    """The sentences of the problems that preflight finds."""
    return [problem.sentence for problem in checked(load(folder, preset, *overrides))]


def fill(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


RTE = "index\tsentence1\tsentence2\tlabel\n"


def test_the_folder_of_the_task_or_of_all_tasks(tmp_path: Path) -> None:
    fill(tmp_path, {"glue/RTE/train.tsv": RTE, "glue/RTE/dev.tsv": RTE})
    assert found(tmp_path, GLUE) == []
    assert found(tmp_path, GLUE, "task.source=glue/RTE") == []
    assert found(tmp_path, GLUE, "task.source=hub") == []


def test_a_glue_folder_that_is_none(tmp_path: Path) -> None:
    assert found(tmp_path, GLUE) == ["glue no-such-folder task.source"]
    (sentence,) = sentences(tmp_path, GLUE)
    assert '"hub"' in sentence
    assert sentence.endswith("(task.source, set in mine.toml:4)")
    fill(tmp_path, {"glue": ""})
    assert found(tmp_path, GLUE) == ["glue unreadable-folder task.source"]


def test_glue_files_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    assert found(tmp_path, GLUE) == ["glue not-glue-layout task.source"]
    fill(tmp_path, {"glue/RTE/train.tsv": RTE})
    assert found(tmp_path, GLUE) == ["glue/RTE/dev.tsv no-such-file task.source"]
    fill(tmp_path, {"glue/MNLI/train.tsv": "sentence1\tsentence2\tgold_label\n"})
    assert found(tmp_path, GLUE, "task.name=mnli") == ["glue/MNLI/dev_matched.tsv no-such-file task.source"]


def test_glue_files_with_other_columns(tmp_path: Path) -> None:
    fill(tmp_path, {"glue/RTE/train.tsv": "sentence1\tsentence_2\tlabel\nx", "glue/RTE/dev.tsv": RTE})
    assert found(tmp_path, GLUE) == ["glue/RTE/train.tsv:1 no-such-column task.source"]
    (sentence,) = sentences(tmp_path, GLUE)
    assert all(fact in sentence for fact in ('"sentence2"', '"sentence1", "sentence_2", "label"'))


def test_the_real_files_pass(tmp_path: Path, shared: Path) -> None:
    for name in ("cola", "sst2", "mrpc", "rte"):
        check(load_preset(["crild", name], [f"task.source={shared / 'glue'}"], base=tmp_path))
    (problem,) = checked(load_preset(["crild", "qnli"], [f"task.source={shared / 'glue'}"], base=tmp_path))
    assert problem.kind == "not-glue-layout"
    assert "QNLI" in problem.sentence
    check(load(tmp_path, MINIMAL, f"stage.ild.data.corpus={shared / 'wikitext-2'}"))


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        (".csv", "question,answer,verdict,more\na,b,c,d\n"),
        (".csv", '\ufeff"question","answer","verdict"\r\n'),
        (".csv", 'question,answer,"ver\ndict",verdict\n'),
        (".tsv", "question\tanswer\tverdict\n"),
        (".tsv", '"question"\t"answer"\t"verdict"\n'),
        (".jsonl", '\n{"question": "a", "answer": "b", "verdict": 1}\n'),
        (".json", '{"question": "a", "answer": "b", "verdict": 1}\n'),
        (".parquet", "PAR1....PAR1"),
        (".CSV", "question,answer,verdict"),
    ],
)
def test_files_with_their_columns(tmp_path: Path, ending: str, content: str) -> None:
    fill(tmp_path, {f"train{ending}": content, f"dev{ending}": content})
    assert found(tmp_path, CUSTOM.replace(".csv", ending)) == []


@pytest.mark.parametrize(
    ("name", "content", "problem", "facts"),
    [
        ("train.csv", None, " no-such-file", ["(task.files.train, set in mine.toml:5)"]),
        ("train.csv", "", " empty-file", ["(task.files.train"]),
        ("train.csv", "\ufeff\n\n", " empty-file", []),
        (
            "train.csv",
            "question,answers,verdict\n",
            ":1 no-such-column",
            ['"answer"', '"question", "answers", "verdict"', '"answers"?'],
        ),
        ("train.csv", "question;answer;verdict\n", ":1 no-such-column", ["another character"]),
        ("train.csv", b"question,answer,verd\xeft\n", ":1 not-utf8", ["byte 0xef"]),
        ("train.csv", "question".encode("utf-16"), " utf16-text", []),
        ("train.jsonl", "question,answer", ":1 invalid-json", []),
        ("train.jsonl", '[{"question": 1}]', ":1 not-json-object", []),
        ("train.jsonl", '{"question": 1}', ":1 no-such-column", ['"answer"', '"question"']),
        ("train.parquet", "PAR1...", " not-parquet", []),
        ("train.parquet", "", " not-parquet", []),
        ("train.xlsx", "x", " unknown-file-format", [".csv, .tsv, .jsonl, .json, .parquet"]),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, name: str, content: str | bytes | None, problem: str, facts: list[str]
) -> None:
    fill(tmp_path, {"dev.csv": "question,answer,verdict\n"})
    if content is not None:
        fill(tmp_path, {name: content})
    preset = CUSTOM.replace("train.csv", name)
    assert found(tmp_path, preset) == [f"{name}{problem} task.files.train"]
    (sentence,) = sentences(tmp_path, preset)
    assert all(fact in sentence for fact in facts), sentence
    assert sentence.isprintable()


def test_every_file_is_checked_and_nearby_names_are_offered(tmp_path: Path) -> None:
    fill(tmp_path, {"trian.csv": "x"})
    (tmp_path / "dev.csv").mkdir()
    assert found(tmp_path, CUSTOM) == [
        "train.csv no-such-file task.files.train",
        "dev.csv folder-not-file task.files.dev",
    ]
    assert "trian.csv?" in sentences(tmp_path, CUSTOM)[0]


def test_only_the_head_is_read(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv"):
        fill(tmp_path, {name: "question,answer,verdict\n"})
        with (tmp_path / name).open("ab") as file:
            file.truncate(20_000_000_000)  # a hole of 20 GB
    assert found(tmp_path, CUSTOM) == []


def test_other_tasks_and_corpora_of_stages(tmp_path: Path) -> None:
    other = 'data = { task = { name = "mrpc", source = "glue" } }\n'
    assert found(tmp_path, MINIMAL + other, "stage.ild.data.corpus=./texts") == [
        "texts no-such-file stage.ild.data.corpus",
        "glue no-such-folder stage.kd.data.task.source",
    ]
    corpus, task = sentences(tmp_path, MINIMAL + other, "stage.ild.data.corpus=./texts")
    assert corpus.endswith("(stage.ild.data.corpus, set in --set stage.ild.data.corpus=./texts)")
    assert task.endswith("(stage.kd.data.task.source, set in mine.toml:20)")
    fill(tmp_path, {"texts/.hidden.txt": "x", "texts/image.png": "x"})
    assert found(tmp_path, MINIMAL, "stage.ild.data.corpus=./texts") == ["texts no-text-files stage.ild.data.corpus"]
    fill(tmp_path, {"texts/inner/words.txt": "x"})
    assert found(tmp_path, MINIMAL, "stage.ild.data.corpus=./texts") == []
    assert found(tmp_path, MINIMAL, "stage.ild.data.corpus=org/words") == []


def test_unlabelled_files_are_looked_at(tmp_path: Path) -> None:
    files = dict.fromkeys(("train.csv", "dev.csv"), "question,answer,verdict\nq,a,1\n")
    fill(tmp_path, {**files, "more.csv": "question,answer\nq,a\n", "words.txt": "word\n", "odd.csv": "x,y\n1,2\n"})
    data = "stage.ild.data={{files=['{}']}}"
    assert found(tmp_path, CUSTOM, data.format("more.csv")) == []
    assert found(tmp_path, CUSTOM, data.format("mo*.csv")) == []
    assert found(tmp_path, CUSTOM, data.format("words.txt")) == ["words.txt pairs-in-plain-text stage.ild.data.files"]
    assert found(tmp_path, CUSTOM, data.format("odd.csv")) == ["odd.csv no-text-column stage.ild.data.files"]
    assert found(tmp_path, CUSTOM, data.format("mor.csv")) == ["mor.csv no-such-file stage.ild.data.files"]
    assert found(tmp_path, CUSTOM, data.format("*.tsv")) == ["*.tsv no-file-matches stage.ild.data.files"]
