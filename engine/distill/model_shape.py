"""What objectives must know about two models: their sizes, and the heads that both can be cut into. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import PresetError
from engine.preset import schema
from engine.preset.names import RELATIONS


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a teacher or a student."""

    layers: int
    width: int
    """Of the hidden states."""
    heads: int
    """Attention heads of each layer."""
    embedding_width: int | None = None
    """Of the embedding output, where it is not the layers' width (ELECTRA, ALBERT)."""
    windows: tuple[int | None, ...] = ()
    """How many positions each layer looks to either side; None where it looks everywhere, empty where all do."""

    def width_of(self, objective: str) -> int:
        """The width of the states that `objective` compares."""
        return self.embedding_width or self.width if objective == "embedding" else self.width


def heads_of_term(name: str, objective: schema.Objective, teacher: ModelShape, student: ModelShape) -> int:
    """The heads that an objective compares: `relation_heads`, or else the student's own.

    Raises:
        PresetError: attention between unequal numbers of heads; heads that don't divide a model's width.
    """
    if name == "attention" and teacher.heads != student.heads:
        sentence = (
            f"attention compares head with head, but the teacher has {teacher.heads} heads and the student "
            f"{student.heads}; use query, key and value relations, which work with any number of heads"
        )
        raise PresetError.single(sentence, kind="unequal-attention-heads", key=f"objectives.{name}")
    heads = objective.relation_heads or student.heads
    if name == "attention" or name in RELATIONS:
        for model, width in (("teacher", teacher.width), ("student", student.width)):
            if width % heads:
                raise PresetError.single(
                    f"{heads} heads do not divide the {model}'s width of {width} (objective {name}); "
                    f"set relation_heads to a number that divides {teacher.width} and {student.width}",
                    kind="heads-do-not-divide-width",
                    key=f"objectives.{name}.relation_heads",
                )
    return heads
