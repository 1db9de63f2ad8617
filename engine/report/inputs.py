"""Tell runs apart whose presets are equal but whose data, teacher or initial student are not: by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from engine.record.inputs import ANSWERS, STUDENT_INIT, TEACHER, TOKENIZER, Input, RunInputs
from engine.report.units import metric

Setting = tuple[tuple[str, str], ...]
"""Pairs of a key and its value as shown."""
UNRECORDED = "not recorded"
DATA = "data"
Pick = Callable[[RunInputs], Sequence[Input]]
"""Chooses some of a run's inputs."""
_START = (STUDENT_INIT, f"{STUDENT_INIT} {TOKENIZER}")
_FINETUNE = "teacher.finetune."
_HEAD_SEED = "teacher.finetune.seed"
"""The only setting of the fine-tuning that the teacher depends on as it is loaded: its new head is drawn from it."""


@dataclass(frozen=True)
class RunContent:
    """What tells a run's inputs: its record, or what else is known of a run that an earlier crild made.

    `majority` is the metric of the majority guess. It follows from the labels alone, so runs that differ in it were not
    measured on the same rows.
    """

    inputs: RunInputs | None
    majority: float | None

    def of(self, pick: Pick) -> tuple[str, ...] | None:
        """The contents of some inputs; None where nothing is recorded."""
        return None if self.inputs is None else tuple(item.content for item in pick(self.inputs))


@dataclass(frozen=True)
class _Unrecorded:
    """The identity of inputs of which only the majority guess is known, if that."""

    majority: float | None


def data_of(inputs: RunInputs) -> Sequence[Input]:
    """The training rows and the dev sets."""
    return inputs.data


def dev_of(inputs: RunInputs) -> Sequence[Input]:
    """The dev sets."""
    return inputs.data[1:]


def all_of(inputs: RunInputs) -> Sequence[Input]:
    """Every input."""
    return inputs.all


def all_but_start(inputs: RunInputs) -> Sequence[Input]:
    """Every input but the model that the student starts from."""
    return [item for item in inputs.all if item.name not in _START]


def identities(runs: Sequence[RunContent], pick: Pick) -> list[Hashable]:
    """An identity of some inputs for each of these runs, which are equal otherwise: equal ones may be averaged.

    Runs without a record share the identity of the only one that is known, unless the majority guess in their results
    proves otherwise; where several are known, they have one of their own.
    """
    contents = [run.of(pick) for run in runs]
    pairs = list(zip(runs, contents, strict=True))
    known = {content for content in contents if content is not None}
    proven = {run.majority for run, content in pairs if content is not None and run.majority is not None}
    others = {run.majority for run, content in pairs if content is None and run.majority is not None}

    def identity(run: RunContent, content: Hashable | None) -> Hashable:
        if content is not None:
            return content
        if len(known) == 1 and (run.majority is None or not proven or run.majority in proven):
            return next(iter(known))
        return _Unrecorded(next(iter(others)) if len(others) == 1 else run.majority)

    return [identity(run, content) for run, content in pairs]


def unexplained(
    runs: Sequence[RunContent], scopes: Sequence[Hashable], settings: Sequence[Mapping[str, str]]
) -> list[Setting]:
    """What tells runs apart that their presets don't: their data, the data of stages, teacher and initial student.

    Runs are compared within one of `scopes`, and where `settings` (a preset as keys and values) are equal as far as they
    bear on the input. An empty setting is that of a run like all others of its scope.
    """
    found: list[Setting] = [()] * len(runs)

    def tell_apart(pick: Pick, bears: Callable[[str], bool]) -> None:
        members: dict[Hashable, list[int]] = {}
        for index, scope in enumerate(scopes):
            own = tuple(sorted(pair for pair in settings[index].items() if bears(pair[0])))
            members.setdefault((scope, found[index], own), []).append(index)
        for indices in members.values():
            for index, setting in zip(indices, differing([runs[index] for index in indices], pick), strict=True):
                found[index] = (*found[index], *setting)

    tell_apart(data_of, lambda _: False)
    for stage in dict.fromkeys(name for run in runs if run.inputs is not None for name in run.inputs.stages):
        name = f"stage.{stage}.data"
        tell_apart(_named(name), partial(_is_below, name))
    tell_apart(_teachers, _bears_on_teacher)
    tell_apart(_named(*_START), partial(_is_below, "student"))
    return found


def _named(*names: str) -> Pick:
    return lambda inputs: [item for item in inputs.all if item.name in names]


