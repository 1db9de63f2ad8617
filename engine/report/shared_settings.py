"""What was run: the settings that all runs of a report share, and those in which tasks, methods and groups differ."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.preset.names import task_title
from engine.preset.text import listed, plain
from engine.record.inputs import RunInputs
from engine.report.collect import FinishedRun
from engine.report.final_metrics import STUDENT, TEACHER
from engine.report.result_table import Cell, Column, ResultTable, Row, Section
from engine.report.setting_words import model_size, setting_lines
from engine.report.settings import Group, own_names, setting_text

ALL = "all runs"
NAME = "Settings"
TITLE = "What was run: settings of all runs, then those of a task, a method or a group alone"
_SEEDS = "seeds"
_VERSIONS = ("torch", "transformers")
MOST = 3
"""Values of one setting in a group that are listed; more are counted."""


@dataclass(frozen=True)
class SettingsSection:
    """Settings that the runs under a heading share, as (label, text)."""

    heading: str
    settings: tuple[tuple[str, str], ...]


def shared_settings(groups: Sequence[Group]) -> list[SettingsSection]:
    """Every setting once, under the widest heading that it holds for: all runs, a task, a block, a method, a group."""
    facts = {group: _of_group(group) for group in groups}
    labels = _in_order(facts.values())
    sections: dict[str, list[tuple[str, str]]] = {}
    levels = _levels(groups)
    for label in labels:
        level = next(level for level in levels if _is_constant(groups, facts, label, level))
        for group in groups:
            line = (label, facts[group].get(label, ""))
            section = sections.setdefault(level(group)[1], [])
            if line[1] and line not in section:
                section.append(line)
    order = dict.fromkeys([ALL, *(level(group)[1] for level in levels for group in groups)])
    return [SettingsSection(heading, tuple(lines)) for heading in order if (lines := sections.get(heading))]


def settings_table(groups: Sequence[Group]) -> ResultTable:
    """The settings as a table of words: a section for each heading."""
    sections = shared_settings(groups)
    return ResultTable(
        "setting",
        (Column("value", words=True, wraps=True),),
        tuple(
            Section(
                section.heading if len(sections) > 1 else "",
                tuple(Row(label, (Cell(text),)) for label, text in section.settings),
            )
            for section in sections
        ),
        name=NAME,
        title=TITLE if len(sections) > 1 else "What was run",
    )


Level = Callable[[Group], tuple[Hashable, str]]
"""Gives the key of the groups that belong together, and their heading."""


def _levels(groups: Sequence[Group]) -> list[Level]:
    """From all runs to a single group."""
    names = own_names(groups)
    tasks = len({group.task for group in groups}) > 1

    def method(group: Group) -> str:
        setting = names[group.method, group.own]
        return plain(f"{group.method} ({setting})" if setting else group.method)

    def block(group: Group) -> str:
        return ", ".join(filter(None, [task_title(plain(group.task)), setting_text(group.common, most=99)]))

    return [
        lambda _: ((), ALL),
        *([lambda group: (group.task, task_title(plain(group.task)))] if tasks else []),
        lambda group: ((group.task, group.common), block(group)),
        lambda group: ((group.method, group.own), method(group)),
        lambda group: (id(group), f"{method(group)}, {block(group)}"),
    ]


def _is_constant(groups: Sequence[Group], facts: Mapping[Group, Mapping[str, str]], label: str, level: Level) -> bool:
    """Whether a setting has one value, or none, among all groups that belong together."""
    values: dict[Hashable, set[str | None]] = {}
    for group in groups:
        values.setdefault(level(group)[0], set()).add(facts[group].get(label))
    return all(len(several) == 1 for several in values.values())


def _in_order(tables: Iterable[Mapping[str, str]]) -> list[str]:
    """The labels of all tables; one that only some have stands after the one before it there."""
    labels: list[str] = []
    for table in tables:
        at = 0
        for label in table:
            if label in labels:
                at = labels.index(label) + 1
            else:
                labels.insert(at, label)
                at += 1
    return labels


def _of_group(group: Group) -> dict[str, str]:
    """The facts of a group: what its runs have in common, else each value."""
    values: dict[str, dict[str, None]] = {}
    for run in group.runs:
        for label, text in _of_run(run).items():
            values.setdefault(label, {})[text] = None
    facts = {label: listed(texts, "and", MOST) for label, texts in values.items()}
    return {**facts, _SEEDS: ", ".join(str(run.seed) for run in group.runs)}


def _of_run(run: FinishedRun) -> dict[str, str]:
    sizes = {name: model_size(run.sizes[name]) for name in (TEACHER, STUDENT) if name in run.sizes}
    facts = {"examples": _examples(run.inputs), **dict(setting_lines(run.preset, sizes)), _SEEDS: ""}
    environment = run.environment
    device, name = _word(environment.get("device")), _word(environment.get("device_name"))
    threads = environment.get("threads")
    parts = [device, f"({name})" if name and name.casefold() != device.casefold() else ""]
    on_cpu = f", {threads} thread{'s' * (threads != 1)}" if device == "cpu" and isinstance(threads, int) else ""
    facts["device"] = " ".join(filter(None, parts)) + on_cpu
    facts["precision"] = _word(environment.get("precision"))
    found = environment.get("versions")
    versions = found if isinstance(found, Mapping) else {}
    known = [
        ("crild", environment.get("crild")),
        *((key, versions.get(key)) for key in _VERSIONS),
        ("Python", environment.get("python")),
    ]
    facts["versions"] = ", ".join(f"{key} {_word(value)}" for key, value in known if _word(value))
    return {label: text for label, text in facts.items() if text or label == _SEEDS}


def _examples(inputs: RunInputs | None) -> str:
    """How many rows were really read, whatever the task has."""
    if inputs is None:
        return "not recorded"
    dev = ", ".join(f"{rows.rows:,} {plain(split)}" for split, rows in inputs.dev.items())
    return f"{inputs.train.rows:,} training, {dev}"


def _word(value: object) -> str:
    return plain(value) if isinstance(value, str) else ""
