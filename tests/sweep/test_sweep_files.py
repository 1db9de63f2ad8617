"""Sweep files: what they say, and every problem with them at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CrildError, DataError, PresetError
from engine.sweep.plan import Plan, plan, run_id
from engine.sweep.spec import read_sweep
from tests.errors import raises
from tests.sweep.sweeps import method, write


def planned(folder: Path, text: str, name: str = "study.toml") -> Plan:
    return plan(read_sweep(write(folder, text, name)))


def refused(folder: Path, text: str) -> list[CrildError]:
    """The problems of a sweep file."""
    with pytest.raises(CrildError) as caught:
        planned(folder, text)
    return list(getattr(caught.value, "problems", (caught.value,)))


@pytest.fixture
def two(folder: Path) -> str:
    """Two methods that need nothing from outside."""
    return f'methods = ["{method(folder, "a")}", "{method(folder, "b")}"]\n'


def test_the_grid_is_the_product_without_what_is_excluded(folder: Path, two: str) -> None:
    found = planned(
        folder,
        f'[sweep]\n{two}seeds = "1-3"\nexclude = [{{ method = "b", seed = [2, 3] }}, {{ noise = 0.3, seed = 1 }}]\n'
        '[sweep.axes]\nnoise = { "task.label_noise" = [0.0, 0.3] }\n',
    )
    places = [tuple(run.cell.values()) for run in found.runs]
    assert places == [
        ("a", "toy-entailment", "0.0", "1"), ("b", "toy-entailment", "0.0", "1"),
        ("a", "toy-entailment", "0.0", "2"), ("a", "toy-entailment", "0.3", "2"),
        ("a", "toy-entailment", "0.0", "3"), ("a", "toy-entailment", "0.3", "3"),
    ]  # fmt: skip
    assert [(run.preset.seed, run.preset.task.label_noise) for run in found.runs][-1] == (3, 0.3)
    assert found.axes == {
        "method": ("a", "b"), "task": ("toy-entailment",), "noise": ("0.0", "0.3"), "seed": ("1", "2", "3"),
    }  # fmt: skip
    assert len({run.run for run in found.runs}) == 6


def test_presets_and_settings_go_on_top_of_each_other(folder: Path, two: str) -> None:
    write(folder, "schema = 1\n[train]\nepochs = 5.0\nbatch_size = 8\n", "base.toml")
    write(folder, "schema = 1\n[task]\nexamples = 100\n", "few.toml")
    found = planned(
        folder,
        f"""[sweep]
{two}seeds = [7]
preset = "base.toml"
set = ["train.batch_size=16"]
[sweep.axes]
data = {{ preset = {{ all = [], few = ["few.toml"] }} }}
size = {{ "student.layers" = [2, 1], "train.learning_rate" = [1e-3, 2e-3] }}
mix = {{ set = {{ without = [], with = ["stage.kd.mixup={{alpha=1.0}}"] }} }}
[[sweep.when]]
match = {{ method = "b", data = "few" }}
set = ["train.epochs=9"]
""",
    )
    assert len(found.runs) == 2 * 2 * 2 * 2
    by_place = {tuple(run.cell.values()): run.preset for run in found.runs}
    assert {preset.train.batch_size for preset in by_place.values()} == {16}
    one = by_place["b", "toy-entailment", "few", "1/0.002", "with", "7"]
    assert (one.task.examples, one.student.layers, one.train.learning_rate) == (100, 1, 2e-3)
    assert one.train.epochs == 9.0
    assert one.stage[0].mixup
    other = by_place["a", "toy-entailment", "all", "2/0.001", "without", "7"]
    assert (other.task.examples, other.train.epochs, other.stage[0].mixup) == (None, 5.0, False)


def test_names_seeds_and_tasks_can_be_given_or_left_to_the_presets(folder: Path, two: str) -> None:
    method(folder, "c", task="toy-sentiment")
    found = planned(folder, '[sweep]\nname = "x"\nmethods = { first = "a.toml", second = ["b.toml", "c.toml"] }\n')
    assert [dict(run.cell) for run in found.runs] == [
        {"method": "first", "task": "toy-entailment", "seed": "1"},
        {"method": "second", "task": "toy-sentiment", "seed": "1"},
    ]
    assert [run.run for run in found.runs] == ["x-toy-entailment-first-s1", "x-toy-sentiment-second-s1"]
    assert found.runs[1].refs == ("b", "c")


def test_shipped_methods_and_tasks_make_runs(folder: Path, shared: Path) -> None:
    text = f"""[sweep]
