"""Every way in which a preset can be wrong: the kind of each mistake, its location and the facts in its sentence."""

from __future__ import annotations

import copy
import errno
import json
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
from engine.preset.toml_file import LARGEST
from tests.preset.strategies import DOCUMENTS
from tests.preset.support import MINIMAL, mistake, mistakes, problems, refused, write
from tests.refused_files import refuse


def only(folder: Path, text: str, *overrides: str) -> CrildError:
    """The one problem of this text."""
    write(folder, text)
    (problem,) = refused(folder, ["mine.toml"], *overrides)
    return problem


# -- files that cannot be read


def test_no_preset_named() -> None:
    with pytest.raises(UsageError) as caught:
        load_preset([])
    assert caught.value.kind == "no-preset"


@pytest.mark.parametrize(
    ("ref", "kind", "facts"),
    [
        ("quickstrat", "no-such-preset", ['"quickstrat"', '"quickstart"']),
        ("./mnie.toml", "no-such-preset", ['"./mnie.toml"', '"mine.toml"']),
        ("sub/wxyz.toml", "no-such-preset", ['"sub/wxyz.toml"', "crild presets list"]),
        ("cirld.toml", "no-such-preset", ['"cirld.toml"', '"crild"']),
        ("zzz", "no-such-preset", ['"zzz"', "crild presets list"]),
        ("", "no-such-preset", ['""', "crild presets list"]),
        ("a\0b\x1b[31m", "no-such-preset", ['"a\\x00b\\x1b[31m"']),
        ("x" * 5000, "no-such-preset", ["xxx…"]),
        ("~nobody-has-this-name/x.toml", "invalid-path", ['"~nobody-has-this-name/x.toml"']),
    ],
)
def test_missing_presets_name_what_comes_close(tmp_path: Path, ref: str, kind: str, facts: list[str]) -> None:
    write(tmp_path, MINIMAL)
    (problem,) = refused(tmp_path, [ref])
    assert problem.kind == kind
    assert all(fact in problem.sentence for fact in facts), problem.sentence
    assert problem.sentence.isprintable()


def test_all_missing_presets_are_named_at_once_with_the_line_that_extends_them(tmp_path: Path) -> None:
    text = 'seed = 1\nextends = [\n  "crlid",\n  "./gone.toml",\n]\n'
    assert mistakes(tmp_path, text) == ["mine.toml:3 no-such-preset", "mine.toml:4 no-such-preset"]
    first, second = problems(tmp_path, text)
    assert '"crlid"' in first
    assert '"crild"' in first
    assert '"./gone.toml"' in second


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").mkdir()
    assert mistake(refused(tmp_path, ["mine.toml"])[0]) == "mine.toml folder-not-file"
    write(tmp_path / "run", MINIMAL, "preset.toml")
    assert "run/preset.toml" in refused(tmp_path, ["run/"])[0].sentence


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.toml")
    assert mistake(refused(tmp_path, ["mine.toml"])[0]) == "mine.toml not-regular-file"


def test_a_hundred_megabytes_are_refused_by_size_alone(tmp_path: Path) -> None:
    with (tmp_path / "mine.toml").open("wb") as file:
        file.truncate(100_000_000)  # a hole: a reader would see NULs
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert mistake(problem) == "mine.toml file-too-large"
    assert "100 MB" in problem.sentence
    assert mistakes(tmp_path, "#" * (LARGEST - 1) + "\n") == ["mine.toml empty-preset"]


