"""A stored teacher: used when it is what was written, trained again when it is not, left alone when it cannot be read."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import pipeline

from engine.data.tokens import TokenSet
from engine.data.types import TaskSpec
from engine.errors import ModelError, RunError
from engine.models.load import LoadedModel
from engine.preset.schema import Finetune
from engine.record import teacher_folder
from engine.record.events import read_events
from engine.record.teacher_folder import has_teacher, link_teacher
from engine.train.teacher import StoredTeacher, cache_key, open_teacher, store_teacher
from tests.models.tiny_models import tiny, words
from tests.refused_files import refuse
from tests.train.tiny_run import make, materials, work

SPEC = TaskSpec("custom", "classification", ("bad", "good"), ("accuracy",), is_pair=False)
FACTS = {"steps": 3, "seconds": 0.1 + 0.2, "best": None}
NUMBERS = [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE]


def loaded(seed: int = 0) -> LoadedModel:
    return LoadedModel(tiny("bert", seed=seed), words(), order_known=True, notes=(), fresh_head=False)


@pytest.fixture
def entry(tmp_path: Path) -> StoredTeacher:
    stored = StoredTeacher.cached("key")
    stored.folder.parent.mkdir(parents=True)
    stored.store(loaded(), SPEC, FACTS)
    return stored


def weights(model: LoadedModel) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in model.model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_what_was_stored_is_loaded(entry: StoredTeacher) -> None:
    model = loaded(seed=1)
    assert entry.load_into(model) == FACTS
    assert same(weights(model), weights(loaded()))


def test_nothing_stored_is_none(tmp_path: Path) -> None:
    assert StoredTeacher(tmp_path / "key", "key", tmp_path).load_into(loaded()) is None


def test_another_teacher_in_the_same_folder_is_not_taken(entry: StoredTeacher) -> None:
    assert StoredTeacher(entry.folder, "other", entry.root).load_into(loaded()) is None


@pytest.mark.parametrize(
    ("damage", "fact"),
    [
        (lambda folder: flip(folder / "model.safetensors", -4), "model.safetensors is not"),
        (lambda folder: flip(folder / "model.safetensors", 20), "model.safetensors is not"),
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "model.safetensors is not"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: flip(folder / "tokenizer.json", 30), "tokenizer.json is not"),
        (lambda folder: flip(folder / "config.json", 30), "config.json is not"),
        (lambda folder: (folder / "crild.json").write_text("{"), "crild.json"),
        (lambda folder: change_facts(folder, steps=4), "crild.json is not"),
        (lambda folder: change_facts(folder, files={}), "crild.json is not"),
    ],
)
def test_damage_is_named_and_changes_nothing(entry: StoredTeacher, damage: Callable[[Path], object], fact: str) -> None:
    damage(entry.folder)
    left = sorted(entry.folder.iterdir())
    model = loaded(seed=1)
    with pytest.raises(ModelError) as caught:
        entry.load_into(model)
    assert caught.value.kind == "stored-teacher-damaged"
    assert all(part in caught.value.sentence for part in (str(entry.folder), fact))
    assert same(weights(model), weights(loaded(seed=1)))
    assert sorted(entry.folder.iterdir()) == left


def change_facts(folder: Path, **changes: Any) -> None:
    file = folder / "crild.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", ["model.safetensors", "crild.json", "tokenizer.json"])
def test_what_cannot_be_opened_is_not_called_damaged(
    entry: StoredTeacher, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    refuse(monkeypatch, entry.folder / name, number)
    with pytest.raises(ModelError) as caught:
        entry.load_into(loaded())
    assert caught.value.kind == "stored-teacher-unreadable"
    assert str(entry.folder) in caught.value.sentence
    assert "damaged" not in caught.value.sentence


# -- entries of versions that wrote no hashes


def test_an_entry_without_hashes_is_used_and_gets_them(entry: StoredTeacher, tmp_path: Path) -> None:
    (entry.folder / "crild.json").write_text(json.dumps(FACTS))
    model = loaded(seed=1)
    with opened(tmp_path, model) as (used, facts, warnings):
        assert (used.folder, facts, warnings) == (entry.folder, FACTS, [])
    assert same(weights(model), weights(loaded()))
    flip(entry.folder / "model.safetensors", -4)
    with opened(tmp_path, loaded()) as (_, facts, warnings):
        assert facts is None
        assert "model.safetensors is not" in warnings[0]


@pytest.mark.parametrize("tensors", [{"x": torch.zeros(2)}, None])
def test_an_entry_without_hashes_that_does_not_fit_is_damaged(
    entry: StoredTeacher, tensors: dict[str, torch.Tensor] | None
) -> None:
    (entry.folder / "crild.json").write_text(json.dumps(FACTS))
    file = entry.folder / "model.safetensors"
    if tensors is None:
        file.write_bytes(file.read_bytes()[:-4])
    else:
        save_file(tensors, file)
    model = loaded(seed=1)
    with pytest.raises(ModelError) as caught:
        entry.load_into(model)
    assert caught.value.kind == "stored-teacher-damaged"
    assert same(weights(model), weights(loaded(seed=1)))


# -- which of the cache and the run is used


@contextmanager
def opened(
    tmp_path: Path, model: LoadedModel, *, shared: bool = True
) -> Iterator[tuple[StoredTeacher, dict[str, Any] | None, list[str]]]:
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    warnings: list[str] = []
    with open_teacher(
        "key", run_dir, model, shared=shared, waiting=lambda _: None, loading=nullcontext, warn=warnings.append
    ) as (
        entry,
        facts,
    ):
        yield entry, facts, warnings


def test_a_damaged_entry_is_trained_again_and_replaced(entry: StoredTeacher, tmp_path: Path) -> None:
    flip(entry.folder / "model.safetensors", -4)
    model = loaded()
    with opened(tmp_path, model) as (used, facts, warnings):
        assert (used.folder, facts) == (entry.folder, None)
        assert len(warnings) == 1
        stored = store_teacher(used, tmp_path / "run", model, SPEC, FACTS, warnings.append)
    assert (stored.folder, len(warnings)) == (entry.folder, 1)
    assert entry.load_into(loaded(seed=1)) == FACTS


@pytest.mark.parametrize("number", NUMBERS)
def test_an_entry_that_cannot_be_read_stays_and_the_run_trains_its_own(
    entry: StoredTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = {path.name: path.read_bytes() for path in entry.folder.iterdir()}
    model = loaded()
    with monkeypatch.context() as patch:
        refuse(patch, entry.folder / "model.safetensors", number)
        with opened(tmp_path, model) as (used, facts, warnings):
            assert (used.folder, facts) == (tmp_path / "run" / "teacher", None)
            assert str(entry.folder) in warnings[0]
            store_teacher(used, tmp_path / "run", model, SPEC, FACTS, warnings.append)
    assert {path.name: path.read_bytes() for path in entry.folder.iterdir()} == before
    with opened(tmp_path, loaded(seed=1)) as (used, facts, warnings):
        assert (used.folder, facts, warnings) == (tmp_path / "run" / "teacher", FACTS, [])


def test_a_lock_of_another_user_does_not_keep_a_run_from_the_teacher(
    entry: StoredTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, entry.folder.parent / "key.lock", errno.EACCES)
    with opened(tmp_path, loaded()) as (used, facts, warnings):
        assert (used.folder, facts, warnings) == (entry.folder, FACTS, [])
    shutil.rmtree(entry.folder)
    with opened(tmp_path, loaded()) as (used, facts, warnings):
        assert (used.folder, facts) == (tmp_path / "run" / "teacher", None)
        assert str(entry.folder.parent) in warnings[0]


def test_a_cache_that_refuses_the_teacher_leaves_it_in_the_run(
    entry: StoredTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StoredTeacher.store

    def refusing(self: StoredTeacher, *arguments: Any) -> None:
        if self.folder == entry.folder:
            raise RunError("cannot save the model: no space is left on the device", kind="cannot-save-model")
        store(self, *arguments)

    monkeypatch.setattr(StoredTeacher, "store", refusing)
    warnings: list[str] = []
    (tmp_path / "run").mkdir()
    stored = store_teacher(entry, tmp_path / "run", loaded(), SPEC, FACTS, warnings.append)
    assert stored.folder == tmp_path / "run" / "teacher"
    assert stored.load_into(loaded(seed=1)) == FACTS
    assert "no space" in warnings[0]


def test_the_runs_own_teacher_that_cannot_be_read_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, loaded(), shared=False) as (used, _, warnings):
        store_teacher(used, tmp_path / "run", loaded(), SPEC, FACTS, warnings.append)
    refuse(monkeypatch, tmp_path / "run" / "teacher" / "model.safetensors", errno.EIO)
    with pytest.raises(ModelError) as caught, opened(tmp_path, loaded(), shared=False):
        pass
    assert caught.value.kind == "stored-teacher-unreadable"


# -- the folder `teacher` of a run


def test_the_run_links_to_the_cache(entry: StoredTeacher, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    assert not has_teacher(run_dir)
    link_teacher(run_dir, tmp_path / "gone")
    link_teacher(run_dir, entry.folder)
    assert has_teacher(run_dir)
    assert (run_dir / "teacher").is_symlink()
    assert load_file(run_dir / "teacher" / "model.safetensors")
    assert teacher_folder.teacher_folder(run_dir) == run_dir / "teacher"
    assert [path.name for path in run_dir.iterdir()] == ["teacher"]
    assert not StoredTeacher.of_run(run_dir, "key").exists(), "a link is not the run's own"


def test_storing_in_the_run_replaces_a_link_not_what_it_leads_to(entry: StoredTeacher, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in entry.folder.iterdir()}
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for target in (entry.folder, tmp_path / "gone"):
        link_teacher(run_dir, target)
        StoredTeacher.of_run(run_dir, "key").store(loaded(seed=1), SPEC, FACTS)
        assert not (run_dir / "teacher").is_symlink()
        shutil.rmtree(run_dir / "teacher")
    assert {path.name: path.read_bytes() for path in entry.folder.iterdir()} == before


def test_a_run_of_an_earlier_version_keeps_its_pointer(entry: StoredTeacher, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (run_dir / "teacher").mkdir(parents=True)
    pointer = run_dir / "teacher" / "pointer.json"
    pointer.write_text(json.dumps({"schema": 1, "folder": str(tmp_path / "elsewhere" / "key")}))
    own = StoredTeacher.of_run(run_dir, "key")
    assert own.folder == run_dir / "teacher" / "key"
    with pytest.raises(ModelError) as caught:
        teacher_folder.teacher_folder(run_dir)
    assert caught.value.kind == "teacher-missing"
    own.store(loaded(), SPEC, FACTS)
    assert teacher_folder.teacher_folder(run_dir) == own.folder, "the run was moved"
    link_teacher(run_dir, entry.folder)
    assert teacher_folder.teacher_folder(run_dir) == entry.folder
    assert has_teacher(run_dir)


def test_without_links_the_pointer_names_the_folder(
    entry: StoredTeacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", no_links)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    link_teacher(run_dir, entry.folder)
    assert teacher_folder.teacher_folder(run_dir) == entry.folder


# -- whole runs

QUICK = ("teacher.finetune.epochs=0.5", "stage.ild.epochs=0.5", "baseline.enabled=false")


def warnings_of(run_dir: Path) -> list[str]:
    return [event["text"] for event in read_events(run_dir, {"message"}) if event["level"] == "warning"]


def test_a_damaged_cached_teacher_costs_time_and_changes_no_student(tmp_path: Path) -> None:
    text = materials(tmp_path / "task")
    first, second, third = (make(tmp_path, text, *QUICK, name=name) for name in ("first", "second", "third"))
    assert work(first) is not None
    teacher = first / "teacher"
    assert teacher.is_symlink()
    classify: Any = pipeline("text-classification", model=str(teacher))
    assert classify(" ".join(["w1"] * 600), truncation=True)
    expected = (first / "student" / "model.safetensors").read_bytes()

    flip(teacher / "model.safetensors", -4)
    assert work(second) is not None
    assert (second / "student" / "model.safetensors").read_bytes() == expected
    assert any(str(teacher.readlink()) in warning for warning in warnings_of(second))

    assert work(third, stop_after=("kd", 3)) is None
    assert not any(str(teacher.readlink()) in warning for warning in warnings_of(third))
    flip(teacher / "model.safetensors", -4)
    assert work(third) is not None
    assert (third / "student" / "model.safetensors").read_bytes() == expected
    assert any(str(teacher.readlink()) in warning for warning in warnings_of(third))


def test_a_teacher_trained_with_class_weights_is_another_one() -> None:
    rows = TokenSet(
        ("a",), np.array([0, 1]), np.array([5], np.int32), None, np.array([0], np.int64), cut=0, content="hash"
    )  # fmt: skip
    spec = TaskSpec("custom", "classification", ("no", "yes"), ("accuracy",), is_pair=False)
    keys = {
        cache_key("model", Finetune(), rows, rows, spec, "fp32", weights)
        for weights in ((), (1.0, 1.0), (1.0, 2.0))
    }  # fmt: skip
    assert len(keys) == 3
    assert cache_key("model", Finetune(), rows, rows, spec, "fp32") in keys
