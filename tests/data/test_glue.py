from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.data.glue import load_glue
from engine.data.load import load_task
from engine.data.tasks import GLUE
from engine.data.types import Example, TaskData
from engine.errors import DataError
from engine.preset.names import GLUE_TASKS
from engine.preset.schema import Task

HEADS = {
    "sst2": "sentence\tlabel",
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
}
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
)
ROWS = {
    "cola": ["gj04\t1\t\tWe yelled .", "gj04\t0\t*\tYelled we ."],
    "sst2": ["a fine film \t1", "dull \t0"],
    "mrpc": ['1\t70\t71\tHe said , " yes .\tYes , he said .', "0\t72\t73\tOne .\tTwo ."],
    "stsb": [
        "0\tmain\tMSR\t2012\t1\tnone\tnone\tA plane .\tAn air plane .\t5.000",
        "1\tm\tM\t2012\t4\tn\tn\tA man .\tA cat .\t0.25",
    ],
    "qqp": ["13\t1\t2\tWhy ?\tHow come ?\t1", "14\t3\t4\tWho ?\tWhen ?\t0"],
    "mnli": [
        "0\t1\t1n\tfiction\t(p)\t(q)\t(P)\t(Q)\tIt rains .\tIt is wet .\tentailment\tentailment",
        "1\t1\t1c\tfiction\t(p)\t(q)\t(P)\t(Q)\tIt rains .\tIt is dry .\tcontradiction\tcontradiction",
        "2\t1\t1n\tfiction\t(p)\t(q)\t(P)\t(Q)\tIt rains .\tI sleep .\tneutral\tneutral",
    ],
    "qnli": ["0\tWho ?\tIt was he .\tentailment", "1\tWhen ?\tIt was he .\tnot_entailment"],
    "rte": ["0\tIt rains .\tIt is wet .\tentailment", "1\tIt rains .\tI sleep .\tnot_entailment"],
    "wnli": ["0\tIt fits it .\tThe box fits it .\t1", "1\tIt fits it .\tThe cat fits it .\t0"],
}


def files(name: str) -> dict[str, str]:
    """Small files of a task in its official layout, by file name."""
    body = "\n".join(ROWS[name]) + "\n"
    if name == "cola":
        return {"train.tsv": body, "dev.tsv": body.rstrip("\n")}
    if name == "mnli":
        dev = "\n".join(f"{row}\t{row.split(chr(9))[-1]}" for row in ROWS[name]) + "\n"
        dev_head = f"{MNLI}\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label\n"
        return {
            "train.tsv": f"{MNLI}\tsentence1\tsentence2\tlabel1\tgold_label\n{body}",
            "dev_matched.tsv": dev_head + dev,
            "dev_mismatched.tsv": dev_head + dev.split("\n", 1)[1],
        }
    return {"train.tsv": f"{HEADS[name]}\n{body}", "dev.tsv": f"{HEADS[name]}\n{body}"}


def laid_out(folder: Path, name: str, **changed: str) -> Path:
    """The folder with the task's files in it; changed["train"] is the text of train.tsv instead."""
    target = folder / GLUE[name].folder
    target.mkdir(parents=True)
    for file, text in files(name).items():
        content = changed.get(file.removesuffix(".tsv"), text)
        (target / file).write_bytes(content.encode("utf-8-sig" if name == "mrpc" else "utf-8"))
    return folder


EXPECTED: dict[str, list[Any]] = {
    "cola": [("We yelled .", None, 1), ("Yelled we .", None, 0)],
    "sst2": [("a fine film ", None, 1), ("dull ", None, 0)],
    "mrpc": [('He said , " yes .', "Yes , he said .", 1), ("One .", "Two .", 0)],
    "stsb": [("A plane .", "An air plane .", 5.0), ("A man .", "A cat .", 0.25)],
    "qqp": [("Why ?", "How come ?", 1), ("Who ?", "When ?", 0)],
    "mnli": [("It rains .", "It is wet .", 0), ("It rains .", "It is dry .", 2), ("It rains .", "I sleep .", 1)],
    "qnli": [("Who ?", "It was he .", 0), ("When ?", "It was he .", 1)],
    "rte": [("It rains .", "It is wet .", 0), ("It rains .", "I sleep .", 1)],
    "wnli": [("It fits it .", "The box fits it .", 1), ("It fits it .", "The cat fits it .", 0)],
}


