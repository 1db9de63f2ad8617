"""How fast `crild predict` is next to `transformers.pipeline`, and how much memory it takes.

    python benchmarks/predict.py [--rows 10000] [--model FOLDER] [--batch 32] [--memory 10000 1000000] [--threads N]

Speed: the same model (a random BERT of 6 layers, unless --model names another) on the same texts of 3 to 60 words, in a
fresh process each, on the same processors (Linux), one thread for each: crild, and the pipeline text by text (its default) and in batches. Says
rows/s without the loading of libraries and model, and the ratios, by the clock and by processor time, which other work on
the machine disturbs less. The labels must be equal. Memory: the largest resident size of the engine with a tiny model,
reading a CSV file and writing another, for each number of rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import source_tree

from engine.record.prediction import PredictionRequest

WORDS = 8000
LONGEST = 60
ENGINE = [sys.executable, "-P", str(source_tree.REPOSITORY / "crild" / "process.py"), "worker"]


def make_model(folder: Path, *, layers: int, hidden: int) -> Path:
    """A random BERT with a tokenizer of single words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: index for index, word in enumerate([*special, *(f"w{index}" for index in range(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, num_hidden_layers=layers, num_labels=4,
        num_attention_heads=max(1, hidden // 64), intermediate_size=4 * hidden, initializer_range=0.1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    return folder


def write_rows(path: Path, rows: int) -> None:
    """A CSV file with so many texts."""
    draw = random.Random(0)
    words = [f"w{index}" for index in range(WORDS)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for row in range(rows):
            writer.writerow([row, " ".join(draw.choices(words, k=draw.randint(3, LONGEST)))])


def run(words: list[str], threads: int) -> tuple[dict[str, Any], float, float]:
    """A process's answer (the last line of its stdout), its processor seconds, and its largest resident size in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(source_tree.REPOSITORY)}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=environment) as child,
    ):
        assert child.stdout is not None
        lines = child.stdout.read().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    if child.returncode:
        raise SystemExit(f"{words[0]} ended with {child.returncode}: {lines[-1:]}\n{said[-2000:]}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return json.loads(lines[-1]), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale


def crild(model: Path, rows: Path, output: Path, threads: int) -> tuple[dict[str, Any], float, float]:
    """Predict a file in an engine process."""
    request = PredictionRequest(str(model), "csv", "csv", inputs=(str(rows),), output=str(output), device="cpu")
    return run([*ENGINE, "predict", request.to_json()], threads)


def pipeline(model: str, path: str, batch: int) -> None:
    """The other side: prints seconds and labels of `transformers.pipeline` on the texts of a file."""
    import torch
    from transformers import pipeline as make

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with Path(path).open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    classify = make("text-classification", model=model, device="cpu")
    began, processor = time.monotonic(), time.process_time()
    labels = [answer["label"] for answer in classify(texts, batch_size=batch, truncation=True)]
    answer = {"seconds": time.monotonic() - began, "processor": time.process_time() - processor, "labels": labels}
    print(json.dumps(answer))


def compare(folder: Path, model: Path, rows: int, batch: int, threads: int) -> None:
    """Print rows/s of both sides, and the ratios."""
    path, empty, output = folder / "rows.csv", folder / "one.csv", folder / "out.csv"
    write_rows(path, rows)
    write_rows(empty, 1)
    _, loading, _ = crild(model, empty, output, threads)
    answer, processor, _ = crild(model, path, output, threads)
    own = {"seconds": answer["seconds"], "processor": processor - loading}
    with output.open(newline="", encoding="utf-8") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    print(f"{'crild predict':30} {rows / own['seconds']:9,.1f} rows/s")
    for size in (1, batch):
        script = [sys.executable, str(Path(__file__).resolve()), "--pipeline", str(model), str(path), str(size)]
        other, _, _ = run(script, threads)
        if other["labels"] != labels:
            raise SystemExit("the labels differ")
        clock, processors = (other[key] / own[key] for key in ("seconds", "processor"))
        name = "pipeline, text by text" if size == 1 else f"pipeline, batches of {size}"
        speed = rows / other["seconds"]
        print(f"{name:30} {speed:9,.1f} rows/s; crild is {clock:.2f} × as fast ({processors:.2f} × by processor time)")


def memory(folder: Path, sizes: list[int], threads: int) -> None:
    """Print the largest resident size for each number of rows."""
    model = make_model(folder / "tiny", layers=1, hidden=64)
    for rows in sizes:
        path = folder / "rows.csv"
        write_rows(path, rows)
        answer, _, peak = crild(model, path, folder / "out.csv", threads)
        speed = rows / answer["seconds"]
        print(f"{rows:9,} rows ({path.stat().st_size / 1e6:,.0f} MB): peak {peak:,.0f} MB, {speed:,.0f} rows/s")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000, help="0 leaves the comparison out")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--memory", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pipeline", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.pipeline:
        model, path, batch = chosen.pipeline
        pipeline(model, path, int(batch))
        return
    os.sched_setaffinity(
        0, sorted(os.sched_getaffinity(0))[: chosen.threads]
    )  # crild takes a thread for each processor
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.rows:
            model = chosen.model or make_model(folder / "model", layers=6, hidden=384)
            compare(folder, model, chosen.rows, chosen.batch, chosen.threads)
        memory(folder, chosen.memory, chosen.threads)


if __name__ == "__main__":
    main()
