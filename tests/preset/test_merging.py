"""How presets merge: what replaces what, and which file and line is remembered for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import PresetError
from engine.preset.load import LONGEST_CHAIN, load_preset
from engine.preset.schema import Augment, Objective
from tests.preset.support import MINIMAL, load, mistake, mistakes, problems, refused, write


def test_tables_merge_key_by_key_and_stages_by_name(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "[train]\nepochs = 7\nclip = 0.5\n", "base.toml")
    loaded = load(
        tmp_path,
        'extends = "base.toml"\n[train]\nclip = 2\n[[stage]]\nname = "kd"\nsteps = 9\n'
        '[[stage]]\nname = "more"\nobjectives = { labels = 1 }\n',
    )
    preset = loaded.preset
    assert (preset.train.epochs, preset.train.clip) == (7.0, 2.0)
    assert [stage.name for stage in preset.stage] == ["ild", "kd", "more"]
    assert (preset.stage[1].steps, preset.stage[1].temperature) == (9, 2.0)
    assert preset.stage[1].epochs is None, "steps displace inherited epochs"
    assert loaded.refs == ("mine.toml",)


def test_each_key_remembers_the_file_and_line_that_set_it(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "[train]\nepochs = 7\n", "base.toml")
    loaded = load(tmp_path, 'extends = "base.toml"\n\n[[stage]]\nname = "kd"\nsteps = 9\n', "train.clip=3")
    assert loaded.node("train.epochs").file == "base.toml"
    assert loaded.node("train.epochs").line == (MINIMAL + "[train]\nepochs").count("\n") + 1
    assert (loaded.node("stage.kd.steps").file, loaded.node("stage.kd.steps").line) == ("mine.toml", 5)
    assert loaded.node("stage.kd.temperature").file == "base.toml"
    assert (loaded.node("train.clip").file, loaded.node("train.clip").line) == ("--set train.clip=3", None)
    assert loaded.node("train.never_set").file == "base.toml", "of its table"
    assert loaded.node("nowhere.at.all").file == "mine.toml"


def test_objectives_mixup_consistency_and_data_replace_as_wholes(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "base.toml")
    preset = load(
        tmp_path,
        'extends = "base.toml"\n[[stage]]\nname = "ild"\nobjectives = { cls = 1 }\nmixup = { unpaired = "whole" }\n'
        'consistency = {}\ndata = { corpus = "org/words" }\n',
    ).preset
    stage = preset.stage[0]
    assert stage.objectives == {"cls": 1.0}
    assert stage.mixup
    assert (stage.mixup.alpha, stage.mixup.unpaired) == (1.0, "whole")
    assert stage.consistency
    assert stage.consistency.weight == 0.1


def test_false_switches_mixup_consistency_and_finetune_off(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "base.toml")
    loaded = load(
        tmp_path,
        'extends = "base.toml"\n[teacher]\nmodel = "org/model"\nfinetune = false\n'
        '[[stage]]\nname = "ild"\nmixup = false\nconsistency = false\n',
    )
    assert loaded.preset.teacher.finetune is None
    assert "finetune" not in loaded.document["teacher"]
    assert loaded.preset.stage[0].mixup is False
    assert loaded.preset.stage[0].consistency is False


def test_false_takes_back_any_optional_key_but_no_boolean_or_required_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        MINIMAL.replace("[teacher]", "examples = 9\n[teacher]") + "patience = 3\nkeep_best = true\n",
        "base.toml",
    )
    preset = load(
        tmp_path,
        'extends = "base.toml"\n[task]\nexamples = false\n[[stage]]\nname = "kd"\npatience = false\nepochs = false\n'
        "keep_best = false\n",
    ).preset
    assert preset.task.examples is None
    assert (preset.stage[1].patience, preset.stage[1].epochs, preset.stage[1].keep_best) == (None, None, False)
    text = 'extends = "base.toml"\n[train]\nepochs = false\n'
    assert mistakes(tmp_path, text) == ["mine.toml:3 wrong-value train.epochs"]
    assert problems(tmp_path, text)[0].endswith("not false")


def test_stages_selects_and_orders(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "base.toml")
    text = 'extends = "base.toml"\nstages = ["more", "ild"]\n[[stage]]\nname = "more"\nobjectives = { labels = 1 }\n'
    assert [stage.name for stage in load(tmp_path, text).preset.stage] == ["more", "ild"]
    assert [stage.name for stage in load(tmp_path, 'extends = "base.toml"\nstages = "kd"').preset.stage] == ["kd"]
    text = 'extends = "base.toml"\nstages = ["kdd", "ild", "ild", "zz"]\n'
    assert mistakes(tmp_path, text) == [
        "mine.toml:2 unknown-stage stages",
        "mine.toml:2 repeated-stage stages",
        "mine.toml:2 unknown-stage stages",
    ]
    near, twice, unknown = problems(tmp_path, text)
    assert '"kdd"' in near
    assert '"kd"?' in near
    assert '"ild"' in twice
    assert '"zz"' in unknown
    assert '"ild" and "kd"' in unknown


def test_a_list_merges_from_left_to_right_and_a_shared_base_counts_once(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "[train]\nepochs = 1\nclip = 1\n", "base.toml")
    write(tmp_path, 'extends = "base.toml"\n[train]\nepochs = 2\n', "left.toml")
    write(tmp_path, 'extends = "base.toml"\n[train]\nclip = 3\n', "right.toml")
    preset = load(tmp_path, 'extends = ["left.toml", "right.toml"]\n').preset
    assert (preset.train.epochs, preset.train.clip) == (2.0, 3.0), "base does not undo what left says"
    preset = load_preset(["right.toml", "left.toml"], base=tmp_path).preset
    assert (preset.train.epochs, preset.train.clip) == (2.0, 3.0)


def test_extends_is_relative_to_the_file_that_says_it(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "shared/base.toml")
    write(tmp_path, 'extends = "../shared/base.toml"\nseed = 5\n', "mine/run.toml")
    assert load_preset(["mine/run.toml"], base=tmp_path).preset.seed == 5


def test_a_chain_of_presets_has_a_limit(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "0.toml")
    for number in range(1, LONGEST_CHAIN + 2):
        write(tmp_path, f'extends = "{number - 1}.toml"', f"{number}.toml")
    assert load_preset([f"{LONGEST_CHAIN - 1}.toml"], base=tmp_path).preset.task.name
    (problem,) = refused(tmp_path, [f"{LONGEST_CHAIN + 1}.toml"])
    assert mistake(problem) == "2.toml:1 extends-chain-too-long extends"


def test_a_circle_is_an_error_that_shows_it(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "b.toml"', "a.toml")
    write(tmp_path, '\nextends = ["c.toml"]', "b.toml")
    write(tmp_path, 'extends = "./a.toml"', "c.toml")
    (problem,) = refused(tmp_path, ["a.toml"])
    assert mistake(problem) == "c.toml:1 extends-circle extends"
    assert "a.toml extends b.toml extends c.toml extends a.toml" in problem.sentence


def test_naming_another_task_or_teacher_drops_what_was_said_of_the_one_before(tmp_path: Path) -> None:
    text = (
        '[task]\nname = "custom"\nkind = "regression"\nfiles = { train = "a.csv", dev = "b.csv" }\nmax_length = 9\n'
        '[teacher]\nmodel = "org/one"\nrevision = "abc"\nlabels = ["a", "b"]\nfinetune = { epochs = 9 }\n'
        '[student]\ninit = "scratch"\nhidden_size = 64\nheads = 2\n'
        '[[stage]]\nname = "kd"\nobjectives = { logits = 1 }\n'
    )
    preset = load(tmp_path, text, "task.name=rte", "teacher.model=org/two", "student.init=teacher").preset
    assert (preset.task.files, preset.task.kind, preset.task.max_length) == (None, None, 9)
    assert (preset.teacher.revision, preset.teacher.labels) == (None, None)
    assert preset.teacher.finetune is not None
    assert preset.teacher.finetune.epochs == 9.0
    assert (preset.student.hidden_size, preset.student.heads) == (None, None)
    same = load(tmp_path, text, "teacher.model=org/one").preset
    assert same.teacher.revision == "abc", "the same model again changes nothing"


@pytest.mark.parametrize("variant", ["glitter", "augmented"])
def test_a_rule_for_words_drops_what_the_model_for_words_had(variant: str) -> None:
    copies = "stage.kd.data.augment"
    refs = ["crild", "mrpc", variant]

    def augment(*overrides: str) -> Augment:
        found = load_preset(refs, overrides).preset.stage[-1].augment
        assert found is not None
        return found

    before = augment()
    assert (before.words, before.share, before.top) == ("mlm", 0.4, 15)
    for words in ("delete", "swap", "punctuation"):
        own = augment(f"{copies}.words={words}")
        assert (own.words, own.model, own.share, own.top) == (words, None, None, None)
        assert (own.copies, own.seed) == (before.copies, before.seed)
    both = [f"{copies}.share=0.3", f"{copies}.words=delete"]
    assert augment(*both).share == augment(*reversed(both)).share == 0.3, "what is set with it stays"
    assert augment(f"{copies}.words=delete", f"{copies}.model=false", f"{copies}.top=false") == augment(
        f"{copies}.words=delete"
    )
    assert augment(f"{copies}.words=mlm") == before, "the same word again changes nothing"


def test_a_glue_folder_outlives_another_glue_task_but_not_a_toy_one(tmp_path: Path) -> None:
    text = MINIMAL.replace('"toy-entailment"', '"rte"\nsource = "./glue"')
    assert load(tmp_path, text, "task.name=mrpc").preset.task.source == str(tmp_path / "glue")
    assert load(tmp_path, text, "task.name=toy-sentiment").preset.task.source == "hub"


def test_setting_one_key_of_a_whole_changes_that_key_alone(tmp_path: Path) -> None:
    stage = load(
        tmp_path,
        MINIMAL,
        "stage.ild.objectives.hidden=0.5",
        "stage.ild.objectives.attention.mse=true",
        "stage.ild.consistency.ramp=constant",
        "stage.ild.mixup={ unpaired = 'whole' }",
    ).preset.stage[0]
    assert stage.objectives == {"attention": Objective(weight=1.0, mse=True), "hidden": 0.5}
    assert stage.consistency
    assert (stage.consistency.ramp, stage.consistency.weight) == ("constant", 0.2)
    assert stage.mixup
    assert stage.mixup.alpha == 1.0, "a table given as a value replaces the whole"


def test_setting_a_key_of_an_absent_table_opens_it(tmp_path: Path) -> None:
    preset = load(
        tmp_path,
        MINIMAL,
        "stage.kd.mixup.alpha=0.3",
        "teacher.architecture.layers=2",
        "baseline.enabled=true",
        "stage.kd.data.corpus=org/words",
    ).preset
    assert preset.stage[1].mixup
    assert preset.stage[1].mixup.alpha == 0.3
    assert preset.teacher.architecture is not None
    assert preset.teacher.architecture.layers == 2
    assert preset.baseline.enabled


def test_a_task_preset_adds_its_description(tmp_path: Path) -> None:
    write(tmp_path, 'description = "a task"\n[task]\nname = "rte"\n', "task.toml")
    write(tmp_path, 'description = "a method"\n' + MINIMAL, "method.toml")
    assert load_preset(["method.toml", "task.toml"], base=tmp_path).preset.description == "a method; a task"
    write(tmp_path, 'description = "mine"\nextends = ["method.toml", "task.toml"]', "mine.toml")
    assert load_preset(["mine.toml"], base=tmp_path).preset.description == "mine"


def test_a_task_preset_must_come_last_where_it_would_be_overridden(tmp_path: Path) -> None:
    write(tmp_path, '[task]\nname = "mrpc"\n', "task.toml")
    write(tmp_path, MINIMAL, "method.toml")
    (problem,) = refused(tmp_path, ["task.toml", "method.toml"])
    assert mistake(problem) == "method.toml:3 task-not-last task.name"
    assert all(fact in problem.sentence for fact in ('"method.toml"', '"toy-entailment"', '"task.toml" last'))


@pytest.mark.parametrize("key", ["extends", "stages"])
def test_extends_and_stages_are_no_keys_of_the_result(tmp_path: Path, key: str) -> None:
    write(tmp_path, MINIMAL, "base.toml")
    assert key not in load(tmp_path, 'extends = "base.toml"\nstages = ["kd"]\n').document


# -- two methods


@pytest.mark.parametrize(
    ("refs", "lost", "winner"),
    [
        (("crild", "kd", "rte"), "crild", "kd"),
        (("kd", "crild", "rte"), "crild", "kd"),
        (("tinybert", "finetune", "rte", "few-sample"), "tinybert", "finetune"),
        (("crild-no-mixup", "kd", "rte"), "crild-no-mixup", "kd"),
    ],
)
def test_a_method_of_which_nothing_would_be_left_is_named(refs: tuple[str, ...], lost: str, winner: str) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(refs)
    (problem,) = caught.value.problems
    assert (problem.kind, problem.key, caught.value.exit_code) == ("two-methods", "stage", 2)
    for dropped in (lost, winner):
        assert f"`crild run {' '.join(ref for ref in refs if ref != dropped)}`" in problem.sentence


@pytest.mark.parametrize(
    "text",
    [
        '[[stage]]\nname = "ild"\nepochs = 2\n',
        '[[stage]]\nname = "ild"\nobjectives = { cls = 1 }\n[[stage]]\nname = "kd"\nobjectives = { labels = 1 }\n',
        'stages = ["mine"]\n[[stage]]\nname = "mine"\nobjectives = { logits = 1 }\n',
        'extends = "crild"\nstages = ["mine"]\n[[stage]]\nname = "mine"\nobjectives = { logits = 1 }\n',
        'extends = "kd"\n[[stage]]\nname = "kd"\nobjectives = { labels = 1 }\n',
        MINIMAL,
    ],
)
def test_an_own_file_may_rewrite_or_drop_the_stages_of_a_method(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert load_preset(["crild", "mine.toml"], base=tmp_path).preset.stage


def test_a_shipped_method_after_an_own_one_replaces_it_and_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(PresetError) as caught:
        load_preset(["mine.toml", "kd", "rte"], base=tmp_path)
    assert caught.value.kind == "two-methods"


@pytest.mark.parametrize(
    "refs", [("local-teacher", "kd"), ("crild", "crild-qkv", "rte"), ("crild", "supplementary", "rte")]
)
def test_presets_that_keep_a_stage_of_each_other_merge(refs: tuple[str, ...]) -> None:
    assert load_preset(refs).preset.stage