@pytest.mark.parametrize("text", ["", "\n\n  \n", "# only a comment\n"])
def test_an_empty_preset(tmp_path: Path, text: str) -> None:
    problem = only(tmp_path, text)
    assert mistake(problem) == "mine.toml empty-preset"
    assert "crild presets new" in problem.sentence


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, MINIMAL)
    refuse(monkeypatch, tmp_path / "mine.toml", errno.EACCES)
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert mistake(problem) == "mine.toml unreadable-file"
    assert "Permission denied" in problem.sentence


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").symlink_to("mine.toml")
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert problem.kind == "unreadable-file"
    assert "Too many levels of symbolic links" in problem.sentence


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'seed = 1\ndescription = "caf\xe9"\n')
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert mistake(problem) == "mine.toml:2 not-utf8"
    assert "byte 0xe9 at offset 27" in problem.sentence
    (tmp_path / "mine.toml").write_text(MINIMAL, encoding="utf-16")
    assert mistake(refused(tmp_path, ["mine.toml"])[0]) == "mine.toml:1 utf16-text"


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load_preset(["mine.toml"], base=tmp_path).node("task.name").line == 3


# -- TOML that does not parse: its one error


@pytest.mark.parametrize(
    ("text", "line", "kind", "facts"),
    [
        ("seed = 1\nseed = 2\n", 2, "repeated-key", ["seed", "line 1", "column 9"]),
        ("[a]\nx=1\n\n[a]\n", 4, "repeated-key", ["a ", "line 1", "column 3"]),
        ("a = { x = 1, x = 2 }", 1, "repeated-key", ["a.x ", "column 19"]),
        ("a.b = 1\na = 2\n", 2, "invalid-toml", ["column 6", '"a = 2"']),
        ("model = bert-base # x\n", 1, "invalid-toml", ["column 9", "bert-base;", "quotes"]),
        ("x = True\n", 1, "invalid-toml", ["column 5", "write true"]),
        ("x =\n", 1, "invalid-toml", ["column 4", "after the ="]),
        ("[train\nx = 1", 1, "invalid-toml", ["column 7", "']'"]),
        ("x = [1,\ny = 2\n", 2, "invalid-toml", ["column 1", '"y = 2"', "not closed"]),
        ('x = "a\x07"', 1, "invalid-toml", ["column 7", "'\\x07'"]),
        ("\0\0\0", 1, "invalid-toml", ["column 1", '"\\x00\\x00\\x00"']),
        ("x = " + "[" * 5000, None, "nested-too-deep", []),
        ("x = " + "9" * 5000, None, "invalid-number", []),
    ],
)
def test_syntax_errors(tmp_path: Path, text: str, line: int | None, kind: str, facts: list[str]) -> None:
    problem = only(tmp_path, text)
    assert (problem.file, problem.line, problem.kind) == ("mine.toml", line, kind)
    assert all(fact in problem.sentence for fact in facts), problem.sentence
    assert problem.sentence.isprintable()


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
    problem = only(tmp_path, MINIMAL, f"{key}={most + 1}")
    assert mistake(problem) == f"--set {key}={most + 1} wrong-value {key}"
    assert f"1 to {most}, not {most + 1}" in problem.sentence


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
    expected = [
        ("base.toml:21 wrong-value train.clip", "0", "not -1"),
        ("mine.toml:2 unknown-key learning_rate", "[train]"),
        ("mine.toml:3 unknown-key trian", '"train"?'),
        ("mine.toml:5 wrong-value train.epochs", "above 0", "100000", 'not "six"'),
        ("mine.toml:6 wrong-value train.batch_size", "1 to 65536", "not 0"),
        ("mine.toml:7 wrong-value train.device", '"auto", "cpu", "mps", "cuda" or "cuda:1"', 'not "gpu"'),
        ("mine.toml:8 unknown-key train.precison", '"precision"?'),
        ("mine.toml:9 wrong-value train.warmup", "0 to 1", "not 1.5"),
        ("mine.toml:10 wrong-value train.evaluate", 'not "epochs"', '"epoch"?'),
        ("mine.toml:11 wrong-value train.schedule", '"linear" or "constant"', 'not "cosine"'),
        ("mine.toml:13 wrong-value student.layers", "1 to 1000", "not 6.5"),
        ("mine.toml:14 wrong-value student.keep", '"first", "last", "alternate"', '"alternate"?'),
        ("mine.toml:16 wrong-value task.name", '"cola", "sst2", "mrpc"', 'or "custom"', '"rte"?'),
        ("mine.toml:19 unknown-key stage.ild.objectives.atention", "objective", '"attention"?'),
        ("mine.toml:19 wrong-value stage.ild.objectives.hidden", "{ weight = 1.0 }", 'not "x"'),
        ("mine.toml:20 wrong-value stage.ild.layer_map", "[[teacher layer, student layer], ...]", "[12]"),
        ("mine.toml:21 wrong-value stage.ild.mixup", "{ alpha = 1.0 }", "not true"),
        ("mine.toml:22 unknown-key stage.ild.consistency.wieght", '"weight"?'),
        ("mine.toml:25 epochs-and-steps stage.kd.steps", "stage.kd"),
        ("mine.toml:27 labels-without-task-data stage.kd.objectives.labels", "stage.kd"),
        ("mine.toml:27 option-of-other-objective stage.kd.objectives.labels.mse", "attention", "labels"),
        ("mine.toml:28 unknown-key stage.kd.data.colum", '"column"?'),
        ("mine.toml:29 wrong-value stage.kd.keep_best", "true or false", "not 1"),
        ("mine.toml:30 missing-key stage.kdd.objectives", '"kdd"', '"kd"'),
        ("--set seed=-1 wrong-value seed", "4294967296", "not -1"),
    ]
    assert mistakes(tmp_path, text, "seed=-1") == [place for place, *_ in expected]
    for sentence, (_, *facts) in zip(problems(tmp_path, text, "seed=-1"), expected, strict=True):
        assert all(fact in sentence for fact in facts), sentence


