"""What the Launch mode computes, without a screen."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from crild_tui.launch_form.catalog import Entry, catalog, fingerprint, own_entries, ref_of
from crild_tui.launch_form.checks import examine, marked_lines, source_line
from crild_tui.launch_form.copy_preset import new_preset, target_of
from crild_tui.launch_form.draft import Draft, changed, choose, command_line, overrides, request_of
from crild_tui.launch_form.editor import editor
from crild_tui.launch_form.fields import (
    Field,
    base_text,
    field_at,
    fields_of,
    hint,
    is_unused,
    same,
    set_item,
    toml_text,
)
from crild_tui.launch_form.help_text import about, invalid_fields, toml
from crild_tui.launch_form.save_preset import save
from engine.errors import CrildError, UsageError
from engine.preset.load import load_preset
from engine.preset.schema import Preset, UnlabelledFiles
from engine.preset.schema_source import help_texts
from engine.preset.shipped import find, folder, names, path_of
from tests.cli.samples import PRESET
from tests.tui.run_entries import KEYS


def preset(*refs: str) -> Preset:
    return load_preset(refs or ("crild", "rte")).preset


def field(key: str, *refs: str) -> Field:
    return next(each for each in fields_of(preset(*refs)) if each.key == key)


# -- fields


@pytest.mark.parametrize("name", names())
def test_every_shipped_preset_has_a_form_that_changes_nothing(name: str) -> None:
    base = load_preset([name] if _alone(name) else ["crild", name]).preset
    fields = fields_of(base)
    draft = Draft("crild", edits={each.key: base_text(each, base) for each in fields})
    assert overrides(draft, base) == []
    assert changed(draft, base) == set()
    assert len({each.key for each in fields}) == len(fields)


def _alone(name: str) -> bool:
    found = find(name)
    return found is not None and found.kind in ("run", "method")


def test_help_choices_and_limits_are_those_of_the_schema() -> None:
    assert field("student.keep").help == help_texts()["Student.keep"]
    assert field("stage.ild.consistency.decay").expected == "a number from 0 to below 1"
    assert field("train.precision").words == ("auto", "fp32", "bf16")
    assert field("train.precision").closed
    assert field("student.init").words == ("teacher", "pretrained", "scratch")
    assert not field("student.init").closed
    assert "mnli" in field("task.name").words
    assert field("stage.ild.mixup.alpha").words == ("off",)
    assert all(each.help for each in fields_of(preset()))


def test_a_default_for_stages_is_unused_where_each_stage_has_its_own(tmp_path: Path) -> None:
    quick = preset("quickstart")
    assert {each.key for each in fields_of(quick) if is_unused(each, quick)} == {"train.epochs"}
    epochs = field("train.epochs", "quickstart")
    draft = Draft("quickstart", edits={"train.epochs": "9"})
    said = "no stage uses this: each has its own value"
    assert said in about(epochs, draft, examine(draft, tmp_path), KEYS).plain.casefold()
    open_again = draft.edited(f"stage.{quick.stage[0].name}.epochs", "")
    found = examine(open_again, tmp_path)
    assert not any(view.unused for view in found.views(open_again))
    assert said not in about(epochs, open_again, found, KEYS).plain.casefold()


def test_steps_leave_no_use_for_epochs_and_the_baseline_uses_accumulate() -> None:
    base = load_preset(["quickstart"], [f"stage.{stage.name}.steps=3" for stage in preset("quickstart").stage]).preset
    assert is_unused(field("train.epochs", "quickstart"), base)
    accumulate = dataclasses.replace(field("train.epochs", "quickstart"), key="train.accumulate")
    stages = [stage.model_copy(update={"accumulate": 1}) for stage in base.stage]
    for enabled in (False, True):
        baseline = base.baseline.model_copy(update={"enabled": enabled})
        assert is_unused(accumulate, base.model_copy(update={"stage": stages, "baseline": baseline})) is not enabled


def test_what_is_left_open_says_what_counts_instead() -> None:
    base = load_preset(["crild", "rte"], ["stage.kd.steps=50"]).preset
    assert hint(field("stage.ild.epochs"), base) == "20, from train"
    assert hint(field("stage.kd.epochs"), base) == "50 steps instead"
    assert hint(field("task.examples"), base) == "all"


@pytest.mark.parametrize(
    ("key", "one", "other", "equal"),
    [
        ("train.epochs", "20", "20.0", True),
        ("train.epochs", "2e1", "20", True),
        ("train.epochs", "true", "1", False),
        ("stage.ild.objectives", "{a=1}", "{ a = 1.0 }", True),
        ("stage.ild.objectives", "{a=1}", "{ a = true }", False),
        ("stage.ild.layer_map", "[[12,6]]", "[[12, 6]]", True),
        ("stage.ild.layer_map", "[[12,6]]", "[[12, 6], [1, 1]]", False),
        ("stage.ild.mixup.alpha", "False", "off", True),
        ("teacher.model", "1", "1.0", False),
        ("train.epochs", "20 ", " 20", True),
    ],
)
def test_equal_values_are_no_change(key: str, one: str, other: str, equal: bool) -> None:
    assert same(field(key), one, other) is equal


@given(st.text(max_size=60), st.sampled_from(fields_of(preset())))
@settings(max_examples=150, deadline=None)
def test_whatever_is_typed_is_a_fault_at_a_field_or_an_override_that_loads(text: str, each: Field) -> None:
    draft = Draft("crild", "rte", edits={each.key: text})
    found = examine(draft, Path.cwd())
    assert found.base is not None
    assert found.now is not None or found.faults
    assert all(fault.key is not None for fault in found.faults), found.faults
    shlex.split(command_line(draft, found.base.preset))


def test_numbers_and_tables_are_written_as_people_write_them() -> None:
    assert toml_text(20.0) == "20"
    assert toml_text(2e-5) == "2e-05"
    assert toml_text(True) == "true"
    assert toml_text({"a": 1.0, "b": {"weight": 0.5}}) == "{ a = 1, b = { weight = 0.5 } }"
    assert toml_text([[12, 6]]) == "[[12, 6]]"
    assert toml_text(None) == ""
    text = toml_text({"q": 'a "quoted" \\ text'})
    assert tomli.loads(f"x = {text}")["x"] == {"q": 'a "quoted" \\ text'}


def test_a_problem_finds_its_field() -> None:
    fields = {each.key: each for each in fields_of(preset())}

    def at(key: str) -> str | None:
        found = field_at(fields, key)
        return found.key if found else None

    assert at("stage.ild.objectives.hiden") == "stage.ild.objectives"
    assert at("stage.ild.consistency") == "stage.ild.consistency.weight"
    assert at("teacher.finetune") == "teacher.finetune.epochs"
    assert at("stage.ild.clip") is None
    assert at("stage") is None
    assert at("task") is None


# -- the draft


def entry(ref: str, kind: str) -> Entry:
    return Entry(ref, kind, "", Path(ref), own=not ref.isalpha())  # type: ignore[arg-type]


def test_picking_makes_runs_that_can_be() -> None:
    draft = choose(Draft("quickstart"), entry("rte", "task"))
    assert draft.refs == ("crild", "rte")
    draft = choose(draft, entry("kd", "method"))
    assert draft.refs == ("kd", "rte")
    draft = choose(draft, entry("fast.toml", "part"))
    assert draft.refs == ("kd", "rte", "fast.toml")
    draft = choose(draft, entry("mrpc", "task"))
    assert draft.refs == ("kd", "mrpc", "fast.toml")
    assert choose(draft, entry("fast.toml", "part")).refs == ("kd", "mrpc")
    assert choose(draft, entry("mrpc", "task")).refs == ("kd", "fast.toml")
    assert choose(draft, entry("quickstart", "run")).refs == ("quickstart",)
    assert choose(Draft("mine.toml"), entry("rte", "task")).refs == ("mine.toml", "rte")


def test_the_command_line_is_what_the_shell_takes() -> None:
    draft = Draft("crild", "rte", edits={"seeds": "1,2", "name": "a", "stage.ild.objectives": "{ hidden = 2 }"})
    words = shlex.split(command_line(draft, preset(), Path("/some where")))
    assert words == [
        "crild", "run", "crild", "rte", "--set", "stage.ild.objectives={ hidden = 2 }", "--seeds", "1,2", "--name", "a",
        "--runs-dir", "/some where",
    ]  # fmt: skip
    request = request_of(draft, preset(), Path("/runs"))
    assert (request.presets, request.seeds, request.name) == (("crild", "rte"), (1, 2), "a")
    assert request.settings == ("stage.ild.objectives={ hidden = 2 }",)


def test_what_lies_in_a_table_that_is_off_is_not_set() -> None:
    edits = {"stage.ild.consistency.weight": "off", "stage.ild.consistency.decay": "0.5"}
    assert overrides(Draft("crild", "rte", edits=edits), preset()) == [
        ("stage.ild.consistency.weight", "stage.ild.consistency=false")
    ]
    edits["stage.ild.consistency.weight"] = "0.3"
    now = load_preset(["crild", "rte"], [item for _, item in overrides(Draft("crild", "rte", edits=edits), preset())])
    stage = now.preset.stage[0].consistency
    assert stage
    assert (stage.weight, stage.decay) == (0.3, 0.5)


def test_an_optional_key_is_taken_back_by_an_empty_field() -> None:
    assert overrides(Draft(edits={"stage.kd.epochs": " "}), preset()) == [("stage.kd.epochs", "stage.kd.epochs=false")]
    assert overrides(Draft(edits={"task.name": ""}), preset()) == []


# -- the list


def test_kinds_of_the_users_files(tmp_path: Path) -> None:
    files = {
        "run.toml": PRESET,
        "method.toml": 'extends = "crild"\n[train]\nepochs = 3\n',
        "merged.toml": 'extends = ["crild", "rte"]\n',
        "own.toml": 'extends = "crild"\n[task]\nname = "rte"\n',
        "task.toml": '[task]\nname = "rte"\n',
        "other.toml": 'extends = "rte"\n[train]\nepochs = 3\n',
        "part.toml": "[student]\nlayers = 3\n",
        "chain.toml": 'extends = "./merged.toml"\n',
        "circle.toml": 'extends = "./circle.toml"\n',
        "ruff.toml": "line-length = 120\n",
        ".hidden.toml": PRESET,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    kinds = {each.ref: each.kind for each in own_entries(tmp_path)}
    assert {name: kinds.get(name) for name in files} == {
        "run.toml": "run", "method.toml": "method", "merged.toml": "run", "own.toml": "run", "task.toml": "task",
        "other.toml": "task", "part.toml": "part", "chain.toml": "run", "circle.toml": "part", "ruff.toml": None,
        ".hidden.toml": None,
    }  # fmt: skip


def test_the_presets_of_the_source_tree_are_not_listed_twice() -> None:
    tree = Path(__file__).resolve().parents[2]
    assert [each.ref for each in catalog(tree) if each.own] == []


def test_a_copy_of_a_shipped_preset_is_listed_once_and_one_that_differs_with_its_place(tmp_path: Path) -> None:
    presets = tmp_path / "presets"
    presets.mkdir()
    for name in ("kd", "rte"):
        presets.joinpath(f"{name}.toml").write_bytes((folder() / f"{name}.toml").read_bytes())
    assert [each.ref for each in catalog(tmp_path) if each.own] == []
    kd = next(each for each in catalog(tmp_path) if each.ref == "kd")
    assert kd.origin == "comes with crild; presets/kd.toml is a copy of it"
    with presets.joinpath("kd.toml").open("a") as file:
        file.write("# mine\n")
    assert [each.origin for each in catalog(tmp_path) if each.own] == ["your file presets/kd.toml"]
    assert next(each for each in catalog(tmp_path) if each.ref == "kd").origin == "comes with crild"


def test_a_change_of_a_file_changes_the_fingerprint(tmp_path: Path) -> None:
    before = fingerprint(tmp_path)
    (tmp_path / "x.toml").write_text("a = 1\n")
    after = fingerprint(tmp_path)
    (tmp_path / "x.toml").write_text("a = 11\n")
    assert len({before, after, fingerprint(tmp_path)}) == 3


def test_files_are_named_so_that_the_command_line_reaches_them(tmp_path: Path) -> None:
    assert ref_of(tmp_path / "-x.toml", tmp_path) == "./-x.toml"
    assert ref_of(tmp_path / "~x.toml", tmp_path) == "./~x.toml"
    assert ref_of(tmp_path / "presets" / "x.toml", tmp_path) == "presets/x.toml"


# -- what is said


def test_lines_that_differ_are_marked() -> None:
    assert marked_lines("a\nb\nc", "a\nB\nc\nd") == [(False, "a"), (True, "B"), (False, "c"), (True, "d")]
    assert toml([(True, "x = [1]"), (False, "y")]).plain == "▌ x = [1]\n  y\n"


def test_a_line_of_a_file_is_shown_safely(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one\n\x1b[2J \xff [b]\n" + b"y" * 1000)
    assert source_line(tmp_path / "x", 2) == "    2 | \\x1b[2J \\xff [b]"
    assert len(source_line(tmp_path / "x", 3) or "") < 220
    assert source_line(tmp_path / "x", 9) is None
    assert source_line(tmp_path / "nowhere", 1) is None


def test_faults_come_before_the_help(tmp_path: Path) -> None:
    draft = Draft("crild", "rte", edits={"student.layers": "0", "seeds": "x"})
    found = examine(draft, tmp_path)
    assert invalid_fields(found) == "2 invalid fields: run: seeds; student: layers"
    text = about(field("student.layers"), draft, found, KEYS).plain
    assert text.index("2 invalid fields") < text.index("Transformer layers") < text.index("press u")
    assert "starting" in about(None, draft, found, KEYS, starting=True).plain
    assert "choose" in about(None, Draft(), examine(Draft(), tmp_path), KEYS).plain


def test_an_embedded_task_has_no_source(tmp_path: Path) -> None:
    def source(draft: Draft) -> tuple[str, str]:
        found = examine(draft, tmp_path)
        return next((view.text, view.hint) for view in found.views(draft) if view.field.key == "task.source")

    assert source(Draft("quickstart")) == ("", "not applicable: embedded in crild")
    assert source(Draft("crild", "rte"))[0] == "hub"
    assert source(Draft("crild", "rte", edits={"task.name": "toy-sentiment"})) == source(Draft("quickstart"))
    assert source(Draft("quickstart", edits={"task.name": "rte"})) == ("", "hub")
    assert not [line for _, line in examine(Draft("quickstart"), tmp_path).lines if line.startswith("source")]


def test_a_name_that_is_taken_is_a_fault_of_its_field(tmp_path: Path) -> None:
    (tmp_path / "mine-s2").mkdir()

    def told(**edits: str) -> list[tuple[str | None, str]]:
        draft = Draft("quickstart", edits=edits)
        return [(fault.key, fault.sentence) for fault in examine(draft, tmp_path, tmp_path).faults]

    ((key, sentence),) = told(name="mine", seeds="1-3")
    assert key == "name"
    assert "'mine-s2' already exists" in sentence
    assert told(name="mine", seeds="1") == told(name="other", seeds="2") == []


# -- saving


def test_a_method_and_a_task_are_saved_as_what_extends_them(tmp_path: Path) -> None:
    edits = {"stage.ild.consistency.weight": "0.5", "stage.kd.epochs": "2", "stage.ild.mixup.alpha": "off"}
    path = save(Draft("crild", "rte", edits=edits), tmp_path, Path("mine.toml"))
    document = tomli.loads(path.read_text())
    assert document["extends"] == ["crild", "rte"]
    assert [stage["name"] for stage in document["stage"]] == ["ild", "kd"]
    changes = ["stage.ild.consistency.weight=0.5", "stage.kd.epochs=2", "stage.ild.mixup=false"]
    assert load_preset([str(path)]).preset == load_preset(["crild", "rte"], changes).preset
    assert [each.kind for each in own_entries(tmp_path)] == ["run"]


def test_comments_stay_and_a_new_stage_key_is_added(tmp_path: Path) -> None:
    edits = {"student.layers": "1", "stage.kd.batch_size": "8", "teacher.model": "scratch", "task.label_noise": "0.1"}
    text = save(Draft("quickstart", edits=edits), tmp_path, Path("mine.toml")).read_text()
    assert 'init = "scratch"               # or "teacher": its first two layers' in text
    assert "# crild run quickstart" in text.replace("     ", " ")
    document = tomli.loads(text)
    assert document["stage"][1]["batch_size"] == 8
    assert document["task"]["label_noise"] == 0.1


def test_a_copy_whose_paths_would_mean_others_extends_instead(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    text = PRESET.replace('name = "toy-entailment"', 'name = "rte"\nsource = "glue"')
    (tmp_path / "presets" / "base.toml").write_text(text)
    path = save(Draft("presets/base.toml", edits={"student.layers": "1"}), tmp_path, Path("mine.toml"))
    assert tomli.loads(path.read_text())["extends"] == "./presets/base.toml"
    assert load_preset([str(path)]).preset.task.source == str(tmp_path / "presets" / "glue")
    beside = save(Draft("presets/base.toml", edits={"student.layers": "1"}), tmp_path, Path("presets/mine.toml"))
    assert "extends" not in tomli.loads(beside.read_text())


def test_an_existing_file_and_a_missing_folder_are_refused_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        save(Draft("quickstart"), tmp_path, Path("mine.toml"))
    with pytest.raises(UsageError, match="cannot be written"):
        save(Draft("quickstart"), tmp_path, Path("nowhere/mine.toml"))
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"mine.toml"}
    assert (tmp_path / "mine.toml").read_text() == "old"
    save(Draft("quickstart"), tmp_path, Path("mine.toml"), overwrite=True)
    assert load_preset([str(tmp_path / "mine.toml")]).preset == preset("quickstart")


def test_steps_give_way_to_epochs_when_saved(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(PRESET.replace("epochs = 4.0", "steps = 5  # few"))
    path = save(Draft("base.toml", edits={"stage.kd.epochs": "2"}), tmp_path, Path("mine.toml"))
    stages = tomli.loads(path.read_text())["stage"]
    assert (stages[0].get("steps"), stages[1].get("steps"), stages[1]["epochs"]) == (5, None, 2)


@pytest.mark.parametrize("name", ["crild", "rte.toml", "", "  ", "x/", "."])
def test_names_that_cannot_be_saved_under(name: str) -> None:
    with pytest.raises(UsageError):
        target_of(name)


@pytest.mark.parametrize("name", ["mine", "mine.toml"])
def test_a_copy_keeps_the_comments_and_loads(name: str, tmp_path: Path) -> None:
    path, shipped = new_preset(str(tmp_path / name), "kd"), path_of("kd")
    assert path == tmp_path / "mine.toml"
    assert shipped is not None
    assert path.read_text(encoding="utf-8").split("\n", 1)[1] == shipped.read_text(encoding="utf-8")
    assert load_preset(["mine.toml"], base=tmp_path).preset == preset("kd")


@pytest.mark.parametrize(
    ("name", "origin", "kind", "fact"),
    [
        ("mine.toml", "kd", "file-exists", "mine.toml"),
        ("other", "crlid", "no-such-preset", '"crild"'),
        ("no/mine", "crild", "no-such-folder", "/no"),
        ("x" * 500, "crild", "unwritable-file", "xxx"),
        ("a\0b", "crild", "unwritable-file", "a\\x00b"),
    ],
)
def test_copies_that_are_refused(name: str, origin: str, kind: str, fact: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    with pytest.raises(CrildError) as caught:
        new_preset(str(tmp_path / name), origin)
    problem = getattr(caught.value, "problems", (caught.value,))[0]
    assert problem.kind == kind
    assert fact in str(caught.value)
    assert [path.name for path in tmp_path.glob("*.toml")] == ["mine.toml"]
    assert (tmp_path / "mine.toml").read_text() == "precious"


def test_the_editor_is_visual_then_editor() -> None:
    assert editor({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert editor({"VISUAL": " ", "EDITOR": "vi"}) == ["vi"]
    with pytest.raises(UsageError, match="EDITOR"):
        editor({})


def test_settings_go_beside_method_and_task_and_come_off_again(tmp_path: Path) -> None:
    entries = {each.ref: each for each in catalog(tmp_path)}
    draft = Draft()
    for ref in ("minilm", "mrpc", "few-sample", "noise-30"):
        draft = choose(draft, entries[ref])
    assert draft.refs == ("minilm", "mrpc", "few-sample", "noise-30")
    assert command_line(draft, None) == "crild run minilm mrpc few-sample noise-30"
    draft = choose(draft, entries["few-sample"])
    draft = choose(draft, entries["pkd"])
    assert draft.refs == ("pkd", "mrpc", "noise-30")
    assert "goes with a method and a task" in about(entries["noise-30"], draft, examine(draft, tmp_path), KEYS).plain


def test_a_file_that_changes_data_alone_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "few.toml").write_text("[task]\nexamples = 100\n")
    (tmp_path / "texts.toml").write_text('[[stage]]\nname = "ild"\ndata = { corpus = "some/set" }\n')
    (tmp_path / "task.toml").write_text('[task]\nname = "rte"\n')
    (tmp_path / "part.toml").write_text("[train]\nepochs = 2\n")
    (tmp_path / "longer.toml").write_text('[[stage]]\nname = "ild"\nepochs = 2\n')
    kinds = {each.ref: each.kind for each in own_entries(tmp_path)}
    assert kinds == {
        "few.toml": "variant",
        "texts.toml": "variant",
        "task.toml": "task",
        "part.toml": "part",
        "longer.toml": "method",
    }


def test_the_data_of_a_stage_are_shown_and_kept() -> None:
    data = "{ files = ['/data/more.csv'], with_task = 0.2, augment = { words = 'swap', copies = 3 } }"
    base = load_preset(["crild", "mrpc"], [f"stage.ild.data={data}"]).preset
    fields = {each.key: each for each in fields_of(base)}
    assert "stage.kd.data" not in fields, "the task's rows need no field"
    own = fields["stage.ild.data"]
    text = base_text(own, base)
    assert text.startswith('{ files = ["/data/more.csv"], with_task = 0.2, augment = { words = "swap"')
    assert set_item(own, text, text) is None
    changed = set_item(own, text.replace("0.2", "true"), text)
    assert changed is not None
    kept = load_preset(["crild", "mrpc"], [changed]).preset.stage[0].data
    assert isinstance(kept, UnlabelledFiles)
    assert (kept.with_task, kept.files) == (True, ["/data/more.csv"])
    assert kept.augment == base.stage[0].augment
