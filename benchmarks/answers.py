"""Join a file of answers with its task's rows: seconds and memory, by id, by text and by row number.

    python benchmarks/answers.py                # a million answers
    python benchmarks/answers.py 100000

Texts of 12 words, two classes, CSV. The rows of the task are read first; the figures are those of the answers alone.
"""

from __future__ import annotations

import csv
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from engine.data.answers import Join, load_answers
from engine.data.load import load_task
from engine.preset.schema import Columns, Files, Task, Teacher

ROWS = 1_000_000
JOINS: tuple[Join, ...] = ("id", "text", "row")


def write(folder: Path, rows: int) -> tuple[Path, Path]:
    """A training file and a file of answers to it."""
    draw = random.Random(0)
    words = [f"w{number}" for number in range(5000)]
    train, answers = folder / "train.csv", folder / "answers.csv"
    with train.open("w", newline="") as one, answers.open("w", newline="") as other:
        own, theirs = csv.writer(one), csv.writer(other)
        own.writerow(["id", "text", "label"])
        theirs.writerow(["id", "text", "label", "predicted_label", "probability_neg", "probability_pos"])
        for row in range(rows):
            start = [f"r{row}", " ".join(draw.choices(words, k=12)), ("neg", "pos")[row % 2]]
            share = draw.random()
            own.writerow(start)
            theirs.writerow([*start, "pos" if share > 0.5 else "neg", f"{1 - share:.6f}", f"{share:.6f}"])
    return train, answers


def peak() -> float:
    """The most memory that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a line for each way to join."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        train, answers = write(Path(folder), rows)
        columns = Columns(id="id")
        files = Files(train=str(train))
        task = Task(name="custom", files=files, columns=columns, kind="classification", dev_share=0.01)
        data = load_task(task)
        numbered = task.model_copy(update={"columns": Columns()})
        by_number = load_task(numbered)
        print(f"{rows:,} answers; {peak():.0f} MB before")
        for join in JOINS:
            began, worked = time.perf_counter(), time.process_time()
            of, found = (numbered, by_number) if join == "row" else (task, data)
            load_answers(Teacher(answers=str(answers), join=join), of, found)
            passed, own = time.perf_counter() - began, time.process_time() - worked
            print(f"by {join:4}  {passed:5.1f} s ({own:.1f} s of processor time)  peak {peak():.0f} MB")


if __name__ == "__main__":
    main()
