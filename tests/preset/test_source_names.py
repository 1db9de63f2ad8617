"""Whether a name is a path or a hub id: loading, checking and running give one answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.hub import resolve_revision as data_revision
from engine.errors import CrildError
from engine.models.hub import resolve_revision as model_revision
from engine.preflight.data import data_problems
from engine.preflight.model_facts import model_facts
from engine.preset.schema import Corpus
from engine.preset.source_names import is_corpus_path, is_path
from tests.preset.support import MINIMAL, load

COMMIT = "a" * 40  # a hub id with a commit needs no network to resolve
NAMES = {
    "/data/model": True,
    "./model": True,
    "../model": True,
    ".hidden": True,
    "~/model": True,
    "model/": True,
    "a/b/c": True,
    "a//b": True,
    "with space": True,
    "back\\slash": True,
    "-dash": True,
    "_line": True,
    "here": True,
    "inside/here": True,
    "inside/hear": True,
    "bert-base-uncased": False,
    "google-bert/bert-base-uncased": False,
    "a/b-c.d_e": False,
}
TEXTS = {"notes.txt": True, "my/notes.raw": True, "WORDS.TXT": True, "notes.csv": False}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "presets/inside/here").mkdir(parents=True)
    (tmp_path / "presets/here").mkdir()
    (tmp_path / "bert-base-uncased").mkdir()  # where the user is, not where the preset is
    return tmp_path / "presets"


@pytest.mark.parametrize("name", NAMES)
def test_everyone_agrees_on_the_name_of_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder.parent)
    local = NAMES[name]
    assert is_path(name, folder) is local
    model = load(folder, MINIMAL, f"teacher.model={name!r}").preset.teacher.named
    assert Path(model).is_absolute() is local
    assert is_path(model) is local
    assert (model_revision(model, COMMIT) is None) is local
    try:
        known = model_facts(model, COMMIT) is not None
    except CrildError:
        known = True
    assert known is local


@pytest.mark.parametrize("name", NAMES | TEXTS)
def test_everyone_agrees_on_the_name_of_a_corpus(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder.parent)
    local = (NAMES | TEXTS)[name]
    assert is_corpus_path(name, folder) is local
    loaded = load(folder, MINIMAL, f"stage.kd.data.corpus={name!r}")
    data = loaded.preset.stage[1].data
    assert isinstance(data, Corpus)
    assert Path(data.corpus).is_absolute() is local
    assert (data_revision(data.model_copy(update={"revision": COMMIT})) is None) is local
    assert bool(list(data_problems(loaded))) is local, "an empty folder or no file at all"


def test_a_misspelt_path_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models/teacher").mkdir(parents=True)
    path = load(tmp_path, MINIMAL, "teacher.model=models/teachr").preset.teacher.named
    with pytest.raises(CrildError) as caught:
        model_facts(path)
    assert caught.value.kind == "no-model-folder"
    assert f"{tmp_path}/models/teacher?" in caught.value.sentence
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub/models--models--teachr").mkdir(parents=True)
    assert not is_path("models/teachr", tmp_path), "the hub has a model of this name"
