from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data.files import check_table, read_table
from engine.data.load import load_task
from engine.data.types import Example, TaskData
from engine.errors import DataError
from engine.preset.schema import Columns, Files, Task
from tests.refused_files import refuse

GOOD = "text,label\nfine,yes\ndull,no\n"


def custom(
    folder: Path,
    train: str | bytes,
    dev: str | bytes | None = None,
    *,
    ending: str = "csv",
    dev_ending: str | None = None,
    columns: dict[str, Any] | None = None,
    kind: Any = "classification",
    **words: Any,
) -> TaskData:
    """Loads a custom task whose files have these contents; dev's is train's where none is given."""
    paths = {"train": folder / f"train.{ending}", "dev": folder / f"dev.{dev_ending or ending}"}
    for split, content in (("train", train), ("dev", train if dev is None else dev)):
        paths[split].write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    files = Files(train=str(paths["train"]), dev=str(paths["dev"]))
    return load_task(Task(name="custom", files=files, kind=kind, columns=Columns(**(columns or {})), **words))


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(folder: Path, **columns: list[Any]) -> bytes:
    pq.write_table(pa.table(columns), folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def told(data: TaskData) -> list[tuple[str, str | None, Any]]:
    return [(example.text, example.pair, example.label) for example in data.train]


# -- what is read


def test_csv_with_quotes_commas_line_breaks_and_a_byte_order_mark(tmp_path: Path) -> None:
    train = '\ufefflabel,"text"\r\nyes,"said ""hi"", then\nleft"\r\n\r\nno, plain \r\n'
    data = custom(tmp_path, train)
    assert told(data) == [('said "hi", then\nleft', None, 1), (" plain ", None, 0)]
    assert data.spec.labels == ("no", "yes")
    assert data.spec.metrics == ("accuracy",)
    assert data.spec.name == "custom"
    assert [example.id for example in data.dev["dev"]] == ["dev-0", "dev-1"]
    assert data.notes == ('The classes, in the order of the model\'s outputs, are "no", "yes".',)


def test_columns_and_a_second_dev_set(tmp_path: Path) -> None:
    rows = "name,q,a,kind\nr1,who,he,b\nr2,when,now,a\n"
    for file in ("train", "dev", "other"):
        (tmp_path / f"{file}.csv").write_text(rows)
    files = Files(**{s: str(tmp_path / f"{f}.csv") for s, f in
                     (("train", "train"), ("dev", "dev"), ("dev_mismatched", "other"))})  # fmt: skip
    columns = Columns(text="q", pair="a", label="kind", id="name")
    data = load_task(
        Task(name="custom", files=files, columns=columns, kind="classification", metrics=["f1", "accuracy"])
    )
    assert data.train[0] == Example("r1", "who", "he", 1)
    assert list(data.dev) == ["dev", "dev_mismatched"]
    assert data.spec.is_pair
    assert data.spec.metrics == ("f1", "accuracy")


def test_tsv_is_read_line_by_line_with_quotes_as_they_are(tmp_path: Path) -> None:
    train = 'text\tlabel\n"open only\tyes\n"both ends"\tno\n'
    data = custom(tmp_path, train, "text\tlabel\na\tyes\n", ending="tsv")
    assert [example.text for example in data.train] == ['"open only', '"both ends"']
    data = custom(tmp_path, 'text\tlabel\n"both ends"\tyes\na\tno\n', "text\tlabel\na\tyes\n", ending="tsv")
    assert data.train[0].text == '"both ends"', "a sentence in quotes is not a quoted field"


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ('text\tlabel\n"said ""hi"" to me"\tyes\nb\tno\n', 'said "hi" to me'),
        ('text\tlabel\r\n"two\r\nlines"\tyes\r\nb\tno\r\n', "two\r\nlines"),
        ('text\tlabel\n"a\ttab"\tyes\nb\tno\n', "a\ttab"),
        ('"text"\t"label"\n"plain"\t"yes"\n"b"\t"no"\n', "plain"),
    ],
)
def test_tsv_that_a_quoting_program_wrote_is_read_with_quotes(train: str, text: str, tmp_path: Path) -> None:
    data = custom(tmp_path, train, "text\tlabel\na\tyes\n", ending="tsv")
    assert [example.text for example in data.train] == [text, "b"]
    assert "train.tsv was read as quoted TSV" in data.notes[0]


