"""How many layers a student has and which layers of its initial model it takes. Imports no torch: preflight asks too."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import ModelError
from engine.preset import schema


def layer_count(student: schema.Student, source_layers: int) -> int:
    """Number of layers of a student whose initial model (or, from scratch, teacher) has `source_layers`.

    What the preset says: `layers`, or the length of a listed `keep`. Otherwise half of the teacher's, or all layers of
    a model that `init` names.
    """
    if student.layers is not None:
        return student.layers
    if student.init != "scratch" and not isinstance(student.keep, str):
        return len(student.keep)
    return max(1, source_layers // 2) if student.init in ("scratch", "teacher", "pretrained") else source_layers


def selected_layers(source_layers: int, keep: str | Sequence[int], count: int) -> tuple[int, ...]:
    """Which of `source_layers` layers a model of `count` layers takes, counted from 0.

    "first" and "last" take neighbouring layers. "alternate" spreads them evenly from the first layer on: layer i is
    layer ⌊i·source_layers/count⌋, so of 12 layers six are 0, 2, 4, 6, 8, 10 and four are 0, 3, 6, 9. A list is taken as
    it is.

    Raises:
        ModelError: layers that don't exist, an empty list, one that names a layer twice or has not `count` entries.
    """
    if not isinstance(keep, str):
        beyond = [layer for layer in keep if not 0 <= layer < source_layers]
        if beyond:
            sentence = (
                f"student.keep names layer {beyond[0]}, but the initial model has layers 0 to {source_layers - 1}"
            )
            raise ModelError(sentence, kind="unknown-layer", key="student.keep")
        if len(set(keep)) != len(keep) or not keep:
            sentence = "student.keep must list at least one layer, and each layer once"
            raise ModelError(sentence, kind="invalid-layer-list", key="student.keep")
        if len(keep) != count:
            sentence = f"student.keep lists {len(keep)} layers, but student.layers is {count}"
            raise ModelError(sentence, kind="layer-count-mismatch", key="student.keep")
        return tuple(keep)
    if not 1 <= count <= source_layers:
        sentence = (
            f"the student cannot have {count} layers: the initial model has {source_layers}; "
            f'use 1 to {source_layers}, or init = "scratch"'
        )
        raise ModelError(sentence, kind="too-many-layers", key="student.layers")
    if keep == "alternate":
        return tuple(index * source_layers // count for index in range(count))
    start = source_layers - count if keep == "last" else 0
    return tuple(range(start, start + count))
