"""The presets that come with crild: each loads, alone or with every other that it can be merged with."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import PresetError
from engine.preflight.check import check
from engine.preset import shipped
from engine.preset.load import load_preset
from engine.preset.names import GLUE_TASKS
from tests.preset.support import model_folder

ALL = {preset.name: preset for preset in shipped.shipped()}
RUNS = [name for name, preset in ALL.items() if preset.kind == "run"]
METHODS = [name for name, preset in ALL.items() if preset.kind == "method"]
TASKS = [name for name, preset in ALL.items() if preset.kind == "task"]
SETTINGS = [name for name, preset in ALL.items() if preset.kind == "variant"]
OBJECTIVES = ("", "-attention", "-hidden", "-relations")


def test_what_is_shipped() -> None:
    assert {"answers", "local-teacher", "quickstart"} == set(RUNS)
    assert {
        "finetune",
        "kd",
        "mixkd",
        "pkd",
        "pkd-last",
        "tinybert",
        "minilm",
        "minilmv2",
        "bert-emd",
        "rail-kd",
        "annealing-kd",
        "cka",
        "alp-kd",
    } <= set(METHODS)
    assert {"crild", "crild-qkv", "crild-student", "crild-reference"} <= set(METHODS)
    assert {f"ild-{depth}{what}" for depth in ("last", "uniform") for what in OBJECTIVES} <= set(METHODS)
    assert set(TASKS) == set(GLUE_TASKS)
    assert set(SETTINGS) == {
        "augmented",
        "few-sample",
        "glitter",
        "noise-10",
        "noise-20",
        "noise-30",
        "supplementary",
        "supplementary-task",
    }
    assert list(ALL) == RUNS + METHODS + TASKS + SETTINGS


@pytest.mark.parametrize("name", ALL)
def test_each_is_described_and_commented_in_short_lines(name: str) -> None:
    text = ALL[name].path.read_text(encoding="utf-8")
    assert text.startswith(f"# {name}: ")
    assert text.count("#") >= 4
    assert all(len(line) <= 100 for line in text.splitlines())
    assert 10 < len(ALL[name].description) < 100


@pytest.mark.parametrize("name", RUNS + METHODS)
def test_each_run_and_method_is_complete_alone(name: str, tmp_path: Path) -> None:
    overrides = []
    if name == "local-teacher":
        overrides = [f"teacher.model={model_folder(tmp_path / 'model')}"]
    elif name == "answers":
        (tmp_path / "answers.csv").write_text("label\nentailment\n")
        overrides = [f"teacher.answers={tmp_path / 'answers.csv'}"]
    check(load_preset([name], overrides))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_every_method_merges_with_every_task(method: str, task: str) -> None:
    loaded = load_preset([method, task])
    check(loaded)
    alone = load_preset([method]).preset
    assert loaded.preset.task.name == task
    assert [stage.name for stage in loaded.preset.stage] == [stage.name for stage in alone.stage]
    assert loaded.node("train.epochs").file.endswith(f"{task}.toml"), "the task says for how long"
    assert any(stage.epochs is None for stage in loaded.preset.stage), "and a stage listens"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits_a_teacher_of_six_layers(method: str, tmp_path: Path) -> None:
    teacher = model_folder(tmp_path / "minilm", num_hidden_layers=6, hidden_size=384)
    loaded = load_preset([method, "mrpc"], [f"teacher.model={teacher}"])
    check(loaded)
    assert loaded.preset.student.layers is None, "half of the teacher's"


@pytest.mark.parametrize("method", METHODS)
def test_a_method_names_its_source_and_its_choice(method: str) -> None:
    head = ALL[method].path.read_text(encoding="utf-8").split("schema = 1")[0]
    assert f"#     crild run {method} mrpc" in head
    if method not in ("crild", "kd"):
        assert "# Choice" in head or "ablation" in head
    assert "20" in head or "ablation" in head or method == "crild", "the year of its source"


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_nothing_but_data(setting: str) -> None:
    before, after = load_preset(["crild", "mrpc"]).document, load_preset(["crild", "mrpc", setting]).document
    assert after["description"] == f"{before['description']}; {ALL[setting].description}"
    for document in (before, after):
        del document["description"]
    assert after != before
    for document in (before, after):
        for key in ("examples", "label_noise"):
            document["task"].pop(key, None)
        for stage in document["stage"]:
            stage.pop("data", None)
            stage.pop("select", None)
    assert after == before


def test_settings_go_together_in_any_order() -> None:
    one = load_preset(["crild", "mrpc", "few-sample", "noise-30"]).preset
    other = load_preset(["crild", "noise-30", "few-sample", "mrpc"]).preset
    assert one.task == other.task
    assert (one.task.name, one.task.examples, one.task.label_noise) == ("mrpc", 1000, 0.3)


def test_a_setting_for_a_stage_that_is_not_there() -> None:
    with pytest.raises(PresetError) as caught:
        load_preset(["kd", "mrpc", "supplementary"])
    (problem,) = caught.value.problems
    assert (problem.kind, problem.key) == ("unknown-stage", "stage.ild")
    assert '"ild"' in problem.sentence
    assert '"kd"' in problem.sentence
    assert (problem.file or "").endswith("supplementary.toml")
    with pytest.raises(PresetError) as caught:
        load_preset(["mrpc", "supplementary"])
    assert caught.value.kind == "unknown-stage"


def test_a_glue_folder_of_the_users_outlives_the_task_preset(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('extends = "crild"\n[task]\nsource = "glue"\n')
    for task in TASKS:
        assert load_preset(["mine.toml", task], base=tmp_path).preset.task.source == str(tmp_path / "glue")


@pytest.mark.parametrize("task", TASKS)
def test_a_task_alone_says_what_it_needs(task: str) -> None:
    with pytest.raises(PresetError, match=f"`crild run crild {task}`") as caught:
        load_preset([task])
    assert caught.value.kind == "task-without-method"


def test_the_base_is_the_method_of_the_design() -> None:
    preset = load_preset(["crild"]).preset
    ild, kd = preset.stage
    assert (preset.task.name, preset.teacher.model, preset.student.layers) == ("rte", "bert-base-uncased", None)
    assert preset.teacher.finetune is not None
    assert ild.objectives == {"attention": 1.0, "hidden": 1.0}
    assert ild.mixup
    assert ild.consistency
    assert (ild.layer_map, ild.mixup.alpha, ild.consistency.weight, ild.consistency.target) == ("last", 1.0, 0.1, "ema")
    assert (kd.objectives, kd.temperature, kd.keep_best, kd.mixup) == ({"logits": 1.0}, 2.0, True, False)


def test_the_quickstart_needs_no_network_and_shows_the_baseline() -> None:
    preset = load_preset(["quickstart"]).preset
    assert (preset.task.name, preset.teacher.model, preset.baseline.enabled) == ("toy-switch", "scratch", True)
    assert [stage.name for stage in preset.stage] == ["ild", "kd"]


def test_the_local_teacher_says_which_folder_is_missing() -> None:
    with pytest.raises(Exception, match="there is no such model folder") as caught:
        check(load_preset(["local-teacher"]))
    assert "local-teacher.toml" in str(caught.value)


def test_find() -> None:
    found = shipped.find("rte")
    assert found is not None
    assert (found.name, found.kind) == ("rte", "task")
    assert shipped.find("nope") is None
    assert shipped.find("../presets/rte") is None