def test_json_lines_and_parquet_give_the_same_as_csv(tmp_path: Path) -> None:
    expected = custom(tmp_path, "text,label,more\na,1,x\nb,0,y\n", "text,label\nc,1\n")
    rows = lines({"text": "a", "label": 1, "more": "x"}, {"label": 0, "text": "b"}).replace("\n", "\r\n\n")
    assert custom(tmp_path, rows, lines({"text": "c", "label": 1}), ending="jsonl") == expected
    train = table(tmp_path, label=[1, 0], text=["a", "b"])
    assert custom(tmp_path, train, table(tmp_path, label=[1.0], text=["c"]), ending="parquet") == expected
    assert custom(tmp_path, train, "text,label\nc,1\n", ending="parquet", dev_ending="csv") == expected


@pytest.mark.parametrize(
    ("values", "names", "indices"),
    [
        ([10, 9, -1], ("-1", "9", "10"), [2, 1, 0]),
        ([2.0, 1.0, 2.0], ("1", "2"), [1, 0, 1]),
        ([True, False, True], ("false", "true"), [1, 0, 1]),
        (["class 10", "class 9", "b"], ("b", "class 9", "class 10"), [2, 1, 0]),
        (["1", "yes", "2"], ("1", "2", "yes"), [0, 2, 1]),
        ([0, 1.0, 1], ("0", "1"), [0, 1, 1]),
        ([1, 10**18, 2], ("1", "2", str(10**18)), [0, 2, 1]),
    ],
)
def test_labels_of_any_type_become_classes_in_natural_order(
    values: list[Any], names: tuple[str, ...], indices: list[int], tmp_path: Path
) -> None:
    rows = lines(*({"text": f"t{row}", "label": value} for row, value in enumerate(values)))
    data = custom(tmp_path, rows, rows, ending="jsonl")
    assert data.spec.labels == names
    assert [example.label for example in data.train] == indices
    assert {type(example.label) for example in data.train} == {int}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["1", "0", "1.0"], ("0", "1")),
        (["TRUE", "False", "true"], ("false", "true")),
        (["007", "010", "100"], ("007", "010", "100")),
        ([" yes ", "no", "yes"], ("no", "yes")),
        (["1e1", "10", "2"], ("2", "10")),
    ],
)
def test_labels_in_text_files_are_told_by_their_form(words: list[str], names: tuple[str, ...], tmp_path: Path) -> None:
    train = "text,label\n" + "".join(f"t{row},{word}\n" for row, word in enumerate(words))
    assert custom(tmp_path, train, train).spec.labels == names


def test_scores(tmp_path: Path) -> None:
    data = custom(tmp_path, "text,label\na,1\nb,-2.5e-1\nc,.5\n", "text,label\na, 7 \n", kind="regression")
    assert [example.label for example in data.train] == [1.0, -0.25, 0.5]
    assert data.dev["dev"][0].label == 7.0
    assert (data.spec.labels, data.spec.metrics, data.spec.outputs) == ((), ("pearson",), 1)
    assert {type(example.label) for example in data.train} == {float}
    again = custom(tmp_path, table(tmp_path, text=["a", "b"], label=[1, 2]), "text,label\na,1\n", kind="regression",
                   ending="parquet", dev_ending="csv", metrics=["spearman", "pearson"])  # fmt: skip
    assert [example.label for example in again.train] == [1.0, 2.0]
    assert again.spec.metrics == ("spearman", "pearson")


def test_control_characters_in_texts_stay(tmp_path: Path) -> None:
    data = custom(tmp_path, "text,label\na\x08b\x1b[31m,yes\nline\x85sep\u2028,no\n")
    assert [example.text for example in data.train] == ["a\x08b\x1b[31m", "line\x85sep\u2028"]


def test_old_mac_line_ends(tmp_path: Path) -> None:
    assert len(custom(tmp_path, GOOD.replace("\n", "\r")).train) == 2
    tsv = GOOD.replace(",", "\t")
    assert len(custom(tmp_path, tsv.replace("\n", "\r"), tsv, ending="tsv").train) == 2