def test_problems_carry_file_line_and_key(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "\n[train]\nepohcs = 3\n")
    (problem,) = refused(tmp_path, ["mine.toml"])
    assert (problem.file, problem.line, problem.key) == ("mine.toml", 22, "train.epohcs")
    assert type(problem) is CrildError


STAGE = MINIMAL.split("[[stage]]")[0]


@pytest.mark.parametrize(
    ("text", "key", "facts"),
    [
        ("epochs = true", "epochs", ["above 0", "100000", "not true"]),
        ("epochs = inf", "epochs", ["not inf"]),
        ("epochs = nan", "epochs", ["not nan"]),
        ("epochs = 2020-01-01", "epochs", ["2020-01-01"]),
        ("steps = 1.0", "steps", ["1 to 99999999", "not 1.0"]),
        ("mixup = 0.5", "mixup", ["{ alpha = 1.0 }", "not 0.5"]),
        ("mixup = { alpha = 0 }", "mixup.alpha", ["above 0", "not 0"]),
        ("mixup = { unpaired = 1 }", "mixup.unpaired", ['"padding" or "whole"', "not 1"]),
        ("mixup = { project = true }", "mixup.project", ['"tokens"', "not true"]),
        ("consistency = [1]", "consistency", ["{ weight = 0.1 }", "not [1]"]),
        ("consistency = { decay = 1 }", "consistency.decay", ["from 0 to below 1", "not 1"]),
        ('data = "tasks"', "data", ['{ corpus = "folder" }', '{ task = { name = "mnli" } }', 'not "tasks"', '"task"?']),
        ("data = {}", "data.corpus", ["text in quotes"]),
        ('data = { task = { nam = "rte" } }', "data.task.name", ['"cola",']),
        ('layer_map = "lsat"', "layer_map", ['not "lsat"', '"last"?']),
        ("layer_map = []", "layer_map", ["counted from 1", "not []"]),
        ("layer_map = 3", "layer_map", ["counted from 1", "not 3"]),
        ("layer_map = [[0, 1]]", "layer_map", ["counted from 1", "contains 0"]),
        ("evaluate = 0", "evaluate", ['"epoch" or a number of steps', "not 0"]),
        ("patience = 1.5", "patience", ["1 or more", "not 1.5"]),
    ],
)
def test_a_wrong_value_is_one_problem_whatever_it_might_have_been(
    tmp_path: Path, text: str, key: str, facts: list[str]
) -> None:
    write(tmp_path, f'{STAGE}[[stage]]\nname = "s"\nobjectives = {{ attention = 1, logits = 1 }}\n{text}\n')
    problem, *others = refused(tmp_path, ["mine.toml"])
    missing = key in ("data.corpus", "data.task.name")
    assert mistake(problem) == f"mine.toml:12 {'missing-key' if missing else 'wrong-value'} stage.s.{key}"
    assert all(fact in problem.sentence for fact in facts), problem.sentence
    assert len(others) == (1 if "nam =" in text else 0)


