"""Find methods of which a merge would leave nothing: `crild run crild kd rte` names two, and a run has one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.errors import CrildError
from engine.preset.preset_file import Layer, stage_tables
from engine.preset.shipped import path_of
from engine.preset.text import plain, shown
from engine.preset.tree import Node

Origins = dict[str, tuple[str, int | None]]
"""File and line of each stage's objectives, by the stage's name."""


def replaced_method_problems(
    refs: Sequence[str], layers: Sequence[Sequence[Layer]], root: Node
) -> Iterator[CrildError]:
    """A problem for each method none of whose stages is left in `root`, the merged presets.

    layers: those of each ref, after all that it extends.

    A user's file may drop the stages of a method that it extends, or rewrite them: its author chose that.
    """
    final = _origins(stage_tables(root))
    alone = {index: _stages_alone(own) for index, own in enumerate(layers) if own and _is_method(own)}
    left = {index for index, stages in alone.items() if stages.items() & final.items()}
    for lost in alone.keys() - left:
        for winner in left:
            if path_of(refs[winner]) is None and (layers[lost][-1] in layers[winner] or alone[lost].keys() & final):
                continue
            first, second = (_command(refs, without) for without in (winner, lost))
            yield CrildError(
                f"{shown(refs[winner])} replaces every stage of {shown(refs[lost])}: these are two methods, and a run has "
                f"one. Did you mean `{first}` or `{second}`?",
                kind="two-methods",
                key="stage",
            )
            break


def _is_method(layers: Sequence[Layer]) -> bool:
    """Whether these layers need no others (they name a teacher and objectives), and the last one sets stages."""
    own = layers[-1]
    return (
        any("teacher" in layer.root.entries for layer in layers)
        and any(_origins(layer.stage_tables) for layer in layers)
        and (bool(own.stage_tables) or own.stages is not None)
    )


def _stages_alone(layers: Sequence[Layer]) -> Origins:
    """The stages that these layers have without any others."""
    stages: Origins = {}
    for layer in layers:
        stages |= _origins(layer.stage_tables)
        if layer.stages is not None:
            stages = {name.value: stages[name.value] for name in layer.stages if name.value in stages}
    return stages


def _origins(stages: Mapping[str, Node]) -> Origins:
    return {
        name: (objectives.file, objectives.line)
        for name, stage in stages.items()
        if (objectives := stage.get("objectives")) is not None
    }


def _command(refs: Sequence[str], without: int) -> str:
    return " ".join(["crild run", *(plain(ref) for index, ref in enumerate(refs) if index != without)])
