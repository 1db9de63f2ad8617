"""The kinds of events in `events.N.jsonl`, with the fields of each: the reference of the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EventKind:
    """What an event reports, and the meaning of its fields by name."""

    meaning: str
    fields: Mapping[str, str]


COMMON = {
    "v": "schema version of events: 1",
    "t": "when it was written, in seconds since 1970",
    "kind": "one of the kinds below",
}
"""Fields that every event has."""

_STAGE = {"stage": "name of the stage"}
_POSITION = {**_STAGE, "step": "optimiser steps of the stage that are done"}

KINDS: Mapping[str, EventKind] = {
    "run_started": EventKind(
        "The first event of an attempt, except for phases of loading. It supersedes what earlier attempts wrote about "
        "later steps.",
        {
            "attempt": "number of the attempt",
            "stages": "names of all stages, in order",
            "stage": "the stage that the attempt starts or continues in",
            "step": "steps of that stage that are already done",
            "total": "steps of all stages",
            "resumed": "whether it continues from a checkpoint",
            "repeated": "steps that are trained again because their checkpoint is lost",
            "run": "fields of `status.json` that say what the run is, to rebuild a lost one",
        },
    ),
    "stage_started": EventKind(
        "A stage starts or continues.",
        {
            **_POSITION,
            "role": "teacher (its fine-tuning), student or baseline",
            "steps": "steps of the stage",
            "epochs": "the same as passes over its examples",
            "examples": "training examples of the stage",
            "objectives": "weight of each term by name",
        },
    ),
    "step": EventKind(
        "Means over the steps since the last event of this kind (`train.log_every`).",
        {
            **_POSITION,
            "epoch": "passes over the examples that are done",
            "loss": "the whole loss, with consistency",
            "terms": "value of each term by name, before its weight",
            "consistency": "value of the consistency term, before its weight; only in stages that have it",
            "consistency_weight": "its weight at this step",
            "candidates": "in stages that choose their inputs (`select`): how many were compared",
            "chosen": "how many of them were trained on",
            "divergence": "mean divergence of the student's answers to the chosen from the teacher's, before each step",
            "candidates_divergence": "the same of all that were compared",
            "learning_rate": "learning rate of the last step",
            "gradient_norm": "norm of the gradient before clipping",
            "examples_per_second": "training speed, without evaluations and checkpoints",
            "tokens_per_second": "the same in tokens, padding not counted",
            "memory": "bytes in use: on a GPU the largest amount allocated, else of the process",
            "ranks": "where several processes share the steps, for each `examples_per_second` (its part), `memory`, and "
            "on a CPU `busy`, the share of the time in which it did not wait for the others",
        },
    ),
    "evaluation": EventKind(
        "Metrics of one model on one set of rows. The teacher's final ones have no stage.",
        {
            **_POSITION,
            "model": "teacher, student or self-teacher; the baseline is called student, in the stage baseline",
            "split": "the set: dev, another dev set, or train (`train.evaluate_train`)",
            "primary": "whether its primary metric picks the best weights",
            "metrics": "each metric by name, as a share of 1",
            "label_loss": "mean loss on the gold labels",
            "loss": "loss of the stage on dev, where the stage trains no classifier",
            "terms": "value of each term on dev, there",
            "best": "whether this is the best evaluation of the stage so far: of equal metrics, the one with the lower label_loss",
        },
    ),
    "checkpoint": EventKind(
        "A checkpoint was written.",
        {**_POSITION, "path": "its folder in the run directory", "seconds": "how long writing took"},
    ),
    "message": EventKind(
        "A sentence for the user.",
        {
            "level": "info, warning or error",
            "text": "the sentence",
            "finding": "of a finding about the data: its kind, severity and facts",
        },
    ),
    "phase": EventKind(
        "Progress of anything else that takes longer than two seconds.",
        {
            "phase": "what it is, such as `tokenising the training rows`",
            "done": "how much is done",
            "total": "of how much; null if unknown",
            "unit": "what is counted, such as rows",
            "seconds": "since the phase started",
            "ended": "whether the phase is over",
        },
    ),
    "stage_finished": EventKind(
        "All steps of a stage are done.",
        {
            **_POSITION,
            "seconds": "training time, without evaluations and checkpoints",
            "examples_per_second": "mean speed",
            "ended_early": "whether `patience` ended it",
        },
    ),
    "run_finished": EventKind(
        "The last event of an attempt that came to an orderly end.",
        {
            "state": "finished, stopped, preempted or failed",
            "metrics": "of a finished run: the student's on dev",
        },
    ),
}
"""Every kind. A reader skips kinds and fields that it doesn't know."""