def test_a_field_longer_than_the_default_of_the_csv_module(tmp_path: Path) -> None:
    data = custom(tmp_path, f"text,label\n{'x' * 200_000},yes\nb,no\n")
    assert len(data.train[0].text) == 200_000


# -- what is refused


def refused(
    error: pytest.ExceptionInfo[DataError], file: Path | None, line: int | None, expected: tuple[str, ...]
) -> None:
    """The error has the kind that `expected` begins with, and its sentence the facts behind it."""
    kind, *facts = expected
    assert error.value.exit_code == 3
    assert error.value.file == (str(file) if file else None)
    assert error.value.line == line
    assert error.value.kind == kind
    for fact in facts:
        assert fact in error.value.sentence
    assert error.value.sentence.isprintable()


@pytest.mark.parametrize(
    ("train", "line", "words"),
    [
        ("text,lable\na,1\n", 1, ("no-such-column", '"label"', '"text"', '"lable"')),
        ("text;label\na;1\n", 1, ("no-such-column",)),
        ("text,label,text\na,1,b\n", 1, ("repeated-column", '"text"')),
        ("text,label\n", None, ("no-rows",)),
        ("", None, ("empty-file",)),
        ("\ufeff\n", None, ("empty-file",)),
        ("text,label\na,1\nb\n", 3, ("wrong-field-count", "1", "2")),
        ('text,label\na,1\n"two\nlines",0,more\n', 3, ("wrong-field-count", "3", "2")),
        ('text,label\na,1\n"open,0\nb,1\nc,0\n', 3, ("invalid-quotes",)),
        ('text,label\n"a" b,1\n', 2, ("invalid-quotes",)),
        ("text,label\na,yes\nb,\nc,no\nd, \n", 3, ("missing-label", '"label"')),
        ("text,label\na,yes\n,no\n", 3, ("missing-text", '"text"')),
        ("text,label\na,yes\n  ,no\n", 3, ("missing-text", '"text"')),
        (
            "text,label\na,yes\nb,no\nc,1\n",
            4,
            ("mixed-label-types", '"1"', '"label"'),
        ),
        ("text,label\na,0.5\nb,1\n", 2, ("label-not-whole", '"0.5"', '"label"')),
        ("text,label\na,yes\nb,yes\n", None, ("single-class", '"label"', '"yes"')),
        ("text,label\na,yes\0\nb,no\n", 2, ("nul-byte",)),
        (b"text,label\na,yes\nb\xff,no\n", 3, ("not-utf8", "is not UTF-8")),
        ("text,label\na,yes\n".encode("utf-16"), None, ("utf16-text",)),
        (f"text,label\na,yes\n{'x' * 1_000_001},no\n", 3, ("text-too-long", "1,000,001")),
        ("text,la\x1b[31mbel\na,yes\n", 1, ("no-such-column", '"text"', '"la\\x1b[31mbel"')),
    ],
)
def test_a_csv_file_that_cannot_be_used_says_where_and_why(
    train: str | bytes, line: int | None, words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, train)
    refused(error, tmp_path / "train.csv", line, words)


def test_several_faulty_rows_are_told_at_once(tmp_path: Path) -> None:
    train = "text,label\n" + "".join(f"t{row},{'' if row % 2 else 'yes'}\n" for row in range(16))
    with pytest.raises(DataError) as error:
        custom(tmp_path, train)
    refused(error, tmp_path / "train.csv", 3, ("missing-label", "5", "7", "9"))
    with pytest.raises(DataError) as error:
        custom(tmp_path, "text,label\na,\nb,\n")
    refused(error, tmp_path / "train.csv", 2, ("missing-label", "3"))


def test_a_row_that_spans_lines_does_not_shift_those_that_follow(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, 'text,label\n"one\ntwo\nthree",yes\n\nb,\n')
    refused(error, tmp_path / "train.csv", 6, ("missing-label",))


@pytest.mark.parametrize(
    ("train", "line", "words"),
    [
        ("text\tlabel\na\tyes\tmore\n", 2, ("wrong-field-count", "3", "2")),
        ("text\tlabel\na\n", 2, ("wrong-field-count", "1", "2")),
        ("text label\na yes\n", 1, ("no-such-column", '"text"', '"text label"')),
        ("text\tlabel\n", None, ("no-rows",)),
    ],
)
def test_a_tsv_file_that_cannot_be_used(train: str, line: int | None, words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, train, ending="tsv")
    refused(error, tmp_path / "train.tsv", line, words)


