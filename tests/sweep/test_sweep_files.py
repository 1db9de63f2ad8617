"""Sweep files: what they say, and every problem with them at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CrildError, DataError, PresetError
from engine.sweep.plan import Plan, plan, run_id
from engine.sweep.spec import read_sweep
from tests.sweep.sweeps import method, write


def planned(folder: Path, text: str, name: str = "study.toml") -> Plan:
    return plan(read_sweep(write(folder, text, name)))


def refused(folder: Path, text: str) -> list[str]:
    """What is said of a sweep file, with the line but without the folder."""
    with pytest.raises(CrildError) as caught:
        planned(folder, text)
    problems = getattr(caught.value, "problems", (caught.value,))
    return [str(problem).removeprefix(f"{folder}/") for problem in problems]


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
    places = [tuple(run.place.values()) for run in found.runs]
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
    by_place = {tuple(run.place.values()): run.preset for run in found.runs}
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
    assert [dict(run.place) for run in found.runs] == [
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
    assert {run.place["method"] for run in found.runs} == {"kd", "crild"}


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ['study.toml: a sweep file begins with [sweep] and says methods = ["kd", "crild"], tasks and seeds']),
        (
            'TWO[sweep.axs]\nx = 1\n[train]\nepochs = 3\n',
            [
                'study.toml:5: unknown key "train": a sweep file is one table, [sweep]',
                'study.toml:3: unknown key "axs" in sweep; did you mean "axes"?',
            ],
        ),
        (
            "methods = [3]\nseeds = true\nmax_runs = 0\n",
            [
                'study.toml:2: methods must be a list of presets, as ["kd", "crild", ["crild", "mine.toml"]], or a table name = preset; in it stands 3',
                'study.toml:3: seeds must be a list of seeds, as [1, 2, 3], or text, as "1-5", not true',
                "study.toml:4: max_runs must be a whole number from 1 to 10000, not 0",
            ],
        ),
        (
            'TWO[[sweep.when]]\nmach = { method = "a" }\n',
            [
                'study.toml:3: when.match is missing; it must be a table, as { task = "rte" }',
                'study.toml:4: unknown key "mach" in sweep.when; did you mean "match"?',
            ],
        ),
        ('methods = ["krild"]\n', ['study.toml:2: there is no shipped preset or file "krild"; did you mean "crild"?']),
        ('methods = ["a.toml", "./a.toml"]\n', ['study.toml:2: method "a" is there twice; a table gives names of their own']),
        ('TWOseeds = "3-1"\n', ['study.toml:3: seeds "3-1" names no seeds: write [1, 2, 3], "1,2,3" or "1-5"']),
        ("TWOseeds = [1, 2, 1]\n", ["study.toml:3: seeds names 1 twice: each seed makes one run"]),
        ('TWOset = ["train.epoch=3"]\n', ['study.toml:3: unknown key "epoch" in train; did you mean "epochs"?']),
        (
            'TWO[sweep.axes]\nnoise = { "task.label_nois" = [0.0, 0.3] }\n',
            ['study.toml:4: unknown key "label_nois" in task; did you mean "label_noise"?'],
        ),
        (
            'TWO[sweep.axes]\nn = { "task.label_noise" = [0.0, 1.5] }\n',
            [
                "study.toml:4: task.label_noise must be a number from 0 to 1, not 1.5 "
                "(in a, n 1.5 and 1 more of 4 runs)"
            ],
        ),
        (
            'TWOset = ["train.epochs=3"]\n[sweep.axes]\nlong = { "train.epochs" = [1, 2] }\n',
            ["study.toml:3: set and the axis long both set train.epochs: the one would undo the other"],
        ),
        (
            'TWO[sweep.axes]\na = { "train.epochs" = [1, 2] }\nb = { train.epochs = [3] }\n',
            ["study.toml:5: the axis b and the axis a both set train.epochs: a key belongs to one axis"],
        ),
        ('TWOset = ["seed=3"]\n', ["study.toml:3: seed is swept by seeds = [1, 2, 3], not as a key"]),
        ("TWO[sweep.axes]\ns = { seed = [1, 2] }\n", ["study.toml:4: seed is swept by seeds = [1, 2, 3], not as a key"]),
        ("TWO[sweep.axes]\nseed = { x = [1] }\n", ['study.toml:4: an axis cannot be called "seed": seeds have a key of their own']),
        (
            'TWO[sweep.axes]\nn = { "train.epochs" = 3 }\n',
            ['study.toml:4: train.epochs must be a list of values, as "task.label_noise" = [0.0, 0.3], not 3'],
        ),
        (
            'TWO[sweep.axes]\nn = { "train.epochs" = [3, 4], "train.batch_size" = [8] }\n',
            [
                "study.toml:4: the keys of one axis change together, so they have equally many values: "
                "train.epochs has 2 and train.batch_size has 1"
            ],
        ),
        (
            'TWOexclude = [{ methd = "a" }, { method = "c" }]\n',
            [
                'study.toml:3: there is no axis "methd"; did you mean "method"?',
                'study.toml:3: method "c" is not in the grid; there are a and b',
            ],
        ),
        ('TWOexclude = [{ method = ["a", "b"] }]\n', ["study.toml:3: exclude leaves nothing of the 2 runs"]),
        (
            'TWOexclude = [{ method = "a" }]\n[[sweep.when]]\nmatch = { method = "a" }\nset = ["train.epochs=1"]\n',
            ["study.toml:4: this part of the grid is empty: no run is in it"],
        ),
        (
            'TWO[[sweep.when]]\nmatch = { method = "a" }\nset = ["train.epochs=1"]\n'
            '[[sweep.when]]\nmatch = { seed = 1 }\nset = ["train.epochs=2"]\n',
            ['study.toml:7: there is no axis "seed"; there are method'],
        ),
        (
            'TWOseeds = [1, 2]\n[[sweep.when]]\nmatch = { method = "a" }\nset = ["train.epochs=1"]\n'
            '[[sweep.when]]\nmatch = { seed = 1 }\nset = ["train.epochs=2"]\n',
            ["study.toml:9: two parts of the grid set train.epochs differently, and a, seed 1 lies in both"],
        ),
        (
            'TWOseeds = "1-1000"\nmax_runs = 100\n',
            [
                "study.toml:4: 2 methods x 1000 seeds make 2,000 runs, and 100 are the most: "
                "leave something out, or say max_runs = N under [sweep]"
            ],
        ),
        (
            'methods = { x = "a.toml", y = "a.toml" }\n',
            ["study.toml:2: y, toy-entailment, seed 1 and x, toy-entailment, seed 1 are the same run: their presets do not differ"],
        ),
        ('TWOname = "a b"\n', ["study.toml:3: name: a sweep is called by letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 40, not \"a b\""]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(folder: Path, two: str, text: str, said: list[str]) -> None:
    assert refused(folder, f"[sweep]\n{text.replace('TWO', two)}" if text else "") == said


def test_a_million_runs_are_refused_before_they_are_counted_one_by_one(folder: Path, two: str) -> None:
    axes = "\n".join(
        f'{axis} = {{ "train.{key}" = {list(range(1, 100))} }}'
        for axis, key in (("x", "epochs"), ("y", "batch_size"), ("z", "log_every"))
    )
    (said,) = refused(folder, f"[sweep]\n{two}[sweep.axes]\n{axes}\n")
    assert "2 methods x 99 xs x 99 ys x 99 zs x 1 seed make 1,940,598 runs, and 1,000 are the most" in said


def test_no_file_and_no_toml_are_said_as_such(folder: Path) -> None:
    with pytest.raises(PresetError, match="there is no sweep file"):
        read_sweep(folder / "nothing.toml")
    assert "study.toml:3: not valid TOML" in refused(folder, "[sweep]\nmethods = [\n")[0]
    with pytest.raises(PresetError, match="a sweep file is a file, and this is a folder"):
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