@pytest.mark.parametrize(
    ("objectives", "kind", "key", "facts"),
    [
        ("{ logits = -1 }", "wrong-value", "objectives.logits", ["0 or more", "{ weight = 1.0 }", "not -1"]),
        ("{ logits = true }", "wrong-value", "objectives.logits", ["{ weight = 1.0 }", "not true"]),
        ('{ logits = { weight = "a" } }', "wrong-value", "objectives.logits.weight", ["0 or more", 'not "a"']),
        ("{ logits = { wait = 1 } }", "unknown-key", "objectives.logits.wait", ['"weight"?']),
        ("{}", "wrong-value", "objectives", ["{ logits = 1.0 }", "an empty table"]),
        ('"logits"', "wrong-value", "objectives", ["{ logits = 1.0 }", 'not "logits"']),
        ("{ logits = 0 }", "no-objective", "objectives", ["weight 0"]),
        ("{ logist = 1 }", "unknown-key", "objectives.logist", ['"logits"?']),
        ("{ key = { mse = true } }", "option-of-other-objective", "objectives.key.mse", ["attention", "logits"]),
        ("{ hidden = { anneal = 5 } }", "option-of-other-objective", "objectives.hidden.anneal", ["logits", "hidden"]),
        ("{ logits = { anneal = 5 } }", "anneal-without-mse", "objectives.logits.anneal", ["mse = true"]),
        (
            "{ hidden = { relation_heads = 2 } }",
            "option-of-other-objective",
            "objectives.hidden.relation_heads",
            ["query, key and value"],
        ),
        ('{ logits = { layer_map = "last" } }', "option-of-other-objective", "objectives.logits.layer_map", ["logits"]),
        ('{ query = { layer_map = "emd" } }', "emd-objective", "objectives.query.layer_map", ["attention and hidden"]),
        ("{ key = { relation_heads = 0 } }", "wrong-value", "objectives.key.relation_heads", ["1 to 1000", "not 0"]),
    ],
)
def test_objectives(tmp_path: Path, objectives: str, kind: str, key: str, facts: list[str]) -> None:
    problem = only(tmp_path, f'{STAGE}[[stage]]\nname = "s"\nobjectives = {objectives}\n')
    assert mistake(problem) == f"mine.toml:11 {kind} stage.s.{key}"
    assert all(fact in problem.sentence for fact in ("stage.s", *facts)), problem.sentence


@pytest.mark.parametrize(
    ("text", "line", "kind", "key"),
    [
        ("objectives = { hidden = 1 }\nkeep_best = true", 12, "no-classifier-objective", "keep_best"),
        ("objectives = { hidden = 1 }\npatience = 2", 12, "no-classifier-objective", "patience"),
        ("objectives = { logits = 1 }\nconsistency = {}", 12, "consistency-without-layers", "consistency"),
        ('objectives = { cls = 1 }\nlayer_map = "emd"', 12, "emd-objective", "layer_map"),
        ('objectives = { pooled = 1 }\nlayer_map = "alp"', 12, "alp-objective", "layer_map"),
        (
            'objectives = { hidden = 1 }\nlayer_map = "emd"\npadding = "released"',
            13,
            "emd-padding",
            "padding",
        ),
        (
            'objectives = { hidden = 1 }\nmixup = { project = "tokens" }\npadding = "released"',
            13,
            "projected-padding",
            "padding",
        ),
    ],
)
def test_keys_that_do_not_go_together(tmp_path: Path, text: str, line: int, kind: str, key: str) -> None:
    problem = only(tmp_path, f'{STAGE}[[stage]]\nname = "s"\n{text}')
    assert mistake(problem) == f"mine.toml:{line} {kind} stage.s.{key}"
    assert problem.sentence.startswith("stage.s: ")