@pytest.mark.parametrize(
    ("train", "line", "words"),
    [
        ('{"text": "a", "label": 1}\n{"text": "b", "lab\n', 2, ('invalid-json',)),
        ('[\n{"text": "a"}\n]\n', 1, ('invalid-json',)),
        ('[{"text": "a", "label": 1}]\n', 1, ('not-json-object',)),
        ('"text"\n', 1, ('not-json-object',)),
        ('{"txt": "a", "label": 1}\n', 1, ('no-such-column', '"text"', '"txt"', '"label"')),
        (lines({"text": "a", "label": 1}, {"text": "b"}), 2, ('missing-label',)),
        (lines({"text": "a", "label": 1}, {"label": 0}), 2, ('missing-text',)),
        (lines({"text": "a", "label": 1}, {"text": 5, "label": 0}), 2, ('not-text', '"5"', '"text"')),
        (lines({"text": "a", "label": "1"}, {"text": "b", "label": 1}, {"text": "c", "label": 2}), 1, ('mixed-label-types',)),
        (lines({"text": "a", "label": 1}, {"text": "b", "label": True}, {"text": "c", "label": 0}), 2, ('mixed-label-types',)),
        (lines({"text": "a", "label": [1]}), 1, ('label-not-class', '"[1]"', '"label"')),
        (lines({"text": "a", "label": float("nan")}), 1, ('missing-label',)),
        ('{"text": "a\\ud800", "label": 1}\n{"text": "b", "label": 0}\n', 1, ('half-surrogate-pair',)),
        ("[" * 100_000, 1, ('invalid-json',)),
    ],
)  # fmt: skip
def test_a_json_lines_file_that_cannot_be_used(
    train: str, line: int | None, words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, train, ending="jsonl")
    refused(error, tmp_path / "train.jsonl", line, words)


def test_a_parquet_file_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    cases: list[tuple[bytes, tuple[str, ...]]] = [
        (
            table(tmp_path, text=["a", "b"], labels=[0, 1]),
            ("no-such-column", '"label"', '"text"', '"labels"'),
        ),
        (table(tmp_path, text=["a", "b"], label=[0, None]), ("missing-label", "2", '"label"')),
        (table(tmp_path, text=["a", None], label=[0, 1]), ("missing-text", "2", '"text"')),
        (table(tmp_path, text=[["a"], ["b"]], label=[0, 1]), ("not-text", "1", "\"['a']\"", '"text"')),
        (table(tmp_path, text=[], label=[]), ("no-rows",)),
        (b"PAR1 but no more", ("not-parquet",)),
        (table(tmp_path, text=["a"], label=[0])[:-9], ("not-parquet",)),
        (b"", ("not-parquet",)),
    ]
    for train, words in cases:
        with pytest.raises(DataError) as error:
            custom(tmp_path, train, ending="parquet")
        refused(error, file, None, words)


@pytest.mark.parametrize(
    ("train", "line", "words"),
    [
        ("text,label\na,1\nb,nan\n", 3, ("invalid-score", '"label"')),
        ("text,label\na,1\nb,NaN\nc,2\n", 3, ("invalid-score",)),
        ("text,label\na,1\nb,\n", 3, ("invalid-score",)),
        ("text,label\na,1\nb,inf\n", 3, ("invalid-score", '"inf"', '"label"')),
        ("text,label\na,1\nb,1e999\n", 3, ("invalid-score", '"1e999"', '"label"')),
        ("text,label\na,1\nb,good\n", 3, ("invalid-score", '"good"')),
        ("text,label\na,1_0\nb,2\n", 2, ("invalid-score", '"1_0"')),
        ('text,label\na,"3,5"\nb,2\n', 2, ("invalid-score",)),
        ("text,label\na,1\nb,1.0\n", None, ("single-score", '"label"', "1.0")),
    ],
)
def test_scores_that_are_no_numbers(train: str, line: int | None, words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, train, "text,label\na,1\n", kind="regression")
    refused(error, tmp_path / "train.csv", line, words)


