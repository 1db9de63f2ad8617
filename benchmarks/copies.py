"""How many copies with likely words a masked language model makes in a second, and what 100,000 of them take.

    python benchmarks/copies.py [--model FOLDER] [--rows 200] [--copies 10] [--threads 2] [--precision bf16] [--words 10]

A random BERT of 6 layers, 384 wide, with 30,522 words, unless --model names another; random sentences of --words words, half of
them shorter and half longer. Says copies, forward passes of one sentence and rows per second of the processes' time, by the clock
and by processor time divided by the threads, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import source_tree  # noqa: F401 - puts the checkout first on the path
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from engine.models.masked_words import MaskedWords, load_masked_model

WORDS = 30_517
TARGET = 100_000


def make_model(folder: Path) -> Path:
    """A random masked language model of single words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*special, *(f"w{index}" for index in range(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    BertForMaskedLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
    ).save_pretrained(folder)  # fmt: skip
    return folder


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--copies", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--words", type=int, default=10)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = load_masked_model(asked.model or str(make_model(Path(folder))), None)
    whole = [word for word in tokenizer.get_vocab() if word.isalnum() and word[0].isalpha()]
    lengths = [draw.randint(asked.words // 2, asked.words + asked.words // 2) for _ in range(asked.rows)]
    rows: list[tuple[str, str | None]] = [(" ".join(draw.choices(whole, k=length)), None) for length in lengths]
    model = model.to(torch.bfloat16 if asked.precision == "bf16" else torch.float32)
    maker = MaskedWords(model, tokenizer, share=0.4, top=15, copies=asked.copies, seed=[0])
    list(maker.copies(rows[:8], 0))
    clock, processor = time.perf_counter(), time.process_time()
    made = sum(1 for start in range(0, len(rows), 128) for _ in maker.copies(rows[start : start + 128], start))
    seconds, busy = time.perf_counter() - clock, (time.process_time() - processor) / asked.threads
    passes = sum(lengths)
    print(
        f"{asked.precision}, {asked.threads} threads, {asked.rows} rows of {passes / len(rows):.1f} words, {made} copies"
    )
    for what, taken in (("by the clock", seconds), ("by processor time", busy)):
        print(
            f"{what}: {made / taken:.0f} copies/s, {passes / taken:.0f} forward passes/s, {len(rows) / taken:.1f} rows/s; "
            f"{TARGET:,} passes take {TARGET * taken / passes / 60:.1f} min, {TARGET:,} copies {TARGET * taken / made / 60:.1f} min"
        )


if __name__ == "__main__":
    main()