@pytest.mark.parametrize("name", ["teacher", "baseline"])
def test_names_of_stages_that_the_engine_uses_itself(tmp_path: Path, name: str) -> None:
    problem = only(tmp_path, MINIMAL.replace('"kd"', f'"{name}"'))
    assert mistake(problem) == f"mine.toml:16 reserved-stage-name stage.{name}.name"


def test_stages_without_a_usable_name(tmp_path: Path) -> None:
    text = (
        STAGE
        + '[[stage]]\nobjectives = {logits = 1}\n[[stage]]\nname = "Kd x"\nobjectives = {logits = 1}\n'
        + (
            '[[stage]]\nname = "kd"\nobjectives = {logits = 1}\n[[stage]]\nname = "kd"\nobjectives = {logits = 1}\n'
            "[[stage]]\nname = 7\nobjectives = {logits = 1}\n"
        )
    )
    assert mistakes(tmp_path, text) == [
        "mine.toml:9 missing-key stage.#1.name",
        "mine.toml:12 wrong-value stage.Kd x.name",
        "mine.toml:18 repeated-stage stage.kd",
        "mine.toml:21 wrong-value stage.#5.name",
    ]
    found = problems(tmp_path, text)
    assert 'not "Kd x"' in found[1]
    assert "line 14" in found[2]


@pytest.mark.parametrize("text", ["stage = 3", "[stage.kd]\nepochs = 1", "stage = [1]"])
def test_stages_that_are_no_array_of_tables(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, f"{text}\n{STAGE}") == ["mine.toml:1 stages-not-tables stage"]


def test_wrong_extends_and_stages(tmp_path: Path) -> None:
    text = "extends = 3\nstages = [1]\n" + MINIMAL
    assert mistakes(tmp_path, text) == ["mine.toml:1 wrong-value extends", "mine.toml:2 wrong-value stages"]
    assert [found[-4:] for found in problems(tmp_path, text)] == ["ot 3", " [1]"]
    assert only(tmp_path, "extends = []\n" + MINIMAL).sentence.endswith("not []")


def test_a_newer_format(tmp_path: Path) -> None:
    problem = only(tmp_path, "schema = 2\n" + MINIMAL)
    assert mistake(problem) == "mine.toml:1 newer-format schema"
    assert "format 2" in problem.sentence
    assert mistakes(tmp_path, "schema_ = 1\n" + MINIMAL) == ["mine.toml:1 unknown-key schema_"]


def test_a_sweep_file_is_no_preset(tmp_path: Path) -> None:
    found = problems(tmp_path, '[sweep]\nmethods = ["kd"]\ntasks = ["mrpc"]\n')
    assert any("crild sweep FILE --plan" in sentence for sentence in found)
    assert any("did you mean" in sentence for sentence in problems(tmp_path, "[studnt]\nlayers = 2\n"))


