from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.data.load import inputs_for, load_task, resolve_revision
from engine.errors import DataError
from engine.preset.schema import Columns, Corpus, Files, OtherTask, Task


@pytest.fixture
def files(tmp_path: Path) -> Files:
    rows = "".join(f"sentence {row},{'yes' if row % 4 else 'no'}\n" for row in range(80))
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text("text,label\n" + rows)
    return Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "dev.csv"))


def test_few_examples_are_drawn_with_their_shares_and_said(files: Files) -> None:
    task = Task(name="custom", files=files, kind="classification", examples=20, data_seed=5)
    data = load_task(task)
    assert Counter(example.label for example in data.train) == {1: 15, 0: 5}
    assert len(data.dev["dev"]) == 80
    assert data.notes[-1] == "Using 20 of 80 training examples, drawn with data_seed 5."
    assert load_task(task) == data
    assert load_task(task.model_copy(update={"data_seed": 6})).train != data.train
    whole = {example.id: example for example in load_task(task.model_copy(update={"examples": None})).train}
    assert all(whole[example.id] == example for example in data.train), "a row has the same id in every subset"


def test_rows_held_out_are_in_no_training_set_and_can_be_measured(files: Files) -> None:
    task = Task(name="custom", files=files, kind="classification", holdout=0.25)
    whole = {example.id for example in load_task(task.model_copy(update={"holdout": None})).train}
    unused = load_task(task)
    measured = load_task(task.model_copy(update={"measure_holdout": True}))
    assert [example.id for example in unused.train] == [example.id for example in measured.train]
    assert not unused.test
    aside = {example.id for example in measured.test}
    assert aside | {example.id for example in measured.train} == whole
    assert len(aside) == 20
    assert not aside & {example.id for example in measured.train}
    assert Counter(example.label for example in measured.test) == {1: 15, 0: 5}
    assert "20 of 80" in measured.notes[-1]
    for examples in (10, 30):
        few = load_task(task.model_copy(update={"examples": examples, "measure_holdout": True}))
        assert [example.id for example in few.test] == [example.id for example in measured.test]
        assert not aside & {example.id for example in few.train}
    assert len(load_task(task.model_copy(update={"holdout": 12.0, "measure_holdout": True})).test) == 12
    with pytest.raises(DataError) as caught:
        load_task(task.model_copy(update={"holdout": 80.0}))
    assert (caught.value.kind, caught.value.key) == ("too-few-rows-for-holdout", "task.holdout")


def test_a_class_with_one_text_keeps_it_when_rows_are_held_out(tmp_path: Path) -> None:
    rows = "".join(f"row {row},common\n" for row in range(20)) + "single,rare\n"
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "train.csv"))
    data = load_task(Task(name="custom", files=files, kind="classification", holdout=0.9, measure_holdout=True))
    assert "single" in {example.text for example in data.train}


def test_queries_stay_whole_when_rows_are_held_out(tmp_path: Path) -> None:
    rows = "".join(f"q{row // 4},row {row},{int(row % 4 == 0)}\n" for row in range(80))
    (tmp_path / "train.csv").write_text("query,text,label\n" + rows)
    files = Files(train=str(tmp_path / "train.csv"), dev=str(tmp_path / "train.csv"))
    columns = Columns(group="query")
    task = Task(name="custom", files=files, columns=columns, kind="classification", holdout=0.25, measure_holdout=True)
    data = load_task(task)
    aside = Counter(int(row.text.split()[1]) // 4 for row in data.test)
    assert len(aside) == 5
    assert set(aside.values()) == {4}


def test_noise_changes_training_labels_alone_and_is_said(files: Files) -> None:
    task = Task(name="custom", files=files, kind="classification", label_noise=0.25)
    clean, noisy = load_task(task.model_copy(update={"label_noise": 0.0})), load_task(task)
    assert sum(a.label != b.label for a, b in zip(clean.train, noisy.train, strict=True)) == 20
    assert [example.text for example in clean.train] == [example.text for example in noisy.train]
    assert clean.dev == noisy.dev
    note = "Replaced 20 of 80 training labels with another class, drawn with data_seed 0."
    assert noisy.notes == (*clean.notes, note)


def test_noise_comes_after_the_subset(files: Files) -> None:
    task = Task(name="custom", files=files, kind="classification", examples=40, label_noise=0.5)
    both, drawn = load_task(task), load_task(task.model_copy(update={"label_noise": 0.0}))
    assert [example.id for example in both.train] == [example.id for example in drawn.train]
    assert sum(a.label != b.label for a, b in zip(both.train, drawn.train, strict=True)) == 20
    assert len(both.notes) == 3


def test_noise_of_scores_is_said_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("text,label\n" + "".join(f"t{row},{row}\n" for row in range(10)))
    files = Files(train=str(tmp_path / "s.csv"), dev=str(tmp_path / "s.csv"))
    data = load_task(Task(name="custom", files=files, kind="regression", label_noise=0.3))
    note = "Replaced 3 of 10 training labels with another example's score, drawn with data_seed 0."
    assert data.notes == (note,)


def test_more_examples_than_there_are(files: Files) -> None:
    with pytest.raises(DataError, match=r"task\.examples .* 81 .* custom has 80") as error:
        load_task(Task(name="custom", files=files, kind="classification", examples=81))
    assert (error.value.key, error.value.exit_code) == ("task.examples", 3)


def test_the_inputs_of_a_stage(files: Files, tmp_path: Path) -> None:
    task = Task(name="custom", files=files, kind="classification", examples=8)
    data = load_task(task)
    assert inputs_for("task", task, data)[0] is data.train
    other = inputs_for(OtherTask(task=task), task, data).rows
    assert [example.text for example in other] == [example.text for example in data.train]
    assert {example.label for example in other} == {None}
    (tmp_path / "words.txt").write_text("one\ntwo\nthree\n")
    corpus, findings, _ = inputs_for(Corpus(corpus=str(tmp_path / "words.txt"), examples=2), task, data)
    assert (len(corpus), findings) == (2, ())
    assert corpus == inputs_for(Corpus(corpus=str(tmp_path / "words.txt"), examples=2), task, data)[0]


def test_an_embedded_task_needs_no_files() -> None:
    data = load_task(Task(name="toy-sentiment", examples=30))
    assert len(data.train) == 30
    assert data.spec.name == "toy-sentiment"


def test_local_data_has_no_revision(files: Files, tmp_path: Path) -> None:
    assert resolve_revision(Task(name="custom", files=files, kind="classification")) is None
    assert resolve_revision(Task(name="rte", source=str(tmp_path))) is None
    assert resolve_revision(Task(name="toy-sentiment")) is None
    assert resolve_revision(Corpus(corpus=str(tmp_path))) is None
    assert resolve_revision(Task(name="rte", revision="a" * 40)) == "a" * 40
