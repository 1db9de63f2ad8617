"""Presets of every kind, for properties: documents as TOML would give them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from engine.preset.names import GLUE_TASKS
from engine.preset.schema import Preset

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("teacher", "baseline")
)
COUNTS = st.integers(1, 10**6)
BATCHES = st.integers(1, 65_536)
POSITIVE = st.floats(1e-12, 1e12) | COUNTS
EPOCHS = st.floats(1e-12, 1e5) | st.integers(1, 10**5)
LAYERS = st.integers(1, 1000)
FRACTION = st.floats(0, 1)
EVALUATE = st.just("epoch") | COUNTS
MAPS = st.sampled_from(["last", "uniform", "upper"]) | st.lists(
    st.tuples(COUNTS, COUNTS).map(list), min_size=1, max_size=3
)


def table(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A table with all of the required keys and any of the optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


PATHS = TEXTS.map(lambda text: "/data/x" + "".join(character for character in text if character.isalnum()))
CUSTOM = table(
    {"name": st.just("custom"), "kind": st.just("classification"), "files": table({"train": PATHS, "dev": PATHS})},
    columns=table({"text": st.just("a"), "label": st.just("b")}, pair=st.just("c"), id=TEXTS),
    metrics=st.lists(st.sampled_from(["accuracy", "f1", "matthews"]), min_size=1, max_size=2),
)
TASKS = CUSTOM | table(
    {"name": st.sampled_from(GLUE_TASKS)},
    source=PATHS,
    max_length=st.integers(4, 8192),
    data_seed=st.integers(0, 2**32 - 1),
    examples=COUNTS,
    label_noise=FRACTION,
    revision=TEXTS,
)
FINETUNE = table({}, epochs=EPOCHS, warmup=FRACTION, evaluate=EVALUATE, keep_best=st.booleans(), patience=COUNTS)
TEACHERS = table(
    {"model": st.just("org/model") | PATHS},
    revision=TEXTS,
    labels=st.lists(TEXTS, min_size=2, max_size=3, unique=True),
    finetune=FINETUNE,
) | table(
    {"model": st.just("scratch"), "finetune": FINETUNE},
    architecture=table({}, layers=LAYERS, dropout=st.floats(0, 0.9)),
)
STUDENTS = table({}, layers=LAYERS, init=PATHS | st.just("teacher"), keep=st.sampled_from(["first", "last"])) | table(
    {}, keep=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True)
)
TRAIN = table(
    {},
    device=st.sampled_from(["cpu", "cuda:3"]),
    epochs=EPOCHS,
    learning_rate=POSITIVE,
    evaluate=EVALUATE,
    clip=st.floats(0, 10),
    threads=LAYERS,
)
OBJECTIVES = table(
    {"logits": POSITIVE | table({"mse": st.just(True)}, anneal=COUNTS)},
    attention=table({}, weight=POSITIVE, mse=st.booleans(), layer_map=MAPS) | POSITIVE,
    query=table({"weight": POSITIVE}, relation_heads=LAYERS),
    hidden=POSITIVE,
)
CORPUS = table({"corpus": PATHS | st.just("org/words")}, subset=TEXTS, pairs=st.booleans(), examples=COUNTS)
STAGES = st.lists(
    table(
        {"name": NAMES, "objectives": OBJECTIVES},
        data=st.just("task") | CORPUS | table({"task": TASKS}),
        layer_map=MAPS,
        padding=st.just("released"),
        mixup=st.just(False)
        | table(
            {}, alpha=POSITIVE, unpaired=st.sampled_from(["padding", "whole"]), project=st.sampled_from(["tokens"])
        ),
        epochs=EPOCHS,
        batch_size=BATCHES,
        evaluate=EVALUATE,
        keep_best=st.booleans(),
    ).filter(lambda stage: "padding" not in stage or "project" not in (stage.get("mixup") or {})),
    min_size=1,
    max_size=3,
    unique_by=lambda stage: stage["name"],
)
DOCUMENTS = table(
    {"task": TASKS, "teacher": TEACHERS, "stage": STAGES},
    description=TEXTS,
    seed=st.integers(0, 2**32 - 1),
    tags=st.lists(TEXTS, max_size=3),
    student=STUDENTS,
    train=TRAIN,
    baseline=table({}, enabled=st.booleans(), learning_rate=POSITIVE),
)


def presets() -> st.SearchStrategy[Preset]:
    """Presets with absolute paths, as `load_preset` gives them."""
    return DOCUMENTS.map(Preset.model_validate)