def test_what_is_missing_altogether(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "seed = 3\n") == [
        "mine.toml missing-key task",
        "mine.toml missing-key teacher",
        "mine.toml missing-key stage",
    ]
    (problem,) = refused(tmp_path, ["rte"])
    assert mistake(problem) == "rte task-without-method stage"
    assert "crild run crild rte" in problem.sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[task]\nname = "custom"\nsource = "x"',
            [
                "2 custom-task-without-files task.name: files = {",
                "3 source-of-other-task task.source: custom",
            ],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a" }\nkind = "regression"\nmetrics = ["f1", "pearson", "r2"]',
            [
                '5 wrong-value task.metrics: "f1_micro", "matthews", "mrr", "ndcg", "pearson", "spearman" and "subset_accuracy"',
            ],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a", dev = "b" }\nkind = "regression"\nmetrics = ["f1"]\n'
            'columns = { pair = "text" }',
            ["5 unsuitable-metric task.metrics: f1", "6 repeated-column task.columns: text, text, label"],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a" }\nkind = "classification"\nthresholds = "train"\n'
            'columns = { labels = ["a", "b"] }',
            [
                "5 thresholds-without-labels task.thresholds: several labels",
                "6 several-labels-without-kind task.columns.labels: several labels",
            ],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a" }\nkind = "multilabel"\nmetrics = ["accuracy"]\n'
            'columns = { labels = ["a", "b"], separator = "|", group = "q" }',
            [
                "5 unsuitable-metric task.metrics: accuracy is not a metric for multilabel",
                "6 labels-and-label task.columns.labels: columns.separator",
                "6 group-of-several-labels task.columns.group: rankings",
            ],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a" }\nkind = "regression"\nmetrics = ["mrr"]',
            ["5 ranking-without-groups task.metrics: columns.group"],
        ),
        (
            '[task]\nname = "custom"\nfiles = { train = "a", dev = "b" }\ndev_share = 0.1',
            ["4 dev-share-and-dev-file task.dev_share: dev file"],
        ),
        (
            '[task]\nname = "rte"\nkind = "classification"\ncolumns = {}',
            ["3 custom-task-key task.kind: rte", "4 custom-task-key task.columns: rte"],
        ),
        ('[task]\nname = "toy-sentiment"\nsource = "glue"', ["3 source-of-other-task task.source: toy-sentiment"]),
        ("[task]\nmax_length = 3\n", ["2 wrong-value task.max_length: from 4 to 8192, not 3"]),
        (
            '[teacher]\nmodel = "scratch"\nfinetune = false\n[student]\ninit = "pretrained"\n',
            [
                "2 untrained-teacher teacher.model: [teacher.finetune]",
                '5 teacher-not-pretrained student.init: "pretrained"',
            ],
        ),
        (
            '[teacher]\nmodel = "org/x"\narchitecture = { hidden_size = 10, heads = 3 }\nlabels = ["a", "a"]',
            [
                "3 architecture-of-checkpoint teacher.architecture: scratch",
                "3 indivisible-width teacher.architecture.hidden_size: hidden_size 10",
                "4 repeated-label teacher.labels: labels",
            ],
        ),
        (
            "[student]\nheads = 2\nlayers = 2\nkeep = [1, 1, 3]",
            [
                "2 shape-of-initial-model student.heads: scratch",
                "4 repeated-layer student.keep: [1, 1, 3]",
                "4 wrong-number-of-layers student.keep: 3 layers, but the student has 2",
            ],
        ),
        ("tags = [1]", ["1 wrong-value tags: 1"]),
        ("[student]\nkeep = [-1]", ["2 wrong-value student.keep: counted from 0; it contains -1"]),
        ("[notify]\ncommand = 3", ["2 command-in-preset notify.command: settings.toml"]),
        ("[notify]\nother = 3", ["1 command-in-preset notify.command: settings.toml"]),
        ("[teacher]\ntrust_remote_code = true", ["2 trust-in-preset teacher.trust_remote_code: --trust-remote-code"]),
    ],
)
def test_tables(tmp_path: Path, text: str, expected: list[str]) -> None:
    write(tmp_path, MINIMAL, "base.toml")
    write(tmp_path, text)
    found = {mistake(problem): problem.sentence for problem in refused(tmp_path, ["base.toml", "mine.toml"])}
    for line in expected:
        place, fact = line.split(": ", 1)
        assert fact in found[f"mine.toml:{place}"]


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


