"""What a run reads is recorded by content when it starts; a run whose data or models changed is not resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.data.load import load_task
from engine.errors import CrildError
from engine.models.export import content_hash
from engine.models.load import load_teacher
from engine.preset.load import load_preset
from engine.preset.schema import Preset, Teacher
from engine.record.events import read_events
from engine.record.inputs import INPUTS, InputModel, RunInputs, read_inputs
from engine.record.student import student_hash, student_replaced
from engine.record.teacher_folder import teacher_folder
from engine.train import hub_revisions
from engine.train.engine_tools import evaluate
from tests.models.tiny_models import saved, tiny, words
from tests.train.tiny_run import make, materials, work

QUICK = (
    "teacher.finetune.epochs=0.5", "stage.ild.epochs=0.5", "stage.kd.epochs=1", "baseline.enabled=false",
    "student.init={folder}/small", "stage.ild.data={{corpus = '{folder}/corpus.txt'}}",
)  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped in its last stage, with its data, models and cache."""
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        text = materials(folder)
        saved(folder / "small", tiny("bert", layers=2, seed=5), words("bert"))
        (folder / "corpus.txt").write_text("w1 w2 w3\n" * 40)
        run_dir = make(folder, text, *(setting.format(folder=folder) for setting in QUICK))
        assert work(run_dir, stop_after=("kd", 2)) is None
    return folder