def _teachers(inputs: RunInputs) -> list[Input]:
    """The teacher with its tokenizer, or its answers, and further teachers with theirs."""
    return [item for item in inputs.all if re.match(rf"{TEACHER}\b", item.name)]


def _is_below(table: str, key: str) -> bool:
    return key == table or key.startswith(f"{table}.")


def _bears_on_teacher(key: str) -> bool:
    return _is_below(TEACHER, key) and (key == _HEAD_SEED or not key.startswith(_FINETUNE))


def differing(runs: Sequence[RunContent], pick: Pick) -> list[Setting]:
    """The inputs in which runs differ, of each run; empty settings where all are the same."""
    own = identities(runs, pick)
    if len(set(own)) < 2:
        return [()] * len(runs)
    tables = {
        identity: {item.name: item for item in pick(run.inputs)}
        for run, identity in zip(runs, own, strict=True)
        if run.inputs is not None
    }
    names = dict.fromkeys(name for table in tables.values() for name in table)
    varying = [name for name in names if len({_content(table.get(name)) for table in tables.values()}) > 1] or [*names]

    def setting(identity: Hashable) -> Setting:
        if not isinstance(identity, _Unrecorded):
            return tuple((name, _compact(tables[identity].get(name))) for name in varying)
        majority = "" if identity.majority is None else f" (majority guess {metric(identity.majority)})"
        return ((DATA, f"{UNRECORDED}{majority}"),)

    return [setting(identity) for identity in own]


def difference_note(name: str, runs: Sequence[RunContent], pick: Pick = all_of) -> str | None:
    """Why runs that should differ in their seed alone are not averaged; None where they had the same inputs, as far as `pick`
    chooses them."""
    settings = dict.fromkeys(differing(runs, pick))
    if len(settings) < 2:
        return None
    several = "; ".join(", ".join(f"{key} {text}" for key, text in setting) for setting in settings)
    return f"{name}: not averaged, since its runs had other inputs ({several})"


def _content(item: Input | None) -> str | None:
    return None if item is None else item.content


def _compact(item: Input | None) -> str:
    return "none" if item is None else item.text.replace(", ", " ")


# -- shown


def input_rows(inputs: Sequence[RunInputs | None]) -> list[tuple[str, list[str]]]:
    """Inputs of runs side by side: a heading and the text of each run; empty where none has a record.

    Data and teacher always, other inputs where runs differ in them.
    """
    tables = [{} if own is None else {item.name: item for item in own.all} for own in inputs]
    known = [table for table in tables if table]
    if not known:
        return []
    data = {item.name for own in inputs if own is not None for item in own.data}
    rows = []
    for name in dict.fromkeys(name for table in known for name in table):
        if name in data or name in (TEACHER, ANSWERS) or len({_content(table.get(name)) for table in known}) > 1:
            before = f"{name}: " if name in data else ""
            texts = [f"{before}{table[name].text}" if name in table else "none" for table in tables]
            texts = [text if table else UNRECORDED for text, table in zip(texts, tables, strict=True)]
            rows.append((DATA if name in data else _heading(name), texts))
    return rows


def _heading(name: str) -> str:
    """The name of an input in tables: the teacher as it was loaded, before a fine-tuning, is the base model."""
    return {TEACHER: "base model", ANSWERS: "answers"}.get(name, name)


def input_lines(inputs: RunInputs) -> list[tuple[str, str]]:
    """The inputs of one run in short lines: its data, and its models with their tokenizers."""
    data = "; ".join(f"{item.name}: {item.text}" for item in inputs.data)
    others = {item.name: item.text for item in inputs.all if item not in inputs.data}
    lines = [(DATA, data)]
    for name in [name for name in others if not name.endswith(f" {TOKENIZER}")]:
        tokenizer = others.get(f"{name} {TOKENIZER}")
        lines.append(
            (_heading(name), others[name] if tokenizer is None else f"{others[name]}, {TOKENIZER} {tokenizer}")
        )
    return lines


def inputs_text(runs: Sequence[RunContent]) -> str:
    """Data and teacher of runs that were found to have the same, in short; nothing where none has a record."""
    inputs = next((run.inputs for run in runs if run.inputs is not None), None)
    if inputs is None:
        return ""
    teacher = [item for item in inputs.all if item.name in (TEACHER, ANSWERS)]
    return "; ".join(f"{item.name}: {item.text}" for item in (*inputs.data, *teacher))
