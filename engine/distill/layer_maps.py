"""Which teacher layer teaches which student layer. Imports no torch: preflight asks too."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import PresetError

Pair = tuple[int, int]
"""(teacher layer, student layer), counted from 1."""
Flow = tuple[tuple[Pair, float], ...]
"""Pairs, each with its share of the loss."""
NAMES = ("last", "uniform", "upper", "reverse", "all-to-one", "random", "emd", "alp")
"""Of the maps that have one."""


def pairs(layer_map: str | Sequence[Sequence[int]], teacher_layers: int, student_layers: int) -> list[Pair]:
    """The pairs (teacher layer, student layer) of a map, counted from 1.

    Args:
        layer_map: "last", the two last layers; "uniform", student layer i with teacher layer i·T/S; "upper", student
            layer i with teacher layer T - S + i (PKD-Last); "reverse", "uniform" upside down: student layer i with
            teacher layer (S + 1 - i)·T/S; "all-to-one", every student layer with the last teacher layer; "random",
            all pairs that `random_map.draw` may give; "emd", all pairs, among which `transport` divides the flow; "alp", all
            pairs, weighted by `layer_attention`; or the pairs themselves.
        teacher_layers: T.
        student_layers: S.

    Raises:
        PresetError: "uniform" or "reverse" where S doesn't divide T; "upper" or "random" where S is more than T; a
            listed layer that a model doesn't have; an unknown name.
    """
    if layer_map == "last":
        return [(teacher_layers, student_layers)]
    if layer_map in ("emd", "alp"):
        return [(t, s) for s in range(1, student_layers + 1) for t in range(1, teacher_layers + 1)]
    if layer_map == "all-to-one":
        return [(teacher_layers, s) for s in range(1, student_layers + 1)]
    if layer_map in ("uniform", "reverse"):
        step, rest = divmod(teacher_layers, student_layers)
        if rest or not step:
            sentence = (
                f'layer_map "{layer_map}" needs a number of teacher layers that is a multiple of the student\'s, but '
                f"{teacher_layers} is not a multiple of {student_layers}; list pairs [teacher layer, student layer] "
                f"instead, such as layer_map = [[{teacher_layers}, {student_layers}]]"
            )
            raise PresetError.single(sentence, kind="uniform-map-does-not-divide", key="layer_map")
        made = range(step, teacher_layers + 1, step)
        return list(zip(made if layer_map == "uniform" else reversed(made), range(1, student_layers + 1), strict=True))
    if layer_map in ("upper", "random"):
        below = teacher_layers - student_layers
        if below < 0:
            sentence = (
                f'layer_map "{layer_map}" needs at least as many teacher layers as student layers, but the teacher has '
                f"{teacher_layers} and the student {student_layers}; list pairs [teacher layer, student layer] instead"
            )
            raise PresetError.single(sentence, kind="upper-map-too-few-layers", key="layer_map")
        lowest = below if layer_map == "upper" else 0
        return [(t + s, s) for s in range(1, student_layers + 1) for t in range(lowest, below + 1)]
    if isinstance(layer_map, str):
        names = ", ".join(f'"{name}"' for name in NAMES)
        sentence = f'unknown layer_map "{layer_map}"; use {names} or a list of pairs'
        raise PresetError.single(sentence, kind="unknown-layer-map", key="layer_map")
    for teacher, student in layer_map:
        for layer, layers, model in ((teacher, teacher_layers, "teacher"), (student, student_layers, "student")):
            if not 1 <= layer <= layers:
                sentence = (
                    f"layer_map pair [{teacher}, {student}] names {model} layer {layer}, but the {model} has layers "
                    f"1 to {layers} (pairs are [teacher layer, student layer])"
                )
                raise PresetError.single(sentence, kind="map-names-unknown-layer", key="layer_map")
    return [(teacher, student) for teacher, student in layer_map]