HUGE = "0x" + "f" * 4000


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        (f"schema = {HUGE}", "invalid-number", 1),
        (f"schema = 1\nseed = {HUGE}", "invalid-number", 2),
        (f"schema = 1\n[task]\nname = {HUGE}", "invalid-number", 3),
        (f"schema = 1\nextends = [{HUGE}]", "invalid-number", 2),
        (f"stages = [{HUGE}]", "invalid-number", 1),
        (f"description = 'x'\n[train]\nthreads = -{2**63 + 1}", "invalid-number", 3),
        ("seed = " + "9" * 4301, "invalid-number", None),
        ("a." * 900 + "a = 1", "nested-too-deep", None),
        ("'a' . " * 100_000 + "a = 1", "nested-too-deep", None),
        ("[" + "a." * 900 + "a]\nb = 1", "nested-too-deep", None),
        ("seed = " + "[" * 100 + "]" * 100, "nested-too-deep", None),
        ("seed = " + "{ a = " * 100 + "1" + " }" * 100, "nested-too-deep", None),
        ("seed = " + "[" * 5000, "nested-too-deep", None),
    ],
)
def test_numbers_beyond_64_bits_and_deep_tables_are_refused(
    tmp_path: Path, text: str, kind: str, line: int | None
) -> None:
    problem = only(tmp_path, text)
    assert (problem.kind, problem.line) == (kind, line)
    assert len(problem.sentence) < 200