@pytest.mark.parametrize("name", GLUE_TASKS)
def test_each_task_is_read_in_its_official_layout(name: Any, tmp_path: Path) -> None:
    data = load_task(Task(name=name, source=str(laid_out(tmp_path, name))))
    assert [(example.text, example.pair, example.label) for example in data.train] == EXPECTED[name]
    assert [example.id for example in data.train][:2] == ["train-0", "train-1"]
    assert {type(example.label) for example in data.train} == {float if name == "stsb" else int}
    assert data.spec.is_pair == (data.train[0].pair is not None)
    assert data.notes == ()


def test_mnli_has_two_dev_sets_with_the_matched_one_first(tmp_path: Path) -> None:
    data = load_glue("mnli", laid_out(tmp_path, "mnli"))
    assert [(name, len(rows)) for name, rows in data.dev.items()] == [("dev_matched", 3), ("dev_mismatched", 2)]
    assert data.primary_dev == "dev_matched"
    assert data.dev["dev_mismatched"][0].id == "dev_mismatched-0"
    assert data.dev["dev_matched"][1].label == 2, "gold_label is the last column, whose place differs from train's"


def test_labels_have_glues_order_and_metrics() -> None:
    told = {name: (task.spec.labels, task.spec.metrics) for name, task in GLUE.items()}
    assert told == {
        "cola": (("unacceptable", "acceptable"), ("matthews", "accuracy")),
        "sst2": (("negative", "positive"), ("accuracy",)),
        "mrpc": (("not_equivalent", "equivalent"), ("accuracy", "f1")),
        "stsb": ((), ("pearson", "spearman")),
        "qqp": (("not_duplicate", "duplicate"), ("accuracy", "f1")),
        "mnli": (("entailment", "neutral", "contradiction"), ("accuracy",)),
        "qnli": (("entailment", "not_entailment"), ("accuracy",)),
        "rte": (("entailment", "not_entailment"), ("accuracy",)),
        "wnli": (("not_entailment", "entailment"), ("accuracy",)),
    }
    assert tuple(told) == GLUE_TASKS
    assert GLUE["stsb"].spec.label_range == (0.0, 5.0)


@pytest.mark.parametrize(
    ("source", "name"),
    [("CoLA", "cola"), (".", "cola"), ("MRPC", "mrpc"), (".", "sst2"), ("SST-2", "sst2"), (".", "rte")],
)
def test_the_real_files_have_their_official_rows(shared: Path, source: str, name: Any) -> None:
    data = load_task(Task(name=name, source=str(shared / "glue" / source)))
    rows = {"cola": (8551, 1043), "mrpc": (3668, 408), "rte": (2490, 277), "sst2": (67349, 872)}
    classes = {
        "cola": ({0: 2528, 1: 6023}, {0: 322, 1: 721}),
        "mrpc": ({0: 1194, 1: 2474}, {0: 129, 1: 279}),
        "rte": ({0: 1249, 1: 1241}, {0: 146, 1: 131}),
        "sst2": ({0: 29780, 1: 37569}, {0: 428, 1: 444}),
    }
    dev = data.dev["dev"]
    assert (len(data.train), len(dev)) == rows[name]
    assert (counted(data.train), counted(dev)) == classes[name]


def counted(examples: Sequence[Example]) -> dict[Any, int]:
    return dict(Counter(example.label for example in examples))


def test_quotes_and_control_characters_stay_in_the_real_texts(shared: Path) -> None:
    def text(data: TaskData) -> str:
        return "".join(example.text + (example.pair or "") for example in (*data.train, *data.dev["dev"]))

    assert text(load_glue("cola", shared / "glue")).count("\x08") == 3
    rte = text(load_glue("rte", shared / "glue"))
    assert (rte.count("\x80"), rte.count("\x99")) == (2, 2)
    assert text(load_glue("mrpc", shared / "glue")).count('"') > 500