@pytest.fixture
def folder(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, each time as it was: its preset names these paths."""
    copy = stopped.with_name(f"{stopped.name}-copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(stopped, copy)
    monkeypatch.setenv("CRILD_CACHE_DIR", str(stopped / "cache"))
    yield stopped
    shutil.rmtree(stopped)
    copy.rename(stopped)


def run_of(folder: Path) -> Path:
    return folder / "runs" / "tiny-s7"


def recorded(folder: Path) -> RunInputs:
    found = read_inputs(run_of(folder))
    assert found is not None
    return found


def warnings(run_dir: Path) -> list[str]:
    return [str(event["text"]) for event in read_events(run_dir, {"message"}) if event["level"] == "warning"]


def test_data_and_models_are_recorded_when_training_starts(stopped: Path) -> None:
    found = recorded(stopped)
    facts = [(item.name, Path(item.source).name, item.text.partition(",")[0]) for item in found.all]
    assert facts[:3] == [
        ("train", "train.csv", "56 rows"), ("dev", "dev.csv", "24 rows"), ("stage.ild.data", "corpus.txt", "40 rows"),
    ]  # fmt: skip
    assert [(name, source) for name, source, _ in facts[3:]] == [
        ("teacher", "teacher"), ("teacher tokenizer", "teacher"), ("student.init", "small"), ("student.init tokenizer", "small"),
    ]  # fmt: skip
    # the teacher as it is in its folder, not as it was fine-tuned
    assert found.teacher is not None
    assert found.teacher.weights != (found.student or found.teacher).weights
    assert found.teacher.tokenizer == (found.student or found.teacher).tokenizer


def test_an_unchanged_run_resumes_without_a_word(folder: Path) -> None:
    before = (run_of(folder) / INPUTS).read_bytes()
    assert work(run_of(folder)) is not None
    assert (run_of(folder) / INPUTS).read_bytes() == before
    assert not [text for text in warnings(run_of(folder)) if "changed" in text]


def edit_rows(name: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        (folder / name).write_text("\n".join([*lines[:-1], lines[1]]) + "\n")

    return edit


def other_weights(name: str, layers: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        saved(folder / name, tiny("bert", layers=layers, seed=99, initializer_range=0.05), words("bert"))

    return edit


def other_tokenizer(folder: Path) -> None:
    file = folder / "small" / "tokenizer.json"
    document = json.loads(file.read_text())
    document["added_tokens"][0]["lstrip"] = not document["added_tokens"][0]["lstrip"]
    file.write_text(json.dumps(document))


CHANGES = {
    "dev": ("dev.csv", edit_rows("dev.csv")),
    "train": ("train.csv", edit_rows("train.csv")),
    "stage.ild.data": ("corpus.txt", lambda folder: (folder / "corpus.txt").write_text("w4 w5\n" * 40) and None),
    "teacher": ("teacher", other_weights("teacher", 4)),
    "student.init": ("small", other_weights("small", 2)),
    "student.init tokenizer": ("small", other_tokenizer),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_whose_inputs_changed_is_not_resumed(folder: Path, name: str) -> None:
    before = {item.name: item for item in recorded(folder).all}
    file, change = CHANGES[name]
    change(folder)
    record = (run_of(folder) / INPUTS).read_bytes()
    with pytest.raises(CrildError) as caught:
        work(run_of(folder))
    assert caught.value.kind == "inputs-changed"
    assert caught.value.file == str(folder / file)
    assert f"{name} (" in caught.value.sentence
    assert before[name].text in caught.value.sentence, "what it was"
    assert f"crild run {run_of(folder) / 'preset.toml'}" in caught.value.sentence, "the way out"
    assert (run_of(folder) / INPUTS).read_bytes() == record


def test_what_is_put_back_resumes(folder: Path) -> None:
    whole = (folder / "dev.csv").read_bytes()
    edit_rows("dev.csv")(folder)
    with pytest.raises(CrildError):
        work(run_of(folder))
    (folder / "dev.csv").write_bytes(whole)
    assert work(run_of(folder)) is not None


def test_a_run_of_an_earlier_version_resumes_with_one_warning(folder: Path) -> None:
    before = (run_of(folder) / INPUTS).read_bytes()
    (run_of(folder) / INPUTS).unlink()
    assert work(run_of(folder), stop_after=("kd", 3)) is None
    assert (run_of(folder) / INPUTS).read_bytes() == before, "they are recorded now"
    unrecorded = [text for text in warnings(run_of(folder)) if "earlier version" in text]
    assert len(unrecorded) == 1
    assert work(run_of(folder)) is not None
    assert [text for text in warnings(run_of(folder)) if "earlier version" in text] == unrecorded


def test_changed_data_of_such_a_run_are_refused_by_its_checkpoint_and_not_recorded(folder: Path) -> None:
    (run_of(folder) / INPUTS).unlink()
    edit_rows("train.csv")(folder)
    with pytest.raises(CrildError) as caught:
        work(run_of(folder))
    assert caught.value.kind == "inputs-changed"
    assert "stage" in caught.value.sentence
    assert not (run_of(folder) / INPUTS).exists()


def teacher_of(folder: Path) -> InputModel:
    """The teacher that the run recorded."""
    teacher = recorded(folder).teacher
    assert teacher is not None
    return teacher


def test_a_damaged_record_accuses_nobody(folder: Path) -> None:
    path = run_of(folder) / INPUTS
    path.write_text(path.read_text().replace(teacher_of(folder).weights, "0" * 64))
    assert work(run_of(folder)) is not None
    (warning,) = [text for text in warnings(run_of(folder)) if INPUTS in text]
    assert teacher_of(folder).weights != "0" * 64
    assert "damaged" in warning


def test_a_record_of_a_newer_version_is_left_alone(folder: Path) -> None:
    path = run_of(folder) / INPUTS
    newer = json.dumps({**json.loads(path.read_text()), "schema": 2})
    path.write_text(newer)
    with pytest.raises(CrildError) as caught:
        work(run_of(folder))
    assert caught.value.kind == "newer-record"
    assert path.read_text() == newer


def test_where_nothing_was_saved_the_present_inputs_count(folder: Path) -> None:
    shutil.rmtree(run_of(folder) / "checkpoints")
    before = recorded(folder)
    edit_rows("dev.csv")(folder)
    assert work(run_of(folder), stop_after=("teacher", 1)) is None
    assert recorded(folder).dev["dev"].content != before.dev["dev"].content


def test_a_finished_run_is_not_extended_on_other_data_or_from_another_teacher(folder: Path) -> None:
    results = work(run_of(folder))
    assert results is not None
    for change in (edit_rows("dev.csv"), other_weights("teacher", 4)):
        change(folder)
        with pytest.raises(CrildError) as caught:
            work(run_of(folder))
        assert caught.value.kind == "inputs-changed"
    shutil.rmtree(run_of(folder) / "checkpoints")  # as `crild prune` leaves it
    with pytest.raises(CrildError) as caught:
        work(run_of(folder))
    assert caught.value.kind == "inputs-changed"


def test_a_refused_run_keeps_its_preset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that moved must not leave its new commit in a preset whose run it does not fit."""

    def moved(preset: Preset) -> Preset:
        return preset.model_copy(update={"teacher": preset.teacher.model_copy(update={"revision": "a" * 40})})

    before = (run_of(folder) / "preset.toml").read_bytes()
    monkeypatch.setattr(hub_revisions, "pinned", moved)
    edit_rows("dev.csv")(folder)
    with pytest.raises(CrildError):
        work(run_of(folder))
    assert (run_of(folder) / "preset.toml").read_bytes() == before


def test_results_say_which_student_and_teacher_they_are_about(folder: Path) -> None:
    results = work(run_of(folder))
    assert results is not None
    run_dir = run_of(folder)
    assert results["student"]["content"] == student_hash(run_dir)
    spec = load_task(load_preset([str(run_dir / "preset.toml")]).preset.task).spec
    stored = load_teacher(Teacher(model=str(teacher_folder(run_dir))), spec)
    assert results["teacher"]["content"] == content_hash(stored.model)
    assert not student_replaced(run_dir)

    request = {"preset": str(run_dir / "preset.toml"), "model": str(run_dir / "student"), "device": "cpu"}
    own = {**request, "run": str(run_dir), "own_task": True}
    assert not [note for note in evaluate(own)["notes"] if "changed" in note]
    edit_rows("dev.csv")(folder)
    names: dict[str, Any] = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    saved(run_dir / "student", tiny("bert", layers=2, seed=3, **names), words("bert"))
    assert student_replaced(run_dir)
    replaced, dev = (note for note in evaluate(own)["notes"] if "changed" in note)
    assert "student/" in replaced
    assert "dev.csv" in dev
    assert "24 rows" in dev
    assert not [note for note in evaluate(request)["notes"] if "changed" in note], "of a model that is no run's"