def test_scores_in_json_that_are_no_numbers(tmp_path: Path) -> None:
    for value, words in (
        (True, ("invalid-score", '"True"')),
        (None, ("invalid-score",)),
        (float("inf"), ("invalid-score", '"inf"')),
    ):
        rows = lines({"text": "a", "label": 1}, {"text": "b", "label": value})
        with pytest.raises(DataError) as error:
            custom(tmp_path, rows, ending="jsonl", kind="regression")
        refused(error, tmp_path / "train.jsonl", 2, words)


def test_a_class_that_only_dev_has(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, GOOD, "text,label\na,yes\nb,perhaps\n")
    words = ("unknown-label", '"perhaps"', '"label"', "train.csv")
    refused(error, tmp_path / "dev.csv", 3, words)


def test_a_label_that_differs_in_every_row_is_no_class(tmp_path: Path) -> None:
    train = "text,label\n" + "".join(f"t{row},name {row}\n" for row in range(150))
    with pytest.raises(DataError) as error:
        custom(tmp_path, train)
    refused(error, tmp_path / "train.csv", None, ("too-many-classes", '"label"', "150"))


def test_ids_must_differ_and_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, "text,label,n\na,yes,1\nb,no,2\nc,no, 1\n", columns={"id": "n"})
    refused(error, tmp_path / "train.csv", 4, ("repeated-id", '"1"', '"n"'))
    with pytest.raises(DataError) as error:
        custom(tmp_path, "text,label,n\na,yes,1\nb,no,\n", columns={"id": "n"})
    refused(error, tmp_path / "train.csv", 3, ("missing-id", '"n"'))


def test_a_missing_file_and_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(GOOD)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    for name, words in {
        "none.csv": ("no-such-file",),
        "none.parquet": ("no-such-file",),
        "folder.csv": ("folder-not-file",),
        "folder.parquet": ("folder-not-file",),
        "data.xlsx": ("unknown-file-format",),
        "data": ("unknown-file-format",),
    }.items():
        files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / name))
        with pytest.raises(DataError) as error:
            load_task(Task(name="custom", files=files, kind="classification"))
        refused(error, tmp_path / name, None, words)


def test_f1_needs_two_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        custom(tmp_path, "text,label\na,1\nb,2\nc,3\n", metrics=["accuracy", "f1"])
    words = ("f1-needs-two-classes", "3")
    refused(error, None, None, words)
    assert error.value.key == "task.metrics"


# -- line ends

SEPARATORS = ("\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1d", "\x1e")
"""What `str.splitlines` takes for line ends, besides LF and CR."""


@pytest.mark.parametrize(
    ("ending", "separator"),
    [
        *(("jsonl", separator) for separator in SEPARATORS if separator > " "),  # JSON escapes the others
        *((ending, separator) for ending in ("csv", "tsv") for separator in SEPARATORS),
    ],
)
def test_only_line_feeds_end_a_line(tmp_path: Path, ending: str, separator: str) -> None:
    text = f"fine{separator}day"
    if ending == "jsonl":
        rows = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ({"text": text, "label": "yes"},) * 2)
    else:
        mark = {"csv": ",", "tsv": "\t"}[ending]
        rows = f"text{mark}label\n" + f"{text}{mark}yes\n" * 2
    data = custom(
        tmp_path,
        rows + ('{"text": "dull", "label": "no"}\n' if ending == "jsonl" else f"dull{mark}no\n"),
        ending=ending,
    )
    assert [row.text for row in data.train] == [text, text, "dull"]
    check_table(tmp_path / f"train.{ending}", ["text", "label"])


@pytest.mark.parametrize("separator", SEPARATORS[:3])
def test_a_column_may_have_such_a_name(tmp_path: Path, separator: str) -> None:
    name = f"te{separator}xt"
    for ending, mark in (("csv", ","), ("tsv", "\t")):
        rows = f"{name}{mark}label\nfine{mark}yes\ndull{mark}no\n"
        assert len(custom(tmp_path, rows, ending=ending, columns={"text": name}).train) == 2
        check_table(tmp_path / f"train.{ending}", [name, "label"])


