"""Which teacher layer teaches which student layer."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import CrildError, PresetError

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
            doesn't have; an unknown word.
    """
    if layer_map == "last":
        return [(teacher_layers, student_layers)]
    if layer_map == "uniform":
        return _uniform(teacher_layers, student_layers)
    if layer_map == "upper":
        return _upper(teacher_layers, student_layers)
    if layer_map == "emd":
        return [(t, s) for s in range(1, student_layers + 1) for t in range(1, teacher_layers + 1)]
    if isinstance(layer_map, str):
        raise _fault(f'layer_map "{layer_map}" is unknown: say "last", "uniform", "upper", "emd", or list the pairs')
    return [_listed(pair, teacher_layers, student_layers) for pair in layer_map]


def _uniform(teacher_layers: int, student_layers: int) -> list[Pair]:
    step, rest = divmod(teacher_layers, student_layers)
    if rest or not step:
        raise _fault(
            f'layer_map "uniform" needs a teacher whose layers are a multiple of the student\'s, but {teacher_layers} '
            f"is no multiple of {student_layers}: list the pairs, as layer_map = [[{teacher_layers}, {student_layers}]]"
        )
    return [(i * step, i) for i in range(1, student_layers + 1)]


def _upper(teacher_layers: int, student_layers: int) -> list[Pair]:
    below = teacher_layers - student_layers
    if below < 0:
        raise _fault(
            f'layer_map "upper" needs a teacher with as many layers as the student at least, but it has '
            f"{teacher_layers}, and the student {student_layers}: list the pairs"
        )
    return [(below + i, i) for i in range(1, student_layers + 1)]


def _listed(pair: Sequence[int], teacher_layers: int, student_layers: int) -> Pair:
    teacher, student = pair
    for layer, layers, model in ((teacher, teacher_layers, "teacher"), (student, student_layers, "student")):
        if not 1 <= layer <= layers:
            raise _fault(
                f"layer_map names {model} layer {layer}, but the {model} has {layers} layers, counted from 1 "
                f"(pairs are [teacher layer, student layer])"
            )
    return teacher, student


def _fault(sentence: str) -> PresetError:
    return PresetError([CrildError(sentence, key="layer_map")])
