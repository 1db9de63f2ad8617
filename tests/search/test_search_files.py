"""Search files: what they declare, every mistake with its line, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CrildError, PresetError
from engine.preset.kinds import KINDS
from engine.preset.shipped import folder as shipped
from engine.search.declaration import read_search
from engine.search.plan import best_preset, plan_search, runs_of_trial
from tests.conftest import REPOSITORY
from tests.search.searches import planned, search_file

RATE = '"train.learning_rate" = { low = 1e-5, high = 1e-2, log = true }\n'


@pytest.mark.parametrize(
    ("more", "space", "kind", "line", "facts"),
    [
        ("", RATE, "search-without-budget", 1, ("trials = 30",)),
        ("trials = 0\n", RATE, "invalid-value", 3, ("trials", "0")),
        ("trails = 3\n", RATE, "unknown-key", 3, ("trials",)),
        ("trials = 3\naim = 'speed'\n", RATE, "invalid-value", 4, ("speed", "latency")),
        ("trials = 3\naim = ['metric', 'metric']\n", RATE, "repeated-aim", 4, ()),
        ("trials = 3\naim = 'latency'\npruner = 'median'\n", RATE, "pruner-without-metric", 5, ()),
        ("trials = 3\naim = ['metric', 'size']\npruner = 'hyperband'\n", RATE, "pruner-without-metric", 5, ()),
        ("trials = 3\nconfirm = 0\nholdout = 0.2\n", RATE, "holdout-without-confirmation", 5, ("confirm",)),
        ("trials = 3\ntasks = ['rte', 'mrpc']\n", RATE, "several-tasks-to-search", 4, ()),
        ("trials = 3\nseeds = [1, 1]\n", RATE, "repeated-seeds", 4, ()),
        ("trials = 3\nset = ['train.learning_rate=1']\n", RATE, "key-set-twice-in-search", 6, ("set", "train.learning_rate")),
        ("trials = 3\n", RATE + '"train" = [1, 2]\n', "key-set-twice-in-search", 6, ("train.learning_rate",)),
        ("trials = 3\n", "x = 3\n", "invalid-dimension", 5, ("low = 1e-5", "3")),
        ("trials = 3\n", "x = { low = 1, hihg = 2 }\n", "unknown-key", 5, ("high",)),
        ("trials = 3\n", "x = { low = 1 }\n", "incomplete-range", 5, ()),
        ("trials = 3\n", "x = { low = 2, high = 2 }\n", "empty-range", 5, ("2",)),
        ("trials = 3\n", "x = { low = 0.0, high = 2.0, log = true }\n", "log-range-from-zero", 5, ()),
        ("trials = 3\n", "x = { low = 1, high = 9, log = true, step = 2 }\n", "step-and-log", 5, ()),
        ("trials = 3\n", "x = { low = 1, high = 2, step = 3 }\n", "unusable-step", 5, ()),
        ("trials = 3\n", "x = { low = 1, high = 2, choices = [1] }\n", "unclear-dimension", 5, ()),
        ("trials = 3\n", "x = { when = { method = 'base' } }\n", "unclear-dimension", 5, ()),
        ("trials = 3\n", "x = [1, 2, 1]\n", "repeated-choice", 5, ("1",)),
        ("trials = 3\n", "x = []\n", "invalid-dimension", 5, ()),
        ("trials = 3\n", "method = ['kd']\n", "reserved-dimension", 5, ("methods",)),
        ("trials = 3\n", "x = { set = { a = 'seed=2', b = [] } }\n", "seed-as-key", 5, ("seeds",)),
        ("trials = 3\n", "x = { choices = [1], when = { mehtod = 'base' } }\n", "unknown-dimension-in-when", 5, ("method",)),
        ("trials = 3\n", "x = { choices = [1], when = { method = 'kd' } }\n", "unknown-choice-in-when", 5, ("base",)),
        ("trials = 3\nsampler = 'grid'\n", RATE, "grid-without-steps", 6, ("step",)),
        ("trials = 3\n", "", "invalid-value", 4, ("space",)),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(
    folder: Path, more: str, space: str, kind: str, line: int, facts: tuple[str, ...]
) -> None:
    with pytest.raises(PresetError) as caught:
        read_search(search_file(folder, more, space))
    (problem,) = caught.value.problems
    assert (problem.kind, problem.line) == (kind, line), problem
    assert all(fact in problem.sentence for fact in facts), problem


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", "missing-search-table"), ("[sweep]\nmethods = ['kd']\n", "missing-search-table"), ("[search\n", None)],
)
def test_other_files_are_no_searches(folder: Path, text: str, kind: str | None) -> None:
    folder.mkdir()
    path = folder / "x.toml"
    path.write_text(text)
    with pytest.raises(CrildError) as caught:
        read_search(path)
    assert kind is None or caught.value.kind == kind
    with pytest.raises(PresetError) as missing:
        read_search(folder / "nowhere.toml")
    assert missing.value.kind == "missing-search-file"


@pytest.mark.parametrize(
    ("space", "kind", "facts"),
    [
        ('"stage.nosuch.epochs" = [1, 2]\n', "impossible-dimension", ("nosuch",)),
        ('"train.learning_rate" = { low = -2.0, high = -1.0 }\n', "impossible-dimension", ("train.learning_rate",)),
        ('"train.lerning_rate" = [1.0]\n', "impossible-dimension", ("learning_rate",)),
        ('x = { preset = { a = "nowhere.toml" } }\n', "impossible-dimension", ("nowhere.toml",)),
    ],
)
def test_what_no_value_can_satisfy_is_refused_before_anything_starts(
    folder: Path, space: str, kind: str, facts: tuple[str, ...]
) -> None:
    with pytest.raises(PresetError) as caught:
        planned(search_file(folder, "trials = 3\n", space))
    (problem,) = caught.value.problems
    assert (problem.kind, problem.line) == (kind, 5)
    assert all(fact in problem.sentence for fact in facts), problem


def test_a_range_that_fits_in_part_is_searched(folder: Path) -> None:
    planned(search_file(folder, "trials = 3\n", '"train.learning_rate" = { low = -1.0, high = 1.0 }\n'))


def test_the_aim_must_be_one_of_the_task(folder: Path) -> None:
    text = 'trials = 3\naim = "pearson"\nset = [\'task.name="mrpc"\', \'task.source="hub"\']\n'
    with pytest.raises(PresetError) as caught:
        planned(search_file(folder, text))
    assert caught.value.kind == "aim-of-other-task"


@pytest.mark.parametrize(
    ("task", "aim", "way_out"),
    [
        ('kind = "classification"', "f1_macro", '["accuracy", "f1_macro"]'),
        ('kind = "classification"', "pearson", ""),
        ('kind = "multilabel"', "subset_accuracy", '["f1_micro", "subset_accuracy"]'),
        ('kind = "regression"', "accuracy", ""),
        ('kind = "classification"\nmetrics = ["f1_macro"]', "accuracy", '["f1_macro", "accuracy"]'),
    ],
)
def test_an_aim_that_a_task_of_files_does_not_report_is_refused(
    folder: Path, task: str, aim: str, way_out: str
) -> None:
    folder.mkdir(exist_ok=True)
    rows = "".join(f"text {row},{row % 2}\n" for row in range(40))
    (folder / "rows.csv").write_text(f"text,label\n{rows}")
    (folder / "own.toml").write_text(
        f'[task]\nname = "custom"\n{task}\nfiles = {{ train = "rows.csv" }}\ncolumns = {{ text = "text", label = "label" }}\n'
    )
    with pytest.raises(PresetError) as caught:
        planned(search_file(folder, f"trials = 3\naim = '{aim}'\npreset = ['own.toml']\n"))
    assert caught.value.kind == "aim-of-other-task"
    assert way_out in str(caught.value)


@pytest.mark.parametrize("metric", sorted({name for kind in KINDS.values() for name in kind.metrics}))
def test_every_metric_of_a_task_can_be_the_aim(folder: Path, metric: str) -> None:
    assert read_search(search_file(folder, f"trials = 3\naim = '{metric}'\n")).aims == (metric,)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        ('"train.learning_rate" = { low = 1e-4, high = 1e-2 }\n', 1e-3),
        ('"train.learning_rate" = { low = 1e-2, high = 1e-1 }\n', None),
        ('"stage.kd.learning_rate" = { low = 1e-4, high = 1e-2 }\n', 1e-3),  # that of [train] counts
        ('"train.batch_size" = { low = 16, high = 64, step = 16 }\n', 32),
        ('"train.batch_size" = { low = 10, high = 64, step = 16 }\n', None),
        ('"stage.kd.temperature" = [1, 2]\n', "2"),
        ('"stage.kd.keep_best" = [true, false]\n', "false"),
        ('"stage.kd.mixup" = [false, { alpha = 0.4 }]\n', "false"),
        ('"stage.kd.layer_map" = ["uniform", "last"]\n', "last"),
        ('x = { set = { with = "stage.kd.keep_best=true", without = [] } }\n', "without"),
    ],
)
def test_the_first_trial_is_the_starting_preset(folder: Path, space: str, value: object) -> None:
    found = planned(search_file(folder, "trials = 3\n", space))
    assert list(found.values.values()) == ([] if value is None else [value])


def test_unquoted_keys_are_keys(folder: Path) -> None:
    path = search_file(
        folder, "trials = 3\n", "train.learning_rate = { low = 1e-4, high = 1e-2 }\nstage.kd.temperature = [1.0]\n"
    )
    assert list(read_search(path).space) == ["train.learning_rate", "stage.kd.temperature"]


def test_presets_of_a_trial_merge_last_and_settings_come_after_them(folder: Path) -> None:
    space = 'x = { preset = { warm = "warm.toml", cold = [] } }\n"stage.kd.temperature" = [1.0, 4.0]\n'
    path = search_file(folder, "trials = 3\nset = ['train.epochs=7']\n", space)
    (folder / "warm.toml").write_text("[train]\nwarmup = 0.5\nepochs = 2\n")
    (run,) = runs_of_trial(planned(path), {"x": "warm", "stage.kd.temperature": "4.0"}, 5)
    assert (run.preset.train.warmup, run.preset.train.epochs, run.preset.stage[0].temperature) == (0.5, 7, 4.0)
    assert run.run == "tune-toy-entailment-base-trial-5-s1"
    text = best_preset(planned(path), {"x": "warm"}, 5, "why")
    assert text.startswith("# why\n")


@pytest.mark.parametrize("path", sorted((shipped() / "study").glob("search-*.toml")), ids=lambda path: path.name)
def test_shipped_searches_can_be_searched(path: Path) -> None:
    found = plan_search(read_search(path))
    assert found.values
    for name in found.file.space:
        assert name


def test_the_examples_of_the_documentation_are_searches(folder: Path) -> None:
    import re

    text = (REPOSITORY / "docs" / "how-to" / "search.md").read_text(encoding="utf-8")
    examples = [block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[search]" in block]
    assert len(examples) >= 2
    folder.mkdir()
    for number, example in enumerate(examples):
        (folder / f"{number}.toml").write_text(example)
        assert plan_search(read_search(folder / f"{number}.toml")).starts


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (["task.measure_holdout=true"], "no-holdout-to-measure"),
        (
            [
                'task.name="custom"',
                'task.files={train="a.csv", dev="b.csv", test="c.csv"}',
                "task.holdout=0.2",
                "task.measure_holdout=true",
            ],
            "holdout-and-test-file",
        ),
    ],
)
def test_rows_held_out_are_measured_only_where_there_are_some_and_no_test_file(
    folder: Path, settings: list[str], kind: str
) -> None:
    from engine.preset.load import load_preset

    search_file(folder)
    with pytest.raises(PresetError) as caught:
        load_preset([str(folder / "base.toml")], settings)
    assert kind in [problem.kind for problem in caught.value.problems]


def test_training_rows_without_labels_cannot_confirm_a_winner(folder: Path) -> None:
    file = search_file(folder)
    (folder / "texts.csv").write_text("text\none\ntwo\n")
    (folder / "dev.csv").write_text("text,label\nthree,a\nfour,b\n")
    (folder / "answers.csv").write_text("text,label\none,a\ntwo,b\n")
    base = (folder / "base.toml").read_text()
    base = base.replace('name = "toy-entailment"', 'name = "custom"\nfiles = { train = "texts.csv", dev = "dev.csv" }')
    base = base.replace('model = "scratch"\n[teacher.finetune]\nepochs = 1.0', 'answers = "answers.csv"')
    (folder / "base.toml").write_text(base.replace("[student]", '[student]\ninit = "scratch"'))
    with pytest.raises(PresetError) as caught:
        plan_search(read_search(file))
    assert [problem.kind for problem in caught.value.problems] == ["unlabelled-holdout"]
    file.write_text(file.read_text().replace("[search]", "[search]\nholdout = 0"))
    assert plan_search(read_search(file)).starts[0].preset.task.class_names == ["a", "b"]