# -- files that cannot be opened


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_file_that_cannot_be_opened_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, number: int
) -> None:
    path = tmp_path / f"train.{ending}"
    path.write_bytes(table(tmp_path, text=["a"], label=["b"]))
    refuse(monkeypatch, path, number)
    for check in (check_table, read_table):
        with pytest.raises(DataError) as caught:
            check(path, ["text", "label"])
        assert (caught.value.kind, caught.value.file) == ("unreadable-file", str(path))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_link_to_nowhere_is_not_called_missing(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"train.{ending}"
    path.symlink_to("../moved/train")
    for check in (check_table, read_table):
        with pytest.raises(DataError) as caught:
            check(path, ["text", "label"])
        assert caught.value.kind == "dangling-link"
        assert "../moved/train" in caught.value.sentence


# -- names of classes in Parquet files


def described(folder: Path, labels: list[Any], features: Any, name: str = "described") -> bytes:
    """A Parquet file as `datasets` writes it, which describes its columns in its metadata."""
    rows = pa.table({"text": [f"t{n}" for n in range(len(labels))], "label": labels})
    metadata = features if isinstance(features, bytes) else json.dumps({"info": {"features": features}}).encode()
    pq.write_table(rows.replace_schema_metadata({b"huggingface": metadata}), folder / f"{name}.parquet")
    return (folder / f"{name}.parquet").read_bytes()


def named(*names: str) -> dict[str, Any]:
    return {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": list(names), "_type": "ClassLabel"}}


def test_class_names_in_the_metadata_of_parquet_are_used(tmp_path: Path) -> None:
    train = described(tmp_path, [1, 0, 1, 3], named("poor", "good", "fair", "best"))
    data = custom(tmp_path, train, described(tmp_path, [0, 1], named("best", "poor")), ending="parquet")
    assert data.spec.labels == ("poor", "good", "fair", "best"), "in the file's order, unused ones too"
    assert [label for _, _, label in told(data)] == [1, 0, 1, 3]
    assert [example.label for example in data.dev["dev"]] == [3, 0], "by name, whatever the numbers of another file"


@pytest.mark.parametrize(("label", "kind"), [(-1, "missing-label"), (None, "missing-label"), (2, "label-not-named")])
def test_numbers_without_a_class_name(tmp_path: Path, label: int | None, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        custom(tmp_path, described(tmp_path, [0, 1, label], named("no", "yes")), ending="parquet")
    assert caught.value.kind == kind
    assert "row 3" in caught.value.sentence


@pytest.mark.parametrize(
    "features",
    [
        b"", b"{", b"[" * 5000, b"null", b'{"info": 1}', b'{"info": {"features": []}}', [], {}, {"label": 3}, {"label": {}},
        {"label": {"dtype": "int64", "_type": "Value"}}, {"label": {"_type": "ClassLabel", "names": 3}},
        {"label": {"_type": "ClassLabel", "names": ["a", 1]}}, named("a", "a"), named("a"), named("a", " "),
    ],
)  # fmt: skip
def test_other_metadata_changes_nothing(tmp_path: Path, features: Any) -> None:
    assert custom(tmp_path, described(tmp_path, [0, 1], features), ending="parquet").spec.labels == ("0", "1")


# -- rows that cannot be right


@pytest.mark.parametrize(("ending", "mark"), [("csv", ","), ("tsv", "\t")])
def test_a_header_in_the_middle_is_refused_with_its_line(tmp_path: Path, ending: str, mark: str) -> None:
    rows = ["text,label", "fine,yes", "text,label", "dull,no", "text,label"]
    with pytest.raises(DataError) as caught:
        custom(tmp_path, "\n".join(rows).replace(",", mark), ending=ending)
    assert (caught.value.kind, caught.value.line) == ("repeated-header", 3)
    assert "5" in caught.value.sentence


def test_a_header_in_the_middle_of_scores(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        custom(tmp_path, "text,label\nfine,1\ntext,label\ndull,2\n", kind="regression")
    assert caught.value.kind == "repeated-header"


def test_a_text_that_is_the_name_of_its_column_is_fine(tmp_path: Path) -> None:
    assert len(custom(tmp_path, "text,label\ntext,yes\nlabel,no\n").train) == 2


def test_a_class_of_dev_that_looks_like_one_of_train(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        custom(tmp_path, "text,label\nx,caf\u00e9\ny,tea\n", "text,label\nx,cafe\u0301\n")
    assert caught.value.kind == "unknown-label"
    assert all(fact in caught.value.sentence for fact in (r"'caf\xe9'", r"'cafe\u0301'", "Unicode form"))