methods = ["kd", ["crild"]]
tasks = ["mrpc", "rte"]
seeds = [1, 2]
set = ["task.source={shared}/glue"]
"""
    if not (shared / "glue").is_dir():
        pytest.skip("no glue folder")
    found = planned(folder, text)
    assert len(found.runs) == 8
    assert {run.cell["method"] for run in found.runs} == {"kd", "crild"}


def test_runs_share_the_teachers_that_are_trained_alike(folder: Path) -> None:
    names = [method(folder, "a"), method(folder, "b"), method(folder, "c", teacher=5)]
    found = planned(
        folder,
        f"[sweep]\nmethods = {names}\nseeds = [1, 2]\n[sweep.axes]\nnoise.task.label_noise = [0.0, 0.3]\n".replace(
            "'", '"'
        ),
    )
    assert sorted(len(runs) for runs in found.teachers.values()) == [2, 2, 4, 4]
    without = planned(folder, '[sweep]\nmethods = ["a.toml"]\nset = ["train.save_teacher_cache=false"]\n', "o.toml")
    assert without.teachers == {}


Expected = tuple[int | None, str | None, tuple[str, ...]]
"""The line of a problem, its kind (None where presets decide it), and facts in its sentence."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(None, "missing-sweep-table", ("[sweep]",))]),
        (
            'TWO[sweep.axs]\nx = 1\n[train]\nepochs = 3\n',
            [(5, "key-outside-sweep", ('"train"',)), (3, "unknown-key", ('"axs"', '"axes"'))],
        ),
        (
            "methods = [3]\nseeds = true\nmax_runs = 0\n",
            [
                (2, "invalid-value", ("methods", '["kd", "crild", ["crild", "mine.toml"]]', "3")),
                (3, "invalid-value", ("seeds", "[1, 2, 3]", '"1-5"', "true")),
                (4, "invalid-value", ("max_runs", "from 1 to 10000", "0")),
            ],
        ),
        (
            'TWO[[sweep.when]]\nmach = { method = "a" }\n',
            [(3, "missing-key", ("when.match", '{ task = "rte" }')), (4, "unknown-key", ('"mach"', "sweep.when", '"match"'))],
        ),
        ('methods = ["krild"]\n', [(2, None, ('"krild"', '"crild"'))]),
        ('methods = ["a.toml", "./a.toml"]\n', [(2, "repeated-axis-value", ('method "a"',))]),
        ('TWOseeds = "3-1"\n', [(3, "empty-seed-range", ('"3-1"', "1-3"))]),
        ('TWOseeds = "1,x"\n', [(3, "invalid-seeds", ('"1,x"',))]),
        ("TWOseeds = [1, 2, 1]\n", [(3, "repeated-seeds", ("seeds repeats 1:",))]),
        ('TWOset = ["train.epoch=3"]\n', [(3, None, ('"epoch"', "train", '"epochs"'))]),
        (
            'TWO[sweep.axes]\nnoise = { "task.label_nois" = [0.0, 0.3] }\n',
            [(4, None, ('"label_nois"', "task", '"label_noise"'))],
        ),
        (
            'TWO[sweep.axes]\nn = { "task.label_noise" = [0.0, 1.5] }\n',
            [(4, None, ("task.label_noise", "1.5", "(in a, n 1.5 and 1 more of 4 runs)"))],
        ),
        (
            'TWOset = ["train.epochs=3"]\n[sweep.axes]\nlong = { "train.epochs" = [1, 2] }\n',
            [(3, "key-of-axis-and-setting", ("axis long", "train.epochs"))],
        ),
        (
            'TWO[sweep.axes]\na = { "train.epochs" = [1, 2] }\nb = { train.epochs = [3] }\n',
            [(5, "key-of-two-axes", ("axis b", "axis a", "train.epochs"))],
        ),
        ('TWOset = ["seed=3"]\n', [(3, "seed-as-key", ("seeds = [1, 2, 3]",))]),
        ("TWO[sweep.axes]\ns = { seed = [1, 2] }\n", [(4, "seed-as-key", ("seeds = [1, 2, 3]",))]),
        ("TWO[sweep.axes]\nseed = { x = [1] }\n", [(4, "reserved-axis-name", ('"seed"', "seeds"))]),
        ('TWO[sweep.axes]\nBig = { "train.epochs" = [3] }\n', [(4, "invalid-axis-name", ('"Big"',))]),
        (
            'TWO[sweep.axes]\nn = { "train.epochs" = 3 }\n',
            [(4, "axis-key-without-values", ("train.epochs", '"task.label_noise" = [0.0, 0.3]', "not 3"))],
        ),
        (
            'TWO[sweep.axes]\nn = { "train.epochs" = [3, 4], "train.batch_size" = [8] }\n',
            [(4, "unequal-axis-values", ("train.epochs has 2", "train.batch_size has 1"))],
        ),
        (
            'TWOexclude = [{ methd = "a" }, { method = "c" }]\n',
            [(3, "unknown-axis", ('"methd"', '"method"')), (3, "unknown-axis-value", ('method "c"', "a and b"))],
        ),
        ('TWOexclude = [{ method = ["a", "b"] }]\n', [(3, "everything-excluded", ("2 runs",))]),
        (
            'TWOexclude = [{ method = "a" }]\n[[sweep.when]]\nmatch = { method = "a" }\nset = ["train.epochs=1"]\n',
            [(4, "when-without-runs", ())],
        ),
        (
            'TWO[[sweep.when]]\nmatch = { method = "a" }\nset = ["train.epochs=1"]\n'
            '[[sweep.when]]\nmatch = { seed = 1 }\nset = ["train.epochs=2"]\n',
            [(7, "unknown-axis", ('"seed"', "method"))],
        ),
        (
            'TWOseeds = [1, 2]\n[[sweep.when]]\nmatch = { method = "a" }\nset = ["train.epochs=1"]\n'
            '[[sweep.when]]\nmatch = { seed = 1 }\nset = ["train.epochs=2"]\n',
            [(9, "conflicting-parts", ("train.epochs", "a, seed 1"))],
        ),
        (
            'TWOseeds = "1-1000"\nmax_runs = 100\n',
            [(4, "too-many-runs", ("2 methods x 1000 seeds make 2,000 runs", "100", "max_runs = N"))],
        ),
        (
            'methods = { x = "a.toml", y = "a.toml" }\n',
            [(2, "same-run-twice", ("y, toy-entailment, seed 1", "x, toy-entailment, seed 1"))],
        ),
        ('TWOname = "a b"\n', [(3, "invalid-sweep-name", ("'.', '_' and '-'", "at most 40", '"a b"'))]),
    ],
)  # fmt: skip
def test_problems_are_reported_with_their_lines(folder: Path, two: str, text: str, expected: list[Expected]) -> None:
    problems = refused(folder, f"[sweep]\n{text.replace('TWO', two)}" if text else "")
    assert [problem.line for problem in problems] == [line for line, _, _ in expected]
    for problem, (_, kind, facts) in zip(problems, expected, strict=True):
        assert str(problem.file).endswith("study.toml")
        assert kind in (None, problem.kind)
        assert all(fact in problem.sentence for fact in facts), problem.sentence


