"""Which teacher layer teaches which student layer. Imports no torch: preflight asks too."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import PresetError

Pair = tuple[int, int]
"""(teacher layer, student layer), counted from 1."""


def pairs(layer_map: str | Sequence[Sequence[int]], teacher_layers: int, student_layers: int) -> list[Pair]:
    """The pairs (teacher layer, student layer) of a map, counted from 1.

    Args:
        layer_map: "last", the two last layers; "uniform", student layer i with teacher layer i·T/S; "upper", student
            layer i with teacher layer T - S + i (PKD-Last); "emd", all pairs, among which `transport` divides the
            flow; or the pairs themselves.
        teacher_layers: T.
        student_layers: S.

    Raises:
        PresetError: "uniform" where S doesn't divide T; "upper" where S is more than T; a listed layer that a model
            doesn't have; an unknown name.
    """
    if layer_map == "last":
        return [(teacher_layers, student_layers)]
    if layer_map == "emd":
        return [(t, s) for s in range(1, student_layers + 1) for t in range(1, teacher_layers + 1)]
    if layer_map == "uniform":
        step, rest = divmod(teacher_layers, student_layers)
        if rest or not step:
            sentence = (
                f'layer_map "uniform" needs a number of teacher layers that is a multiple of the student\'s, but '
                f"{teacher_layers} is not a multiple of {student_layers}; list pairs [teacher layer, student layer] "
                f"instead, such as layer_map = [[{teacher_layers}, {student_layers}]]"
            )
            raise PresetError.single(sentence, kind="uniform-map-does-not-divide", key="layer_map")
        return [(i * step, i) for i in range(1, student_layers + 1)]
    if layer_map == "upper":
        below = teacher_layers - student_layers
        if below < 0:
            sentence = (
                f'layer_map "upper" needs at least as many teacher layers as student layers, but the teacher has '
                f"{teacher_layers} and the student {student_layers}; list pairs [teacher layer, student layer] instead"
            )
            raise PresetError.single(sentence, kind="upper-map-too-few-layers", key="layer_map")
        return [(below + i, i) for i in range(1, student_layers + 1)]
    if isinstance(layer_map, str):
        sentence = f'unknown layer_map "{layer_map}"; use "last", "uniform", "upper", "emd" or a list of pairs'
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