@pytest.mark.parametrize("folder", ["SST-2", "sst-2", "SST2", "sst_2"])
def test_the_name_of_the_folder_is_taken_in_any_case(folder: str, tmp_path: Path) -> None:
    laid_out(tmp_path, "sst2")
    (tmp_path / "SST-2").rename(tmp_path / folder)
    (tmp_path / folder / "train.tsv").rename(tmp_path / folder / "Train.TSV")
    assert len(load_glue("sst2", tmp_path).train) == 2
    assert len(load_glue("sst2", tmp_path / folder).train) == 2


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = load_glue("rte", laid_out(tmp_path / "lf", "rte"))
    changed = laid_out(tmp_path / "crlf", "rte")
    for file in (changed / "RTE").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_glue("rte", changed) == plain


def test_quotes_are_plain_characters(tmp_path: Path) -> None:
    quoted = f'{HEADS["sst2"]}\n"open quote \t1\nclosed" one\t0\n"both"\t1\n'
    data = load_glue("sst2", laid_out(tmp_path, "sst2", train=quoted))
    assert [example.text for example in data.train] == ['"open quote ', 'closed" one', '"both"']


def test_characters_that_python_takes_for_line_ends_do_not_end_a_line(tmp_path: Path) -> None:
    odd = f"{HEADS['sst2']}\none\x0bline\x85with\u2028all\x1e\x0c\t1\n"
    data = load_glue("sst2", laid_out(tmp_path, "sst2", train=odd))
    assert [example.text for example in data.train] == ["one\x0bline\x85with\u2028all\x1e\x0c"]


def test_the_few_ragged_rows_of_qqp_are_skipped_and_said(tmp_path: Path) -> None:
    rows = ROWS["qqp"] * 1000
    rows.insert(5, "99\t1\t2\tcut off")
    data = load_glue("qqp", laid_out(tmp_path, "qqp", train="\n".join([HEADS["qqp"], *rows])))
    assert len(data.train) == 2000
    assert data.train[-1].id == "train-1999"
    assert data.notes == ("train.tsv: 1 row that lacks columns was skipped, as GLUE's own code does.",)


def test_many_ragged_rows_are_a_damaged_file(tmp_path: Path) -> None:
    rows = [*ROWS["qqp"], "99\tcut", "100\tcut", "101\tcut"]
    with pytest.raises(DataError) as error:
        load_glue("qqp", laid_out(tmp_path, "qqp", train="\n".join([HEADS["qqp"], *rows])))
    assert error.value.line == 4
    assert error.value.kind == "wrong-field-count"
    assert all(fact in error.value.sentence for fact in ("2 columns", "QQP", "6", "2 more lines"))


RTE = HEADS["rte"]


@pytest.mark.parametrize(
    ("name", "split", "text", "line", "expected"),
    [
        ("rte", "train", f"{RTE}\n0\ta\tb\tentailment\n1\ta\tcut off\n", 3, ('wrong-field-count', '3')),
        ("rte", "train", f"{RTE}\n0\ta\tb\tmaybe\n", 2, ('unknown-label', '"maybe"', '"entailment"', '"not_entailment"')),
        ("rte", "dev", f"{RTE}\n0\ta\tb\t\n", 2, ('unknown-label',)),
        ("rte", "dev", f"{RTE}\n", None, ('no-rows',)),
        ("rte", "dev", "", None, ('empty-file',)),
        ("rte", "dev", "\n \n", None, ('empty-file',)),
        ("rte", "train", "index\tsentence1\tlabel\n0\ta\tentailment\n", 1, ('no-such-column', '"sentence2"')),
        ("cola", "train", "source\tlabel\tstar\tsentence\ngj\t1\t\tYes .\n", 1, ('unknown-label', '"label"', '"0"', '"1"')),
        ("stsb", "dev", f"{HEADS['stsb']}\n{ROWS['stsb'][0][:-5]}nan\n", 2, ('invalid-score', '"nan"', '0', '5')),
        ("stsb", "dev", f"{HEADS['stsb']}\n{ROWS['stsb'][0][:-5]}-1\n", 2, ('invalid-score', '"-1"', '0', '5')),
        ("stsb", "dev", f"{HEADS['stsb']}\n{ROWS['stsb'][0][:-5]}five\n", 2, ('invalid-score', '"five"', '0', '5')),
        ("stsb", "dev", f"{HEADS['stsb']}\n{ROWS['stsb'][0][:-5]}0_3\n", 2, ('invalid-score', '"0_3"', '0', '5')),
        ("rte", "train", f"{RTE}\n0\ta\0\tb\tentailment\n", 2, ('nul-byte',)),
        ("sst2", "train", f"sentence\tlabel\n{'x' * 1_000_001}\t1\n", 2, ('text-too-long', '1,000,003')),
    ],
)  # fmt: skip
def test_a_file_that_is_not_as_the_official_one_is_refused_with_its_line(
    name: str, split: str, text: str, line: int | None, expected: tuple[str, ...], tmp_path: Path
) -> None:
    folder = laid_out(tmp_path, name, **{split: text})
    with pytest.raises(DataError) as error:
        load_glue(name, folder)
    kind, *facts = expected
    assert error.value.kind == kind
    assert all(fact in error.value.sentence for fact in facts)
    assert (error.value.line, error.value.exit_code) == (line, 3)
    assert error.value.file == str(folder / GLUE[name].folder / f"{split}.tsv")