def test_a_million_runs_are_refused_before_they_are_counted_one_by_one(folder: Path, two: str) -> None:
    axes = "\n".join(
        f'{axis} = {{ "train.{key}" = {list(range(1, 100))} }}'
        for axis, key in (("x", "epochs"), ("y", "batch_size"), ("z", "log_every"))
    )
    (problem,) = refused(folder, f"[sweep]\n{two}[sweep.axes]\n{axes}\n")
    assert problem.kind == "too-many-runs"
    assert "2 methods x 99 xs x 99 ys x 99 zs x 1 seed make 1,940,598 runs" in problem.sentence


def test_no_file_and_no_toml_are_said_as_such(folder: Path) -> None:
    with raises("missing-sweep-file", "nothing.toml"):
        read_sweep(folder / "nothing.toml")
    (problem,) = refused(folder, "[sweep]\nmethods = [\n")
    assert problem.line == 3
    assert "TOML" in problem.sentence
    with pytest.raises(PresetError, match="folder"):
        read_sweep(folder)


def test_missing_data_is_no_fault_of_the_sweep_file(folder: Path, two: str) -> None:
    path = write(folder, f'[sweep]\n{two}set = ["task.name=rte", "task.source=/nowhere"]\n')
    with pytest.raises(DataError) as caught:
        plan(read_sweep(path))
    assert caught.value.exit_code == 3


def test_ids_tell_cells_apart_and_stay_the_same() -> None:
    place = {"method": "crild+extra", "task": "rte", "noise": "0.3", "seed": "1"}
    assert run_id("s", place) == "s-rte-crild-extra-noise-0.3-s1"
    again = run_id("s", place, {"s-rte-crild-extra-noise-0.3-s1"})
    assert again != run_id("s", place)
    assert again == run_id("s", place, {"s-rte-crild-extra-noise-0.3-s1"})
    one, two = (run_id("s", {**place, "noise": value}) for value in ("[1, 2]", "[1 2]"))
    assert one != two
    long = run_id("s" * 40, {**place, "noise": "x" * 100})
    assert len(long) <= 83
    assert long.endswith("-s1")
