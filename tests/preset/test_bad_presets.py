"""Every way in which a preset can be wrong, and the sentence that says so."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import CrildError, PresetError, UsageError
from engine.preset import shipped
from engine.preset.load import load_preset
from engine.preset.source import LARGEST
from tests.preset.strategies import DOCUMENTS
from tests.preset.support import MINIMAL, problems, refused, write


def only(folder: Path, text: str, *overrides: str) -> str:
    """The one problem of this text."""
    (problem,) = problems(folder, text, *overrides)
    return problem


# -- files that cannot be read


def test_no_preset_named() -> None:
    with pytest.raises(UsageError, match="name a preset: `crild run quickstart`"):
        load_preset([])


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("quickstrat", 'there is no shipped preset or file "quickstrat"; did you mean "quickstart"?'),
        ("./mnie.toml", 'there is no preset file "./mnie.toml"; did you mean "mine.toml"?'),
        (
            "sub/wxyz.toml",
            'there is no preset file "sub/wxyz.toml"; `crild presets list` names those that come with crild',
        ),
        ("cirld.toml", 'there is no preset file "cirld.toml"; did you mean "crild"?'),
        ("zzz", 'there is no shipped preset or file "zzz"; `crild presets list` names those that come with crild'),
        ("", 'there is no shipped preset or file ""; `crild presets list`'),
        ("a\0b\x1b[31m", '"a\\x00b\\x1b[31m"'),
        ("x" * 5000, "xxx…"),
        ("~nobody-has-this-name/x.toml", '"~nobody-has-this-name/x.toml" cannot be the path of a preset'),
    ],
)
def test_missing_presets_name_what_comes_close(tmp_path: Path, ref: str, hint: str) -> None:
    write(tmp_path, MINIMAL)
    (problem,) = refused(tmp_path, [ref])
    assert hint in problem.sentence
    assert problem.sentence.isprintable()


def test_all_missing_presets_are_named_at_once_with_the_line_that_extends_them(tmp_path: Path) -> None:
    found = problems(tmp_path, 'seed = 1\nextends = [\n  "crlid",\n  "./gone.toml",\n]\n')
    assert found[0] == 'mine.toml:3: there is no shipped preset or file "crlid"; did you mean "crild"?'
    assert found[1].startswith('mine.toml:4: there is no preset file "./gone.toml"')


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    assert str(refused(tmp_path, ["mine.toml"])[0]) == "mine.toml: a preset is a file, and this is a folder"
    write(tmp_path / "run", MINIMAL, "preset.toml")
    assert str(refused(tmp_path, ["run/"])[0]).endswith("this is a folder; it holds run/preset.toml")


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.toml")
    assert "this is a device or pipe" in refused(tmp_path, ["mine.toml"])[0].sentence


def test_a_hundred_megabytes_are_refused_by_size_alone(tmp_path: Path) -> None:
    with (tmp_path / "mine.toml").open("wb") as file:
        file.truncate(100_000_000)  # a hole: a reader would see NULs
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert str(problem) == "mine.toml: a preset has a few kilobytes, and this file has 100 MB: is it the right one?"
    assert only(tmp_path, "#" * (LARGEST - 1) + "\n").endswith(
        "`crild presets new NAME --from crild` writes one to begin with"
    )


@pytest.mark.parametrize("text", ["", "\n\n  \n", "# only a comment\n"])
def test_an_empty_preset(tmp_path: Path, text: str) -> None:
    assert only(tmp_path, text).startswith("mine.toml: the preset is empty; `crild presets new")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    write(tmp_path, MINIMAL)
    monkeypatch.setattr(Path, "open", forbidden)
    assert str(refused(tmp_path, ["mine.toml"])[0]) == "mine.toml: the preset cannot be read: Permission denied"


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").symlink_to("mine.toml")
    assert "cannot be read: Too many levels of symbolic links" in refused(tmp_path, ["mine.toml"])[0].sentence


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'seed = 1\ndescription = "caf\xe9"\n')
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert str(problem) == "mine.toml:2: the preset is not UTF-8 text (byte 0xe9 at offset 27): save it as UTF-8"
    (tmp_path / "mine.toml").write_text(MINIMAL, encoding="utf-16")
    assert "the preset is UTF-16 text: save it as UTF-8" in refused(tmp_path, ["mine.toml"])[0].sentence


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_preset(["mine.toml"], base=tmp_path).place("task.name").line == 3


# -- TOML that does not parse: its one error


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed = 1\nseed = 2\n", "mine.toml:2: seed is given twice; the first is on line 1 (column 9)"),
        ("[a]\nx=1\n\n[a]\n", "mine.toml:4: a is given twice; the first is on line 1 (column 3)"),
        ("a = { x = 1, x = 2 }", "mine.toml:1: a.x is given twice (column 19)"),
        ("a.b = 1\na = 2\n", "mine.toml:2: not valid TOML at column 6: cannot overwrite a value, in \"a = 2\""),
        ("model = bert-base # x\n", "mine.toml:1: not valid TOML at column 9: invalid value bert-base; text stands in quotes"),
        ("x = True\n", "mine.toml:1: not valid TOML at column 5: invalid value; write true"),
        ("x =\n", "mine.toml:1: not valid TOML at column 4: invalid value; a value belongs after the ="),
        ("[train\nx = 1", "mine.toml:1: not valid TOML at column 7: expected ']' at the end of a table declaration"),
        ("x = [1,\ny = 2\n", "mine.toml:2: not valid TOML at column 1: invalid value, in \"y = 2\"; perhaps a list above is not closed"),
        ('x = "a\x07"', "mine.toml:1: not valid TOML at column 7: illegal character '\\x07', in \"x = \"a\\x07\"\""),
        ("\0\0\0", "mine.toml:1: not valid TOML at column 1: invalid statement, in \"\\x00\\x00\\x00\""),
        ("x = " + "[" * 5000, "mine.toml: the preset nests tables or lists hundreds deep"),
        ("x = " + "9" * 5000, "mine.toml: the preset holds a number that cannot be read: "),
    ],
)  # fmt: skip
def test_syntax_errors(tmp_path: Path, text: str, sentence: str) -> None:
    found = only(tmp_path, text)
    assert found.startswith(sentence)
    assert found.isprintable()


@given(text=st.text(max_size=60) | st.text(alphabet="[]{}=.,\"'\\# \nab1", max_size=60))
def test_no_text_makes_anything_but_a_preset_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PresetError) as caught:
        load_preset(["any.toml"], base=folder)
    assert all(problem.sentence.isprintable() for problem in caught.value.problems)


# -- TOML that parses: every problem


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("train.batch_size", 65_536),
        ("train.accumulate", 65_536),
        ("train.evaluate_train", 999_999_999),
        ("task.examples", 999_999_999),
        ("teacher.finetune.batch_size", 65_536),
        ("baseline.batch_size", 65_536),
    ],
)
def test_counts_that_no_machine_can_hold_are_refused(tmp_path: Path, key: str, most: int) -> None:
    assert problems(tmp_path, MINIMAL, f"{key}={most + 1}") == [
        f"--set {key}={most + 1}: {key} must be a whole number from 1 to {most}, not {most + 1}"
    ]


def test_every_problem_at_once_in_the_order_of_the_files(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "[train]\nclip = -1\n", "base.toml")
    text = """extends = "base.toml"
