"""Seconds and memory until the first step of a run, by the number of its rows.

    python benchmarks/rows.py [--rows 10000 100000] [--data pairs|singles|corpus] [--words 8 14] [--folder DIR]
                              [--json]

Writes a task of so many rows (of a corpus: so many lines beside a small task), with sentences of 8 to 14 words as questions
in QQP have (or of so many as `--words` says), and starts a run of a tiny random model on it, with an empty cache: the first run. A second run starts with the
cache that the first one left. Each is a process of its own; it ends at its first step. Processor seconds are those of all
threads. Memory is counted from when the libraries are loaded: anonymous memory is what only this process can use; pages of
mapped files can be dropped by the system at any time, and are counted apart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import source_tree  # noqa: F401 - before the product's packages

PRESET = """
schema = 1
seed = 7
[task]
name = "custom"
files = {{ train = "{folder}/train.tsv", dev = "{folder}/dev.tsv" }}
columns = {{ text = "text", {pair}label = "label" }}
kind = "classification"
max_length = 64
[teacher]
model = "{folder}/teacher"
labels = ["no", "yes"]
[student]
layers = 1
[train]
device = "cpu"
precision = "fp32"
threads = 2
log_every = 1
[[stage]]
name = "kd"
steps = 4
batch_size = 16
objectives = {{ logits = 1.0 }}
{data}
[baseline]
enabled = false
"""
SMALL = 1000
"""Rows of the dev set, and of the task beside a corpus."""
_SYLLABLES = [first + vowel for first in "bdfgklmnprst" for vowel in "aeiou"]
WORDS = [f"{_SYLLABLES[n % 60]}{_SYLLABLES[n // 60]}" for n in range(2400)]
FIRST_STEP = "first step"


def sentences(count: int, seed: int, words: tuple[int, int]) -> list[str]:
    """Sentences of so many words, from the fewest to the most; the frequent ones often, as in language."""
    low, high = words
    draw = np.random.default_rng(seed)
    lengths = draw.integers(low, high + 1, count)
    numbers = np.minimum(draw.zipf(1.2, int(lengths.sum())) - 1, len(WORDS) - 1)
    drawn = [WORDS[number] for number in numbers.tolist()]
    ends = np.cumsum(lengths).tolist()
    return [" ".join(drawn[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)]


def write_rows(path: Path, rows: int, words: tuple[int, int], *, pairs: bool, seed: int) -> None:
    """A TSV table of sentences, or pairs of them, of two classes."""
    with path.open("w") as file:
        file.write("text\tpair\tlabel\n" if pairs else "text\tlabel\n")
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            sides = [sentences(count, seed + 10 * start + side, words) for side in range(1 + pairs)]
            labels = (("no", "yes")[(start + row) % 2] for row in range(count))
            file.writelines("\t".join(row) + "\n" for row in zip(*sides, labels, strict=True))


def write_lines(path: Path, lines: int, words: tuple[int, int]) -> None:
    """A corpus of so many lines."""
    with path.open("w") as file:
        for start in range(0, lines, 100_000):
            texts = sentences(min(100_000, lines - start), 5 + start, words)
            file.writelines(f"{text}\n" for text in texts)


def write_teacher(folder: Path) -> None:
    """A tiny random BERT with a WordPiece tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = special + WORDS + [mark + letter for mark in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_task(folder: Path, data: str, rows: int, words: tuple[int, int]) -> Path:
    """The files of a task, a teacher and a preset; returns the preset."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = data == "pairs"
    write_rows(folder / "train.tsv", SMALL if data == "corpus" else rows, words, pairs=pairs, seed=1)
    write_rows(folder / "dev.tsv", SMALL, words, pairs=pairs, seed=2)
    stage = ""
    if data == "corpus":
        write_lines(folder / "corpus.txt", rows, words)
        stage = f'data = {{ corpus = "{folder}/corpus.txt" }}'
    write_teacher(folder / "teacher")
    preset = folder / "rows.toml"
    preset.write_text(PRESET.format(folder=folder, pair='pair = "pair", ' if pairs else "", data=stage))
    return preset


# -- in the process of a run


def memory() -> dict[str, float]:
    """MB of this process's resident memory: anonymous, and pages of files."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")}


class PeakMemory:
    """The most anonymous memory, and the most in all, since it was started; a thread looks every 20 ms."""

    def __init__(self) -> None:
        self.anonymous = self.total = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def look(self) -> None:
        """Count the memory of this moment."""
        now = memory()
        self.anonymous = max(self.anonymous, now["RssAnon"])
        self.total = max(self.total, sum(now.values()))

    def _watch(self) -> None:
        while True:
            self.look()
            time.sleep(0.02)


def run_to_first_step(preset: Path, runs: Path) -> None:
    """Start a run, print its figures at its first step as JSON, and exit."""
    from engine.preset.load import load_preset
    from engine.preset.write import dump
    from engine.record.phases import Phases
    from engine.record.run import create_run
    from engine.record.session import RunSession
    from engine.train.experiment import run

    loaded = load_preset([str(preset)], [])
    run_dir = create_run(runs, dump(loaded.preset), name="rows", seed=7)
    begin, peak = memory(), PeakMemory()
    times: list[tuple[str, float, float, float]] = []

    def mark(name: str) -> None:
        if not times or times[-1][0] != name:
            times.append((name, time.monotonic(), time.process_time(), peak.anonymous))

    class Marked(Phases):
        """Phases that are noted, whatever they take."""

        def __call__(self, phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
            mark(phase)
            super().__call__(phase, done, total, unit)

    with RunSession(run_dir, signals=False) as session:
        session.phases = Marked(lambda _: None, session.request.check)
        write = session.events.write

        def first_step(kind: str, **fields: Any) -> None:
            write(kind, **fields)
            if kind == "step":
                mark(FIRST_STEP)
                peak.look()
                print(json.dumps(figures(times, begin, peak)), flush=True)
                os._exit(0)

        session.events.write = first_step  # type: ignore[method-assign]
        mark("start")
        run(run_dir, loaded.preset, session)


def figures(times: list[tuple[str, float, float, float]], begin: dict[str, float], peak: PeakMemory) -> dict[str, Any]:
    """The figures of a run: seconds, processor seconds and memory, in all and by phase."""
    phases: dict[str, list[float]] = {}
    for (name, at, used, _), (_, until, used_until, high) in pairwise(times):
        known = phases.setdefault(name, [0.0, 0.0, 0.0])
        phases[name] = [known[0] + until - at, known[1] + used_until - used, max(known[2], high)]
    now = memory()
    return {
        "seconds": times[-1][1] - times[0][1],
        "processor": times[-1][2] - times[0][2],
        "anonymous": now["RssAnon"] - begin["RssAnon"],
        "peak_anonymous": peak.anonymous - begin["RssAnon"],
        "peak_total": peak.total - sum(begin.values()),
        "phases": {name: [round(value, 2) for value in values] for name, values in phases.items()},
    }


# -- the measurement


def measure(
    folder: Path, data: str, rows: int, words: tuple[int, int], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The figures of a first and a second run."""
    say(f"writing {rows:,} rows")
    preset = write_task(folder, data, rows, words)
    found = []
    for attempt in ("first", "second"):
        say(f"{attempt} run on {rows:,} rows")
        environment = {**os.environ, "CRILD_CACHE_DIR": str(folder / "cache"), "HOME": str(folder)}
        command = [sys.executable, __file__, "--run", str(preset), "--folder", str(folder / f"runs-{attempt}")]
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found.append({"data": data, "rows": rows, "run": attempt, **json.loads(result.stdout.splitlines()[-1])})
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The figures as text."""
    lines = ["data     rows        run     seconds  processor s  anonymous MB  its peak MB  peak with files MB"]
    lines += [
        f"{one['data']:<8} {one['rows']:<11,} {one['run']:<7} {one['seconds']:>7.1f}  {one['processor']:>11.1f}  "
        f"{one['anonymous']:>12.0f}  {one['peak_anonymous']:>11.0f}  {one['peak_total']:>18.0f}"
        for one in found
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--data", choices=("pairs", "singles", "corpus"), default="pairs")
    parser.add_argument("--words", type=int, nargs=2, default=(8, 14))
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_to_first_step(arguments.run, arguments.folder)
        return
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="crild-rows-"))
    found: list[dict[str, Any]] = []
    try:
        for rows in arguments.rows:
            own = folder / f"{arguments.data}-{rows}"
            found += measure(
                own, arguments.data, rows, tuple(arguments.words), lambda text: print(text, file=sys.stderr)
            )
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)
    print(json.dumps(found, indent=1) if arguments.json else table(found))


if __name__ == "__main__":
    main()
