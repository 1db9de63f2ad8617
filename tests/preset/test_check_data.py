"""What the heads of data files show about a preset, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CrildError, DataError
from engine.preflight.check import UnusableError, check
from engine.preset.load import load_preset
from tests.preset.support import MINIMAL, load

GLUE = MINIMAL.replace('"toy-entailment"', '"rte"\nsource = "glue"')
CUSTOM = MINIMAL.replace(
    '"toy-entailment"',
    '"custom"\nkind = "classification"\nfiles = { train = "train.csv", dev = "dev.csv" }\n'
    'columns = { text = "question", pair = "answer", label = "verdict" }',
)


def found(folder: Path, preset: str, *overrides: str) -> list[str]:
    """The problems that check finds, as a person sees them, with the test's folder taken out."""
    try:
        check(load(folder, preset, *overrides))
    except UnusableError as error:
        problems: tuple[CrildError, ...] = error.problems
    except DataError as error:
        problems = (error,)
    else:
        return []
    return [str(problem).replace(f"{folder}/", "") for problem in problems]


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
    where = "(task.source, set in mine.toml:4)"
    assert found(tmp_path, GLUE) == [
        f'glue: there is no such folder; give "hub" or a folder in the official GLUE layout {where}'
    ]
    fill(tmp_path, {"glue": ""})
    assert found(tmp_path, GLUE)[0].startswith("glue: this is a file; give")


def test_glue_files_that_are_missing(tmp_path: Path) -> None:
    (tmp_path / "glue").mkdir()
    where = "(task.source, set in mine.toml:4)"
    assert found(tmp_path, GLUE) == [
        f"glue: there is neither a folder RTE in here nor the files train.tsv and dev.tsv of rte {where}"
    ]
    fill(tmp_path, {"glue/RTE/train.tsv": RTE})
    assert found(tmp_path, GLUE) == [f"glue/RTE: dev.tsv of rte is not in this folder {where}"]
    fill(tmp_path, {"glue/MNLI/train.tsv": ""})
    assert found(tmp_path, GLUE, "task.name=mnli") == [
        f"glue/MNLI: dev_matched.tsv or dev_mismatched.tsv of mnli is not in this folder {where}".replace(
            " or ", " and "
        )
    ]


def test_glue_files_with_other_columns(tmp_path: Path) -> None:
    fill(tmp_path, {"glue/RTE/train.tsv": "sentence1\tsentence_2\tlabel\nx", "glue/RTE/dev.tsv": RTE})
    assert found(tmp_path, GLUE) == [
        'glue/RTE/train.tsv: there is no column "sentence2"; the columns are "sentence1", "sentence_2" and "label"; '
        'did you mean "sentence_2"? (task.source, set in mine.toml:4)'
    ]


def test_the_real_files_pass(tmp_path: Path, shared: Path) -> None:
    for name in ("cola", "sst2", "mrpc", "rte"):
        check(load_preset(["crild", name], [f"task.source={shared / 'glue'}"], base=tmp_path))
    with pytest.raises(DataError, match="neither a folder QNLI in here"):
        check(load_preset(["crild", "qnli"], [f"task.source={shared / 'glue'}"], base=tmp_path))
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
    ("name", "content", "sentence"),
    [
        ("train.csv", None, "train.csv: there is no such file (task.files.train, set in mine.toml:5)"),
        ("train.csv", "", "train.csv: the file is empty (task.files.train"),
        ("train.csv", "\ufeff\n\n", "train.csv: the file is empty"),
        (
            "train.csv",
            "question,answers,verdict\n",
            'train.csv: there is no column "answer"; the columns are "question", "answers" and "verdict"; '
            'did you mean "answers"?',
        ),
        (
            "train.csv",
            "question;answer;verdict\n",
            "the columns seem to be separated by another character than the file's ending says",
        ),
        (
            "train.csv",
            b"question,answer,verd\xeft\n",
            "train.csv: the file is not UTF-8 text (byte 0xef in its first line)",
        ),
        ("train.csv", "question".encode("utf-16"), "train.csv: the file is UTF-16 text: save it as UTF-8"),
        (
            "train.jsonl",
            "question,answer",
            "train.jsonl:1: the first line is not a JSON object; JSON lines has one object",
        ),
        ("train.jsonl", '[{"question": 1}]', "the first line is not a JSON object"),
        ("train.jsonl", '{"question": 1}', 'there is no column "answer"; the columns are "question"'),
        ("train.parquet", "PAR1...", "train.parquet: this is not a Parquet file, or it is cut short"),
        ("train.parquet", "", "train.parquet: this is not a Parquet file, or it is cut short"),
        ("train.xlsx", "x", "files end in .csv, .tsv, .jsonl, .json or .parquet"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, content: str | bytes | None, sentence: str) -> None:
    fill(tmp_path, {"dev.csv": "question,answer,verdict\n"})
    if content is not None:
        fill(tmp_path, {name: content})
    (problem,) = found(tmp_path, CUSTOM.replace("train.csv", name))
    assert sentence in problem
    assert problem.isprintable()


def test_every_file_is_looked_at_and_nearby_names_are_offered(tmp_path: Path) -> None:
    fill(tmp_path, {"trian.csv": "x"})
    (tmp_path / "dev.csv").mkdir()
    assert found(tmp_path, CUSTOM) == [
        "train.csv: there is no such file; did you mean trian.csv? (task.files.train, set in mine.toml:5)",
        "dev.csv: this is a folder, where a file is expected (task.files.dev, set in mine.toml:5)",
    ]


def test_only_the_head_is_read(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv"):
        fill(tmp_path, {name: "question,answer,verdict\n"})
        with (tmp_path / name).open("ab") as file:
            file.truncate(20_000_000_000)  # a hole of 20 GB
    assert found(tmp_path, CUSTOM) == []


def test_other_tasks_and_corpora_of_stages(tmp_path: Path) -> None:
    other = 'data = { task = { name = "mrpc", source = "glue" } }\n'
    problems = found(tmp_path, MINIMAL + other, "stage.ild.data.corpus=./texts")
    assert problems == [
        "texts: there is no such file or folder of plain text "
        "(stage.ild.data.corpus, set in --set stage.ild.data.corpus=./texts)",
        'glue: there is no such folder; give "hub" or a folder in the official GLUE layout '
        "(stage.kd.data.task.source, set in mine.toml:20)",
    ]
    fill(tmp_path, {"texts/.hidden.txt": "x", "texts/image.png": "x"})
    assert "this folder holds no text file" in found(tmp_path, MINIMAL, "stage.ild.data.corpus=./texts")[0]
    fill(tmp_path, {"texts/inner/words.txt": "x"})
    assert found(tmp_path, MINIMAL, "stage.ild.data.corpus=./texts") == []
    assert found(tmp_path, MINIMAL, "stage.ild.data.corpus=org/words") == []
