"""`crild run ... --then ...`: runs in order, each student starting as the one before."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from crild_tui.runs.chain import create_chains, requests
from crild_tui.runs.create import RunRequest, load_presets
from crild_tui.runs.resume import prepare
from engine.errors import ModelError
from engine.preset.load import load_preset, load_run_preset
from engine.record.run import read_status, update_status
from tests.cli.conftest import Call
from tests.errors import raises

Behave = Callable[..., None]


def request(folder: Path, *presets: str, name: str | None = None) -> RunRequest:
    return RunRequest(presets, ("student.layers=1",), (), folder / "runs", name=name)


def test_a_task_alone_takes_the_methods_of_the_run_before(tmp_path: Path) -> None:
    first = request(tmp_path, "crild", "supplementary", "mnli", "few-sample", name="mine")
    made = requests(first, ["rte", "pkd, mrpc", "cola,noise-10"])
    assert [each.presets for each in made] == [
        first.presets, ("crild", "rte"), ("pkd", "mrpc"), ("pkd", "cola", "noise-10"),
    ]  # fmt: skip
    assert [each.name for each in made] == ["mine", "mine-2", "mine-3", "mine-4"]
    assert {each.settings for each in made} == {first.settings}
    assert [each.name for each in requests(request(tmp_path, "kd", "rte"), ["mrpc"])] == [None, None]


def test_a_method_alone_takes_the_task_of_the_run_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text,label\n")
    (tmp_path / "mine.toml").write_text('extends = "crild"\n')
    (tmp_path / "own.toml").write_text('extends = "./whole.toml"\n')
    (tmp_path / "whole.toml").write_text('extends = "crild"\n[task]\nname = "cola"\n')
    (tmp_path / "loop.toml").write_text('extends = "./loop.toml"\n')

    def then(*words: str) -> tuple[str, ...]:
        *first, item = words
        return requests(request(tmp_path, *first), [item])[-1].presets

    assert then("kd", "a.csv", "crild") == ("crild", "a.csv")
    assert then("kd", "mrpc", "few-sample", "mine.toml") == ("mine.toml", "mrpc", "few-sample")
    assert then("crild", "supplementary", "mnli", "kd") == ("kd", "mnli"), "a variant of the method stays with it"
    assert then("kd", "a.csv", "few-sample") == ("kd", "few-sample", "a.csv")
    assert then("kd", "a.csv", "local-teacher") == ("local-teacher", "a.csv")
    assert then("kd", "a.csv", "own.toml") == ("own.toml",), "it names a task"
    assert then("kd", "a.csv", "quickstart") == ("quickstart",)
    assert then("kd", "crild") == ("crild",), "both have the default"
    assert then("kd", "a.csv", "loop.toml") == ("loop.toml", "a.csv"), "reading it refuses the circle"


def test_each_starts_as_the_student_of_the_run_before(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    said = crild("run", str(preset), "--name", "mine", "--set", "student.layers=1", "--then", str(preset))
    assert said.code == 0
    first, second = runs_dir / "mine-s1", runs_dir / "mine-2-s1"
    assert [read_status(run).state for run in (first, second)] == ["finished", "finished"]
    written = [tomllib.loads((run / "preset.toml").read_text()) for run in (first, second)]
    assert written[0]["student"]["layers"] == 1
    assert written[1]["student"] == {"init": str(first.absolute()), "keep": "first"}
    assert {key: value for key, value in written[0].items() if key != "student"} == {
        key: value for key, value in written[1].items() if key != "student"
    }
    assert [read_status(run).method for run in (first, second)] == ["small", "small+after-toy-entailment"]
    assert said.err.index("run 1 of 2: mine-s1") < said.err.index("run 2 of 2: mine-2-s1")
    assert "standard deviation" not in said.out


def test_each_run_of_a_chain_has_a_table_over_its_seeds(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path
) -> None:
    said = crild("run", str(preset), "--name", "mine", "--seeds", "1,2", "--then", str(preset))
    assert said.code == 0
    first, second = said.out.split("accuracy over 2 seeds")[1:]
    assert "toy-entailment by small: " in said.out
    assert "toy-entailment by small+after-toy-entailment: " in said.out
    assert [name in first for name in ("mine-s1", "mine-s2", "mine-2-s1", "standard deviation")] == [
        True,
        True,
        False,
        True,
    ]
    assert [name in second for name in ("mine-2-s1", "mine-2-s2", "mine-s1", "standard deviation")] == [
        True,
        True,
        False,
        True,
    ]


def test_every_seed_has_a_chain_of_its_own(tmp_path: Path) -> None:
    chain = requests(RunRequest(("quickstart",), (), (1, 2), tmp_path / "runs", name="a"), ["quickstart"])
    runs = create_chains(chain, [load_presets(each) for each in chain])
    assert [run.name for run in runs] == ["a-s1", "a-2-s1", "a-s2", "a-2-s2"]
    inits = [load_run_preset(run).preset.student.init for run in runs]
    assert inits[1::2] == [str(runs[0]), str(runs[2])]
    assert inits[0] == inits[2] != inits[1]


def test_a_waiting_run_resumes_though_the_run_before_it_has_no_student_yet(tmp_path: Path) -> None:
    """Its queue was killed: the run before it comes first when the queue continues."""
    chain = requests(RunRequest(("quickstart",), ("stages=[kd]",), (1,), tmp_path / "runs", name="a"), ["quickstart"])
    _, second = create_chains(chain, [load_presets(each) for each in chain])
    update_status(second, state="queued", queue="gone")
    entry = prepare(second, []).entry
    assert entry.status is not None
    assert entry.status.state == "queued"
    update_status(second, state="stopped")
    with raises("run-without-student", "has no student yet", error=ModelError):
        prepare(second, [])


@pytest.mark.parametrize(
    ("first", "later", "fits"),
    [
        ((), (), True),
        ((), ("task.name=toy-sentiment",), False),
        ((), ("task.name=toy-sentiment", "stages=[kd]"), True),
        ((), ("task.name=toy-sentiment", "teacher.tokenizer=./words"), False),
        (("teacher.tokenizer=./words",), ("task.name=toy-sentiment", "teacher.tokenizer=./words"), True),
        ((), ("teacher.model=./teacher",), False),
        (("teacher.model=./teacher",), ("teacher.model=./teacher", "task.name=toy-sentiment"), True),
        (("student.init=./words",), ("task.name=toy-sentiment",), True),
    ],
)
def test_a_chain_whose_later_teacher_reads_other_tokens_is_refused(
    tmp_path: Path, first: tuple[str, ...], later: tuple[str, ...], fits: bool
) -> None:
    chain = requests(RunRequest(("quickstart",), (), (1,), tmp_path / "runs", name="a"), ["quickstart"])
    loaded = [[load_preset(["quickstart"], settings)] for settings in (first, later)]
    if fits:
        assert len(create_chains(chain, loaded)) == 2
        return
    with raises("chain-of-other-words", "its own task", "the stage ild compares"):
        create_chains(chain, loaded)
    assert not (tmp_path / "runs").exists()


def test_a_run_that_cannot_be_created_leaves_none(tmp_path: Path) -> None:
    chain = requests(RunRequest(("quickstart",), (), (1,), tmp_path / "runs", name="a"), ["quickstart"])
    loaded = [load_presets(each) for each in chain]
    (tmp_path / "runs" / "a-2-s1").mkdir(parents=True)
    with pytest.raises(Exception, match="a-2-s1"):
        create_chains(chain, loaded)
    assert not (tmp_path / "runs" / "a-s1").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--then", "nosuch"], '"nosuch"'),
        (["--then", ""], ""),
        (["--then", "few-sample,noise-30", "--set", "task.examples=0"], "examples"),
        (["--then", "crild,kd"], "kd"),
        (["--then", "kd"], "as in `--then kd,rte`"),
        (["--then", "rte", "--auto-batch"], "--auto-batch is for one run"),
        (["--then", "rte", "--slurm-local"], "--slurm-local is for one run"),
    ],
)
def test_what_can_be_seen_beforehand_leaves_no_run(
    crild: Call, fake_engine: Behave, preset: Path, runs_dir: Path, words: list[str], sentence: str
) -> None:
    said = crild("run", str(preset), *words)
    assert said.code == 2
    assert "error: " in said.err
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert not runs_dir.exists()
