"""Paths in presets come out absolute, relative to the file that sets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.preset.load import load_preset
from engine.preset.schema import Corpus, OtherTask, UnlabelledFiles
from tests.preset.support import MINIMAL, load, mistakes, write


def test_paths_are_relative_to_their_file_and_overrides_to_where_the_user_stands(tmp_path: Path) -> None:
    write(
        tmp_path,
        '[task]\nname = "custom"\nkind = "regression"\nfiles = { train = "a.csv", dev = "../dev.csv" }\n'
        '[teacher]\nmodel = "./teacher"\ntokenizer = "../words"\n[student]\ninit = "./small"\n'
        '[[stage]]\nname = "kd"\nobjectives = { logits = 1 }\ndata = { corpus = "./texts" }\n'
        '[[stage]]\nname = "more"\nobjectives = { logits = 1 }\n'
        'data = { task = { name = "rte", source = "glue" } }\n',
        "inner/base.toml",
    )
    write(tmp_path, 'extends = "../inner/base.toml"\n', "other/mine.toml")
    preset = load_preset(["other/mine.toml"], ["task.files.train=b.csv"], base=tmp_path).preset
    assert preset.task.files is not None
    assert preset.task.files.train == str(tmp_path / "b.csv")
    assert preset.task.files.dev == str(tmp_path / "dev.csv")
    assert preset.teacher.model == str(tmp_path / "inner/teacher")
    assert preset.teacher.tokenizer == str(tmp_path / "words")
    assert preset.student.init == str(tmp_path / "inner/small")
    kd, more = (stage.data for stage in preset.stage)
    assert isinstance(kd, Corpus)
    assert kd.corpus == str(tmp_path / "inner/texts")
    assert isinstance(more, OtherTask)
    assert more.task.source == str(tmp_path / "inner/glue")


def test_unlabelled_files_are_relative_to_the_preset_and_keep_their_patterns(tmp_path: Path) -> None:
    text = 'name = "ild"\ndata = { files = ["more.csv", "pile/*.jsonl", "/far/x.txt"], with_task = 0.2 }\n'
    write(tmp_path, MINIMAL.replace('name = "ild"\n', text), "inner/mine.toml")
    data = load_preset(["inner/mine.toml"], base=tmp_path).preset.stage[0].data
    assert isinstance(data, UnlabelledFiles)
    assert data.files == [str(tmp_path / "inner/more.csv"), str(tmp_path / "inner/pile/*.jsonl"), "/far/x.txt"]
    data = load_preset(["inner/mine.toml"], ["stage.ild.data.files=['b.csv']"], base=tmp_path).preset.stage[0].data
    assert isinstance(data, UnlabelledFiles)
    assert (data.files, data.with_task) == ([str(tmp_path / "b.csv")], 0.2)
    (tmp_path / "mlm").mkdir()
    for model, path in (("./mlm", str(tmp_path / "mlm")), ("mlm", str(tmp_path / "mlm")), ("org/mlm", "org/mlm")):
        setting = f"stage.ild.data={{augment={{words='mlm',model='{model}'}}}}"
        augment = load_preset(["inner/mine.toml"], [setting], base=tmp_path).preset.stage[0].augment
        assert augment is not None
        assert augment.model == path


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        ("bert-base-uncased", False),
        ("org/model", False),
        ("./model", True),
        ("../model", True),
        ("a/b/c", True),
        ("with space", True),
        ("here", True),
        ("inside/here", True),
        ("scratch", False),
    ],
)
def test_models_are_paths_when_they_look_like_it_or_are_there(tmp_path: Path, name: str, *, is_path: bool) -> None:
    (tmp_path / "inside/here").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "scratch").mkdir()
    model = load(tmp_path, MINIMAL, f"teacher.model={name}").preset.teacher.model
    assert model == (str((tmp_path / name).resolve()) if is_path else name)


@pytest.mark.parametrize("word", ["teacher", "pretrained", "scratch"])
def test_words_of_init_win_over_folders_of_that_name(tmp_path: Path, word: str) -> None:
    (tmp_path / word).mkdir()
    text = MINIMAL.replace('"scratch"', '"org/model"')
    assert load(tmp_path, text, f"student.init={word}").preset.student.init == word


def test_home_is_expanded(tmp_path: Path, isolated: Path) -> None:
    assert load(tmp_path, MINIMAL, "teacher.model=~/model").preset.teacher.model == str(isolated / "model")
    assert load(tmp_path, MINIMAL, "task.name=rte", "task.source=~/glue").preset.task.source == str(isolated / "glue")
    found = mistakes(tmp_path, MINIMAL, "teacher.model=~nobody-at-all/x")
    assert found == ["--set teacher.model=~nobody-at-all/x invalid-path teacher.model"]


def test_a_text_file_that_is_not_there_is_still_a_path(tmp_path: Path) -> None:
    data = load(tmp_path, MINIMAL, "stage.kd.data.corpus=words.txt").preset.stage[1].data
    assert isinstance(data, Corpus)
    assert data.corpus == str(tmp_path / "words.txt")


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert load(tmp_path, MINIMAL, "teacher.model=./link").preset.teacher.model == str(tmp_path / "link")