learning_rate = 3
[trian]
[train]
epochs = "six"
batch_size = 0
device = "gpu"
precison = "bf16"
warmup = 1.5
evaluate = "epochs"
schedule = "cosine"
[student]
layers = 6.5
keep = "alternat"
[task]
name = "rtee"
[[stage]]
name = "ild"
objectives = { atention = 1.0, hidden = "x" }
layer_map = [[12], [1, 2, 3], ["a", 3]]
mixup = true
consistency = { wieght = 1 }
[[stage]]
name = "kd"
steps = 3
epochs = 3
objectives = { labels = { mse = true }, logits = 1 }
data = { corpus = "x", colum = 2 }
keep_best = 1
[[stage]]
name = "kdd"
epochs = 3
"""
    assert problems(tmp_path, text, "seed=-1") == [
        "base.toml:21: train.clip must be a number from 0, not -1",
        'mine.toml:2: unknown key "learning_rate"; it belongs to [train]',
        'mine.toml:3: unknown key "trian"; did you mean "train"?',
        'mine.toml:5: train.epochs must be a number above 0 and at most 100000, not "six"',
        "mine.toml:6: train.batch_size must be a whole number from 1 to 65536, not 0",
        'mine.toml:7: train.device must be "auto", "cpu", "mps", "cuda" or "cuda:1", not "gpu"',
        'mine.toml:8: unknown key "precison" in train; did you mean "precision"?',
        "mine.toml:9: train.warmup must be a number from 0 to 1, not 1.5",
        'mine.toml:10: train.evaluate must be "epoch" or a number of steps, not "epochs"; did you mean "epoch"?',
        'mine.toml:11: train.schedule must be "linear" or "constant", not "cosine"',
        "mine.toml:13: student.layers must be a whole number from 1 to 1000, not 6.5",
        'mine.toml:14: student.keep must be "first", "last", "alternate" or a list of layers counted from 0, '
        'not "alternat"; did you mean "alternate"?',
        'mine.toml:16: task.name must be "cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli", '
        '"toy-sentiment", "toy-entailment", "toy-similarity" or "custom", not "rtee"; did you mean "rte"?',
        'mine.toml:19: unknown objective "atention" in stage.ild.objectives; did you mean "attention"?',
        'mine.toml:19: stage.ild.objectives.hidden must be a weight from 0, or a table as { weight = 1.0 }, not "x"',
        'mine.toml:20: stage.ild.layer_map must be "last", "uniform", "upper", "emd" or pairs [[teacher layer, student layer], '
        "...] counted from 1; in it stands [12]",
        "mine.toml:21: stage.ild.mixup must be false or a table, as { alpha = 1.0 }, not true",
        'mine.toml:22: unknown key "wieght" in stage.ild.consistency; did you mean "weight"?',
        "mine.toml:25: stage.kd: give epochs or steps, not both",
        "mine.toml:27: stage.kd: the labels objective needs data with the task's labels; this stage reads other data",
        "mine.toml:27: stage.kd: mse is an option of attention, not of labels",
        'mine.toml:28: unknown key "colum" in stage.kd.data; did you mean "column"?',
        "mine.toml:29: stage.kd.keep_best must be true or false, not 1",
        'mine.toml:30: the stage "kdd" has no objectives, as { logits = 1.0 }; to change the stage "kd", use its name',
        "--set seed=-1: seed must be a whole number from 0 to below 4294967296, not -1",
    ]  # fmt: skip


def test_problems_carry_file_line_and_key(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "\n[train]\nepohcs = 3\n")
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert (problem.file, problem.line, problem.key) == ("mine.toml", 22, "train.epohcs")
    assert type(problem) is CrildError


STAGE = MINIMAL.split("[[stage]]")[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epochs = true", "stage.s.epochs must be a number above 0 and at most 100000, not true"),
        ("epochs = inf", "stage.s.epochs must be a number above 0 and at most 100000, not inf"),
        ("epochs = nan", "stage.s.epochs must be a number above 0 and at most 100000, not nan"),
        ("epochs = 2020-01-01", "stage.s.epochs must be a number above 0 and at most 100000, not the date or time 2020-01-01"),
        ("steps = 1.0", "stage.s.steps must be a whole number from 1 to 99999999, not 1.0"),
        ("mixup = 0.5", "stage.s.mixup must be false or a table, as { alpha = 1.0 }, not 0.5"),
        ("mixup = { alpha = 0 }", "stage.s.mixup.alpha must be a number above 0, not 0"),
        ("mixup = { unpaired = 1 }", 'stage.s.mixup.unpaired must be "padding" or "whole", not 1'),
        ("consistency = [1]", "stage.s.consistency must be false or a table, as { weight = 0.1 }, not [1]"),
        ("consistency = { decay = 1 }", "stage.s.consistency.decay must be a number from 0 to below 1, not 1"),
        ('data = "tasks"', 'stage.s.data must be "task", a table { corpus = "folder" } or a table { task = { name = "mnli" } }, not "tasks"; did you mean "task"?'),
        ("data = {}", "stage.s.data.corpus is missing; it must be text in quotes"),
        ('data = { task = { nam = "rte" } }', "stage.s.data.task.name is missing; it must be \"cola\","),
        ('layer_map = "lsat"', 'not "lsat"; did you mean "last"?'),
        ("layer_map = []", "counted from 1, not []"),
        ("layer_map = 3", "counted from 1, not 3"),
        ("layer_map = [[0, 1]]", "counted from 1; in it stands 0"),
        ("evaluate = 0", 'stage.s.evaluate must be "epoch" or a number of steps, not 0'),
        ("patience = 1.5", "stage.s.patience must be a whole number from 1, not 1.5"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_problem_whatever_it_might_have_been(tmp_path: Path, text: str, sentence: str) -> None:
    found = problems(tmp_path, f'{STAGE}[[stage]]\nname = "s"\nobjectives = {{ attention = 1, logits = 1 }}\n{text}\n')
    assert sentence in found[0]
    assert len(found) == (2 if "nam =" in text else 1)


@pytest.mark.parametrize(
    ("objectives", "sentence"),
    [
        ("{ logits = -1 }", "stage.s.objectives.logits must be a weight from 0, or a table as { weight = 1.0 }, not -1"),
        ("{ logits = true }", "stage.s.objectives.logits must be a weight from 0, or a table as { weight = 1.0 }, not true"),
        ('{ logits = { weight = "a" } }', 'stage.s.objectives.logits.weight must be a number from 0, not "a"'),
        ("{ logits = { wait = 1 } }", 'unknown key "wait" in stage.s.objectives.logits; did you mean "weight"?'),
        ("{}", "stage.s.objectives must be a table of one objective or more, as { logits = 1.0 }, not an empty table"),
        ('"logits"', "stage.s.objectives must be a table of one objective or more, as { logits = 1.0 }, not \"logits\""),
        ("{ logits = 0 }", "stage.s: every objective has weight 0, so nothing would be learnt"),
        ("{ logist = 1 }", 'unknown objective "logist" in stage.s.objectives; did you mean "logits"?'),
        ("{ key = { mse = true } }", "stage.s: mse is an option of attention, not of key"),
        ("{ hidden = { relation_heads = 2 } }", "stage.s: relation_heads is an option of query, key and value, not of hidden"),
        ('{ logits = { layer_map = "last" } }', "stage.s: logits reads no layers, so it takes no layer_map"),
        ('{ query = { layer_map = "emd" } }', 'stage.s: layer_map "emd" is defined for attention and hidden, not for query'),
        ("{ key = { relation_heads = 0 } }", "stage.s.objectives.key.relation_heads must be a whole number from 1 to 1000, not 0"),
    ],
)  # fmt: skip
def test_objectives(tmp_path: Path, objectives: str, sentence: str) -> None:
    assert only(tmp_path, f'{STAGE}[[stage]]\nname = "s"\nobjectives = {objectives}\n').endswith(sentence)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("objectives = { hidden = 1 }\nkeep_best = true", 2, "keep_best needs labels or logits: without them"),
        ("objectives = { hidden = 1 }\npatience = 2", 2, "patience needs labels or logits: without them nothing"),
        ("objectives = { logits = 1 }\nconsistency = {}", 2, "consistency acts on layer objectives (attention, cls,"),
        ('objectives = { cls = 1 }\nlayer_map = "emd"', 2, 'layer_map "emd" is defined for attention and hidden, not'),
    ],
)
def test_keys_that_do_not_go_together(tmp_path: Path, text: str, line: int, sentence: str) -> None:
    start = f'{STAGE}[[stage]]\nname = "s"\n'
    assert only(tmp_path, start + text).startswith(f"mine.toml:{start.count(chr(10)) + line}: stage.s: {sentence}")


@pytest.mark.parametrize("name", ["teacher", "baseline"])
def test_names_of_stages_that_the_engine_uses_itself(tmp_path: Path, name: str) -> None:
    assert f'a stage cannot be named "{name}"' in only(tmp_path, MINIMAL.replace('"kd"', f'"{name}"'))


def test_stages_without_a_usable_name(tmp_path: Path) -> None:
    text = (
        STAGE
        + '[[stage]]\nobjectives = {logits = 1}\n[[stage]]\nname = "Kd x"\nobjectives = {logits = 1}\n'
        + (
            '[[stage]]\nname = "kd"\nobjectives = {logits = 1}\n[[stage]]\nname = "kd"\nobjectives = {logits = 1}\n'
            "[[stage]]\nname = 7\nobjectives = {logits = 1}\n"
        )
    )
    right = "must be small letters, digits, - and _, 32 at most, beginning with a letter or digit"
    assert problems(tmp_path, text) == [
        f"mine.toml:9: stage.#1.name is missing; it {right}",
        f'mine.toml:12: stage.Kd x.name {right}, not "Kd x"',
        'mine.toml:18: two stages of this file are named "kd" (the first on line 14)',
        f"mine.toml:21: stage.#5.name {right}, not 7",
    ]


@pytest.mark.parametrize("text", ["stage = 3", "[stage.kd]\nepochs = 1", "stage = [1]"])
def test_stages_that_are_no_array_of_tables(tmp_path: Path, text: str) -> None:
    found = problems(tmp_path, f"{text}\n{STAGE}")
    assert found == ['mine.toml:1: stages are written one by one as [[stage]], each with name = "..."']


def test_wrong_extends_and_stages(tmp_path: Path) -> None:
    assert problems(tmp_path, "extends = 3\nstages = [1]\n" + MINIMAL) == [
        "mine.toml:1: extends must be a preset or a list of presets, not 3",
        "mine.toml:2: stages must be a list of names of stages, not [1]",
    ]
    assert only(tmp_path, "extends = []\n" + MINIMAL).endswith("not []")


def test_a_newer_format(tmp_path: Path) -> None:
    assert only(tmp_path, "schema = 2\n" + MINIMAL) == (
        "mine.toml:1: the preset is written in format 2, and this crild reads format 1: a newer crild is needed"
    )
    assert only(tmp_path, "schema_ = 1\n" + MINIMAL).startswith('mine.toml:1: unknown key "schema_"')


def test_what_is_missing_altogether(tmp_path: Path) -> None:
    assert problems(tmp_path, "seed = 3\n") == [
        "mine.toml: no [task] says what to learn: add one, or merge a task preset, as in `crild run crild rte`",
        'mine.toml: no [teacher] says what to distil: add one with model = "a hub id or folder"',
        "mine.toml: no stage says what to do: add a [[stage]], or begin with a method, as in `crild run crild rte`",
    ]
    assert str(refused(tmp_path, ["rte"])[0]) == (
        "rte: this only says what the task is; put a method before it, as in `crild run crild rte`"
    )
    assert len(refused(tmp_path, ["rte"])) == 1


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            '[task]\nname = "custom"\nsource = "x"',
            [
                ':2: task: a custom task needs its files: files = { train = "train.csv", dev = "dev.csv" }',
                ':2: task: a custom task needs its kind: "classification" or "regression"',
                ":3: task: source is for GLUE tasks; a custom task reads its files",
            ],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a" }\nkind = "regression"\nmetrics = ["f1", "pearson", "r2"]',
            [
                ":3: task.files.dev is missing; it must be text in quotes",
                ':5: task.metrics must be a list of "accuracy", "f1", "f1_macro", "matthews", "pearson" and "spearman"; '
                'in it stands "r2"',
            ],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a", dev = "b" }\nkind = "regression"\nmetrics = ["f1"]\n'
            'columns = { pair = "text" }',
            [":5: task: f1 is no metric of regression", ":6: task: one column is named twice: text, text, label"],
        ),
        (
            '[task]\nname = "rte"\nkind = "classification"\ncolumns = {}',
            [
                ':3: task: kind belongs to name = "custom"; rte knows its own',
                ':4: task: columns belongs to name = "custom"; rte knows its own',
            ],
        ),
        (
            '[task]\nname = "toy-sentiment"\nsource = "glue"',
            [":3: task: source is for GLUE tasks; toy-sentiment is made by crild itself"],
        ),
        ("[task]\nmax_length = 3\n", [":2: task.max_length must be a whole number from 4 to 8192, not 3"]),
        (
            '[teacher]\nmodel = "scratch"\nfinetune = false\n[student]\ninit = "pretrained"\n',
            [
                ':2: teacher: a teacher from "scratch" knows nothing yet: add a [teacher.finetune] table',
                ':5: student.init "pretrained" needs a teacher that was pre-trained: take "teacher" or "scratch"',
            ],
        ),
        (
            '[teacher]\nmodel = "org/x"\narchitecture = { hidden_size = 10, heads = 3 }\nlabels = ["a", "a"]',
            [
                ':3: teacher: architecture belongs to model = "scratch"; a checkpoint brings its own',
                ":3: teacher.architecture: hidden_size 10 is not a multiple of heads 3",
                ":4: teacher: labels must be the names of two outputs or more, each named once",
            ],
        ),
        (
            "[student]\nheads = 2\nlayers = 2\nkeep = [1, 1, 3]",
            [
                ':2: student: heads belongs to init = "scratch"; this student takes over the weights of a model',
                ":4: student: keep lists a layer twice: [1, 1, 3]",
                ":4: student: keep lists 3 layers, but the student has 2",
            ],
        ),
        ("tags = [1]", [":1: tags must be a list of texts; in it stands 1"]),
        ("[student]\nkeep = [-1]", ["a list of layers counted from 0; in it stands -1"]),
        ("[notify]\ncommand = 3", [":2: notify.command must be text in quotes, not 3"]),
    ],
)
def test_tables(tmp_path: Path, text: str, sentences: list[str]) -> None:
    write(tmp_path, MINIMAL, "base.toml")
    write(tmp_path, text)
    found = [str(problem).removeprefix("mine.toml") for problem in refused(tmp_path, ["base.toml", "mine.toml"])]
    missing = [sentence for sentence in sentences if not any(sentence in each for each in found)]
    assert not missing, found


def test_hostile_text_is_shown_escaped(tmp_path: Path) -> None:
    text = MINIMAL + '\n["\\u001b[31mred\\n"]\nx = "\\u202e"\n[train]\nschedule = "\\u001b]0;title\\u0007"\n'
    found = problems(tmp_path, text)
    assert 'unknown key "\\x1b[31mred\\n"' in found[0]
    assert 'not "\\x1b]0;title\\x07"' in found[1]
    assert all(line.isprintable() for line in found)


@pytest.mark.timeout(60)
def test_thousands_of_problems_do_not_take_minutes(tmp_path: Path) -> None:
    write(tmp_path, "".join(f"key_{number} = {number}\n" for number in range(5_000)) + MINIMAL)
    assert len(refused(tmp_path, ["mine.toml"])) == 5_000


def test_shipped_names_win_over_files_and_paths_reach_the_files(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "kd")
    assert load_preset(["kd"], base=tmp_path).preset.teacher.model == "bert-base-uncased"
    assert load_preset(["./kd"], base=tmp_path).preset.teacher.model == "scratch"
    assert shipped.path_of("../presets/kd") is None


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text("ab -.", max_size=3) | st.just("scratch"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["weight", "task", "x"]), inner, max_size=2)
    ),
    max_leaves=3,
)


@given(document=DOCUMENTS, data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_value_anywhere_loads_or_is_explained(
    document: dict[str, Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Values are replaced or removed at random: what then is no preset has problems with a place, and one of its own."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        table: Any = document
        while True:
            key = data.draw(
                st.sampled_from(sorted(table)) if isinstance(table, dict) else st.integers(0, len(table) - 1)
            )
            inner = table[key]
            if not (isinstance(inner, dict | list) and inner and data.draw(st.booleans())):
                break
            table = inner
        value = data.draw(ANY_VALUE.filter(_is_toml))
        if value is None and isinstance(table, dict):
            del table[key]
        elif value is not None:
            table[key] = value
        if not document:
            return
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.toml").write_text(tomlkit.dumps(document), encoding="utf-8", newline="")
    found: tuple[CrildError, ...] = ()
    try:
        assert load_preset(["any.toml"], base=folder).preset.stage
    except PresetError as error:
        found = error.problems
    assert all(problem.sentence.isprintable() and problem.file for problem in found)
    assert len(set(map(str, found))) == len(found)


def _is_toml(value: object) -> bool:
    """TOML has no null but as the wish to remove a key; tomlkit cannot write one inside."""
    return value is None or "None" not in repr(value)