@pytest.mark.parametrize("value", [HUGE, "[" * 100 + "]" * 100])
def test_overrides_have_the_same_limits(tmp_path: Path, value: str) -> None:
    assert only(tmp_path, MINIMAL, f"seed={value}").kind in ("invalid-number", "nested-too-deep")
    assert only(tmp_path, MINIMAL, f"stage.kd.{'a.' * 900}a=1").kind == "malformed-override"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("task.source", "data\0"),
        ("stage.ild.data.corpus", "data\0"),
        ("stage.ild.data.corpus", "./data\0.txt"),
        ("teacher.model", "./model\0"),
        ("student.init", "./model\0"),
    ],
)
def test_a_path_with_a_null_character_is_refused(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(["crild", "rte"], [f"{key}={json.dumps(text)}"], base=tmp_path)
    [problem] = caught.value.problems
    assert (problem.kind, problem.key) == ("invalid-path", key)


@pytest.mark.parametrize(
    ("data", "expected", "fact"),
    [
        ("{ files = [] }", "mine.toml:11 wrong-value stage.ild.data.files", "a list of texts"),
        ('{ files = "more.csv" }', "mine.toml:11 wrong-value stage.ild.data.files", "a list of texts"),
        ('{ files = ["more.csv"], with_task = 1.5 }', "mine.toml:11 wrong-value stage.ild.data.with_task", "below 1"),
        ('{ files = ["more.csv"], with_tasks = true }', "mine.toml:11 unknown-key stage.ild.data.with_tasks", '"with_task"'),
        ('{ files = ["more.csv"], columns = { text = "b", label = "c" } }', "mine.toml:11 unknown-key stage.ild.data.columns.label", "label"),
    ],
)  # fmt: skip
def test_unlabelled_files(data: str, expected: str, fact: str, tmp_path: Path) -> None:
    problem = only(tmp_path, MINIMAL.replace('name = "ild"\n', f'name = "ild"\ndata = {data}\n'))
    assert mistake(problem) == expected
    assert fact in problem.sentence


def test_labels_are_not_learnt_from_unlabelled_files(tmp_path: Path) -> None:
    text = MINIMAL + '[[stage]]\nname = "more"\nobjectives = { labels = 1.0 }\ndata = { files = ["more.csv"] }\n'
    assert mistake(only(tmp_path, text)).endswith("labels-without-task-data stage.more.objectives.labels")


@pytest.mark.parametrize(
    ("augment", "kind", "key"),
    [
        ("{ words = 'mlm' }", "masked-words-without-model", "model"),
        ("{ words = 'swap', model = 'org/model' }", "option-of-masked-words", "model"),
        ("{ words = 'delete', top = 3 }", "option-of-masked-words", "top"),
        ("{ words = 'delet' }", "wrong-value", "words"),
        ("{ words = 'delete', share = 1.5 }", "wrong-value", "share"),
        ("{ words = 'delete', copies = 0 }", "wrong-value", "copies"),
        ("{ words = 'delete', copy = 3 }", "unknown-key", "copy"),
        ("{ copies = 3 }", "missing-key", "words"),
    ],
)
@pytest.mark.parametrize("data", ["{{ augment = {} }}", "{{ files = ['more.csv'], augment = {} }}"])
def test_copies(data: str, augment: str, kind: str, key: str, tmp_path: Path) -> None:
    text = MINIMAL.replace('name = "ild"\n', f'name = "ild"\ndata = {data.format(augment)}\n')
    assert mistake(only(tmp_path, text)) == f"mine.toml:11 {kind} stage.ild.data.augment.{key}"


COPIED = "data = { augment = { words = 'delete', copies = 8 } }"


@pytest.mark.parametrize(
    ("keys", "expected", "fact"),
    [
        ("select = { worst = 2, of = 8 }", "mine.toml:11 select-without-candidates stage.kd.select", "augment"),
        ("select = true", "mine.toml:11 wrong-value stage.kd.select", "{ worst = 2, of = 8 }"),
        (f"{COPIED}\nselect = {{ worst = 0, of = 8 }}", "mine.toml:12 wrong-value stage.kd.select.worst", "1"),
        (f"{COPIED}\nselect = {{ worst = 9, of = 8 }}", "mine.toml:12 select-more-than-compared stage.kd.select.worst", "8 at most"),
        (f"{COPIED}\nselect = {{ worst = 2 }}", "mine.toml:12 missing-key stage.kd.select.of", "of"),
        (f"{COPIED}\nselect = {{ worst = 2, of = 8, best = 1 }}", "mine.toml:12 unknown-key stage.kd.select.best", "worst"),
        (f"{COPIED}\nselect = {{ worst = 2, of = 3 }}", "mine.toml:12 select-uneven-groups stage.kd.select.of", "8 copies"),
        (f"{COPIED}\nselect = {{ worst = 2, of = 16 }}", "mine.toml:12 select-uneven-groups stage.kd.select.of", "16"),
        (f"{COPIED}\nmixup = {{ alpha = 1.0 }}\nselect = {{ worst = 2, of = 8 }}", "mine.toml:13 select-and-mixup stage.kd.select", "mixup = false"),
        (
            f"{COPIED}\nobjectives = {{ hidden = 1.0 }}\nselect = {{ worst = 2, of = 8 }}",
            "mine.toml:13 select-without-logits stage.kd.select", "logits",
        ),
    ],
)  # fmt: skip
def test_select(keys: str, expected: str, fact: str, tmp_path: Path) -> None:
    head, _, stages = MINIMAL.partition('[[stage]]\nname = "ild"')
    kd = '[[stage]]\nname = "kd"\n' + keys + "\n" + ("" if "objectives" in keys else "objectives = { logits = 1.0 }\n")
    assert stages
    problem = only(tmp_path, head + kd)
    assert mistake(problem) == expected
    assert fact in problem.sentence


def test_of_words_nothing_is_selected(tmp_path: Path) -> None:
    task = 'name = "custom"\nkind = "token-classification"\nfiles = { train = "train.conll" }\n'
    kd = f'[[stage]]\nname = "kd"\n{COPIED}\nselect = {{ worst = 2, of = 8 }}\nobjectives = {{ logits = 1.0 }}\n'
    head = MINIMAL.partition("[[stage]]")[0].replace('name = "toy-entailment"\n', task)
    assert "select-of-words stage.kd.select" in mistake(only(tmp_path, head + kd))


def test_a_selection_is_replaced_as_a_whole_and_switched_off(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(MINIMAL + f"{COPIED}\nselect = {{ worst = 2, of = 8 }}\n")
    (tmp_path / "mine.toml").write_text('extends = "base.toml"\n[[stage]]\nname = "kd"\nselect = false\n')
    loaded = load_preset(["mine.toml"], base=tmp_path)
    assert loaded.preset.stage[1].select is False
    again = load_preset(["base.toml"], ["stage.kd.select.worst=1"], base=tmp_path).preset.stage[1].select
    assert again
    assert (again.worst, again.of) == (1, 8)