@pytest.mark.parametrize(
    ("name", "header", "row"),
    [
        ("rte", RTE, "0\ta\tb\tentailment"),
        ("stsb", "sentence1\tsentence2\tscore", "a\tb\t1.0"),
        ("cola", "source\tlabel\tstar\tsentence", "s\t1\t\ta b"),
    ],
)
def test_a_header_in_the_middle_is_refused_with_its_line(tmp_path: Path, name: str, header: str, row: str) -> None:
    lines = [row if name == "cola" else header, row, header, row]
    with pytest.raises(DataError) as error:
        load_glue(name, laid_out(tmp_path, name, train="\n".join(lines) + "\n"))
    assert (error.value.kind, error.value.line) == ("repeated-header", 3)


def test_a_label_with_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_glue("rte", laid_out(tmp_path, "rte", dev=f"{RTE}\n0\ta\tb\t\x1b[31mred{'!' * 99}\n"))
    assert "\x1b" not in error.value.sentence
    assert r'"\x1b[31mred!' in error.value.sentence
    assert len(error.value.sentence) < 150


@pytest.mark.parametrize(
    ("raw", "line", "expected"),
    [
        (b"index\tsentence1\tsentence2\tlabel\n0\tcaf\xe9\tb\tentailment\n", 2, ("not-utf8", "is not UTF-8")),
        (b"\xef\xbb\xbfindex\n\n\xff", 3, ("not-utf8", "is not UTF-8")),
        ("index\n".encode("utf-16"), None, ("utf16-text", "16", "8")),
    ],
)
def test_another_encoding_is_refused(raw: bytes, line: int | None, expected: tuple[str, ...], tmp_path: Path) -> None:
    folder = laid_out(tmp_path, "rte")
    (folder / "RTE" / "dev.tsv").write_bytes(raw)
    with pytest.raises(DataError) as error:
        load_glue("rte", folder)
    kind, *facts = expected
    assert error.value.kind == kind
    assert all(fact in error.value.sentence for fact in facts)
    assert error.value.line == line


def test_a_missing_split_is_named_beside_what_is_there(tmp_path: Path) -> None:
    folder = laid_out(tmp_path, "mnli")
    (folder / "MNLI" / "dev_mismatched.tsv").unlink()
    with pytest.raises(DataError) as error:
        load_glue("mnli", folder)
    assert error.value.file == str(folder / "MNLI" / "dev_mismatched.tsv")
    assert error.value.sentence == 'there is no such file; the folder holds "dev_matched.tsv", "train.tsv"'


def test_a_folder_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    tmp_path = tmp_path / "glue"
    (tmp_path / "RTE").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("x")
    for source, (kind, *facts) in {
        tmp_path: ("not-glue-layout", "train.tsv", '"RTE"', '"notes.txt"'),
        tmp_path / "RTE": ("not-glue-layout", "train.tsv"),
        tmp_path / "none": ("no-such-folder", '"hub"'),
        tmp_path / "notes.txt": ("unreadable-folder",),
    }.items():
        with pytest.raises(DataError) as error:
            load_glue("cola", source)
        assert error.value.kind == kind
        assert all(fact in error.value.sentence for fact in facts)
        assert (error.value.file, error.value.key) == (str(source), "task.source")
